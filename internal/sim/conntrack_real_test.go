// SPDX-License-Identifier: Apache-2.0

package sim_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"nagare/internal/flow"
	"nagare/internal/ovstest"
	"nagare/internal/repro"
	"nagare/internal/sim"
	"nagare/openflow"
)

// trackedFlows filter two ports statefully in one zone, and translate between
// port 2 and port 3 in another.
var trackedFlows = []string{
	"table=0,priority=1,ip,in_port=1 actions=load:0x11->NXM_NX_REG5[],ct(table=1,zone=NXM_NX_REG5[0..15])",
	"table=0,priority=1,ip,in_port=2 actions=load:0x11->NXM_NX_REG5[],ct(table=1,zone=NXM_NX_REG5[0..15])",
	"table=0,priority=1,ip,in_port=3 actions=ct(table=4,zone=9,nat)",
	"table=1,priority=100,ct_state=+inv+trk actions=drop",
	"table=1,priority=90,ct_state=-new+rpl+trk,ct_mark=0/0x1 actions=goto_table:3",
	"table=1,priority=80,ct_state=-new+rpl+trk,ct_mark=0x1/0x1 actions=drop",
	"table=1,priority=70,ct_state=+trk actions=goto_table:2",
	rule53,
	"table=2,priority=50,icmp actions=goto_table:3",
	"table=2,priority=40,udp,tp_dst=70 actions=goto_table:3",
	"table=2,priority=10,ct_state=+est+trk,ip actions=ct(commit,zone=NXM_NX_REG5[0..15],exec(load:0x1->NXM_NX_CT_MARK[0]))",
	"table=2,priority=0 actions=drop",
	"table=3,priority=100,ct_state=+new+trk,ip actions=ct(commit,zone=NXM_NX_REG5[0..15],exec(load:0->NXM_NX_CT_MARK[0],load:0x2a->NXM_NX_CT_LABEL[0..31])),goto_table:5",
	"table=3,priority=90,ct_state=+est+trk,ct_mark=0x1/0x1,ip actions=ct(commit,zone=NXM_NX_REG5[0..15],exec(load:0->NXM_NX_CT_MARK[0])),goto_table:5",
	"table=3,priority=0 actions=goto_table:5",
	"table=4,priority=20,ct_state=+new+trk,ip,nw_dst=192.0.2.9 actions=ct(commit,table=7,zone=9,nat(dst=10.0.0.2))",
	"table=4,priority=10,ct_state=-new-inv+trk,ip,nw_dst=10.0.0.0/24 actions=output:2",
	"table=4,priority=0 actions=drop",
	"table=5,priority=10,ip,nw_dst=10.0.0.1 actions=output:1",
	"table=5,priority=10,ip,nw_dst=10.0.0.2 actions=output:2",
	"table=5,priority=9,ip,in_port=2 actions=ct(table=6,zone=9,nat)",
	"table=6,priority=10,ct_state=+new+trk,ip actions=ct(commit,table=7,zone=9,nat(src=192.0.2.2))",
	"table=6,priority=5,ct_state=-new-inv+trk,ip actions=output:3",
	"table=7,priority=5,ip,nw_src=192.0.2.2 actions=output:3",
	"table=7,priority=4,ip,nw_dst=10.0.0.2 actions=output:2",
}

// rule53 is the security rule that comes and goes during the test.
const rule53 = "table=2,priority=50,udp,tp_dst=53 actions=goto_table:3"

// Random sequences of packets meet the same flows in the simulator and in the
// connection tracker of a real datapath: new, established, reply, revoked,
// restored, invalid, translated both ways.
func TestConntrackAgreesWithRealDatapath(t *testing.T) {
	real := ovstest.Start(t)
	real.AddBridge("br0")
	for i := 1; i <= 3; i++ {
		real.AddPort("br0", fmt.Sprintf("p%d", i), i)
	}
	s := load(t, trackedFlows...)
	for _, l := range trackedFlows {
		real.Ofctl("add-flow", "br0", l)
	}
	// Counters of flows, by table and priority and match.
	counts := func() map[flow.Key]uint64 {
		real.Appctl("revalidator/purge") // brings the datapath's counters to the flows
		ds, err := flow.ParseDump(real.Ofctl("--no-names", "dump-flows", "br0"))
		if err != nil {
			t.Fatal(err)
		}
		out := map[flow.Key]uint64{}
		for _, d := range ds {
			out[d.Key()] = d.Packets
		}
		return out
	}
	met := map[string]bool{}
	before := counts()
	r := repro.Rand(3, 3)
	var story []string
	for i := range 200 {
		switch i % 100 {
		case 45:
			f, _ := flow.ParseFlow(rule53)
			s.Delete(f.Key())
			real.Ofctl("--strict", "del-flows", "br0", "table=2,priority=50,udp,tp_dst=53")
			story = append(story, "rule deleted")
		case 65:
			f, _ := flow.ParseFlow(rule53)
			if err := s.Put(f); err != nil {
				t.Fatal(err)
			}
			real.Ofctl("add-flow", "br0", rule53)
			story = append(story, "rule added")
			before = counts()
		}
		p := conntrackPacket(r)
		story = append(story, p.String())
		real.Receive(fmt.Sprintf("p%d", p.InPort()), datapathFlow(p))
		after := counts()
		var want []string
		for k, n := range after {
			if n > before[k] {
				want = append(want, fmt.Sprint(k.Table, " ", k.Priority))
			}
		}
		before = after
		slices.Sort(want)
		got, res := simulated(s, p)
		if !slices.Equal(got.visited, want) {
			t.Fatalf("after\n%s\nsimulated %v\n%s\nreal      %v\n%s", strings.Join(story, "\n"), got.visited, res, want, real.Appctl("dpctl/dump-conntrack"))
		}
		for _, v := range want {
			met[v] = true
		}
	}
	for k := range before {
		if at := fmt.Sprint(k.Table, " ", k.Priority); !met[at] {
			t.Errorf("no packet met the flow %s", at)
		}
	}
}

// conntrackPacket is UDP or ping between three hosts; the third is outside and
// knows the others by translated addresses.
func conntrackPacket(r *rand.Rand) sim.Packet {
	in := pick(r, uint32(1), 2, 2, 3, 3)
	addr := map[uint32]string{1: "10.0.0.1", 2: "10.0.0.2", 3: "198.51.100.7"}
	to := pick(r, map[uint32][]string{1: {"10.0.0.2"}, 2: {"10.0.0.1", "198.51.100.7"}, 3: {"192.0.2.9", "192.0.2.2"}}[in]...)
	if r.IntN(3) == 0 { // one conversation that goes on through all changes of rules
		in, to = 1, "10.0.0.2"
		ports := [2]uint16{1000, 53}
		if r.IntN(2) == 0 {
			in, to, ports = 2, "10.0.0.1", [2]uint16{53, 1000}
		}
		return sim.New(flow.InPort(in), flow.EthSrc([6]byte{2, 0, 0, 0, 0, byte(in)}), flow.EthDst([6]byte{2, 0, 0, 0, 0, 9}),
			flow.IPSrc(cidr(addr[in])), flow.IPDst(cidr(to)), flow.UDP(), flow.TPSrc(ports[0]), flow.TPDst(ports[1]))
	}
	terms := []flow.Term{flow.InPort(in), flow.EthSrc([6]byte{2, 0, 0, 0, 0, byte(in)}), flow.EthDst([6]byte{2, 0, 0, 0, 0, 9}),
		flow.IPSrc(cidr(addr[in])), flow.IPDst(cidr(to))}
	if r.IntN(3) == 0 {
		return sim.New(append(terms, flow.ICMP(), flow.ICMPType(pick(r, uint8(8), 8, 0)), flow.ICMPCode(0))...)
	}
	ports := pick(r, [2]uint16{1000, 53}, [2]uint16{53, 1000}, [2]uint16{1000, 80}, [2]uint16{80, 1000}, [2]uint16{1000, 70})
	return sim.New(append(terms, flow.UDP(), flow.TPSrc(ports[0]), flow.TPDst(ports[1]))...)
}

// datapathFlow is an IPv4 packet as netdev-dummy/receive takes it.
func datapathFlow(p sim.Packet) string {
	l4 := fmt.Sprintf("udp(src=%d,dst=%d)", p.Uint(openflow.FieldUDPSrc), p.Uint(openflow.FieldUDPDst))
	if p.Uint(openflow.FieldIPProto) == flow.ProtoICMP {
		l4 = fmt.Sprintf("icmp(type=%d,code=0)", p.Uint(openflow.FieldICMPType))
	}
	return fmt.Sprintf("in_port(%d),eth(src=02:00:00:00:00:%02x,dst=02:00:00:00:00:09),eth_type(0x0800),ipv4(src=%s,dst=%s,proto=%d,tos=0,ttl=64,frag=no),%s",
		p.InPort(), p.InPort(), p.Addr(openflow.FieldIPv4Src), p.Addr(openflow.FieldIPv4Dst), p.Uint(openflow.FieldIPProto), l4)
}
