// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"fmt"
	"iter"
	"strconv"
	"strings"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// run is a longest row of segmentation ids of one kind that are in use, by its first id; its key ends with the last one. So the
// next free id after any other is one look-up away, however many are in use.
//
// Runs are a memory, the networks are the truth: an id that a run lacks is put there when a network is found to have it, and one that
// a run has although no network does (of a network that was deleted past ReleaseVNI) is merely not handed out.
type run struct {
	First uint32 `json:"first"`
}

var runs = store.Declare[string, run](tables.Schema, "alloc-segment-runs", store.Allocated).
	Plane(func(run) any { return nil })

func runKey(kind string, last uint32) string { return fmt.Sprintf("%s|%08x", kind, last) }

// runFrom is the first run of the kind that ends at an id or after it.
func runFrom(r store.Reader, kind string, id uint32) (first, last uint32, ok bool) {
	for key, v := range runs.From(r, runKey(kind, id)) {
		text, mine := strings.CutPrefix(key, kind+"|")
		n, err := strconv.ParseUint(text, 16, 32)
		if !mine || err != nil {
			break
		}
		return v.First, uint32(n), true
	}
	return 0, 0, false
}

// freeFrom is the lowest id at or after from that no run has.
func freeFrom(r store.Reader, kind string, from uint64) uint64 {
	if from > 1<<32-1 {
		return from
	}
	if first, last, ok := runFrom(r, kind, uint32(from)); ok && uint64(first) <= from {
		return uint64(last) + 1
	}
	return from
}

// use puts an id into a run.
func use(tx *store.Txn, kind string, id uint32) {
	first, last, ok := runFrom(tx, kind, id)
	if ok && first <= id {
		return
	}
	row := run{First: id}
	if id > 0 {
		if before, there := runs.Get(tx, runKey(kind, id-1)); there {
			runs.Delete(tx, runKey(kind, id-1))
			row = before
		}
	}
	if ok && uint64(first) == uint64(id)+1 { // joins it
		runs.Put(tx, runKey(kind, last), row)
		return
	}
	runs.Put(tx, runKey(kind, id), row)
}

// unuse takes an id out of its run.
func unuse(tx *store.Txn, kind string, id uint32) {
	first, last, ok := runFrom(tx, kind, id)
	if !ok || first > id {
		return
	}
	if last == id {
		runs.Delete(tx, runKey(kind, last))
	} else {
		runs.Put(tx, runKey(kind, last), run{First: id + 1})
	}
	if first < id {
		runs.Put(tx, runKey(kind, id-1), run{First: first})
	}
}

// kindOf names a space of segmentation ids. The physical network is that of a VLAN.
func kindOf(t model.NetworkType, physnet string) string { return string(t) + "|" + physnet }

// ReleaseVNI says that a network or one of its segments gave its segmentation id back; the network's record goes or changes in the same
// transaction.
func ReleaseVNI(tx *store.Txn, w model.Wire) {
	if w.SegmentationID != 0 {
		unuse(tx, kindOf(w.Type, w.PhysicalNetwork), w.SegmentationID)
	}
}

// UsedVNIs are the segmentation ids of a range that networks have, with one such network each, in order. It costs what it yields.
func UsedVNIs(r store.Reader, t model.NetworkType, physnet string, of Range) iter.Seq2[uint32, model.Network] {
	return func(yield func(uint32, model.Network) bool) {
		kind := kindOf(t, physnet)
		for from := uint64(of.First); from <= uint64(of.Last); {
			first, last, ok := runFrom(r, kind, uint32(from))
			if !ok {
				return
			}
			for from = max(from, uint64(first)); from <= uint64(min(last, of.Last)); from++ {
				n, used := tables.NetworksBySegment.First(r, tables.SegmentKey(t, physnet, uint32(from)))
				if used && !yield(uint32(from), n) {
					return
				}
			}
		}
	}
}

// FreeVNIs are ranges of ids within one that no network has, in order.
func FreeVNIs(r store.Reader, t model.NetworkType, physnet string, of Range) iter.Seq[Range] {
	return func(yield func(Range) bool) {
		kind := kindOf(t, physnet)
		for from := uint64(of.First); ; {
			if from = freeFrom(r, kind, from); from > uint64(of.Last) {
				return
			}
			last := of.Last
			if first, _, ok := runFrom(r, kind, uint32(from)); ok && first <= last {
				last = first - 1
			}
			if !yield(Range{uint32(from), last}) {
				return
			}
			from = uint64(last) + 1
		}
	}
}
