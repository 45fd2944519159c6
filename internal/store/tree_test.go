// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"nagare/internal/repro"
)

func init() { repro.Rapid() }

// check compares a tree with a map, by every way of reading, and verifies its shape.
func (t tree) check(want map[place]*record) error {
	if t.size != len(want) {
		return fmt.Errorf("size %d, want %d", t.size, len(want))
	}
	order := slices.SortedFunc(maps.Keys(want), place.compare)
	i := 0
	var err error
	t.all(func(p place, rec *record) {
		if i >= len(order) || order[i] != p || want[p] != rec {
			err = fmt.Errorf("entry %d is %q", i, p)
		}
		i++
	})
	if err != nil || i != len(order) {
		return fmt.Errorf("%d entries, want %d: %v", i, len(order), err)
	}
	for p, rec := range want {
		if t.get(p.group, p.key) != rec {
			return fmt.Errorf("get %q", p)
		}
	}
	groups := map[string][]string{}
	for _, p := range order {
		groups[p.group] = append(groups[p.group], p.key)
	}
	for g, keys := range groups {
		for from := range keys {
			i := from
			t.scan(g, keys[from], func(key string, _ *record) bool {
				if i >= len(keys) || keys[i] != key {
					err = fmt.Errorf("scan of %q from %q: %q at %d", g, keys[from], key, i)
				}
				i++
				return err == nil
			})
			if i != len(keys) && err == nil {
				err = fmt.Errorf("scan of %q from %q ends at %d of %d", g, keys[from], i, len(keys))
			}
			for at, end := range map[int]string{from: keys[from], from + 1: keys[from] + "\x00", len(keys): ""} { // places before end
				t.back(g, end, func(key string, _ *record) bool {
					if at--; at < 0 || keys[at] != key {
						err = fmt.Errorf("back in %q from %q: %q at %d", g, end, key, at)
					}
					return err == nil
				})
				if at != 0 && err == nil {
					err = fmt.Errorf("back in %q from %q ends at %d", g, end, at)
				}
			}
		}
	}
	if err == nil && t.root != nil {
		_, err = t.root.shape(nil, nil)
	}
	return err
}

// shape verifies that places lie between low and high, that nodes are not overfull, and that all leaves are equally deep.
func (n *node) shape(low, high *place) (depth int, err error) {
	if len(n.places) > nodeSize || !slices.IsSortedFunc(n.places, place.compare) {
		return 0, fmt.Errorf("%d places, or out of order", len(n.places))
	}
	for _, p := range n.places {
		if low != nil && p.compare(*low) < 0 || high != nil && p.compare(*high) >= 0 {
			return 0, fmt.Errorf("%q is out of bounds", p)
		}
	}
	if n.leaf() {
		if len(n.recs) != len(n.places) {
			return 0, fmt.Errorf("leaf with %d places and %d records", len(n.places), len(n.recs))
		}
		return 1, nil
	}
	if len(n.kids) != len(n.places)+1 {
		return 0, fmt.Errorf("branch with %d places and %d kids", len(n.places), len(n.kids))
	}
	for i, k := range n.kids {
		l, h := low, high
		if i > 0 {
			l = &n.places[i-1]
		}
		if i < len(n.places) {
			h = &n.places[i]
		}
		d, err := k.shape(l, h)
		if err != nil {
			return 0, err
		}
		if depth != 0 && d != depth {
			return 0, fmt.Errorf("leaves at depths %d and %d", d, depth)
		}
		depth = d
	}
	return depth + 1, nil
}

// TestTree edits trees at random, in bulk and singly, and checks the result and every state frozen before.
func TestTree(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		want := map[place]*record{}
		random := func() place {
			return place{fmt.Sprint(r.IntN(4)), fmt.Sprint(r.IntN(400))}
		}
		var es []entry
		for range rapid.SampledFrom([]int{0, 1, 21, 22, 23, 500}).Draw(rt, "bulk") {
			p := random()
			if want[p] == nil {
				want[p] = &record{}
				es = append(es, entry{p, want[p]})
			}
		}
		built := buildTree(es)
		if err := built.check(want); err != nil {
			rt.Fatalf("built: %v", err)
		}
		e := built.edit()
		type frozen struct {
			t    tree
			want map[place]*record
		}
		old := []frozen{{built, maps.Clone(want)}}
		for range rapid.IntRange(1, 6).Draw(rt, "rounds") {
			grow, ascending := rapid.IntRange(0, 10).Draw(rt, "grow"), rapid.Bool().Draw(rt, "ascending")
			for i := range rapid.IntRange(0, 600).Draw(rt, "edits") {
				p := random()
				if ascending {
					p = place{"2", fmt.Sprintf("%04d", i)}
				}
				if r.IntN(10) < grow {
					want[p] = &record{}
					e.put(p.group, p.key, want[p])
					continue
				}
				if _, there := want[p]; e.delete(p.group, p.key) != there {
					rt.Fatalf("delete of %q: there %v", p, there)
				}
				delete(want, p)
			}
			if err := e.check(want); err != nil {
				rt.Fatal(err)
			}
			if rapid.Bool().Draw(rt, "freeze") {
				old = append(old, frozen{e.freeze(), maps.Clone(want)})
			}
		}
		for i, f := range old {
			if err := f.t.check(f.want); err != nil {
				rt.Fatalf("state frozen %d has changed: %v", i, err)
			}
		}
	})
}
