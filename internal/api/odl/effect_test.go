// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// TestWalkQos: limits and marks, of ports and of networks, are the same by another Neutron as by our own.
func TestWalkQos(t *testing.T) {
	p := newPair(t, "standard")
	net := p.call("POST", "networks", `{"network":{"name":"net01"}}`)
	p.call("POST", "subnets", `{"subnet":{"network_id":"`+net+`","ip_version":4,"cidr":"10.11.12.0/24"}}`)
	vm01, vm02 := p.instance(net, "vm01"), p.instance(net, "vm02")
	p.plugs("compute", vm01)
	p.plugs("compute", vm02)
	p.same("instances", "standard", 50)
	gold := p.call("POST", "qos/policies", `{"policy":{"name":"gold"}}`)
	silver := p.call("POST", "qos/policies", `{"policy":{"name":"silver"}}`)
	rule := func(policy, kind, body string) string {
		return p.call("POST", "qos/policies/"+policy+"/"+kind+"_rules", `{"`+kind+`_rule":{`+body+`}}`)
	}
	limit := rule(gold, "bandwidth_limit", `"max_kbps":3000,"max_burst_kbps":300`)
	rule(gold, "dscp_marking", `"dscp_mark":26`)
	rule(silver, "bandwidth_limit", `"max_kbps":1000,"direction":"ingress"`)
	p.same("policies that nobody has", "standard", 50)
	p.call("PUT", "ports/"+vm01, `{"port":{"qos_policy_id":"`+gold+`"}}`)
	p.call("PUT", "networks/"+net, `{"network":{"qos_policy_id":"`+silver+`"}}`)
	p.same("a port and a network with policies", "standard", 50)
	if meters := p.flowsOf("compute", "rate="); len(meters) < 2 {
		t.Errorf("the policies have only the meters %v", meters)
	}
	rule(gold, "packet_rate_limit", `"max_kpps":10,"direction":"ingress"`)
	p.call("PUT", "qos/policies/"+gold+"/bandwidth_limit_rules/"+limit, `{"bandwidth_limit_rule":{"max_kbps":5000}}`)
	p.same("changed rules", "standard", 50)
	p.call("PUT", "ports/"+vm01, `{"port":{"qos_policy_id":null}}`)
	p.call("DELETE", "qos/policies/"+gold, "")
	p.same("the network's policy alone", "standard", 50)
	p.call("PUT", "networks/"+net, `{"network":{"qos_policy_id":null}}`)
	p.same("none", "standard", 50)
}

// TestWalkTrunk: the ports of a trunk are carried the same by another Neutron as by our own.
func TestWalkTrunk(t *testing.T) {
	p := newPair(t, "standard")
	var nets []string
	for i := range 3 {
		nets = append(nets, p.call("POST", "networks", fmt.Sprintf(`{"network":{"name":"net%d"}}`, i)))
		p.call("POST", "subnets", fmt.Sprintf(`{"subnet":{"network_id":%q,"ip_version":4,"cidr":"10.11.%d.0/24"}}`, nets[i], i))
	}
	parent := p.instance(nets[0], "vm01")
	sub := func(n int) string {
		return p.call("POST", "ports", `{"port":{"network_id":"`+nets[n]+`"}}`)
	}
	sub1, sub2 := sub(1), sub(2)
	p.same("ports", "standard", 20)
	trunk := p.call("POST", "trunks", fmt.Sprintf(`{"trunk":{"port_id":%q,"sub_ports":[{"port_id":%q,"segmentation_type":"vlan","segmentation_id":101}]}}`, parent, sub1))
	p.plugs("compute", parent)
	p.same("a trunk with one sub-port", "standard", 50)
	p.wantFlows("trunk", true, "compute", "dl_vlan=101")
	p.call("PUT", "trunks/"+trunk+"/add_subports", fmt.Sprintf(`{"sub_ports":[{"port_id":%q,"segmentation_type":"vlan","segmentation_id":102}]}`, sub2))
	p.same("with two", "standard", 50)
	p.call("PUT", "ports/"+parent, `{"port":{"binding:host_id":"controller"}}`)
	p.plugs("controller", parent)
	p.same("moved", "standard", 50)
	p.call("PUT", "trunks/"+trunk+"/remove_subports", fmt.Sprintf(`{"sub_ports":[{"port_id":%q}]}`, sub1))
	p.same("without the first", "standard", 50)
	p.wantFlows("T1", false, "controller", "dl_vlan=101")
	p.call("PUT", "trunks/"+trunk+"/remove_subports", fmt.Sprintf(`{"sub_ports":[{"port_id":%q}]}`, sub2))
	p.call("DELETE", "trunks/"+trunk, "")
	p.same("without the trunk", "standard", 40)
}

// instance is a port of an instance on compute, made by our own API.
func (p *pairOf) instance(net, name string) string {
	return p.call("POST", "ports", `{"port":{"name":"`+name+`","network_id":"`+net+`","device_owner":"compute:nova","device_id":"`+name+`","binding:host_id":"compute"}}`)
}

// TestQos: check Q1, and what a policy's rules become.
func TestQos(t *testing.T) {
	w := newWorld(t)
	head := `{"policy":{"id":"` + netA + `","name":"p","tenant_id":"` + tenant + `","shared":false,`
	r := func(n int) string { return ruleN(n) }
	w.do("POST", "/qos/policies", head+`"rules":[{"type":"dscp_marking","id":"`+r(2)+`","qos_policy_id":"`+netA+`","dscp_mark":"26"},{"type":"tarot","id":"`+r(3)+`","card":[1.5]},
{"type":"bandwidth_limit","id":"`+r(1)+`","qos_policy_id":"`+netA+`","max_kbps":1000,"max_burst_kbps":100,"direction":"egress"}]}}`, 201)
	full := w.show("qos/policies", netA)
	rev := w.st.Snapshot().Revision()
	w.do("PUT", "/qos/policies/"+netA, head+`"bandwidth_limit_rules":[{"id":"`+r(1)+`","tenant_id":"`+tenant+`","max_kbps":1000,"max_burst_kbps":100}],
"dscp_marking_rules":[{"id":"`+r(2)+`","tenant_id":"`+tenant+`","dscp_mark":26}],"tarot_rules":[{"id":"`+r(3)+`","card":[1.5]}]}}`, 200)
	if live := w.show("qos/policies", netA); !reflect.DeepEqual(full, live) || w.st.Snapshot().Revision() != rev {
		t.Errorf("Q1: by rules %v\nby type %v", full, live)
	}
	if l, _ := full["bandwidth_limit_rules"].([]any); len(l) != 1 || fmt.Sprint(full["minimum_bandwidth_rules"]) != "[]" || full["packet_rate_limit_rules"] != nil {
		t.Errorf("Q1: %v", full)
	}
	if got := fmt.Sprint(full["tarot_rules"]); !strings.Contains(got, "card:[1.5]") {
		t.Errorf("rules of a kind that nobody knows: %s", got)
	}
	p, _ := tables.QosPolicies.Get(w.st.Snapshot(), netA)
	want := []model.QosRule{{ID: model.QosRuleID(r(1)), Kind: model.QosBandwidthLimit, Direction: model.Egress, Value: 1000, Burst: 100}, {ID: model.QosRuleID(r(2)), Kind: model.QosDSCP, Value: 26}}
	if !slices.Equal(p.Rules, want) {
		t.Errorf("rules %+v, want %+v", p.Rules, want)
	}
	for _, bad := range []string{`"rules":7`, `"rules":[7]`, `"rules":[{"id":"` + r(1) + `"}]`, `"bandwidth_limit_rules":[{"max_kbps":"x"}]`, `"dscp_marking_rules":[{"id":"` + r(1) + `","dscp_mark":64}]`,
		`"rules":[{"type":"bandwidth_limit","id":"` + r(1) + `","max_kbps":1,"direction":"up"}]`, `"rules":[{"type":"bandwidth_limit","id":"` + r(1) + `"}]`,
		`"bandwidth_limit_rules":[{"max_kbps":1}]`, `"bandwidth_limit_rules":{}`} {
		w.do("PUT", "/qos/policies/"+netA, head+bad+`}}`, 400)
	}
	// Both forms at once, in no order: each rule once, in order of ids.
	w.do("PUT", "/qos/policies/"+netA, head+`"rules":[{"type":"bandwidth_limit","id":"`+r(2)+`","max_kbps":7},{"type":"dscp_marking","id":"`+r(1)+`","dscp_mark":8}],
"bandwidth_limit_rules":[{"id":"`+r(2)+`","max_kbps":7}]}}`, 200)
	if p, _ := tables.QosPolicies.Get(w.st.Snapshot(), netA); len(p.Rules) != 2 || p.Rules[0].ID != model.QosRuleID(r(1)) || p.Rules[1].Value != 7 {
		t.Errorf("rules in both forms: %+v", p.Rules)
	}
	w.do("PUT", "/qos/policies/"+netA, head+`"description":""}}`, 200)
	if p, _ := tables.QosPolicies.Get(w.st.Snapshot(), netA); len(p.Rules) != 0 {
		t.Errorf("an update without rules leaves %v", p.Rules)
	}
	w.do("DELETE", "/qos/policies/"+netA, "", 204)
	w.do("GET", "/qos/policies/"+netA, "", 404)
}

// TestPolicyLate: a policy that comes after those who name it has its effect then (check N8 on the way).
func TestPolicyLate(t *testing.T) {
	w := cloud(t)
	w.do("PUT", "/networks/"+netA, netBody(netA, "1077", `,"qos_policy_id":"`+netB+`"`), 200)
	w.do("POST", "/ports", portBody(portA, macA, "10.0.0.5", bound), 201)
	w.plug("compute", portA)
	limited := func(what string, want int) {
		t.Helper()
		var got int
		for _, f := range w.flowsOf("compute", "rate=") {
			if strings.Contains(f, "rate=7000") || strings.Contains(f, "rate=9000") {
				got++
			}
		}
		if got != want {
			t.Errorf("%s: %d meters, want %d", what, got, want)
		}
	}
	limited("before the policy", 0)
	policy := func(id, kbps string) string {
		return `{"policy":{"id":"` + id + `","bandwidth_limit_rules":[{"id":"4` + id[1:] + `","max_kbps":` + kbps + `}]}}`
	}
	w.do("POST", "/qos/policies", policy(netB, "7000"), 201)
	limited("the network's", 1)
	if got := w.ids("networks", "?qos_policy_id="+netB); !slices.Equal(got, []string{netA}) {
		t.Errorf("networks with the policy: %v", got)
	}
	w.do("PUT", "/ports/"+portA, portBody(portA, macA, "10.0.0.5", bound+`,"qos_policy_id":"`+extNet+`"`), 200)
	limited("a port's own that is not there", 0)
	w.do("POST", "/qos/policies", policy(extNet, "9000"), 201)
	limited("a port's own", 1)
	if got := w.show("ports", portA)["qos_policy_id"]; got != extNet {
		t.Errorf("the port has the policy %v", got)
	}
	w.do("PUT", "/ports/"+portA, portBody(portA, macA, "10.0.0.5", bound), 200)
	w.do("PUT", "/networks/"+netA, netBody(netA, "1077", ""), 200)
	limited("N8", 0)
	if got := w.show("networks", netA); got["qos_policy_id"] != nil {
		t.Errorf("N8: %v", got)
	}
	w.do("PUT", "/networks/"+netA, netBody(netA, "1077", `,"qos_policy_id":"x"`), 400)
}

const (
	trunkA = "aaaaaaaa-0000-4000-8000-000000000011"
	trunkB = "aaaaaaaa-0000-4000-8000-000000000012"
)

// trunkBody is a trunk of a parent with ports, whose tags are 100, 101 ...
func trunkBody(id, parent string, subs ...string) string {
	var list []string
	for i, s := range subs {
		list = append(list, fmt.Sprintf(`{"port_id":%q,"segmentation_type":"vlan","segmentation_id":%d}`, s, 100+i))
	}
	return `{"trunk":{"id":"` + id + `","name":"t","tenant_id":"` + tenant + `","port_id":"` + parent + `","status":"ACTIVE","admin_state_up":true,"sub_ports":[` + strings.Join(list, ",") + `]}}`
}

// TestTrunk: check T1, and trunks whose ports come in any order, and go.
func TestTrunk(t *testing.T) {
	w := cloud(t)
	parent := portBody(portA, macA, "10.0.0.5", bound)
	sub := portBody(portB, macB, "10.0.0.6", `,"device_owner":"trunk:subport","binding:host_id":"elsewhere"`)
	late := portBody(ifPort, "fa:16:3e:00:00:09", "10.0.0.9", "")
	on := func(what, id, parent string, vlan uint16, host, said string) {
		t.Helper()
		p := w.port(id)
		if string(p.Parent) != parent || p.VLAN != vlan || string(p.Host) != host {
			t.Errorf("%s: port %s is carried by %q with tag %d on %q, want %q, %d, %q", what, id, p.Parent, p.VLAN, p.Host, parent, vlan, host)
		}
		if got := w.show("ports", id)["binding:host_id"]; got != said {
			t.Errorf("%s: port %s is shown on %v, want %q as the client says", what, id, got, said)
		}
	}
	w.do("POST", "/trunks", trunkBody(trunkA, portA, portB, ifPort), 201) // before all its ports
	w.do("POST", "/ports", sub, 201)
	on("before the parent", portB, portA, 100, "", "elsewhere")
	w.plug("compute", portA)
	w.do("POST", "/ports", parent, 201)
	on("all", portB, portA, 100, "compute", "elsewhere")
	w.wantFlows("T1", true, "compute", "dl_vlan=100")
	if l, _ := w.show("trunks", trunkA)["sub_ports"].([]any); len(l) != 2 {
		t.Errorf("a port that is not there is not listed: %v", l)
	}
	w.wantFlows("a port that is not there", false, "compute", "dl_vlan=101")
	w.do("POST", "/ports", late, 201)
	on("late", ifPort, portA, 101, "compute", "")
	w.wantFlows("late", true, "compute", "dl_vlan=101")
	rev := w.st.Snapshot().Revision()
	w.do("POST", "/trunks", trunkBody(trunkA, portA, portB, ifPort), 201)
	w.do("POST", "/ports", sub, 201)
	w.do("POST", "/ports", parent, 201)
	if w.st.Snapshot().Revision() != rev {
		t.Error("a repetition changes something")
	}
	w.do("PUT", "/ports/"+portB, replaced(sub, "elsewhere", "controller"), 200)
	on("said anew", portB, portA, 100, "compute", "controller")
	w.do("PUT", "/ports/"+portA, replaced(parent, `"binding:host_id":"compute"`, `"binding:host_id":"controller"`), 200)
	on("parent moved", portB, portA, 100, "controller", "controller")
	w.do("PUT", "/ports/"+portA, parent, 200)

	w.do("PUT", "/trunks/"+trunkA, trunkBody(trunkA, portA, portB), 200)
	if l, _ := w.show("trunks", trunkA)["sub_ports"].([]any); len(l) != 1 {
		t.Errorf("T1: %v", l)
	}
	on("T1", ifPort, "", 0, "", "")
	w.wantFlows("T1", false, "compute", "dl_vlan=101")

	// What cannot be carried is listed all the same.
	for _, odd := range []string{`"segmentation_type":"vxlan","segmentation_id":100`, `"segmentation_type":"vlan","segmentation_id":0`, `"segmentation_type":"inherit"`} {
		w.do("PUT", "/trunks/"+trunkA, replaced(trunkBody(trunkA, portA, portB), `"segmentation_type":"vlan","segmentation_id":100`, odd), 200)
		on(odd, portB, "", 0, "controller", "controller")
		if l, _ := w.show("trunks", trunkA)["sub_ports"].([]any); len(l) != 1 {
			t.Errorf("%s: listed are %v", odd, l)
		}
		w.do("PUT", "/trunks/"+trunkA, trunkBody(trunkA, portA, portB), 200)
		on("carried again", portB, portA, 100, "compute", "controller")
	}

	// A parent that goes before its trunk, and comes back.
	w.do("DELETE", "/ports/"+portA, "", 204)
	on("parent gone", portB, portA, 100, "", "controller")
	w.wantFlows("parent gone", false, "compute", "dl_vlan=100")
	w.do("POST", "/ports", parent, 201)
	on("parent back", portB, portA, 100, "compute", "controller")
	// A sub-port too.
	w.do("DELETE", "/ports/"+portB, "", 204)
	if f, ok := tables.Foreign.Get(w.st.Snapshot(), model.ForeignKey(kindSubPort, portB)); ok {
		t.Errorf("left behind by a port that a trunk carried: %+v", f)
	}
	w.do("POST", "/ports", sub, 201)
	on("sub-port back", portB, portA, 100, "compute", "elsewhere")

	// A port on its way from one trunk to another is on the lower while both list it.
	w.do("POST", "/trunks", trunkBody(trunkB, gwPort, ifPort, portB), 201)
	on("on two trunks", portB, portA, 100, "compute", "elsewhere")
	w.do("PUT", "/trunks/"+trunkA, trunkBody(trunkA, portA), 200)
	on("on the other", portB, gwPort, 101, "", "elsewhere")
	w.do("PUT", "/trunks/"+trunkB, trunkBody(trunkB, ifPort, portB), 200) // another parent
	on("another parent", portB, ifPort, 100, "", "elsewhere")
	on("a parent is no sub-port", ifPort, "", 0, "", "")
	w.do("DELETE", "/trunks/"+trunkA, "", 204)
	w.do("DELETE", "/trunks/"+trunkB, "", 204)
	on("free", portB, "", 0, "elsewhere", "elsewhere")
	for _, p := range []string{portA, portB, ifPort} {
		w.do("DELETE", "/ports/"+p, "", 204)
	}
	for key, f := range tables.Foreign.All(w.st.Snapshot()) {
		if f.Kind == kindSubPort || f.Kind == kindSubPorts {
			t.Errorf("left behind: %s %+v", key, f)
		}
	}
	for _, s := range tables.Slots.All(w.st.Snapshot()) {
		if s.Used() {
			t.Errorf("slot left behind: %+v", s)
		}
	}
	w.do("POST", "/trunks", `{"trunk":{"id":"`+netB+`"}}`, 400)
	w.do("POST", "/trunks", trunkBody(trunkA, portA), 201)
	for _, bad := range []string{`[{"port_id":"x"}]`, `[{}]`, `[{"port_id":"` + portB + `","segmentation_id":4095}]`, `{}`} {
		w.do("PUT", "/trunks/"+trunkA, `{"trunk":{"sub_ports":`+bad+`}}`, 400)
	}
}

// TestTrunkStatus: a trunk's status follows from its ports', whatever the client says.
func TestTrunkStatus(t *testing.T) {
	w := cloud(t)
	w.do("POST", "/ports", portBody(portA, macA, "10.0.0.5", bound), 201)
	w.do("POST", "/ports", portBody(portB, macB, "10.0.0.6", ""), 201)
	w.do("POST", "/trunks", trunkBody(trunkA, portA, portB), 201)
	observed := func(id model.PortID, status string) {
		w.commit(func(tx *store.Txn) { tables.Statuses.Put(tx, id, model.PortStatus{Port: id, Status: status}) })
	}
	want := func(status string) {
		t.Helper()
		if got := w.show("trunks", trunkA)["status"]; got != status {
			t.Errorf("%v, want %s", got, status)
		}
	}
	want(model.StatusDown)
	observed(portA, model.StatusActive)
	want(statusBuild)
	observed(portB, model.StatusActive)
	want(model.StatusActive)
	w.do("POST", "/ports", portBody(portB, macB, "10.0.0.6", ""), 201) // it is where its parent is, and stays there
	want(model.StatusActive)
	observed(portB, model.StatusError)
	want(statusDegraded)
	w.do("PUT", "/ports/"+portA, replaced(portBody(portA, macA, "10.0.0.5", bound), `"binding:host_id":"compute"`, `"binding:host_id":"controller"`), 200)
	want(model.StatusDown)
	if s, _ := tables.Statuses.Get(w.st.Snapshot(), portB); s.Status != model.StatusDown {
		t.Errorf("the parent has moved, and its sub-port is %s", s.Status)
	}
}
