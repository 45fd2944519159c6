// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// TestRuns compares the runs with a set of ids over random histories, joins and splits of runs included.
func TestRuns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		st := newStore()
		used := map[uint32]bool{}
		_, err := st.Commit(t.Context(), store.Origin{}, func(tx *store.Txn) error {
			use(tx, "other|", 7) // must not be seen
			t.Repeat(map[string]func(*rapid.T){
				"use": func(t *rapid.T) { id := rapid.Uint32Range(1, 40).Draw(t, "id"); used[id] = true; use(tx, "vlan|p", id) },
				"unuse": func(t *rapid.T) {
					id := rapid.Uint32Range(1, 40).Draw(t, "id")
					delete(used, id)
					unuse(tx, "vlan|p", id)
				},
				"": func(t *rapid.T) {
					n, want := 0, 0 // runs, and how many there must be
					for range runs.From(tx, "vlan|p|") {
						n++
					}
					for id := uint32(1); id <= 41; id++ {
						if used[id] && !used[id-1] {
							want++
						}
						free := id
						for used[free] {
							free++
						}
						if got := freeFrom(tx, "vlan|p", uint64(id)); got != uint64(free) {
							t.Fatalf("free from %d: %d, want %d; used %v", id, got, free, used)
						}
					}
					if n != want {
						t.Fatalf("%d runs, want %d: %v", n, want, used)
					}
				},
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// TestVNICost counts what a request for an id allocates: a little more in a thousand times as large a range, whether its ids are
// all in use, all but the last, or none.
func TestVNICost(t *testing.T) {
	cost := func(size, inUse uint32) float64 {
		st := newStore()
		a := &Allocator{Ranges: Ranges{VXLAN: []Range{{1, size}}}}
		var per float64
		in(t, st, func(tx *store.Txn) error {
			for id := range inUse {
				n := model.NetworkID(fmt.Sprint("n", id))
				tables.Networks.Put(tx, n, model.Network{ID: n, NetworkPlane: model.NetworkPlane{Type: model.VXLAN, SegmentationID: id + 1}})
				use(tx, kindOf(model.VXLAN, ""), id+1)
			}
			return nil
		})
		in(t, st, func(tx *store.Txn) error {
			per = testing.AllocsPerRun(20, func() {
				id, err := a.VNI(tx, model.VXLAN, "", 0)
				if full := inUse == size; full != errors.As(err, new(*ExhaustedError)) || !full && id != inUse+1 {
					t.Errorf("%d of %d: %d, %v", inUse, size, id, err)
				}
				if err == nil {
					ReleaseVNI(tx, model.Wire{Type: model.VXLAN, SegmentationID: id})
					segmentCursors.Delete(tx, kindOf(model.VXLAN, ""))
				}
			})
			return nil
		})
		return per
	}
	for name, used := range map[string]func(uint32) uint32{"full": func(n uint32) uint32 { return n }, "but one": func(n uint32) uint32 { return n - 1 },
		"empty": func(uint32) uint32 { return 0 }} {
		small, large := cost(20, used(20)), cost(20_000, used(20_000))
		t.Logf("%s: %.0f allocations of 20 ids, %.0f of 20,000", name, small, large)
		if large > 2*small+20 {
			t.Errorf("%s: %.0f allocations in a range of 20,000, %.0f in one of 20", name, large, small)
		}
	}
}

// TestRunsHeal: networks of a version that kept no runs, or of another writer, are found and not handed out twice.
func TestRunsHeal(t *testing.T) {
	st := newStore()
	a := &Allocator{Ranges: Ranges{VLAN: map[string][]Range{"p": {{100, 103}}}}}
	in(t, st, func(tx *store.Txn) error {
		for _, id := range []uint32{100, 102} {
			n := model.NetworkID(fmt.Sprint(id))
			tables.Networks.Put(tx, n, model.Network{ID: n, NetworkPlane: model.NetworkPlane{Type: model.VLAN, PhysicalNetwork: "p", SegmentationID: id}})
		}
		for _, want := range []uint32{101, 103} {
			if got, err := a.VNI(tx, model.VLAN, "p", 0); got != want || err != nil {
				t.Errorf("%d, %v, want %d", got, err, want)
			}
		}
		if _, err := a.VNI(tx, model.VLAN, "p", 0); !errors.As(err, new(*ExhaustedError)) {
			t.Errorf("all are in use: %v", err)
		}
		return nil
	})
}

// TestTenantVNI: a project's own ranges first, then everybody's without those of other projects.
func TestTenantVNI(t *testing.T) {
	st := newStore()
	a := &Allocator{Ranges: Ranges{VXLAN: []Range{{1, 6}}}}
	in(t, st, func(tx *store.Txn) error {
		for id, r := range map[model.SegmentRangeID]model.SegmentRange{
			"own":    {Std: model.Std{Project: "a"}, Type: model.VXLAN, Minimum: 3, Maximum: 4},
			"far":    {Std: model.Std{Project: "a"}, Type: model.VXLAN, Minimum: 50, Maximum: 50},
			"others": {Std: model.Std{Project: "b"}, Type: model.VXLAN, Minimum: 2, Maximum: 2},
			"shared": {Shared: true, Type: model.VXLAN, Minimum: 70, Maximum: 71},
			"vlan":   {Std: model.Std{Project: "a"}, Type: model.VLAN, PhysicalNetwork: "p", Minimum: 9, Maximum: 9},
			"shows":  {Default: true, Shared: true, Type: model.VXLAN, Minimum: 1, Maximum: 6},
		} {
			r.ID = id
			tables.SegmentRanges.Put(tx, id, r)
		}
		all := func(project model.ProjectID) (got []uint32) {
			for {
				id, err := a.TenantVNI(tx, project, model.VXLAN, "", 0)
				if err != nil {
					if !errors.As(err, new(*ExhaustedError)) {
						t.Error(err)
					}
					return got
				}
				n := model.NetworkID(fmt.Sprint(id))
				tables.Networks.Put(tx, n, model.Network{ID: n, NetworkPlane: model.NetworkPlane{Type: model.VXLAN, SegmentationID: id}})
				got = append(got, id)
			}
		}
		// "far" comes first: ranges are tried in the order of their ids.
		if got, want := all("a"), []uint32{50, 3, 4, 1, 5, 6, 70, 71}; !slices.Equal(got, want) {
			t.Errorf("a: %v, want %v", got, want)
		}
		if got, want := all("b"), []uint32{2}; !slices.Equal(got, want) {
			t.Errorf("b: %v, want %v", got, want)
		}
		if id, err := a.TenantVNI(tx, "a", model.VLAN, "p", 0); id != 9 || err != nil {
			t.Errorf("vlan: %d, %v", id, err)
		}
		return nil
	})
	var used []uint32
	for id := range UsedVNIs(st.Snapshot(), model.VXLAN, "", Range{4, 60}) {
		used = append(used, id)
	}
	if want := []uint32{4, 5, 6, 50}; !slices.Equal(used, want) {
		t.Errorf("used: %v, want %v", used, want)
	}
	free := slices.Collect(FreeVNIs(st.Snapshot(), model.VXLAN, "", Range{4, 60}))
	if want := []Range{{7, 49}, {51, 60}}; !slices.Equal(free, want) {
		t.Errorf("free: %v, want %v", free, want)
	}
}
