// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/openflow"
)

func putLog(tx *store.Txn, id model.LogID, l model.LogPlane) {
	l.Enabled = true
	tables.Logs.Put(tx, id, model.Log{ID: id, LogPlane: l})
}

// logStreet is a node with two ports: the first may open connections to TCP port 80 of the second, whose group lets these in and UDP.
func logStreet(t *testing.T, stateful bool) (s *streets, a, b model.Port) {
	s = newStreets(t, "a", "b")
	a, b = crowdPort(1, 1), crowdPort(2, 1)
	s.change(func(tx *store.Txn) error {
		putGroup(tx, "g", stateful)
		port := 80
		for i, r := range []model.RulePlane{
			{Direction: model.Egress, Ethertype: model.EtherIPv4, Protocol: "tcp", PortMin: &port, PortMax: &port},
			{Direction: model.Egress, Ethertype: model.EtherIPv4, Protocol: "udp"},
			{Direction: model.Ingress, Ethertype: model.EtherIPv4, Protocol: "tcp", PortMin: &port, PortMax: &port},
		} {
			r.Group, r.Key = "g", model.Key(i+1)
			id := model.SecurityGroupRuleID(fmt.Sprintf("r%d", i+1))
			tables.Rules.Put(tx, id, model.SecurityGroupRule{ID: id, RulePlane: r})
		}
		for i, p := range []*model.Port{&a, &b} {
			p.Network, p.Host, p.SecurityGroups = "n1", "a", []model.SecurityGroupID{"g"}
			s.must(putPlugged(tx, *p, uint32(i+1), true))
			s.fabric.Attach(string(p.ID), s.switches["a"], uint32(i+1))
		}
		return nil
	})
	return s, a, b
}

// told sends a packet and gives the kinds of its copies for logs, each with the rule that it names; and whether it arrived.
func (s *streets) told(from *model.Port, p packet) (kinds []string, arrived bool) {
	s.t.Helper()
	o := s.fabric.Send(string(from.ID), p.frame())
	if len(o.Errors) > 0 {
		s.t.Fatal(o.Errors)
	}
	for _, a := range o.Arrivals {
		kind, ok := pipeline.ParseUserdata(a.Userdata)
		if !ok || !pipeline.IsLogged(kind) || a.MaxLen != logHead {
			s.t.Fatalf("punt of kind %d, %d octets", kind, a.MaxLen)
		}
		reg := func(n int) uint64 { return a.Packet.Uint(openflow.Reg(n)) }
		text := fmt.Sprintf("%d", kind)
		if kind == pipeline.PuntSentAccepted || kind == pipeline.PuntReceivedAccepted {
			text += fmt.Sprintf(" rule %d", reg(pipeline.RegRule))
		}
		port := reg(pipeline.RegSrcPort)
		if kind == pipeline.PuntReceivedAccepted || kind == pipeline.PuntReceivedDropped {
			port = reg(pipeline.RegDstPort)
		}
		kinds = append(kinds, fmt.Sprintf("%s port %d", text, port))
	}
	return kinds, len(o.Deliveries) > 0
}

// TestLogTells: what of a port's packets is told, and that packets go the same way with logs as without.
func TestLogTells(t *testing.T) {
	s, a, b := logStreet(t, true)
	tcp := func(from, to *model.Port, sport, dport uint16, opening bool) packet {
		return packet{from.MAC, to.MAC, from.FixedIPs[0].Addr, to.FixedIPs[0].Addr, model.ProtoTCP, sport, dport, opening}
	}
	udp := tcp(&a, &b, 1, 53, false)
	udp.proto = model.ProtoUDP
	spoofed := tcp(&a, &b, 1, 80, true)
	spoofed.src = netip.MustParseAddr("10.9.9.9")
	sent, received := fmt.Sprintf("8 rule 1 port %d", a.Key), fmt.Sprintf("10 rule 3 port %d", b.Key)
	notSent, notReceived := fmt.Sprintf("9 port %d", a.Key), fmt.Sprintf("11 port %d", b.Key)
	check := func(what string, from *model.Port, p packet, arrives bool, want ...string) {
		t.Helper()
		got, arrived := s.told(from, p)
		if !slices.Equal(got, want) || arrived != arrives {
			t.Errorf("%s: told %v, want %v; arrived %v", what, got, want, arrived)
		}
	}
	check("before there are logs", &a, tcp(&a, &b, 100, 80, true), true)
	check("and what is refused", &a, tcp(&a, &b, 100, 81, true), false)
	s.change(func(tx *store.Txn) error {
		putLog(tx, "l", model.LogPlane{Group: "g", Event: model.LogAll})
		return nil
	})
	check("a connection that was opened before", &a, tcp(&a, &b, 100, 80, false), true)
	check("first packet", &a, tcp(&a, &b, 101, 80, true), true, sent, received)
	check("the same again", &a, tcp(&a, &b, 101, 80, true), true)
	check("its answer", &b, tcp(&b, &a, 80, 101, false), true)
	check("the next", &a, tcp(&a, &b, 101, 80, false), true)
	check("no rule of the sender", &a, tcp(&a, &b, 102, 81, true), false, notSent)
	check("no rule of the receiver", &a, udp, false, fmt.Sprintf("8 rule 2 port %d", a.Key), notReceived)
	check("the same again", &a, udp, false, notReceived)
	check("a foreign address", &a, spoofed, false, notSent)
	// The rule of the connection goes: its packets are dropped and told, in both directions.
	s.change(func(tx *store.Txn) error { tables.Rules.Delete(tx, "r1"); return nil })
	check("of a revoked connection", &a, tcp(&a, &b, 101, 80, false), false, notSent)
	check("its answer", &b, tcp(&b, &a, 80, 101, false), false, fmt.Sprintf("11 port %d", a.Key))
	s.change(func(tx *store.Txn) error {
		putLog(tx, "l", model.LogPlane{Port: b.ID, Event: model.LogDrop})
		return nil
	})
	check("of a port that no log names", &a, tcp(&a, &b, 101, 80, false), false)
	check("received by one that a log names", &a, udp, false, notReceived)
	check("accepted by it", &b, tcp(&b, &a, 80, 101, false), false)
}

// TestLogTellsStateless: where connections are not tracked each accepted packet is told.
func TestLogTellsStateless(t *testing.T) {
	s, a, b := logStreet(t, false)
	s.change(func(tx *store.Txn) error {
		putLog(tx, "l", model.LogPlane{Port: b.ID, Event: model.LogAccept})
		return nil
	})
	p := packet{a.MAC, b.MAC, a.FixedIPs[0].Addr, b.FixedIPs[0].Addr, model.ProtoTCP, 100, 80, true}
	want := []string{fmt.Sprintf("10 rule 3 port %d", b.Key)}
	for range 2 {
		if got, arrived := s.told(&a, p); !slices.Equal(got, want) || !arrived {
			t.Errorf("told %v, want %v; arrived %v", got, want, arrived)
		}
	}
}

// TestLogCost: a log costs six flows and two meters for a port in its scope, on its node, whatever the rules and the other ports; no
// other flow changes, neither when it comes nor when it goes. Logs that tell of the same cost nothing more.
func TestLogCost(t *testing.T) {
	f := crowd(t, 400, 4)
	do := func(what string, flows, meters int, change func(tx *store.Txn)) {
		t.Helper()
		ds, st := f.commit(func(tx *store.Txn) error { change(tx); return nil })
		n, m := 0, 0
		for node, d := range ds {
			for _, c := range d.Flows {
				for _, x := range []*flow.Flow{c.Before, c.After} {
					if x == nil {
						continue
					}
					if k, _ := pipeline.UnpackCookie(x.Cookie); k.Kind != pipeline.KindLog {
						t.Errorf("%s: on %s: %s", what, node, x)
					}
				}
				n++
			}
			m += len(d.Meters)
		}
		if n != flows || m != meters {
			t.Errorf("%s: %d flows and %d meters, want %d and %d", what, n, m, flows, meters)
		}
		t.Logf("%s: %d flows, %d meters, %d units ran", what, n, m, st.UnitRuns)
		if st.UnitRuns > uint64(4+flows) {
			t.Errorf("%s: %d units ran", what, st.UnitRuns)
		}
	}
	port := crowdPort(7, 4).ID
	do("a log of a port", 6, 2, func(tx *store.Txn) { putLog(tx, "l", model.LogPlane{Port: port, Event: model.LogAll}) })
	do("another", 0, 0, func(tx *store.Txn) { putLog(tx, "m", model.LogPlane{Port: port, Event: model.LogDrop}) })
	do("less of the first", 4, 1, func(tx *store.Txn) { putLog(tx, "l", model.LogPlane{Port: port, Event: model.LogDrop}) })
	do("one gone", 0, 0, func(tx *store.Txn) { tables.Logs.Delete(tx, "l") })
	do("renamed", 0, 0, func(tx *store.Txn) {
		l, _ := tables.Logs.Get(tx, "m")
		l.Name = "x"
		tables.Logs.Put(tx, l.ID, l)
	})
	do("the other too", 2, 1, func(tx *store.Txn) { tables.Logs.Delete(tx, "m") })
	do("a log of a group that nobody wears", 0, 0, func(tx *store.Txn) { putLog(tx, "l", model.LogPlane{Group: "other", Event: model.LogAll}) })
	do("a log of a group", 400*6, 400*2, func(tx *store.Txn) { putLog(tx, "l", model.LogPlane{Group: "g", Event: model.LogAll}) })
	var from []compile.Because
	for k, x := range f.e.Owners("node00") {
		if k.Table != uint8(pipeline.IngressDrop) || x.Rule != "acl/log" {
			continue
		}
		for _, why := range f.e.Explain("node00", k) {
			from = append(from, why.Because...)
		}
	}
	if len(from) != 100 || from[0] != (compile.Because{Kind: "log", ID: "l"}) {
		t.Errorf("flows are explained by %d causes, such as %v", len(from), from[:min(1, len(from))])
	}
}

// TestLogMeters: no two meters of slots have the same number, and all are what datapaths take.
func TestLogMeters(t *testing.T) {
	seen := map[uint32]string{model.LLDPMeter: "LLDP", model.EdgeMeter: "edge"}
	take := func(id uint32, what string) {
		if who, taken := seen[id]; taken || id == 0 || id > 200_000 {
			t.Fatalf("meter %d is %s's and %s's", id, what, who)
		}
		seen[id] = what
	}
	for n := uint32(1); n <= model.MaxSlot; n++ {
		s := model.Slot{Number: n}
		for k := range 4 {
			take(s.Meter(model.PuntKind(k)), "a punt")
			take(s.QosMeter(model.QosMeter(k)), "a limit")
		}
		for _, m := range []model.LogMeter{model.LogMeterAccept, model.LogMeterDrop} {
			take(s.LogMeter(m), "a log")
			if id := s.LogMeter(m); !model.IsLogMeter(id) || model.IsLogMeter(s.Meter(3)) || model.IsLogMeter(s.QosMeter(0)) {
				t.Fatalf("meter %d is taken for another's", id)
			}
		}
	}
	if id := (model.Slot{Number: model.MaxSlot + 1}).LogMeter(model.LogMeterDrop); id != 0 {
		t.Errorf("a slot of an older version has meter %d", id)
	}
}
