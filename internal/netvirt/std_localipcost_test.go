// SPDX-License-Identifier: Apache-2.0

package netvirt_test

import (
	"net/netip"
	"testing"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/test/bench/cloud"
)

// TestLocalIPCostIsFlat has an instance serve a local IP in clouds of 60 and of 10,000 instances: one unit runs and the flows of its node
// change, however many neighbours and other servers there are.
func TestLocalIPCostIsFlat(t *testing.T) {
	for _, s := range servedShapes {
		f := s.Follow()
		var net model.NetworkID
		server := func(tx *store.Txn, i int) model.Port {
			for _, p := range tables.Ports.All(tx) {
				if p.IsCompute() && p.Host == cloud.Node(i) && (net == "" || p.Network == net) {
					return p
				}
			}
			t.Fatal("no instance")
			return model.Port{}
		}
		serve := func(tx *store.Txn, i int) model.LocalIPAssociation {
			p := server(tx, i)
			return model.LocalIPAssociation{LocalIPAssociationPlane: model.LocalIPAssociationPlane{LocalIP: "l", Port: p.ID, Fixed: p.FixedIPs[0].Addr}}
		}
		made := f.Change(func(tx *store.Txn) {
			net = server(tx, 0).Network
			h := model.Port{ID: "holder", PortPlane: model.PortPlane{Key: 1 << 20, Network: net, MAC: model.MAC{2, 9, 9, 9, 9, 9}, AdminStateUp: true, DeviceOwner: model.OwnerLocalIP,
				FixedIPs: []model.FixedIP{{Addr: netip.MustParseAddr("10.255.255.200")}}}}
			if err := alloc.PutPort(tx, h); err != nil {
				t.Fatal(err)
			}
			tables.LocalIPs.Put(tx, "l", model.LocalIP{ID: "l", LocalIPPlane: model.LocalIPPlane{Key: 1, Port: h.ID, Network: net, Addr: h.FixedIPs[0].Addr, Mode: model.LocalIPTranslate}})
		})
		if made.Flows != 0 || made.Units != 0 {
			t.Errorf("%d instances: a local IP that nobody serves runs %d units and changes %d flows", f.Instances(), made.Units, made.Flows)
		}
		for i := range 2 { // the second must not be dearer than the first
			on := string(cloud.Node(i))
			costs := []cloud.Cost{f.Change(func(tx *store.Txn) { a := serve(tx, i); tables.LocalIPAssociations.Put(tx, a.ID(), a) }),
				f.Change(func(tx *store.Txn) { a := serve(tx, i); tables.LocalIPAssociations.Delete(tx, a.ID()) }),
				f.Change(func(tx *store.Txn) { a := serve(tx, i); tables.LocalIPAssociations.Put(tx, a.ID(), a) })}
			for k, c := range costs {
				if c.Units > 1 || c.Flows != 6 || c.Groups != 0 || len(c.PerNode) != 1 || c.PerNode[on] != 6 {
					t.Errorf("%d instances: change %d of server %d runs %d units and changes %d flows %v, want at most 1 and 6 on %s", f.Instances(), k, i, c.Units, c.Flows, c.PerNode, on)
				}
			}
		}
	}
}

// servedShapes are clouds of 60 and of 10,000 instances, in which networks are on several nodes.
var servedShapes = []cloud.Shape{{Nodes: 3, Networks: 10, Ports: 6, Standard: true}, {Nodes: 3, Networks: 10, Ports: 1000, Standard: true}}
