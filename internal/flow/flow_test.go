// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"net/netip"
	"testing"

	"nagare/internal/flow"
	"nagare/openflow"
)

func mac(s string) (m [6]byte) {
	const hex = "0123456789abcdef"
	idx := func(c byte) byte {
		for i := range 16 {
			if hex[i] == c {
				return byte(i)
			}
		}
		panic("bad test MAC " + s)
	}
	for i := range 6 {
		m[i] = idx(s[3*i])<<4 | idx(s[3*i+1])
	}
	return m
}

var (
	vm01 = mac("fa:16:3e:9e:f5:70")
	dhcp = mac("fa:16:3e:ef:85:07")
	addr = netip.MustParseAddr
	cidr = netip.MustParsePrefix
)

// Each flow of the recorded scenario, built the way a rule builds it, has the
// recorded text.
func TestBuildersGiveRecordedText(t *testing.T) {
	for _, c := range []struct {
		flow flow.Flow
		want string
	}{
		{flow.Flow{Priority: 32768, Match: flow.M(flow.EthType(0x88cc)), Actions: flow.Do(flow.ToController(65535))},
			"table=0,priority=32768,dl_type=0x88cc actions=CONTROLLER:65535"},
		{flow.Flow{Actions: flow.Do(flow.Goto(20))}, "table=0,priority=0 actions=goto_table:20"},
		{flow.Flow{Table: 110, Actions: flow.Do()}, "table=110,priority=0 actions=drop"},
		{flow.Flow{Priority: 32768, Match: flow.M(flow.EthSrc(vm01), flow.InPort(2)),
			Actions: flow.Do(flow.SetTunID(0x435), flow.LoadReg(0, 1), flow.Goto(20))},
			"table=0,priority=32768,in_port=2,dl_src=fa:16:3e:9e:f5:70 actions=set_field:0x435->tun_id,load:0x1->NXM_NX_REG0[],goto_table:20"},
		{flow.Flow{Priority: 32768, Match: flow.M(flow.InPort(1), flow.TunID(0x435)), Actions: flow.Do(flow.LoadReg(0, 2), flow.Goto(20))},
			"table=0,priority=32768,tun_id=0x435,in_port=1 actions=load:0x2->NXM_NX_REG0[],goto_table:20"},
		{flow.Flow{Table: 40, Priority: 61011, Match: flow.M(flow.TPDst(68), flow.UDP(), flow.TPSrc(67), flow.InPort(2))},
			"table=40,priority=61011,udp,in_port=2,tp_src=67,tp_dst=68 actions=drop"},
		{flow.Flow{Table: 40, Priority: 36001, Match: flow.M(flow.IPSrc(cidr("10.11.12.3/32")), flow.InPort(2), flow.EthSrc(vm01)), Actions: flow.Do(flow.Goto(50))},
			"table=40,priority=36001,ip,in_port=2,dl_src=fa:16:3e:9e:f5:70,nw_src=10.11.12.3 actions=goto_table:50"},
		{flow.Flow{Table: 90, Priority: 61006, Match: flow.M(flow.UDP(), flow.EthSrc(dhcp), flow.TPSrc(67), flow.TPDst(68)), Actions: flow.Do(flow.Goto(100))},
			"table=90,priority=61006,udp,dl_src=fa:16:3e:ef:85:07,tp_src=67,tp_dst=68 actions=goto_table:100"},
		{flow.Flow{Table: 110, Priority: 16383, Match: flow.M(flow.Reg(0, 1), flow.TunID(0x435), flow.Multicast()), Actions: flow.Do(flow.Output(2, 1, 3))},
			"table=110,priority=16383,reg0=0x1,tun_id=0x435,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00 actions=output:2,output:1,output:3"},
		{flow.Flow{Table: 42, Priority: 61007, Match: flow.M(flow.TCP6(), flow.TPDstMasked(0x50, 0xfff0), flow.IPDst(cidr("fe80::/64"))),
			Actions: flow.Do(flow.Conjunction(7, 2, 3), flow.Conjunction(9, 1, 2))},
			"table=42,priority=61007,tcp6,ipv6_dst=fe80::/64,tp_dst=0x50/0xfff0 actions=conjunction(7,2/3),conjunction(9,1/2)"},
		{flow.Flow{Table: 40, Priority: 36001, Match: flow.M(flow.IP()), Actions: flow.Do(flow.CT(flow.Track{ZoneFrom: flow.RegBits(5, 0, 16), Next: 41}))},
			"table=40,priority=36001,ip actions=ct(table=41,zone=NXM_NX_REG5[0..15])"},
		{flow.Flow{Table: 43, Priority: 1, Match: flow.M(flow.IP(), flow.CTState(flow.CTNew|flow.CTTrk, flow.CTNew|flow.CTTrk|flow.CTInv)),
			Actions: flow.Do(flow.CT(flow.Track{Commit: true, ZoneFrom: flow.RegBits(5, 0, 16), Exec: []flow.Act{
				flow.SetCTMarkBits(0, 1, 0), flow.Move(flow.RegBits(14, 0, 32), openflow.FieldCTLabel.Range(0, 32))}}), flow.Goto(50))},
			"table=43,priority=1,ct_state=+new-inv+trk,ip actions=ct(commit,zone=NXM_NX_REG5[0..15],exec(load:0->NXM_NX_CT_MARK[0],move:NXM_NX_REG14[]->NXM_NX_CT_LABEL[0..31])),goto_table:50"},
		{flow.Flow{Table: 20, Priority: 1024, Match: flow.M(flow.ARPOp(1), flow.ARPTPA(addr("10.11.12.1")), flow.TunID(5)),
			Actions: flow.Do(flow.MoveField(openflow.FieldEthSrc, openflow.FieldEthDst), flow.SetEthSrc(dhcp), flow.SetARPOp(2), flow.InPortAct())},
			"table=20,priority=1024,arp,tun_id=0x5,arp_tpa=10.11.12.1,arp_op=1 actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],set_field:fa:16:3e:ef:85:07->eth_src,set_field:2->arp_op,IN_PORT"},
		{flow.Flow{Table: 20, Priority: 61013, Match: flow.M(flow.UDP(), flow.Reg(0, 1), flow.TPSrc(68), flow.TPDst(67)), Actions: flow.Do(flow.Punt([]byte{1, 2}, 5))},
			"table=20,priority=61013,udp,reg0=0x1,tp_src=68,tp_dst=67 actions=controller(userdata=01.02,meter_id=5)"},
	} {
		if got := c.flow.String(); got != c.want {
			t.Errorf("\n got %s\nwant %s", got, c.want)
		}
	}
}

// Masks of all ones and of zeros are not masks, and bits outside a mask do not count.
func TestMatchIsCanonical(t *testing.T) {
	same := func(a, b flow.Match) {
		t.Helper()
		if a != b {
			t.Errorf("%q and %q differ: %x, %x", a, b, string(a), string(b))
		}
	}
	same(flow.M(flow.RegMasked(1, 5, 0xffffffff)), flow.M(flow.Reg(1, 5)))
	same(flow.M(flow.RegMasked(1, 5, 0), flow.IP()), flow.M(flow.IP()))
	same(flow.M(flow.RegMasked(1, 0xff, 0x0f)), flow.M(flow.RegMasked(1, 0x0f, 0x0f)))
	same(flow.M(flow.IPSrc(cidr("10.1.2.3/8"))), flow.M(flow.IPSrc(cidr("10.0.0.0/8"))))
	same(flow.M(flow.IPSrc(cidr("0.0.0.0/0"))), flow.M(flow.IP()))
	same(flow.M(flow.TPSrc(1), flow.UDP(), flow.InPort(3)), flow.M(flow.InPort(3), flow.UDP(), flow.TPSrc(1)))
	same(flow.M(flow.TCP(), flow.IPv6()), flow.M(flow.TCP6()))
	same(flow.M(flow.CTState(0x21, 0xff)), flow.M(flow.Is(openflow.FieldCTState, []byte{0, 0, 0, 0x21})))
	same(flow.M(flow.XXReg(2, addr("fe80::1").As16())...),
		flow.M(flow.Reg(8, 0xfe800000), flow.Reg(9, 0), flow.Reg(10, 0), flow.Reg(11, 1)))
}

func TestBuilderMisusePanics(t *testing.T) {
	for name, f := range map[string]func(){
		"two terms on one field":   func() { flow.M(flow.InPort(1), flow.InPort(2)) },
		"two ethernet types":       func() { flow.M(flow.ARP(), flow.IP()) },
		"two protocols":            func() { flow.M(flow.TCP(), flow.UDP()) },
		"port without protocol":    func() { flow.M(flow.IP(), flow.TPDst(5)) },
		"ICMP type on TCP":         func() { flow.M(flow.TCP(), flow.ICMPType(5)) },
		"goto twice":               func() { flow.Do(flow.Goto(1), flow.Goto(2)) },
		"instruction in an action": func() { flow.Clone(flow.Goto(1)) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		})
	}
}

// A flow with two tunnel-wide terms costs two allocations: its two strings.
func TestBuildAllocates(t *testing.T) {
	n := testing.AllocsPerRun(100, func() {
		sink = flow.Flow{Priority: 1,
			Match:   flow.M(flow.InPort(2), flow.EthSrc(vm01)),
			Actions: flow.Do(flow.SetTunID(0x435), flow.LoadReg(0, 1), flow.Goto(20))}
	})
	if n > 2 {
		t.Errorf("building a flow allocates %v times, want 2", n)
	}
}

var sink flow.Flow

func BenchmarkBuild(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		sink = flow.Flow{Priority: 1,
			Match:   flow.M(flow.InPort(2), flow.EthSrc(vm01)),
			Actions: flow.Do(flow.SetTunID(0x435), flow.LoadReg(0, 1), flow.Goto(20))}
	}
}
