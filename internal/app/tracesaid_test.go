// SPDX-License-Identifier: Apache-2.0

package app

import (
	"strings"
	"testing"

	"nagare/internal/netvirt"
)

// TestTraceSaysOnce: what a flow changes is told once, whether by the action that holds a list of others or by these.
func TestTraceSaysOnce(t *testing.T) {
	f, err := newFabric(t.Context(), traced(t, netvirt.Options{}).s.hub)
	if err != nil {
		t.Fatal(err)
	}
	q := ask("net01-compute tcp/8080 to net01-controller")
	tr, err := f.trace(&q)
	if err != nil {
		t.Fatal(err)
	}
	labels := 0
	for _, v := range tr.Way {
		for _, s := range v.Steps {
			said := map[string]bool{}
			for _, d := range s.Did {
				for _, c := range d.Changes {
					if said[c] {
						t.Errorf("%s says twice: %s", s.Flow, c)
					}
					if said[c] = true; strings.HasPrefix(c, "ct_label") {
						labels++
					}
				}
			}
		}
	}
	if labels == 0 {
		t.Error("no connection is labelled: the test sees nothing")
	}
}
