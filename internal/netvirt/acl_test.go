// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"testing"

	"pgregory.net/rapid"
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
