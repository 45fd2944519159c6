// SPDX-License-Identifier: Apache-2.0

package pipeline_test

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"nagare/internal/flow"
	"nagare/internal/pipeline"
	"nagare/openflow"
)

// Every managed bridge begins with the recorded twelve flows; in standard LLDP,
// the first, depends on the port.
func TestSpineIsTheRecordedStart(t *testing.T) {
	want := []string{
		"table=0,priority=32768,dl_type=0x88cc actions=CONTROLLER:65535",
		"table=0,priority=0 actions=goto_table:20",
		"table=20,priority=0 actions=goto_table:30",
		"table=30,priority=0 actions=goto_table:40",
		"table=40,priority=0 actions=goto_table:50",
		"table=50,priority=0 actions=goto_table:60",
		"table=60,priority=0 actions=goto_table:70",
		"table=70,priority=0 actions=goto_table:80",
		"table=80,priority=0 actions=goto_table:90",
		"table=90,priority=0 actions=goto_table:100",
		"table=100,priority=0 actions=goto_table:110",
		"table=110,priority=0 actions=drop",
	}
	for _, p := range []pipeline.Profile{pipeline.Standard, pipeline.Classic} {
		var got []string
		for _, f := range pipeline.Spine(p) {
			got = append(got, f.String())
			if err := p.Check(f); err != nil {
				t.Errorf("%s: %v", p, err)
			}
			if mark, mask := pipeline.CookieMask(); (f.Cookie&mask == mark) != (p == pipeline.Standard) {
				t.Errorf("%s: cookie %#x", p, f.Cookie)
			}
		}
		if p == pipeline.Standard {
			got = append([]string{want[0]}, got...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n%s", p, strings.Join(got, "\n"))
		}
	}
}

// The declaration keeps its own rules.
func TestDeclarationIsSound(t *testing.T) {
	for _, table := range pipeline.Tables(pipeline.Standard | pipeline.Classic) {
		if table.Name == "" || table.Purpose == "" || table.Profiles == 0 {
			t.Errorf("table %d has no name, purpose or profile", table.ID)
		}
		for _, n := range table.Next {
			to := pipeline.Lookup(n)
			again := n == table.ID && table.Kinds&pipeline.Track != 0 // by ct(), which tracks a packet once
			if to == nil || n <= table.ID && !again {
				t.Errorf("table %s: next %d is not a later declared table", table.ID, n)
				continue
			}
			if table.Profiles&pipeline.Classic != 0 && table.Miss.Goto == n && to.Profiles&pipeline.Classic == 0 {
				t.Errorf("table %s: misses go to %s, which classic does not have", table.ID, n)
			}
		}
		for _, n := range table.Back {
			if pipeline.Lookup(n) == nil {
				t.Errorf("table %s: resubmit to undeclared %d", table.ID, n)
			}
		}
		if table.Miss.Kind == pipeline.MissGoto && !slices.Contains(table.Next, table.Miss.Goto) {
			t.Errorf("table %s: misses go to %s, not among the next tables", table.ID, table.Miss.Goto)
		}
		if len(table.Sets) > 0 && table.Kinds&(pipeline.Set|pipeline.CheckSize) == 0 {
			t.Errorf("table %s: fields to set but no set action", table.ID)
		}
		for _, f := range table.Sets {
			if !f.Write {
				t.Errorf("table %s: %s cannot be set", table.ID, f.Name)
			}
		}
		for _, p := range table.Prios {
			if p.Name == "" || p.What == "" || p.Profiles&^table.Profiles != 0 {
				t.Errorf("table %s: priority %d has no name, no meaning, or a foreign profile", table.ID, p.Value)
			}
		}
		if a, ok := table.Miss.Actions(); ok {
			if err := pipeline.Check(pipeline.Flow(table.ID, 0, "", a)); err != nil {
				t.Error(err)
			}
		}
	}
	if n := len(pipeline.Tables(pipeline.Classic)); n != 11 {
		t.Errorf("classic has %d tables, want the 11 of the spine", n)
	}
}

func TestCheckRefuses(t *testing.T) {
	fwd := flow.Do(flow.Goto(pipeline.LoadBalancer))
	ip := flow.M(flow.IP())
	for _, c := range []struct {
		name string
		p    pipeline.Profile
		f    flow.Flow
		want string
	}{
		{"unknown table", pipeline.Standard, flow.Flow{Table: 25, Priority: 1}, "table 25: not declared"},
		{"sub-table in classic", pipeline.Classic, pipeline.Flow(pipeline.EgressState, 70, "", ""), "table 41: not declared"},
		{"priority without a name", pipeline.Standard, pipeline.Flow(pipeline.EgressACL, 5, ip, fwd), "priority 5"},
		{"priority of the other profile", pipeline.Classic, pipeline.Flow(pipeline.EgressACL, pipeline.PrioSpoofed, ip, fwd), "priority 36000"},
		{"illegal field", pipeline.Classic, pipeline.Flow(pipeline.EgressACL, pipeline.PrioAddress, flow.M(flow.Metadata(5)), fwd), "match on metadata"},
		{"goto backward", pipeline.Classic, pipeline.Flow(pipeline.EgressACL, pipeline.PrioAddress, ip, flow.Do(flow.Goto(30))), "leads backward"},
		{"goto too far", pipeline.Classic, pipeline.Flow(pipeline.EgressACL, pipeline.PrioAddress, ip, flow.Do(flow.Goto(60))), "goto 60"},
		{"goto a sub-table in classic", pipeline.Classic, pipeline.Flow(pipeline.EgressACL, pipeline.PrioAddress, ip, flow.Do(flow.Goto(42))), "goto 42"},
		{"illegal action", pipeline.Standard, pipeline.Flow(pipeline.EgressACL, pipeline.PrioAddress, ip, flow.Do(flow.Output(5))), "action output"},
		{"illegal write", pipeline.Standard, pipeline.Flow(pipeline.EgressACL, pipeline.PrioAddress, ip, flow.Do(flow.SetTunID(5))), "write to tun_id"},
		{"resubmit", pipeline.Standard, pipeline.Flow(pipeline.Hairpin, pipeline.PrioFloating, ip, flow.Do(flow.Clone(flow.Resubmit(40)))), "resubmit 40"},
		{"ct to a strange table", pipeline.Standard, pipeline.Flow(pipeline.EgressACL, pipeline.PrioAddress, ip, flow.Do(flow.CT(flow.Track{Next: 91}))), "ct 91"},
		{"miss", pipeline.Standard, pipeline.Flow(pipeline.EgressACL, 0, "", ""), "miss"},
		{"instruction", pipeline.Standard, pipeline.Flow(pipeline.EgressACL, pipeline.PrioAddress, ip, flow.Do(flow.WriteMetadata(1, 1))), "instruction"},
		{"write inside ct", pipeline.Standard, pipeline.Flow(pipeline.EgressCommit, pipeline.PrioNew, ip, flow.Do(flow.CT(flow.Track{Commit: true, Exec: []flow.Act{flow.LoadReg(3, 1)}}))), "write to reg3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 2 { // once to judge, once to remember
				err := c.p.Check(c.f)
				if err == nil || !errors.Is(err, pipeline.ErrUndeclared) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: got %v, want something on %q", c.f, err, c.want)
				}
			}
		})
	}
}

// The flows that the design writes down for the standard profile are legal.
func TestCheckAcceptsStandardFlows(t *testing.T) {
	mac, ip4 := [6]byte{0xfa, 0x16, 0x3e, 1, 2, 3}, netip.MustParseAddr("10.0.0.5")
	pfx := netip.PrefixFrom(ip4, 32)
	zone := flow.RegBits(5, 0, 16)
	for _, f := range []flow.Flow{
		pipeline.Flow(pipeline.Classifier, pipeline.PrioPort, flow.M(flow.InPort(2), flow.EthSrc(mac)),
			flow.Do(flow.SetTunID(5), flow.LoadReg(0, 1), flow.LoadReg(1, 7), flow.LoadReg(5, 4096), flow.Goto(pipeline.Responder))),
		pipeline.Flow(pipeline.Classifier, pipeline.PrioProvider, flow.M(flow.InPort(9), flow.VLANVID(100)),
			flow.Do(flow.PopVLAN(), flow.SetTunID(5), flow.LoadReg(0, 3), flow.Goto(pipeline.Responder))),
		pipeline.Flow(pipeline.Responder, pipeline.PrioResponder, flow.M(flow.ARPOp(1), flow.ARPTPA(ip4), flow.TunID(5), flow.Reg(0, 1)),
			flow.Do(flow.MoveField(openflow.FieldEthSrc, openflow.FieldEthDst), flow.SetEthSrc(mac), flow.SetARPOp(2),
				flow.MoveField(openflow.FieldARPSHA, openflow.FieldARPTHA), flow.SetARPSHA(mac),
				flow.MoveField(openflow.FieldARPSPA, openflow.FieldARPTPA), flow.SetARPSPA(ip4), flow.Goto(pipeline.ReturnToSender))),
		pipeline.Flow(pipeline.Responder, pipeline.PrioDHCPPunt, flow.M(flow.UDP(), flow.Reg(0, 1), flow.TPSrc(68), flow.TPDst(67)), flow.Do(flow.Punt([]byte("d"), 3))),
		pipeline.Flow(pipeline.EgressACL, pipeline.PrioAddress, flow.M(flow.InPort(2), flow.EthSrc(mac), flow.IPSrc(pfx)),
			flow.Do(flow.CT(flow.Track{ZoneFrom: zone, Next: uint8(pipeline.EgressState)}))),
		pipeline.Flow(pipeline.EgressState, pipeline.PrioEstablished, flow.M(flow.CTState(0x28, 0x29), flow.CTMark(0, 1)), flow.Do(flow.Goto(pipeline.LoadBalancer))),
		pipeline.Flow(pipeline.EgressRules, pipeline.PrioPermit, flow.M(flow.TCP(), flow.TPDstMasked(0x50, 0xfff0)), flow.Do(flow.Conjunction(1, 2, 3))),
		pipeline.Flow(pipeline.EgressRules, pipeline.PrioPermit, flow.M(flow.IP(), flow.ConjID(1)), flow.Do(flow.LoadReg(14, 1), flow.Goto(pipeline.EgressCommit))),
		pipeline.Flow(pipeline.EgressRules, pipeline.PrioRevoke, flow.M(flow.IP(), flow.CTState(0x22, 0x22)),
			flow.Do(flow.CT(flow.Track{Commit: true, ZoneFrom: zone, Exec: []flow.Act{flow.SetCTMarkBits(0, 1, 1)}}))),
		pipeline.Flow(pipeline.EgressCommit, pipeline.PrioNew, flow.M(flow.IP(), flow.CTState(0x21, 0x21)),
			flow.Do(flow.CT(flow.Track{Commit: true, ZoneFrom: zone, Exec: []flow.Act{flow.SetCTMarkBits(0, 1, 0),
				flow.Move(flow.RegBits(14, 0, 32), openflow.FieldCTLabel.Range(0, 32))}}), flow.Goto(pipeline.LoadBalancer))),
		pipeline.Flow(pipeline.RouteLookup, pipeline.PrefixPriority(24, true), flow.M(flow.Reg(3, 1), flow.IPDst(netip.MustParsePrefix("10.0.0.0/24"))),
			flow.Do(flow.Move(openflow.FieldIPv4Dst.All(), openflow.Reg(4).All()), flow.SetEthSrc(mac), flow.SetTunID(6), flow.DecTTL(), flow.Goto(pipeline.L3Forward))),
		pipeline.Flow(pipeline.Hairpin, pipeline.PrioFloating, flow.M(flow.TunID(5), flow.IPDst(pfx)),
			flow.Do(flow.Clone(flow.CTClear(), flow.Load(openflow.FieldInPort16.All(), 0xffff), flow.LoadReg(0, 3), flow.LoadReg(3, 0), flow.Resubmit(pipeline.InboundNAT)))),
		pipeline.Flow(pipeline.L2Forward, pipeline.PrioLocal, flow.M(flow.Reg(2, 7)), flow.Do(flow.Output(4))),
		pipeline.Flow(pipeline.L2Forward, pipeline.PrioFloodLocal, flow.M(flow.Reg(0, 1), flow.TunID(5), flow.Multicast()), flow.Do(flow.ToGroup(flow.GroupID(1, 5)))),
	} {
		if err := pipeline.Standard.Check(f); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}

func TestNextFollowsTheMiss(t *testing.T) {
	for id, want := range map[pipeline.TableID]pipeline.TableID{
		pipeline.Classifier: 20, pipeline.EgressACL: 50, pipeline.IngressACL: 100, pipeline.EgressCommit: 50, pipeline.Hairpin: 110, pipeline.L2Forward: 110,
	} {
		if got := id.Next(); got != want {
			t.Errorf("after %s comes %s, want %s", id, got, want)
		}
	}
}

func TestCookieRoundTrip(t *testing.T) {
	c := pipeline.Cookie{Kind: pipeline.KindPort, Template: 7, Key: 0x12345678}
	if v := c.Pack(); v != 0x4e03000712345678 {
		t.Errorf("packed %#x", v)
	}
	if got, ok := pipeline.UnpackCookie(c.Pack()); !ok || got != c {
		t.Errorf("unpacked %v, %v", got, ok)
	}
	if _, ok := pipeline.UnpackCookie(0); ok {
		t.Error("cookie 0 taken for ours")
	}
}

// docs/pipeline.md is what the declaration generates.
func TestDocumentIsFresh(t *testing.T) {
	got, err := os.ReadFile("../../docs/pipeline.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != pipeline.Markdown() {
		t.Error("docs/pipeline.md is stale: run go generate ./internal/pipeline")
	}
}

func TestCheckRemembersWithoutAllocating(t *testing.T) {
	f := pipeline.Flow(pipeline.L2Forward, pipeline.PrioUnicast, flow.M(flow.TunID(5), flow.EthDst([6]byte{2})), flow.Do(flow.Output(4)))
	if n := testing.AllocsPerRun(100, func() { _ = pipeline.Check(f) }); n != 0 {
		t.Errorf("a known shape allocates %v times", n)
	}
}

func BenchmarkCheck(b *testing.B) {
	f := pipeline.Flow(pipeline.L2Forward, pipeline.PrioUnicast, flow.M(flow.TunID(5), flow.EthDst([6]byte{2})), flow.Do(flow.Output(4)))
	for b.Loop() {
		if err := pipeline.Check(f); err != nil {
			b.Fatal(err)
		}
	}
}
