// SPDX-License-Identifier: Apache-2.0

package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// module is the path of this module; pkg directories below are relative to it.
const module = "nagare"

// tree is the repository as these tests see it.
type tree struct {
	root  string
	files []string              // every text file, slash-separated, relative to root, sorted
	pkgs  map[string]*pkgSource // by directory relative to root
}

// pkgSource is one directory with Go files.
type pkgSource struct {
	dir     string
	name    string              // package name, without _test
	doc     string              // package comment, "" if none
	docs    int                 // files with a package comment
	program bool                // package main
	imports map[string][]string // import path -> non-test files that import it
	tests   map[string][]string // import path -> test files that import it
}

// source reads the repository once for all tests.
var source = sync.OnceValues(func() (*tree, error) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		return nil, err
	}
	t := &tree{root: root, pkgs: map[string]*pkgSource{}}
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := filepath.ToSlash(strings.TrimPrefix(strings.TrimPrefix(p, root), string(filepath.Separator)))
		if d.IsDir() {
			// Built or cached, not ours: the same list as .gitignore.
			if rel == ".git" || rel == "bin" || rel == ".cache" {
				return filepath.SkipDir
			}
			return nil
		}
		if rel == ".git" || !d.Type().IsRegular() || strings.HasSuffix(rel, ".test") || strings.HasSuffix(rel, ".out") {
			return nil
		}
		t.files = append(t.files, rel)
		if strings.HasSuffix(rel, ".go") && !strings.Contains(rel, "testdata/") {
			return t.addGo(rel)
		}
		return nil
	})
	slices.Sort(t.files)
	return t, err
})

func (t *tree) addGo(rel string) error {
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(t.root, rel), nil, parser.ImportsOnly|parser.ParseComments)
	if err != nil {
		return err
	}
	dir := path.Dir(rel)
	p := t.pkgs[dir]
	if p == nil {
		p = &pkgSource{dir: dir, imports: map[string][]string{}, tests: map[string][]string{}}
		t.pkgs[dir] = p
	}
	test := strings.HasSuffix(rel, "_test.go")
	if !test || p.name == "" {
		p.name = strings.TrimSuffix(file.Name.Name, "_test")
	}
	p.program = p.program || file.Name.Name == "main"
	if text := packageComment(file); text != "" {
		p.docs++
		p.doc = text
	}
	into := p.imports
	if test {
		into = p.tests
	}
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return err
		}
		into[imported] = append(into[imported], rel)
	}
	return nil
}

func packageComment(file *ast.File) string {
	if file.Doc == nil {
		return ""
	}
	return strings.TrimSpace(file.Doc.Text())
}

// dirs lists the package directories in order.
func (t *tree) dirs() []string {
	dirs := make([]string, 0, len(t.pkgs))
	for dir := range t.pkgs {
		dirs = append(dirs, dir)
	}
	slices.Sort(dirs)
	return dirs
}

func (t *tree) read(tb testing.TB, rel string) string {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join(t.root, filepath.FromSlash(rel)))
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

func load(tb testing.TB) *tree {
	tb.Helper()
	t, err := source()
	if err != nil {
		tb.Fatal(err)
	}
	if len(t.pkgs) < 5 {
		tb.Fatalf("found %d packages under %s: these tests must run in the repository", len(t.pkgs), t.root)
	}
	return t
}
