// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/repro"
	"nagare/internal/store"
	"nagare/internal/tables"
)

func init() { repro.Rapid() }

// What may happen to a cloud, within what API and allocation allow: addresses and ids are unique.

// cloud is a store with one engine that follows it over the whole history.
type cloud struct {
	*world
	seen *tally
}

var (
	cloudNets  = []model.NetworkID{"n1", "n2", "n3"}
	cloudPorts = []model.PortID{"port-000001", "port-000002", "port-000003", "port-000004", "port-000005", "port-000006", "port-000007", "port-000008"}
)

var vnis = []uint32{100, 101, 102, 103}

func tunnelAddr(n int) netip.Addr { return netip.AddrFrom4([4]byte{192, 168, 0, byte(10 + n)}) }

// uniform draws a number below n, each as likely as the others, which rapid's own generators do not; a cloud in which the first
// node, port and event come up all the time would hold next to nothing.
func uniform(t *rapid.T, n int, what string) int {
	return rapid.Custom(func(t *rapid.T) (v int) {
		for range 8 {
			if v *= 2; rapid.Bool().Draw(t, "bit") {
				v++
			}
		}
		return v % n
	}).Draw(t, what)
}

func seldom(t *rapid.T, what string) bool { return uniform(t, 10, what) == 9 }

func one[T any](t *rapid.T, of []T, what string) T { return of[uniform(t, len(of), what)] }

// freeOFPort draws a port number that no interface of the node has; numbers of interfaces that went are used again.
func freeOFPort(t *rapid.T, tx *store.Txn, node model.NodeID) uint32 {
	free := []uint32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	for i := range tables.InterfacesByNode.By(tx, string(node)) {
		free = slices.DeleteFunc(free, func(n uint32) bool { return n == i.OFPort })
	}
	return one(t, free, "ofport")
}

// report writes what a node says of one interface, and whether a port is plugged by it, as its session would.
func report(tx *store.Txn, i model.Interface) {
	tables.Interfaces.Put(tx, model.InterfaceKey(i.Node, i.Name), i)
	if key := model.PlugKey(i.Node, i.IfaceID); i.IfaceID != "" && i.OFPort != 0 {
		tables.Plugs.Put(tx, key, model.Plug{Node: i.Node, Port: i.IfaceID})
	} else {
		tables.Plugs.Delete(tx, key)
	}
}

func gone(tx *store.Txn, i model.Interface) {
	tables.Interfaces.Delete(tx, model.InterfaceKey(i.Node, i.Name))
	tables.Plugs.Delete(tx, model.PlugKey(i.Node, i.IfaceID))
}

// putNode lets a node appear, or change or lose its tunnel address.
func putNode(t *rapid.T, tx *store.Txn, node model.NodeID) {
	var free []netip.Addr
	for i := range len(worldNodes) + 2 {
		free = append(free, tunnelAddr(i))
	}
	for id, n := range tables.Nodes.All(tx) {
		free = slices.DeleteFunc(free, func(a netip.Addr) bool { return id != ghost && node != ghost && id != node && a == n.LocalIP })
	}
	n := model.Node{ID: node}
	if !seldom(t, "no address") {
		n.LocalIP = one(t, free, "address")
	}
	tables.Nodes.Put(tx, node, n)
}

func putNetwork(t *rapid.T, tx *store.Txn, id model.NetworkID) {
	free := slices.Clone(vnis)
	for other, n := range tables.Networks.All(tx) {
		free = slices.DeleteFunc(free, func(v uint32) bool { return other != id && v == n.SegmentationID })
	}
	n := model.Network{ID: id, NetworkPlane: model.NetworkPlane{Type: model.VXLAN,
		SegmentationID: one(t, free, "vni"), AdminStateUp: !seldom(t, "down")}}
	if seldom(t, "flat") {
		n.Type = model.Flat
	}
	tables.Networks.Put(tx, id, n)
}

// putPort creates a port or changes all of it: network, node, MAC, owner. It does nothing if the network has no MAC left.
func putPort(t *rapid.T, tx *store.Txn, id model.PortID, net model.NetworkID, host model.NodeID) {
	free := slices.Clone(macs)
	for p := range tables.PortsByNetwork.By(tx, string(net)) {
		free = slices.DeleteFunc(free, func(m model.MAC) bool { return p.ID != id && m == p.MAC })
	}
	if len(free) == 0 {
		return
	}
	p := model.Port{ID: id, PortPlane: model.PortPlane{Network: net, Host: host,
		MAC: one(t, free, "mac"), AdminStateUp: !seldom(t, "down"),
		DeviceOwner:  one(t, []string{"compute:nova", "compute:nova", "", model.OwnerDHCP}, "owner"),
		PortSecurity: !seldom(t, "insecure")}}
	p.FixedIPs = []model.FixedIP{{Subnet: model.SubnetID("s" + string(net)), Addr: netip.AddrFrom4([4]byte{10, 0, 0, p.MAC[5] + 1})}}
	if p.PortSecurity {
		p.SecurityGroups = []model.SecurityGroupID{"g1"}
	}
	tables.Ports.Put(tx, id, p)
}

// plug lets an interface with a port's iface-id appear on a node, the port's or any other, with or without a number.
func plug(t *rapid.T, tx *store.Txn, node model.NodeID, id model.PortID) {
	i := model.Interface{Node: node, Name: id.TapName(), IfaceID: id}
	gone(tx, i)
	if !seldom(t, "not numbered") {
		i.OFPort = freeOFPort(t, tx, node)
	}
	report(tx, i)
}

// obey lets a node's OVSDB carry out the rows that the engine last wanted: tunnels and DHCP taps come and go. With all
// unset an interface may stay without a number.
func (c *cloud) obey(t *rapid.T, tx *store.Txn, node model.NodeID, all bool) {
	d, _ := c.e.Desired(string(node))
	wanted := map[string]bool{}
	for _, r := range slices.SortedFunc(maps.Values(d.Rows), func(a, b compile.Row) int { return strings.Compare(a.Name, b.Name) }) {
		wanted[r.Name] = true
		i, ok := tables.Interfaces.Get(tx, model.InterfaceKey(node, r.Name))
		if ok && i.OFPort != 0 || !all && seldom(t, "late") {
			continue
		}
		i = model.Interface{Node: node, Name: r.Name, Type: r.Type, OFPort: freeOFPort(t, tx, node)}
		if _, id, ok := strings.Cut(r.ExternalIDs, "iface-id="); ok {
			id, _, _ = strings.Cut(id, ",")
			i.IfaceID = model.PortID(id)
		}
		report(tx, i)
	}
	for _, i := range slices.Collect(tables.InterfacesByNode.By(tx, string(node))) {
		if !wanted[i.Name] && i.Type != "" {
			gone(tx, i)
		}
	}
}

// change is one random event.
func (c *cloud) change(t *rapid.T, tx *store.Txn) {
	node := model.NodeID(one(t, worldNodes, "node"))
	net := one(t, cloudNets, "net")
	port := one(t, cloudPorts, "port")
	p, there := tables.Ports.Get(tx, port)
	switch op := uniform(t, 20, "event"); op {
	case 0, 1:
		if seldom(t, "ghost") {
			node = ghost
		}
		if !seldom(t, "forgotten") {
			putNode(t, tx, node)
			return
		}
		tables.Nodes.Delete(tx, node)
		for _, i := range slices.Collect(tables.InterfacesByNode.By(tx, string(node))) {
			gone(tx, i)
		}
	case 2:
		putNetwork(t, tx, net)
	case 3: // a network goes, its ports before, in the same step or never
		tables.Networks.Delete(tx, net)
		if rapid.Bool().Draw(t, "with ports") {
			for _, p := range slices.Collect(tables.PortsByNetwork.By(tx, string(net))) {
				tables.Ports.Delete(tx, p.ID)
			}
		}
	case 4, 5, 6, 7, 8: // an instance starts, or a port becomes another
		putPort(t, tx, port, net, node)
		if !seldom(t, "not plugged") {
			plug(t, tx, node, port)
		}
	case 9:
		tables.Ports.Delete(tx, port)
	case 10: // migration: the binding moves first, the interface follows at once, later or never
		if p.Host = node; there {
			tables.Ports.Put(tx, port, p)
			if rapid.Bool().Draw(t, "at once") {
				plug(t, tx, node, port)
			}
		}
	case 11:
		if p.AdminStateUp = !p.AdminStateUp; there {
			tables.Ports.Put(tx, port, p)
		}
	case 12: // on whatever node
		plug(t, tx, node, port)
	case 13:
		gone(tx, model.Interface{Node: node, Name: port.TapName(), IfaceID: port})
	case 14: // the switch starts anew and numbers its interfaces differently
		is := slices.Collect(tables.InterfacesByNode.By(tx, string(node)))
		for i, was := range is {
			was.OFPort = is[(i+1)%len(is)].OFPort
			report(tx, was)
		}
	case 15: // our own restart: numbers are unknown until the node reports
		for _, i := range slices.Collect(tables.InterfacesByNode.By(tx, string(node))) {
			tables.Interfaces.Delete(tx, model.InterfaceKey(i.Node, i.Name))
		}
	default:
		for _, n := range worldNodes {
			c.obey(t, tx, model.NodeID(n), false)
		}
	}
}

// populate starts a history with a cloud in which much is possible at once.
func (c *cloud) populate(t *rapid.T) {
	mustCommitRapid(t, c.st, func(tx *store.Txn) {
		for i, d := range []model.Direction{model.Egress, model.Ingress} {
			id := model.SecurityGroupRuleID(fmt.Sprintf("r%d", i))
			tables.Rules.Put(tx, id, model.SecurityGroupRule{ID: id, RulePlane: model.RulePlane{Group: "g1", Direction: d, Ethertype: model.EtherIPv4}})
		}
		for _, n := range worldNodes[uniform(t, 2, "fewer nodes"):] {
			putNode(t, tx, model.NodeID(n))
		}
		for _, n := range cloudNets {
			putNetwork(t, tx, n)
		}
		for _, id := range cloudPorts[uniform(t, 4, "fewer ports"):] {
			node := model.NodeID(one(t, worldNodes, "node"))
			putPort(t, tx, id, one(t, cloudNets[:2], "net"), node)
			plug(t, tx, node, id)
		}
	})
	c.follow(t)
	mustCommitRapid(t, c.st, func(tx *store.Txn) {
		for _, n := range worldNodes {
			c.obey(t, tx, model.NodeID(n), false)
		}
	})
}

// check compiles what is new and lets the judge look at all nodes.
func (c *cloud) check(t *rapid.T) {
	t.Helper()
	c.follow(t)
	for _, n := range worldNodes {
		for _, f := range c.e.Faults(n) {
			if !strings.Contains(f.Reason, "is not carried by the classic profile") {
				t.Fatalf("%s %s is in fault on %s though all is as it may be: %s", f.Kind, f.Object, n, f.Reason)
			}
		}
	}
	if wrong := judge(c.st.Snapshot(), c.desired(), c.seen); len(wrong) > 0 {
		var all strings.Builder
		for _, n := range worldNodes {
			fmt.Fprintf(&all, "%s:\n  %s\n", n, strings.Join(flowLines(c.e, n), "\n  "))
		}
		t.Fatalf("%s\n%s", strings.Join(wrong[:min(len(wrong), 8)], "\n"), all.String())
	}
}

func (c *cloud) desired() map[string]map[flow.Key]flow.Flow {
	flows := map[string]map[flow.Key]flow.Flow{}
	for _, n := range worldNodes {
		d, _ := c.e.Desired(n)
		flows[n] = d.Flows
	}
	return flows
}

// TestDelivery is who receives what in the classic profile, exactly, at every step of random histories: every frame reaches
// the ports of its own network that tunnels lead to, once each, and nobody else. At the end every node carries out what is
// wanted of it, and then tunnels must lead everywhere.
func TestDelivery(t *testing.T) {
	var seen tally
	rapid.Check(t, func(t *rapid.T) {
		c := &cloud{newWorld(), &seen}
		c.populate(t)
		c.check(t)
		for range 1 + uniform(t, 10, "commits") {
			mustCommitRapid(t, c.st, func(tx *store.Txn) {
				for range 1 + uniform(t, 3, "events") {
					c.change(t, tx)
				}
			})
			c.check(t)
		}
		for range 2 { // a DHCP tap that appears may be the first port that wants tunnels
			mustCommitRapid(t, c.st, func(tx *store.Txn) {
				for _, n := range worldNodes {
					c.obey(t, tx, model.NodeID(n), true)
				}
			})
			c.check(t)
		}
		ref := refer(c.st.Snapshot())
		for _, a := range ref.ends {
			for id, n := range tables.Nodes.All(c.st.Snapshot()) {
				own, _ := tables.Nodes.Get(c.st.Snapshot(), a.node)
				if id != ghost && a.on && own.LocalIP.IsValid() && n.LocalIP.IsValid() && !ref.joined(a.node, id) {
					t.Fatalf("%s is in its network, but no tunnel leads from %s to %s", a.name, a.node, id)
				}
			}
		}
	})
	t.Logf("%d frames sent, %d received, %d of them on another node", seen.sent, seen.received, seen.crossed)
	if seen.received == 0 || seen.crossed == 0 {
		t.Error("the histories never let a frame arrive: the property says nothing")
	}
}

// ---- The judge judged.

// blocks is a cloud in which each flow of node a that moves a frame matters: two networks with the same MACs on all nodes,
// two ports of each on a.
const blocks = `
nodes: [{id: a, localip: 192.168.0.10}, {id: b, localip: 192.168.0.11}, {id: c, localip: 192.168.0.12}]
nets: [{id: n1, vni: 100}, {id: n2, vni: 101}]
groups: [{id: g, rules: [{id: r1, dir: egress, ether: IPv4}, {id: r2, dir: ingress, ether: IPv4, proto: udp}]}]
ports:
- {id: dhcp, net: n1, host: a, mac: "fa:16:3e:00:00:01", owner: "network:dhcp", insecure: true}
- {id: one, net: n1, host: a, mac: "fa:16:3e:00:00:02", owner: "compute:x", groups: [g]}
- {id: two, net: n1, host: b, mac: "fa:16:3e:00:00:03", owner: "compute:x", groups: [g]}
- {id: three, net: n1, host: c, mac: "fa:16:3e:00:00:04", owner: "compute:x", groups: [g]}
- {id: four, net: n2, host: a, mac: "fa:16:3e:00:00:04", owner: "compute:x", groups: [g]}
- {id: five, net: n2, host: a, mac: "fa:16:3e:00:00:03", owner: "compute:x", groups: [g]}
- {id: six, net: n2, host: b, mac: "fa:16:3e:00:00:02", owner: "compute:x", groups: [g]}
- {id: seven, net: n2, host: c, mac: "fa:16:3e:00:00:01", owner: "compute:x", groups: [g]}
interfaces:
  a: {tapdhcp: 1, tapone: 2, tapfour: 3, tapfive: 4, vxlan-192.168.0.11: 5, vxlan-192.168.0.12: 6}
  b: {taptwo: 1, tapsix: 2, vxlan-192.168.0.10: 3, vxlan-192.168.0.12: 4}
  c: {tapthree: 1, tapseven: 2, vxlan-192.168.0.10: 3, vxlan-192.168.0.11: 4}
`

// decides tells which flows can be seen by who receives what. In classic the permits and address checks allow what the miss
// of their table allows, the drops of low priority drop what is dropped anyway, and nobody here sends LLDP.
func decides(f flow.Flow) bool {
	switch t := pipeline.TableID(f.Table); {
	case t == pipeline.Classifier:
		return f.Priority == pipeline.PrioPort && !strings.Contains(f.Match.String(), "dl_type")
	case t == pipeline.L2Forward:
		return f.Priority >= pipeline.PrioFloodLocal
	default:
		return f.Priority == 0 || f.Priority == pipeline.PrioDHCPServerDrop
	}
}

// line is a flow as text in two parts, so that mutants can change it.
type line struct {
	match string
	acts  []string
}

func (l line) flow(t *testing.T) flow.Flow {
	t.Helper()
	text := l.match + " actions=" + cmp.Or(strings.Join(l.acts, ","), "drop")
	f, err := flow.ParseFlow(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return f
}

func lineOf(f flow.Flow) line {
	match, acts, _ := strings.Cut(f.String(), " actions=")
	if acts == "drop" {
		return line{match, nil}
	}
	return line{match, strings.Split(acts, ",")}
}

// acts applies a change to each action that has a prefix, one at a time; the change gives what stands in its place.
func (l line) change(prefix string, with func(act string) []string) (out []line) {
	for i, act := range l.acts {
		if strings.HasPrefix(act, prefix) {
			out = append(out, line{l.match, slices.Concat(l.acts[:i], with(act), l.acts[i+1:])})
		}
	}
	return out
}

// swap replaces one text by others in the match and in the actions.
func (l line) swap(old string, with ...string) (out []line) {
	for _, w := range with {
		n := line{strings.ReplaceAll(l.match, old, w), nil}
		for _, a := range l.acts {
			n.acts = append(n.acts, strings.ReplaceAll(a, old, w))
		}
		if n.match != l.match || !slices.Equal(n.acts, l.acts) {
			out = append(out, n)
		}
	}
	return out
}

// mutants are the ways in which a flow may be wrong; each gives the flows to have instead of one.
var mutants = []struct {
	name string
	of   func(l line) []line
}{
	{"an output is missing", func(l line) []line { return l.change("output:", func(string) []string { return nil }) }},
	{"an output comes twice", func(l line) []line { return l.change("output:", func(a string) []string { return []string{a, a} }) }},
	{"an output of another port", func(l line) (out []line) {
		for port := 1; port <= 4; port++ {
			o := fmt.Sprintf("output:%d", port)
			if !slices.Contains(l.acts, o) && !strings.Contains(l.match, fmt.Sprintf("in_port=%d", port)) {
				out = append(out, line{l.match, append([]string{o}, l.acts...)})
			}
		}
		return out
	}},
	{"another VNI", func(l line) []line { return append(l.swap("0x64", "0x65", "0x66"), l.swap("0x65", "0x64", "0x66")...) }},
	{"another origin", func(l line) []line {
		return slices.Concat(l.swap("load:0x1", "load:0x2"), l.swap("load:0x2", "load:0x1"), l.swap("reg0=0x1", "reg0=0x2"), l.swap("reg0=0x2", "reg0=0x1"))
	}},
	{"another MAC", func(l line) (out []line) {
		for _, m := range macs {
			out = append(out, l.swap(m.String(), stranger.String())...)
		}
		return out
	}},
}

// TestDeliveryJudge shows that the judge of TestDelivery sees: it finds nothing in the flows as they are compiled, and
// something as soon as any flow that decides is missing or wrong in any one way.
func TestDeliveryJudge(t *testing.T) {
	st := load(t, []byte(blocks))
	e := compileAll(st, worldNodes...)
	flows := map[string]map[flow.Key]flow.Flow{}
	for _, n := range worldNodes {
		d, _ := e.Desired(n)
		flows[n] = d.Flows
	}
	if wrong := judge(st.Snapshot(), flows, &tally{}); len(wrong) > 0 {
		t.Fatalf("the flows as compiled:\n%s", strings.Join(wrong, "\n"))
	}
	right, tried := flows["a"], map[string]int{}
	try := func(what string, f flow.Flow, instead ...flow.Flow) {
		flows["a"] = maps.Clone(right)
		delete(flows["a"], f.Key())
		for _, g := range instead {
			flows["a"][g.Key()] = g
		}
		if tried[what]++; len(judge(st.Snapshot(), flows, &tally{})) == 0 {
			t.Errorf("%s, unnoticed: %s\nnow %v", what, f, instead)
		}
	}
	for _, f := range slices.SortedFunc(maps.Values(right), flow.Compare) {
		if !decides(f) {
			continue
		}
		try("missing", f)
		for _, m := range mutants {
			for _, l := range m.of(lineOf(f)) {
				try(m.name, f, l.flow(t))
			}
		}
	}
	t.Logf("tried %v", tried)
	for _, m := range mutants {
		if tried[m.name] == 0 {
			t.Errorf("%s: no flow to try it on", m.name)
		}
	}
}
