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
	pass, drop := flow.Do(to(s.next)), flow.Do()
	emit(1, s.state, pipeline.PrioInvalid, drop, flow.CTState(flow.CTTrk|flow.CTInv, flow.CTTrk|flow.CTInv))
	emit(2, s.state, pipeline.PrioEstablished, pass, flow.CTState(flow.CTTrk|flow.CTRpl, state|flow.CTRpl), mark(0))
	emit(3, s.state, pipeline.PrioEstablished, pass, flow.CTState(flow.CTTrk|flow.CTRel, state|flow.CTRel|flow.CTRpl), mark(0))
	emit(4, s.state, pipeline.PrioRevoked, drop, flow.CTState(flow.CTTrk|flow.CTRpl, state|flow.CTRpl), mark(pipeline.CTMarkRevoked))
	emit(5, s.state, pipeline.PrioTracked, flow.Do(to(s.rules)), flow.CTState(flow.CTTrk, flow.CTTrk))

	commit := func(revoked uint64, label bool) flow.Act {
		exec := []flow.Act{flow.SetCTMarkBits(0, 1, revoked)}
		if label {
			exec = append(exec, flow.LabelRule(pipeline.RegRule))
		}
		return flow.CT(flow.Track{Commit: true, ZoneFrom: flow.RegBits(s.zone, 0, 16), Exec: exec})
	}
	for _, ip := range []flow.Term{flow.IP(), flow.IPv6()} {
		emit(1, s.rules, pipeline.PrioRevoke, flow.Do(commit(1, false)), ip, flow.CTState(flow.CTTrk|flow.CTEst, flow.CTTrk|flow.CTEst))
		emit(1, s.commit, pipeline.PrioNew, flow.Do(commit(0, true), to(s.next)), ip, flow.CTState(flow.CTTrk|flow.CTNew, flow.CTTrk|flow.CTNew))
		emit(2, s.commit, pipeline.PrioRestored, flow.Do(commit(0, true), to(s.next)), ip,
			flow.CTState(flow.CTTrk|flow.CTEst, flow.CTTrk|flow.CTEst), mark(pipeline.CTMarkRevoked))
	}
	if s.rules == sending.rules { // renewals
		emit(2, s.rules, pipeline.PrioDHCPClient, flow.Do(to(s.commit)), flow.UDP(), flow.TPSrc(68), flow.TPDst(67))
		emit(2, s.rules, pipeline.PrioDHCPClient, flow.Do(to(s.commit)), flow.UDP6(), flow.TPSrc(546), flow.TPDst(547))
	}
}

// aclFragments is what fragments need. Flows see no ports in them, so that the checks of table 40 pass them by. The tracker
// puts fragments together; on some datapaths they are fragments again behind it, but then they know the first packet of their
// connection.
func aclFragments(emit emitStatic, s aclSide) {
	drop := flow.Do()
	opened := func(state uint32, src, dst uint16) []flow.Term {
		return []flow.Term{flow.CTState(flow.CTTrk|state, flow.CTTrk|flow.CTInv|state),
			flow.CTProto(model.ProtoUDP), flow.CTSrcPort(src), flow.CTDstPort(dst)}
	}
	for _, ip := range []flow.Term{flow.IP(), flow.IPv6()} {
		emit(3, s.rules, pipeline.PrioFragment, flow.Do(s.track(s.rules)), ip, flow.Fragment(), flow.CTState(0, flow.CTTrk))
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
