// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"slices"
	"testing"
)

// allAttacks is the table of what an instance may try.
func allAttacks() []attack {
	return slices.Concat(macAttacks(), addressAttacks(), arpAttacks(), ndAttacks(), routerAttacks(), dhcpAttacks(), fragmentAttacks(), crossAttacks(), protocolAttacks())
}

// TestClassicLetsThrough sends every attack in the classic profile, where most of them arrive: so the tests of the standard
// profile, which are the same, can see.
func TestClassicLetsThrough(t *testing.T) {
	s := newSite(t, "--profile", "classic")
	newCast(s, false).attacks(allAttacks())
}
