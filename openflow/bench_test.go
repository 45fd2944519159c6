// SPDX-License-Identifier: Apache-2.0

package openflow

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// benchFlows are the two shapes of the codec measurement: a stateful ACL flow
// and an L2 flow, alternating.
func benchFlow(i int) FlowMod {
	if i%2 == 0 {
		return FlowMod{Table: 42, Priority: 61007, Cookie: 0x4e09000100000000 | uint64(i),
			Match:        match(um(FieldCTState, csNew|csTrk, csNew|csTrk), l4(ipv4, 6), u(Reg(1), uint64(i)), ip(FieldIPv4Src, "10.11.12.3"), u(FieldTCPDst, 22)),
			Instructions: inst(apply(CT{Flags: CTCommit, ZoneFrom: Reg(5).Range(0, 16), Table: CTNoTable, Actions: []Action{Load{FieldCTMark.Range(0, 1), 0}, Move{Reg(14).All(), FieldCTLabel.Range(0, 32)}}}), GotoTable{43})}
	}
	return FlowMod{Table: 110, Priority: 32768, Cookie: 0x4e03000200000000 | uint64(i),
		Match:        match(u(FieldTunID, uint64(i)), dst(macA)),
		Instructions: inst(apply(Output{Port: 2}))}
}

func BenchmarkAppendFlowMod(b *testing.B) {
	flows := []FlowMod{benchFlow(0), benchFlow(1)}
	buf := make([]byte, 0, flushSize)
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		if len(buf) > flushSize-1024 {
			buf = buf[:0]
		}
		buf = AppendFlowMod(buf, uint32(i), &flows[i&1])
		i++
	}
}

// BenchmarkBuildFlow builds match and instructions too, without the structs
// being boxed: what a compiler of flows does.
func BenchmarkBuildFlow(b *testing.B) {
	buf, m, in := make([]byte, 0, flushSize), make([]byte, 0, 256), make([]byte, 0, 512)
	var mark int
	b.ReportAllocs()
	for b.Loop() {
		m = AppendUint(m[:0], FieldTunID, 0x435)
		m = AppendMAC(m, FieldEthDst, [6]byte{0xfa, 0x16, 0x3e, 1, 2, 3})
		in, mark = OpenActions(in[:0], InstApplyActions)
		in = LoadUint(Reg(2), 7).AppendTo(in)
		in = LoadUint(Reg(6), 0x1000).AppendTo(in)
		in = GotoTable{90}.AppendTo(CloseActions(in, mark))
		buf = AppendFlowMod(buf[:0], 1, &FlowMod{Table: 80, Priority: 32768, Match: m, Instructions: in})
	}
}

func BenchmarkCanonical(b *testing.B) {
	f := benchFlow(0)
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buf, err = AppendCanonicalMatch(buf[:0], f.Match); err != nil {
			b.Fatal(err)
		}
		if buf, err = AppendCanonicalInstructions(buf[:0], f.Instructions); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeInstructions(b *testing.B) {
	f := benchFlow(0)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeInstructions(f.Instructions); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLoadSwitch programs the same 50,000 flows into an empty bridge of a
// real switch in several ways, until the barrier or the commit is answered.
// Text for ovs-ofctl is written before the clock starts; its start-up counts.
func BenchmarkLoadSwitch(b *testing.B) {
	const n = 50000
	s, c := session(b, Config{})
	ctx := b.Context()
	ms := make([]Message, n)
	file := filepath.Join(b.TempDir(), "flows")
	w, err := os.Create(file)
	if err != nil {
		b.Fatal(err)
	}
	for i := range ms {
		f := benchFlow(i)
		ms[i] = &f
		if i%2 == 0 {
			fmt.Fprintf(w, "cookie=%#x,table=42,priority=61007,ct_state=+new+trk,tcp,reg1=%d,nw_src=10.11.12.3,tp_dst=22,actions=ct(commit,zone=NXM_NX_REG5[0..15],exec(load:0->NXM_NX_CT_MARK[0],move:NXM_NX_REG14[]->NXM_NX_CT_LABEL[0..31])),goto_table:43\n", f.Cookie, i)
		} else {
			fmt.Fprintf(w, "cookie=%#x,table=110,priority=32768,tun_id=%d,dl_dst=fa:16:3e:9e:f5:70,actions=output:2\n", f.Cookie, i)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	for _, way := range []struct {
		name string
		load func() error
	}{
		{"flow-mods", func() error { return c.Apply(ctx, ms...) }},
		{"one-bundle", func() error { return c.SendBundle(ctx, BundleAtomic|BundleOrdered, ms...) }},
		{"bundles-of-1000", func() error {
			for i := 0; i < n; i += 1000 {
				if err := c.SendBundle(ctx, BundleAtomic|BundleOrdered, ms[i:i+1000]...); err != nil {
					return err
				}
			}
			return nil
		}},
		{"ovs-ofctl-bundle", func() error { s.Ofctl("--bundle", "add-flows", "br0", file); return nil }},
		{"ovs-ofctl", func() error { s.Ofctl("add-flows", "br0", file); return nil }},
	} {
		b.Run(way.name, func(b *testing.B) {
			for b.Loop() {
				if err := way.load(); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if a, err := c.Aggregate(ctx, AllFlows); err != nil || a.Flows != n {
					b.Fatalf("%d flows, %v", a.Flows, err)
				}
				if err := c.Apply(ctx, &FlowMod{Table: TableAll, Command: FlowDelete}); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "flows/s")
		})
	}
}

// BenchmarkDump reads 50,000 flows back and canonicalises them.
func BenchmarkDump(b *testing.B) {
	const n = 50000
	_, c := session(b, Config{})
	ctx := b.Context()
	ms := make([]Message, n)
	for i := range ms {
		f := benchFlow(i)
		ms[i] = &f
	}
	if err := c.SendBundle(ctx, BundleAtomic, ms...); err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		got := 0
		err := c.DumpFlows(ctx, AllFlows, func(s *FlowStats) error {
			got++
			var err error
			if buf, err = AppendCanonicalMatch(buf[:0], s.Match); err != nil {
				return err
			}
			buf, err = AppendCanonicalInstructions(buf[:0], s.Instructions)
			return err
		})
		if err != nil || got != n {
			b.Fatalf("%d flows, %v", got, err)
		}
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "flows/s")
}
