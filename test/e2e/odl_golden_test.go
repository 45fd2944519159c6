// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"testing"

	"nagare/test/odl"
)

// TestOpenDaylightRecorded makes the recorded scenario, in classic, by what networking-odl sends for it, with the recorded ids:
// the flows of both nodes after each step are the recorded ones. DHCP is served from a port that a DHCP agent would have.
func TestOpenDaylightRecorded(t *testing.T) {
	t.Parallel()
	c := newCloud(nameSite(t), "--profile", "classic")
	n := c.n
	golden := func(state string) {
		t.Helper()
		c.sent()
		for _, node := range []string{controller, compute} {
			c.wantFlows(settleWithin, node, c.golden(state, node))
		}
	}
	golden("initial")
	for name, ids := range map[string][2]string{
		"net01":        {"f8209267-5cf1-4073-9af5-bbbf7fe500cd"},
		"net01-subnet": {"8d373fbd-6134-47d1-aff6-86ee1ae7c8d1"},
		"dhcp":         {"178a8b99-700f-4d2f-be35-f34d420f66a3", "fa:16:3e:ef:85:07"},
		"vm01":         {"7adff632-ccf9-4d43-8f5d-7db454313f44", "fa:16:3e:9e:f5:70"},
		"vm02":         {"2756a09c-125a-4fe8-9a26-2bde05857062", "fa:16:3e:53:88:56"},
	} {
		n.Fix(name, ids[0], ids[1])
	}
	group := n.Group(odlTenant, "default", odl.Object{"remote_group_id": "self"}, odl.Object{"ethertype": "IPv6", "remote_group_id": "self"})
	net := n.Network(odlTenant, "net01", odl.Segment{Type: "vxlan", ID: 1077}, false)
	sub := n.BareSubnet(odlTenant, "net01-subnet", net, "10.11.12.0/24", true, true)
	n.AgentPort(odlTenant, "dhcp", sub, controller)
	golden("network")

	var guests []*guest
	for i, name := range []string{"vm01", "vm02"} {
		id := n.Boot(odlTenant, name, sub, "", compute, group)
		c.sent()
		g := c.guest(name, id, compute)
		g.plug()
		if c.admin.wantStatus(id, "ACTIVE"); g.ip.IsValid() {
			t.Errorf("%s has the address %v before its lease", name, g.ip)
		}
		guests = append(guests, g)
		if server := c.lease(g); server != "10.11.12.2" || g.ip.String() != fmt.Sprint("10.11.12.", 3+i) {
			t.Errorf("%s has %v from %s", name, g.ip, server)
		}
	}
	golden("instances")
	c.judged()
	c.pings("vm01", "10.11.12.4")
	c.pings("vm02", "10.11.12.3")
	c.pings("vm02", "10.11.12.2") // on the other node

	// A full synchronisation changes nothing of it.
	if err := n.Maintain(t.Context()); err != nil || n.Syncs != 1 {
		t.Fatalf("%d full synchronisations, %v", n.Syncs, err)
	}
	golden("instances")

	for _, g := range guests {
		g.unplug()
		n.RemovePort(g.port.ID)
	}
	golden("network")
}
