// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"fmt"
	"slices"

	"nagare/internal/flow"
	"nagare/openflow"
)

// entry is a flow ready to run.
type entry struct {
	flow  flow.Flow
	acts  []openflow.Action // of apply-actions
	next  int               // goto-table, -1 for none
	write []openflow.Action // of write-actions
	clear bool
	meta  *openflow.WriteMetadata

	clauses []openflow.Conjunction // if the flow is clauses of conjunctions
}

// table finds the flow that takes a packet. Flows that look at the same bits
// share a hash table ("tuple space search"), so that a lookup costs as many
// probes as there are kinds of match, not flows.
type table struct {
	spaces []*space
	bySig  map[string]*space
}

type space struct {
	sig   string
	bits  []span
	flows map[string][]*entry // by the packet's bits; entries by falling priority
}

// span is some bytes of a Packet and which of their bits count.
type span struct {
	ofs  int
	mask []byte
}

func newTable() *table { return &table{bySig: map[string]*space{}} }

// spans tells what a match looks at: the signature of that, and its values.
func spans(m flow.Match) (bits []span, sig, key string, err error) {
	var s, k []byte
	for t := range m.Fields() {
		ofs, ok := place[t.Field]
		if t.Field == nil || !ok {
			return nil, "", "", fmt.Errorf("match on %s is not modelled", t.ID)
		}
		mask := t.Mask
		if mask == nil {
			mask = slices.Repeat([]byte{0xff}, len(t.Value))
		}
		bits = append(bits, span{ofs, mask})
		s = append(append(s, byte(ofs>>8), byte(ofs), byte(len(mask))), mask...)
		k = append(k, t.Value...)
	}
	return bits, string(s), string(k), nil
}

func (t *table) put(f flow.Flow) error {
	bits, sig, key, err := spans(f.Match)
	if err != nil {
		return err
	}
	e, err := newEntry(f)
	if err != nil {
		return err
	}
	s := t.bySig[sig]
	if s == nil {
		s = &space{sig: sig, bits: bits, flows: map[string][]*entry{}}
		t.bySig[sig] = s
		t.spaces = append(t.spaces, s)
	}
	es := s.flows[key]
	for i, old := range es {
		if old.flow.Priority == f.Priority {
			es[i] = e
			return nil
		}
	}
	es = append(es, e)
	slices.SortFunc(es, func(a, b *entry) int { return int(b.flow.Priority) - int(a.flow.Priority) })
	s.flows[key] = es
	return nil
}

func (t *table) delete(k flow.Key) bool {
	_, sig, key, err := spans(k.Match)
	s := t.bySig[sig]
	if err != nil || s == nil {
		return false
	}
	es := s.flows[key]
	i := slices.IndexFunc(es, func(e *entry) bool { return e.flow.Priority == k.Priority })
	if i < 0 {
		return false
	}
	if es = slices.Delete(es, i, i+1); len(es) > 0 {
		s.flows[key] = es
		return true
	}
	if delete(s.flows, key); len(s.flows) == 0 {
		delete(t.bySig, sig)
		t.spaces = slices.DeleteFunc(t.spaces, func(x *space) bool { return x == s })
	}
	return true
}

// lookup returns the flow that takes p, nil for a miss. With conjunctions it may
// set conj_id in p, as the switch does for the flow that matches it.
func (t *table) lookup(p *Packet) *entry {
	var buf [32]*entry
	hits := t.matching(p, buf[:0])
	slices.SortStableFunc(hits, func(a, b *entry) int { return int(b.flow.Priority) - int(a.flow.Priority) })
	for i := 0; i < len(hits); {
		j := i
		for j < len(hits) && hits[j].flow.Priority == hits[i].flow.Priority {
			j++
		}
		for _, e := range hits[i:j] {
			if e.clauses == nil {
				return e
			}
		}
		if e := t.conjoined(p, hits[i:j]); e != nil {
			return e
		}
		i = j
	}
	return nil
}

func (t *table) matching(p *Packet, hits []*entry) []*entry {
	var key [256]byte
	for _, s := range t.spaces {
		k := key[:0]
		for _, b := range s.bits {
			for i, m := range b.mask {
				k = append(k, p.b[b.ofs+i]&m)
			}
		}
		hits = append(hits, s.flows[string(k)]...)
	}
	return hits
}

// conjoined finds a conjunction of which p satisfies every clause (ovs-fields(7),
// "conjunctive match"), lowest id first, and the flow that matches its conj_id.
func (t *table) conjoined(p *Packet, hits []*entry) *entry {
	met := map[uint32]uint64{}
	size := map[uint32]uint8{}
	for _, e := range hits {
		// The switch expects a flow for each clause: it leaves out a flow that could meet nothing with as few others, also
		// where one flow is two clauses of a conjunction.
		if len(hits) < fewest(e.clauses) {
			continue
		}
		for _, c := range e.clauses {
			met[c.ID] |= 1 << (c.Clause - 1)
			size[c.ID] = c.Clauses
		}
	}
	var ids []uint32
	for id, clauses := range met {
		if clauses == 1<<size[id]-1 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		q := *p
		q.SetUint(openflow.FieldConjID, uint64(id))
		var best *entry
		for _, e := range t.matching(&q, nil) {
			if _, on := e.flow.Match.Find(openflow.FieldConjID); on && e.clauses == nil && (best == nil || e.flow.Priority > best.flow.Priority) {
				best = e
			}
		}
		if best != nil {
			return best
		}
	}
	return nil
}

// fewest is how many clauses the smallest of the conjunctions has.
func fewest(clauses []openflow.Conjunction) int {
	n := 64
	for _, c := range clauses {
		n = min(n, int(c.Clauses))
	}
	return n
}

func newEntry(f flow.Flow) (*entry, error) {
	e := &entry{flow: f, next: -1}
	for _, i := range f.Actions.Instructions() {
		switch i := i.(type) {
		case openflow.ApplyActions:
			e.acts = i.Actions
		case openflow.GotoTable:
			e.next = int(i.Table)
		case openflow.WriteActions:
			e.write = i.Actions
		case openflow.ClearActions:
			e.clear = true
		case openflow.WriteMetadata:
			e.meta = &i
		case openflow.Meter:
		default:
			return nil, fmt.Errorf("flow %s: instruction %T is not modelled", f, i)
		}
	}
	for _, a := range e.acts {
		if c, ok := a.(openflow.Conjunction); ok {
			e.clauses = append(e.clauses, c)
		}
	}
	return e, nil
}
