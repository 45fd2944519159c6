// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"strings"
	"testing"
)

func TestAddressGroups(t *testing.T) {
	w := newWorld(t)
	a := w.send("demo", "POST", "/v2.0/address-groups", `{"address_group":{"name":"web","description":"d","addresses":["fd00::5","10.0.0.5","10.9.8.7/16","10.0.0.5/32"]}}`)
	id, _ := dig(a.body, "address_group", "id").(string)
	if want := `{"address_group":{"id":"` + id + `","tenant_id":"p-demo","project_id":"p-demo","description":"d","created_at":"2026-01-02T03:04:05Z","updated_at":"2026-01-02T03:04:05Z",` +
		`"revision_number":1,"name":"web","addresses":["10.0.0.5/32","10.9.0.0/16","fd00::5/128"],"shared":false}}`; a.code != 201 || a.text != want {
		t.Fatalf("%d\ngot  %s\nwant %s", a.code, a.text, want)
	}
	path := "/v2.0/address-groups/" + id
	addresses := func(m map[string]any) string { return fmt.Sprint(dig(m, "address_group", "addresses")) }
	change := func(action, list string) map[string]any {
		t.Helper()
		return w.do("demo", "PUT", path+"/"+action, `{"addresses":`+list+`}`, 200)
	}
	m := change("add_addresses", `["192.0.2.1","192.0.2.1/32"]`)
	if addresses(m) != "[10.0.0.5/32 10.9.0.0/16 192.0.2.1/32 fd00::5/128]" || dig(m, "address_group", "revision_number") != 2.0 {
		t.Errorf("after adding: %v", m)
	}
	if m = change("remove_addresses", `["10.9.0.1/16","fd00::5"]`); addresses(m) != "[10.0.0.5/32 192.0.2.1/32]" || dig(m, "address_group", "revision_number") != 3.0 {
		t.Errorf("after removing: %v", m)
	}
	if m = w.do("demo", "PUT", path, `{"address_group":{"name":"www","description":""}}`, 200); dig(m, "address_group", "name") != "www" || addresses(m) != "[10.0.0.5/32 192.0.2.1/32]" {
		t.Errorf("after an update: %v", m)
	}
	if got := w.names("demo", "address-groups?name=www&project_id=p-demo&sort_key=name&sort_dir=asc", "id"); fmt.Sprint(got) != "["+id+"]" {
		t.Errorf("listed %v", got)
	}
	empty := w.make("demo", "address-groups", "address_group", `"name":"empty"`)
	for _, c := range []struct {
		method, path, body string
		status             int
		kind, message      string
	}{
		{"PUT", path + "/add_addresses", `{"addresses":["10.0.0.5"]}`, 400, "AddressesAlreadyExist", "Addresses ['10.0.0.5/32'] already exist in the address group " + id + "."},
		{"PUT", path + "/remove_addresses", `{"addresses":["10.0.0.5","10.0.0.6"]}`, 404, "AddressesNotFound", "Addresses ['10.0.0.6/32'] not found in the address group " + id + "."},
		{"PUT", path + "/add_addresses", `{"addresses":["10.0.0.300"]}`, 400, "HTTPBadRequest", "Invalid input for addresses. Reason: '10.0.0.300' is neither a valid IP address, nor is it a valid IP subnet."},
		{"PUT", path + "/add_addresses", `{"addresses":"10.0.0.1"}`, 400, "HTTPBadRequest", ""},
		{"PUT", path + "/add_addresses", `{"address_group":{}}`, 400, "HTTPBadRequest", ""},
		{"PUT", path + "/add_addresses", `{"addresses":[],"name":"x"}`, 400, "HTTPBadRequest", ""},
		{"PUT", path + "/other", `{}`, 404, "HTTPNotFound", ""},
		{"GET", path + "/add_addresses", ``, 405, "HTTPMethodNotAllowed", ""},
		{"PUT", path, `{"address_group":{"addresses":[]}}`, 400, "HTTPBadRequest", "Cannot update read-only attribute addresses"},
		{"PUT", path, `{"address_group":{"shared":true}}`, 400, "HTTPBadRequest", "Cannot update read-only attribute shared"},
		{"POST", "/v2.0/address-groups", `{"address_group":{"shared":true}}`, 400, "HTTPBadRequest", "Attribute 'shared' not allowed in POST"},
		{"POST", "/v2.0/address-groups", `{"address_group":{"addresses":["10.0.0.0/24","10.0.0.0/24"]}}`, 400, "HTTPBadRequest", "Invalid input for addresses. Reason: Duplicate items in the list: '10.0.0.0/24'."},
		{"PUT", path + "/tags", `{"tags":["x"]}`, 404, "HTTPNotFound", ""},
		{"GET", "/v2.0/address-groups/" + strings.Replace(id, id[:8], "00000000", 1), ``, 404, "AddressGroupNotFound", ""},
	} {
		w.refuse("demo", c.method, c.path, c.body, c.status, c.kind, c.message)
	}
	many := strings.Builder{}
	for i := range maxGroupAddresses {
		fmt.Fprintf(&many, `,"10.%d.%d.%d"`, 64+i>>16, i>>8&255, i&255)
	}
	w.refuse("demo", "PUT", path+"/add_addresses", `{"addresses":[`+many.String()[1:]+`]}`, 400, "HTTPBadRequest", "")
	for _, c := range []struct{ who, method, sub string }{{"other", "GET", ""}, {"other", "PUT", "/add_addresses"}, {"other", "PUT", "/remove_addresses"}, {"other", "DELETE", ""}} {
		w.refuse(c.who, c.method, path+c.sub, `{"addresses":[]}`, 404, "AddressGroupNotFound", "")
	}
	w.refuse("reader", "PUT", path+"/add_addresses", `{"addresses":["10.0.0.9"]}`, 403, "PolicyNotAuthorized", "")
	if a := w.send("demo", "PUT", path+"/add_addresses", `{"addresses":["10.0.0.9"]}`, "If-Match", "revision_number=1"); a.code != 412 {
		t.Errorf("stale If-Match: %d %s", a.code, a.text)
	}

	// Rules name address groups as they name groups, and hold them.
	g := w.make("demo", "security-groups", "security_group", `"name":"g"`)
	rule := func(attrs string) string {
		return `{"security_group_rule":{"security_group_id":"` + g + `","direction":"ingress",` + attrs + `}}`
	}
	m = w.do("demo", "POST", "/v2.0/security-group-rules", rule(`"protocol":"tcp","remote_address_group_id":"`+id+`"`), 201)
	if dig(m, "security_group_rule", "remote_address_group_id") != id || dig(m, "security_group_rule", "remote_group_id") != nil {
		t.Errorf("rule %v", m)
	}
	const only = "Only one of remote_ip_prefix or remote_group_id or remote_address_group_id may be provided."
	w.refuse("demo", "POST", "/v2.0/security-group-rules", rule(`"protocol":6,"remote_address_group_id":"`+id+`"`), 409, "SecurityGroupRuleExists", "")
	w.refuse("demo", "POST", "/v2.0/security-group-rules", rule(`"remote_group_id":"`+g+`","remote_address_group_id":"`+id+`"`), 400, "SecurityGroupMultipleRemoteEntites", only)
	w.refuse("demo", "POST", "/v2.0/security-group-rules", rule(`"remote_ip_prefix":"10.0.0.0/8","remote_address_group_id":"`+id+`"`), 400, "SecurityGroupMultipleRemoteEntites", only)
	w.do("demo", "POST", "/v2.0/security-group-rules", rule(`"protocol":"tcp","remote_address_group_id":"`+empty+`"`), 201)
	w.do("demo", "POST", "/v2.0/security-group-rules", rule(`"protocol":"tcp"`), 201)
	foreign := w.make("other", "address-groups", "address_group", `"name":"theirs"`)
	w.refuse("demo", "POST", "/v2.0/security-group-rules", rule(`"protocol":"udp","remote_address_group_id":"`+foreign+`"`), 404, "AddressGroupNotFound", "Address group "+foreign+" could not be found.")
	if got := w.names("demo", "security-group-rules?remote_address_group_id="+id, "protocol"); fmt.Sprint(got) != "[tcp]" {
		t.Errorf("rules that name the group: %v", got)
	}
	w.refuse("demo", "DELETE", path, "", 409, "AddressGroupInUse", "Address group "+id+" is in use on one or more security group rules.")
	w.do("demo", "DELETE", "/v2.0/security-groups/"+g, "", 204)
	w.do("demo", "DELETE", path, "", 204)

	// What another project shares can be used, not changed.
	w.make("other", "rbac-policies", "rbac_policy", `"object_type":"address_group","object_id":"`+foreign+`","action":"access_as_shared","target_tenant":"p-demo"`)
	if got := w.names("demo", "address-groups", "name"); len(got) != 2 {
		t.Errorf("own and shared address groups: %v", got)
	}
	g = w.make("demo", "security-groups", "security_group", `"name":"g"`)
	w.do("demo", "POST", "/v2.0/security-group-rules", rule(`"remote_address_group_id":"`+foreign+`"`), 201)
	w.refuse("demo", "PUT", "/v2.0/address-groups/"+foreign+"/add_addresses", `{"addresses":["10.0.0.9"]}`, 403, "PolicyNotAuthorized", "")
	w.refuse("other", "DELETE", "/v2.0/address-groups/"+foreign, "", 409, "AddressGroupInUse", "")
}

// TestProfileExtensions: in classic, where groups are no boundary, nothing is advertised that only a boundary can hold.
func TestProfileExtensions(t *testing.T) {
	for profile, want := range map[string]bool{"": true, "standard": true, "classic": false} {
		w := newWorld(t, func(c *Config) { c.Profile = profile })
		w.node("compute", "", nil)
		listed := strings.Join(w.names("demo", "extensions", "alias"), " ")
		for _, alias := range []string{"address-group", "security-groups-remote-address-group", "stateful-security-group"} {
			if strings.Contains(listed, alias) != want || (w.send("demo", "GET", "/v2.0/extensions/"+alias, "").code == 200) != want {
				t.Errorf("profile %q: %s advertised: %v", profile, alias, !want)
			}
		}
		p := w.do("admin", "POST", "/v2.0/ports", `{"port":{"network_id":"`+w.network("admin", "")+`","binding:host_id":"compute"}}`, 201)
		if got := dig(p, "port", "binding:vif_details", "port_filter"); got != want {
			t.Errorf("profile %q: port_filter %v, want %v", profile, got, want)
		}
	}
}
