// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"cmp"
	"slices"

	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/tables"
)

// A router's conntrack helpers act where it translates, in the zones of its addresses outside, and nowhere else, as Neutron's act in
// the router's namespace: connections to a helper's port are committed with it, and those that they lead to are known to the
// tracker as related. It translates these as their parents, and they have their marks, so they end with the same association or
// forwarding. Zones of security groups have no helper: what is related must be allowed by a rule of the instance's groups.

// helper follows control connections to a port.
type helper struct {
	proto uint8
	port  uint16
	alg   uint16 // as in ct()
}

// The helpers of ct(), by their well-known ports (ovs-actions(7)).
const (
	algFTP  = 21
	algTFTP = 69
)

// helpersOf are a router's conntrack helpers, in order.
func helpersOf(c *compile.Context, router model.RouterID) (out []helper) {
	for h := range tables.HelpersByRouter.By(c, string(router)) {
		switch {
		case model.HelperProtocols[h.Helper] != h.Protocol:
		case h.Helper == "ftp":
			out = append(out, helper{model.ProtoTCP, h.Port, algFTP})
		case h.Helper == "tftp":
			out = append(out, helper{model.ProtoUDP, h.Port, algTFTP})
		}
	}
	slices.SortFunc(out, func(a, b helper) int { return cmp.Or(cmp.Compare(a.alg, b.alg), cmp.Compare(a.port, b.port)) })
	return slices.Compact(out)
}

// begins emits a flow by which connections begin, and a step above it those that a helper follows.
func (s *speaker) begins(c *compile.Context, t pipeline.TableID, prio uint16, do func(model.Key, flow.Track) flow.Actions, mark model.Key, how flow.Track, terms ...flow.Term) {
	s.emit(c, l3New, t, prio, do(mark, how), terms...)
	for _, h := range s.helpers {
		how.ALG = h.alg
		s.emit(c, l3Helped, t, prio+1, do(mark, how), append(slices.Clone(terms), flow.IPProto(h.proto), flow.TPDst(h.port))...)
	}
}

// tracks emits a flow that hands packets to the tracker. The tracker of a datapath in user space takes for FTP's control
// connections those of its well-known port alone unless each packet comes with the helper, and then those of the port to which the
// first packet of the datapath's flow went: so that the flow is of that port alone, the port is copied where nobody looks.
func (s *speaker) tracks(c *compile.Context, n uint8, t pipeline.TableID, prio uint16, do func(alg uint16, before ...flow.Act) flow.Actions, terms ...flow.Term) {
	s.emit(c, n, t, prio, do(0), terms...)
	for _, h := range s.helpers {
		if h.alg != algFTP || h.port == algFTP {
			continue
		}
		for _, port := range []flow.Term{flow.TPSrc(h.port), flow.TPDst(h.port)} {
			s.emit(c, l3Helped, t, prio+1, do(h.alg, flow.TCPDstTo(pipeline.RegMTU)),
				append(slices.Clone(terms), flow.IPProto(h.proto), port)...)
		}
	}
}

// related are the terms of what begins a connection to which another one, of a mark, has led.
func (s *speaker) related(mark model.Key) []flow.Term {
	return []flow.Term{flow.IP(), flow.Reg(pipeline.RegRouter, uint32(s.router)), flow.CTZone(s.zone), flow.CTMark(uint32(mark), 0xffffffff),
		flow.CTState(flow.CTTrk|flow.CTNew|flow.CTRel, flow.CTTrk|flow.CTNew|flow.CTRel|flow.CTInv|flow.CTSNAT|flow.CTDNAT)}
}

// asParent is the translation of what is related: that of the connection which led to it.
func asParent(next pipeline.TableID) flow.Track {
	return flow.Track{NAT: flow.UnNAT(), Next: uint8(next)}
}

// relatedIn emits, for a mark whose connections the address receives by it alone, those from outside to which they led.
func (s *speaker) relatedIn(c *compile.Context, mark model.Key) {
	s.emit(c, l3Related, pipeline.InboundNew, pipeline.PrioRelated, s.accept(mark, asParent(pipeline.InboundDone)), append(s.related(mark), flow.IPDst(host(s.addr)))...)
}
