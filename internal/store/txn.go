// SPDX-License-Identifier: Apache-2.0

package store

import (
	"reflect"
	"slices"
)

// Txn is a transaction in progress: it reads the newest state and its own writes. It belongs to one goroutine and ends with
// the function that got it.
type Txn struct {
	base   *Snapshot
	trees  []*editor         // by kind id; nil until written
	writes map[write]*record // record before the transaction, nil if it was not there
	order  []write
}

type write struct {
	k   *kind
	key string
}

func newTxn(base *Snapshot) *Txn {
	return &Txn{base: base, trees: make([]*editor, len(base.roots)), writes: map[write]*record{}}
}

func (tx *Txn) tree(k *kind) *editor {
	t := tx.trees[k.id]
	if t == nil {
		t = tx.base.roots[k.id].edit()
		tx.trees[k.id] = t
	}
	return t
}

func (tx *Txn) get(k *kind, group, key string) *record {
	if t := tx.trees[k.id]; t != nil {
		return t.get(group, key)
	}
	return tx.base.get(k, group, key)
}

func (tx *Txn) scan(k *kind, group, start string, f func(string, *record) bool) {
	if t := tx.trees[k.id]; t != nil {
		t.freeze().scan(group, start, f) // the caller may write while it iterates
		return
	}
	tx.base.scan(k, group, start, f)
}

func (tx *Txn) back(k *kind, group, end string, f func(string, *record) bool) {
	if t := tx.trees[k.id]; t != nil {
		t.freeze().back(group, end, f)
		return
	}
	tx.base.back(k, group, end, f)
}

func (tx *Txn) length(k *kind) int {
	if t := tx.trees[k.id]; t != nil {
		return t.size
	}
	return tx.base.length(k)
}

func (tx *Txn) untracked() Reader { return tx }

// Revision is that of the state the transaction started from.
func (tx *Txn) Revision() Revision { return tx.base.rev }

func (tx *Txn) put(k *kind, key string, v any) {
	before := tx.get(k, "", key)
	rec := &record{val: v}
	if before != nil {
		*rec = *before
		rec.val = v
	}
	tx.write(k, key, before, rec)
}

func (tx *Txn) delete(k *kind, key string) bool {
	before := tx.get(k, "", key)
	if before == nil {
		return false
	}
	tx.write(k, key, before, nil)
	return true
}

// write stores rec (nil: delete) and keeps the table's indices true. before is the record as the transaction sees it.
func (tx *Txn) write(k *kind, key string, before, rec *record) {
	w := write{k, key}
	if _, seen := tx.writes[w]; !seen {
		tx.writes[w] = before
		tx.order = append(tx.order, w)
	}
	t := tx.tree(k)
	if rec == nil {
		t.delete("", key)
	} else {
		t.put("", key, rec)
	}
	for _, ix := range k.indices {
		old, now := ix.keysOf(before), ix.keysOf(rec)
		it := tx.tree(ix)
		for _, o := range old {
			if !slices.Contains(now, o) {
				it.delete(o, key)
			}
		}
		for _, n := range now {
			it.put(n, key, rec)
		}
	}
}

// restore puts the former record back into its table and indices: what was written in between is equal to it.
func (tx *Txn) restore(w write, rec *record) {
	tx.tree(w.k).put("", w.key, rec)
	for _, ix := range w.k.indices {
		for _, n := range ix.keys(rec.val) {
			tx.tree(ix).put(n, w.key, rec)
		}
	}
}

// Changes is what one or several commits touched.
type Changes struct {
	Deps    map[Dep]struct{}
	Members []MemberChange // joins and leaves of derived groups, in order
	Records []RecordChange // records written, in order, planes changed or not
	All     bool           // too much to list: treat everything as touched
}

// MemberChange is a member joining or leaving a derived group.
type MemberChange struct {
	Group  Dep
	Name   string
	Joined bool
}

// RecordChange names a record whose value changed.
type RecordChange struct {
	Table         string
	Key           string
	Before, After any // nil: absent
	PlaneChanged  bool
}

// Empty reports whether nothing was touched or written.
func (c *Changes) Empty() bool {
	return !c.All && len(c.Deps) == 0 && len(c.Members) == 0 && len(c.Records) == 0
}

func (c *Changes) touch(d Dep) { c.Deps[d] = struct{}{} }

// merge adds later changes to earlier ones.
func (c *Changes) merge(later *Changes) {
	for d := range later.Deps {
		c.Deps[d] = struct{}{}
	}
	c.Members = append(c.Members, later.Members...)
	c.Records = append(c.Records, later.Records...)
	c.All = c.All || later.All
}

// durableWrite is a write to a persistent table.
type durableWrite struct {
	write
	before, after *record // nil: absent
}

// finish settles a transaction: drops writes that changed nothing, stamps what the store knows about the others, maintains
// derived tables and computes what was touched. at is the commit's identity; if no persistent record changed, its revision
// becomes the base's. The transaction's own records are stamped in place: nobody else has seen them.
func (tx *Txn) finish(at *CommitInfo, seq uint64) (snap *Snapshot, ch *Changes, durable []durableWrite) {
	ch = &Changes{Deps: map[Dep]struct{}{}}
	kept := tx.order[:0:0]
	for _, w := range tx.order {
		before, after := tx.writes[w], tx.get(w.k, "", w.key)
		if before == nil && after == nil {
			continue
		}
		if before != nil && after != nil && reflect.DeepEqual(before.val, after.val) {
			tx.restore(w, before)
			continue
		}
		kept = append(kept, w)
		if w.k.class.Persistent() {
			durable = append(durable, durableWrite{w, before, after})
		}
	}
	if len(durable) == 0 {
		at.Revision = tx.base.rev
	}
	for _, w := range kept {
		before, after := tx.writes[w], tx.get(w.k, "", w.key)
		rc := RecordChange{Table: w.k.name, Key: w.key, PlaneChanged: true}
		if before != nil {
			rc.Before = before.val
		}
		if after != nil {
			rc.After = after.val
		}
		if before != nil && after != nil {
			rc.PlaneChanged = !planeEqual(w.k, before.val, after.val)
		}
		if after != nil {
			if before == nil {
				after.created = at.Revision
			}
			after.modified = at.Revision
			if rc.PlaneChanged {
				after.plane, after.seq = at, seq
			}
		}
		ch.Records = append(ch.Records, rc)
		if rc.PlaneChanged {
			ch.touch(Dep{w.k.id, w.key})
			ch.touch(Dep{w.k.id, allKey})
		}
		for _, ix := range w.k.indices {
			old, now := ix.keysOf(before), ix.keysOf(after)
			for _, o := range old {
				if rc.PlaneChanged || !slices.Contains(now, o) {
					ch.touch(Dep{ix.id, o})
				}
			}
			for _, n := range now {
				if rc.PlaneChanged || !slices.Contains(old, n) {
					ch.touch(Dep{ix.id, n})
				}
			}
		}
	}
	tx.derive(kept, ch)
	snap = &Snapshot{rev: at.Revision, seq: seq, roots: slices.Clone(tx.base.roots)}
	for i, t := range tx.trees {
		if t != nil {
			snap.roots[i] = t.freeze()
		}
	}
	return snap, ch, durable
}

// derive brings the derived tables up to date with the kept writes.
func (tx *Txn) derive(kept []write, ch *Changes) {
	type job struct {
		d       *kind
		subject string
	}
	var jobs []job
	seen := map[job]bool{}
	for _, w := range kept {
		before, after := tx.writes[w], tx.get(w.k, "", w.key)
		if before != nil && after != nil && planeEqual(w.k, before.val, after.val) {
			continue // emissions read planes only
		}
		for _, f := range w.k.feeds {
			add := func(r Reader, rec *record) {
				if rec == nil {
					return
				}
				for _, s := range f.subjects(r, rec.val) {
					j := job{f.derived, s}
					if !seen[j] {
						seen[j] = true
						jobs = append(jobs, j)
					}
				}
			}
			add(tx.base, before)
			add(tx, after)
		}
	}
	for _, j := range jobs {
		tx.adjust(j.d, j.d.emit(tx.base, j.subject), j.d.emit(tx, j.subject), ch)
	}
}

// adjust moves a derived table from one emission of a subject to another.
func (tx *Txn) adjust(d *kind, before, after []Member, ch *Changes) {
	for i, m := range before {
		if !slices.Contains(after, m) && !slices.Contains(before[:i], m) {
			tx.count(d, m, -1, ch)
		}
	}
	for i, m := range after {
		if !slices.Contains(before, m) && !slices.Contains(after[:i], m) {
			tx.count(d, m, +1, ch)
		}
	}
}

func (tx *Txn) count(d *kind, m Member, by int, ch *Changes) {
	t := tx.tree(d)
	n := 0
	if rec := t.get(m.Group, m.Name); rec != nil {
		n = rec.val.(int)
	}
	was := n > 0
	n += by
	if n > 0 {
		t.put(m.Group, m.Name, &record{val: n})
	} else {
		t.delete(m.Group, m.Name)
	}
	if was != (n > 0) {
		g := d.groupDep(m.Group)
		ch.touch(g)
		ch.touch(d.dep(m.Group, m.Name))
		ch.Members = append(ch.Members, MemberChange{g, m.Name, n > 0})
	}
}
