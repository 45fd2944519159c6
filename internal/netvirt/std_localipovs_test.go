// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"nagare/internal/model"
	"nagare/internal/ovstest"
	"nagare/internal/pipeline"
	"nagare/internal/repro"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/openflow"
)

// TestLocalIPOnRealSwitch sends sequences of packets between clients and servers of local IPs of one node, through real Open vSwitch with
// its connection tracker and through the simulator: each must meet the same flows in both.
func TestLocalIPOnRealSwitch(t *testing.T) {
	c := locals(t, model.LocalIPTranslate)
	c.do(func(tx *store.Txn) {
		c.held(tx, "second", "n1", "10.1.0.101")
		c.localIP(tx, "l42", "second", "10.1.0.101", model.LocalIPPassthrough, "near4-00000")
		c.localIP(tx, "of", client, "10.1.0.10", model.LocalIPTranslate, "near4-00000") // of the client, by a server on its node
	})
	s := ovstest.Start(t)
	const bridge = "br0"
	push(t, s, bridge, c.f.e, "near")
	numbers := map[model.PortID]uint32{}
	for i := range tables.InterfacesByNode.By(c.st.Snapshot(), "near") {
		numbers[i.IfaceID] = i.OFPort
	}
	r := repro.Rand(9, 9)
	vms := []model.PortID{client, served, "near4-00000"}
	met := map[string]bool{}
	var story []string
	before := packets(t, s, bridge)
	for range 200 {
		from, to := vms[r.IntN(3)], vms[r.IntN(3)]
		dst := c.address(to, lip4)
		if r.IntN(2) == 0 {
			to, dst = "holder", lip4
			if r.IntN(3) == 0 {
				to, dst = "second", "10.1.0.101"
			}
		}
		as := c.address(from, lip4)
		if from == "near4-00000" && r.IntN(3) == 0 {
			as = "10.1.0.101" // it has that, too
		}
		ports := [][2]uint16{{1000, 22}, {22, 1000}, {1000, 23}}[r.IntN(3)]
		p := c.linked(from, as, to, dst, ports4(ports[0], ports[1])...)
		if r.IntN(6) == 0 {
			p = c.linked(from, as, to, dst, ping4(r.IntN(2) == 0)...)
		}
		p.SetUint(openflow.FieldInPort, uint64(numbers[from]))
		story = append(story, p.String())
		s.Receive(fmt.Sprintf("%s-p%d", bridge, numbers[from]), datapathText(p))
		after := packets(t, s, bridge)
		var want []string
		for k, n := range after {
			if n > before[k] {
				want = append(want, k)
			}
		}
		slices.Sort(want)
		before = after
		if got := flowsMet(c.switches["near"].Trace(p)); !slices.Equal(got, want) {
			t.Fatalf("after\n%s\nsimulated\n%s\nreal\n%s\n%s", strings.Join(story, "\n"), strings.Join(got, "\n"), strings.Join(want, "\n"), s.Appctl("dpctl/dump-conntrack"))
		}
		for _, v := range want {
			met[v] = true
		}
	}
	of, missed := 0, 0
	for k := range before {
		var table, prio int
		fmt.Sscan(k, &table, &prio)
		ours := table == int(pipeline.LoadBalancer) && prio > 0 || table == int(pipeline.LocalNew) || table == int(pipeline.L2Forward) && prio == int(pipeline.PrioStays)
		if strings.Contains(k, "ipv6") || !ours {
			continue
		}
		if of++; !met[k] {
			missed++
			t.Logf("no packet met the flow %s", k)
		}
	}
	if of < 10 || missed > of/4 {
		t.Errorf("of %d flows %d were met by no packet: the test shows little", of, missed)
	}
}
