// SPDX-License-Identifier: Apache-2.0

package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// writers are the tables that few packages may write, by method. What else must be written with them is known to those alone.
var writers = []struct {
	table   string
	methods []string
	only    []string
	reason  string
}{
	{"Ports", []string{"Put", "Delete"}, []string{"internal/alloc"},
		"a port is written with its slot and its set of groups: alloc.PutPort, alloc.DeletePort"},
	{"Slots", []string{"Put", "Delete"}, []string{"internal/alloc"},
		"a slot is taken and given back where its port is written, and free again by alloc.FreeSlot once its zone was flushed"},
	{"Gateways", []string{"Put", "Delete"}, []string{"internal/alloc"},
		"a gateway's place is written with the router's slot there: alloc.PlaceGateway, alloc.DropGateway"},
	{"FormerSets", []string{"Put", "Delete"}, []string{"internal/alloc"},
		"a former set is remembered where its port is written, and forgotten by alloc.ForgetFormerSet"},
	{"GroupSets", []string{"Put", "Delete"}, []string{"internal/alloc"},
		"a set of groups lives as long as a port wears it"},
}

func TestTablesWithAWriter(t *testing.T) {
	tree := load(t)
	seen := 0
	for _, rel := range tree.files {
		if !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, "_test.go") || strings.Contains(rel, "testdata/") || matches("test/...", rel) {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(tree.root, filepath.FromSlash(rel)), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range writes(file) {
			seen++
			for _, rule := range writers {
				if rule.table == w.table && slices.Contains(rule.methods, w.method) && !matchesAny(rule.only, path.Dir(rel)) {
					t.Errorf("%s: tables.%s.%s, which only %s may: %s", rel, w.table, w.method, strings.Join(rule.only, ", "), rule.reason)
				}
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d writes of tables found: this test no longer sees how they are written", seen)
	}
}

// write is one use of a table's Put or Delete.
type write struct{ table, method string }

// writes are the uses of tables.X.Put and tables.X.Delete in a file, called or handed on.
func writes(file *ast.File) (out []write) {
	name := ""
	for _, spec := range file.Imports {
		if spec.Path.Value == `"`+module+`/internal/tables"` {
			if name = "tables"; spec.Name != nil {
				name = spec.Name.Name
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		method, ok := n.(*ast.SelectorExpr)
		if !ok || method.Sel.Name != "Put" && method.Sel.Name != "Delete" {
			return true
		}
		if table, ok := method.X.(*ast.SelectorExpr); ok {
			if p, ok := table.X.(*ast.Ident); ok && p.Name == name && name != "" {
				out = append(out, write{table.Sel.Name, method.Sel.Name})
			}
		}
		return true
	})
	return out
}

func TestWritesAreSeen(t *testing.T) {
	const text = `package p
import tt "nagare/internal/tables"
func f(tx *store.Txn) { tt.Ports.Put(tx, "", p); tt.Ports.Get(tx, ""); other.Ports.Put(tx); g(tt.Slots.Delete) }`
	file, err := parser.ParseFile(token.NewFileSet(), "p.go", text, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := writes(file); !slices.Equal(got, []write{{"Ports", "Put"}, {"Slots", "Delete"}}) {
		t.Errorf("writes %v", got)
	}
}
