// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// TestSegments: a network with segments on two physical networks, of which each node reaches one. The wire between the nodes passes
// every tag, so that each segment is a VLAN of it.
func TestSegments(t *testing.T) {
	t.Parallel()
	s := newSite(t, "--provider")
	admin := s.user("admin")
	mapped := strings.TrimSpace(s.ovs(compute, "ovs-vsctl", "get", "Open_vSwitch", ".", "other_config:provider_mappings"))
	other := strings.ReplaceAll(mapped, "physnet1:", "physnet2:")
	s.ovs(compute, "ovs-vsctl", "set", "Open_vSwitch", ".", "other_config:provider_mappings="+other, "external_ids:ovn-bridge-mappings="+other)
	s.part("routed", func(s *site) { routedSegments(s, s.user("admin")) })
	s.part("mixed", func(s *site) {
		body := fields{"name": "mixed", "shared": true, "segments": []fields{
			{"provider:network_type": "vlan", "provider:physical_network": "physnet1", "provider:segmentation_id": 110}, {"provider:network_type": "vxlan"}}}
		var n struct{ Network struct{ ID string } }
		if err := admin.ask(201, "POST", admin.neutron("/networks"), fields{"network": body}, &n); err != nil {
			s.t.Fatal(err)
		}
		admin.subnet(n.Network.ID, "10.110.0.0/24", 4, nil)
		s.boot("mixed-a", "mixed", compute)
		s.boot("mixed-b", "mixed", controller)
		s.reaches("mixed-a", "mixed-b")
		s.reaches("mixed-b", "mixed-a")
	})
}

// routedSegments: addresses work on their segments alone, a port has none until it is bound, and the fabric's router joins the
// segments.
func routedSegments(s *site, admin *client) {
	type addressed struct {
		Port struct {
			ID         string
			Allocation string `json:"ip_allocation"`
			VIF        string `json:"binding:vif_type"`
			FixedIPs   []struct {
				Address string `json:"ip_address"`
			} `json:"fixed_ips"`
		}
	}
	ask := func(want int, method, path string, body, into any) {
		s.t.Helper()
		if err := admin.ask(want, method, admin.neutron(path), body, into); err != nil {
			s.t.Fatal(err)
		}
	}
	s.eventually(settleWithin, "the mappings are known", func() error {
		var n struct {
			Agents []struct {
				Host           string
				Configurations struct {
					Mappings map[string]string `json:"bridge_mappings"`
				}
			}
		}
		err := admin.ask(200, "GET", admin.neutron("/agents?host="+compute+"&binary=neutron-openvswitch-agent"), nil, &n)
		if err == nil && (len(n.Agents) != 1 || n.Agents[0].Configurations.Mappings["physnet2"] == "") {
			err = fmt.Errorf("compute's agent: %+v", n.Agents)
		}
		return err
	})
	var n struct{ Network struct{ ID string } }
	segments := []fields{}
	for i := range 2 {
		segments = append(segments, fields{"provider:network_type": "vlan", "provider:physical_network": fmt.Sprint("physnet", i+1), "provider:segmentation_id": 101 + i})
	}
	ask(201, "POST", "/networks", fields{"network": fields{"name": "routed", "shared": true, "segments": segments}}, &n)
	for i := range 2 {
		var found struct{ Segments []struct{ ID string } }
		ask(200, "GET", fmt.Sprintf("/segments?network_id=%s&physical_network=physnet%d", n.Network.ID, i+1), nil, &found)
		admin.subnet(n.Network.ID, fmt.Sprintf("10.10%d.0.0/24", i+1), 4, fields{"segment_id": found.Segments[0].ID})
		// The fabric: a router with a port on each VLAN.
		link := fmt.Sprint("fabric", i+1)
		s.ovs(controller, "ovs-vsctl", "add-port", "br-prov", link, fmt.Sprint("tag=", 101+i), "--", "set", "Interface", link, "type=internal")
		s.must("ip", "-n", s.namespace(controller), "address", "add", fmt.Sprintf("10.10%d.0.1/24", i+1), "dev", link)
		s.must("ip", "-n", s.namespace(controller), "link", "set", link, "up")
	}
	if out, err := s.in(controller, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1"); err != nil {
		s.t.Fatal(err, out)
	}

	// Nova's way: a port first, then a host.
	var p addressed
	ask(201, "POST", "/ports", fields{"port": fields{"network_id": n.Network.ID, "device_owner": "compute:nova"}}, &p)
	if p.Port.Allocation != "deferred" || len(p.Port.FixedIPs) != 0 {
		s.t.Errorf("before it is bound: %+v", p.Port)
	}
	ask(200, "PUT", "/ports/"+p.Port.ID, fields{"port": fields{"binding:host_id": compute}}, &p)
	if p.Port.Allocation != "immediate" || p.Port.VIF != "ovs" || len(p.Port.FixedIPs) != 1 || !strings.HasPrefix(p.Port.FixedIPs[0].Address, "10.102.") {
		s.t.Errorf("bound to compute: %+v", p.Port)
	}

	here, there := s.boot("seg-a", "routed", controller), s.boot("seg-b", "routed", compute)
	if !strings.HasPrefix(here, "10.101.") || !strings.HasPrefix(there, "10.102.") {
		s.t.Errorf("addresses %s and %s are not of the nodes' segments", here, there)
	}
	seen := s.capture("p0", "vlan", "102", "and", "icmp")
	s.eventually(settleWithin, "a ping from segment to segment is seen on the wire", func() error {
		s.reaches("seg-a", "seg-b")
		s.reaches("seg-b", "seg-a")
		select {
		case text := <-seen:
			s.t.Logf("on the wire:\n%s", text)
			return nil
		default:
			return fmt.Errorf("tcpdump has seen none")
		}
	})
	// Beside the fabric there is no way: on a node, frames of one segment are not the other's.
	s.boot("seg-c", "routed", compute)
	s.reaches("seg-b", "seg-c")
	s.must("ip", "-n", s.namespace(controller), "link", "set", "fabric2", "down")
	s.eventually(settleWithin, "without the fabric's router the segments are apart", func() error {
		if out, err := s.in("seg-a", "ping", "-c", "1", "-W", "1", there); err == nil {
			return fmt.Errorf("seg-a reaches seg-b: %s", out)
		}
		return nil
	})
	s.reaches("seg-b", "seg-c")
}
