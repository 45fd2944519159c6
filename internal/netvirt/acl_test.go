// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"nagare/internal/alloc"
	"nagare/internal/compile"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// TestPortMasks checks that a range is covered exactly, by at most 30 masks.
func TestPortMasks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lo := rapid.Uint16().Draw(t, "lo")
		hi := rapid.Uint16Range(lo, 65535).Draw(t, "hi")
		masks := PortMasks(lo, hi)
		if len(masks) > 30 {
			t.Fatalf("%d-%d: %d masks", lo, hi, len(masks))
		}
		covered := 0
		for _, m := range masks {
			first, last := m.Value, m.Value|^m.Mask
			if m.Value&m.Mask != m.Value || first < lo || last > hi {
				t.Fatalf("%d-%d: mask %#x/%#x reaches outside", lo, hi, m.Value, m.Mask)
			}
			covered += int(last-first) + 1
		}
		if covered != int(hi-lo)+1 {
			t.Fatalf("%d-%d: %d ports covered", lo, hi, covered)
		}
	})
}

// TestClassicRemotes: a rule that names a set allows its addresses and nobody else, even in the profile that allows most.
func TestClassicRemotes(t *testing.T) {
	st := store.New(tables.Schema, nil)
	if _, err := st.Commit(context.Background(), store.Origin{User: "test"}, func(tx *store.Txn) error {
		tables.AddressGroups.Put(tx, "ag", model.AddressGroup{ID: "ag", AddressGroupPlane: model.AddressGroupPlane{
			Addresses: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("2001:db8::/64")}}})
		return alloc.PutPort(tx, model.Port{ID: "p", PortPlane: model.PortPlane{SecurityGroups: []model.SecurityGroupID{"sg"},
			FixedIPs: []model.FixedIP{{Addr: netip.MustParseAddr("10.2.0.3")}}}})
	}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		rule model.RulePlane
		want string
	}{
		{model.RulePlane{}, "[invalid Prefix]"},
		{model.RulePlane{RemotePrefix: netip.MustParsePrefix("10.9.0.0/24")}, "[10.9.0.0/24]"},
		{model.RulePlane{RemoteGroup: "sg"}, "[10.2.0.3/32]"},
		{model.RulePlane{RemoteGroup: "gone"}, "[]"},
		{model.RulePlane{RemoteAddressGroup: "ag"}, "[10.1.0.0/16]"},
		{model.RulePlane{RemoteAddressGroup: "gone"}, "[]"},
	} {
		got := remotes(&compile.Context{Reader: st.Snapshot()}, &model.SecurityGroupRule{RulePlane: tt.rule})
		if fmt.Sprint(got) != tt.want {
			t.Errorf("%+v: %v, want %s", tt.rule, got, tt.want)
		}
	}
}
