// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// badInput sends what must be refused, and holds that each is answered with the right status and error and changes nothing.
// The site is at the end of the walk-through.
func badInput(s *site) {
	demo, admin := s.user("demo"), s.user("admin")
	var nets struct {
		Networks []struct {
			ID      string
			Subnets []string
		}
	}
	if err := demo.ask(200, "GET", demo.neutron("/networks?name=net01"), nil, &nets); err != nil || len(nets.Networks) != 1 {
		s.t.Fatalf("net01: %v, %v", nets, err)
	}
	net, subnet := nets.Networks[0].ID, nets.Networks[0].Subnets[0]
	vm01 := s.instance("vm01")
	const nobody = "3f1c0f7a-0d3c-4a3a-9d55-8e1a0c6b7f00"
	port := func(fields string) string { return `{"port":{"network_id":"` + net + `"` + fields + `}}` }
	for _, c := range []struct {
		what   string
		as     *client
		method string
		path   string
		body   string
		status int
		kind   string
		says   string // part of the message
	}{
		{"port on an unknown network", demo, "POST", "/ports", `{"port":{"network_id":"` + nobody + `"}}`, 404, "NetworkNotFound", nobody},
		{"duplicate address", demo, "POST", "/ports", port(`,"fixed_ips":[{"subnet_id":"` + subnet + `","ip_address":"10.11.12.3"}]`), 409, "IpAddressAlreadyAllocated", "10.11.12.3"},
		{"one address twice", demo, "POST", "/ports", port(`,"fixed_ips":[{"ip_address":"10.11.12.5"},{"ip_address":"10.11.12.5"}]`), 400, "", "10.11.12.5"},
		{"address outside of the subnet", demo, "POST", "/ports", port(`,"fixed_ips":[{"ip_address":"10.99.0.1"}]`), 400, "InvalidIpForNetwork", "10.99.0.1"},
		{"duplicate MAC", admin, "POST", "/ports", port(`,"mac_address":"` + vm01.MAC + `"`), 409, "MacAddressInUse", vm01.MAC},
		{"multicast MAC", admin, "POST", "/ports", port(`,"mac_address":"01:00:5e:00:00:01"`), 400, "", ""},
		{"fixed address on an unknown subnet", demo, "POST", "/ports", port(`,"fixed_ips":[{"subnet_id":"` + nobody + `"}]`), 404, "SubnetNotFound", nobody},
		{"unknown security group", demo, "POST", "/ports", port(`,"security_groups":["` + nobody + `"]`), 404, "SecurityGroupNotFound", nobody},
		{"host set by who may not", demo, "POST", "/ports", port(`,"binding:host_id":"compute"`), 403, "PolicyNotAuthorized", "binding:host_id"},
		{"overlapping subnet", demo, "POST", "/subnets", `{"subnet":{"network_id":"` + net + `","ip_version":4,"cidr":"10.11.12.128/25"}}`, 400, "InvalidInput", "overlaps"},
		{"subnet of an unknown network", demo, "POST", "/subnets", `{"subnet":{"network_id":"` + nobody + `","ip_version":4,"cidr":"10.50.0.0/24"}}`, 404, "NetworkNotFound", nobody},
		{"subnet that is none", demo, "POST", "/subnets", `{"subnet":{"network_id":"` + net + `","ip_version":4,"cidr":"10.50.0.0/33"}}`, 400, "", "10.50.0.0/33"},
		{"VNI too large", admin, "POST", "/networks", `{"network":{"provider:network_type":"vxlan","provider:segmentation_id":16777216}}`, 400, "InvalidInput", "segmentation_id"},
		{"VNI zero", admin, "POST", "/networks", `{"network":{"provider:network_type":"vxlan","provider:segmentation_id":0}}`, 400, "InvalidInput", "segmentation_id"},
		{"VNI in use", admin, "POST", "/networks", `{"network":{"provider:network_type":"vxlan","provider:segmentation_id":1077}}`, 409, "TunnelIdInUse", "1077"},
		{"VNI by who may not", demo, "POST", "/networks", `{"network":{"provider:network_type":"vxlan","provider:segmentation_id":2000}}`, 403, "PolicyNotAuthorized", ""},
		{"no JSON", demo, "POST", "/networks", `{"network":{"name":"x"`, 400, "HTTPBadRequest", ""},
		{"JSON and more", demo, "POST", "/networks", `{"network":{"name":"x"}}{}`, 400, "HTTPBadRequest", ""},
		{"no body", demo, "POST", "/networks", ``, 400, "HTTPBadRequest", "body"},
		{"a list for an object", demo, "POST", "/networks", `[]`, 400, "HTTPBadRequest", ""},
		{"another object", demo, "POST", "/networks", `{"port":{}}`, 400, "HTTPBadRequest", "network"},
		{"key twice", demo, "POST", "/networks", `{"network":{"name":"a","name":"b"}}`, 400, "HTTPBadRequest", "name"},
		{"deeply nested", demo, "POST", "/networks", `{"network":{"name":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}}`, 400, "HTTPBadRequest", ""},
		{"name of a wrong type", demo, "POST", "/networks", `{"network":{"name":7}}`, 400, "HTTPBadRequest", "name"},
		{"boolean of a wrong type", demo, "POST", "/networks", `{"network":{"admin_state_up":"perhaps"}}`, 400, "", "perhaps"},
		{"network id of a wrong type", demo, "POST", "/ports", `{"port":{"network_id":{"a":1}}}`, 400, "HTTPBadRequest", "network_id"},
		{"addresses of a wrong type", demo, "POST", "/ports", port(`,"fixed_ips":"10.11.12.9"`), 400, "HTTPBadRequest", "fixed_ips"},
		{"unknown attribute", demo, "POST", "/ports", port(`,"colour":"red"`), 400, "HTTPBadRequest", "colour"},
		{"read-only attribute", demo, "PUT", "/ports/" + vm01.PortID, `{"port":{"status":"DOWN"}}`, 400, "HTTPBadRequest", "status"},
		{"unknown port", demo, "PUT", "/ports/" + nobody, `{"port":{"name":"x"}}`, 404, "PortNotFound", nobody},
		{"unknown network", demo, "DELETE", "/networks/" + nobody, ``, 404, "NetworkNotFound", nobody},
		{"network in use", demo, "DELETE", "/networks/" + net, ``, 409, "NetworkInUse", net},
		{"subnet in use", demo, "DELETE", "/subnets/" + subnet, ``, 409, "SubnetInUse", subnet},
		{"rule of an unknown group", demo, "POST", "/security-group-rules", `{"security_group_rule":{"security_group_id":"` + nobody + `","direction":"ingress"}}`, 404, "SecurityGroupNotFound", nobody},
		{"unknown path", demo, "GET", "/unicorns", ``, 404, "", ""},
	} {
		s.t.Run(strings.ReplaceAll(c.what, " ", "_"), func(t *testing.T) {
			before, err := admin.revision()
			if err != nil {
				t.Fatal(err)
			}
			var body any
			if c.body != "" {
				body = []byte(c.body)
			} else if c.method == "POST" {
				body = []byte{}
			}
			code, answer, err := c.as.do(t.Context(), c.method, c.as.neutron(c.path), body)
			if err != nil {
				t.Fatal(err)
			}
			if err := refusal(code, answer, c.status, c.kind, c.says); err != nil {
				t.Error(err)
			}
			after, err := admin.revision()
			if err != nil {
				t.Fatal(err)
			}
			if after != before {
				t.Errorf("the store went from revision %d to %d", before, after)
			}
		})
	}
	s.t.Run("no_token", func(t *testing.T) {
		nobody := *demo
		nobody.token = "nagare1.eyJ1IjoiYWRtaW4ifQ.AAAA"
		for _, target := range []string{demo.neutron("/networks"), demo.admin("/nodes")} {
			if code, answer, err := nobody.do(t.Context(), "GET", target, nil); err != nil || code != 401 {
				t.Errorf("%s with an invented token: %d %s, %v", target, code, answer, err)
			}
		}
		if code, answer, err := demo.do(t.Context(), "GET", demo.admin("/nodes"), nil); err != nil || code != 403 {
			t.Errorf("the admin API for a plain user: %d %s, %v", code, answer, err)
		}
	})
}

// refusal checks an answer that has to be a refusal; kind "" is any.
func refusal(code int, answer []byte, wantCode int, kind, says string) error {
	var body struct {
		NeutronError *struct{ Type, Message, Detail *string }
	}
	switch err := json.Unmarshal(answer, &body); {
	case code != wantCode:
		return fmt.Errorf("status %d, want %d: %s", code, wantCode, answer)
	case err != nil || body.NeutronError == nil || body.NeutronError.Type == nil || body.NeutronError.Message == nil || body.NeutronError.Detail == nil:
		return fmt.Errorf("the body is no NeutronError with type, message and detail (%v): %s", err, answer)
	case *body.NeutronError.Type == "" || kind != "" && *body.NeutronError.Type != kind:
		return fmt.Errorf("type %q, want %s: %s", *body.NeutronError.Type, kind, answer)
	case !strings.Contains(*body.NeutronError.Message, says) || *body.NeutronError.Message == "":
		return fmt.Errorf("the message does not tell of %q: %s", says, answer)
	}
	return nil
}
