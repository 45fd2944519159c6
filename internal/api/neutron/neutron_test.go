// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"nagare/internal/alloc"
	"nagare/internal/identity"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// Principals of the tests. A token is a name of this map.
var people = map[string]identity.Principal{
	"admin":                {UserID: "u-admin", ProjectID: "p-admin", Roles: []string{"admin"}},
	"demo":                 {UserID: "u-demo", ProjectID: "p-demo", Roles: []string{"member"}},
	"other":                {UserID: "u-other", ProjectID: "p-other", Roles: []string{"member"}},
	"reader":               {UserID: "u-reader", ProjectID: "p-demo", Roles: []string{"reader"}},
	"nobody in particular": {UserID: "u-unscoped"},
	"service":              {UserID: "u-nova", ProjectID: "p-service", Roles: []string{"service"}},
}

type tokens struct{}

func (tokens) Validate(_ context.Context, t string) (identity.Principal, error) {
	p, ok := people[t]
	if !ok {
		return p, identity.ErrUnauthorized
	}
	return p, nil
}

type world struct {
	t   testing.TB
	st  *store.Store
	api *API
}

func newWorld(t testing.TB, change ...func(*Config)) *world {
	w := &world{t: t, st: store.New(tables.Schema, nil)}
	cfg := Config{Store: w.st, Auth: tokens{}, IdentityURL: "http://keystone/v3",
		Now: func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC) }}
	for _, f := range change {
		f(&cfg)
	}
	w.api = New(cfg)
	return w
}

// answer is what a request led to.
type answer struct {
	code int
	body map[string]any
	text string
	head http.Header
}

func (w *world) send(who, method, path, body string, header ...string) answer {
	w.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("X-Auth-Token", who)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	w.api.ServeHTTP(rec, r)
	a := answer{code: rec.Code, text: rec.Body.String(), head: rec.Header()}
	if !strings.HasPrefix(a.head.Get("X-Openstack-Request-Id"), "req-") {
		w.t.Errorf("%s %s: no request id", method, path)
	}
	if a.text != "" {
		if err := json.Unmarshal([]byte(a.text), &a.body); err != nil {
			w.t.Fatalf("%s %s: %v in %s", method, path, err, a.text)
		}
	}
	return a
}

// do wants a status and gives the body.
func (w *world) do(who, method, path, body string, want int) map[string]any {
	w.t.Helper()
	a := w.send(who, method, path, body)
	if a.code != want {
		w.t.Fatalf("%s: %s %s %s: got %d, want %d: %s", who, method, path, body, a.code, want, a.text)
	}
	return a.body
}

// refuse wants a status and error type, the message if it is given, and an unchanged store.
func (w *world) refuse(who, method, path, body string, status int, kind, message string) {
	w.t.Helper()
	before := w.st.Snapshot().Revision()
	a := w.send(who, method, path, body)
	e, _ := a.body["NeutronError"].(map[string]any)
	if a.code != status || e["type"] != kind || message != "" && e["message"] != message || e["detail"] != "" {
		w.t.Errorf("%s: %s %s %.200s:\n got %d %.400s\nwant %d %s %q", who, method, path, body, a.code, a.text, status, kind, message)
	}
	if now := w.st.Snapshot().Revision(); now != before {
		w.t.Errorf("%s: %s %s %s: refused, but the store changed", who, method, path, body)
	}
}

func dig(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

// make creates an object and gives its id.
func (w *world) make(who, path, name, body string) string {
	w.t.Helper()
	m := w.do(who, "POST", "/v2.0/"+path, fmt.Sprintf(`{%q:{%s}}`, name, body), 201)
	return dig(m, name, "id").(string)
}

func (w *world) network(who, body string) string { return w.make(who, "networks", "network", body) }
func (w *world) subnet(who, net, cidr, more string) string {
	v := 4
	if strings.Contains(cidr, ":") {
		v = 6
	}
	return w.make(who, "subnets", "subnet", fmt.Sprintf(`"network_id":%q,"cidr":%q,"ip_version":%d%s`, net, cidr, v, more))
}
func (w *world) port(who, net, more string) string {
	return w.make(who, "ports", "port", fmt.Sprintf(`"network_id":%q%s`, net, more))
}

// names gives the values of one attribute of a list's objects.
func (w *world) names(who, path, attr string) []string {
	w.t.Helper()
	m := w.do(who, "GET", "/v2.0/"+path, "", 200)
	coll, _, _ := strings.Cut(path, "?")
	coll = strings.ReplaceAll(coll[strings.LastIndex(coll, "/")+1:], "-", "_")
	l, ok := m[coll].([]any)
	if !ok {
		w.t.Fatalf("GET %s: no %s in %v", path, coll, m)
	}
	out := []string{}
	for _, o := range l {
		out = append(out, fmt.Sprint(dig(o, attr)))
	}
	return out
}

// node makes a node known.
func (w *world) node(id, datapath string, mappings map[string]string) {
	w.t.Helper()
	_, err := w.st.Commit(context.Background(), store.Origin{}, func(tx *store.Txn) error {
		k, err := alloc.NextKey(tx, alloc.Node)
		if err != nil {
			return err
		}
		tables.Nodes.Put(tx, model.NodeID(id), model.Node{ID: model.NodeID(id),
			NodePlane: model.NodePlane{Key: k, LocalIP: netip.MustParseAddr("192.168.0.10"), DatapathType: datapath, Mappings: mappings}})
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestErrorBodies(t *testing.T) {
	w := newWorld(t)
	net := w.network("demo", `"name":"n"`)
	sub := w.subnet("demo", net, "10.0.0.0/24", "")
	port := w.port("demo", net, `,"fixed_ips":[{"ip_address":"10.0.0.5"}],"mac_address":"fa:16:3e:00:00:01"`)
	sg := w.make("demo", "security-groups", "security_group", `"name":"web"`)
	missing := "00000000-0000-4000-8000-000000000000"
	n := func(attrs string) string { return `{"network":{` + attrs + `}}` }
	s := func(attrs string) string { return `{"subnet":{"network_id":"` + net + `",` + attrs + `}}` }
	p := func(attrs string) string { return `{"port":{"network_id":"` + net + `",` + attrs + `}}` }
	r := func(attrs string) string {
		return `{"security_group_rule":{"security_group_id":"` + sg + `",` + attrs + `}}`
	}
	for _, c := range []struct {
		who, method, path, body string
		status                  int
		kind, message           string
	}{
		// The API itself.
		{"demo", "GET", "/v2.0/rubbish", "", 404, "HTTPNotFound", "The resource could not be found."},
		{"demo", "GET", "/v2.0", "", 404, "HTTPNotFound", ""},
		{"demo", "GET", "/v2.0/networks//", "", 404, "HTTPNotFound", ""},
		{"demo", "GET", "/v2.0/floatingips", "", 404, "HTTPNotFound", ""},
		{"demo", "PATCH", "/v2.0/networks/" + net, "{}", 405, "HTTPMethodNotAllowed", ""},
		{"demo", "DELETE", "/v2.0/networks", "", 405, "HTTPMethodNotAllowed", ""},
		{"demo", "GET", "/v2.0/extensions/router", "", 404, "ExtensionNotFound", ""},
		{"demo", "POST", "/v2.0/networks", "", 400, "HTTPBadRequest", "Resource body required"},
		{"demo", "POST", "/v2.0/networks", `{"net":{}}`, 400, "HTTPBadRequest", "Unable to find 'network' in request body"},
		{"demo", "PUT", "/v2.0/networks/" + net, `{"net":{}}`, 400, "HTTPBadRequest", "Unable to find 'network' in request body"},
		{"demo", "POST", "/v2.0/networks", `{"network":{`, 400, "HTTPBadRequest", "Body contains invalid data"},
		{"demo", "POST", "/v2.0/networks", `[]`, 400, "HTTPBadRequest", "Body contains invalid data"},
		{"demo", "POST", "/v2.0/networks", `{"network":[]}`, 400, "HTTPBadRequest", "Body contains invalid data"},
		{"demo", "POST", "/v2.0/networks", `{"network":{"name":"a","name":"b"}}`, 400, "HTTPBadRequest", "Body contains invalid data: key 'name' occurs twice"},
		{"demo", "POST", "/v2.0/networks", n(`"foo":1`), 400, "HTTPBadRequest", "Unrecognized attribute(s) 'foo'"},
		{"demo", "POST", "/v2.0/networks", n(`"NAME":"x"`), 400, "HTTPBadRequest", "Unrecognized attribute(s) 'NAME'"},
		{"demo", "POST", "/v2.0/networks", n(`"status":"ACTIVE"`), 400, "HTTPBadRequest", "Attribute 'status' not allowed in POST"},
		{"demo", "PUT", "/v2.0/networks/" + net, n(`"status":"ACTIVE"`), 400, "HTTPBadRequest", "Cannot update read-only attribute status"},
		{"demo", "PUT", "/v2.0/networks/" + net, n(`"tenant_id":"p-other"`), 400, "HTTPBadRequest", "Cannot update read-only attribute project_id"},
		{"demo", "POST", "/v2.0/networks", n(`"name":1`), 400, "HTTPBadRequest", "Invalid input for name. Reason: '1' is not a valid string."},
		{"demo", "POST", "/v2.0/networks", n(`"name":"` + strings.Repeat("x", 256) + `"`), 400, "HTTPBadRequest",
			"Invalid input for name. Reason: '" + strings.Repeat("x", 256) + "' exceeds maximum length of 255."},
		{"demo", "POST", "/v2.0/networks", n(`"name":"a\u0000b"`), 400, "HTTPBadRequest", ""},
		{"demo", "POST", "/v2.0/networks", n(`"admin_state_up":"maybe"`), 400, "InvalidInput", "Invalid input for operation: 'maybe' cannot be converted to boolean."},
		{"demo", "POST", "/v2.0/networks", n(`"admin_state_up":null`), 400, "InvalidInput", "Invalid input for operation: 'None' cannot be converted to boolean."},
		{"demo", "POST", "/v2.0/networks", n(`"project_id":"a","tenant_id":"b"`), 400, "HTTPBadRequest", "'project_id' and 'tenant_id' do not match"},
		{"demo", "POST", "/v2.0/networks", n(`"project_id":"p-other"`), 400, "HTTPBadRequest",
			"Specifying 'project_id' or 'tenant_id' other than the authenticated project in request requires admin privileges"},
		{"demo", "POST", "/v2.0/networks", `{"networks":[]}`, 400, "HTTPBadRequest", ""},
		{"demo", "POST", "/v2.0/networks", `{"networks":[{"name":"a"},{"name":2}]}`, 400, "HTTPBadRequest", ""},
		// Networks.
		{"demo", "GET", "/v2.0/networks/" + missing, "", 404, "NetworkNotFound", "Network " + missing + " could not be found."},
		{"demo", "DELETE", "/v2.0/networks/" + net, "", 409, "NetworkInUse",
			"Unable to complete operation on network " + net + ". There are one or more ports still in use on the network, id for these ports is " + port + "."},
		{"demo", "POST", "/v2.0/networks", n(`"mtu":1451`), 400, "InvalidInput", "Invalid input for operation: Requested MTU is too big, maximum is 1450."},
		{"demo", "POST", "/v2.0/networks", n(`"mtu":-1`), 400, "HTTPBadRequest", "Invalid input for mtu. Reason: '-1' is too small - must be at least '0'."},
		{"admin", "POST", "/v2.0/networks", n(`"provider:network_type":"vxlan","provider:segmentation_id":16777216`), 400, "InvalidInput",
			"Invalid input for operation: segmentation_id out of range (1 through 16777215)."},
		{"admin", "POST", "/v2.0/networks", n(`"provider:network_type":"vxlan","provider:segmentation_id":0`), 400, "InvalidInput", ""},
		{"admin", "POST", "/v2.0/networks", n(`"provider:network_type":"vxlan","provider:segmentation_id":1`), 409, "TunnelIdInUse",
			"Unable to create the network. The tunnel ID 1 is in use."},
		{"admin", "POST", "/v2.0/networks", n(`"provider:network_type":"token-ring"`), 400, "HTTPBadRequest", ""},
		{"admin", "POST", "/v2.0/networks", n(`"provider:segmentation_id":5`), 400, "InvalidInput", "Invalid input for operation: network_type required."},
		{"admin", "POST", "/v2.0/networks", n(`"provider:network_type":"vlan","provider:segmentation_id":5`), 400, "InvalidInput", ""},
		{"admin", "PUT", "/v2.0/networks/" + net, n(`"provider:segmentation_id":9`), 400, "InvalidInput", ""},
		{"demo", "POST", "/v2.0/networks", n(`"qos_policy_id":"` + missing + `"`), 404, "QosPolicyNotFound", ""},
		// Subnets.
		{"demo", "POST", "/v2.0/subnets", `{"subnet":{"cidr":"10.1.0.0/24","ip_version":4}}`, 400, "HTTPBadRequest",
			"Failed to parse request. Required attribute 'network_id' not specified"},
		{"demo", "POST", "/v2.0/subnets", s(`"cidr":"10.1.0.0/24"`), 400, "HTTPBadRequest", "Failed to parse request. Required attribute 'ip_version' not specified"},
		{"demo", "POST", "/v2.0/subnets", `{"subnet":{"network_id":"` + missing + `","cidr":"10.1.0.0/24","ip_version":4}}`, 404, "NetworkNotFound", ""},
		{"demo", "POST", "/v2.0/subnets", s(`"cidr":"10.0.0.128/25","ip_version":4`), 400, "InvalidInput",
			"Invalid input for operation: Requested subnet with cidr: 10.0.0.128/25 for network: " + net + " overlaps with another subnet."},
		{"demo", "POST", "/v2.0/subnets", s(`"ip_version":4`), 400, "BadRequest", "Bad subnets request: a subnetpool must be specified in the absence of a cidr."},
		{"demo", "POST", "/v2.0/subnets", s(`"cidr":"10.1.0.1/24","ip_version":4`), 400, "HTTPBadRequest",
			"Invalid input for cidr. Reason: '10.1.0.1/24' isn't a recognized IP subnet cidr, '10.1.0.0/24' is recommended."},
		{"demo", "POST", "/v2.0/subnets", s(`"cidr":"x","ip_version":4`), 400, "HTTPBadRequest", "Invalid input for cidr. Reason: 'x' is not a valid IP subnet."},
		{"demo", "POST", "/v2.0/subnets", s(`"cidr":"10.1.0.0/24","ip_version":6`), 400, "InvalidInput", ""},
		{"demo", "POST", "/v2.0/subnets", s(`"cidr":"10.1.0.0/24","ip_version":5`), 400, "HTTPBadRequest", "Invalid input for ip_version. Reason: '5' is not in [4, 6]."},
		{"demo", "POST", "/v2.0/subnets", s(`"cidr":"10.1.0.0/32","ip_version":4`), 400, "InvalidInput", ""},
		{"demo", "POST", "/v2.0/subnets", s(`"cidr":"0.0.0.0/0","ip_version":4`), 400, "InvalidInput", "Invalid input for operation: 0 is not allowed as CIDR prefix length."},
		{"demo", "POST", "/v2.0/subnets", s(`"cidr":"10.1.0.0/24","ip_version":4,"gateway_ip":"10.1.0.255"`), 400, "InvalidInput", ""},
		{"demo", "POST", "/v2.0/subnets", s(`"cidr":"10.1.0.0/24","ip_version":4,"gateway_ip":"10.1.0.9","allocation_pools":[{"start":"10.1.0.5","end":"10.1.0.20"}]`), 409,
			"GatewayConflictWithAllocationPools", "Gateway ip 10.1.0.9 conflicts with allocation pool 10.1.0.5-10.1.0.20."},
		{"demo", "POST", "/v2.0/subnets", s(`"cidr":"10.1.0.0/24","ip_version":4,"allocation_pools":[{"start":"10.1.1.5","end":"10.1.1.20"}]`), 400, "OutOfBoundsAllocationPool",
			"The allocation pool 10.1.1.5-10.1.1.20 spans beyond the subnet cidr 10.1.0.0/24."},
		{"demo", "POST", "/v2.0/subnets", s(`"cidr":"10.1.0.0/24","ip_version":4,"allocation_pools":[{"start":"10.1.0.20","end":"10.1.0.5"}]`), 400, "InvalidAllocationPool", ""},
		{"demo", "POST", "/v2.0/subnets", s(`"cidr":"10.1.0.0/24","ip_version":4,"allocation_pools":[{"start":"10.1.0.2","end":"10.1.0.9"},{"start":"10.1.0.9","end":"10.1.0.11"}]`), 409,
			"OverlappingAllocationPools", ""},
		{"demo", "POST", "/v2.0/subnets", s(`"cidr":"10.1.0.0/24","ip_version":4,"dns_nameservers":["8.8.8.8\n"]`), 400, "HTTPBadRequest", ""},
		{"demo", "POST", "/v2.0/subnets", s(`"cidr":"10.1.0.0/24","ip_version":4,"dns_nameservers":["1.1.1.1","1.1.1.2","1.1.1.3","1.1.1.4","1.1.1.5","1.1.1.6"]`), 400, "DNSNameServersExhausted", ""},
		{"demo", "POST", "/v2.0/subnets", s(`"cidr":"10.1.0.0/24","ip_version":4,"host_routes":[{"destination":"10.2.0.0/16"}]`), 400, "HTTPBadRequest", ""},
		{"demo", "POST", "/v2.0/subnets", s(`"cidr":"10.1.0.0/24","ip_version":4,"ipv6_ra_mode":"slaac"`), 400, "InvalidInput", ""},
		{"demo", "POST", "/v2.0/subnets", s(`"cidr":"fd00::/63","ip_version":6,"ipv6_ra_mode":"slaac","ipv6_address_mode":"slaac"`), 400, "InvalidInput", ""},
		{"demo", "POST", "/v2.0/subnets", s(`"cidr":"fd00::/64","ip_version":6,"ipv6_ra_mode":"slaac","ipv6_address_mode":"dhcpv6-stateful"`), 400, "InvalidInput", ""},
		{"demo", "POST", "/v2.0/subnets", s(`"subnetpool_id":"` + missing + `","ip_version":4`), 404, "SubnetPoolNotFound", ""},
		{"demo", "DELETE", "/v2.0/subnets/" + sub, "", 409, "SubnetInUse",
			"Unable to complete operation on subnet " + sub + ": One or more ports have an IP allocation from this subnet."},
		{"demo", "GET", "/v2.0/subnets/" + missing, "", 404, "SubnetNotFound", "Subnet " + missing + " could not be found."},
		// Ports.
		{"demo", "POST", "/v2.0/ports", `{"port":{"network_id":"` + missing + `"}}`, 404, "NetworkNotFound", "Network " + missing + " could not be found."},
		{"demo", "POST", "/v2.0/ports", `{"port":{"network_id":"x"}}`, 400, "HTTPBadRequest", "Invalid input for network_id. Reason: 'x' is not a valid UUID."},
		{"demo", "GET", "/v2.0/ports/" + missing, "", 404, "PortNotFound", "Port " + missing + " could not be found."},
		{"demo", "POST", "/v2.0/ports", p(`"fixed_ips":[{"ip_address":"10.0.0.5"}]`), 409, "IpAddressAlreadyAllocated", "IP address 10.0.0.5 already allocated in subnet " + sub},
		{"demo", "POST", "/v2.0/ports", p(`"fixed_ips":[{"ip_address":"10.9.0.5"}]`), 400, "InvalidIpForNetwork",
			"IP address 10.9.0.5 is not a valid IP for any of the subnets on the specified network."},
		{"demo", "POST", "/v2.0/ports", p(`"fixed_ips":[{"ip_address":"10.0.0.255"}]`), 400, "InvalidIpForSubnet", "IP address 10.0.0.255 is not a valid IP for the specified subnet."},
		{"demo", "POST", "/v2.0/ports", p(`"fixed_ips":[{"ip_address":"10.0.0.9"},{"ip_address":"10.0.0.9"}]`), 400, "HTTPBadRequest", ""},
		{"demo", "POST", "/v2.0/ports", p(`"fixed_ips":[{"subnet_id":"` + missing + `"}]`), 404, "SubnetNotFound", ""},
		{"demo", "POST", "/v2.0/ports", p(`"fixed_ips":[{}]`), 400, "InvalidInput", "Invalid input for operation: IP allocation requires subnet_id or ip_address."},
		{"demo", "POST", "/v2.0/ports", p(`"fixed_ips":"10.0.0.9"`), 400, "HTTPBadRequest", ""},
		{"demo", "POST", "/v2.0/ports", p(`"mac_address":"fa:16:3e:00:00:01"`), 409, "MacAddressInUse",
			"Unable to complete operation for network " + net + ". The mac address fa:16:3e:00:00:01 is in use."},
		{"demo", "POST", "/v2.0/ports", p(`"mac_address":"01:00:5e:00:00:01"`), 400, "HTTPBadRequest", "Invalid input for mac_address. Reason: '01:00:5e:00:00:01' is not a valid MAC address."},
		{"demo", "POST", "/v2.0/ports", p(`"mac_address":"x"`), 400, "HTTPBadRequest", "Invalid input for mac_address. Reason: 'x' is not a valid MAC address."},
		{"demo", "POST", "/v2.0/ports", p(`"security_groups":["` + missing + `"]`), 404, "SecurityGroupNotFound", "Security group " + missing + " does not exist"},
		{"demo", "POST", "/v2.0/ports", p(`"port_security_enabled":false,"security_groups":["` + sg + `"]`), 400, "PortSecurityAndIPRequiredForSecurityGroups", ""},
		{"demo", "PUT", "/v2.0/ports/" + port, `{"port":{"port_security_enabled":false}}`, 409, "PortSecurityPortHasSecurityGroup", ""},
		{"demo", "POST", "/v2.0/ports", p(`"port_security_enabled":false,"allowed_address_pairs":[{"ip_address":"10.0.0.9"}]`), 409, "AddressPairAndPortSecurityRequired", ""},
		{"demo", "POST", "/v2.0/ports", p(`"allowed_address_pairs":[{"ip_address":"10.0.0.9"},{"ip_address":"10.0.0.9"}]`), 400, "DuplicateAddressPairInRequest", ""},
		{"demo", "POST", "/v2.0/ports", p(`"allowed_address_pairs":[{"mac_address":"fa:16:3e:00:00:07"}]`), 400, "AllowedAddressPairsMissingIP", ""},
		{"demo", "POST", "/v2.0/ports", p(`"extra_dhcp_opts":[{"opt_name":"a\nb","opt_value":"x"}]`), 400, "HTTPBadRequest", ""},
		{"demo", "POST", "/v2.0/ports", p(`"extra_dhcp_opts":[{"opt_name":"mtu","opt_value":"x\ndhcp-script=/bin/sh"}]`), 400, "HTTPBadRequest", ""},
		{"demo", "POST", "/v2.0/ports", p(`"dns_name":"a_b"`), 400, "HTTPBadRequest", ""},
		{"admin", "POST", "/v2.0/ports", p(`"binding:host_id":"a|b"`), 400, "HTTPBadRequest", ""},
		{"admin", "POST", "/v2.0/ports", p(`"binding:profile":{"x":"` + strings.Repeat("y", 5000) + `"}`), 400, "HTTPBadRequest", ""},
		{"demo", "POST", "/v2.0/ports", p(`"binding:vnic_type":"token"`), 400, "HTTPBadRequest", ""},
		// Security groups.
		{"demo", "POST", "/v2.0/security-groups", `{"security_group":{"name":"default"}}`, 409, "SecurityGroupDefaultAlreadyExists", "Default security group already exists."},
		{"demo", "GET", "/v2.0/security-groups/" + missing, "", 404, "SecurityGroupNotFound", ""},
		{"demo", "POST", "/v2.0/security-group-rules", r(`"direction":"up"`), 400, "HTTPBadRequest", "Invalid input for direction. Reason: 'up' is not in ['ingress', 'egress']."},
		{"demo", "POST", "/v2.0/security-group-rules", r(`"ethertype":"IPv4"`), 400, "HTTPBadRequest", "Failed to parse request. Required attribute 'direction' not specified"},
		{"demo", "POST", "/v2.0/security-group-rules", r(`"direction":"ingress","protocol":"bogus"`), 400, "SecurityGroupRuleInvalidProtocol", ""},
		{"demo", "POST", "/v2.0/security-group-rules", r(`"direction":"ingress","protocol":256`), 400, "SecurityGroupRuleInvalidProtocol", ""},
		{"demo", "POST", "/v2.0/security-group-rules", r(`"direction":"ingress","protocol":"tcp","port_range_min":80`), 400, "SecurityGroupInvalidPortRange",
			"For TCP/UDP protocols, port_range_min must be <= port_range_max"},
		{"demo", "POST", "/v2.0/security-group-rules", r(`"direction":"ingress","protocol":"tcp","port_range_min":80,"port_range_max":79`), 400, "SecurityGroupInvalidPortRange", ""},
		{"demo", "POST", "/v2.0/security-group-rules", r(`"direction":"ingress","protocol":"tcp","port_range_min":80,"port_range_max":65536`), 400, "SecurityGroupInvalidPortValue", "Invalid value for port 65536"},
		{"demo", "POST", "/v2.0/security-group-rules", r(`"direction":"ingress","protocol":"tcp","port_range_min":0,"port_range_max":80`), 400, "SecurityGroupInvalidPortValue", "Invalid value for port 0"},
		{"demo", "POST", "/v2.0/security-group-rules", r(`"direction":"ingress","port_range_min":80,"port_range_max":80`), 400, "SecurityGroupProtocolRequiredWithPorts", ""},
		{"demo", "POST", "/v2.0/security-group-rules", r(`"direction":"ingress","protocol":"icmp","port_range_min":256`), 400, "SecurityGroupInvalidIcmpValue", ""},
		{"demo", "POST", "/v2.0/security-group-rules", r(`"direction":"ingress","protocol":"icmp","port_range_max":0`), 400, "SecurityGroupMissingIcmpType", ""},
		{"demo", "POST", "/v2.0/security-group-rules", r(`"direction":"ingress","protocol":"111","port_range_min":1,"port_range_max":2`), 400, "SecurityGroupInvalidProtocolForPort", ""},
		{"demo", "POST", "/v2.0/security-group-rules", r(`"direction":"ingress","protocol":"ipv6-icmp"`), 400, "SecurityGroupEthertypeConflictWithProtocol", ""},
		{"demo", "POST", "/v2.0/security-group-rules", r(`"direction":"ingress","remote_ip_prefix":"fd00::/8"`), 400, "SecurityGroupRuleParameterConflict",
			"Conflicting value ethertype IPv4 for CIDR fd00::/8"},
		{"demo", "POST", "/v2.0/security-group-rules", r(`"direction":"ingress","remote_ip_prefix":"x"`), 400, "InvalidCIDR", "Invalid CIDR x given as IP prefix."},
		{"demo", "POST", "/v2.0/security-group-rules", r(`"direction":"ingress","remote_group_id":"` + missing + `"`), 404, "SecurityGroupNotFound", ""},
		{"demo", "POST", "/v2.0/security-group-rules", r(`"direction":"ingress","remote_ip_prefix":"10.0.0.0/8","remote_group_id":"` + sg + `"`), 400, "SecurityGroupMultipleRemoteEntites", ""},
		{"demo", "POST", "/v2.0/security-group-rules", r(`"direction":"egress"`), 409, "SecurityGroupRuleExists", ""},
		{"demo", "POST", "/v2.0/security-group-rules", `{"security_group_rules":[` +
			`{"security_group_id":"` + sg + `","direction":"ingress","protocol":"tcp"},{"security_group_id":"` + sg + `","direction":"ingress","protocol":6}]}`, 409, "DuplicateSecurityGroupRuleInPost", ""},
		{"demo", "PUT", "/v2.0/security-group-rules/" + missing, `{"security_group_rule":{"direction":"egress"}}`, 400, "HTTPBadRequest", "Cannot update read-only attribute direction"},
		// Lists.
		{"demo", "GET", "/v2.0/networks?foo=1", "", 400, "HTTPBadRequest", "['foo'] is invalid attribute for filtering"},
		{"demo", "GET", "/v2.0/networks?changed_since=2020-01-01", "", 400, "HTTPBadRequest", "['changed_since'] is invalid attribute for filtering"},
		{"demo", "GET", "/v2.0/networks?shared=maybe", "", 400, "InvalidInput", ""},
		{"demo", "GET", "/v2.0/networks?sort_key=name", "", 400, "HTTPBadRequest", "The number of sort_keys and sort_dirs must be same"},
		{"demo", "GET", "/v2.0/networks?sort_key=foo&sort_dir=asc", "", 400, "HTTPBadRequest", "['foo'] is invalid attribute for sort_keys"},
		{"demo", "GET", "/v2.0/networks?sort_key=name&sort_dir=up", "", 400, "HTTPBadRequest", ""},
		{"demo", "GET", "/v2.0/networks?limit=x", "", 400, "BadRequest", ""},
		{"demo", "GET", "/v2.0/networks?limit=-1", "", 400, "BadRequest", ""},
		{"demo", "GET", "/v2.0/networks?marker=" + missing, "", 404, "NetworkNotFound", ""},
		{"demo", "GET", "/v2.0/ports?fixed_ips=foo", "", 400, "InvalidInput", ""},
		{"demo", "GET", "/v2.0/networks?%zz", "", 400, "HTTPBadRequest", ""},
		// Quotas and tags.
		{"demo", "GET", "/v2.0/quotas/p-other", "", 403, "PolicyNotAuthorized", ""},
		{"demo", "GET", "/v2.0/quotas", "", 403, "PolicyNotAuthorized", ""},
		{"demo", "PUT", "/v2.0/quotas/p-demo", `{"quota":{"port":1}}`, 403, "PolicyNotAuthorized", ""},
		{"admin", "PUT", "/v2.0/quotas/p-demo", `{"quota":{"port":"x"}}`, 400, "InvalidInput", ""},
		{"admin", "PUT", "/v2.0/quotas/p-demo", `{"quota":{"ports":1}}`, 400, "HTTPBadRequest", ""},
		{"demo", "GET", "/v2.0/networks/" + net + "/tags/red", "", 404, "TagNotFound", ""},
		{"demo", "DELETE", "/v2.0/networks/" + net + "/tags/red", "", 404, "TagNotFound", ""},
		{"demo", "PUT", "/v2.0/networks/" + net + "/tags", `{"tags":"red"}`, 400, "HTTPBadRequest", ""},
		{"demo", "POST", "/v2.0/networks/" + net + "/tags/red", "", 405, "HTTPMethodNotAllowed", ""},
		{"demo", "POST", "/v2.0/networks/" + net + "/tags", `{"tags":[1]}`, 400, "HTTPBadRequest", ""},
		{"demo", "GET", "/v2.0/networks/" + net + "/other", "", 404, "HTTPNotFound", ""},
	} {
		w.refuse(c.who, c.method, c.path, c.body, c.status, c.kind, c.message)
	}
}

func TestUnauthorized(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/v2.0/networks", "/v2.0/", "/v2.0/rubbish"} {
		a := w.send("nobody", "GET", path, "")
		if a.code != 401 || dig(a.body, "error", "code") != 401.0 || dig(a.body, "error", "title") != "Unauthorized" ||
			a.head.Get("WWW-Authenticate") != `Keystone uri="http://keystone/v3"` {
			t.Errorf("%s: %d %s %v", path, a.code, a.text, a.head)
		}
	}
	w.refuse("nobody in particular", "GET", "/v2.0/networks", "", 403, "PolicyNotAuthorized", "")
	if m := w.do("nobody", "GET", "/", "", 200); dig(m, "versions", 0, "id") != "v2.0" || dig(m, "versions", 0, "links", 0, "href") != "http://example.com/v2.0/" {
		t.Errorf("versions %v", m)
	}
	w.do("demo", "GET", "/v2.0/", "", 200)
	w.do("demo", "GET", "/v2.0/networks.json", "", 200)
	if m := w.do("demo", "GET", "/v2.0/extensions.json", "", 200); len(m["extensions"].([]any)) != len(w.api.extensions) {
		t.Errorf("extensions %v", m)
	}
	w.do("demo", "GET", "/v2.0/extensions/security-group", "", 200)
}
