// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"nagare/internal/flow"
)

// TestFaults breaks a running site in many ways. Each part leaves it as it found it.
func TestFaults(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.user("demo").network("net01", "10.11.12.0/24")
	for _, vm := range []struct{ name, node string }{{"vm01", compute}, {"vm02", compute}, {"vm03", controller}} {
		s.boot(vm.name, "net01", vm.node)
	}
	s.user("admin").settled(settleWithin, controller, compute)
	s.part("Spoofing", spoofing)
	s.part("Unplugging", unplugging)
	s.part("WrongHost", wrongHost)
	s.part("Deletion", deletion)
	for _, node := range []string{compute, controller} {
		s.part("SwitchKilled/"+node, func(s *site) { daemonsKilled(s, node, "ovs-vswitchd") })
		s.part("DatabaseKilled/"+node, func(s *site) { daemonsKilled(s, node, "ovsdb-server") })
		s.part("BothKilled/"+node, func(s *site) { daemonsKilled(s, node, "ovsdb-server", "ovs-vswitchd") })
	}
	s.part("FlowsDeleted", flowsDeleted)
	s.part("ControllerDeleted", controllerDeleted)
	s.part("TunnelDeleted", tunnelDeleted)
	s.part("BridgeDeleted", bridgeDeleted)
	s.part("Garbage", garbage)
	s.part("Impostor", impostor)
	s.part("LinkCut", linkCut)
	s.part("Migration", migration)
}

// all holds that everything works: ports ACTIVE, both nodes in sync with the given flows, DHCP, ping in all directions.
func (s *site) all(flows map[string][]string) {
	s.t.Helper()
	demo, admin := s.user("demo"), s.user("admin")
	for node, want := range flows {
		s.wantFlows(settleWithin, node, want)
	}
	admin.settled(settleWithin, controller, compute)
	for _, vm := range []string{"vm01", "vm02", "vm03"} {
		demo.wantStatus(s.instance(vm).PortID, "ACTIVE")
	}
	s.reaches("vm01", "vm02", "vm03")
	s.reaches("vm02", "vm01", "vm03")
	s.reaches("vm03", "vm01", "vm02")
	s.leases("vm01")
	s.leases("vm03")
}

// both are the flows of both nodes as they are now.
func (s *site) both() map[string][]string {
	s.t.Helper()
	return map[string][]string{controller: s.mustFlows(controller), compute: s.mustFlows(compute)}
}

// daemonsKilled kills daemons of a node and has them started again: the same flows are back, ports are adopted by their
// iface-id. When only the database was away, the switch keeps its very flows and nothing is sent to it.
//
// That no packet is lost while the database is away is not asked: without its database ovs-vswitchd stops polling the ports of
// a userspace datapath for seconds, whoever controls it.
func daemonsKilled(s *site, node string, programs ...string) {
	before, groups, admin := s.both(), s.groups(node), s.user("admin")
	keeps := !slices.Contains(programs, "ovs-vswitchd")
	ages := s.ages(node)
	sent := admin.settled(settleWithin, node)[node].Sent.FlowMods
	for _, p := range programs {
		s.kill(node+"'s "+p, s.daemon(node, p))
	}
	began := time.Now()
	s.mend()
	s.all(before)
	s.t.Logf("all works %v after the start", time.Since(began).Round(time.Millisecond))
	s.wantGroups(healWithin, node, groups)
	if keeps {
		s.untouched(node, ages)
		if now := admin.settled(settleWithin, node)[node].Sent.FlowMods; now != sent {
			s.t.Errorf("%s: %d flow mods were sent because the database was away", node, now-sent)
		}
	}
	if n := strings.Count(s.ovs(compute, "ovs-vsctl", "list-ports", "br-int"), "vxlan-"); n != 1 {
		s.t.Errorf("compute has %d tunnel ports", n)
	}
}

// flowsDeleted: what another hand does to the flows is undone.
func flowsDeleted(s *site) {
	before := s.both()
	for _, argv := range [][]string{
		{"del-flows", "br-int"},
		{"del-flows", "br-int", "table=110"},
		{"add-flow", "br-int", "table=0,priority=60000,actions=drop"},
		{"mod-flows", "br-int", "table=90,priority=0,actions=drop"},
		{"del-groups", "br-int"}, // and with them the flows that name them
	} {
		for _, node := range []string{controller, compute} {
			groups := s.groups(node)
			began := time.Now()
			s.ovs(node, slices.Concat([]string{"ovs-ofctl", "-O", "OpenFlow13"}, argv)...)
			s.wantFlows(healWithin, node, before[node])
			s.wantGroups(healWithin, node, groups)
			s.t.Logf("%s: %s undone after %v", node, strings.Join(argv, " "), time.Since(began).Round(time.Millisecond))
		}
	}
	// Of its meters no switch tells: the next comparison finds that they are gone.
	groups := s.groups(compute)
	s.ovs(compute, "ovs-ofctl", "-O", "OpenFlow13", "del-meters", "br-int")
	s.wantGroups(auditWithin, compute, groups)
	s.all(before)
}

// groups are the groups and meters of a node, sorted.
func (s *site) groups(node string) []string {
	s.t.Helper()
	var out []string
	for _, command := range []string{"dump-groups", "dump-meters"} {
		for line := range strings.Lines(s.ovs(node, "ovs-ofctl", "-O", "OpenFlow13", command, "br-int")) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "OFPST") {
				out = append(out, line)
			}
		}
	}
	slices.Sort(out)
	return out
}

// wantGroups waits until a node holds exactly the given groups and meters.
func (s *site) wantGroups(within time.Duration, node string, want []string) {
	s.t.Helper()
	s.eventually(within, "groups and meters of "+node+" are as expected", func() error { return equalLines(want, s.groups(node)) })
}

// controllerDeleted: br-int gets its controller back, and stays as it was.
func controllerDeleted(s *site) {
	before := s.both()
	s.ovs(compute, "ovs-vsctl", "del-controller", "br-int")
	s.eventually(healWithin, "br-int has its controller", func() error {
		if have := strings.TrimSpace(s.ovs(compute, "ovs-vsctl", "get-controller", "br-int")); have != "tcp:192.168.0.10:6653" {
			return fmt.Errorf("it has %q", have)
		}
		return nil
	})
	s.ovs(compute, "ovs-vsctl", "set-fail-mode", "br-int", "standalone")
	s.eventually(healWithin, "br-int is in fail mode secure", func() error {
		if have := s.get(compute, "Bridge", "br-int", "fail_mode"); have != "secure" {
			return fmt.Errorf("it is %s", have)
		}
		return nil
	})
	s.all(before)
}

// tunnelDeleted: a port of ours comes back.
func tunnelDeleted(s *site) {
	const name = "vxlan-192.168.0.10"
	old := s.mustInterfaces(compute)[name]
	before := s.both()
	s.ovs(compute, "ovs-vsctl", "del-port", "br-int", name)
	s.eventually(healWithin, "the tunnel port is back", func() error {
		all, err := s.interfaces(compute)
		if have, ok := all[name]; err == nil && (!ok || have.OFPort == "[]" || have.OFPort == "-1" || fmt.Sprint(have.Options) != fmt.Sprint(old.Options)) {
			err = fmt.Errorf("there is %+v", have)
		}
		return err
	})
	// It may have another number now: the flows follow it.
	ports := map[string]string{}
	for _, i := range s.mustInterfaces(compute) {
		ports[i.OFPort] = i.OFPort
	}
	now := s.mustInterfaces(compute)[name].OFPort
	ports[old.OFPort] = now
	want, err := flow.Normalise(strings.Join(renumber(before[compute], ports), "\n"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.all(map[string][]string{controller: before[controller], compute: want})
}

// bridgeDeleted: br-int is made again with flows and tunnel; the instances' ports are the hypervisor's to plug again.
func bridgeDeleted(s *site) {
	demo := s.user("demo")
	s.ovs(compute, "ovs-vsctl", "del-br", "br-int")
	s.eventually(healWithin, "br-int is there again", func() error {
		out, err := s.tryOVS(s.t.Context(), compute, "ovs-vsctl", "br-exists", "br-int")
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	for _, vm := range []string{"vm01", "vm02"} {
		demo.wantStatus(s.instance(vm).PortID, "DOWN")
	}
	demo.wantStatus(s.instance("vm03").PortID, "ACTIVE")
	s.mend() // plugs the instances again
	if have := s.get(compute, "Bridge", "br-int", "fail_mode"); have != "secure" {
		s.t.Errorf("the new br-int is in fail mode %s", have)
	}
	s.all(nil)
	want := map[string]int{controller: 0, compute: 0}
	nodes := s.user("admin").settled(settleWithin, controller, compute)
	for node := range want {
		if have := s.mustFlows(node); len(have) != nodes[node].Flows {
			s.t.Errorf("%s has %d flows, its desired state %d", node, len(have), nodes[node].Flows)
		}
	}
}

// linkCut takes a node off the underlay until the server has noticed: instances on it go on talking to each other, and after
// the return exactly what changed meanwhile is sent.
func linkCut(s *site) {
	admin := s.user("admin")
	before := s.both()
	sent := admin.settled(settleWithin, controller, compute)[compute].Sent.FlowMods
	ages := s.ages(compute)
	pings := []*pinger{s.ping("vm01", s.leased("vm02")), s.ping("vm02", s.leased("vm01"))}
	across := s.ping("vm03", s.leased("vm01")) // cannot get through: shows that a lost packet would be seen
	began := time.Now()
	s.must("ip", "-n", s.namespace("underlay"), "link", "set", "u1", "down")
	s.eventually(noticeWithin, "the server notices that compute is away", func() error {
		nodes, err := admin.nodes()
		if n := nodes[compute]; err == nil && (n.OVSDB || n.OpenFlow) {
			err = fmt.Errorf("it says %+v", n)
		}
		return err
	})
	s.t.Logf("noticed after %v", time.Since(began).Round(time.Millisecond))
	across.end()
	if across.answered() == len(across.sent) {
		s.t.Errorf("all of %d pings to a node that was cut off were answered", len(across.sent))
	}
	// Nothing has changed: its return costs no flow mod.
	s.must("ip", "-n", s.namespace("underlay"), "link", "set", "u1", "up")
	back := time.Now()
	if now := admin.settled(settleWithin, controller, compute)[compute].Sent.FlowMods; now != sent {
		s.t.Errorf("%d flow mods were sent on compute's return, and nothing had changed", now-sent)
	}
	s.t.Logf("in sync %v after the link was back", time.Since(back).Round(time.Millisecond))
	s.untouched(compute, ages)

	// Again, and now something changes while it is away.
	s.must("ip", "-n", s.namespace("underlay"), "link", "set", "u1", "down")
	s.boot("vm08", "net01", controller)
	vm08 := s.instance("vm08")
	if err := equalLines(before[compute], s.mustFlows(compute)); err != nil {
		s.t.Errorf("compute changed while it was cut off: %v", err)
	}
	s.must("ip", "-n", s.namespace("underlay"), "link", "set", "u1", "up")
	s.eventually(settleWithin, "compute knows the way to vm08", func() error {
		fs, err := s.flows(compute)
		if err == nil && !strings.Contains(strings.Join(fs, "\n"), "dl_dst="+vm08.MAC) {
			err = fmt.Errorf("it does not")
		}
		return err
	})
	now := admin.settled(settleWithin, controller, compute)[compute].Sent.FlowMods
	after := s.mustFlows(compute)
	differ := 0
	for _, f := range after {
		if !slices.Contains(before[compute], f) {
			differ++
		}
	}
	if now-sent != uint64(differ) || differ == 0 {
		s.t.Errorf("%d flow mods were sent, %d flows are new or changed", now-sent, differ)
	}
	s.reaches("vm01", "vm08")
	for _, p := range pings {
		p.finish(s.t)
	}
	s.must(s.lab("instance", "rm", "vm08")...)
	s.all(before)
}

// migration: an instance that is moved to another node keeps its address and its connections, leaves nothing behind, and is
// found where it is.
func migration(s *site) {
	demo, vm02 := s.user("demo"), s.instance("vm02")
	address := s.leased("vm02")
	session := s.connect("vm01", "vm02", address)
	for _, to := range []string{controller, compute} {
		s.must(s.lab("instance", "move", "vm02", "--to", to)...)
		demo.wantStatus(vm02.PortID, "ACTIVE")
		if now := s.leased("vm02"); now != address {
			s.t.Errorf("on %s vm02 has the address %s, before %s", to, now, address)
		}
		s.reaches("vm01", "vm02")
		s.reaches("vm03", "vm02")
		s.reaches("vm02", "vm01", "vm03")
		session.echo(s, "after the move to "+to)
		if to == compute {
			continue
		}
		s.eventually(settleWithin, "no flow of compute admits vm02", func() error {
			fs, err := s.flows(compute)
			for _, f := range fs {
				if strings.Contains(f, "dl_src="+vm02.MAC) && strings.HasPrefix(f, "table=0,") {
					return fmt.Errorf("this one does: %s", f)
				}
			}
			return err
		})
	}
}
