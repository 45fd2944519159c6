// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"context"
	"net/netip"
	"testing"

	"go.yaml.in/yaml/v3"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// fixture is a state of the store in YAML, with only the fields that classic rules look at.
type fixture struct {
	Nodes []struct {
		ID, LocalIP string
		Mappings    map[string]string // physical network -> bridge
	}
	Nets []struct {
		ID       string
		Type     string
		VNI      uint32
		Physical string
		QoS      string
	}
	Subnets []struct{ ID, Net, CIDR string }
	Groups  []struct {
		ID        string
		Stateless bool
		Rules     []struct {
			ID, Dir, Ether, Proto, Prefix, Group string
			Min, Max                             *int
		}
	}
	Ports []struct {
		ID, Net, MAC, Owner, Host, Subnet string
		Router                            string // whose interface or gateway it is
		IPs, Groups                       []string
		Insecure                          bool
		Pairs                             []struct{ MAC, IP string }
		QoS, Parent                       string   // its policy; the parent of its trunk
		VLAN                              uint16   // with Parent
		Bindings                          []string // hosts of inactive ones
	}
	Policies []struct { // of quality of service
		ID    string
		Rules []struct {
			Kind, Dir    string
			Value, Burst int
		}
	}
	Routers []struct {
		ID, Gateway string // a port's id
		SNAT        bool
		Routes      []struct{ To, Via string }
	}
	Floats     []struct{ ID, Net, IP, Holder, Port, Fixed, Router string }
	Neighbours []struct{ Net, IP, MAC string }
	Locals     []struct { // local IPs
		ID, Holder, IP, Mode string
		Servers              map[string]string // port -> its address
	}
	// Interfaces of br-int: node -> interface -> number; an interface named tap<11> belongs to the port whose id starts so.
	Interfaces map[string]map[string]uint32
}

func (f *fixture) put(tx *store.Txn) {
	for i, n := range f.Nodes {
		node := model.Node{ID: model.NodeID(n.ID), NodePlane: model.NodePlane{Key: model.Key(i + 1), Mappings: n.Mappings}}
		if n.LocalIP != "" {
			node.LocalIP = netip.MustParseAddr(n.LocalIP)
		}
		tables.Nodes.Put(tx, node.ID, node)
	}
	for i, n := range f.Nets {
		t := model.NetworkType(n.Type)
		if t == "" {
			t = model.VXLAN
		}
		tables.Networks.Put(tx, model.NetworkID(n.ID), model.Network{ID: model.NetworkID(n.ID),
			NetworkPlane: model.NetworkPlane{Key: model.Key(i + 1), Type: t, SegmentationID: n.VNI, PhysicalNetwork: n.Physical, AdminStateUp: true, QosPolicy: model.QosPolicyID(n.QoS)}})
	}
	for _, p := range f.Policies {
		policy := model.QosPolicy{ID: model.QosPolicyID(p.ID)}
		for _, r := range p.Rules {
			policy.Rules = append(policy.Rules, model.QosRule{Kind: model.QosKind(r.Kind), Direction: model.Direction(r.Dir), Value: r.Value, Burst: r.Burst})
		}
		tables.QosPolicies.Put(tx, policy.ID, policy)
	}
	for _, s := range f.Subnets {
		tables.Subnets.Put(tx, model.SubnetID(s.ID), model.Subnet{ID: model.SubnetID(s.ID),
			SubnetPlane: model.SubnetPlane{Network: model.NetworkID(s.Net), CIDR: netip.MustParsePrefix(s.CIDR), EnableDHCP: true,
				Gateway: netip.MustParsePrefix(s.CIDR).Masked().Addr().Next()}})
	}
	for _, g := range f.Groups {
		tables.SecurityGroups.Put(tx, model.SecurityGroupID(g.ID), model.SecurityGroup{ID: model.SecurityGroupID(g.ID),
			SecurityGroupPlane: model.SecurityGroupPlane{Stateful: !g.Stateless}})
		for _, r := range g.Rules {
			rule := model.SecurityGroupRule{ID: model.SecurityGroupRuleID(r.ID), RulePlane: model.RulePlane{
				Group: model.SecurityGroupID(g.ID), Direction: model.Direction(r.Dir), Ethertype: r.Ether, Protocol: r.Proto,
				PortMin: r.Min, PortMax: r.Max, RemoteGroup: model.SecurityGroupID(r.Group)}}
			if r.Prefix != "" {
				rule.RemotePrefix = netip.MustParsePrefix(r.Prefix)
			}
			tables.Rules.Put(tx, rule.ID, rule)
		}
	}
	for i, p := range f.Ports {
		port := model.Port{ID: model.PortID(p.ID), PortPlane: model.PortPlane{Key: model.Key(0x11 + i), Network: model.NetworkID(p.Net), MAC: model.MustMAC(p.MAC),
			AdminStateUp: true, DeviceOwner: p.Owner, Host: model.NodeID(p.Host), PortSecurity: !p.Insecure,
			QosPolicy: model.QosPolicyID(p.QoS), Parent: model.PortID(p.Parent), VLAN: p.VLAN}, DeviceID: p.Router}
		for _, ip := range p.IPs {
			port.FixedIPs = append(port.FixedIPs, model.FixedIP{Subnet: model.SubnetID(p.Subnet), Addr: netip.MustParseAddr(ip)})
		}
		for _, g := range p.Groups {
			port.SecurityGroups = append(port.SecurityGroups, model.SecurityGroupID(g))
		}
		for _, a := range p.Pairs {
			pair := model.AddressPair{Prefix: netip.MustParsePrefix(a.IP)}
			if a.MAC != "" {
				pair.MAC = model.MustMAC(a.MAC)
			}
			port.AllowedPairs = append(port.AllowedPairs, pair)
		}
		for _, h := range p.Bindings {
			port.Bindings = append(port.Bindings, model.Binding{Host: model.NodeID(h)})
		}
		if err := alloc.PutPort(tx, port); err != nil {
			panic(err) // a fixture has few ports
		}
	}
	f.putRouters(tx)
	for node, ifs := range f.Interfaces {
		for name, of := range ifs {
			i := model.Interface{Node: model.NodeID(node), Name: name, OFPort: of}
			for _, p := range f.Ports {
				if model.PortID(p.ID).TapName() == name {
					i.IfaceID = model.PortID(p.ID)
					tables.Plugs.Put(tx, model.PlugKey(i.Node, i.IfaceID), model.Plug{Node: i.Node, Port: i.IfaceID})
				}
			}
			tables.Interfaces.Put(tx, model.InterfaceKey(i.Node, name), i)
		}
	}
}

func (f *fixture) putRouters(tx *store.Txn) {
	for i, r := range f.Routers {
		router := model.Router{ID: model.RouterID(r.ID), RouterPlane: model.RouterPlane{Key: model.Key(0x71 + i), AdminStateUp: true,
			GatewayPort: model.PortID(r.Gateway), EnableSNAT: r.SNAT}}
		for _, w := range r.Routes {
			router.Routes = append(router.Routes, model.Route{Destination: netip.MustParsePrefix(w.To), NextHop: netip.MustParseAddr(w.Via)})
		}
		tables.Routers.Put(tx, router.ID, router)
		if _, err := alloc.PlaceGateway(tx, router.ID, nil); err != nil {
			panic(err)
		}
	}
	for i, v := range f.Floats {
		tables.FloatingIPs.Put(tx, model.FloatingIPID(v.ID), model.FloatingIP{ID: model.FloatingIPID(v.ID), FloatingIPPlane: model.FloatingIPPlane{
			Key: model.Key(0x81 + i), Network: model.NetworkID(v.Net), Addr: netip.MustParseAddr(v.IP), FloatPort: model.PortID(v.Holder),
			Port: model.PortID(v.Port), Fixed: netip.MustParseAddr(v.Fixed), Router: model.RouterID(v.Router)}})
	}
	for i, v := range f.Locals {
		p, _ := tables.Ports.Get(tx, model.PortID(v.Holder))
		l := model.LocalIP{ID: model.LocalIPID(v.ID), LocalIPPlane: model.LocalIPPlane{Key: model.Key(0x91 + i), Port: p.ID, Network: p.Network,
			Addr: netip.MustParseAddr(v.IP), Mode: v.Mode}}
		tables.LocalIPs.Put(tx, l.ID, l)
		for port, fixed := range v.Servers {
			a := model.LocalIPAssociation{LocalIPAssociationPlane: model.LocalIPAssociationPlane{LocalIP: l.ID, Port: model.PortID(port), Fixed: netip.MustParseAddr(fixed)}}
			tables.LocalIPAssociations.Put(tx, a.ID(), a)
		}
	}
	for _, v := range f.Neighbours {
		n := model.Neighbour{Network: model.NetworkID(v.Net), Addr: netip.MustParseAddr(v.IP), MAC: model.MustMAC(v.MAC)}
		tables.Neighbours.Put(tx, model.NeighbourKey(n.Network, n.Addr), n)
	}
}

func load(t *testing.T, text []byte) *store.Store {
	t.Helper()
	var f fixture
	if err := yaml.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	st := store.New(tables.Schema, nil)
	mustCommit(t, st, f.put)
	return st
}

func mustCommit(t testing.TB, st *store.Store, f func(*store.Txn)) {
	t.Helper()
	if _, err := st.Commit(context.Background(), store.Origin{}, func(tx *store.Txn) error { f(tx); return nil }); err != nil {
		t.Fatal(err)
	}
}
