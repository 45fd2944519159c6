// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"context"

	"nagare/internal/model"
	"nagare/openflow"
)

// Frame is an Ethernet frame, with whatever tag the wire wants, and the OpenFlow port that it leaves by.
type Frame struct {
	Port uint32
	Data []byte
}

// Follower is told how far nodes come with what is served for others: it speaks for addresses on external networks. Its methods
// run on the hub's goroutine and must not block.
type Follower interface {
	// Confirmed says that a node holds all that it was offered.
	Confirmed(node model.NodeID)
	// Served says that a node has confirmed that it serves a floating IP, or the gateway whose port this is, which no node or
	// another one did before. It may say so again after a failure.
	Served(node model.NodeID, id model.PortID)
}

// Emit sends frames out of ports of a node's br-int, past all flows. It reports whether the node has a session to send them by;
// nobody knows whether they arrive.
func (h *Hub) Emit(ctx context.Context, node model.NodeID, frames ...Frame) bool {
	h.mu.Lock()
	t := h.nodes[node]
	var of *ofSession
	if t != nil && t.live() {
		of = t.of
	}
	h.mu.Unlock()
	if of == nil || len(frames) == 0 {
		return false
	}
	ms := make([]openflow.Message, len(frames))
	for i, f := range frames {
		ms[i] = &openflow.PacketOut{InPort: openflow.PortController, Actions: openflow.Output{Port: f.Port}.AppendTo(nil), Data: f.Data}
	}
	_, err := of.c.Send(ctx, ms...)
	return err == nil
}
