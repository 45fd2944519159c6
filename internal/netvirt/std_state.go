// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
)

// aclStates are the tables that judge by a connection's state (41, 91), what the tables of rules do without a rule (42, 92),
// and those that commit what a rule accepted (43, 93).
//
// Packets in the direction in which a connection was opened face the present rules, each of them. If none allows it any more
// the connection is marked, and from then on its replies stop too.
func aclStates(emit emitStatic, s aclSide) {
	const state = flow.CTTrk | flow.CTNew
	mark := func(v uint32) flow.Term { return flow.CTMark(v, pipeline.CTMarkRevoked) }
	pass, drop := flow.Do(to(s.next)), flow.Do(to(s.drop))
	emit(1, s.state, pipeline.PrioInvalid, drop, flow.CTState(flow.CTTrk|flow.CTInv, flow.CTTrk|flow.CTInv))
	emit(2, s.state, pipeline.PrioEstablished, pass, flow.CTState(flow.CTTrk|flow.CTRpl, state|flow.CTRpl), mark(0))
	emit(3, s.state, pipeline.PrioEstablished, pass, flow.CTState(flow.CTTrk|flow.CTRel, state|flow.CTRel|flow.CTRpl), mark(0))
	emit(4, s.state, pipeline.PrioRevoked, drop, flow.CTState(flow.CTTrk|flow.CTRpl, state|flow.CTRpl), mark(pipeline.CTMarkRevoked))
	emit(5, s.state, pipeline.PrioTracked, flow.Do(to(s.rules)), flow.CTState(flow.CTTrk, flow.CTTrk))

	revoke := flow.CT(flow.Track{Commit: true, ZoneFrom: flow.RegBits(s.zone, 0, 16), Exec: []flow.Act{flow.SetCTMarkBits(0, 1, 1)}})
	for _, ip := range []flow.Term{flow.IP(), flow.IPv6()} {
		emit(1, s.rules, pipeline.PrioRevoke, flow.Do(revoke, to(s.drop)), ip, flow.Whole(), flow.CTState(flow.CTTrk|flow.CTEst, flow.CTTrk|flow.CTEst))
		emit(1, s.commit, pipeline.PrioNew, flow.Do(s.accept(), to(s.next)), ip, flow.CTState(flow.CTTrk|flow.CTNew, flow.CTTrk|flow.CTNew))
		emit(2, s.commit, pipeline.PrioRestored, flow.Do(s.accept(), to(s.next)), ip,
			flow.CTState(flow.CTTrk|flow.CTEst, flow.CTTrk|flow.CTEst), mark(pipeline.CTMarkRevoked))
	}
	if s.rules == sending.rules { // renewals
		emit(2, s.rules, pipeline.PrioDHCPClient, flow.Do(to(s.commit)), flow.UDP(), flow.TPSrc(68), flow.TPDst(67))
		emit(2, s.rules, pipeline.PrioDHCPClient, flow.Do(to(s.commit)), flow.UDP6(), flow.TPSrc(546), flow.TPDst(547))
	}
}

// aclFragments is what fragments need. Some datapaths show packets whole behind the tracker. On others they are fragments again:
// no flow sees ports in them, and but for the first none knows even those of its connection's first packet.
//
// So the first fragment is judged by its connection's first packet, and the others follow it unjudged to a ct() that all go
// through. The tracker lets none out of it before all are there, so that the others of a packet whose first was dropped stay.
// For that, no other ct() of the same zone may be reached in between: a dropped fragment marks no connection as revoked.
func aclFragments(emit emitStatic, s aclSide) {
	drop := flow.Do(to(s.drop))
	opened := func(state uint32, src, dst uint16) []flow.Term {
		return []flow.Term{flow.CTState(flow.CTTrk|state, flow.CTTrk|flow.CTInv|state),
			flow.CTProto(model.ProtoUDP), flow.CTSrcPort(src), flow.CTDstPort(dst)}
	}
	for _, ip := range []flow.Term{flow.IP(), flow.IPv6()} {
		emit(3, s.rules, pipeline.PrioFragment, flow.Do(s.track(s.rules)), ip, flow.Fragment(), flow.CTState(0, flow.CTTrk))
		emit(7, s.rules, pipeline.PrioFragment, flow.Do(to(s.commit)), ip, flow.LaterFragment(), flow.CTState(flow.CTTrk, flow.CTTrk|flow.CTInv))
		together := flow.CT(flow.Track{Commit: true, ZoneFrom: flow.RegBits(s.zone, 0, 16), Exec: []flow.Act{flow.SetCTMarkBits(0, 1, 0)}})
		emit(3, s.commit, pipeline.PrioFragment, flow.Do(together, to(s.next)), ip, flow.Fragment(), flow.CTState(flow.CTTrk, flow.CTTrk|flow.CTInv))
	}
	emit(4, s.rules, pipeline.PrioFragment, drop, flow.CTState(flow.CTTrk|flow.CTInv, flow.CTTrk|flow.CTInv))
	if s.rules != sending.rules {
		return
	}
	emit(5, s.rules, pipeline.PrioDHCPServerDrop, drop, append(opened(0, 67, 68), flow.IP())...)
	emit(5, s.rules, pipeline.PrioDHCPServerDrop, drop, append(opened(0, 547, 546), flow.IPv6())...)
	emit(6, s.state, pipeline.PrioInvalid, drop, append(opened(flow.CTRpl, 68, 67), flow.IP())...)
	emit(6, s.state, pipeline.PrioInvalid, drop, append(opened(flow.CTRpl, 546, 547), flow.IPv6())...)
}
