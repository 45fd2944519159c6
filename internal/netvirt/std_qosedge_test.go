// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"fmt"
	"strings"
	"testing"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// TestLimitsOfExternalAddresses: a floating IP and a gateway have a meter for each direction that their policy, or their network's,
// limits, and every packet of theirs passes it once; without a policy there is none.
func TestLimitsOfExternalAddresses(t *testing.T) {
	c := forwarding(t, model.Flat)
	limited := func(node string) (flows []string, meters []string) {
		d, _ := c.f.e.Desired(node)
		for _, m := range d.Meters {
			if m.ID > 120004 {
				meters = append(meters, fmt.Sprintf("%d:%d", m.ID, m.Rate))
			}
		}
		for _, f := range c.f.flows(node) {
			if strings.Contains(f.String(), "meter:12") || strings.Contains(f.String(), "meter:24") {
				flows = append(flows, f.String())
			}
		}
		return flows, meters
	}
	want := func(what string, flows, meters int, tables ...string) {
		t.Helper()
		f, m := limited("gw")
		if len(f) != flows || len(m) != meters {
			t.Fatalf("%s: %d flows by %v, want %d by %d:\n%s", what, len(f), m, flows, meters, strings.Join(f, "\n"))
		}
		for _, has := range tables {
			if !strings.Contains(strings.Join(f, "\n"), has) {
				t.Errorf("%s: no flow with %s:\n%s", what, has, strings.Join(f, "\n"))
			}
		}
	}
	want("without a policy", 0, 0)
	c.do(func(tx *store.Txn) {
		tables.QosPolicies.Put(tx, "q", model.QosPolicy{ID: "q", QosPolicyPlane: model.QosPolicyPlane{Rules: []model.QosRule{
			{ID: "1", Kind: model.QosBandwidthLimit, Direction: model.Egress, Value: 1000}, {ID: "2", Kind: model.QosBandwidthLimit, Direction: model.Ingress, Value: 2000},
			{ID: "3", Kind: model.QosDSCP, Value: 8}}}})
		c.float(tx, "f", "172.16.1.21", "near1-00000", "r1")
	})
	policy := func(id model.FloatingIPID, q model.QosPolicyID, place model.Key) {
		c.do(func(tx *store.Txn) {
			f, _ := tables.FloatingIPs.Get(tx, id)
			f.QosPolicy, f.Meter = q, place
			tables.FloatingIPs.Put(tx, id, f)
		})
	}
	policy("f", "q", 1)
	want("a floating IP", 3, 2, fmt.Sprintf("nw_dst=172.16.1.21 actions=meter:%d", model.FloatingMeter(1, model.Ingress)), fmt.Sprintf("nw_src=172.16.1.21 actions=meter:%d", model.FloatingMeter(1, model.Egress)))
	f := c.got("limited", outside, c.fromOutside(c.port("f-f").MAC, "8.8.8.8", "172.16.1.21", ports4(1, 22)...), "near1-00000")
	c.is("limited", f, c.door("near1-00000"), c.port("near1-00000").MAC, "8.8.8.8", "10.1.0.10", 63)
	policy("f", "", 1)
	want("its policy gone", 0, 0)
	policy("ff", "q", 2) // in, and out for each of its forwardings
	want("one that forwards", 1+7, 2, "nw_dst="+forwarded+" actions=meter:", "nw_src="+forwarded+" actions=meter:")
	policy("ff", "", 2)
	c.do(func(tx *store.Txn) {
		r, _ := tables.Routers.Get(tx, "r1")
		r.GatewayQos = "q"
		tables.Routers.Put(tx, "r1", r)
	})
	want("a gateway", 3, 2, "nw_dst=172.16.1.11 actions=meter:", "nw_src=172.16.1.11 actions=meter:")
	c.do(func(tx *store.Txn) {
		r, _ := tables.Routers.Get(tx, "r1")
		r.GatewayQos = ""
		tables.Routers.Put(tx, "r1", r)
		n, _ := tables.Networks.Get(tx, "ext")
		n.QosPolicy = "q"
		tables.Networks.Put(tx, "ext", n)
	})
	want("all by their network", 3+8+3+3, 8) // f, ff, r1 and r3
	if n := model.FloatingMeter(model.MaxFloatingMeter, model.Ingress); n >= 1<<18 || model.FloatingMeter(1, model.Egress) <= (model.Slot{Number: model.MaxSlot}).QosMeter(model.QosInPackets) {
		t.Errorf("meters of floating IPs end at %d", n)
	}
}
