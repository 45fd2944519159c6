// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"nagare/internal/alloc"
	"nagare/internal/identity"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// published is a configuration as a node has it, not in our own spelling of JSON.
const published = `{"allowed_network_types": ["vxlan"],  "datapath_type": "system"}`

const hostsURL = "/restconf/operational/neutron:neutron/hostconfigs"

// TestHostConfigs is H1 to H3: what networking-odl polls.
func TestHostConfigs(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{hostsURL, hostsURL + "/", hostsURL + "/hostconfig/h1/ODL%20L2", "/rests/data/neutron:neutron/hostconfigs"} {
		w.refused(w.get(path), 404, "data-missing") // H2
	}
	w.commit(putHost(host("h1", map[string]string{"ODL L2": published, "ODL L3": "{}"})))
	text := strings.ReplaceAll(published, `"`, `\"`)
	entry := `{"host-id":"h1","host-type":"ODL L2","config":"` + text + `"}`
	list := `{"hostconfig":[` + entry + `,{"host-id":"h1","host-type":"ODL L3","config":"{}"}]}`
	for _, path := range []string{hostsURL, hostsURL + "/", "/restconf/operational/neutron:neutron/neutron:hostconfigs"} {
		w.want(path, 200, `{"hostconfigs":`+list+`}`) // H1
	}
	w.want(hostsURL+"/hostconfig/h1/ODL%20L2", 200, `{"hostconfig":[`+entry+`]}`) // H3
	w.want(hostsURL+"/hostconfig/h1/ODL%20L2/config", 200, `{"config":"`+text+`"}`)
	w.want("/rests/data/neutron:neutron/hostconfigs", 200, `{"neutron:hostconfigs":`+list+`}`)
	w.want("/rests/data/neutron:neutron/hostconfigs/hostconfig=h1,ODL%20L2?content=nonconfig", 200, `{"neutron:hostconfig":[`+entry+`]}`)
	for _, path := range []string{hostsURL + "/hostconfig/h2/ODL%20L2", hostsURL + "/hostconfig/h1/ODL%20L9",
		"/rests/data/neutron:neutron/hostconfigs/hostconfig=h2,ODL%20L2", "/rests/data/neutron:neutron/hostconfigs?content=config",
		"/restconf/config/neutron:neutron/hostconfigs"} {
		w.refused(w.get(path), 404, "data-missing")
	}
	head := w.do("admin", "HEAD", hostsURL, "")
	if head.code != 200 || head.body != "" || head.header.Get("Content-Type") != "application/json" {
		t.Errorf("HEAD: %+v", head)
	}
}

// TestHostConfigOfLostNodes: nothing is bound to a node that is lost, not approved or forgotten.
func TestHostConfigOfLostNodes(t *testing.T) {
	w := newWorld(t)
	n := host("h1", map[string]string{"ODL L2": published})
	w.commit(putHost(n))
	w.want(hostsURL+"/hostconfig/h1/ODL%20L2/host-id", 200, `{"host-id":"h1"}`)
	n.Lost = time.Now()
	w.commit(putHost(n))
	w.refused(w.get(hostsURL), 404, "data-missing")
	n.Lost, n.Approved = time.Time{}, false
	w.commit(putHost(n))
	w.refused(w.get(hostsURL), 404, "data-missing")
}

// TestHostConfigVerbatim is H6: what is not JSON is the operator's to correct.
func TestHostConfigVerbatim(t *testing.T) {
	w := newWorld(t)
	w.commit(putHost(host("h1", map[string]string{"ODL L2": "{'not': \"JSON\"\n<&"})))
	w.want(hostsURL+"/hostconfig/h1/ODL%20L2/config", 200, `{"config":"{'not': \"JSON\"\n<&"}`)
}

// TestDerivedHostConfig: a node that published nothing for binding offers what the profile carries and the node has.
func TestDerivedHostConfig(t *testing.T) {
	for _, tt := range []struct {
		profile string
		change  func(*model.Node)
		types   []string
		address string
	}{
		{"standard", func(*model.Node) {}, []string{"local", "flat", "vlan", "vxlan", "gre", "geneve"}, "192.0.2.1"},
		{"standard", func(n *model.Node) { n.Mappings = nil }, []string{"local", "vxlan", "gre", "geneve"}, "192.0.2.1"},
		{"classic", func(*model.Node) {}, []string{"vxlan"}, "192.0.2.1"},
		{"classic", func(n *model.Node) { n.LocalIP = model.Node{}.LocalIP }, []string{"vxlan"}, "h1"},
	} {
		w := newWorld(t, func(c *Config) { c.Profile = tt.profile })
		n := host("h1", map[string]string{"ODL L3": "{}"})
		tt.change(&n)
		w.commit(putHost(n))
		a := w.get(hostsURL + "/hostconfig/h1/ODL%20L2/config")
		var got struct {
			Types    []string          `json:"allowed_network_types"`
			Mappings map[string]string `json:"bridge_mappings"`
			Datapath string            `json:"datapath_type"`
			VNICs    []struct {
				Kind    string `json:"vnic_type"`
				VIF     string `json:"vif_type"`
				Details struct {
					UUID   string   `json:"uuid"`
					Hosts  []string `json:"host_addresses"`
					Netdev bool     `json:"has_datapath_type_netdev"`
					User   *bool    `json:"support_vhost_user"`
				} `json:"vif_details"`
			} `json:"supported_vnic_types"`
		}
		text, _ := a.json["config"].(string)
		if err := json.Unmarshal([]byte(text), &got); err != nil || len(got.VNICs) != 1 {
			t.Fatalf("%s: %v: %d %s", tt.profile, err, a.code, a.body)
		}
		v := got.VNICs[0]
		if !slices.Equal(got.Types, tt.types) || len(got.Mappings) != len(n.Mappings) || got.Datapath != "netdev" || v.Kind != "normal" || v.VIF != "ovs" ||
			v.Details.UUID != n.OVSUUID || !slices.Equal(v.Details.Hosts, []string{tt.address}) || !v.Details.Netdev || v.Details.User == nil || *v.Details.User {
			t.Errorf("%s: %s", tt.profile, text)
		}
		w.want(hostsURL+"/hostconfig/h1/ODL%20L3/config", 200, `{"config":"{}"}`) // what it did publish stays
	}
}

// TestFeatures is H7. networking-odl starts at 200, 404 and 400 alone, and splits the name at its colon.
func TestFeatures(t *testing.T) {
	const path = "/restconf/operational/neutron:neutron/neutron:features/"
	on := newWorld(t)
	body := `[{"service-provider-feature":"neutron-extensions:operational-port-status","configuration":""}]`
	on.want(path, 200, `{"features":{"feature":`+body+`}}`)
	on.want(path+"feature/neutron-extensions:operational-port-status", 200, `{"feature":`+body+`}`)
	on.want("/rests/data/neutron:neutron/features", 200, `{"neutron:features":{"feature":`+body+`}}`)
	off := newWorld(t, func(c *Config) { c.PortStatus = false })
	off.refused(off.get(path), 404, "data-missing")
}

// TestPortStatus: the statuses that networking-odl reads when it connects, and X3.
func TestPortStatus(t *testing.T) {
	w := newWorld(t)
	const base = "/restconf/operational/neutron:neutron/ports/port/"
	for _, p := range []struct {
		id, owner, host, router string
		up                      bool
		status, want            string
	}{
		{"bound", "compute:nova", "h1", "", true, "ACTIVE", "ACTIVE"},
		{"waiting", "compute:nova", "h1", "", true, "", "DOWN"},
		{"unbound", "compute:nova", "", "", true, "ACTIVE", "DOWN"}, // a status that was observed of an earlier binding
		{"dhcp", "network:dhcp", "", "", true, "", "ACTIVE"},        // the controller answers
		{"agents", "network:dhcp", "h1", "", true, "", "DOWN"},
		{"interface", "network:router_interface", "", "r1", true, "", "ACTIVE"},
		{"off", "network:router_interface", "", "r1", false, "", "DOWN"},
		{"gateway", "network:router_gateway", "", "r1", true, "", "DOWN"},
		{"gateway2", "network:router_gateway", "", "r1", true, "ACTIVE", "ACTIVE"},
		{"floating", "network:floatingip", "", "", true, "", "ACTIVE"},
		{"error", "compute:nova", "h1", "", true, "ERROR", "ERROR"},
	} {
		p.id = testID(p.id)
		w.commit(func(tx *store.Txn) {
			q := port(model.PortID(p.id))
			q.DeviceOwner, q.Host, q.DeviceID, q.AdminStateUp = p.owner, model.NodeID(p.host), p.router, p.up
			if err := alloc.PutPort(tx, q); err != nil {
				t.Fatal(err)
			}
			if p.status != "" {
				status(q.ID, p.status)(tx)
			}
		})
		w.want(base+p.id, 200, `{"port":[{"uuid":"`+p.id+`","status":"`+p.want+`"}]}`)
	}
	w.commit(func(tx *store.Txn) { // a floating IP's status is no port's
		id := testID("fip")
		tables.FloatingIPs.Put(tx, model.FloatingIPID(id), model.FloatingIP{ID: model.FloatingIPID(id)})
		status(model.PortID(id), "ACTIVE")(tx)
	})
	w.refused(w.get(base+testID("fip")), 404, "data-missing")
	w.refused(w.get(base+testID("nosuch")), 404, "data-missing")
	w.refused(w.get(base+"nosuch"), 400, "invalid-value")
	w.refused(w.get("/rests/data/neutron:neutron/ports/port="+testID("nosuch")), 404, "data-missing")
	w.want("/rests/data/neutron:neutron/ports/port="+testID("bound")+"/status?content=nonconfig", 200, `{"neutron:status":"ACTIVE"}`)
	if list := w.get("/restconf/operational/neutron:neutron/neutron:ports"); len(list.json["ports"].(map[string]any)["port"].([]any)) != 11 {
		t.Errorf("ports: %s", list.body)
	}
}

// TestPortStatusWithoutDHCP: a DHCP port that is on no node is nobody's while the controller does not answer DHCP.
func TestPortStatusWithoutDHCP(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.NativeDHCP = false })
	w.commit(func(tx *store.Txn) {
		p := port(model.PortID(testID("dhcp")))
		p.DeviceOwner, p.AdminStateUp = "network:dhcp", true
		if err := alloc.PutPort(tx, p); err != nil {
			t.Fatal(err)
		}
	})
	w.want("/restconf/operational/neutron:neutron/ports/port/"+testID("dhcp"), 200, `{"port":[{"uuid":"`+testID("dhcp")+`","status":"DOWN"}]}`)
}

// testID is an id made from a word.
func testID(word string) string { return uuid.NewSHA1(uuid.Nil, []byte(word)).String() }

// TestUnknown is X4 as far as there is something to know: each error in its dialect's form.
func TestUnknown(t *testing.T) {
	w := newWorld(t)
	w.commit(putHost(host("h1", nil)))
	for path, tag := range map[string]string{
		"/restconf/operational/nosuch:module":                                        "unknown-element",
		"/restconf/operational/neutron":                                              "unknown-element", // a module is named at the top
		"/restconf/operational/neutron:neutron/firewalls":                            "unknown-element",
		"/restconf/operational/neutron:neutron/hostconfigs/nosuch":                   "unknown-element",
		"/restconf/operational/neutron:neutron/hostconfigs/hostconfig/h1":            "invalid-value",
		"/restconf/operational/neutron:neutron/hostconfigs/hostconfig/h1/ODL%20L2/x": "unknown-element",
		"/restconf/operational/neutron:neutron//hostconfigs":                         "malformed-message",
		"/restconf/modules/module":                                                   "unknown-element",
		"/restconf":                                                                  "unknown-element",
		"/rests/data/neutron:neutron/hostconfigs/hostconfig=h1":                      "invalid-value",
		"/rests/data/neutron:neutron/hostconfigs=h1":                                 "invalid-value",
		"/rests/data/neutron:neutron/hostconfigs?content=everything":                 "invalid-value",
		"/rests/data/neutron:neutron/hostconfigs/hostconfig=h1,a,b/host-id":          "invalid-value",
		"/rests/nosuch": "unknown-element",
	} {
		a := w.get(path)
		w.refused(a, 400, tag)
		if _, own := a.json["ietf-restconf:errors"]; own != strings.HasPrefix(path, "/rests") {
			t.Errorf("%s: %s", path, a.body)
		}
	}
	for _, method := range []string{"PUT", "POST", "DELETE", "PATCH"} { // X6
		a := w.do("admin", method, hostsURL, "{}")
		w.refused(a, 405, "operation-not-supported")
		if a.header.Get("Allow") != "GET, HEAD, OPTIONS" {
			t.Errorf("%s: Allow %q", method, a.header.Get("Allow"))
		}
	}
}

// TestMediaTypes: each dialect's own types, and no answer in a form that the client does not take.
func TestMediaTypes(t *testing.T) {
	w := newWorld(t)
	const topology = "/operational/network-topology:network-topology"
	for _, tt := range []struct{ path, accept, want string }{
		{"/restconf" + topology, "", "application/json"},
		{"/restconf" + topology, "text/html, */*;q=0.5", "application/json"},
		{"/restconf" + topology, "application/xml", "application/xml"},
		{"/rests/data/network-topology:network-topology", "application/yang-data+xml", "application/yang-data+xml"},
		{"/restconf" + topology, "application/yang.data+json", "application/yang.data+json"},
		{"/rests/data/network-topology:network-topology", "", "application/yang-data+json"},
		{"/rests/data/network-topology:network-topology", "application/json", "application/json"},
	} {
		if a := w.do("admin", "GET", tt.path, "", "Accept", tt.accept); a.code != 200 && tt.accept != "" || a.header.Get("Content-Type") != tt.want && tt.accept != "" {
			t.Errorf("%s of %s: %d %s", tt.accept, tt.path, a.code, a.header)
		}
	}
	w.refused(w.do("admin", "GET", "/restconf"+topology, "", "Accept", "text/html"), 406, "invalid-value")
}

// TestAuthentication is A1, A2 and A3 for every kind of path.
func TestAuthentication(t *testing.T) {
	w := newWorld(t)
	w.commit(putHost(host("h1", nil)))
	for _, path := range []string{hostsURL, "/rests/data/neutron:neutron/hostconfigs", "/restconf/streams/stream/x", "/restconf/nosuch",
		"/restconf/operational/network-topology:network-topology/topology/netvirt:1"} {
		for _, user := range []string{"", "nosuch", "locked", "unlucky", "tenant", "domain"} {
			a := w.do(user, "GET", path, "")
			switch user {
			case "locked":
				w.refused(a, 429, "access-denied")
				if a.header.Get("Retry-After") != "2" {
					t.Errorf("locked: %v", a.header)
				}
			case "unlucky":
				w.refused(a, 503, "resource-denied")
			case "tenant", "domain":
				w.refused(a, 403, "access-denied")
			default:
				w.refused(a, 401, "access-denied")
				if a.header.Get("WWW-Authenticate") != identity.Challenge {
					t.Errorf("%q: %v", user, a.header)
				}
			}
		}
	}
	for _, user := range []string{"admin", "nova", "viewer"} {
		if a := w.do(user, "GET", hostsURL, ""); a.code != 200 {
			t.Errorf("%s: %d %s", user, a.code, a.body)
		}
	}
	w.refused(w.do("", "POST", rpc, rpcBody(portsPath, "JSON")), 401, "access-denied")
	w.ready.Store(false)
	for _, path := range []string{hostsURL, "/rests/data/neutron:neutron/hostconfigs", "/restconf/streams/stream/x", "/restconf/nosuch", "/restconf//",
		"/restconf/operational/neutron:neutron/neutron:features/"} {
		a := w.get(path)
		w.refused(a, 503, "resource-denied")
		if a.header.Get("Retry-After") == "" {
			t.Errorf("%s: %v", path, a.header)
		}
	}
	w.refused(w.do("admin", "POST", rpc, "nonsense"), 503, "resource-denied") // 400 would stop the client for good
}

// TestTopology: what DevStack waits for, and what the old binding of ports reads.
func TestTopology(t *testing.T) {
	online := map[model.NodeID]bool{"h1": true}
	w := newWorld(t, func(c *Config) { c.Online = func(n model.NodeID) bool { return online[n] } })
	const base = "/restconf/operational/network-topology:network-topology"
	w.want(base+"/topology/netvirt:1", 200, `{"topology":[{"topology-id":"netvirt:1"}]}`)
	if a := w.do("admin", "HEAD", base+"/topology/netvirt:1", ""); a.code != 200 || a.body != "" {
		t.Errorf("HEAD: %+v", a)
	}
	w.want(base, 200, `{"network-topology":{"topology":[{"topology-id":"netvirt:1"},{"topology-id":"ovsdb:1"}]}}`)
	w.refused(w.get(base+"/topology/flow:1"), 404, "data-missing")
	w.refused(w.get(base+"/topology/ovsdb:1/node"), 404, "data-missing")

	n, silent := host("h1", nil), host("h22", nil)
	w.commit(func(tx *store.Txn) {
		putHost(n)(tx)
		putHost(silent)(tx)
		tables.Interfaces.Put(tx, model.InterfaceKey("h1", "tap1"), model.Interface{Node: "h1", Name: "tap1", OFPort: 3, IfaceID: "p1", Type: "tap"})
		tables.Interfaces.Put(tx, model.InterfaceKey("h1", "vxlan-192.0.2.2"), model.Interface{Node: "h1", Name: "vxlan-192.0.2.2", OFPort: 4, Type: "vxlan",
			Options: model.InterfaceOptions{Key: "flow", Local: "192.0.2.1", Remote: "192.0.2.2"}})
		tables.Interfaces.Put(tx, model.InterfaceKey("h1", "patch1"), model.Interface{Node: "h1", Name: "patch1", Type: "patch", Options: model.InterfaceOptions{Peer: "patch2"}})
	})
	type topology struct {
		Top struct {
			List []struct {
				ID    string `json:"topology-id"`
				Nodes []struct {
					ID         string `json:"node-id"`
					Connection struct {
						Remote string `json:"remote-ip"`
					} `json:"ovsdb:connection-info"`
					Interfaces []struct {
						Type string `json:"interface-type"`
					} `json:"ovsdb:interface-type-entry"`
					Datapath string `json:"ovsdb:datapath-type"`
				} `json:"node"`
			} `json:"topology"`
		} `json:"network-topology"`
	}
	var got topology
	if err := json.Unmarshal([]byte(w.get(base+"/").body), &got); err != nil || len(got.Top.List) != 2 || len(got.Top.List[1].Nodes) != 2 {
		t.Fatalf("%v %+v", err, got)
	}
	m, b := got.Top.List[1].Nodes[0], got.Top.List[1].Nodes[1]
	if m.ID != "ovsdb://uuid/"+n.OVSUUID || m.Connection.Remote != n.Source || len(m.Interfaces) == 0 ||
		b.ID != m.ID+"/bridge/br-int" || b.Datapath != "ovsdb:datapath-type-netdev" {
		t.Errorf("nodes %+v %+v", m, b)
	}

	// X8: the keys as clients spell them.
	bridge := "ovsdb:%2F%2Fuuid%2F" + n.OVSUUID + "%2Fbridge%2Fbr-int"
	for _, path := range []string{base + "/topology/ovsdb:1/node/" + bridge, base + "/topology/ovsdb%3A1/node/" + strings.ReplaceAll(bridge, ":", "%3A"),
		base + "/network-topology:topology/ovsdb:1/network-topology:node/" + bridge} {
		if a := w.get(path + "/"); a.code != 200 {
			t.Errorf("%s: %d %s", path, a.code, a.body)
		}
		w.want(path+"/datapath-type", 200, `{"datapath-type":"ovsdb:datapath-type-netdev"}`)
		w.want(path+"/ovsdb:datapath-id", 200, `{"datapath-id":"00:00:6e:61:00:00:00:01"}`)
		w.want(path+"/termination-point/tap1/ovsdb:ofport", 200, `{"ofport":3}`)
	}
	rfc := "/rests/data/network-topology:network-topology/topology=ovsdb%3A1/node="
	w.want(rfc+bridge+"/termination-point=tap1/ofport", 200, `{"ovsdb:ofport":3}`)
	w.want(rfc+bridge+"/termination-point=tap1/tp-id", 200, `{"network-topology:tp-id":"tap1"}`)
	w.want(rfc+bridge+"/termination-point=vxlan-192.0.2.2?fields=ovsdb:options", 200, `{"network-topology:termination-point":[{"tp-id":"vxlan-192.0.2.2","ovsdb:options":[`+
		`{"option":"key","value":"flow"},{"option":"local_ip","value":"192.0.2.1"},{"option":"remote_ip","value":"192.0.2.2"}]}]}`)
	w.want(rfc+bridge+"/termination-point=patch1/options=peer/value", 200, `{"ovsdb:value":"patch2"}`)
	w.refused(w.get(rfc+bridge+"/termination-point=tap1/options"), 404, "data-missing")
	manager := "ovsdb:%2F%2Fuuid%2F" + n.OVSUUID
	w.want(rfc+manager+"/ovsdb:connection-info/remote-ip", 200, `{"ovsdb:remote-ip":"`+n.Source+`"}`)
	for _, path := range []string{bridge + "/termination-point=nosuch", manager + "/termination-point=tap1", "ovsdb:%2F%2Fuuid%2F" + silent.OVSUUID,
		"ovsdb:%2F%2Fuuid%2F", bridge + "x", "nosuch"} {
		w.refused(w.get(rfc+path), 404, "data-missing")
	}
}

// TestHostMeta: where clients of RFC 8040 look first.
func TestHostMeta(t *testing.T) {
	w := newWorld(t)
	if a := w.do("", "GET", "/.well-known/host-meta", ""); a.code != 200 || !strings.Contains(a.body, "href='/rests'") {
		t.Errorf("%d %s", a.code, a.body)
	}
	for path, want := range map[string]bool{"/restconf": true, "/restconf/x": true, "/rests/data": true, "/restconfx": false, "/": false, "/v2.0": false,
		"/.well-known/host-meta": true, "/data-change-event-subscription/neutron:neutron": true} {
		if Serves(path) != want {
			t.Errorf("Serves(%s) = %v", path, !want)
		}
	}
}
