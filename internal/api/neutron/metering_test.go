// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"slices"
	"testing"
)

// withStored serves what is only stored, too.
func withStored(c *Config) { c.Routers, c.StoredOnly = true, true }

// TestStoredOnly: what changes no packet is nowhere to be seen unless it was asked for.
func TestStoredOnly(t *testing.T) {
	off, on := newWorld(t, withRouters), newWorld(t, withStored)
	aliases := func(w *world) []string { return w.names("admin", "extensions", "alias") }
	hidden := 0
	for _, p := range parts {
		if p.when == nil || p.when(&off.api.cfg) || !p.when(&on.api.cfg) {
			continue
		}
		for _, c := range p.collections {
			off.refuse("admin", "GET", "/v2.0/"+c.path, "", 404, "HTTPNotFound", "")
			on.do("admin", "GET", "/v2.0/"+c.path, "", 200)
			hidden++
		}
		for _, e := range p.extensions {
			if slices.Contains(aliases(off), e.alias) || !slices.Contains(aliases(on), e.alias) {
				t.Errorf("extension %s is listed without, or not with the switch", e.alias)
			}
		}
	}
	if hidden < 2 {
		t.Errorf("%d collections need the switch", hidden)
	}
}

func TestMetering(t *testing.T) {
	w := newWorld(t, withStored)
	const labels, rules = "/v2.0/metering/metering-labels", "/v2.0/metering/metering-label-rules"
	m := w.do("admin", "POST", labels, `{"metering_label":{"name":"l","description":"d"}}`, 201)
	id := dig(m, "metering_label", "id").(string)
	want := map[string]any{"id": id, "name": "l", "description": "d", "shared": false, "project_id": "p-admin", "tenant_id": "p-admin"}
	if got := m["metering_label"]; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("label %v, want %v", got, want)
	}
	demos := w.make("admin", "metering/metering-labels", "metering_label", `"name":"x","project_id":"p-demo","shared":true`)
	if got := w.names("admin", "metering/metering-labels?shared=true", "id"); !slices.Equal(got, []string{demos}) {
		t.Errorf("shared labels %v", got)
	}
	if got := w.names("demo", "metering/metering-labels", "id"); !slices.Equal(got, []string{demos}) {
		t.Errorf("demo sees %v", got)
	}
	w.refuse("admin", "PUT", labels+"/"+id, `{"metering_label":{"name":"y"}}`, 405, "HTTPMethodNotAllowed", "")
	w.refuse("demo", "POST", labels, `{"metering_label":{}}`, 403, "PolicyNotAuthorized", "rule:create_metering_label is disallowed by policy")
	w.refuse("demo", "GET", labels+"/"+id, "", 404, "MeteringLabelNotFound", "Metering label '"+id+"' does not exist.")

	rule := func(more string) string {
		return `{"metering_label_rule":{"metering_label_id":"` + id + `","direction":"ingress"` + more + `}}`
	}
	// A shared label is everybody's to see, with its rules, and the administrator's to change.
	theirs := w.make("admin", "metering/metering-label-rules", "metering_label_rule", `"metering_label_id":"`+demos+`","direction":"egress","remote_ip_prefix":"10.7.0.0/16"`)
	alone := w.make("admin", "metering/metering-label-rules", "metering_label_rule", `"metering_label_id":"`+id+`","direction":"egress","remote_ip_prefix":"10.7.0.0/16"`)
	for _, query := range []string{"", "&limit=1", "&id=" + theirs, "&metering_label_id=" + demos} {
		if got := w.names("other", "metering/metering-label-rules?fields=id"+query, "id"); !slices.Equal(got, []string{theirs}) {
			t.Errorf("another project sees rules %v with %q", got, query)
		}
	}
	if got := w.names("other", "metering/metering-labels", "id"); !slices.Equal(got, []string{demos}) {
		t.Errorf("another project sees labels %v", got)
	}
	w.do("other", "GET", labels+"/"+demos, "", 200)
	w.do("other", "GET", rules+"/"+theirs, "", 200)
	w.refuse("other", "GET", rules+"/"+alone, "", 404, "MeteringLabelRuleNotFound", "")
	w.refuse("other", "DELETE", labels+"/"+demos, "", 403, "PolicyNotAuthorized", "")
	w.refuse("other", "DELETE", rules+"/"+theirs, "", 403, "PolicyNotAuthorized", "")
	for _, x := range []string{theirs, alone} {
		w.do("admin", "DELETE", rules+"/"+x, "", 204)
	}
	r := w.do("admin", "POST", rules, rule(`,"remote_ip_prefix":"10.0.0.0/24"`), 201)["metering_label_rule"]
	want = map[string]any{"id": dig(r, "id"), "metering_label_id": id, "direction": "ingress", "excluded": false, "remote_ip_prefix": "10.0.0.0/24",
		"source_ip_prefix": nil, "destination_ip_prefix": nil}
	if fmt.Sprint(r) != fmt.Sprint(want) {
		t.Errorf("rule %v, want %v", r, want)
	}
	for _, c := range []struct {
		more          string
		status        int
		kind, message string
	}{
		{`,"remote_ip_prefix":"10.0.0.128/25"`, 409, "MeteringLabelRuleOverlaps", "Metering label rule with remote_ip_prefix '10.0.0.128/25' overlaps another."},
		{`,"remote_ip_prefix":"10.0.0.0/8"`, 409, "MeteringLabelRuleOverlaps", ""},
		{`,"remote_ip_prefix":"10.1.0.0/24","source_ip_prefix":"10.2.0.0/24"`, 400, "Invalid",
			"Cannot use 'remote-ip-prefix' in conjunction with 'source-ip-prefix' or 'destination-ip-prefix'."},
		{``, 400, "Invalid", ""},
		{`,"remote_ip_prefix":null`, 400, "Invalid", ""},
		{`,"source_ip_prefix":"x"`, 400, "Invalid", ""},
		{`,"remote_ip_prefix":"10.1.0.0/24","direction":"both"`, 400, "HTTPBadRequest", ""},
		{`,"remote_ip_prefix":"10.1.0.0/24","excluded":"perhaps"`, 400, "InvalidInput", ""},
	} {
		body := rule(c.more)
		if c.kind == "HTTPBadRequest" { // the key twice would be another fault
			body = `{"metering_label_rule":{"metering_label_id":"` + id + `"` + c.more + `}}`
		}
		w.refuse("admin", "POST", rules, body, c.status, c.kind, c.message)
	}
	w.refuse("admin", "POST", rules, `{"metering_label_rule":{"metering_label_id":"11111111-1111-1111-1111-111111111111","direction":"egress","remote_ip_prefix":"::/0"}}`,
		404, "MeteringLabelNotFound", "")
	w.refuse("demo", "POST", rules, rule(`,"remote_ip_prefix":"10.9.0.0/24"`), 403, "PolicyNotAuthorized", "")
	for _, fine := range []string{`,"remote_ip_prefix":"10.0.0.0/25","excluded":true`, `,"remote_ip_prefix":"fd00::/64"`, `,"source_ip_prefix":"10.0.0.0/24","destination_ip_prefix":"10.0.0.0/24"`} {
		w.do("admin", "POST", rules, rule(fine), 201)
	}
	if got := w.names("admin", "metering/metering-label-rules?metering_label_id="+id, "id"); len(got) != 4 {
		t.Errorf("rules of the label: %v", got)
	}
	w.do("admin", "DELETE", rules+"/"+dig(r, "id").(string), "", 204)
	w.refuse("admin", "GET", rules+"/"+dig(r, "id").(string), "", 404, "MeteringLabelRuleNotFound", "")
	// A label goes with its rules.
	w.do("admin", "DELETE", labels+"/"+id, "", 204)
	if got := w.names("admin", "metering/metering-label-rules", "id"); len(got) != 0 {
		t.Errorf("rules without a label: %v", got)
	}
}

func init() { untagged = append(untagged, "metering_label", "metering_label_rule") }

// storedObjects are those of the policy matrix that are only stored.
func storedObjects(w *world) []matrixObject {
	label := w.make("admin", "metering/metering-labels", "metering_label", `"project_id":"p-demo"`)
	rule := w.make("admin", "metering/metering-label-rules", "metering_label_rule", `"metering_label_id":"`+label+`","direction":"ingress","source_ip_prefix":"10.0.0.0/8"`)
	return []matrixObject{
		{"demo's metering label", "metering/metering-labels", "metering_label", label, `"name":"x"`},
		{"demo's metering label rule", "metering/metering-label-rules", "metering_label_rule", rule, `"excluded":true`},
		{"create metering label", "metering/metering-labels", "metering_label", "", `"name":"x"`},
		{"create metering label rule", "metering/metering-label-rules", "metering_label_rule", "", `"metering_label_id":"` + label + `","direction":"egress","remote_ip_prefix":"10.0.0.0/8"`},
	}
}

// makeStored makes objects for the random requests.
func (w *world) makeStored() map[string]string {
	return map[string]string{"LABEL": w.make("admin", "metering/metering-labels", "metering_label", `"project_id":"p-demo"`)}
}

func storedColls() []fuzzColl {
	return []fuzzColl{
		{"log/logs", "log", []string{`"resource_type":"security_group"`, `"resource_id":"GROUP"`}, names(logs)},
		{"flavors", "flavor", []string{`"service_type":"L3_ROUTER_NAT"`}, names(flavors)},
		{"service_profiles", "service_profile", []string{`"metainfo":"x"`}, names(serviceProfiles)},
		{"metering/metering-labels", "metering_label", nil, names(meteringLabels)},
		{"metering/metering-label-rules", "metering_label_rule", []string{`"metering_label_id":"LABEL"`, `"direction":"ingress"`}, names(meteringRules)},
	}
}
