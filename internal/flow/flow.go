// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"cmp"
	"strings"
)

// DefaultPriority is what Open vSwitch means when a dump shows none.
const DefaultPriority = 32768

// Match is a flow's match: OXM TLVs in canonical order (OpenFlow 1.3.5 section
// 7.2.3), without the ofp_match header and padding. The empty Match matches all.
type Match string

// Actions is a flow's instruction list as on the wire (OpenFlow 1.3.5 section
// 7.2.4). The empty value drops.
type Actions string

// Flow is one entry of a flow table. It is comparable; two flows are the same
// to a switch if and only if they are ==.
type Flow struct {
	Table    uint8
	Priority uint16
	Cookie   uint64
	Match    Match
	Actions  Actions
}

// Key is what makes a flow unique in a switch: adding a flow with the key of
// another replaces it (OpenFlow 1.3.5 section 6.4).
type Key struct {
	Table    uint8
	Priority uint16
	Match    Match
}

// Key returns the identity of f in a switch.
func (f Flow) Key() Key { return Key{f.Table, f.Priority, f.Match} }

// Flow is the key with something to do: the inverse of Flow.Key.
func (k Key) Flow(cookie uint64, a Actions) Flow {
	return Flow{Table: k.Table, Priority: k.Priority, Cookie: cookie, Match: k.Match, Actions: a}
}

// Compare orders flows as the golden files do: table ascending, priority
// descending, match text, then actions. Cookies do not count.
func Compare(a, b Flow) int {
	if a.Match == b.Match || a.Table != b.Table || a.Priority != b.Priority {
		return compare(a, b, "", "")
	}
	return compare(a, b, a.Match.String(), b.Match.String())
}

// compare is Compare with the text of the matches at hand.
func compare(a, b Flow, matchA, matchB string) int {
	return cmp.Or(
		cmp.Compare(a.Table, b.Table),
		cmp.Compare(b.Priority, a.Priority),
		strings.Compare(matchA, matchB),
		strings.Compare(string(a.Actions), string(b.Actions)))
}
