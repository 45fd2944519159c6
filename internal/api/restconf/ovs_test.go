// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/netvirt"
	"nagare/internal/ovstest"
	"nagare/internal/pipeline"
	"nagare/internal/southbound"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// newSite runs a hub for real switches under a server, and gives the port of OVSDB.
func newSite(t *testing.T) (*world, *southbound.Hub, int) {
	t.Helper()
	st := store.New(tables.Schema, nil)
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	db, of := listen(), listen()
	hub := southbound.New(southbound.Config{Store: st, Rules: netvirt.Classic(), Check: pipeline.Check, ControllerPort: of.Addr().(*net.TCPAddr).Port,
		Log: slog.New(slog.DiscardHandler), Timings: southbound.Timings{Audit: time.Hour, Grace: 2 * time.Second}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{}, 3)
	for _, f := range []func() error{
		func() error { return hub.Run(ctx) },
		func() error { return hub.Serve(ctx, db, hub.ServeOVSDB) },
		func() error { return hub.Serve(ctx, of, hub.ServeOpenFlow) },
	} {
		go func() {
			defer func() { done <- struct{}{} }()
			if err := f(); err != nil {
				t.Error(err)
			}
		}()
	}
	w := newWorldOn(t, st, func(c *Config) { c.Profile, c.Online = "classic", hub.Connected })
	t.Cleanup(func() {
		cancel()
		for range 3 {
			<-done
		}
	})
	return w, hub, db.Addr().(*net.TCPAddr).Port
}

// TestRealSwitch is H1, H4 and P3 on a real Open vSwitch: what an operator writes on the node is what Neutron reads, its
// changes are events, and a port's ACTIVE arrives when its flows are in the switch.
func TestRealSwitch(t *testing.T) {
	w, hub, dbPort := newSite(t)
	hosts := w.subscribe(hostsPath, "JSON", "")
	sw := ovstest.Start(t)
	set := func(pairs ...string) { sw.Vsctl(append([]string{"set", "Open_vSwitch", "."}, pairs...)...) }
	const key = "external_ids:odl_os_hostconfig_config_odl_l2"
	set("external_ids:hostname=fqdn.example", "external_ids:odl_os_hostconfig_hostid=compute1", "external_ids:ovn-bridge-datapath-type=dummy",
		"other_config:local_ip=192.168.0.11", key+`="{\"a\": 1}"`)
	sw.Vsctl("set-manager", fmt.Sprintf("tcp:127.0.0.1:%d", dbPort))

	const path = "/neutron:neutron/neutron:hostconfigs/neutron:hostconfig[neutron:host-id='compute1'][neutron:host-type='ODL L2']"
	event := func(op, config string) {
		t.Helper()
		want := op + " " + path
		if op != "deleted" {
			want += ` {"hostconfig":{"config":"` + config + `","host-id":"compute1","host-type":"ODL L2","xmlns":"urn:opendaylight:neutron"}}`
		}
		w.expect(hosts, want)
	}
	event("created", `{\"a\": 1}`)
	w.want(hostsURL+"/", 200, `{"hostconfigs":{"hostconfig":[{"host-id":"compute1","host-type":"ODL L2","config":"{\"a\": 1}"}]}}`)
	set(key + `="{\"a\": 2}"`)
	event("updated", `{\"a\": 2}`)
	sw.Vsctl("remove", "Open_vSwitch", ".", "external_ids", "odl_os_hostconfig_config_odl_l2")
	if got := w.happened(hosts, 1); !strings.HasPrefix(got[0], "updated "+path) || !strings.Contains(got[0], `\"host_addresses\":[\"192.168.0.11\"]`) {
		t.Errorf("the derived one takes the removed one's place: %s", got)
	}

	id := model.PortID("11111111-1111-1111-1111-111111111111")
	w.commit(func(tx *store.Txn) {
		tables.Networks.Put(tx, "net", model.Network{ID: "net", NetworkPlane: model.NetworkPlane{Type: model.VXLAN, SegmentationID: 77, AdminStateUp: true}})
		tables.Subnets.Put(tx, "sub", model.Subnet{ID: "sub", SubnetPlane: model.SubnetPlane{Network: "net", CIDR: netip.MustParsePrefix("10.0.0.0/24")}})
		p := port(id)
		p.Host, p.FixedIPs = "compute1", []model.FixedIP{{Subnet: "sub", Addr: netip.MustParseAddr("10.0.0.3")}}
		if err := alloc.PutPort(tx, p); err != nil {
			t.Fatal(err)
		}
	})
	statuses := w.subscribe(portsPath, "JSON", "?odl-leaf-nodes-only=true")
	sw.Vsctl("--may-exist", "add-br", "br-int", "--", "add-port", "br-int", id.TapName(), "--", "set", "Interface", id.TapName(), "type=dummy",
		"external_ids:iface-id="+string(id))
	mac := port(id).MAC.String()
	for {
		got := w.happened(statuses, 1)[0]
		if !strings.Contains(got, "ACTIVE") {
			continue
		}
		if flows := sw.Ofctl("dump-flows", "br-int"); !strings.Contains(flows, mac) { // asked as soon as it was told
			t.Errorf("%s before the switch has flows of it:\n%s", got, flows)
		}
		break
	}
	w.want("/restconf/operational/neutron:neutron/ports/port/"+string(id), 200, `{"port":[{"uuid":"`+string(id)+`","status":"ACTIVE"}]}`)
	if infos, err := hub.Nodes(t.Context()); err != nil || len(infos) != 1 || infos[0].Confirmed == 0 {
		t.Errorf("%+v %v", infos, err)
	}

	// A tunnel to another node is there as the switch has it.
	far := host("far", nil)
	far.Key, far.LocalIP, far.Approved = 99, netip.MustParseAddr("192.168.0.12"), false
	w.commit(putHost(far))
	const remote = `{"option":"remote_ip","value":"192.168.0.12"}`
	tunnel := "/restconf/operational/network-topology:network-topology/topology/ovsdb:1/node/" + url.PathEscape(nodePrefix+strings.TrimSpace(sw.Vsctl("get", "Open_vSwitch", ".", "_uuid"))+
		bridgeInfix+bridgeName) + "/termination-point/" + netvirt.TunnelName(far.LocalIP)
	w.poll("the tunnel is in the topology", func() bool { return strings.Contains(w.get(tunnel).body, remote) })

	// Silent: gone from the topology at once, and after the grace time from the list, which is told.
	const nodes = "/restconf/operational/network-topology:network-topology/topology/ovsdb:1/node"
	if a := w.get(nodes); a.code != 200 || !strings.Contains(a.body, "/bridge/br-int") || !strings.Contains(a.body, id.TapName()) {
		t.Errorf("topology: %d %s", a.code, a.body)
	}
	sw.Vsctl("del-manager")
	w.poll("the node has left the topology", func() bool { return w.get(nodes).code == 404 })
	if a := w.get(hostsURL); a.code != 200 {
		t.Errorf("at once: %d %s", a.code, a.body)
	}
	event("deleted", "")
	w.refused(w.get(hostsURL), 404, "data-missing")
}

// TestActiveAfterStatus: being bound and plugged is not enough; ACTIVE is told when it was committed as observed, which southbound does
// after the barrier, and not before.
func TestActiveAfterStatus(t *testing.T) {
	w := newWorld(t)
	c := w.subscribe(portsPath, "JSON", "?odl-leaf-nodes-only=true")
	p := port("p1")
	p.Host = ""
	w.putPort(p)
	w.putPort(port("p1")) // bound
	w.commit(func(tx *store.Txn) {
		putHost(host("h1", nil))(tx)
		tables.Interfaces.Put(tx, model.InterfaceKey("h1", "tap"), model.Interface{Node: "h1", Name: "tap", OFPort: 1, IfaceID: "p1"})
		tables.Plugs.Put(tx, model.PlugKey("h1", "p1"), model.Plug{Node: "h1", Port: "p1"})
	})
	w.putPort(port("p2")) // a mark in the stream
	for {
		got := w.happened(c, 1)[0]
		if strings.Contains(got, "ACTIVE") {
			t.Fatalf("%s before any status was written", got)
		}
		if strings.Contains(got, "'p2'") && strings.Contains(got, "DOWN") {
			break
		}
	}
	w.setStatus("p1", "ACTIVE")
	if got := w.happened(c, 1)[0]; !strings.Contains(got, "'p1'") || !strings.Contains(got, "ACTIVE") {
		t.Errorf("%s", got)
	}
}
