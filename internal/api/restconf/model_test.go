// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"os"
	"testing"
)

// TestModel: docs/model.md is what the modules and sources generate, and of every source it says where its data comes from.
func TestModel(t *testing.T) {
	served := newServed()
	left := map[string]bool{}
	for path := range origins {
		left[path] = true
	}
	for _, n := range served.sorted() {
		if !left[n.Path()] {
			t.Errorf("%s: where does its data come from? Say so in origins", n.Path())
		}
		delete(left, n.Path())
	}
	for path := range left {
		t.Errorf("%s has an origin and no source", path)
	}
	got, err := os.ReadFile("../../../docs/model.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != Markdown() {
		t.Error("docs/model.md is stale: run go generate ./internal/api/restconf")
	}
}
