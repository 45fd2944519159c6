// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"

	"nagare/internal/flow"
)

// Audit compares the counts that the engine keeps with what its units hold: no word, reader or unit may outlive its use.
func (e *Engine) Audit() error {
	keys, actions, subjects := map[flow.Key]int32{}, map[flow.Actions]int32{}, map[string]int32{}
	readers := 0
	count := func(u *unit) {
		subjects[u.subject.val]++
		readers += len(u.reads())
		for _, f := range u.flows() {
			keys[f.key.val]++
			actions[f.actions.val]++
		}
	}
	for _, u := range e.queries.m {
		count(u)
	}
	for _, n := range e.nodes {
		owned := 0
		for u := range n.units.all {
			count(u)
			if u.refs == 0 || u.dropped {
				return fmt.Errorf("unit %s on %s: nobody needs it", u.subject.val, n.name)
			}
			for _, f := range u.flows() {
				if n.flows.one[f.key] == u {
					owned++
				}
			}
		}
		if n.flows.join != nil {
			for k, f := range n.flows.join.made {
				if len(n.flows.more[k]) < 2 {
					return fmt.Errorf("node %s: remembers a joined flow of one part: %v", n.name, f.expand())
				}
				keys[f.key.val]++
				actions[f.actions.val]++
			}
		}
		if owned != len(n.flows.one) {
			return fmt.Errorf("node %s: %d flows, owners hold %d", n.name, len(n.flows.one), owned)
		}
		if len(n.waste) > 0 || len(n.queue) > 0 || len(n.zero) > 0 || n.listed {
			return fmt.Errorf("node %s: not settled", n.name)
		}
	}
	for i := range e.deps.shards {
		for n := range e.deps.shards[i].s.all {
			readers -= n.readers.n
			if n.readers.n == 0 {
				return fmt.Errorf("dependency %v without a reader", n.dep)
			}
		}
	}
	if readers != 0 {
		return fmt.Errorf("units hold %d reads more than the index", readers)
	}
	if err := agree(e.words.keys, keys); err != nil {
		return err
	}
	if err := agree(e.words.actions, actions); err != nil {
		return err
	}
	return agree(e.words.subjects, subjects)
}

func agree[T comparable](p *pool[T], held map[T]int32) error {
	if p.len() != len(held) {
		return fmt.Errorf("%d words of %T, %d in use", p.len(), *new(T), len(held))
	}
	for v, n := range held {
		if w := p.look(v); w == nil || w.refs != n {
			return fmt.Errorf("word %v: %+v, used %d times", v, w, n)
		}
	}
	return nil
}
