// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"bytes"

	"nagare/internal/flow"
	"nagare/openflow"
)

// Step is one lookup of a traced packet, for who wants to tell the way in words of his own.
type Step struct {
	Depth  int // lookups within lookups: resubmit, ct(table=), clone, buckets of groups
	Table  uint8
	Flow   flow.Flow // that took the packet
	Miss   bool      // no flow did
	Packet Packet    // as it came to the table
	Deeds  []Deed
}

// Deed is one action that a flow's list, or a list within it, had run on the packet.
type Deed struct {
	Action        string // as ovs-ofctl prints it
	Before, After Packet // for ct After is the copy that goes on in its table
	Note          string // why nothing came of it
}

// Visit is a packet's way through one switch of a fabric.
type Visit struct {
	Switch string
	Parent int // index of the visit by whose output it came, -1 for the first
	Packet Packet
	Result Result
}

// Field is a field's value before and after.
type Field struct {
	Field         *openflow.Field
	Before, After []byte
}

// Differences lists the fields in which q differs from p, each part of a register or port once, in order of the registry. The
// value that a field has only in one of them is zero in the other.
func (p Packet) Differences(q Packet) (out []Field) {
	seen := map[int]bool{}
	for _, f := range openflow.Fields() {
		ofs, ok := place[f]
		if !ok || seen[ofs] || f.Bytes > 4 && isRegister(f) {
			continue
		}
		a, b := p.bytes(f), q.bytes(f)
		if bytes.Equal(a, b) || !p.has(f) && !q.has(f) {
			continue
		}
		seen[ofs] = true
		out = append(out, Field{f, bytes.Clone(a), bytes.Clone(b)})
	}
	return out
}

// isRegister reports views of several registers at once too.
func isRegister(f *openflow.Field) bool {
	ofs := place[f]
	return ofs < place[openflow.Reg(0)]+64
}

// note adds to the account of the action that runs.
func (w *walk) note(text string) {
	if w.deed >= 0 {
		w.r.Steps[w.step].Deeds[w.deed].Note = text
	}
}
