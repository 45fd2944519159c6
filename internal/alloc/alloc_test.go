// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"nagare/internal/model"
	"nagare/internal/repro"
	"nagare/internal/store"
	"nagare/internal/tables"
)

func init() { repro.Rapid() }

func newStore() *store.Store { return store.New(tables.Schema, nil) }

func in(t testing.TB, st *store.Store, f func(*store.Txn) error) {
	t.Helper()
	if _, err := st.Commit(context.Background(), store.Origin{User: "test"}, f); err != nil {
		t.Fatal(err)
	}
}

// TestNextKey hands out 1, 2, 3..., survives an abort without a gap, and after a wrap skips keys in use.
func TestNextKey(t *testing.T) {
	st := newStore()
	next := func() (key model.Key) {
		in(t, st, func(tx *store.Txn) (err error) { key, err = NextKey(tx, Port); return err })
		return key
	}
	for want := model.Key(1); want <= 3; want++ {
		if got := next(); got != want {
			t.Fatalf("key %d, want %d", got, want)
		}
	}
	abort := errors.New("abort")
	if _, err := st.Commit(t.Context(), store.Origin{}, func(tx *store.Txn) error { NextKey(tx, Port); return abort }); err != abort {
		t.Fatal(err)
	}
	if got := next(); got != 4 {
		t.Errorf("after an abort: key %d, want 4", got)
	}
	in(t, st, func(tx *store.Txn) error {
		counters.Put(tx, Port, counter{Next: 1<<24 - 1})
		for _, k := range []model.Key{1, 2, 4} {
			id := model.PortID(fmt.Sprint("p", k))
			tables.Ports.Put(tx, id, model.Port{ID: id, PortPlane: model.PortPlane{Key: k}})
		}
		return nil
	})
	for _, want := range []model.Key{1<<24 - 1, 3, 5} {
		if got := next(); got != want {
			t.Errorf("around the wrap: key %d, want %d", got, want)
		}
	}
	in(t, st, func(tx *store.Txn) error {
		counters.Put(tx, Rule, counter{Next: 1<<32 - 1})
		k, err := NextKey(tx, Rule)
		if err != nil || k != 1<<32-1 {
			t.Errorf("rule key %d, %v", k, err)
		}
		return nil
	})
}

func TestVNI(t *testing.T) {
	st := newStore()
	a := &Allocator{Ranges: Ranges{VXLAN: []Range{{10, 13}}, VLAN: map[string][]Range{"physnet1": {{100, 101}, {200, 200}}}}}
	n := 0
	give := func(typ model.NetworkType, physnet string, wanted uint32) (uint32, error) {
		var vni uint32
		_, err := st.Commit(t.Context(), store.Origin{}, func(tx *store.Txn) (err error) {
			if vni, err = a.VNI(tx, typ, physnet, wanted); err != nil {
				return err
			}
			n++
			id := model.NetworkID(fmt.Sprint("n", n))
			tables.Networks.Put(tx, id, model.Network{ID: id, NetworkPlane: model.NetworkPlane{Type: typ, PhysicalNetwork: physnet, SegmentationID: vni}})
			return nil
		})
		return vni, err
	}
	want := func(typ model.NetworkType, physnet string, wanted, expect uint32) {
		t.Helper()
		if got, err := give(typ, physnet, wanted); err != nil || got != expect {
			t.Errorf("%s %s %d: %d, %v, want %d", typ, physnet, wanted, got, err, expect)
		}
	}
	refuse := func(typ model.NetworkType, physnet string, wanted uint32, target any) {
		t.Helper()
		if got, err := give(typ, physnet, wanted); !errors.As(err, target) {
			t.Errorf("%s %s %d: %d, %v, want a %T", typ, physnet, wanted, got, err, target)
		}
	}
	var conflict *ConflictError
	var exhausted *ExhaustedError
	var invalid *InvalidError
	want(model.VXLAN, "", 0, 10)
	want(model.VXLAN, "", 12, 12)
	want(model.VXLAN, "", 0, 11)
	want(model.VXLAN, "", 0, 13)
	refuse(model.VXLAN, "", 0, &exhausted)
	want(model.VXLAN, "", 1077, 1077) // outside the tenants' range, by wish
	refuse(model.VXLAN, "", 1077, &conflict)
	if conflict.Owner != "n5" {
		t.Errorf("conflict with %q, want n5", conflict.Owner)
	}
	refuse(model.VXLAN, "", 1<<24, &invalid)
	in(t, st, func(tx *store.Txn) error {
		tables.Networks.Delete(tx, "n1")
		ReleaseVNI(tx, model.Wire{Type: model.VXLAN, SegmentationID: 10})
		return nil
	})
	want(model.VXLAN, "", 0, 10) // the cursor came round
	want(model.Geneve, "", 0, 1)
	want(model.VLAN, "physnet1", 0, 100)
	want(model.VLAN, "physnet1", 0, 101)
	want(model.VLAN, "physnet1", 0, 200)
	refuse(model.VLAN, "physnet1", 0, &exhausted)
	refuse(model.VLAN, "physnet2", 0, &exhausted)
	want(model.VLAN, "physnet2", 100, 100)
	refuse(model.VLAN, "physnet2", 4095, &invalid)
	want(model.Flat, "physnet1", 0, 0)
	refuse(model.Flat, "physnet1", 0, &conflict)
	refuse(model.Flat, "physnet3", 5, &invalid)
	want(model.Local, "", 0, 0)
	want(model.Local, "", 0, 0)
	refuse("token-ring", "", 0, &invalid)
}

func TestMAC(t *testing.T) {
	st := newStore()
	in(t, st, func(tx *store.Txn) error {
		// The source repeats its first address once.
		a := &Allocator{Rand: bytes.NewReader([]byte{1, 2, 3, 1, 2, 3, 4, 5, 6})}
		m, err := a.MAC(tx, "n1", model.MAC{})
		if err != nil || m != model.MustMAC("fa:16:3e:01:02:03") {
			t.Errorf("first: %s, %v", m, err)
		}
		tables.Ports.Put(tx, "p1", model.Port{ID: "p1", PortPlane: model.PortPlane{Network: "n1", MAC: m}})
		var conflict *ConflictError
		if _, err := a.MAC(tx, "n1", m); !errors.As(err, &conflict) || conflict.Owner != "port p1" {
			t.Errorf("taken address: %v", err)
		}
		if _, err := a.MAC(tx, "n2", m); err != nil {
			t.Errorf("same address on another network: %v", err)
		}
		var invalid *InvalidError
		if _, err := a.MAC(tx, "n1", model.MustMAC("01:00:5e:00:00:01")); !errors.As(err, &invalid) {
			t.Errorf("multicast: %v", err)
		}
		if m, err := a.MAC(tx, "n1", model.MAC{}); err != nil || m != model.MustMAC("fa:16:3e:04:05:06") {
			t.Errorf("second: %s, %v, want the draw after the repeated one", m, err)
		}
		if _, err := a.MAC(tx, "n1", model.MAC{}); err == nil {
			t.Error("an empty random source gave an address")
		}
		return nil
	})
}

func TestDefaultPools(t *testing.T) {
	for _, c := range []struct{ cidr, gateway, want string }{
		{"10.11.12.0/24", "10.11.12.1", "10.11.12.2-10.11.12.254"},
		{"10.11.12.0/24", "10.11.12.254", "10.11.12.1-10.11.12.253"},
		{"10.11.12.0/24", "10.11.12.9", "10.11.12.1-10.11.12.8 10.11.12.10-10.11.12.254"},
		{"10.11.12.0/24", "", "10.11.12.1-10.11.12.254"},
		{"10.11.12.0/24", "10.9.9.9", "10.11.12.1-10.11.12.254"},
		{"10.0.0.4/31", "", "10.0.0.4-10.0.0.5"},
		{"10.0.0.4/32", "", "10.0.0.4-10.0.0.4"},
		{"10.0.0.4/32", "10.0.0.4", ""},
		{"0.0.0.0/0", "", "0.0.0.1-255.255.255.254"},
		{"fd00::/64", "fd00::1", "fd00::2-fd00::ffff:ffff:ffff:ffff"},
		{"fd00::/127", "", "fd00::-fd00::1"},
	} {
		var gw netip.Addr
		if c.gateway != "" {
			gw = netip.MustParseAddr(c.gateway)
		}
		var got []string
		for _, r := range DefaultPools(netip.MustParsePrefix(c.cidr), gw) {
			got = append(got, r.Start.String()+"-"+r.End.String())
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("DefaultPools(%s, %s) = %s, want %s", c.cidr, c.gateway, s, c.want)
		}
	}
	if a := EUI64(netip.MustParsePrefix("2001:db8::/64"), model.MustMAC("fa:16:3e:00:00:01")); a.String() != "2001:db8::f816:3eff:fe00:1" {
		t.Errorf("EUI64: %s", a)
	}
}

func subnet(cidr, gateway string) model.Subnet {
	s := model.Subnet{ID: "s1", SubnetPlane: model.SubnetPlane{Network: "n1", CIDR: netip.MustParsePrefix(cidr)}}
	if gateway != "" {
		s.Gateway = netip.MustParseAddr(gateway)
	}
	s.AllocationPools = DefaultPools(s.CIDR, s.Gateway)
	return s
}

func putPort(tx *store.Txn, s model.Subnet, addrs ...netip.Addr) {
	p := model.Port{ID: model.PortID("p" + addrs[0].String()), PortPlane: model.PortPlane{Network: s.Network}}
	for _, a := range addrs {
		p.FixedIPs = append(p.FixedIPs, model.FixedIP{Subnet: s.ID, Addr: a})
	}
	tables.Ports.Put(tx, p.ID, p)
}

// TestAddressWanted checks which wishes are granted.
func TestAddressWanted(t *testing.T) {
	st, s := newStore(), subnet("10.11.12.0/24", "10.11.12.1")
	in(t, st, func(tx *store.Txn) error {
		first, err := Address(tx, s, netip.Addr{})
		if err != nil || first.String() != "10.11.12.2" {
			t.Errorf("first address %s, %v, want 10.11.12.2", first, err)
		}
		putPort(tx, s, first)
		for _, c := range []struct {
			addr   string
			target any
		}{
			{"10.11.12.2", new(*ConflictError)},
			{"10.11.12.77", new(*ConflictError)}, // taken below
			{"10.11.13.1", new(*InvalidError)},
			{"10.11.12.0", new(*InvalidError)},
			{"10.11.12.255", new(*InvalidError)},
			{"fd00::1", new(*InvalidError)},
			{"10.11.12.1", nil},
			{"10.11.12.99", nil},
		} {
			got, err := Address(tx, s, netip.MustParseAddr(c.addr), netip.MustParseAddr("10.11.12.77"))
			if c.target == nil && (err != nil || got.String() != c.addr) || c.target != nil && !errors.As(err, c.target) {
				t.Errorf("wanted %s: %s, %v", c.addr, got, err)
			}
		}
		return nil
	})
}

// TestAddressLowestFree compares with a search through everything, over random histories of allocations, wishes, releases,
// aborts, and changes of pools and gateway.
func TestAddressLowestFree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		st, s := newStore(), subnet("10.0.0.0/27", "10.0.0.1")
		used := map[netip.Addr]bool{}
		abort := errors.New("abort")
		addr := rapid.Custom(func(t *rapid.T) netip.Addr {
			return netip.AddrFrom4([4]byte{10, 0, 0, byte(rapid.IntRange(1, 30).Draw(t, "host"))})
		})
		commit := func(what string, f func(tx *store.Txn)) bool {
			fail := rapid.IntRange(0, 4).Draw(t, "abort") == 0
			_, err := st.Commit(context.Background(), store.Origin{}, func(tx *store.Txn) error {
				f(tx)
				if fail {
					return abort
				}
				return nil
			})
			if fail != (err == abort) || !fail && err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			return !fail
		}
		lowest := func(taken ...netip.Addr) (best netip.Addr) {
			for a := s.CIDR.Addr(); s.CIDR.Contains(a); a = a.Next() {
				if !used[a] && a != s.Gateway && inPools(s, a) && !slices.Contains(taken, a) {
					return a
				}
			}
			return best
		}
		t.Repeat(map[string]func(*rapid.T){
			"allocate": func(t *rapid.T) {
				var taken []netip.Addr
				if a := addr.Draw(t, "taken"); rapid.Bool().Draw(t, "with taken") && !used[a] {
					taken = append(taken, a)
				}
				want := lowest(taken...)
				var got netip.Addr
				if commit("allocate", func(tx *store.Txn) {
					var err error
					got, err = Address(tx, s, netip.Addr{}, taken...)
					if got != want || (err == nil) != want.IsValid() {
						t.Fatalf("allocate: %s, %v, want %s", got, err, want)
					}
					if err == nil {
						putPort(tx, s, got)
					}
				}) && got.IsValid() {
					used[got] = true
				}
			},
			"wish": func(t *rapid.T) {
				a := addr.Draw(t, "addr")
				if commit("wish", func(tx *store.Txn) {
					if _, err := Address(tx, s, a); (err == nil) == used[a] {
						t.Fatalf("wish %s, used %v: %v", a, used[a], err)
					}
					putPort(tx, s, a)
				}) {
					used[a] = true
				}
			},
			"release": func(t *rapid.T) {
				a := addr.Draw(t, "addr")
				if commit("release", func(tx *store.Txn) {
					tables.Ports.Delete(tx, model.PortID("p"+a.String()))
					ReleaseAddress(tx, s, a)
				}) {
					delete(used, a)
				}
			},
			"change": func(t *rapid.T) {
				s.Gateway = addr.Draw(t, "gateway")
				a, b := addr.Draw(t, "a"), addr.Draw(t, "b")
				if b.Less(a) {
					a, b = b, a
				}
				s.AllocationPools = []model.AddrRange{{Start: b, End: b}, {Start: s.CIDR.Addr().Next(), End: a}}
			},
		})
	})
}

// TestAddressForgotten checks that an emptied or deleted subnet leaves no records behind.
func TestAddressForgotten(t *testing.T) {
	st, s := newStore(), subnet("10.0.0.0/24", "10.0.0.1")
	var got []netip.Addr
	for range 20 {
		in(t, st, func(tx *store.Txn) error {
			a, err := Address(tx, s, netip.Addr{})
			got = append(got, a)
			putPort(tx, s, a)
			return err
		})
	}
	for i := range got {
		a := got[(i*7)%len(got)]
		in(t, st, func(tx *store.Txn) error {
			tables.Ports.Delete(tx, model.PortID("p"+a.String()))
			ReleaseAddress(tx, s, a)
			return nil
		})
	}
	if n := holes.Len(st.Snapshot()); n != 0 {
		t.Errorf("%d holes in an empty subnet, want none", n)
	}
	in(t, st, func(tx *store.Txn) error { ForgetSubnet(tx, s.ID); return nil })
	if n := addressCursors.Len(st.Snapshot()); n != 0 {
		t.Errorf("%d cursors after the subnet was forgotten, want none", n)
	}
}

func TestPlaceDHCP(t *testing.T) {
	st := newStore()
	if id, ok := PlaceDHCP(st.Snapshot(), "z", ""); ok {
		t.Errorf("without nodes: %s", id)
	}
	in(t, st, func(tx *store.Txn) error {
		mapped := map[string]string{"physnet1": "br-phy"}
		tables.Nodes.Put(tx, "a-compute", model.Node{ID: "a-compute"})
		tables.Nodes.Put(tx, "z", model.Node{ID: "z", NodePlane: model.NodePlane{Mappings: mapped}})
		tables.Nodes.Put(tx, "controller", model.Node{ID: "controller", NodePlane: model.NodePlane{Mappings: mapped}})
		return nil
	})
	for _, c := range []struct{ chosen, removed, want model.NodeID }{
		{"", "", "controller"}, {"z", "", "z"}, {"z", "z", "controller"}, {"", "controller", "z"}, {"a-compute", "", "controller"}, {"gone", "z", "controller"},
	} {
		if id, ok := PlaceDHCP(st.Snapshot(), c.chosen, c.removed); !ok || id != c.want {
			t.Errorf("chosen %q, removed from %q: %q, %v, want %q", c.chosen, c.removed, id, ok, c.want)
		}
	}
	in(t, st, func(tx *store.Txn) error { tables.Nodes.Delete(tx, "z"); return nil })
	if id, ok := PlaceDHCP(st.Snapshot(), "", "controller"); ok {
		t.Errorf("removed from the only one: %q", id)
	}
}

const recording = `
networks:
  - {name: net01, id: 24fd2f46-0000-4000-8000-000000000001, segmentation_id: 1077}
subnets:
  - {name: net01-subnet, id: 24fd2f46-0000-4000-8000-000000000002}
ports:
  - {device_owner: "network:dhcp", network: net01, id: 178a8b99-0000-4000-8000-000000000003, mac: "fa:16:3e:ef:85:07"}
  - {name: vm01, id: 7adff632-0000-4000-8000-000000000004, mac: "fa:16:3e:9e:f5:70"}
`

func TestRecorded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ids.yaml")
	if err := os.WriteFile(path, []byte(recording), 0o600); err != nil {
		t.Fatal(err)
	}
	rec, err := LoadRecorded(path)
	if err != nil {
		t.Fatal(err)
	}
	st := newStore()
	in(t, st, func(tx *store.Txn) error {
		id, vni := rec.Network(tx, "net01")
		if id != "24fd2f46-0000-4000-8000-000000000001" || vni != 1077 {
			t.Errorf("net01: %s %d", id, vni)
		}
		tables.Networks.Put(tx, id, model.Network{ID: id})
		if again, vni := rec.Network(tx, "net01"); again == id || vni != 0 || len(again) != 36 {
			t.Errorf("a second net01: %s %d, want a random id", again, vni)
		}
		if id := rec.Subnet(tx, "net01-subnet"); id != "24fd2f46-0000-4000-8000-000000000002" {
			t.Errorf("net01-subnet: %s", id)
		}
		if id, mac := rec.Port(tx, "net01", model.OwnerDHCP, ""); id != "178a8b99-0000-4000-8000-000000000003" || mac.String() != "fa:16:3e:ef:85:07" {
			t.Errorf("dhcp port: %s %s", id, mac)
		}
		if id, mac := rec.Port(tx, "net02", model.OwnerDHCP, ""); !mac.IsZero() || strings.HasPrefix(string(id), "178a8b99") {
			t.Errorf("dhcp port of another network: %s %s", id, mac)
		}
		if id, mac := rec.Port(tx, "net01", "", "vm01"); id != "7adff632-0000-4000-8000-000000000004" || mac.String() != "fa:16:3e:9e:f5:70" {
			t.Errorf("vm01: %s %s", id, mac)
		}
		return nil
	})
}

func TestRecordedFaults(t *testing.T) {
	for text, want := range map[string]string{
		"networks: [{name: a, id: X}]":                        "want a lower-case UUID",
		"ports: [{id: 178a8b99-0000-4000-8000-000000000003}]": "nothing says which",
		"ports: [{name: a, id: 178a8b99-0000-4000-8000-000000000003}, {name: b, id: 178a8b99-0000-4000-8000-000000000003}]": "occurs twice",
		"ports: [{name: a, id: 178a8b99-0000-4000-8000-000000000003, mac: \"01:00:00:00:00:00\"}]":                          "multicast",
		"ports: [{name: a, id: 178a8b99-0000-4000-8000-000000000003, mac: nonsense}]":                                       "want six octets",
		"portz: []": "portz",
	} {
		if _, err := ParseRecorded([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if _, err := ParseRecorded(nil); err != nil {
		t.Errorf("empty: %v", err)
	}
}

// BenchmarkAddress allocates from a subnet that has 10,000 ports.
func BenchmarkAddress(b *testing.B) {
	st, s := newStore(), subnet("10.0.0.0/8", "10.0.0.1")
	in(b, st, func(tx *store.Txn) error {
		for range 10000 {
			a, err := Address(tx, s, netip.Addr{})
			if err != nil {
				return err
			}
			putPort(tx, s, a)
		}
		return nil
	})
	for b.Loop() {
		in(b, st, func(tx *store.Txn) error {
			a, err := Address(tx, s, netip.Addr{})
			putPort(tx, s, a)
			return err
		})
	}
}
