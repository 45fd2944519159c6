// SPDX-License-Identifier: Apache-2.0

package house

import (
	"fmt"
	"go/doc"
	"path"
	"strings"
	"testing"
)

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	tree := load(t)
	for _, dir := range tree.dirs() {
		if err := checkComment(tree.pkgs[dir]); err != nil {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

// checkComment wants one comment per package, begun as Go's convention has it, and
// more than a single sentence: job, invariants, callers. A program may do with one
// sentence, because its --help says the rest.
func checkComment(p *pkgSource) error {
	if p.docs == 0 {
		return fmt.Errorf("no package comment; say its job, its invariants and who calls it (doc.go if over ten lines)")
	}
	if p.docs > 1 {
		return fmt.Errorf("%d files carry a package comment; keep one, so that there is one place to read and to mend", p.docs)
	}
	start := "Package " + p.name
	if p.program {
		start = "Command " + path.Base(p.dir)
	}
	if !strings.HasPrefix(p.doc, start+" ") && !strings.HasPrefix(p.doc, start+"\n") {
		first, _, _ := strings.Cut(p.doc, "\n")
		return fmt.Errorf("package comment begins %q, want %q", first, start+" ...")
	}
	text := strings.Join(strings.Fields(p.doc), " ")
	first := new(doc.Package).Synopsis(p.doc)
	if len(first) == 0 || !strings.HasSuffix(first, ".") && !strings.HasSuffix(first, ":") {
		return fmt.Errorf("package comment has no whole first sentence: %q", first)
	}
	if rest := strings.TrimSpace(strings.TrimPrefix(text, first)); !p.program && !strings.Contains(rest, ".") {
		return fmt.Errorf("package comment is one sentence; add its invariants and who calls it")
	}
	return nil
}

// The check itself must be able to fail.
func TestCheckCommentRefuses(t *testing.T) {
	for _, p := range []*pkgSource{
		{dir: "x", name: "x"},
		{dir: "x", name: "x", docs: 1, doc: "Does things. And more."},
		{dir: "x", name: "x", docs: 1, doc: "Package x does things."},
		{dir: "x", name: "x", docs: 1, doc: "Package x"},
		{dir: "x", name: "x", docs: 2, doc: "Package x does things. And more."},
		{dir: "cmd/x", name: "main", docs: 1, doc: "Package main does things. And more.", program: true},
	} {
		if checkComment(p) == nil {
			t.Errorf("accepted %q in %d files of %s", p.doc, p.docs, p.dir)
		}
	}
	if err := checkComment(&pkgSource{dir: "x", name: "x", docs: 1, doc: "Package x does\nthings. And\nmore."}); err != nil {
		t.Error(err)
	}
}
