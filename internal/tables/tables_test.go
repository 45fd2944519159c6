// SPDX-License-Identifier: Apache-2.0

package tables

import (
	"context"
	"net/netip"
	"slices"
	"testing"

	"nagare/internal/model"
	"nagare/internal/store"
)

func commit(t *testing.T, st *store.Store, f func(*store.Txn)) store.Result {
	t.Helper()
	r, err := st.Commit(context.Background(), store.Origin{User: "test"}, func(tx *store.Txn) error { f(tx); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestLocated joins ports, plugs and networks in any order of arrival.
func TestLocated(t *testing.T) {
	port := model.Port{ID: "p1", PortPlane: model.PortPlane{Network: "n1", Host: "compute", AdminStateUp: true,
		FixedIPs: []model.FixedIP{{Subnet: "s1", Addr: netip.MustParseAddr("10.0.0.3")}}, DeviceOwner: "compute:nova"}}
	plug := model.Plug{Node: "compute", Port: "p1"}
	net := model.Network{ID: "n1", NetworkPlane: model.NetworkPlane{Type: model.VXLAN}}
	steps := map[string]func(*store.Txn){
		"port": func(tx *store.Txn) { Ports.Put(tx, "p1", port) },
		"plug": func(tx *store.Txn) { Plugs.Put(tx, model.PlugKey("compute", "p1"), plug) },
		"net":  func(tx *store.Txn) { Networks.Put(tx, "n1", net) },
	}
	for _, order := range [][]string{{"port", "plug", "net"}, {"net", "plug", "port"}, {"plug", "net", "port"}} {
		st := store.New(Schema, nil)
		for _, s := range order {
			commit(t, st, steps[s])
		}
		r := st.Snapshot()
		for name, got := range map[string][]string{
			"local":     slices.Collect(LocalPorts.Members(r, "compute")),
			"tunnelled": slices.Collect(TunnelledPorts.Members(r, All)),
			"netports":  slices.Collect(NetworkPorts.Members(r, NetNode("n1", "compute"))),
		} {
			if !slices.Equal(got, []string{"p1"}) {
				t.Errorf("order %v: %s = %v, want [p1]", order, name, got)
			}
		}
		commit(t, st, func(tx *store.Txn) { Plugs.Delete(tx, model.PlugKey("compute", "p1")) })
		if got := slices.Collect(TunnelledPorts.Members(st.Snapshot(), All)); len(got) != 0 {
			t.Errorf("after unplug: %v, want none", got)
		}
	}
}

// TestWrongNode shows that an iface-id on a node that is not the port's host changes nothing.
func TestWrongNode(t *testing.T) {
	st := store.New(Schema, nil)
	commit(t, st, func(tx *store.Txn) {
		Ports.Put(tx, "p1", model.Port{ID: "p1", PortPlane: model.PortPlane{Network: "n1", Host: "compute", AdminStateUp: true}})
		Plugs.Put(tx, model.PlugKey("evil", "p1"), model.Plug{Node: "evil", Port: "p1"})
	})
	if _, ok := Located(st.Snapshot(), "p1"); ok {
		t.Error("p1 is located although only another node reported it")
	}
}

// TestRenameTouchesNothing checks that a change outside the data plane wakes no dependents.
func TestRenameTouchesNothing(t *testing.T) {
	st := store.New(Schema, nil)
	n := model.Network{ID: "n1", NetworkPlane: model.NetworkPlane{Type: model.VXLAN}}
	commit(t, st, func(tx *store.Txn) { Networks.Put(tx, "n1", n) })
	w := st.Watch()
	defer w.Close()
	w.Take()
	n.Name = "new"
	commit(t, st, func(tx *store.Txn) { Networks.Put(tx, "n1", n) })
	_, ch, ok := w.Take()
	if !ok || len(ch.Records) != 1 || ch.Records[0].PlaneChanged {
		t.Fatalf("rename: changes %+v", ch)
	}
	tr := st.Snapshot().Track()
	Networks.Get(tr, "n1")
	tr.Reads(func(d store.Dep) {
		if _, hit := ch.Deps[d]; hit {
			t.Errorf("rename touched %v", d)
		}
	})
}
