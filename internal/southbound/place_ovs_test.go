// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"nagare/internal/model"
	"nagare/internal/netvirt"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// TestRoutedPunts has a real switch send up what routers cannot do alone, and shows that what is told of the packets is what
// the answers go by: the port, the network, the next hop, and that a frame came in by the wire.
func TestRoutedPunts(t *testing.T) {
	got := make(chan Punted, 100)
	s := newSiteWith(t, store.New(tables.Schema, nil), 0, 0, func(c *Config) {
		c.Rules = netvirt.Standard(netvirt.Options{PuntRate: 100})
		c.Answer = func(_ *store.Snapshot, p Punted) [][]byte { got <- p; return nil }
	})
	sw := s.node("controller", "192.168.0.10")
	sw.AddBridge("br-ex")
	sw.AddPort("br-ex", "wire", 1)
	sw.Ofctl("add-flow", "br-ex", "actions=NORMAL")
	sw.Vsctl("set", "Open_vSwitch", ".", "other_config:provider_mappings=ph:br-ex")
	s.synced(1)
	plug(sw, one)
	s.commit(func(tx *store.Txn) {
		external(t, tx)
		tables.Subnets.Put(tx, "sub", model.Subnet{ID: "sub", SubnetPlane: model.SubnetPlane{Network: "net", CIDR: netip.MustParsePrefix("10.0.0.0/24")}})
		rif, _ := tables.Ports.Get(tx, "rif")
		rif.FixedIPs = []model.FixedIP{{Subnet: "sub", Addr: netip.MustParseAddr("10.0.0.1")}}
		put(t, tx, rif)
		p := vm(one, "controller", 3)
		p.Key, p.PortSecurity = 77, false
		put(t, tx, p)
		place(t, tx)
	})
	s.until("the gateway serves", func() bool { return s.status("gw").Status == model.StatusActive })
	var uplink uint32
	s.until("the patch", func() bool {
		uplink = netvirt.Uplink(s.st.Snapshot(), "controller", "ph")
		return uplink != 0 && s.status(one).Status == model.StatusActive
	})
	s.synced(1)
	tag := func(id model.NetworkID) uint64 {
		n, _ := tables.Networks.Get(s.st.Snapshot(), id)
		v, _ := netvirt.LogicalNetwork(&n)
		return v
	}
	i, _ := tables.InterfacesByIface.First(s.st.Snapshot(), model.PlugKey("controller", one))
	expect := func(what string, kind byte, want string) {
		t.Helper()
		for deadline := time.After(patience); ; {
			select {
			case p := <-got:
				if p.Kind != kind {
					continue
				}
				text := fmt.Sprintln(p.Origin, p.InPort, p.TunID, p.PortKey, p.NextHop)
				if text != want {
					t.Errorf("%s: %s, want %s", what, text, want)
				}
				return
			case <-deadline:
				t.Fatalf("%s: nothing\n%s", what, sw.Ofctl("dump-flows", "br-int", "table=61"))
			}
		}
	}
	udp := "in_port(1),eth(src=fa:16:3e:00:00:03,dst=fa:16:3e:00:01:01),eth_type(0x0800)," +
		"ipv4(src=10.0.0.3,dst=172.16.1.77,proto=17,tos=0,ttl=%d,frag=no),udp(src=9,dst=9)"
	sw.Receive(model.PortID(one).TapName(), fmt.Sprintf(udp, 1))
	expect("time to live", pipeline.PuntTTL, fmt.Sprintln(pipeline.FromPort, i.OFPort, tag("net"), 77, netip.Addr{}))
	sw.Receive(model.PortID(one).TapName(), fmt.Sprintf(udp, 9))
	expect("next hop", pipeline.PuntResolve, fmt.Sprintln(pipeline.FromPort, i.OFPort, tag("ext"), 77, "172.16.1.77"))
	sw.Receive("wire", "in_port(1),eth(src=00:50:56:00:00:01,dst=fa:16:3e:00:01:02),eth_type(0x0806),"+
		"arp(sip=172.16.1.77,tip=172.16.1.2,op=2,sha=00:50:56:00:00:01,tha=fa:16:3e:00:01:02)")
	expect("neighbour", pipeline.PuntNeighbour, fmt.Sprintln(pipeline.FromProvider, uplink, tag("ext"), 0, netip.Addr{}))

	if !s.hub.Emit(t.Context(), "controller", Frame{uplink, make([]byte, 60)}) {
		t.Error("not sent")
	}
	s.until("the wire has it", func() bool {
		return !strings.Contains(sw.Ofctl("dump-ports", "br-ex", "wire"), "tx pkts=0")
	})
}
