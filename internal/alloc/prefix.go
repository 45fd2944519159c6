// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// freeBlock is a prefix of a subnet pool that nothing is allocated from, as large as it can be: the other half of the prefix
// around it is not free as a whole. Its key orders a pool's blocks by size, smallest first, and then by address, so that the
// smallest fitting one is found at once, however many subnets the pool has.
type freeBlock struct{}

var freeBlocks = store.Declare[string, freeBlock](tables.Schema, "alloc-free-prefixes", store.Allocated).
	Plane(func(freeBlock) any { return nil })

func blockKey(id model.SubnetPoolID, p netip.Prefix) string {
	return fmt.Sprintf("%s|%03d|%s", id, 128-p.Bits(), hex.EncodeToString(p.Addr().AsSlice()))
}

func blockOf(key string) (netip.Prefix, bool) {
	parts := strings.Split(key, "|")
	var size int
	if len(parts) != 3 {
		return netip.Prefix{}, false
	}
	if _, err := fmt.Sscanf(parts[1], "%d", &size); err != nil {
		return netip.Prefix{}, false
	}
	b, err := hex.DecodeString(parts[2])
	if err != nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(b)
	return netip.PrefixFrom(a, 128-size), ok
}

// Prefix takes a prefix of the given length from a pool: the first of the smallest free block that holds one.
// Errors: *ExhaustedError.
func Prefix(tx *store.Txn, id model.SubnetPoolID, bits int) (netip.Prefix, error) {
	for key := range freeBlocks.From(tx, fmt.Sprintf("%s|%03d|", id, 128-bits)) {
		if b, ok := blockOf(key); ok && strings.HasPrefix(key, string(id)+"|") {
			p := netip.PrefixFrom(b.Addr(), bits)
			takeFrom(tx, id, b, p)
			return p, nil
		}
		break
	}
	return netip.Prefix{}, &ExhaustedError{What: fmt.Sprintf("prefix of length %d", bits), Where: "subnet pool " + string(id)}
}

// WantedPrefix takes the prefix that is named. Errors: *ConflictError if it is not free as a whole.
func WantedPrefix(tx *store.Txn, id model.SubnetPoolID, p netip.Prefix) error {
	for bits := p.Bits(); bits >= 0; bits-- {
		b := netip.PrefixFrom(p.Addr(), bits).Masked()
		if _, ok := freeBlocks.Get(tx, blockKey(id, b)); ok {
			takeFrom(tx, id, b, p)
			return nil
		}
	}
	return &ConflictError{What: "prefix", Value: p.String(), Where: "subnet pool " + string(id), Owner: "another subnet, or nobody"}
}

// takeFrom takes p out of the free block b, whose other parts stay free.
func takeFrom(tx *store.Txn, id model.SubnetPoolID, b, p netip.Prefix) {
	freeBlocks.Delete(tx, blockKey(id, b))
	for bits := b.Bits() + 1; bits <= p.Bits(); bits++ {
		freeBlocks.Put(tx, blockKey(id, sibling(netip.PrefixFrom(p.Addr(), bits).Masked())), freeBlock{})
	}
}

// ReleasePrefix gives a prefix to a pool, one of its own back or a new one. It must not overlap what is free.
func ReleasePrefix(tx *store.Txn, id model.SubnetPoolID, p netip.Prefix) {
	for p.Bits() > 0 && freeBlocks.Delete(tx, blockKey(id, sibling(p))) {
		p = netip.PrefixFrom(p.Addr(), p.Bits()-1).Masked()
	}
	freeBlocks.Put(tx, blockKey(id, p), freeBlock{})
}

// ForgetPool drops what is remembered of a pool; call it when the pool is deleted.
func ForgetPool(tx *store.Txn, id model.SubnetPoolID) {
	for key := range freeBlocks.From(tx, string(id)+"|") {
		if !strings.HasPrefix(key, string(id)+"|") {
			return
		}
		freeBlocks.Delete(tx, key)
	}
}

// sibling is the other half of the prefix around p.
func sibling(p netip.Prefix) netip.Prefix {
	b := p.Addr().AsSlice()
	i := p.Bits() - 1
	b[i/8] ^= 0x80 >> (i % 8)
	a, _ := netip.AddrFromSlice(b)
	return netip.PrefixFrom(a, p.Bits())
}

// Halves are the two prefixes that make up p, which is no single address.
func Halves(p netip.Prefix) (low, high netip.Prefix) {
	low = netip.PrefixFrom(p.Addr(), p.Bits()+1).Masked()
	return low, sibling(low)
}

// MergePrefixes gives the fewest prefixes that cover the same addresses, in order; prefixes of one family.
func MergePrefixes(ps []netip.Prefix) []netip.Prefix {
	have := map[netip.Prefix]bool{}
	covered := func(p netip.Prefix) bool {
		for bits := p.Bits(); bits >= 0; bits-- {
			if have[netip.PrefixFrom(p.Addr(), bits).Masked()] {
				return true
			}
		}
		return false
	}
	ps = slices.Clone(ps)
	slices.SortFunc(ps, func(a, b netip.Prefix) int { return a.Bits() - b.Bits() }) // the large ones first
	for _, p := range ps {
		if covered(p) {
			continue
		}
		for p.Bits() > 0 && have[sibling(p)] {
			delete(have, sibling(p))
			p = netip.PrefixFrom(p.Addr(), p.Bits()-1).Masked()
		}
		have[p] = true
	}
	out := make([]netip.Prefix, 0, len(have))
	for p := range have {
		out = append(out, p)
	}
	slices.SortFunc(out, netip.Prefix.Compare)
	return out
}
