// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"nagare/internal/model"
	"nagare/internal/tables"
)

// policy makes a policy as the administrator and gives its id.
func (w *world) policy(body string) string { return w.make("admin", "qos/policies", "policy", body) }

// qosRule makes a rule and gives its id.
func (w *world) qosRule(policy, kind, body string) string {
	return w.make("admin", "qos/policies/"+policy+"/"+kind+"_rules", kind+"_rule", body)
}

func TestQosPolicies(t *testing.T) {
	w := newWorld(t)
	p := w.policy(`"name":"gold","description":"d"`)
	m := w.do("admin", "GET", "/v2.0/qos/policies/"+p, "", 200)["policy"].(map[string]any)
	for _, a := range []struct {
		name string
		want any
	}{{"name", "gold"}, {"shared", false}, {"is_default", false}, {"description", "d"}, {"project_id", "p-admin"}, {"revision_number", 0.0}, {"rules", []any{}}} {
		if fmt.Sprint(m[a.name]) != fmt.Sprint(a.want) {
			t.Errorf("%s is %v, want %v", a.name, m[a.name], a.want)
		}
	}
	at := "/v2.0/qos/policies/" + p
	w.refuse("demo", "GET", at, "", 404, "QosPolicyNotFound", "QoS policy "+p+" could not be found.")
	w.refuse("demo", "POST", "/v2.0/qos/policies", `{"policy":{"name":"x"}}`, 403, "PolicyNotAuthorized", "")
	w.do("admin", "PUT", at, `{"policy":{"shared":true,"name":"silver"}}`, 200)
	w.do("demo", "GET", at, "", 200)
	w.refuse("demo", "PUT", at, `{"policy":{"name":"x"}}`, 403, "PolicyNotAuthorized", "")
	w.refuse("demo", "DELETE", at, "", 403, "PolicyNotAuthorized", "")

	// One default for a project, which new networks of the project get unless they say otherwise.
	d := w.policy(`"name":"d","is_default":true,"project_id":"p-demo"`)
	w.refuse("admin", "POST", "/v2.0/qos/policies", `{"policy":{"is_default":true,"project_id":"p-demo"}}`, 409, "QoSPolicyDefaultAlreadyExists", "")
	w.do("admin", "PUT", at, `{"policy":{"is_default":true}}`, 200) // of another project
	show := func(path, name, attr string) any {
		return dig(w.do("demo", "GET", "/v2.0/"+path, "", 200), name, attr)
	}
	n, none := w.network("demo", ""), w.network("demo", `"qos_policy_id":null`)
	if show("networks/"+n, "network", "qos_policy_id") != d || show("networks/"+none, "network", "qos_policy_id") != nil {
		t.Errorf("policies of new networks are not the default's")
	}
	port := w.port("demo", n, "")
	if show("ports/"+port, "port", "qos_network_policy_id") != d || show("ports/"+port, "port", "qos_policy_id") != nil {
		t.Errorf("the port says %v of its network's policy", show("ports/"+port, "port", "qos_network_policy_id"))
	}
	w.refuse("admin", "DELETE", "/v2.0/qos/policies/"+d, "", 409, "QosPolicyInUse", fmt.Sprintf("QoS Policy %s is used by network %s.", d, n))
	w.do("demo", "PUT", "/v2.0/networks/"+n, `{"network":{"qos_policy_id":"`+p+`"}}`, 200)
	w.do("admin", "DELETE", "/v2.0/qos/policies/"+d, "", 204)
	w.refuse("admin", "PUT", at, `{"policy":{"shared":false}}`, 409, "InvalidSharedSetting", "")
	w.do("demo", "PUT", "/v2.0/networks/"+n, `{"network":{"qos_policy_id":null}}`, 200)

	// Ports.
	w.do("demo", "PUT", "/v2.0/ports/"+port, `{"port":{"qos_policy_id":"`+p+`"}}`, 200)
	if got := w.names("demo", "ports?qos_policy_id="+p, "id"); !slices.Equal(got, []string{port}) {
		t.Errorf("ports of the policy: %v", got)
	}
	w.refuse("admin", "DELETE", at, "", 409, "QosPolicyInUse", fmt.Sprintf("QoS Policy %s is used by port %s.", p, port))
	w.do("demo", "PUT", "/v2.0/ports/"+port, `{"port":{"qos_policy_id":null}}`, 200)
	other := w.port("demo", none, `,"qos_policy_id":"`+p+`"`)
	if show("ports/"+other, "port", "qos_policy_id") != p {
		t.Error("a create takes no policy")
	}
	missing := "00000000-0000-4000-8000-000000000000"
	w.refuse("demo", "PUT", "/v2.0/ports/"+port, `{"port":{"qos_policy_id":"`+missing+`"}}`, 404, "QosPolicyNotFound", "")
	hidden := w.policy(`"name":"of the administrator"`)
	w.refuse("demo", "POST", "/v2.0/networks", `{"network":{"qos_policy_id":"`+hidden+`"}}`, 404, "QosPolicyNotFound", "")
	// A limit that somebody else has set stays.
	w.do("admin", "PUT", "/v2.0/ports/"+other, `{"port":{"qos_policy_id":"`+hidden+`"}}`, 200)
	w.refuse("demo", "PUT", "/v2.0/ports/"+other, `{"port":{"qos_policy_id":null}}`, 403, "PolicyRemoveAuthorizationError",
		"Failed to remove provided policy "+hidden+" because you are not authorized.")
	w.do("demo", "PUT", "/v2.0/ports/"+other, `{"port":{"name":"x"}}`, 200)
	w.do("demo", "DELETE", "/v2.0/ports/"+other, "", 204)
	w.do("admin", "DELETE", at, "", 204)
}

func TestQosRules(t *testing.T) {
	w := newWorld(t)
	p := w.policy(`"name":"p","shared":true`)
	at := "/v2.0/qos/policies/" + p
	limit := w.qosRule(p, "bandwidth_limit", `"max_kbps":2000`)
	if m := w.send("demo", "GET", at+"/bandwidth_limit_rules/"+limit, ""); m.text !=
		`{"bandwidth_limit_rule":{"id":"`+limit+`","max_kbps":2000,"max_burst_kbps":0,"direction":"egress"}}` {
		t.Errorf("rule %s", m.text)
	}
	for _, r := range [][2]string{
		{"bandwidth_limit", `"max_kbps":3000,"max_burst_kbps":300,"direction":"ingress"`}, {"dscp_marking", `"dscp_mark":26`},
		{"minimum_bandwidth", `"min_kbps":1000`}, {"minimum_packet_rate", `"min_kpps":1,"direction":"any"`}, {"packet_rate_limit", `"max_kpps":5`},
	} {
		id := w.qosRule(p, r[0], r[1])
		one := w.do("demo", "GET", at+"/"+r[0]+"_rules/"+id, "", 200)[r[0]+"_rule"].(map[string]any)
		for _, path := range []string{"alias_" + r[0] + "_rules", "alias-" + strings.ReplaceAll(r[0], "_", "-") + "-rules"} {
			same := w.do("demo", "GET", "/v2.0/qos/"+path+"/"+id, "", 200)["alias_"+r[0]+"_rule"]
			if fmt.Sprint(same) != fmt.Sprint(one) {
				t.Errorf("%s: %v, by its alias %v", r[0], one, same)
			}
		}
		list := w.do("demo", "GET", at+"/"+r[0]+"_rules", "", 200)[r[0]+"_rules"].([]any)
		if !slices.ContainsFunc(list, func(x any) bool { return fmt.Sprint(x) == fmt.Sprint(one) }) {
			t.Errorf("%s: not in %v", r[0], list)
		}
		w.refuse("admin", "POST", at+"/"+r[0]+"_rules", `{"`+r[0]+`_rule":{`+r[1]+`}}`, 409, "QoSRulesConflict", "")
	}
	m := w.do("demo", "GET", at, "", 200)["policy"].(map[string]any)
	if len(m["rules"].([]any)) != 6 || m["revision_number"] != 6.0 || dig(m, "rules", 0, "type") != "bandwidth_limit" || dig(m, "rules", 0, "qos_policy_id") != p {
		t.Errorf("policy %v", m)
	}
	missing := "00000000-0000-4000-8000-000000000000"
	q := w.policy(`"name":"q"`)
	one := at + "/bandwidth_limit_rules/" + limit
	for _, c := range []struct {
		who, method, path, body string
		status                  int
		kind                    string
	}{
		{"demo", "POST", at + "/bandwidth_limit_rules", `{"bandwidth_limit_rule":{"max_kbps":1}}`, 403, "PolicyNotAuthorized"},
		{"demo", "PUT", one, `{"bandwidth_limit_rule":{"max_kbps":1}}`, 403, "PolicyNotAuthorized"},
		{"demo", "DELETE", one, "", 403, "PolicyNotAuthorized"},
		{"demo", "DELETE", "/v2.0/qos/alias-bandwidth-limit-rules/" + limit, "", 403, "PolicyNotAuthorized"},
		{"demo", "GET", "/v2.0/qos/policies/" + q + "/bandwidth_limit_rules", "", 404, "QosPolicyNotFound"},
		{"admin", "GET", "/v2.0/qos/policies/" + q + "/bandwidth_limit_rules/" + limit, "", 404, "QosRuleNotFound"},
		{"admin", "GET", at + "/dscp_marking_rules/" + limit, "", 404, "QosRuleNotFound"},
		{"admin", "GET", at + "/bandwidth_limit_rules/" + missing, "", 404, "QosRuleNotFound"},
		{"admin", "GET", "/v2.0/qos/alias-bandwidth-limit-rules", "", 404, "HTTPNotFound"},
		{"admin", "POST", at + "/bandwidth_limit_rules", `{"bandwidth_limit_rule":{}}`, 400, "HTTPBadRequest"},
		{"admin", "POST", at + "/bandwidth_limit_rules", `{"bandwidth_limit_rule":{"max_kbps":-1}}`, 400, "HTTPBadRequest"},
		{"admin", "POST", at + "/bandwidth_limit_rules", `{"bandwidth_limit_rule":{"max_kbps":2147483648}}`, 400, "HTTPBadRequest"},
		{"admin", "POST", at + "/bandwidth_limit_rules", `{"bandwidth_limit_rule":{"max_kbps":1,"direction":"any"}}`, 400, "HTTPBadRequest"},
		{"admin", "POST", at + "/bandwidth_limit_rules", `{"bandwidth_limit_rule":{"max_kbps":1,"qos_policy_id":"` + q + `"}}`, 400, "HTTPBadRequest"},
		{"admin", "POST", at + "/dscp_marking_rules", `{"dscp_marking_rule":{"dscp_mark":7}}`, 400, "HTTPBadRequest"},
		{"admin", "PUT", one, `{"bandwidth_limit_rule":{"direction":"ingress"}}`, 409, "QoSRulesConflict"},
		{"admin", "PUT", one, `{"bandwidth_limit_rule":{"max_kbps":999}}`, 409, "QoSRuleParameterConflict"},
		{"admin", "POST", at + "/minimum_packet_rate_rules", `{"minimum_packet_rate_rule":{"min_kpps":1,"direction":"egress"}}`, 409, "QoSRulesConflict"},
	} {
		w.refuse(c.who, c.method, c.path, c.body, c.status, c.kind, "")
	}
	w.do("admin", "PUT", one, `{"bandwidth_limit_rule":{"max_kbps":2500}}`, 200)
	w.do("admin", "PUT", "/v2.0/qos/alias_bandwidth_limit_rules/"+limit, `{"alias_bandwidth_limit_rule":{"max_burst_kbps":10}}`, 200)
	stored, _ := tables.QosPolicies.Get(w.st.Snapshot(), model.QosPolicyID(p))
	if r := stored.Rules[0]; r.Value != 2500 || r.Burst != 10 || r.Direction != model.Egress || stored.RevisionNo != 8 {
		t.Errorf("stored %+v", stored)
	}
	w.do("admin", "DELETE", one, "", 204)
	w.refuse("admin", "GET", one, "", 404, "QosRuleNotFound", "")
	w.do("admin", "DELETE", at, "", 204)
}

// TestQosUnkept: what the data plane does not carry is stored, but is no rule of a bound port.
func TestQosUnkept(t *testing.T) {
	w := newWorld(t)
	w.node("compute", "netdev", nil)
	promise, plain := w.policy(`"name":"promise"`), w.policy(`"name":"plain"`)
	w.qosRule(promise, "minimum_bandwidth", `"min_kbps":1000`)
	n := w.network("admin", "")
	bound, loose := w.port("admin", n, `,"binding:host_id":"compute"`), w.port("admin", n, "")
	give := func(path, name, policy string) string { return `{"` + name + `":{"qos_policy_id":"` + policy + `"}}` }
	w.do("admin", "PUT", "/v2.0/ports/"+loose, give("", "port", promise), 200)
	text := "Rule minimum_bandwidth is not supported by port " + bound
	w.refuse("admin", "PUT", "/v2.0/ports/"+bound, give("", "port", promise), 409, "QosRuleNotSupported", text)
	w.refuse("admin", "PUT", "/v2.0/networks/"+n, give("", "network", promise), 409, "QosRuleNotSupported", text)
	w.do("admin", "PUT", "/v2.0/ports/"+bound, give("", "port", plain), 200)
	w.qosRule(plain, "bandwidth_limit", `"max_kbps":1000`)
	w.refuse("admin", "POST", "/v2.0/qos/policies/"+plain+"/minimum_bandwidth_rules", `{"minimum_bandwidth_rule":{"min_kbps":1}}`, 409, "QosRuleNotSupported", text)
	w.do("admin", "PUT", "/v2.0/ports/"+bound, `{"port":{"qos_policy_id":null}}`, 200)
	w.do("admin", "PUT", "/v2.0/networks/"+n, give("", "network", plain), 200)
	w.refuse("admin", "POST", "/v2.0/qos/policies/"+plain+"/minimum_packet_rate_rules", `{"minimum_packet_rate_rule":{"min_kpps":1}}`, 409, "QosRuleNotSupported",
		"Rule minimum_packet_rate is not supported by port "+bound)
}

func TestQosRuleTypes(t *testing.T) {
	w := newWorld(t)
	kinds := func(query string) (out []string) {
		for _, k := range w.do("demo", "GET", "/v2.0/qos/rule-types"+query, "", 200)["rule_types"].([]any) {
			out = append(out, dig(k, "type").(string))
		}
		return out
	}
	carried := []string{"bandwidth_limit", "dscp_marking", "packet_rate_limit"}
	if got := kinds(""); !slices.Equal(got, carried) || !slices.Equal(kinds("?all_supported=True"), carried) || len(kinds("?all_rules=True")) != 5 ||
		!slices.Equal(kinds("?type=dscp_marking"), carried[1:2]) {
		t.Errorf("rule types %v", got)
	}
	m := w.do("admin", "GET", "/v2.0/qos/rule-types/bandwidth_limit", "", 200)
	if dig(m, "rule_type", "drivers", 0, "name") != "openvswitch" || dig(m, "rule_type", "drivers", 0, "supported_parameters", 0, "parameter_name") != "max_kbps" {
		t.Errorf("details %v", m)
	}
	if d := dig(w.do("admin", "GET", "/v2.0/qos/rule-types/minimum_bandwidth", "", 200), "rule_type", "drivers"); len(d.([]any)) != 0 {
		t.Errorf("drivers of what is not carried: %v", d)
	}
	if d := dig(w.do("admin", "GET", "/v2.0/qos/rule-types/dscp_marking", "", 200), "rule_type", "drivers", 0, "supported_parameters", 0, "parameter_values"); len(d.([]any)) != 21 {
		t.Errorf("code points: %v", d)
	}
	w.refuse("demo", "GET", "/v2.0/qos/rule-types/bandwidth_limit", "", 403, "NotAuthorized", "")
	w.refuse("admin", "GET", "/v2.0/qos/rule-types/none", "", 404, "QosRuleTypeNotFound", "")
	w.refuse("demo", "POST", "/v2.0/qos/rule-types", "{}", 405, "HTTPMethodNotAllowed", "")
	w.refuse("demo", "GET", "/v2.0/qos/rule-types?foo=1", "", 400, "HTTPBadRequest", "['foo'] is invalid attribute for filtering")

	// A pipeline that carries none of this says nothing of it.
	c := newWorld(t, func(c *Config) { c.Profile = "classic" })
	for _, path := range []string{"qos/policies", "qos/rule-types", "trunks", "extensions/qos", "extensions/trunk"} {
		if a := c.send("admin", "GET", "/v2.0/"+path, ""); a.code != 404 {
			t.Errorf("classic: %s: %d", path, a.code)
		}
	}
}
