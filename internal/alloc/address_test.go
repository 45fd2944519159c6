// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"net/netip"
	"testing"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// TestAddressReleasedMeanwhile: an address that is given back while the pools are others is free again when the pools change back.
func TestAddressReleasedMeanwhile(t *testing.T) {
	st := newStore()
	s := subnet("10.0.0.0/24", "10.0.0.1")
	pools := s.AllocationPools
	next := func() (a netip.Addr) {
		t.Helper()
		in(t, st, func(tx *store.Txn) (err error) {
			if a, err = Address(tx, s, netip.Addr{}); err == nil {
				putPort(tx, s, a)
			}
			return err
		})
		return a
	}
	first := next()
	next()
	s.AllocationPools = []model.AddrRange{{Start: netip.MustParseAddr("10.0.0.100"), End: netip.MustParseAddr("10.0.0.200")}}
	in(t, st, func(tx *store.Txn) error {
		tables.Ports.Delete(tx, model.PortID("p"+first.String()))
		ReleaseAddress(tx, s, first)
		return nil
	})
	s.AllocationPools = pools
	if a := next(); a != first {
		t.Errorf("%s is given, want %s, which is free", a, first)
	}
}
