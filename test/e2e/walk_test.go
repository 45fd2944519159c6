// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// walk runs the walk-through on the site and returns what it prints; each statement has to hold.
func (s *site) walk(args ...string) string {
	s.t.Helper()
	out := s.must(append(s.lab("run", "walkthrough", "--host-ip", s.hostIP), args...)...)
	if strings.Contains(out, "FAIL") || !strings.Contains(out, "statements held") {
		s.t.Fatalf("exit code 0, and yet:\n%s", out)
	}
	return out
}

// TestWalkthrough leads through the recorded scenario, in classic, on two nodes and compares flows and ports after each step with what was
// recorded, without the program's own judgement.
func TestWalkthrough(t *testing.T) {
	t.Parallel()
	s := nameSite(t)
	walk := func(args ...string) {
		s.t.Helper()
		s.walk(append([]string{"--profile", "classic", "--ids", "recorded"}, args...)...)
	}
	states := []string{"initial", "network", "instances"}
	counts := []map[string]int{{controller: 12, compute: 12}, {controller: 20, compute: 13}, {controller: 22, compute: 32}}
	for step, state := range states {
		walk("--until", fmt.Sprint(step))
		for _, node := range []string{controller, compute} {
			want := s.golden(state, node)
			if len(want) != counts[step][node] {
				t.Fatalf("the recorded table %s-%s has %d flows, not %d", state, node, len(want), counts[step][node])
			}
			if err := equalLines(want, s.mustFlows(node)); err != nil {
				t.Errorf("step %d, %s: %v", step, node, err)
			}
			s.checkRows(step, node)
		}
		if step == 1 {
			s.part("Link", (*site).checkLink)
		}
	}
	walk() // goes on from where it is
	s.must(s.lab("status")...)
	s.part("Commands", func(s *site) {
		commands(s, map[string][]string{controller: s.golden("instances", controller), compute: s.golden("instances", compute)},
			"table=20,", "priority=36001,", "priority=61006,", "priority=16383,")
	})
	if !t.Failed() {
		s.part("Down", down)
	}
}

// checkRows compares a node's database with the recorded one.
func (s *site) checkRows(step int, node string) {
	s.t.Helper()
	equal := func(what, have, want string) {
		s.t.Helper()
		if have != want {
			s.t.Errorf("step %d, %s: %s is %s, recorded is %s", step, node, what, have, want)
		}
	}
	out := s.ovs(node, "ovs-vsctl", "--bare", "--columns=target,is_connected", "list", "Manager")
	equal("Manager", strings.Join(strings.Fields(out), " "), "tcp:192.168.0.10:6640 true")
	out = s.ovs(node, "ovs-vsctl", "--bare", "--columns=target,is_connected", "list", "Controller")
	equal("Controller", strings.Join(strings.Fields(out), " "), "tcp:192.168.0.10:6653 true")
	equal("br-int's fail_mode", s.get(node, "Bridge", "br-int", "fail_mode"), "secure")
	bridges := "br-int br-phy"
	if node == controller {
		bridges = "br-ex br-int br-phy"
		equal("br-ex's controller", s.get(node, "Bridge", "br-ex", "controller"), "[]")
		equal("br-ex's fail_mode", s.get(node, "Bridge", "br-ex", "fail_mode"), "[]")
	}
	equal("list of bridges", strings.Join(strings.Fields(s.ovs(node, "ovs-vsctl", "list-br")), " "), bridges)

	want := map[string]iface{"br-int": {Type: "internal", OFPort: "65534"}}
	tunnel := func(local, remote, ofport string) {
		want["vxlan-"+remote] = iface{Type: "vxlan", OFPort: ofport, Options: map[string]string{"key": "flow", "local_ip": local, "remote_ip": remote}}
	}
	switch {
	case step >= 1 && node == controller:
		want["tap178a8b99-70"] = iface{Type: "internal", OFPort: "1", IDs: map[string]string{"iface-id": "178a8b99-700f-4d2f-be35-f34d420f66a3"}}
		tunnel("192.168.0.10", "192.168.0.11", "2")
	case step >= 1:
		tunnel("192.168.0.11", "192.168.0.10", "1")
	}
	if step >= 2 && node == compute {
		want["tap7adff632-cc"] = iface{OFPort: "2", IDs: map[string]string{"iface-id": "7adff632-ccf9-4d43-8f5d-7db454313f44", "attached-mac": "fa:16:3e:9e:f5:70"}}
		want["tap2756a09c-12"] = iface{OFPort: "3", IDs: map[string]string{"iface-id": "2756a09c-125a-4fe8-9a26-2bde05857062", "attached-mac": "fa:16:3e:53:88:56"}}
	}
	all := s.mustInterfaces(node)
	have := map[string]bool{"br-int": true}
	for _, name := range strings.Fields(s.ovs(node, "ovs-vsctl", "list-ports", "br-int")) {
		have[name] = true
	}
	for name := range have {
		w, ok := want[name]
		if !ok {
			s.t.Errorf("step %d, %s: br-int has a port %s, %+v", step, node, name, all[name])
			continue
		}
		h := all[name]
		equal(name+"'s type", h.Type, w.Type)
		equal(name+"'s ofport", h.OFPort, w.OFPort)
		if !maps.Equal(h.Options, w.Options) {
			s.t.Errorf("step %d, %s: %s has options %v, recorded are %v", step, node, name, h.Options, w.Options)
		}
		for k, v := range w.IDs {
			equal(name+"'s external_ids:"+k, h.IDs[k], v)
		}
	}
	for name := range want {
		if !have[name] {
			s.t.Errorf("step %d, %s: br-int has no port %s", step, node, name)
		}
	}
}

// checkLink: the topology shows the tunnel in both directions within 10 s, with the ports at both ends.
func (s *site) checkLink() {
	type link struct {
		From     string `json:"from"`
		FromPort string `json:"from_port"`
		To       string `json:"to"`
		ToPort   string `json:"to_port"`
	}
	want := map[link]bool{
		{controller, "vxlan-192.168.0.11", compute, "vxlan-192.168.0.10"}: true,
		{compute, "vxlan-192.168.0.10", controller, "vxlan-192.168.0.11"}: true,
	}
	c := s.user("admin")
	s.eventually(settleWithin, "the topology shows the tunnel in both directions", func() error {
		var topology struct{ Links []link }
		if err := c.ask(200, "GET", c.admin("/topology"), nil, &topology); err != nil {
			return err
		}
		have := map[link]bool{}
		for _, l := range topology.Links {
			have[l] = true
		}
		if !maps.Equal(have, want) {
			return fmt.Errorf("links are %v", topology.Links)
		}
		return nil
	})
}

// TestSingleNode runs the scenario on one node, with ids of its own making.
func TestSingleNode(t *testing.T) {
	t.Parallel()
	s := nameSite(t)
	s.walk("--profile", "classic", "--nodes", controller)

	// What two nodes hold, on one: without the tunnel, and with this run's ids and port numbers in the place of the recorded.
	admin := s.user("admin")
	dhcp, err := admin.ports("device_owner=network:dhcp")
	if err != nil || len(dhcp) != 1 {
		t.Fatalf("DHCP ports: %v, %v", dhcp, err)
	}
	vm01, vm02 := s.instance("vm01"), s.instance("vm02")
	all := s.mustInterfaces(controller)
	for name, i := range all {
		if i.Type == "vxlan" {
			t.Errorf("a single node has the tunnel port %s", name)
		}
	}
	dhcpPort, port1, port2 := all["tap"+dhcp[0].ID[:11]].OFPort, all[vm01.tap()].OFPort, all[vm02.tap()].OFPort
	want, err := merge(
		renumber(s.golden("instances", controller), map[string]string{"1": dhcpPort}),
		renumber(s.golden("instances", compute), map[string]string{"2": port1, "3": port2}))
	if err != nil {
		t.Fatal(err)
	}
	var nets struct {
		Networks []struct {
			Segment int `json:"provider:segmentation_id"`
		}
	}
	if err := admin.ask(200, "GET", admin.neutron("/networks?name=net01"), nil, &nets); err != nil || len(nets.Networks) != 1 {
		t.Fatalf("net01: %v, %v", nets, err)
	}
	replace := strings.NewReplacer("0x435", fmt.Sprintf("0x%x", nets.Networks[0].Segment),
		"fa:16:3e:ef:85:07", dhcp[0].MAC, "fa:16:3e:9e:f5:70", vm01.MAC, "fa:16:3e:53:88:56", vm02.MAC)
	have := s.mustFlows(controller)
	wanted := map[string]bool{} // as a set: other MACs sort otherwise
	for _, line := range want {
		wanted[replace.Replace(line)] = true
	}
	for _, line := range have {
		if !wanted[line] {
			t.Errorf("too much: %s", line)
		}
		delete(wanted, line)
	}
	for line := range wanted {
		t.Errorf("missing: %s", line)
	}
	s.walk()
	if !t.Failed() {
		s.part("Down", down)
	}
}

// down takes the site down and holds that nothing of it is left.
func down(s *site) {
	taps := map[string]bool{}
	for _, i := range s.state().Instances {
		taps[i.tap()] = true
	}
	s.must(s.lab("down")...)
	if left, _ := filepath.Glob("/run/netns/" + s.name + "-*"); left != nil {
		s.t.Errorf("namespaces left: %v", left)
	}
	if left, _ := filepath.Glob(s.base + "/*"); left != nil {
		s.t.Errorf("files left: %v", left)
	}
	links, err := filepath.Glob("/sys/class/net/*")
	if err != nil || len(links) == 0 {
		s.t.Fatalf("links: %v, %v", links, err)
	}
	for _, l := range links {
		name := filepath.Base(l)
		if taps[name] || strings.HasPrefix(name, "vxlan-192.168.0.") || name == "ul0" {
			s.t.Errorf("link left on the host: %s", name)
		}
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, c := range commands {
		b, err := os.ReadFile(c)
		if err == nil && (strings.Contains(string(b), s.base) || strings.Contains(string(b), "/run/netns/"+s.name+"-")) {
			s.t.Errorf("process left: %s %q", c, b)
		}
	}
	s.must(s.lab("down")...) // of what is not there: no error
}
