// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"nagare/internal/model"
	"nagare/internal/repro"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// TestPrefixes takes and gives back prefixes at random and holds, after each step, what any allocator must: nothing is handed out
// twice, everything lies in the pool, what is free and what is taken make up the pool, and it fails only if nothing fits. The
// smallest free block is always used, and in the end the pool is one block again.
func TestPrefixes(t *testing.T) {
	for _, pool := range []netip.Prefix{netip.MustParsePrefix("10.0.0.0/20"), netip.MustParsePrefix("fd00::/52")} {
		st := store.New(tables.Schema, nil)
		rnd := repro.Rand(1, 2)
		id := model.SubnetPoolID("p")
		step := func(f func(tx *store.Txn)) {
			t.Helper()
			if _, err := st.Commit(context.Background(), store.Origin{}, func(tx *store.Txn) error { f(tx); return nil }); err != nil {
				t.Fatal(err)
			}
		}
		free := func() (out []netip.Prefix) {
			for key := range freeBlocks.All(st.Snapshot()) {
				if p, ok := blockOf(key); ok && strings.HasPrefix(key, "p|") {
					out = append(out, p)
				}
			}
			return out
		}
		size := func(ps []netip.Prefix) (n float64) {
			for _, p := range ps {
				n += float64(uint64(1) << (pool.Bits() + 12 - p.Bits()))
			}
			return n
		}
		step(func(tx *store.Txn) { ReleasePrefix(tx, id, pool); ReleasePrefix(tx, "p2", pool) })
		var taken []netip.Prefix
		for range 400 {
			before := free()
			bits := pool.Bits() + rnd.IntN(12)
			switch {
			case rnd.IntN(3) == 0 && len(taken) > 0:
				i := rnd.IntN(len(taken))
				step(func(tx *store.Txn) { ReleasePrefix(tx, id, taken[i]) })
				taken = slices.Delete(taken, i, i+1)
			case rnd.IntN(3) == 0:
				want := netip.PrefixFrom(pool.Addr(), bits)
				for b := pool.Bits() + 1; b <= bits; b++ {
					if rnd.IntN(2) == 0 {
						want = sibling(netip.PrefixFrom(want.Addr(), b))
						want = netip.PrefixFrom(want.Addr(), bits)
					}
				}
				var err error
				step(func(tx *store.Txn) { err = WantedPrefix(tx, id, want) })
				if clash := slices.ContainsFunc(taken, want.Overlaps); (err != nil) != clash {
					t.Fatalf("want %s with %v taken: %v", want, taken, err)
				}
				if err == nil {
					taken = append(taken, want)
				}
			default:
				var p netip.Prefix
				var err error
				step(func(tx *store.Txn) { p, err = Prefix(tx, id, bits) })
				fits := slices.DeleteFunc(before, func(b netip.Prefix) bool { return b.Bits() > bits })
				if (err == nil) != (len(fits) > 0) {
					t.Fatalf("a /%d of %v: %v", bits, fits, err)
				}
				if err != nil {
					continue
				}
				small := slices.MaxFunc(fits, func(a, b netip.Prefix) int { return a.Bits() - b.Bits() })
				if p.Bits() != bits || !slices.ContainsFunc(fits, func(b netip.Prefix) bool { return b.Bits() == small.Bits() && b.Addr() == p.Addr() }) {
					t.Fatalf("a /%d: %s, the smallest block is %s", bits, p, small)
				}
				taken = append(taken, p)
			}
			all := append(free(), taken...)
			for i, p := range all {
				if slices.ContainsFunc(all[i+1:], p.Overlaps) || !pool.Overlaps(p) || p.Bits() < pool.Bits() {
					t.Fatalf("%s overlaps, or is outside: %v", p, all)
				}
			}
			if size(all) != size([]netip.Prefix{pool}) {
				t.Fatalf("free and taken are %v of %v: %v", size(all), size([]netip.Prefix{pool}), all)
			}
		}
		step(func(tx *store.Txn) {
			for _, p := range taken {
				ReleasePrefix(tx, id, p)
			}
		})
		if got := free(); len(got) != 1 || got[0] != pool {
			t.Errorf("given back: %v", got)
		}
		step(func(tx *store.Txn) { ForgetPool(tx, id) })
		if n := freeBlocks.Len(st.Snapshot()); n != 1 {
			t.Errorf("%d records, want that of the other pool alone", n)
		}
	}
}

func TestMergePrefixes(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.0/25 10.0.0.128/25":                            "10.0.0.0/24",
		"10.0.1.0/24 10.0.0.0/24 10.0.2.0/24":                  "10.0.0.0/23 10.0.2.0/24",
		"10.0.0.0/8 10.1.0.0/16 10.0.0.0/8":                    "10.0.0.0/8",
		"10.0.1.0/24 10.0.2.0/24":                              "10.0.1.0/24 10.0.2.0/24",
		"10.0.0.0/26 10.0.0.64/26 10.0.0.128/26 10.0.0.192/26": "10.0.0.0/24",
		"fd00:0:0:1::/64 fd00::/64":                            "fd00::/63",
	} {
		var ps []netip.Prefix
		for _, s := range strings.Fields(in) {
			ps = append(ps, netip.MustParsePrefix(s))
		}
		var got []string
		for _, p := range MergePrefixes(ps) {
			got = append(got, p.String())
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %v, want %s", in, got, want)
		}
	}
}
