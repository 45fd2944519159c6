// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/ovstest"
	"nagare/internal/pipeline"
	"nagare/internal/repro"
	"nagare/internal/sim"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/openflow"
)

// TestRoutersOnRealSwitch loads all nodes of a campus into Open vSwitch, and random packets must leave by the ports that the
// simulator says. ofproto/trace takes every tracked packet for a new one, and so does the simulator here.
func TestRoutersOnRealSwitch(t *testing.T) {
	s := ovstest.Start(t)
	went, agreed := 0, 0
	for _, typ := range []model.NetworkType{model.Flat, model.VLAN} {
		c := standing(t, typ, Options{})
		floated(c)
		c.do(func(tx *store.Txn) {
			c.takes(tx, map[model.NetworkID]int{"ext": 1500, "n1": 1450, "n2": 1400, "n3": 1450})
		})
		for i, node := range campusNodes {
			bridge := fmt.Sprintf("%s%d", typ, i)
			push(t, s, bridge, c.f.e, node)
			sw, numbers := simulated(t, c.f.e, node), ofNumbers(s, bridge)
			sw.Track.AssumeNew = true
			r := repro.Rand(uint64(i), 11)
			for range 100 {
				p := c.random(r, node)
				text := s.Appctl("ofproto/trace", bridge, p.Traceable())
				want, punted := traced(text, p.Length, numbers)
				res := sw.Trace(p)
				if got := res.OutPorts(); !slices.Equal(got, want) || len(res.Errors) > 0 || punted != (len(res.Punts) > 0) {
					t.Fatalf("%s: packet %s\nsimulated %v:\n%s\nreal %v:\n%s", node, p, got, res, want, text)
				}
				if agreed++; len(want) > 0 || punted {
					went++
				}
			}
		}
	}
	t.Logf("%d packets agree, %d of them went somewhere", agreed, went)
	if went < agreed/6 {
		t.Errorf("only %d of %d packets went anywhere: the test shows little", went, agreed)
	}
}

var recirculated = regexp.MustCompile(`recirc\((0x[0-9a-f]+)\)`)

// traced are the ports by which a traced packet leaves, through all its recirculations, and whether it is punted. A trace shows
// what becomes of a packet whether it is too large or not: length decides.
func traced(text string, length int, numbers map[uint32]uint32) (out []uint32, punted bool) {
	parts := map[string]string{}
	for i, part := range strings.Split(text, "\nrecirc(") {
		id, _, _ := strings.Cut(part, ")")
		if i == 0 {
			id = ""
		}
		_, acts, _ := strings.Cut(part, "Datapath actions: ")
		parts[id], _, _ = strings.Cut(acts, "\n")
	}
	out = []uint32{}
	for todo := []string{""}; len(todo) > 0; todo = todo[1:] {
		acts := bySize(parts[todo[0]], length)
		for _, dp := range datapathOutputs(acts) {
			out = append(out, numbers[dp])
		}
		punted = punted || strings.Contains(acts, "userspace(") // by a meter that the datapath does not show
		for _, m := range recirculated.FindAllStringSubmatch(acts, -1) {
			todo = append(todo, m[1])
		}
	}
	slices.Sort(out)
	return out, punted
}

// bySize puts in place of check_pkt_len what it does with a frame of a length.
func bySize(acts string, length int) string {
	before, rest, ok := strings.Cut(acts, "check_pkt_len(size=")
	if !ok {
		return acts
	}
	var size int
	fmt.Sscan(rest, &size)
	take := func(from, word string) (inside, after string) {
		_, from, _ = strings.Cut(from, word+"(")
		depth := 1
		for i, c := range from {
			switch c {
			case '(':
				depth++
			case ')':
				depth--
			}
			if depth == 0 {
				return from[:i], from[i+1:]
			}
		}
		return from, ""
	}
	larger, rest := take(rest, "gt")
	fits, rest := take(rest, "le")
	if length > size {
		fits = larger
	}
	return before + bySize(fits, length) + bySize(strings.TrimPrefix(rest, ")"), length)
}

// random is a packet that comes in to a node by an instance, a tunnel or the wire, mostly by way of a router.
func (c *campus) random(r *rand.Rand, node string) sim.Packet {
	var doors []string
	for _, f := range c.f.flows(node) {
		if f.Table == 0 && f.Priority == pipeline.PrioPort {
			doors = append(doors, strings.ReplaceAll(f.Match.String(), ",vlan_tci=0x0000/0x1fff", ""))
		}
	}
	text := doors[r.IntN(len(doors))]
	any := func(from ...string) string { return from[r.IntN(len(from))] }
	snap := c.st.Snapshot()
	var macs, v4, v6 []string
	for _, p := range portsOf(snap) {
		macs = append(macs, p.MAC.String())
		for _, f := range p.FixedIPs {
			if f.Addr.Is4() {
				v4 = append(v4, f.Addr.String())
			} else {
				v6 = append(v6, f.Addr.String())
			}
		}
	}
	own := model.Port{}
	for _, p := range portsOf(snap) {
		if strings.Contains(text, "dl_src="+p.MAC.String()) {
			own = p
		}
	}
	v4, v6 = append(v4, "8.8.8.8", "172.16.1.77", "10.1.0.99", "169.254.1.1"), append(v6, "2001:db8::8", "fe80::1", "fd02::99")
	src4, src6, dst := any(v4...), any(v6...), any(macs...)
	if own.ID != "" {
		src4 = own.FixedIPs[0].Addr.String()
		if len(own.FixedIPs) > 1 {
			src6 = own.FixedIPs[1].Addr.String()
		}
		if r.IntN(8) > 0 {
			dst = c.doorOf(own.ID, true).String()
			if r.IntN(3) == 0 && own.ID != "other-00000" {
				dst = c.port("if16").MAC.String()
			}
		}
	} else {
		text += ",dl_src=" + any(macs...)
		if near := c.within(text); len(near) > 0 && r.IntN(8) > 0 { // by a tunnel or the wire, to somebody there
			p := near[r.IntN(len(near))]
			dst = p.MAC.String()
			if r.IntN(2) == 0 && p.FixedIPs[0].Addr.Is4() {
				v4 = []string{p.FixedIPs[0].Addr.String()}
			}
		}
	}
	text += ",dl_dst=" + dst
	ttl := any("1", "2", "64", "64", "64", "64", "64", "64")
	switch r.IntN(8) {
	case 0:
		text += fmt.Sprintf(",icmp6,icmp_type=%s,icmp_code=0,ipv6_src=%s,ipv6_dst=%s,nw_ttl=%s", any("128", "129"), src6, any(v6...), ttl)
	case 1:
		text += fmt.Sprintf(",icmp,icmp_type=%s,icmp_code=0,nw_src=%s,nw_dst=%s,nw_ttl=%s", any("8", "0"), src4, any(v4...), ttl)
	case 2:
		text += fmt.Sprintf(",arp,arp_op=%s,arp_spa=%s,arp_tpa=%s", any("1", "2"), src4, any(v4...))
	default:
		text += fmt.Sprintf(",udp,nw_src=%s,nw_dst=%s,nw_ttl=%s,tp_src=1000,tp_dst=%s", src4, any(v4...), ttl, any("22", "22", "22", "23"))
	}
	p, err := sim.Parse(text)
	if err != nil {
		c.t.Fatalf("%s: %v", text, err)
	}
	p.Length = []int{100, 1460, 1600}[r.IntN(3)]
	return p
}

// within are the ports of the network whose frames come in by a door, which is a match of table 0.
func (c *campus) within(door string) (out []model.Port) {
	for _, p := range portsOf(c.st.Snapshot()) {
		n, _ := tables.Networks.Get(c.st.Snapshot(), p.Network)
		if strings.Contains(door, fmt.Sprintf("tun_id=%#x,", n.SegmentationID)) || n.External && !strings.Contains(door, "tun_id=") {
			out = append(out, p)
		}
	}
	return out
}

// flowsMet are the flows of a simulated packet's way, as table, priority and match.
func flowsMet(r sim.Result) []string {
	var out []string
	for _, l := range r.Trace {
		if m := visited.FindStringSubmatch(l); m != nil {
			out = append(out, strings.TrimSpace(m[1]+" "+m[2]+m[3]))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

var visited = regexp.MustCompile(`^ *(\d+): priority (\d+)(.*)$`)

// TestTranslationOnRealSwitch sends sequences of packets through a gateway node of real Open vSwitch, with its connection
// tracker, and through the simulator: each must meet the same flows in both. Floating IPs move between instances on the way.
func TestTranslationOnRealSwitch(t *testing.T) {
	c := standing(t, model.Flat, Options{})
	c.do(func(tx *store.Txn) {
		c.vm(tx, "gw2-0000000", "n2", "gw", "10.2.0.30")
		c.resolved(tx, "172.16.1.250")
		c.float(tx, "f", "172.16.1.21", "gw1-0000000", "r1")
	})
	s := ovstest.Start(t)
	const bridge = "br0"
	push(t, s, bridge, c.f.e, "gw")
	sw := c.switches["gw"]
	r := repro.Rand(5, 5)
	fm, gm := c.port("f-f").MAC, c.port("gw1").MAC
	wire := c.numbers["gw|"+patchName("ph")]
	owner := model.PortID("gw1-0000000")
	var story []string
	met := map[string]bool{}
	before := packets(t, s, bridge)
	for i := range 240 {
		if i%60 == 59 {
			owner = map[model.PortID]model.PortID{"gw1-0000000": "gw2-0000000", "gw2-0000000": "gw1-0000000"}[owner]
			had := c.f.flows("gw")
			c.do(func(tx *store.Txn) { c.float(tx, "f", "172.16.1.21", owner, "r1") })
			now := c.f.flows("gw")
			for _, f := range had {
				if !slices.ContainsFunc(now, func(g flow.Flow) bool { return g.Key() == f.Key() }) {
					s.Ofctl("--strict", "del-flows", bridge, fmt.Sprintf("table=%d,priority=%d,%s", f.Table, f.Priority, f.Match))
				}
			}
			for _, f := range now {
				if !slices.Contains(had, f) {
					s.Ofctl("add-flow", bridge, f.String())
				}
			}
			story = append(story, "the floating IP moves to "+string(owner))
			before = packets(t, s, bridge)
		}
		var p sim.Packet
		vm := []model.PortID{"gw1-0000000", "gw2-0000000"}[r.IntN(2)]
		ports := [][2]uint16{{1000, 22}, {22, 1000}, {2000, 53}, {53, 2000}, {1000, 23}}[r.IntN(5)]
		in := wire
		switch r.IntN(3) {
		case 0:
			to := gm
			addr := "172.16.1.11"
			if r.IntN(2) == 0 {
				to, addr = fm, "172.16.1.21"
			}
			p = c.fromOutside(to, "8.8.8.8", addr, ports4(ports[0], ports[1])...)
			if r.IntN(5) == 0 {
				p = c.fromOutside(to, "8.8.8.8", addr, ping4(r.IntN(2) == 0)...)
			}
		default:
			in = map[model.PortID]uint32{"gw1-0000000": 1, "gw2-0000000": c.tapOf("gw2-0000000")}[vm]
			to := []string{"8.8.8.8", "172.16.1.21", "172.16.1.11", "8.8.8.8"}[r.IntN(4)]
			p = c.sent(vm, to, ports4(ports[0], ports[1])...)
			if r.IntN(5) == 0 {
				p = c.sent(vm, to, ping4(r.IntN(2) == 0)...)
			}
		}
		p.SetUint(openflow.FieldInPort, uint64(in))
		story = append(story, p.String())
		s.Receive(fmt.Sprintf("%s-p%d", bridge, in), datapathText(p))
		after := packets(t, s, bridge)
		var want []string
		for k, n := range after {
			if n > before[k] {
				want = append(want, k)
			}
		}
		slices.Sort(want)
		before = after
		res := sw.Trace(p)
		if got := flowsMet(res); !slices.Equal(got, want) {
			t.Fatalf("after\n%s\nsimulated %v\n%s\nreal      %v\n%s", strings.Join(story, "\n"), strings.Join(got, "\n"), res, strings.Join(want, "\n"), s.Appctl("dpctl/dump-conntrack"))
		}
		for _, v := range want {
			met[v] = true
		}
	}
	for k := range before {
		var table int
		fmt.Sscan(k, &table)
		if (table == 31 || table >= 100 && table <= 105) && !met[k] && !strings.Contains(k, "ct_zone=") {
			t.Logf("no packet met the flow %s", k)
		}
		if f := strings.Contains(k, "ct_zone="); f && strings.Contains(k, "reg3=0xc") && !met[k] {
			t.Errorf("no packet met the flow %s", k)
		}
	}
}

func (c *campus) tapOf(id model.PortID) uint32 {
	for i := range interfacesOf(c.st.Snapshot(), "gw") {
		if i.IfaceID == id {
			return i.OFPort
		}
	}
	c.t.Fatalf("%s is not plugged", id)
	return 0
}

// datapathText is an IPv4 packet as netdev-dummy/receive takes it.
func datapathText(p sim.Packet) string {
	mac := func(f *openflow.Field) string { return model.MAC(p.Bytes(f)).String() }
	l4 := fmt.Sprintf("udp(src=%d,dst=%d)", p.Uint(openflow.FieldUDPSrc), p.Uint(openflow.FieldUDPDst))
	if p.Uint(openflow.FieldIPProto) == flow.ProtoICMP {
		l4 = fmt.Sprintf("icmp(type=%d,code=0)", p.Uint(openflow.FieldICMPType))
	}
	return fmt.Sprintf("in_port(%d),eth(src=%s,dst=%s),eth_type(0x0800),ipv4(src=%s,dst=%s,proto=%d,tos=0,ttl=64,frag=no),%s", p.InPort(),
		mac(openflow.FieldEthSrc), mac(openflow.FieldEthDst), p.Addr(openflow.FieldIPv4Src), p.Addr(openflow.FieldIPv4Dst), p.Uint(openflow.FieldIPProto), l4)
}
