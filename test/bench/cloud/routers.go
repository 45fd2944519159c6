// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"net/netip"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// What joins networks is not part of a Shape: it is put into the store of a cloud that is there, so that what it costs can be
// counted.

// Physical is the physical network of the external network External.
const (
	Physical = "ph"
	External = model.NetworkID("external")
)

const outside = model.SubnetID("external-4")

// Router, Leg and FloatingIP name routers, their interfaces by network, and floating IPs, by number.
func Router(r int) model.RouterID         { return model.RouterID(id(6, r, 0)) }
func Leg(r, n int) model.PortID           { return model.PortID(id(7, r, n)) }
func GatewayPort(r int) model.PortID      { return model.PortID(id(8, r, 0)) }
func FloatingIP(i int) model.FloatingIPID { return model.FloatingIPID(id(9, i, 0)) }

// key numbers what is not part of the shape; kinds keep apart the ports among it.
func (s Shape) key(kind, n int) model.Key { return model.Key(1<<22 | kind<<18 | n) }

// PutRouter writes a router that joins nothing yet.
func (s Shape) PutRouter(tx *store.Txn, r int) {
	tables.Routers.Put(tx, Router(r), model.Router{ID: Router(r), RouterPlane: model.RouterPlane{Key: model.Key(r + 1), AdminStateUp: true, EnableSNAT: true}})
}

// Join gives a router an interface in the n-th network: its subnet's first address.
func (s Shape) Join(tx *store.Txn, r, n int) {
	s.putRouterPort(tx, r, model.Port{ID: Leg(r, n), PortPlane: model.PortPlane{Key: s.key(0, n), Network: Network(n), MAC: mac(0xf0, n),
		DeviceOwner: model.OwnerRouterInterface, FixedIPs: []model.FixedIP{{Subnet: Subnet(n), Addr: s.address(n, 1)}}}})
}

// Leave takes back what Join did.
func (s Shape) Leave(tx *store.Txn, r, n int) { alloc.DeletePort(tx, Leg(r, n)) }

// PutExternal writes an external network of type flat that the nodes named map, and reports the interfaces by which their bridges
// reach it.
func (s Shape) PutExternal(tx *store.Txn, nodes ...int) {
	tables.Networks.Put(tx, External, model.Network{ID: External, NetworkPlane: model.NetworkPlane{
		Key: s.key(1, 0), Type: model.Flat, PhysicalNetwork: Physical, MTU: 1500, AdminStateUp: true, External: true}})
	cidr := netip.PrefixFrom(floating(0), 16)
	tables.Subnets.Put(tx, outside, model.Subnet{ID: outside, SubnetPlane: model.SubnetPlane{Key: s.key(1, 0), Network: External, CIDR: cidr, Gateway: cidr.Addr().Next()}})
	for _, n := range nodes {
		node, _ := tables.Nodes.Get(tx, Node(n))
		node.Mappings = map[string]string{Physical: "br-ex"}
		tables.Nodes.Put(tx, node.ID, node)
		s.putInterface(tx, model.Interface{Node: node.ID, Name: "patch-" + Physical, Type: "patch", OFPort: 60000})
	}
}

// SetGateway joins a router to the external network, by a node that maps it.
func (s Shape) SetGateway(tx *store.Txn, r int) {
	s.putRouterPort(tx, r, model.Port{ID: GatewayPort(r), PortPlane: model.PortPlane{Key: s.key(2, r), Network: External, MAC: mac(0xf1, r),
		DeviceOwner: model.OwnerRouterGateway, FixedIPs: []model.FixedIP{{Subnet: outside, Addr: floating(2 + r)}}}})
	router, _ := tables.Routers.Get(tx, Router(r))
	router.GatewayPort = GatewayPort(r)
	tables.Routers.Put(tx, router.ID, router)
	if _, err := alloc.PlaceGateway(tx, router.ID, nil); err != nil {
		panic(err) // a router that is there
	}
}

func (s Shape) putRouterPort(tx *store.Txn, r int, p model.Port) {
	p.DeviceID, p.AdminStateUp = string(Router(r)), true
	if err := alloc.PutPort(tx, p); err != nil {
		panic(err) // it takes no room on a node
	}
}

// PutFloatingIP writes the i-th floating IP, which stands for nobody.
func (s Shape) PutFloatingIP(tx *store.Txn, i int) {
	float := model.PortID(id(10, i, 0))
	if err := alloc.PutPort(tx, model.Port{ID: float, PortPlane: model.PortPlane{Key: s.key(3, i), Network: External, MAC: mac(0xf2, i), AdminStateUp: true,
		DeviceOwner: model.OwnerFloatingIP, FixedIPs: []model.FixedIP{{Subnet: outside, Addr: floating(1000 + i)}}}}); err != nil {
		panic(err) // nor does it
	}
	tables.FloatingIPs.Put(tx, FloatingIP(i), model.FloatingIP{ID: FloatingIP(i), FloatingIPPlane: model.FloatingIPPlane{
		Key: model.Key(i + 1), Network: External, Addr: floating(1000 + i), FloatPort: float}})
}

// Associate makes a floating IP stand for the p-th port of the n-th network, by a router.
func (s Shape) Associate(tx *store.Txn, i, r, n, p int) {
	f, _ := tables.FloatingIPs.Get(tx, FloatingIP(i))
	f.Port, f.Fixed, f.Router = Port(n, p), s.address(n, p+2), Router(r)
	tables.FloatingIPs.Put(tx, f.ID, f)
}

// Disassociate takes back what Associate did.
func (s Shape) Disassociate(tx *store.Txn, i int) {
	f, _ := tables.FloatingIPs.Get(tx, FloatingIP(i))
	f.Port, f.Fixed, f.Router = "", netip.Addr{}, ""
	tables.FloatingIPs.Put(tx, f.ID, f)
}

// floating is a host's address on the external network, 172.24.0.0/16.
func floating(n int) netip.Addr { return netip.AddrFrom4([4]byte{172, 24, byte(n >> 8), byte(n)}) }

func mac(kind byte, n int) model.MAC {
	return model.MAC{0xfa, 0x17, kind, byte(n >> 16), byte(n >> 8), byte(n)}
}

// Floated puts instances' floating IPs into a cloud of some networks and with one external network: a router with a gateway for
// each network, and the i-th instance, dealt round over the networks, has the i-th floating IP. The first one stands for nobody.
func (f *Follower) Floated() {
	f.Change(func(tx *store.Txn) {
		f.PutExternal(tx, 0)
		for n := range f.Networks {
			f.PutRouter(tx, n)
			f.Join(tx, n, n)
			f.SetGateway(tx, n)
		}
	})
	for first := 0; first < f.Instances(); first += batch {
		Commit(f.Store, func(tx *store.Txn) {
			for i := first; i < min(first+batch, f.Instances()); i++ {
				f.PutFloatingIP(tx, i)
				if i > 0 {
					f.Associate(tx, i, i%f.Networks, i%f.Networks, 1+i/f.Networks)
				}
			}
		})
	}
	f.Update()
}
