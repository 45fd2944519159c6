// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"slices"
	"testing"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// TestNativeDHCP follows a network's DHCP port from one way of DHCP to the other and back, as a server does that starts anew.
func TestNativeDHCP(t *testing.T) {
	native := func(c *Config) { c.NativeDHCP, c.DHCPServerHost = true, "controller" }
	w := newWorld(t, native)
	w.node("network-1", "", map[string]string{"physnet1": "br-ex"})
	net := w.network("demo", `"name":"n"`)
	w.subnet("demo", net, "10.1.0.0/24", "")
	const device = "dhcpd3377d3c-a0d1-5d71-9947-f17125c357bb-"
	dhcp := func() (out model.Port) {
		t.Helper()
		for p := range tables.DHCPPortsByNetwork.By(w.st.Snapshot(), net) {
			out = p
		}
		return out
	}
	status := func() any {
		t.Helper()
		return dig(w.do("admin", "GET", "/v2.0/ports/"+string(dhcp().ID), "", 200), "port", "status")
	}
	first := dhcp()
	if first.Host != "" || first.DeviceID != device+net || status() != "ACTIVE" {
		t.Fatalf("native: %+v %v", first, status())
	}
	if err := w.api.PlaceDHCPPorts(t.Context()); err != nil || dhcp().Host != "" {
		t.Errorf("native, but placed on %q, %v", dhcp().Host, err)
	}
	w.do("admin", "PUT", "/v2.0/ports/"+string(first.ID), `{"port":{"admin_state_up":false}}`, 200)
	if status() != "DOWN" {
		t.Errorf("switched off, but %v", status())
	}
	w.do("admin", "PUT", "/v2.0/ports/"+string(first.ID), `{"port":{"admin_state_up":true}}`, 200)

	restart := func(change ...func(*Config)) {
		t.Helper()
		cfg := Config{Store: w.st, Auth: tokens{}}
		for _, f := range change {
			f(&cfg)
		}
		w.api = New(cfg)
		for range 2 { // the second finds nothing to do
			if err := w.api.SettleDHCP(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if p := dhcp(); p.MAC != first.MAC || !slices.Equal(p.FixedIPs, first.FixedIPs) || p.Key != first.Key {
			t.Errorf("clients would lose their server: %+v", p)
		}
	}
	slots := func() (n int) {
		for _, s := range tables.Slots.All(w.st.Snapshot()) {
			if s.Used() {
				n++
			}
		}
		return n
	}
	observedActive := func() {
		t.Helper()
		if _, err := w.st.Commit(t.Context(), store.Origin{}, func(tx *store.Txn) error {
			tables.Statuses.Put(tx, first.ID, model.PortStatus{Port: first.ID, Status: model.StatusActive})
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	observedActive()
	restart()
	if p := dhcp(); p.Host != "network-1" || p.DeviceID != dhcpDevice("network-1", model.NetworkID(net)) || status() != "DOWN" || slots() != 1 {
		t.Errorf("port: %+v %v, %d slots", p, status(), slots())
	}
	observedActive()
	restart(native)
	if p := dhcp(); p.Host != "" || p.DeviceID != device+net || status() != "ACTIVE" || slots() != 0 {
		t.Errorf("native again: %+v %v, %d slots", p, status(), slots())
	}
	// A port that never found a node is the server's too.
	if _, err := w.st.Commit(t.Context(), store.Origin{}, func(tx *store.Txn) error {
		p := dhcp()
		p.DeviceID = unplacedDevice
		return alloc.PutPort(tx, p)
	}); err != nil {
		t.Fatal(err)
	}
	restart(native)
	if p := dhcp(); p.DeviceID != device+net {
		t.Errorf("unplaced, then native: %+v", p)
	}
	// Without a node to go to it waits for one, and is nobody's meanwhile.
	if _, err := w.st.Commit(t.Context(), store.Origin{}, func(tx *store.Txn) error { tables.Nodes.Delete(tx, "network-1"); return nil }); err != nil {
		t.Fatal(err)
	}
	restart()
	if p := dhcp(); p.Host != "" || p.DeviceID != unplacedDevice || status() != "DOWN" {
		t.Errorf("port without a node: %+v %v", p, status())
	}
}

// TestSettleDHCPOfMany: more ports than one transaction takes.
func TestSettleDHCPOfMany(t *testing.T) {
	st, err := store.Open(t.Context(), tables.Schema, store.Options{Log: store.NewMemory(store.Limits{Ops: 20, Bytes: 1 << 20}).Log()})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	w := &world{t: t, st: st}
	const ports = 50
	for i := range ports {
		if _, err := w.st.Commit(t.Context(), store.Origin{}, func(tx *store.Txn) error {
			n := model.NetworkID(fmt.Sprintf("net%d", i))
			return alloc.PutPort(tx, model.Port{ID: model.PortID(fmt.Sprintf("port%d", i)), DeviceID: dhcpDevice("c", n),
				PortPlane: model.PortPlane{Network: n, DeviceOwner: model.OwnerDHCP, Host: "c"}})
		}); err != nil {
			t.Fatal(err)
		}
	}
	w.api = New(Config{Store: w.st, Auth: tokens{}, NativeDHCP: true, DHCPServerHost: "controller"})
	if err := w.api.SettleDHCP(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, p := range tables.Ports.All(w.st.Snapshot()) {
		if p.Host != "" {
			t.Errorf("port %s is still on %s", p.ID, p.Host)
		}
	}
}
