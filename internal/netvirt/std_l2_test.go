// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"go.yaml.in/yaml/v3"

	"nagare/internal/compile"
	"nagare/internal/pipeline"
	"nagare/internal/store"
)

// layer2Alone is the standard profile without its ACLs: what is filtered passes, so that only layer 2 decides who gets what.
func layer2Alone(o Options) *compile.Rulebook {
	b := &compile.Rulebook{Merge: mergeClauses}
	l2 := declareStandardL2(b, o)
	b.Root(compile.Rule{Name: "bridge", Kind: "node", Run: func(c *compile.Context) {
		for _, f := range append(pipeline.Spine(pipeline.Standard), pipeline.SubTables()...) {
			c.Flow(f)
		}
		l2(c)
	}})
	return b
}

// compileBook compiles nodes from nothing by the rules of a profile.
func compileBook(st *store.Store, b *compile.Rulebook, of pipeline.Profile, nodes ...string) *compile.Engine {
	e := compile.New(b, of.Check)
	for _, n := range nodes {
		e.AddNode(n)
	}
	e.Update(st.Snapshot(), &store.Changes{All: true})
	return e
}

// l2Lines are the flows of a node but for the misses, each after whose it is.
func l2Lines(e *compile.Engine, node string) []string {
	var lines []string
	for _, f := range flowsOf(e, node) {
		if f.Priority == 0 {
			continue
		}
		c, _ := pipeline.UnpackCookie(f.Cookie)
		lines = append(lines, fmt.Sprintf("%s %#x: %s", c.Kind, c.Key, f))
	}
	return lines
}

func groupLines(e *compile.Engine, node string) []string {
	d, _ := e.Desired(node)
	var lines []string
	for _, g := range d.Groups {
		lines = append(lines, g.String())
	}
	slices.Sort(lines)
	return lines
}

func meterLines(e *compile.Engine, node string) []string {
	d, _ := e.Desired(node)
	var lines []string
	for _, m := range d.Meters {
		lines = append(lines, m.String())
	}
	slices.Sort(lines)
	return lines
}

func faultLines(e *compile.Engine, node string) []string {
	var lines []string
	for _, f := range e.Faults(node) {
		lines = append(lines, fmt.Sprintf("%s %s (%s): %s", f.Kind, f.Object, f.Rule, f.Reason))
	}
	return lines
}

// TestStandardGolden compiles each testdata/standard/*.txtar: intent.yaml and perhaps options.yaml in; <node>.flows, .groups,
// .rows and .faults out.
func TestStandardGolden(t *testing.T) {
	goldens(t, "testdata/standard/*.txtar", layer2Alone, l2Lines)
}

// goldens compares what the nodes of archives are compiled to by a book, with lines for their flows.
func goldens(t *testing.T, pattern string, book func(Options) *compile.Rulebook, flows func(*compile.Engine, string) []string) {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			st, e := loadBook(t, ar, book)
			if st == nil {
				t.Fatal("no intent.yaml")
			}
			texts := map[string]func(*compile.Engine, string) []string{
				".flows": flows, ".groups": groupLines, ".rows": rowLines, ".faults": faultLines, ".meters": meterLines}
			compared := 0
			for i, f := range ar.Files {
				of := texts[filepath.Ext(f.Name)]
				if of == nil {
					continue
				}
				compared++
				text := ""
				for _, l := range of(e, strings.TrimSuffix(f.Name, filepath.Ext(f.Name))) {
					text += l + "\n"
				}
				if *update {
					ar.Files[i].Data = []byte(text)
				} else if d := cmp.Diff(strings.Split(string(f.Data), "\n"), strings.Split(text, "\n")); d != "" {
					t.Errorf("%s (-want +got):\n%s", f.Name, d)
				}
			}
			if compared == 0 {
				t.Error("nothing was compared")
			}
			if *update {
				if err := os.WriteFile(path, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// loadStandard makes the store of an archive's intent.yaml and compiles layer 2 of the nodes that it has flows of.
func loadStandard(t *testing.T, ar *txtar.Archive) (st *store.Store, e *compile.Engine) {
	t.Helper()
	return loadBook(t, ar, layer2Alone)
}

func loadBook(t *testing.T, ar *txtar.Archive, book func(Options) *compile.Rulebook) (st *store.Store, e *compile.Engine) {
	t.Helper()
	var o Options
	var nodes []string
	for _, f := range ar.Files {
		switch {
		case f.Name == "intent.yaml":
			st = load(t, f.Data)
		case f.Name == "options.yaml":
			if err := yaml.Unmarshal(f.Data, &o); err != nil {
				t.Fatal(err)
			}
		case filepath.Ext(f.Name) == ".flows":
			nodes = append(nodes, strings.TrimSuffix(f.Name, ".flows"))
		}
	}
	if st == nil {
		return nil, nil
	}
	return st, compileBook(st, book(o), pipeline.Standard, nodes...)
}
