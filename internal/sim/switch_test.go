// SPDX-License-Identifier: Apache-2.0

package sim_test

import (
	"slices"
	"strings"
	"testing"

	"nagare/internal/flow"
	"nagare/internal/sim"
	"nagare/openflow"
)

func TestFlowsCanBeReplacedAndDeleted(t *testing.T) {
	s := load(t, "priority=5,in_port=1 actions=output:2", "priority=6,in_port=1 actions=output:3", "priority=5,in_port=1 actions=output:4")
	if n := len(s.Flows()); n != 2 {
		t.Errorf("%d flows, want 2: one was replaced", n)
	}
	key := func(prio uint16) flow.Key { return flow.Key{Priority: prio, Match: flow.M(flow.InPort(1))} }
	for _, step := range []struct {
		prio uint16
		want []uint32
	}{{6, []uint32{4}}, {5, nil}} {
		if !s.Delete(key(step.prio)) {
			t.Errorf("flow at %d was not there", step.prio)
		}
		if got := send(t, s, "in_port=1").OutPorts(); !slices.Equal(got, step.want) {
			t.Errorf("goes to %v, want %v", got, step.want)
		}
	}
	if s.Delete(key(5)) {
		t.Error("deleted twice")
	}
}

// What the simulator cannot do is an error, never a quiet drop.
func TestUnmodelledIsAnError(t *testing.T) {
	for _, acts := range []string{"NORMAL", "group:77", "ALL", "resubmit(,0)", "push_mpls:0x8847"} {
		r := load(t, "in_port=1 actions="+acts).Run(packet(t, "in_port=1"))
		if len(r.Errors) == 0 || r.Dropped() {
			t.Errorf("%s: %s", acts, r)
		}
	}
	raw := flow.Flow{Match: flow.Match([]byte{0xff, 0xfe, 2, 1, 0})}
	if err := sim.NewSwitch("s").Put(raw); err == nil {
		t.Error("match on an unknown field accepted")
	}
}

func TestActionSetAndStack(t *testing.T) {
	s := load(t,
		"table=0,in_port=1 actions=load:0x7->NXM_NX_REG1[],push:NXM_NX_REG1[],pop:NXM_NX_REG2[0..15],write_actions(output:5,set_field:9->tun_id),goto_table:1",
		"table=1,reg2=7 actions=write_metadata:0x30/0xf0,goto_table:2",
		"table=2,metadata=0x30 actions=write_actions(output:6)")
	r := send(t, s, "in_port=1")
	if len(r.Outputs) != 1 || r.Outputs[0].Port != 6 || r.Outputs[0].Packet.Uint(openflow.FieldTunID) != 9 {
		t.Errorf("%s", r)
	}
}

// A select group keeps a connection on one bucket and uses all buckets.
func TestSelectGroup(t *testing.T) {
	s := load(t, "in_port=1 actions=group:3")
	g, err := flow.ParseGroup("group_id=3,type=select,bucket=weight:1,actions=output:5,bucket=weight:3,actions=output:6")
	if err != nil {
		t.Fatal(err)
	}
	s.PutGroup(g)
	count := map[uint32]int{}
	for port := range uint16(200) {
		p := sim.New(flow.InPort(1), flow.UDP(), flow.TPSrc(port), flow.TPDst(53))
		a, b := s.Run(p).OutPorts(), s.Run(p).OutPorts()
		if len(a) != 1 || !slices.Equal(a, b) {
			t.Fatalf("port %d: %v, then %v", port, a, b)
		}
		count[a[0]]++
	}
	if count[5] < 20 || count[6] < 100 || count[5]+count[6] != 200 {
		t.Errorf("spread %v, want about 50 and 150", count)
	}
}

// A packet at its last hop goes to the controller and nowhere else.
func TestTTL(t *testing.T) {
	s := load(t, "ip actions=dec_ttl,output:2")
	if r := send(t, s, "ip,nw_ttl=1"); len(r.Punts) != 1 || r.Punts[0].Reason != openflow.ReasonInvalidTTL || len(r.Outputs) != 0 {
		t.Errorf("%s", r)
	}
	if r := send(t, s, "ip,nw_ttl=2"); len(r.Outputs) != 1 || r.Outputs[0].Packet.Uint(openflow.FieldIPTTL) != 1 {
		t.Errorf("%s", r)
	}
}

func TestTraceReads(t *testing.T) {
	s := load(t, "priority=7,in_port=1 actions=load:0x1->NXM_NX_REG0[],goto_table:20", "table=20,priority=0 actions=output:2")
	s.Tables = func(id uint8) string { return map[uint8]string{0: "classifier", 20: "responder"}[id] }
	got := s.Trace(packet(t, "in_port=1,arp")).String()
	for _, want := range []string{"switch test: arp,in_port=1", "0 classifier: priority 7 in_port=1", "load:0x1->NXM_NX_REG0[]", "20 responder: priority 0", "output:2", "verdict: output 2"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// Open vSwitch expects a flow for each clause of a conjunction: one flow that is two of them meets neither, unless as many
// other flows of the priority match.
func TestConjunctionCountsFlows(t *testing.T) {
	clauses := []string{"priority=5,in_port=1 actions=conjunction(7,1/3)", "priority=5,ip,in_port=1 actions=conjunction(7,2/3),conjunction(7,3/3)",
		"priority=5,conj_id=7,ip actions=output:2"}
	if got := send(t, load(t, clauses...), "ip,in_port=1").OutPorts(); len(got) != 0 {
		t.Errorf("two flows for three clauses: goes to %v, want a drop", got)
	}
	three := append(slices.Clone(clauses), "priority=5,ip actions=conjunction(8,1/2)")
	if got := send(t, load(t, three...), "ip,in_port=1").OutPorts(); !slices.Equal(got, []uint32{2}) {
		t.Errorf("with a third flow beside them: goes to %v, want 2", got)
	}
	apart := []string{clauses[0], "priority=5,ip actions=conjunction(7,2/3)", "priority=5,ip,in_port=1 actions=conjunction(7,3/3)", clauses[2]}
	if got := send(t, load(t, apart...), "ip,in_port=1").OutPorts(); !slices.Equal(got, []uint32{2}) {
		t.Errorf("a flow for each clause: goes to %v, want 2", got)
	}
}

// TestCheckPktLarger counts tags that the frame has, and nothing of a packet without a length.
func TestCheckPktLarger(t *testing.T) {
	s := load(t, "table=0,actions=check_pkt_larger(114)->NXM_NX_REG7[31],goto_table:1", "table=1,reg7=0x80000000/0x80000000,actions=output:1", "table=1,priority=1,actions=output:2")
	for _, c := range []struct {
		text   string
		length int
		port   uint32
	}{{"in_port=3,ip", 0, 2}, {"in_port=3,ip", 114, 2}, {"in_port=3,ip", 115, 1}, {"in_port=3,dl_vlan=5,ip", 110, 2}, {"in_port=3,dl_vlan=5,ip", 111, 1}} {
		p := packet(t, c.text)
		p.Length = c.length
		if got := s.Run(p).OutPorts(); len(got) != 1 || got[0] != c.port {
			t.Errorf("%s of %d octets leaves by %v", c.text, c.length, got)
		}
	}
}
