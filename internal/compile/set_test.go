// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"nagare/internal/repro"
)

func init() { repro.Rapid() }

type item struct {
	n    int
	hash uint32
}

func (i *item) hashOf() uint32 { return i.hash }

// TestSet compares a set with a map over random histories; few distinct hashes make long clusters that wrap around.
func TestSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spread := rapid.SampledFrom([]uint32{1, 1 << 28, 1 << 31, 0xffffffff}).Draw(t, "spread")
		items := make([]*item, 60)
		for i := range items {
			items[i] = &item{i, uint32(i) * 2654435761 % 13 * spread}
		}
		var s set[*item]
		want := map[*item]bool{}
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			x := items[rapid.IntRange(0, len(items)-1).Draw(t, "item")]
			if want[x] || rapid.IntRange(0, 9).Draw(t, "absent") == 0 {
				s.remove(x)
				delete(want, x)
			} else {
				s.add(x)
				want[x] = true
			}
			if s.n != len(want) {
				t.Fatalf("%d members, want %d", s.n, len(want))
			}
			for _, y := range items {
				got := s.find(y.hash, func(z *item) bool { return z.n == y.n })
				if (got == y) != want[y] {
					t.Fatalf("find %d: %v, want %v", y.n, got, want[y])
				}
			}
		}
		seen := map[*item]bool{}
		for x := range s.all {
			if seen[x] || !want[x] {
				t.Fatalf("member %d comes twice or is none", x.n)
			}
			seen[x] = true
		}
		if len(seen) != len(want) {
			t.Fatalf("%d members seen, want %d", len(seen), len(want))
		}
	})
}

// TestPool counts references from several goroutines.
func TestPool(t *testing.T) {
	p := newPool[string]()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 2000 {
				w := p.get(fmt.Sprint("w", i%100))
				if w.val != fmt.Sprint("w", i%100) {
					t.Errorf("got %q", w.val)
				}
				if i >= 100 {
					p.put(w)
				}
			}
		})
	}
	wg.Wait()
	if p.len() != 100 {
		t.Fatalf("%d words, want 100", p.len())
	}
	for i := range 100 {
		w := p.look(fmt.Sprint("w", i))
		if w == nil || w.refs != 4 || p.get(w.val) != w {
			t.Fatalf("word %d: %+v", i, w)
		}
		for range 5 {
			p.put(w)
		}
		if p.look(w.val) != nil {
			t.Fatalf("word %d outlived its references", i)
		}
	}
	if p.len() != 0 {
		t.Fatalf("%d words left", p.len())
	}
}
