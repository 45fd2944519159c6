// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"crypto/rand"
	"fmt"
	"io"
	"strconv"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// Range is a closed interval of segmentation ids.
type Range struct {
	First uint32 `json:"first"`
	Last  uint32 `json:"last"`
}

// Ranges are the segmentation ids that tenants' networks may get.
type Ranges struct {
	VXLAN, Geneve, GRE []Range            // empty: DefaultRanges'
	VLAN               map[string][]Range // physical network -> VLAN ids; a physical network without ranges serves wanted ids only
}

// DefaultRanges are used where an Allocator names none.
var DefaultRanges = Ranges{VXLAN: []Range{{1, 1<<24 - 1}}, Geneve: []Range{{1, 1<<24 - 1}}, GRE: []Range{{1, 1<<32 - 1}}}

// Allocator holds the settings of those allocators that have any. Its zero value uses DefaultRanges and crypto/rand.
type Allocator struct {
	Ranges Ranges
	Rand   io.Reader // source of MAC addresses and random addresses; read by one transaction at a time
	// RandomAddresses gives ports random addresses of the pools in place of the lowest free ones.
	RandomAddresses bool
}

func (a *Allocator) random() io.Reader {
	if a.Rand == nil {
		return rand.Reader
	}
	return a.Rand
}

// segmentCursor is where the search for the next free segmentation id begins.
type segmentCursor struct {
	Next uint32 `json:"next"`
}

var segmentCursors = store.Declare[string, segmentCursor](tables.Schema, "alloc-segment-cursors", store.Allocated).
	Plane(func(segmentCursor) any { return nil })

// Configured are the ids for tenants' networks of a type, on a physical network if they are VLANs.
func (a *Allocator) Configured(t model.NetworkType, physnet string) []Range {
	free, _, err := a.ranges(t, physnet)
	if err != nil {
		return nil
	}
	return free
}

// ranges gives the ids for tenants' networks, and the highest id that the wire format knows.
func (a *Allocator) ranges(t model.NetworkType, physnet string) (free []Range, limit uint32, err error) {
	or := func(own, def []Range) []Range {
		if len(own) == 0 {
			return def
		}
		return own
	}
	switch t {
	case model.VXLAN:
		return or(a.Ranges.VXLAN, DefaultRanges.VXLAN), 1<<24 - 1, nil
	case model.Geneve:
		return or(a.Ranges.Geneve, DefaultRanges.Geneve), 1<<24 - 1, nil
	case model.GRE:
		return or(a.Ranges.GRE, DefaultRanges.GRE), 1<<32 - 1, nil
	case model.VLAN:
		return a.Ranges.VLAN[physnet], 4094, nil
	}
	return nil, 0, &InvalidError{What: "network type", Value: string(t), Reason: "want vxlan, vlan, flat, geneve, gre or local"}
}

// VNI gives a network its segmentation id: the wanted one (0: any) if nobody has it, else the lowest free one after the one
// handed out last, beginning again at the range's start. physnet is the physical network of VLAN and flat networks. A flat
// network's id is 0 and there is one per physical network; a local network's is 0. Its cost is the logarithm of how many ids are in
// use, also when all are. Errors: *ConflictError, *ExhaustedError, *InvalidError.
func (a *Allocator) VNI(tx *store.Txn, t model.NetworkType, physnet string, wanted uint32) (uint32, error) {
	return a.TenantVNI(tx, "", t, physnet, wanted)
}

// TenantVNI is VNI for a network of a project: any id comes from the project's own ranges as long as these have one, and then
// from those that are everybody's, but for what other projects have for themselves (tables.SegmentRanges).
func (a *Allocator) TenantVNI(tx *store.Txn, project model.ProjectID, t model.NetworkType, physnet string, wanted uint32) (uint32, error) {
	switch t {
	case model.Local, model.Flat:
		if wanted != 0 {
			return 0, &InvalidError{What: "segmentation id", Value: strconv.FormatUint(uint64(wanted), 10), Reason: "a " + string(t) + " network has none"}
		}
		if t == model.Flat {
			if n, ok := tables.NetworksBySegment.First(tx, tables.SegmentKey(t, physnet, 0)); ok {
				return 0, &ConflictError{What: "flat network", Value: physnet, Owner: string(n.ID)}
			}
		}
		return 0, nil
	}
	free, limit, err := a.ranges(t, physnet)
	if err != nil {
		return 0, err
	}
	what, kind := string(t)+" segment", kindOf(t, physnet)
	if wanted != 0 {
		if wanted > limit {
			return 0, &InvalidError{What: what, Value: strconv.FormatUint(uint64(wanted), 10), Reason: fmt.Sprintf("want 1 to %d", limit)}
		}
		if n, ok := tables.NetworksBySegment.First(tx, tables.SegmentKey(t, physnet, wanted)); ok {
			return 0, &ConflictError{What: what, Value: strconv.FormatUint(uint64(wanted), 10), Where: physnet, Owner: string(n.ID)}
		}
		use(tx, kind, wanted)
		return wanted, nil
	}
	own, everybodys := rangesFor(tx, project, t, physnet, free)
	for _, of := range [2]choice{{kind + "|" + string(project), own}, {kind, everybodys}} {
		if len(of.ranges) == 0 {
			continue
		}
		if id := a.lowest(tx, of, t, physnet, limit); id != 0 {
			return id, nil
		}
	}
	where := physnet
	if where == "" {
		where = "the tenant range"
	}
	return 0, &ExhaustedError{What: what, Where: where}
}

// choice is where an id may come from, and the cursor that says where the search begins.
type choice struct {
	cursor string
	ranges []Range
}

// lowest is the lowest free id of the ranges after the one handed out last, else the lowest of all; 0 if none is free.
func (a *Allocator) lowest(tx *store.Txn, of choice, t model.NetworkType, physnet string, limit uint32) uint32 {
	kind := kindOf(t, physnet)
	cur, _ := segmentCursors.Get(tx, of.cursor)
	for _, part := range [2]Range{{cur.Next, 1<<32 - 1}, {0, cur.Next}} {
		for _, r := range of.ranges {
			from, last := uint64(max(r.First, part.First, 1)), uint64(min(r.Last, part.Last, limit))
			for {
				if from = freeFrom(tx, kind, from); from > last {
					break
				}
				id := uint32(from)
				use(tx, kind, id)
				if _, used := tables.NetworksBySegment.First(tx, tables.SegmentKey(t, physnet, id)); used {
					continue // of a network that was made past us, which is known from now on
				}
				segmentCursors.Put(tx, of.cursor, segmentCursor{Next: id + 1})
				return id
			}
		}
	}
	return 0
}

// rangesFor are the ranges of a project's own, and those that it shares with everybody: the configured ones and more of
// the kind, without what other projects have for themselves.
func rangesFor(r store.Reader, project model.ProjectID, t model.NetworkType, physnet string, configured []Range) (own, everybodys []Range) {
	everybodys = configured
	var others []Range
	for s := range tables.SegmentRangesByWire.By(r, tables.RangeKey(t, physnet)) {
		switch of := (Range{s.Minimum, s.Maximum}); {
		case s.Shared:
			everybodys = append(everybodys[:len(everybodys):len(everybodys)], of)
		case s.Project == project:
			own = append(own, of)
		default:
			others = append(others, of)
		}
	}
	for _, o := range others {
		var left []Range
		for _, e := range everybodys {
			if o.Last < e.First || o.First > e.Last {
				left = append(left, e)
				continue
			}
			if e.First < o.First {
				left = append(left, Range{e.First, o.First - 1})
			}
			if o.Last < e.Last {
				left = append(left, Range{o.Last + 1, e.Last})
			}
		}
		everybodys = left
	}
	return own, everybodys
}
