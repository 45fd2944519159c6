// SPDX-License-Identifier: Apache-2.0

package sim_test

import (
	"slices"
	"testing"

	"nagare/internal/flow"
	"nagare/internal/sim"
	"nagare/openflow"
)

// load puts flows, given as text, into a new switch.
func load(t *testing.T, lines ...string) *sim.Switch {
	t.Helper()
	s := sim.NewSwitch("test")
	for _, l := range lines {
		f, err := flow.ParseFlow(l)
		if err == nil {
			err = s.Put(f)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func packet(t *testing.T, text string) sim.Packet {
	t.Helper()
	p, err := sim.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func send(t *testing.T, s *sim.Switch, text string) sim.Result {
	t.Helper()
	r := s.Trace(packet(t, text))
	if len(r.Errors) > 0 {
		t.Errorf("%s\n%s", text, r)
	}
	return r
}

// A stateful filter: connections may be opened from port 1 only; replies pass,
// until the connection is revoked by its mark; a flush forgets it.
func TestConnectionStates(t *testing.T) {
	s := load(t,
		"table=0,ip actions=ct(table=1,zone=7)",
		"table=1,priority=100,ct_state=+inv+trk actions=drop",
		"table=1,priority=90,ct_state=+est+rpl+trk,ct_mark=0/1,ip,in_port=2 actions=output:1",
		"table=1,priority=80,ct_state=+est-rpl+trk,ip,tp_dst=99,tcp actions=ct(commit,zone=7,exec(load:1->NXM_NX_CT_MARK[0]))",
		"table=1,priority=70,ct_state=+est-rpl+trk,ip,in_port=1 actions=output:2",
		"table=1,priority=60,ct_state=+new+trk,ip,in_port=1 actions=ct(commit,zone=7,exec(load:0->NXM_NX_CT_MARK[0],load:0x2a->NXM_NX_CT_LABEL[0..31])),output:2")
	out := func(text string, want ...uint32) {
		t.Helper()
		if r := send(t, s, text); !slices.Equal(r.OutPorts(), want) {
			t.Errorf("%s went to %v, want %v\n%s", text, r.OutPorts(), want, r)
		}
	}
	const there, back = "in_port=1,tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tcp_src=1000,tcp_dst=", "in_port=2,tcp,nw_src=10.0.0.2,nw_dst=10.0.0.1,tcp_dst=1000,tcp_src="
	out(back + "80") // nothing is open
	out(there+"80", 2)
	out(back+"80", 1)
	out(there+"80", 2)
	out(back + "81") // another connection
	if n := s.Track.Connections(7); n != 1 {
		t.Errorf("%d connections in zone 7, want 1", n)
	}
	out(there+"99", 2)
	out(back+"99", 1)
	out(there + "99") // revokes
	out(back + "99")
	out(back+"80", 1)
	s.Track.Flush(7)
	out(back + "80")
	out("in_port=1,icmp,icmp_type=8,nw_src=10.0.0.1,nw_dst=10.0.0.2", 2)
	out("in_port=2,icmp,icmp_type=0,nw_src=10.0.0.2,nw_dst=10.0.0.1", 1)
	out("in_port=2,icmp,icmp_type=0,nw_src=10.0.0.3,nw_dst=10.0.0.1") // invalid: no request
}

// Zones know nothing of each other, and a zone may come from a register.
func TestZonesAreApart(t *testing.T) {
	s := load(t,
		"table=0,priority=2,in_port=1,ip actions=load:5->NXM_NX_REG5[],ct(commit,zone=NXM_NX_REG5[0..15])",
		"table=0,priority=2,in_port=2,ip actions=load:5->NXM_NX_REG5[],ct(table=1,zone=NXM_NX_REG5[0..15])",
		"table=0,priority=2,in_port=3,ip actions=load:6->NXM_NX_REG5[],ct(table=1,zone=NXM_NX_REG5[0..15])",
		"table=1,priority=1,ct_state=+est+rpl+trk actions=output:9",
		"table=1,priority=1,ct_state=+new+trk,ct_zone=6 actions=output:8")
	send(t, s, "in_port=1,udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,udp_src=1,udp_dst=2")
	for text, want := range map[string]uint32{"in_port=2": 9, "in_port=3": 8} {
		if r := send(t, s, text+",udp,nw_src=10.0.0.2,nw_dst=10.0.0.1,udp_src=2,udp_dst=1"); !slices.Equal(r.OutPorts(), []uint32{want}) {
			t.Errorf("%s: %s", text, r)
		}
	}
}

// Two hosts behind one address: both connections get out by different ports and
// their replies find back; a floating address is translated both ways.
func TestTranslation(t *testing.T) {
	s := load(t,
		"table=0,priority=2,in_port=1,ip actions=ct(table=1,zone=9,nat)",
		"table=0,priority=2,in_port=2,ip actions=ct(table=2,zone=9,nat)",
		"table=1,priority=2,ct_state=+new+trk,ip actions=ct(commit,table=3,zone=9,nat(src=192.0.2.2))",
		"table=1,priority=1,ct_state=-new+trk actions=output:2",
		"table=3,priority=1 actions=output:2",
		"table=2,priority=2,ct_state=+new+trk,ip,nw_dst=192.0.2.9 actions=ct(commit,table=4,zone=9,nat(dst=10.0.0.5:8080))",
		"table=2,priority=1,ct_state=-new-inv+trk,ip actions=output:1",
		"table=4,priority=1 actions=output:1")
	one := func(text string) sim.Packet {
		t.Helper()
		r := send(t, s, text)
		if len(r.Outputs) != 1 {
			t.Fatalf("%s\n%s", text, r)
		}
		return r.Outputs[0].Packet
	}
	is := func(p sim.Packet, src, dst string, sport, dport uint64) {
		t.Helper()
		if p.Addr(openflow.FieldIPv4Src).String() != src || p.Addr(openflow.FieldIPv4Dst).String() != dst ||
			p.Uint(openflow.FieldTCPSrc) != sport || p.Uint(openflow.FieldTCPDst) != dport {
			t.Errorf("got %s, want %s:%d to %s:%d", p, src, sport, dst, dport)
		}
	}
	is(one("in_port=1,udp,nw_src=10.0.0.1,nw_dst=198.51.100.1,udp_src=1000,udp_dst=53"), "192.0.2.2", "198.51.100.1", 1000, 53)
	is(one("in_port=1,udp,nw_src=10.0.0.2,nw_dst=198.51.100.1,udp_src=1000,udp_dst=53"), "192.0.2.2", "198.51.100.1", 1001, 53)
	is(one("in_port=1,udp,nw_src=10.0.0.1,nw_dst=198.51.100.1,udp_src=1000,udp_dst=53"), "192.0.2.2", "198.51.100.1", 1000, 53)
	is(one("in_port=2,udp,nw_src=198.51.100.1,nw_dst=192.0.2.2,udp_src=53,udp_dst=1000"), "198.51.100.1", "10.0.0.1", 53, 1000)
	is(one("in_port=2,udp,nw_src=198.51.100.1,nw_dst=192.0.2.2,udp_src=53,udp_dst=1001"), "198.51.100.1", "10.0.0.2", 53, 1000)
	is(one("in_port=2,tcp,nw_src=198.51.100.1,nw_dst=192.0.2.9,tcp_src=4000,tcp_dst=80"), "198.51.100.1", "10.0.0.5", 4000, 8080)
	is(one("in_port=1,tcp,nw_src=10.0.0.5,nw_dst=198.51.100.1,tcp_src=8080,tcp_dst=4000"), "192.0.2.9", "198.51.100.1", 80, 4000)
	if r := send(t, s, "in_port=2,udp,nw_src=198.51.100.1,nw_dst=192.0.2.2,udp_src=53,udp_dst=5555"); !r.Dropped() {
		t.Errorf("unasked packet passed: %s", r)
	}
}
