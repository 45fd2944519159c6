// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"nagare/internal/alloc"
	"nagare/internal/api/admin"
	"nagare/internal/compile"
	"nagare/internal/model"
	"nagare/internal/netvirt"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// traced is the cloud of explained with its nodes' tunnels and patches, the ports' names vm-..., and a third port on the
// compute node, alone2, beside net01-compute.
func traced(t *testing.T, o netvirt.Options) backend {
	t.Helper()
	return tracedBy(t, netvirt.Standard(o), o.FlowTunnels)
}

func tracedBy(t *testing.T, rules *compile.Rulebook, flowTunnels bool) backend {
	t.Helper()
	b := explained(t, rules)
	settle(t, b, func(tx *store.Txn) {
		for node, peer := range map[model.NodeID]string{"controller": "192.168.0.11", "compute": "192.168.0.10"} {
			name := "vxlan-" + peer
			if flowTunnels {
				name = "vxlan-flow"
			}
			tables.Interfaces.Put(tx, model.InterfaceKey(node, name), model.Interface{Node: node, Name: name, Type: "vxlan", OFPort: 20})
			tables.Interfaces.Put(tx, model.InterfaceKey(node, "patch-physnet1"), model.Interface{Node: node, Name: "patch-physnet1", Type: "patch", OFPort: 21})
		}
		plug(t, tx, model.Port{ID: "alone2", Std: model.Std{Name: "alone"}, PortPlane: model.PortPlane{Network: "net01", MAC: model.MAC{0xfa, 0x16, 0x3e, 0, 0, 9},
			AdminStateUp: true, DeviceOwner: "compute:nova", Host: "compute", PortSecurity: true,
			FixedIPs: []model.FixedIP{{Subnet: "sub-net01", Addr: netip.MustParseAddr("10.0.0.9")}}}}, 9)
		for id, last := range map[model.PortID]byte{"phys-controller": 5, "phys-compute": 6} { // where their subnet is
			p, _ := tables.Ports.Get(tx, id)
			p.FixedIPs = []model.FixedIP{{Subnet: "sub-phys", Addr: netip.AddrFrom4([4]byte{10, 1, 0, last})}}
			if err := alloc.PutPort(tx, p); err != nil {
				t.Fatal(err)
			}
		}
		egress := model.RulePlane{Group: "web", Direction: model.Egress, Ethertype: model.EtherIPv4}
		var err error
		if egress.Key, err = alloc.NextKey(tx, alloc.Rule); err != nil {
			t.Fatal(err)
		}
		tables.Rules.Put(tx, "out", model.SecurityGroupRule{ID: "out", RulePlane: egress})
	})
	return b
}

// plug commits a port with an interface of that number on its host.
func plug(t *testing.T, tx *store.Txn, p model.Port, number uint32) {
	t.Helper()
	var err error
	if p.Key, err = alloc.NextKey(tx, alloc.Port); err != nil {
		t.Fatal(err)
	}
	tables.Plugs.Put(tx, model.PlugKey(p.Host, p.ID), model.Plug{Node: p.Host, Port: p.ID})
	tables.Interfaces.Put(tx, model.InterfaceKey(p.Host, "tap"+string(p.ID)), model.Interface{Node: p.Host, Name: "tap" + string(p.ID), OFPort: number, IfaceID: p.ID})
	if err := alloc.PutPort(tx, p); err != nil {
		t.Fatal(err)
	}
}

// settle commits a change and waits until it is compiled.
func settle(t *testing.T, b backend, f func(tx *store.Txn)) {
	t.Helper()
	r, err := b.s.store.Commit(t.Context(), store.Origin{Request: "req-trace", User: "u-demo", Action: "POST ports"}, func(tx *store.Txn) error { f(tx); return nil })
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	if err := b.s.hub.WaitCompiled(ctx, r.Snapshot.Seq()); err != nil {
		t.Fatal(err)
	}
}

// ask turns "vm01 icmp to vm02" into a query; what follows " -- " is its state.
func ask(text string) admin.TraceQuery {
	text, state, _ := strings.Cut(text, " -- ")
	text, flow, _ := strings.Cut(text, " flow ")
	w := strings.Fields(text)
	q := admin.TraceQuery{Flow: flow, State: state}
	if node, port, ok := strings.Cut(w[0], "#"); ok {
		q.Node, q.InPort = node, port
	} else {
		q.From = w[0]
	}
	q.Words = w[1:]
	return q
}

func TestTraceVerdicts(t *testing.T) {
	for _, o := range []netvirt.Options{{}, {FlowTunnels: true}, {NativeDHCP: true}} {
		b := traced(t, o)
		for _, c := range []struct{ ask, verdict, remedy string }{
			{"net01-compute tcp/8080 to net01-controller", "delivered to port net01-controller", ""},
			{"net01-compute tcp/8080 to 10.0.0.3", "delivered to port net01-controller", ""},
			{"net01-compute icmp to net01-controller -- reply", "delivered to port net01-compute", ""},
			{"net01-compute tcp/9 to net01-controller -- established", "delivered to port net01-controller", ""},
			{"phys-compute tcp/8080 to phys-controller", "delivered to port phys-controller", ""},
			{"phys-controller icmp to phys-compute -- established", "delivered to port phys-compute", ""},
			{"phys-compute tcp/80 to 10.1.0.77", "leaves node compute by physical network physnet1", ""},
			{"net01-compute tcp/80 to alone", "dropped in table 92 (ingress-rules) on node compute: port alone wears no security group", "--security-group GROUP alone2"},
			{"alone tcp/80 to net01-compute", "dropped in table 42 (egress-rules) on node compute: port alone wears no security group", ""},
			{"net01-compute tcp/80 to 10.0.0.77", "dropped in table 110 (l2-forward) on node compute: no port of network net01 has 10.0.0.77, so nobody of ours answers", "--flow 'dl_dst=...'"},
			{"net01-compute tcp/80 to 192.0.2.9", "dropped in table 110 (l2-forward) on node compute: no subnet of port net01-compute has a gateway or a host route for 192.0.2.9", "subnet set --gateway"},
			{"net01-compute flow tcp,dl_dst=fa:16:3e:00:00:77,nw_dst=10.0.0.3", "dropped in table 110 (l2-forward) on node compute: no port of network net01 has MAC address fa:16:3e:00:00:77", ""},
			{"net01-compute flow tcp,nw_src=10.9.9.9,nw_dst=10.0.0.3,tp_dst=80", "dropped in table 40 (egress-acl) on node compute: source address 10.9.9.9 is not one of port net01-compute (10.0.0.4)",
				"--allowed-address ip-address=10.9.9.9 net01-compute"},
			{"net01-compute flow tcp,dl_src=02:00:00:00:00:07,nw_dst=10.0.0.3,tp_dst=80",
				"dropped in table 0 (classifier) on node compute: source MAC address 02:00:00:00:00:07 is not that of port net01-compute (fa:16:3e:00:00:04)", "mac-address=02:00:00:00:00:07 net01-compute"},
			{"compute#4 flow icmp,nw_dst=10.0.0.3", "delivered to port net01-controller", ""},
			{"compute#tapnet01 flow icmp,dl_vlan=7,nw_dst=10.0.0.3", "may send untagged frames only", ""},
			{"compute#77 flow icmp,nw_dst=10.0.0.3", "br-int of node compute has no port 77", "nagare topology"},
			{"net01-compute flow arp,arp_op=1,dl_dst=ff:ff:ff:ff:ff:ff,arp_spa=10.0.0.4,arp_sha=fa:16:3e:00:00:04,arp_tpa=10.0.0.3", "answered by the switch of node compute", ""},
		} {
			tr, err := b.Trace(t.Context(), ask(c.ask))
			if err != nil {
				t.Errorf("%s: %v", c.ask, err)
				continue
			}
			v := tr.Verdict
			if !strings.Contains(v.Text, c.verdict) || !strings.Contains(v.Remedy, c.remedy) {
				t.Errorf("%+v: %s: %+v\nnotes %q", o, c.ask, v, tr.Notes)
			}
			arrives := !strings.HasPrefix(c.verdict, "dropped") && c.verdict != "may send untagged frames only" && !strings.HasPrefix(c.verdict, "br-int")
			if v.Arrived != arrives {
				t.Errorf("%s: arrived %v: %+v", c.ask, v.Arrived, v)
			}
		}
	}
}

// TestTraceClassic: the classic profile has no registers for ports, and drops less.
func TestTraceClassic(t *testing.T) {
	b := tracedBy(t, netvirt.Classic(), false)
	for text, want := range map[string]string{
		"net01-compute tcp/8080 to net01-controller":                               "delivered to port net01-controller",
		"alone tcp/80 to net01-compute -- reply":                                   "delivered to port alone2 (alone)",
		"net01-compute tcp/80 to 10.0.0.77":                                        "dropped in table 110 (l2-forward) on node compute: no port of network net01 has 10.0.0.77",
		"net01-compute flow tcp,dl_src=02:00:00:00:00:07,nw_dst=10.0.0.3":          "source MAC address 02:00:00:00:00:07 is not that of port net01-compute",
		"net01-compute flow icmp,dl_dst=ff:ff:ff:ff:ff:ff,nw_dst=10.0.0.255":       "delivered to port alone2 (alone), port net01-controller",
		"net01-compute flow udp,dl_dst=ff:ff:ff:ff:ff:ff,nw_dst=10.0.0.3,tp_dst=9": "delivered to port alone2 (alone), port net01-controller",
	} {
		if tr, err := b.Trace(t.Context(), ask(text)); err != nil || !strings.Contains(tr.Verdict.Text, want) {
			t.Errorf("%s: %+v %q, %v", text, tr.Verdict, tr.Notes, err)
		}
	}
}

// TestTraceIPv6: addresses, protocols and remedies of the other family.
func TestTraceIPv6(t *testing.T) {
	b := traced(t, netvirt.Options{})
	settle(t, b, func(tx *store.Txn) {
		tables.Subnets.Put(tx, "sub-v6", model.Subnet{ID: "sub-v6", SubnetPlane: model.SubnetPlane{Key: 77, Network: "net01", CIDR: netip.MustParsePrefix("fd00::/64")}})
		for id, addr := range map[model.PortID]string{"net01-controller": "fd00::3", "net01-compute": "fd00::4"} {
			p, _ := tables.Ports.Get(tx, id)
			p.FixedIPs = append(p.FixedIPs[:1:1], model.FixedIP{Subnet: "sub-v6", Addr: netip.MustParseAddr(addr)})
			if err := alloc.PutPort(tx, p); err != nil {
				t.Fatal(err)
			}
		}
	})
	tr, err := b.Trace(t.Context(), ask("net01-compute icmp to fd00::3"))
	if v := tr.Verdict; err != nil || !strings.Contains(v.Text, "allows icmp6 type 128 from fd00::4") || !strings.HasPrefix(v.Remedy, "openstack security group rule create --ingress --ethertype IPv6 --protocol ipv6-icmp --remote-ip fd00::4/128") {
		t.Errorf("%+v, %v", v, err)
	}
	settle(t, b, func(tx *store.Txn) {
		r := model.RulePlane{Group: "db", Direction: model.Ingress, Ethertype: model.EtherIPv6, Key: 99}
		tables.Rules.Put(tx, "in6", model.SecurityGroupRule{ID: "in6", RulePlane: r})
	})
	for _, text := range []string{"net01-compute icmp to fd00::3 -- reply", "net01-controller tcp/80 to fd00::4 -- established", "net01-controller icmp6 to fd00::4"} {
		if tr, err := b.Trace(t.Context(), ask(text)); err != nil || !tr.Verdict.Arrived {
			t.Errorf("%s: %+v, %v", text, tr.Verdict, err)
		}
	}
}

// TestTraceDropsByGroup: only rules of the receiver's groups let a packet in, and the verdict says which groups these are and
// what rule would.
func TestTraceDropsByGroup(t *testing.T) {
	b := traced(t, netvirt.Options{})
	settle(t, b, func(tx *store.Txn) { tables.Rules.Delete(tx, "rule2") }) // db: from group web
	tr, err := b.Trace(t.Context(), ask("net01-compute tcp/9 to net01-controller"))
	v := tr.Verdict
	want := "dropped in table 92 (ingress-rules) on node controller: no rule of the receiver's groups (db, web of port net01-controller) allows tcp/9 from 10.0.0.4"
	if err != nil || v.Text != want || v.Node != "controller" || v.Arrived || v.Result != admin.TraceDropped ||
		v.Remedy != "openstack security group rule create --ingress --ethertype IPv4 --protocol tcp --dst-port 9 --remote-ip 10.0.0.4/32 db" {
		t.Errorf("%+v, %v; want %s", v, err, want)
	}
	if tr, err := b.Trace(t.Context(), ask("net01-compute tcp/8085 to net01-controller")); err != nil || !tr.Verdict.Arrived {
		t.Errorf("a port that rule0 allows: %+v, %v", tr.Verdict, err)
	}
	// The connection does not begin, and the trace says so in place of tracing what cannot be.
	tr, err = b.Trace(t.Context(), ask("net01-compute tcp/9 to net01-controller -- established"))
	if err != nil || tr.Verdict.Text != want || len(tr.Notes) == 0 || !strings.Contains(strings.Join(tr.Notes, " "), "does not begin") {
		t.Errorf("%+v %q, %v", tr.Verdict, tr.Notes, err)
	}
}

// TestTraceWay: each flow on the way has its authors and the change behind them, and registers are told in words.
func TestTraceWay(t *testing.T) {
	b := traced(t, netvirt.Options{})
	tr, err := b.Trace(t.Context(), ask("net01-compute tcp/8080 to net01-controller -- established"))
	if err != nil || len(tr.Way) != 2 || tr.Way[0].Node != "compute" || tr.Way[1].Node != "controller" || len(tr.Before) != 2 {
		t.Fatalf("%+v, %v", tr, err)
	}
	if !strings.Contains(tr.Packet, "tcp_flags=ack") {
		t.Errorf("a packet that follows the first is %s", tr.Packet)
	}
	var said strings.Builder
	for _, v := range tr.Way {
		for _, s := range v.Steps {
			f := admin.Flow{Authors: s.Authors}
			if s.Flow == "" || !f.Authored() || s.Purpose == "" {
				t.Errorf("node %s: %+v", v.Node, s)
			}
			for _, d := range s.Did {
				said.WriteString(d.Action + " " + strings.Join(d.Changes, "\n") + "\n")
			}
		}
	}
	for _, want := range []string{
		"tun_id: 0 -> 1077, logical network, in all tables: net01", "reg0: 0 -> 1, origin: local port", "reg1: 0 -> ", "key of the source port: net01-compute", "key of the source port's set of security groups: db, web",
		"reg0: 0 -> 2, origin: tunnel", "key of the destination port: net01-controller", "destination filtered", "untracked -> +est+trk", "ct_label: 0 -> 0x", "key of the security group rule that accepted the packet: ingress IPv4 tcp 8080-8090",
	} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("nothing says %q:\n%s", want, said.String())
		}
	}
	if out := tr.Way[0].Out; len(out) != 1 || out[0].To != "tunnel to 192.168.0.10" || out[0].Name != "vxlan-192.168.0.10" {
		t.Errorf("leaves by %+v", out)
	}
	if out := tr.Way[1].Out; len(out) != 1 || out[0].To != "port net01-controller" {
		t.Errorf("leaves by %+v", out)
	}
}

// TestTraceBuildsOnlyWhatIsReached: a node that no packet comes to is not built, and a broadcast builds no more than the limit.
func TestTraceBuildsOnlyWhatIsReached(t *testing.T) {
	b := traced(t, netvirt.Options{})
	f, err := newFabric(t.Context(), b.s.hub)
	if err != nil {
		t.Fatal(err)
	}
	q := ask("net01-compute tcp/80 to alone")
	if _, err := f.trace(&q); err != nil || len(f.nodes) != 1 {
		t.Errorf("%d nodes for a packet that stays on one, %v", len(f.nodes), err)
	}
	q = ask("net01-compute tcp/80 to net01-controller")
	if _, err := f.trace(&q); err != nil || len(f.nodes) != 2 {
		t.Errorf("%d nodes for a packet between two, %v", len(f.nodes), err)
	}
}

// TestTraceIsBounded: a broadcast on a network of many nodes builds as many as it may, and says that there are more.
func TestTraceIsBounded(t *testing.T) {
	b := traced(t, netvirt.Options{FlowTunnels: true})
	const more = maxTraced + 4
	settle(t, b, func(tx *store.Txn) {
		for i := range more {
			id := model.NodeID(fmt.Sprintf("node%02d", i))
			tables.Nodes.Put(tx, id, model.Node{ID: id, Approved: true, NodePlane: model.NodePlane{Key: model.Key(100 + i), LocalIP: netip.AddrFrom4([4]byte{192, 168, 1, byte(i)})}})
			tables.Interfaces.Put(tx, model.InterfaceKey(id, "vxlan-flow"), model.Interface{Node: id, Name: "vxlan-flow", Type: "vxlan", OFPort: 20})
			plug(t, tx, model.Port{ID: model.PortID("p-" + id), PortPlane: model.PortPlane{Network: "net01", MAC: model.MAC{0xfa, 0x16, 0x3e, 7, 0, byte(i)}, AdminStateUp: true,
				DeviceOwner: "compute:nova", Host: id}}, 5)
		}
	})
	tr, err := b.Trace(t.Context(), ask("net01-compute flow arp,arp_op=1,dl_dst=ff:ff:ff:ff:ff:ff,arp_spa=10.0.0.4,arp_sha=fa:16:3e:00:00:04,arp_tpa=10.0.0.77"))
	if err != nil || len(tr.Way) != maxTraced || !strings.Contains(tr.Verdict.Text, "copies for 6 more nodes were not followed") {
		t.Errorf("%d nodes: %+v, %v", len(tr.Way), tr.Verdict, err)
	}
}

func TestTraceRefuses(t *testing.T) {
	b := traced(t, netvirt.Options{})
	settle(t, b, func(tx *store.Txn) {
		p, _ := tables.Ports.Get(tx, "alone2")
		p.ID, p.Host, p.MAC, p.FixedIPs = "idle", "", model.MAC{2, 0, 0, 0, 0, 0x33}, nil
		p.Key, _ = alloc.NextKey(tx, alloc.Port)
		if err := alloc.PutPort(tx, p); err != nil {
			t.Fatal(err)
		}
	})
	for text, want := range map[string]error{
		"none icmp to alone2": admin.ErrNotFound, "net01-compute icmp to none": admin.ErrNotFound, "alone icmp to net01-compute": admin.ErrBadInput,
		"idle icmp to net01-compute": admin.ErrBadInput, "nowhere#3 flow icmp": admin.ErrNotFound, "compute#tapnone flow icmp": admin.ErrNotFound,
		"net01-compute icmp alone2": admin.ErrBadInput, "net01-compute tcp to alone2": admin.ErrBadInput, "net01-compute tcp/x to alone2": admin.ErrBadInput,
		"net01-compute arp to alone2": admin.ErrBadInput, "net01-compute gre to alone2": admin.ErrBadInput, "net01-compute flow nonsense": admin.ErrBadInput,
		"net01-compute icmp/8 to alone2": admin.ErrBadInput, "net01-compute icmp to idle": admin.ErrBadInput, "compute#20 icmp to alone2": admin.ErrBadInput,
	} {
		if tr, err := b.Trace(t.Context(), ask(text)); !errors.Is(err, want) {
			t.Errorf("%s: %v %+v, want %v", text, err, tr.Verdict, want)
		}
	}
}

// TestTraceTrunk: a sub-port's packets enter with its tag by the parent's interface, and reach it so.
func TestTraceTrunk(t *testing.T) {
	b := traced(t, netvirt.Options{})
	settle(t, b, func(tx *store.Txn) {
		parent, _ := tables.PortsByName.First(tx, "net01-compute")
		p, _ := tables.PortsByName.First(tx, "phys-compute") // any network will do
		p.ID, p.Name, p.MAC, p.Parent, p.VLAN, p.PortSecurity, p.SecurityGroups = "sub", "sub", model.MustMAC("fa:16:3e:00:00:55"), parent.ID, 10, false, nil
		p.FixedIPs = []model.FixedIP{{Subnet: p.FixedIPs[0].Subnet, Addr: netip.MustParseAddr("10.1.0.55")}}
		var err error
		if p.Key, err = alloc.NextKey(tx, alloc.Port); err != nil {
			t.Fatal(err)
		}
		if err := alloc.PutPort(tx, p); err != nil {
			t.Fatal(err)
		}
	})
	for text, want := range map[string]string{
		"sub tcp/8080 to phys-controller": "delivered to port phys-controller",
		"phys-controller icmp to sub":     "delivered to port sub",
	} {
		tr, err := b.Trace(t.Context(), ask(text))
		if err != nil || !strings.Contains(tr.Verdict.Text, want) {
			t.Errorf("%s: %+v, %v; want %q", text, tr.Verdict, err, want)
		}
	}
}
