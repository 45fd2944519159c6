// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"go.yaml.in/yaml/v3"

	"nagare/internal/store"
	"nagare/internal/tables"
)

// readSecured reads intent.yaml of an archive into a store.
func readSecured(t testing.TB, text []byte) (*store.Store, secured) {
	t.Helper()
	var f secured
	if err := yaml.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	st := store.New(tables.Schema, nil)
	if _, err := st.Commit(t.Context(), store.Origin{}, f.put); err != nil {
		t.Fatal(err)
	}
	return st, f
}

// TestStandardACLGolden compiles each testdata/standard-acl/*.txtar: intent.yaml in; <node>.flows out, cookie first, and
// <node>.faults.
func TestStandardACLGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/standard-acl/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			st, intent := readSecured(t, ar.Files[0].Data)
			for i, file := range ar.Files[1:] {
				node, kind, _ := strings.Cut(file.Name, ".")
				f := followStandard(t, st, Options{NativeDHCP: intent.Native}, node)
				f.accounted(node)
				lines := aclLines(f, node)
				if kind == "faults" {
					lines = nil
					for _, fault := range f.e.Faults(node) {
						lines = append(lines, fault.Rule+" "+fault.Object+": "+fault.Reason)
					}
				}
				text := strings.Join(lines, "\n") + "\n"
				if *update {
					ar.Files[1+i].Data = []byte(text)
				} else if d := cmp.Diff(strings.Split(string(file.Data), "\n"), strings.Split(text, "\n")); d != "" {
					t.Errorf("%s (-want +got):\n%s", file.Name, d)
				}
			}
			if *update {
				if err := os.WriteFile(path, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
