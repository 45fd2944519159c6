// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/pipeline"
	"nagare/internal/store"
)

var update = flag.Bool("update", false, "rewrite the expected flows of testdata/*.txtar (review the diff)")

func compileAll(st *store.Store, nodes ...string) *compile.Engine {
	e := compile.New(Classic(), pipeline.Check)
	for _, n := range nodes {
		e.AddNode(n)
	}
	e.Update(st.Snapshot(), &store.Changes{All: true})
	return e
}

// flowsOf are a node's flows, in order.
func flowsOf(e *compile.Engine, node string) []flow.Flow {
	d, _ := e.Desired(node)
	fs := make([]flow.Flow, 0, len(d.Flows))
	for _, f := range d.Flows {
		fs = append(fs, f)
	}
	slices.SortFunc(fs, flow.Compare)
	return fs
}

func flowLines(e *compile.Engine, node string) []string {
	fs := flowsOf(e, node)
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.String()
	}
	return lines
}

func rowLines(e *compile.Engine, node string) []string {
	d, _ := e.Desired(node)
	var lines []string
	for _, r := range d.Rows {
		lines = append(lines, strings.TrimSpace(strings.Join([]string{r.Bridge, r.Name, r.Type, r.Options, r.ExternalIDs, r.MAC}, " ")))
	}
	slices.Sort(lines)
	return lines
}

// TestGolden compiles each testdata/*.txtar: intent.yaml in; <node>.flows and <node>.rows out, byte for byte. The files of
// the walk-through hold the recorded tables; lists of outputs are in ascending order there, since their order means nothing.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var e *compile.Engine
			compared := 0
			for i, f := range ar.Files {
				if f.Name == "intent.yaml" {
					var names []string
					st := load(t, f.Data)
					for _, g := range ar.Files {
						if n, ok := strings.CutSuffix(g.Name, ".flows"); ok {
							names = append(names, n)
						}
					}
					e = compileAll(st, names...)
					for _, n := range names {
						for _, fault := range e.Faults(n) {
							t.Logf("fault: %+v", fault)
						}
					}
					continue
				}
				var got []string
				if n, ok := strings.CutSuffix(f.Name, ".flows"); ok {
					got = flowLines(e, n)
				} else if n, ok := strings.CutSuffix(f.Name, ".rows"); ok {
					got = rowLines(e, n)
				} else {
					t.Fatalf("%s: what is file %s?", path, f.Name)
				}
				compared++
				text := strings.Join(got, "\n") + "\n"
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
