// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"
	"time"
)

const peerBulkText = `# 2026-01-01 00:00:00  load=4.08 cores=2
bulk nets=10 ports=1000 chassis=4 sg=1 monitor_all=False: NB-writes 0.27s, plugs 0.40s, all up 8.19s, all nodes done 8.46s, flows last changed before that -> 118 ports/s  ok=True load=4.08->4.13 own-cpu-share=60%
   cpu: total 10.13s (10.1 ms/port): nb-db=0.18s  sb-db=1.55s  northd=1.47s  ovn-controller=5.51s (1.38 each)  vswitchd=1.25s (0.31 each)  ovsdb=0.17s (0.04 each)
   rss MB: nb-db=19.0 (peak 19.5)  sb-db=88.5 (peak 96.0)  northd=63.5 (peak 68.5)  ovn-controller=75.0 avg of 4 (peak 75.4)  vswitchd=55.0 avg of 4 (peak 55.4)  ovsdb=13.4 avg of 4 (peak 13.5)
   flows/node: before ports 14, after avg 28258 (min 28258 max 28258); SB rows {'Logical_Flow': 8544}
   traced pairs: 23 delivered, 0 not, 1 skipped
`

func TestReadBulk(t *testing.T) {
	w := work{10, 1000, 4}
	got, err := readBulk(w, peerBulkText)
	want := bulkFigures{work: w, perSecond: 118, cpu: 10130 * ms, switchCPU: 1250 * ms, central: (19 + 88.5 + 63.5) * mib, perNode: 75 * mib,
		base: 14, flows: 28258, traces: "23 of 23 traced pairs delivered", load: "4.08 → 4.13"}
	want.took.done = 8460 * ms
	got.bill = nil
	if err != nil || got.String() != want.String() || got.perSecond != want.perSecond || got.cpu != want.cpu || got.switchCPU != want.switchCPU ||
		got.central != want.central || got.perNode != want.perNode || got.base != want.base || got.flows != want.flows ||
		got.traces != want.traces || got.load != want.load || got.took != want.took {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	if _, err := readBulk(w, "chassis did not register"); err == nil {
		t.Error("output without figures: no error")
	}
}

func TestReadLatency(t *testing.T) {
	w := work{20, 1000, 4}
	got, err := readLatency(w, `prefilled nets=20 ports=1000 chassis=4 sg=1 in 9.1s ok=True
latency base=20nets/1000ports chassis=4 sg=1 monitor_all=False: write->up p50=519ms p90=673ms p99=735ms max=735ms | write->every node done (second nb_cfg round) p50=762ms p90=916ms max=968ms load=4.80
   cpu: total 13.87s (693.7 ms/port): nb-db=0.04s  sb-db=0.19s  northd=7.69s  ovn-controller=5.27s (1.32 each)  vswitchd=0.63s (0.16 each)  ovsdb=0.05s (0.01 each)
   add one SG rule -> every node done: p50=260ms max=334ms, cpu 228 ms each
   flows/node avg 31429 (min 31422 max 31437); SB rows {}
   idle 10s: cpu total 12.8 ms/s
   traced pairs: 23 delivered, 1 not, 1 skipped
`)
	if err != nil {
		t.Fatal(err)
	}
	if got.up50 != 519*ms || got.up99 != 735*ms || got.done50 != 762*ms || got.done99 != 968*ms || got.cpu.Round(ms/10) != 693700*ms/1000 ||
		got.ruleWall != 260*ms || got.ruleCPU != 228*ms || got.flows != 31429 || got.idle != .0128 || got.traces != "23 of 24 traced pairs delivered" {
		t.Errorf("got %+v", got)
	}
}

func TestReadRefill(t *testing.T) {
	wall, flows, err := readRefill(`   ovn-controller killed (KILL) and started       consistent after p50=1.90s max=2.00s  cpu 1.60s each  flows/node now 30000
   ovs-vswitchd killed and started (empty tables) consistent after p50=2.15s max=3.67s  cpu 1.95s each  flows/node now 30752
`)
	if err != nil || wall != 2150*ms || flows != 30752 {
		t.Errorf("%v, %v, %v", wall, flows, err)
	}
}

// TestRecorded finds figures for the shapes that are measured when nothing is said.
func TestRecorded(t *testing.T) {
	for _, w := range []work{{10, 1000, 4}, {10, 1000, 2}, {10, 1000, 10}} {
		if b, ok := recordedBulk(w); !ok || b.work != w {
			t.Errorf("no recorded bulk of %v", w)
		}
	}
	for _, w := range []work{{1, 0, 2}, {10, 0, 4}, {20, 1000, 4}, {100, 5000, 4}} {
		if l, ok := recordedLatency(w); !ok || l.work != w {
			t.Errorf("no recorded changes on top of %v", w)
		}
	}
	if _, ok := recordedBulk(work{1, 2, 3}); ok {
		t.Error("a bulk that nobody recorded")
	}
}

func TestReadDHCP(t *testing.T) {
	got, err := readDHCP("one discover -> 1 packets back\nDHCP window= 16: 117500 offers in 5.0s = 23500/s  cpu us per offer: ovn-controller 6, vswitchd 33 (includes the counter's polling)  load=3.00\n")
	want := dhcpFigures{outstanding: 16, perSecond: 23500, central: 6 * time.Microsecond, node: 33 * time.Microsecond}
	if err != nil || len(got) != 1 || got[0] != want {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := readDHCP("no offer"); err == nil {
		t.Error("output without offers: no error")
	}
}
