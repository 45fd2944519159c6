// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"encoding/binary"
	"fmt"

	"nagare/openflow"
)

// GroupType is the type of a group as on the wire (OpenFlow 1.3.5 section 7.3.4.2).
type GroupType uint8

const (
	GroupAll          GroupType = 0 // every bucket gets a copy
	GroupSelect       GroupType = 1 // one bucket by hash of the packet's flow
	GroupIndirect     GroupType = 2 // the one bucket
	GroupFastFailover GroupType = 3 // the first live bucket
)

func (t GroupType) String() string {
	switch t {
	case GroupAll:
		return "all"
	case GroupSelect:
		return "select"
	case GroupIndirect:
		return "indirect"
	case GroupFastFailover:
		return "ff"
	}
	return fmt.Sprintf("type%d", uint8(t))
}

// Group is one entry of a switch's group table. It is comparable, as Flow is.
type Group struct {
	ID      uint32
	Type    GroupType
	Buckets string // ofp_bucket structures one after the other
}

// Bucket is one bucket of a group.
type Bucket struct {
	Weight     uint16 // of GroupSelect only
	WatchPort  uint32 // of GroupFastFailover only; 0 = none
	WatchGroup uint32 // of GroupFastFailover only; 0 = none
	Acts       []Act
}

// NewGroup is a group of buckets, in their order. In groups other than select
// the weight does not count and is left out, as it is in a dump.
func NewGroup(id uint32, t GroupType, buckets ...Bucket) Group {
	var b []byte
	for _, k := range buckets {
		b = appendBucket(b, t, k)
	}
	return Group{ID: id, Type: t, Buckets: string(b)}
}

func appendBucket(b []byte, t GroupType, k Bucket) []byte {
	if t != GroupSelect {
		k.Weight = 0
	} else if k.Weight == 0 {
		k.Weight = 1
	}
	if k.WatchPort == 0 {
		k.WatchPort = PortAny
	}
	if k.WatchGroup == 0 {
		k.WatchGroup = groupAny
	}
	start := len(b)
	b = append(b, 0, 0)
	b = binary.BigEndian.AppendUint16(b, k.Weight)
	b = binary.BigEndian.AppendUint32(b, k.WatchPort)
	b = binary.BigEndian.AppendUint32(b, k.WatchGroup)
	b = append(b, 0, 0, 0, 0)
	b = list(b, k.Acts)
	binary.BigEndian.PutUint16(b[start:], uint16(len(b)-start))
	return b
}

const groupAny = 0xffffffff

// WireGroup is the group that a switch dumps, in canonical form.
func WireGroup(d openflow.GroupDesc) (Group, error) {
	var b []byte
	for _, k := range d.Buckets {
		acts, err := openflow.AppendCanonicalActions(nil, k.Actions)
		if err != nil {
			return Group{}, fmt.Errorf("group %d: %w", d.ID, err)
		}
		b = appendBucket(b, GroupType(d.Type), Bucket{k.Weight, k.WatchPort, k.WatchGroup, []Act{wire(stageApply, acts)}})
	}
	return Group{ID: d.ID, Type: GroupType(d.Type), Buckets: string(b)}, nil
}

// Decoded is the buckets of g, with their actions as wire bytes; a bucket cut
// short ends the list.
func (g Group) Decoded() []openflow.Bucket {
	var out []openflow.Bucket
	for b := []byte(g.Buckets); len(b) >= 16; {
		n := int(binary.BigEndian.Uint16(b))
		if n < 16 || n > len(b) {
			break
		}
		k := openflow.Bucket{Weight: binary.BigEndian.Uint16(b[2:]), Actions: b[16:n:n]}
		if p := binary.BigEndian.Uint32(b[4:]); p != PortAny {
			k.WatchPort = p
		}
		if p := binary.BigEndian.Uint32(b[8:]); p != groupAny {
			k.WatchGroup = p
		}
		out = append(out, k)
		b = b[n:]
	}
	return out
}

// String is the group as ovs-ofctl dump-groups prints it.
func (g Group) String() string {
	b := fmt.Appendf(nil, "group_id=%d,type=%s", g.ID, g.Type)
	for _, k := range g.Decoded() {
		b = append(b, ",bucket="...)
		if g.Type == GroupSelect && k.Weight != 1 {
			b = fmt.Appendf(b, "weight:%d,", k.Weight)
		}
		if k.WatchPort != 0 {
			b = append(appendPort(append(b, "watch_port:"...), k.WatchPort), ',')
		}
		if k.WatchGroup != 0 {
			b = fmt.Appendf(b, "watch_group:%d,", k.WatchGroup)
		}
		b = append(b, "actions="...)
		if len(k.Actions) == 0 {
			b = append(b, "drop"...)
		}
		as, _ := openflow.DecodeActions(k.Actions)
		b = appendActs(b, as)
	}
	return string(b)
}

// GroupID is the number of a group: what it is for (8 bit) and the key of the
// object it belongs to (24 bit).
func GroupID(kind uint8, key uint32) uint32 { return uint32(kind)<<24 | key&0xffffff }
