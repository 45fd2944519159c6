// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"nagare/internal/alloc"
	"nagare/internal/compile"
	"nagare/internal/model"
	"nagare/internal/netvirt"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// Ids of the tests' objects.
const (
	netA    = "aaaaaaaa-0000-4000-8000-000000000001"
	netB    = "aaaaaaaa-0000-4000-8000-000000000002"
	extNet  = "aaaaaaaa-0000-4000-8000-000000000003"
	subA    = "bbbbbbbb-0000-4000-8000-000000000001"
	subB    = "bbbbbbbb-0000-4000-8000-000000000002"
	subExt  = "bbbbbbbb-0000-4000-8000-000000000003"
	portA   = "cccccccc-0000-4000-8000-000000000001"
	portB   = "cccccccc-0000-4000-8000-000000000002"
	gwPort  = "cccccccc-0000-4000-8000-000000000003"
	ifPort  = "cccccccc-0000-4000-8000-000000000004"
	fipPort = "cccccccc-0000-4000-8000-000000000005"
	routerA = "dddddddd-0000-4000-8000-000000000001"
	floatA  = "eeeeeeee-0000-4000-8000-000000000001"
	groupA  = "ffffffff-0000-4000-8000-000000000001"
	groupB  = "ffffffff-0000-4000-8000-000000000002"
	unknown = "99999999-0000-4000-8000-000000000009"
	tenant  = "0123456789abcdef0123456789abcdef"
)

// ruleN is the id of the n-th rule of a test.
func ruleN(n int) string { return fmt.Sprintf("11111111-0000-4000-8000-%012d", n) }

// netBody is a network as networking-odl sends it (Zed), with more attributes, which may override.
func netBody(id, vni, more string) string {
	return `{"network":{"id":"` + id + `","name":"net01","tenant_id":"` + tenant + `","project_id":"` + tenant + `","description":"","admin_state_up":true,"shared":false,
"router:external":false,"port_security_enabled":true,"mtu":1450,"availability_zone_hints":[],"availability_zones":[],"ipv4_address_scope":null,
"ipv6_address_scope":null,"vlan_transparent":null,"is_default":false,"standard_attr_id":14,"tags":[],"created_at":"2026-01-01T00:00:00Z",
"updated_at":"2026-01-01T00:00:00Z","provider:network_type":"vxlan","provider:physical_network":null,"provider:segmentation_id":` + vni + more + `}}`
}

func subBody(id, net, cidr, more string) string {
	version := 4
	if strings.Contains(cidr, ":") {
		version = 6
	}
	return fmt.Sprintf(`{"subnet":{"id":%q,"network_id":%q,"name":"sub","tenant_id":%q,"project_id":%q,"ip_version":%d,"cidr":%q,"enable_dhcp":true,"shared":false,"standard_attr_id":15%s}}`,
		id, net, tenant, tenant, version, cidr, more)
}

// portBody is an unbound port of the network netA with an address of subA.
func portBody(id, mac, ip, more string) string {
	return fmt.Sprintf(`{"port":{"id":%q,"network_id":%q,"name":"","tenant_id":%q,"project_id":%q,"mac_address":%q,"admin_state_up":true,"standard_attr_id":16,
"fixed_ips":[{"subnet_id":%q,"ip_address":%q}],"binding:profile":"{}","binding:vnic_type":"normal","port_security_enabled":true%s}}`, id, netA, tenant, tenant, mac, subA, ip, more)
}

// bound are the attributes of an instance's port on the node compute.
const bound = `,"device_owner":"compute:nova","device_id":"vm","binding:host_id":"compute","binding:vif_type":"ovs","binding:vif_details":{"port_filter":true},"security_groups":[{"id":"` + groupA + `"}]`

// groupBody is a group that lets everything out, by the rules 1 and 2, and with more rules.
func groupBody(id, rules string) string {
	return `{"security_group":{"id":"` + id + `","name":"g","tenant_id":"` + tenant + `","stateful":true,"shared":false,"security_group_rules":[` + rules + `]}}`
}

func ruleBody(id, group, more string) string {
	return `{"security_group_rule":` + rule(id, group, more) + `}`
}

func rule(id, group, more string) string {
	return `{"id":"` + id + `","tenant_id":"` + tenant + `","security_group_id":"` + group + `","direction":"ingress","ethertype":"IPv4","protocol":null,"port_range_min":null,
"port_range_max":null,"remote_ip_prefix":null,"remote_group_id":null,"normalized_cidr":null,"remote_address_group_id":null` + more + `}`
}

// replaced overrides attributes of a body: a key that comes twice would be refused.
func replaced(body string, pairs ...string) string {
	for i := 0; i+1 < len(pairs); i += 2 {
		if !strings.Contains(body, pairs[i]) {
			panic("nothing to replace: " + pairs[i])
		}
		body = strings.Replace(body, pairs[i], pairs[i+1], 1)
	}
	return body
}

func (w *world) commit(f func(tx *store.Txn)) {
	w.Helper()
	if _, err := w.st.Commit(context.Background(), store.Origin{}, func(tx *store.Txn) error { f(tx); return nil }); err != nil {
		w.Fatal(err)
	}
}

// nodes are controller, which reaches the physical network, and compute.
func (w *world) nodes() {
	w.commit(func(tx *store.Txn) {
		for i, n := range []string{"controller", "compute"} {
			node := model.Node{ID: model.NodeID(n), NodePlane: model.NodePlane{Key: model.Key(i + 1), LocalIP: tunnel(i)}}
			if i == 0 {
				node.Mappings = map[string]string{"physnet1": "br-ex"}
			}
			tables.Nodes.Put(tx, node.ID, node)
			for k, name := range []string{"vxlan-" + tunnel(1-i).String(), "patch-physnet1"} {
				tables.Interfaces.Put(tx, model.InterfaceKey(node.ID, name), model.Interface{Node: node.ID, Name: name, OFPort: uint32(k + 1)})
			}
		}
	})
}

// tunnel is the n-th node's address in the underlay.
func tunnel(n int) netip.Addr { return netip.AddrFrom4([4]byte{192, 168, 0, byte(10 + n)}) }

// plug has a port's interface appear on a node.
func (w *world) plug(node model.NodeID, port model.PortID) {
	w.commit(func(tx *store.Txn) { plug(tx, node, port) })
}

func plug(tx *store.Txn, node model.NodeID, port model.PortID) {
	n := uint32(10)
	for i := range tables.InterfacesByNode.By(tx, string(node)) {
		n = max(n, i.OFPort+1)
	}
	tables.Interfaces.Put(tx, model.InterfaceKey(node, port.TapName()), model.Interface{Node: node, Name: port.TapName(), IfaceID: port, OFPort: n})
	tables.Plugs.Put(tx, model.PlugKey(node, port), model.Plug{Node: node, Port: port})
}

// flows are what is wanted of a node, in the standard profile or the classic one, in text: flows, groups, meters and rows.
func flows(t testing.TB, st *store.Store, profile, node string) []string {
	t.Helper()
	book := netvirt.Standard(netvirt.Options{NativeDHCP: true})
	if profile == "classic" {
		book = netvirt.Classic()
	}
	e := compile.New(book, pipeline.Check)
	e.AddNode(node)
	e.Update(st.Snapshot(), &store.Changes{All: true})
	return desired(e, node)
}

// desired is what an engine wants of a node, in text.
func desired(e *compile.Engine, node string) (out []string) {
	d, _ := e.Desired(node)
	for _, f := range d.Flows {
		out = append(out, fmt.Sprintf("cookie=%#x %s", f.Cookie, f))
	}
	for _, g := range d.Groups {
		out = append(out, fmt.Sprint(g))
	}
	for _, m := range d.Meters {
		out = append(out, fmt.Sprint(m))
	}
	for _, r := range d.Rows {
		out = append(out, fmt.Sprint(r))
	}
	slices.Sort(out)
	return out
}

// asFromScratch holds that an engine that has followed the changes wants what one wants that has not.
func (w *world) asFromScratch(followed *compile.Engine, lately string) {
	w.Helper()
	for _, node := range []string{"controller", "compute"} {
		if got, want := desired(followed, node), flows(w, w.st, "standard", node); !slices.Equal(got, want) {
			for _, l := range want {
				if !slices.Contains(got, l) {
					w.Errorf("%s: missing: %s", node, l)
				}
			}
			for _, l := range got {
				if !slices.Contains(want, l) {
					w.Errorf("%s: too much: %s", node, l)
				}
			}
			w.Fatalf("%s: compiled step by step it is not what it is from scratch, after %s", node, lately)
		}
	}
}

// flowsOf are those of the node's flows that contain all the texts.
func (w *world) flowsOf(node string, texts ...string) (out []string) {
	w.Helper()
	for _, f := range flows(w, w.st, "standard", node) {
		if !slices.ContainsFunc(texts, func(s string) bool { return !strings.Contains(f, s) }) {
			out = append(out, f)
		}
	}
	return out
}

// wantFlows holds that the node has flows with the texts, or none.
func (w *world) wantFlows(check string, want bool, node string, texts ...string) {
	w.Helper()
	if got := w.flowsOf(node, texts...); (len(got) > 0) != want {
		w.Errorf("%s: flows with %q on %s: %d, want any: %v", check, texts, node, len(got), want)
	}
}

// putPortN writes the n-th port of a list.
func putPortN(tx *store.Txn, n int) {
	p := model.Port{ID: model.PortID(portN(n)), DeviceID: fmt.Sprint("d", n), Std: model.Std{Name: fmt.Sprint("p", n)}, PortPlane: model.PortPlane{Key: model.Key(n + 1), Network: netA}}
	if err := alloc.PutPort(tx, p); err != nil {
		panic(err)
	}
}
