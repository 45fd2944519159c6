// SPDX-License-Identifier: Apache-2.0

package openflow

import "sync"

// eventCost is what an event costs in the queue besides its bytes.
const eventCost = 256

type event struct {
	head Header
	msg  Message
	size int
}

// events is the bounded queue between the reader and the handlers.
type events struct {
	mu    sync.Mutex
	q     []event
	bytes int
	limit int
	kick  chan struct{}
}

// push reports whether the event found room.
func (e *events) push(ev event) bool {
	ev.size += eventCost
	e.mu.Lock()
	ok := e.bytes+ev.size <= e.limit
	if ok {
		e.q = append(e.q, ev)
		e.bytes += ev.size
	}
	e.mu.Unlock()
	if ok {
		select {
		case e.kick <- struct{}{}:
		default:
		}
	}
	return ok
}

// run hands events over, in order, until stop ends.
func (e *events) run(stop <-chan struct{}, handle func(event)) {
	for {
		select {
		case <-stop:
			return
		case <-e.kick:
		}
		for {
			e.mu.Lock()
			if len(e.q) == 0 {
				e.q = nil
				e.mu.Unlock()
				break
			}
			ev := e.q[0]
			e.q = e.q[1:]
			e.mu.Unlock()
			select {
			case <-stop:
				return
			default:
			}
			handle(ev)
			e.mu.Lock()
			e.bytes -= ev.size
			e.mu.Unlock()
		}
	}
}
