// SPDX-License-Identifier: Apache-2.0

// Package cloud makes clouds of a given size in a store, for benchmarks and for tests of cost: nodes with a full mesh of
// numbered tunnels, tenants with a security group, networks with a subnet, ports that are bound and plugged.
//
// Invariants: everything is a function of its number, so two runs of a benchmark compile the same flows; a network's ports
// are spread over as many nodes as it has ports, which is the dearest placement. Port 0 of a network is its DHCP port, the
// others are instances. In the classic profile the DHCP port lives on a node as the others do; in the standard one the
// controller answers for it and it lives nowhere.
//
// Callers: the benchmarks and cost tests of internal/netvirt, and test/bench.
package cloud

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/netvirt"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// Shape is the size of a cloud.
type Shape struct {
	Nodes    int
	Networks int
	Ports    int  // per network, its DHCP port included
	Standard bool // the standard profile, with native DHCP; else classic

	GroupNetworks int  // networks that share a security group; 0: TenantNetworks
	MoreGroups    int  // groups of the next tenants that an instance wears besides its own
	Stateless     int  // every so many-th group is stateless; 0: none
	SameAddresses bool // tenants have the same addresses, as those who choose them themselves often do
}

// TenantNetworks is how many networks share a security group unless the shape says otherwise.
const TenantNetworks = 5

func (s Shape) groupNetworks() int {
	if s.GroupNetworks == 0 {
		return TenantNetworks
	}
	return s.GroupNetworks
}

// tenant is the number of the n-th network's tenant, of tenants.
func (s Shape) tenant(n int) int { return n / s.groupNetworks() }
func (s Shape) tenants() int     { return (s.Networks + s.groupNetworks() - 1) / s.groupNetworks() }

// Instances is how many ports are no DHCP ports.
func (s Shape) Instances() int { return s.Networks * (s.Ports - 1) }

// Members is how many instances wear the group of the first tenant.
func (s Shape) Members() int {
	return min(s.Networks, s.groupNetworks()*(1+s.MoreGroups)) * (s.Ports - 1)
}

// batch is how many objects one commit of Build holds.
const batch = 200

// Build commits a cloud. Of real nodes it leaves out what they report themselves: their records, interfaces and plugs.
func (s Shape) Build(st *store.Store, real ...int) {
	var puts []func(*store.Txn)
	for n := range s.Nodes {
		if !slices.Contains(real, n) {
			puts = append(puts, func(tx *store.Txn) { s.PutNode(tx, n) })
		}
	}
	for n := range s.Networks {
		if n%s.groupNetworks() == 0 {
			puts = append(puts, func(tx *store.Txn) { s.PutGroup(tx, s.tenant(n)) })
		}
	}
	for n := range s.Networks {
		puts = append(puts, func(tx *store.Txn) { s.PutNetwork(tx, n) })
		for p := range s.Ports {
			puts = append(puts, func(tx *store.Txn) { s.BindPort(tx, n, p) })
			if s.located(p) && !slices.Contains(real, s.Host(n, p)) {
				puts = append(puts, func(tx *store.Txn) { s.Plug(tx, n, p) })
			}
		}
	}
	for some := range slices.Chunk(puts, batch) {
		Commit(st, func(tx *store.Txn) {
			for _, put := range some {
				put(tx)
			}
		})
	}
}

// Commit runs a transaction that cannot be refused.
func Commit(st *store.Store, f func(*store.Txn)) {
	if _, err := st.Commit(context.Background(), store.Origin{User: "bench"}, func(tx *store.Txn) error { f(tx); return nil }); err != nil {
		panic(fmt.Sprintf("cloud: commit: %v", err))
	}
}

// Node is the n-th node's name.
func Node(n int) model.NodeID { return model.NodeID(fmt.Sprintf("node-%04d", n)) }

// VTEP is the n-th node's tunnel address.
func VTEP(n int) netip.Addr { return netip.AddrFrom4([4]byte{172, 16, byte(n / 250), byte(1 + n%250)}) }

// id makes the text form of a UUID of a kind and two numbers.
func id(kind, n, p int) string {
	return fmt.Sprintf("%08x-%04x-4000-8000-%012x", kind<<24|n, p, n<<16|p)
}

func Network(n int) model.NetworkID { return model.NetworkID(id(1, n, 0)) }
func Subnet(n int) model.SubnetID   { return model.SubnetID(id(2, n, 0)) }
func Port(n, p int) model.PortID    { return model.PortID(id(3, n, p)) }

// Group is the security group of a tenant.
func Group(tenant int) model.SecurityGroupID { return model.SecurityGroupID(id(4, tenant, 0)) }

// Host is the number of the node that the p-th port of the n-th network lives on.
func (s Shape) Host(n, p int) int { return (n + p*(s.Nodes/max(s.Ports, 1)+1)) % s.Nodes }

// PutNode writes a node and its tunnels' interfaces, numbered from 1.
func (s Shape) PutNode(tx *store.Txn, n int) {
	name := Node(n)
	tables.Nodes.Put(tx, name, model.Node{ID: name, Approved: true,
		NodePlane: model.NodePlane{Key: model.Key(n + 1), LocalIP: VTEP(n)}})
	number := uint32(0)
	for peer := range s.Nodes {
		if peer != n {
			number++
			s.putInterface(tx, model.Interface{Node: name, Name: netvirt.TunnelName(VTEP(peer)), Type: "vxlan", OFPort: number})
		}
	}
}

// PutNetwork writes a network and its subnet.
func (s Shape) PutNetwork(tx *store.Txn, n int) {
	tables.Networks.Put(tx, Network(n), model.Network{ID: Network(n), NetworkPlane: model.NetworkPlane{
		Key: model.Key(n + 1), Type: model.VXLAN, SegmentationID: uint32(n + 1), MTU: 1450, AdminStateUp: true}})
	tables.Subnets.Put(tx, Subnet(n), model.Subnet{ID: Subnet(n), SubnetPlane: model.SubnetPlane{
		Key: model.Key(n + 1), Network: Network(n), CIDR: netip.PrefixFrom(s.address(n, 0), 20), EnableDHCP: true}})
}

// PutGroup writes a tenant's group with the rules that Neutron gives a default group.
func (s Shape) PutGroup(tx *store.Txn, tenant int) {
	g := Group(tenant)
	stateful := s.Stateless == 0 || tenant%s.Stateless != s.Stateless-1
	tables.SecurityGroups.Put(tx, g, model.SecurityGroup{ID: g, SecurityGroupPlane: model.SecurityGroupPlane{Stateful: stateful}})
	for i, r := range []model.RulePlane{
		{Direction: model.Egress, Ethertype: model.EtherIPv4},
		{Direction: model.Egress, Ethertype: model.EtherIPv6},
		{Direction: model.Ingress, Ethertype: model.EtherIPv4, RemoteGroup: g},
		{Direction: model.Ingress, Ethertype: model.EtherIPv6, RemoteGroup: g},
	} {
		s.PutRule(tx, tenant, i, r)
	}
}

// PutRule writes the i-th rule of a tenant's group.
func (s Shape) PutRule(tx *store.Txn, tenant, i int, r model.RulePlane) {
	rule := model.SecurityGroupRuleID(id(5, tenant, i))
	r.Group, r.Key = Group(tenant), model.Key(tenant<<8|i+1)
	tables.Rules.Put(tx, rule, model.SecurityGroupRule{ID: rule, RulePlane: r})
}

// PutPort writes a port that is bound and plugged.
func (s Shape) PutPort(tx *store.Txn, n, p int) {
	s.BindPort(tx, n, p)
	s.Plug(tx, n, p)
}

// BindPort writes a port that is bound, if it lives anywhere, and not plugged yet.
func (s Shape) BindPort(tx *store.Txn, n, p int) {
	port := s.NewPort(n, p)
	if s.located(p) {
		port.Host = Node(s.Host(n, p))
	}
	if err := alloc.PutPort(tx, port); err != nil {
		panic(err) // more ports than a node has room for
	}
}

// located reports whether a network's p-th port lives on a node.
func (s Shape) located(p int) bool { return p > 0 || !s.Standard }

// stride separates the numbers of networks' ports, those of ports that are made later included.
func (s Shape) stride() int { return s.Ports + s.Nodes + 2 }

// NewPort is the p-th port of the n-th network, bound nowhere.
func (s Shape) NewPort(n, p int) model.Port {
	port := model.Port{ID: Port(n, p), PortPlane: model.PortPlane{Key: model.Key(n*s.stride() + p + 1), Network: Network(n), AdminStateUp: true,
		MAC:      model.MAC{0xfa, 0x16, byte(n >> 8), byte(n), byte(p >> 8), byte(p)},
		FixedIPs: []model.FixedIP{{Subnet: Subnet(n), Addr: s.address(n, p+2)}}}}
	if p == 0 {
		port.DeviceOwner = model.OwnerDHCP
		return port
	}
	port.DeviceOwner, port.PortSecurity = model.OwnerComputePrefix+"nova", true
	for i := range s.MoreGroups + 1 {
		port.SecurityGroups = append(port.SecurityGroups, Group((s.tenant(n)+i)%s.tenants()))
	}
	return port
}

// Plug writes what the port's node reports once its interface exists.
func (s Shape) Plug(tx *store.Txn, n, p int) {
	node, port := Node(s.Host(n, p)), Port(n, p)
	tables.Plugs.Put(tx, model.PlugKey(node, port), model.Plug{Node: node, Port: port})
	s.putInterface(tx, model.Interface{Node: node, Name: tap(port), OFPort: uint32(s.Nodes + n*s.stride() + p), IfaceID: port})
}

// DeletePort removes a port and its interface.
func (s Shape) DeletePort(tx *store.Txn, n, p int) {
	node, port := Node(s.Host(n, p)), Port(n, p)
	alloc.DeletePort(tx, port)
	tables.Plugs.Delete(tx, model.PlugKey(node, port))
	tables.Interfaces.Delete(tx, model.InterfaceKey(node, tap(port)))
}

// tap names a port's interface. Ports' own tap names begin alike here.
func tap(p model.PortID) string { return "tap" + string(p[len(p)-12:]) }

func (s Shape) putInterface(tx *store.Txn, i model.Interface) {
	tables.Interfaces.Put(tx, model.InterfaceKey(i.Node, i.Name), i)
}

// address is a host's in the n-th network. Networks have different addresses, unless tenants are to have the same ones.
func (s Shape) address(n, host int) netip.Addr {
	if s.SameAddresses {
		n %= s.groupNetworks()
	}
	return netip.AddrFrom4([4]byte{10, byte(n >> 4), byte(n<<4 | host>>8), byte(host)})
}
