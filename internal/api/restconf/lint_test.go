// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// TestBodiesByYanglint: libyang, which nobody here wrote, finds what is answered in JSON and XML valid by the modules.
func TestBodiesByYanglint(t *testing.T) {
	w := cloudWorld(t)
	for path, body := range map[string]string{
		"networks/network=" + netID: netBody("n"),
		"subnets/subnet=" + subID: `{"neutron:subnet":[{"uuid":"` + subID + `","network-id":"` + netID + `","ip-version":"neutron-constants:ip-version-v4","cidr":"10.0.0.0/24","gateway-ip":"10.0.0.1",
			"allocation-pools":[{"start":"10.0.0.2","end":"10.0.0.9"}],"host-routes":[{"destination":"10.9.0.0/16","nexthop":"10.0.0.5"}],"dns-nameservers":["10.0.0.3"]}]}`,
		"ports/port=" + portID: `{"neutron:port":[{"uuid":"` + portID + `","network-id":"` + netID + `","mac-address":"fa:16:3e:00:00:01","device-owner":"compute:nova","fixed-ips":[{"subnet-id":"` + subID + `","ip-address":"10.0.0.4"}],
			"security-groups":["` + groupID + `"],"allowed-address-pairs":[{"mac-address":"fa:16:3e:00:00:02","ip-address":"10.0.0.0/28"}],"extra-dhcp-opts":[{"opt-name":"mtu","ip-version":"neutron-constants:ip-version-v4","opt-value":"1400"}],
			"neutron-binding:host-id":"h1","neutron-binding:vnic-type":"normal","neutron-binding:vif-details":[{"details-key":"port_filter","value":"true"}],"neutron-portsecurity:port-security-enabled":true}]}`,
		"security-groups/security-group=" + groupID: `{"neutron:security-group":[{"uuid":"` + groupID + `","name":"g","project-id":"p1"}]}`,
		"security-rules/security-rule=" + testID("rule"): `{"neutron:security-rule":[{"uuid":"` + testID("rule") + `","security-group-id":"` + groupID + `","direction":"neutron-constants:direction-ingress",
			"ethertype":"neutron-constants:ethertype-v4","protocol":"neutron-constants:protocol-tcp","port-range-min":22,"port-range-max":22}]}`,
		"routers/router=" + testID("router"): `{"neutron:router":[{"uuid":"` + testID("router") + `","name":"r","routes":[{"destination":"10.8.0.0/16","nexthop":"10.0.0.9"}],"external_gateway_info":{"external-network-id":"` + netID + `","enable-snat":true}}]}`,
		"qos-policies/qos-policy=" + testID("qos"): `{"neutron:qos-policy":[{"uuid":"` + testID("qos") + `","bandwidth-limit-rules":[{"uuid":"` + testID("limit") + `","max-kbps":"1000","direction":"neutron-constants:direction-egress"}],
			"dscpmarking-rules":[{"uuid":"` + testID("mark") + `","dscp-mark":26}]}]}`,
	} {
		w.send("PUT", newConfig+path, body, 201)
	}
	w.commit(func(tx *store.Txn) {
		putHost(host("h1", map[string]string{"ODL L2": published}))(tx)
		tables.Interfaces.Put(tx, model.InterfaceKey("h1", "tap1"), model.Interface{Node: "h1", Name: "tap1", OFPort: 3, IfaceID: "p1", Type: "tap", MAC: "fa:16:3e:00:00:01"})
		tables.Interfaces.Put(tx, model.InterfaceKey("h1", "vxlan-192.0.2.2"), model.Interface{Node: "h1", Name: "vxlan-192.0.2.2", OFPort: 4, Type: "vxlan",
			Options: model.InterfaceOptions{Key: "flow", Local: "192.0.2.1", Remote: "192.0.2.2"}})
		status(modelPort(portID), "ACTIVE")(tx)
	})
	for _, root := range []string{"neutron:neutron", "network-topology:network-topology", "ietf-yang-library:yang-library", "ietf-yang-library:modules-state",
		"ietf-restconf-monitoring:restconf-state"} {
		if root != "neutron:neutron" {
			w.refused(w.get("/rests/data/"+root+"?content=config"), 404, "data-missing")
			w.lint(root, "nonconfig", "all")
			continue
		}
		w.lint(root, "config", "nonconfig", "all")
	}
	w.lint("", "config", "nonconfig", "all")
}

// TestSwitchesByYanglint: the same of what is asked of switches.
func TestSwitchesByYanglint(t *testing.T) {
	w, s, _ := switchWorld(t)
	far := host("h3", nil)
	far.Key, far.OVSUUID = 3, "y"
	w.commit(putHost(far))
	s.connected["h3"] = true
	s.links = []Link{{"h1", "h3", 3, 5}, {"h3", "h1", 5, 3}}
	w.lint("opendaylight-inventory:nodes", "nonconfig", "all")
	w.lint("network-topology:network-topology", "nonconfig", "all")
	w.lint("", "nonconfig", "all")
}

// lint has libyang judge what is answered for a root, in JSON and XML; "" is the whole data store, of which it takes what is in it.
func (w *world) lint(root string, contents ...string) {
	w.t.Helper()
	modules, err := filepath.Glob("../../yang/modules/*.yang")
	if err != nil || len(modules) == 0 {
		w.t.Fatal(err)
	}
	for _, content := range contents {
		for ext, accept := range map[string]string{"json": "application/yang-data+json", "xml": "application/yang-data+xml"} {
			a := w.do("admin", "GET", strings.TrimSuffix("/rests/data/"+root, "/")+"?content="+content, "", "Accept", accept)
			if root == "" {
				a.body = inside(a.body)
			}
			file := filepath.Join(w.t.TempDir(), "data."+ext)
			if err := os.WriteFile(file, []byte(a.body), 0o600); err != nil || a.code != 200 {
				w.t.Fatalf("%v %d %s", err, a.code, a.body)
			}
			kind := map[string]string{"config": "config", "nonconfig": "get", "all": "get"}[content]
			out, err := exec.Command("yanglint", append([]string{"-p", "../../yang/modules", "-t", kind}, append(modules, file)...)...).CombinedOutput()
			if err != nil || len(out) > 0 {
				w.t.Errorf("%s, %s, %s: %v\n%s\n%s", root, content, ext, err, out, a.body)
			}
		}
	}
}

// inside takes the data resource of the protocol, which no module has, from around a whole data store.
func inside(body string) string {
	for open, end := range map[string]string{`{"ietf-restconf:data":`: "}", `<data xmlns="` + nsRESTCONF + `">`: "</data>"} {
		if in, ok := strings.CutPrefix(body, open); ok && strings.HasSuffix(in, end) {
			return strings.TrimSuffix(in, end)
		}
	}
	return "no data resource: " + body
}
