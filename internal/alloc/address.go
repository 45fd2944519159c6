// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"math/big"
	"net/netip"
	"slices"
	"strings"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// addressCursor remembers how far a subnet's pools have been handed out: a free address of a pool lies at Next or above, or
// has a record in holes. Pools and Gateway are those that this was true for; if the subnet's differ, it starts anew.
type addressCursor struct {
	Next    netip.Addr        `json:"next"`
	Pools   []model.AddrRange `json:"pools"`
	Gateway netip.Addr        `json:"gateway,omitzero"`
}

// hole is a released address below the cursor. Its key orders the holes of a subnet by address.
type hole struct{}

var (
	addressCursors = store.Declare[model.SubnetID, addressCursor](tables.Schema, "alloc-address-cursors", store.Allocated).
			Plane(func(addressCursor) any { return nil })
	holes = store.Declare[string, hole](tables.Schema, "alloc-address-holes", store.Allocated).
		Plane(func(hole) any { return nil })
)

func holeKey(s model.SubnetID, a netip.Addr) string {
	return string(s) + "|" + hex.EncodeToString(a.AsSlice())
}

// Address gives a port an address of the subnet: the wanted one (zero: any) if nobody has it, else the lowest free one of the
// allocation pools, the gateway's skipped. A wanted address may lie outside the pools and may be the gateway's (a router
// takes it), but must be a host's address of the subnet. taken are addresses already chosen for the same port, not yet
// stored. Errors: *ConflictError, *ExhaustedError, *InvalidError.
func Address(tx *store.Txn, s model.Subnet, wanted netip.Addr, taken ...netip.Addr) (netip.Addr, error) {
	if wanted.IsValid() {
		return wantedAddress(tx, s, wanted, taken)
	}
	cur := cursor(tx, s)
	free := func(a netip.Addr) bool {
		_, used := tables.PortsByAddress.First(tx, tables.AddressKey(s.Network, a))
		return !used && a != s.Gateway && !slices.Contains(taken, a)
	}
	for key := range holesOf(tx, s.ID) {
		a, ok := holeAddr(key)
		if ok && slices.Contains(taken, a) {
			continue // stays a hole unless the port is stored, which the next caller will see
		}
		holes.Delete(tx, key)
		if ok && free(a) && inPools(s, a) {
			return a, nil
		}
	}
	var passed []netip.Addr // taken ones that the cursor passes: should they stay free, they are found again as holes
	for _, r := range cur.Pools {
		a := r.Start
		if cur.Next.Compare(a) > 0 {
			a = cur.Next
		}
		for ; a.IsValid() && r.Contains(a); a = a.Next() {
			if free(a) {
				cur.Next = a.Next()
				if !cur.Next.IsValid() { // the very last address of the family
					cur.Next = a
				}
				addressCursors.Put(tx, s.ID, cur)
				for _, p := range passed {
					holes.Put(tx, holeKey(s.ID, p), hole{})
				}
				return a, nil
			}
			if slices.Contains(taken, a) {
				passed = append(passed, a)
			}
		}
	}
	return netip.Addr{}, &ExhaustedError{What: "ip address", Where: "subnet " + string(s.ID)}
}

// randomTries bounds the draws for one random address: a pool that is half full sees all of them fail once in 65,536 calls, and a
// fuller one is served lowest-free-first then, as it would be at last anyway.
const randomTries = 16

// Address is the function Address with the allocator's order: with Allocator.RandomAddresses, any address is a random one of
// the pools, each as likely as another, while few draws find a free one. It costs no more in a large pool than in a small one.
func (a *Allocator) Address(tx *store.Txn, s model.Subnet, wanted netip.Addr, taken ...netip.Addr) (netip.Addr, error) {
	if wanted.IsValid() || !a.RandomAddresses {
		return Address(tx, s, wanted, taken...)
	}
	one, total := big.NewInt(1), new(big.Int)
	number := func(a netip.Addr) *big.Int { return new(big.Int).SetBytes(a.AsSlice()) }
	sizes := make([]*big.Int, len(s.AllocationPools))
	for i, r := range s.AllocationPools {
		sizes[i] = new(big.Int).Add(new(big.Int).Sub(number(r.End), number(r.Start)), one)
		total.Add(total, sizes[i])
	}
	for range randomTries {
		if total.Sign() == 0 {
			break
		}
		at, err := rand.Int(a.random(), total)
		if err != nil {
			return netip.Addr{}, fmt.Errorf("ip address: random source: %w", err)
		}
		i := 0
		for ; at.Cmp(sizes[i]) >= 0; i++ {
			at.Sub(at, sizes[i])
		}
		start := s.AllocationPools[i].Start
		b := make([]byte, start.BitLen()/8)
		got, _ := netip.AddrFromSlice(at.Add(at, number(start)).FillBytes(b))
		if _, used := tables.PortsByAddress.First(tx, tables.AddressKey(s.Network, got)); !used && got != s.Gateway && !slices.Contains(taken, got) {
			holes.Delete(tx, holeKey(s.ID, got))
			return got, nil
		}
	}
	return Address(tx, s, wanted, taken...)
}

func wantedAddress(tx *store.Txn, s model.Subnet, a netip.Addr, taken []netip.Addr) (netip.Addr, error) {
	a = a.Unmap().WithZone("")
	invalid := func(reason string) (netip.Addr, error) {
		return netip.Addr{}, &InvalidError{What: "ip address", Value: a.String(), Reason: reason}
	}
	if !s.CIDR.Contains(a) {
		return invalid("not in " + s.CIDR.String() + " of subnet " + string(s.ID))
	}
	// The gateway of an IPv6 subnet may be its subnet-router anycast address, which routers have anyway.
	if first, last := hosts(s.CIDR); (a.Compare(first) < 0 || a.Compare(last) > 0) && (a.Is4() || a != s.Gateway) {
		return invalid("the network or broadcast address of subnet " + string(s.ID))
	}
	if p, used := tables.PortsByAddress.First(tx, tables.AddressKey(s.Network, a)); used {
		return netip.Addr{}, &ConflictError{What: "ip address", Value: a.String(), Where: "network " + string(s.Network), Owner: "port " + string(p.ID)}
	}
	if slices.Contains(taken, a) {
		return netip.Addr{}, &ConflictError{What: "ip address", Value: a.String(), Where: "network " + string(s.Network), Owner: "the same port"}
	}
	holes.Delete(tx, holeKey(s.ID, a))
	return a, nil
}

// ReleaseAddress says that a port gave the address back; the port's record goes or changes in the same transaction. Later
// calls of Address hand out released addresses first, lowest first. It is harmless for addresses that Address never gave.
func ReleaseAddress(tx *store.Txn, s model.Subnet, a netip.Addr) {
	cur, ok := addressCursors.Get(tx, s.ID)
	if ok && !cur.valid(s) {
		ForgetSubnet(tx, s.ID) // else the release would be missing, should the pools change back
		return
	}
	if !ok || !a.IsValid() || a == s.Gateway || !inPools(s, a) || a.Compare(cur.Next) >= 0 {
		return
	}
	if a.Next() != cur.Next {
		holes.Put(tx, holeKey(s.ID, a), hole{})
		return
	}
	// The top one: lower the cursor, over the holes beneath too, so that an emptied subnet leaves no holes.
	for cur.Next = a; cur.Next.Prev().IsValid() && holes.Delete(tx, holeKey(s.ID, cur.Next.Prev())); {
		cur.Next = cur.Next.Prev()
	}
	addressCursors.Put(tx, s.ID, cur)
}

// ForgetSubnet drops what is remembered of a subnet; call it when the subnet is deleted.
func ForgetSubnet(tx *store.Txn, id model.SubnetID) {
	addressCursors.Delete(tx, id)
	for key := range holesOf(tx, id) {
		holes.Delete(tx, key)
	}
}

// cursor returns the subnet's cursor, a new one if there is none or the pools or the gateway changed.
func cursor(tx *store.Txn, s model.Subnet) addressCursor {
	c, ok := addressCursors.Get(tx, s.ID)
	if ok && c.valid(s) {
		return c
	}
	if ok {
		ForgetSubnet(tx, s.ID)
	}
	pools := sortedPools(s)
	c = addressCursor{Pools: pools, Gateway: s.Gateway}
	if len(pools) > 0 {
		c.Next = pools[0].Start
	}
	return c
}

func (c *addressCursor) valid(s model.Subnet) bool {
	return c.Gateway == s.Gateway && slices.Equal(c.Pools, sortedPools(s))
}

func sortedPools(s model.Subnet) []model.AddrRange {
	if slices.IsSortedFunc(s.AllocationPools, poolOrder) {
		return s.AllocationPools
	}
	return slices.SortedFunc(slices.Values(s.AllocationPools), poolOrder)
}

func poolOrder(a, b model.AddrRange) int { return a.Start.Compare(b.Start) }

func inPools(s model.Subnet, a netip.Addr) bool {
	return slices.ContainsFunc(s.AllocationPools, func(r model.AddrRange) bool { return r.Contains(a) })
}

// holesOf iterates over the keys of a subnet's holes, lowest address first.
func holesOf(tx *store.Txn, id model.SubnetID) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		prefix := string(id) + "|"
		for key := range holes.From(tx, prefix) {
			if !strings.HasPrefix(key, prefix) || !yield(key) {
				return
			}
		}
	}
}

func holeAddr(key string) (netip.Addr, bool) {
	b, err := hex.DecodeString(key[strings.LastIndexByte(key, '|')+1:])
	if err != nil {
		return netip.Addr{}, false
	}
	return netip.AddrFromSlice(b)
}
