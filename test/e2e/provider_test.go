// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// TestProvider: networks on a wire between the nodes. Instances on two nodes reach each other with the network's tag on the wire,
// and a machine that is not the cloud's is reached, and reaches nobody unasked.
func TestProvider(t *testing.T) {
	t.Parallel()
	s := newSite(t, "--provider")
	admin := s.user("admin")
	for _, c := range []struct {
		name, cidr string
		provider   fields
		tag        string // of an access port of the wire's bridge; "" for none
		filter     []string
	}{
		{"vlan100", "10.100.0.0/24", fields{"provider:network_type": "vlan", "provider:physical_network": "physnet1", "provider:segmentation_id": 100}, "100", []string{"vlan", "100", "and", "icmp"}},
		{"flat", "10.101.0.0/24", fields{"provider:network_type": "flat", "provider:physical_network": "physnet1"}, "", []string{"icmp"}},
	} {
		s.part(c.name, func(s *site) {
			body := fields{"name": c.name, "shared": true}
			for k, v := range c.provider {
				body[k] = v
			}
			var n struct{ Network struct{ ID string } }
			if err := admin.ask(201, "POST", admin.neutron("/networks"), fields{"network": body}, &n); err != nil {
				s.t.Fatal(err)
			}
			admin.subnet(n.Network.ID, c.cidr, 4, nil)
			here, there := c.name+"-a", c.name+"-b"
			s.boot(here, c.name, compute)
			s.boot(there, c.name, controller)
			for _, node := range []string{controller, compute} {
				if ports := s.ovs(node, "ovs-vsctl", "list-ports", "br-int"); strings.Contains(ports, "vxlan-") {
					s.t.Errorf("%s has a tunnel, and no tunnelled network: %s", node, ports)
				}
			}
			seen := s.capture("p0", c.filter...)
			s.eventually(settleWithin, "a ping is seen on the wire", func() error {
				s.reaches(here, there)
				s.reaches(there, here)
				select {
				case text := <-seen:
					s.t.Logf("on the wire:\n%s", text)
					return nil
				default:
					return fmt.Errorf("tcpdump %s has seen none", strings.Join(c.filter, " "))
				}
			})
			// A machine on the wire, which is no port of the cloud's.
			host := "host" + c.tag
			args := []string{"ovs-vsctl", "add-port", "br-prov", host}
			if c.tag != "" {
				args = append(args, "tag="+c.tag)
			}
			s.ovs(controller, append(args, "--", "set", "Interface", host, "type=internal")...)
			address := strings.TrimSuffix(c.cidr, "0/24") + "200"
			s.must("ip", "-n", s.namespace(controller), "address", "add", address+"/24", "dev", host)
			s.must("ip", "-n", s.namespace(controller), "link", "set", host, "up")
			s.eventually(settleWithin, here+" reaches the machine", func() error {
				out, err := s.in(here, "ping", "-c", "1", "-W", "1", address)
				if err != nil {
					return fmt.Errorf("%w: %s", err, out)
				}
				return nil
			})
			if out, err := s.in(controller, "ping", "-c", "3", "-i", "0.2", "-W", "1", s.leased(here)); err == nil {
				s.t.Errorf("the machine reaches %s unasked: %s", here, out)
			}
			s.must(s.lab("instance", "move", here, "--to", controller)...)
			s.reaches(here, there)
			s.reaches(there, here)
		})
	}
}

// capture waits for two frames on a port of the wire that pass tcpdump's filter, and tells what it printed of them.
func (s *site) capture(link string, filter ...string) <-chan string {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	seen, done := make(chan string, 1), make(chan struct{})
	argv := append([]string{"ip", "netns", "exec", s.namespace("underlay"), "tcpdump", "-n", "-e", "-c", "2", "-i", link}, filter...)
	go func() {
		defer close(done)
		if out, err := s.try(ctx, argv...); err == nil {
			seen <- out
		}
	}()
	s.t.Cleanup(func() { cancel(); <-done })
	return seen
}
