// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"testing"
)

func init() { untagged = append(untagged, "flavor", "service_profile") }

func flavorObjects(w *world) []matrixObject {
	return []matrixObject{
		{"flavor", "flavors", "flavor", w.make("admin", "flavors", "flavor", `"service_type":"L3_ROUTER_NAT"`), `"name":"x"`},
		{"service profile", "service_profiles", "service_profile", w.make("admin", "service_profiles", "service_profile", `"metainfo":"m"`), `"metainfo":"x"`},
		{"create flavor", "flavors", "flavor", "", `"service_type":"L3_ROUTER_NAT"`},
		{"create service profile", "service_profiles", "service_profile", "", `"metainfo":"x"`},
	}
}

func TestFlavors(t *testing.T) {
	w := newWorld(t, withRouters)
	const missing = "11111111-1111-1111-1111-111111111111"
	f := w.make("admin", "flavors", "flavor", `"name":"f","service_type":"L3_ROUTER_NAT","description":"d"`)
	want := map[string]any{"id": f, "name": "f", "description": "d", "enabled": true, "service_type": "L3_ROUTER_NAT", "service_profiles": []any{}}
	if got := w.do("demo", "GET", "/v2.0/flavors/"+f, "", 200)["flavor"]; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("flavor %v, want %v", got, want)
	}
	if got := w.names("demo", "flavors?name=f", "id"); len(got) != 1 {
		t.Errorf("demo sees %v", got)
	}
	p := w.make("admin", "service_profiles", "service_profile", `"driver":"`+routerDriver+`"`)
	told := w.make("admin", "service_profiles", "service_profile", `"metainfo":"{'a':1}","enabled":false`)
	at, of := "/v2.0/flavors/"+f, func(id string) string { return `{"service_profile":{"id":"` + id + `"}}` }
	for _, c := range []struct {
		who, method, path, body string
		status                  int
		kind, message           string
	}{
		{"admin", "POST", "/v2.0/flavors", `{"flavor":{"service_type":"COFFEE"}}`, 400, "InvalidServiceType", ""},
		{"admin", "POST", "/v2.0/flavors", `{"flavor":{"name":"x"}}`, 400, "HTTPBadRequest", ""},
		{"demo", "POST", "/v2.0/flavors", `{"flavor":{"service_type":"VPN"}}`, 403, "PolicyNotAuthorized", "rule:create_flavor is disallowed by policy"},
		{"demo", "PUT", at, `{"flavor":{"name":"x"}}`, 403, "PolicyNotAuthorized", ""},
		{"admin", "GET", "/v2.0/flavors/" + missing, ``, 404, "FlavorNotFound", ""},
		{"admin", "POST", "/v2.0/service_profiles", `{"service_profile":{}}`, 400, "ServiceProfileEmpty", "Service Profile needs either a driver or metainfo."},
		{"admin", "POST", "/v2.0/service_profiles", `{"service_profile":{"driver":"x"}}`, 404, "ServiceProfileDriverNotFound", "Service Profile driver x could not be found."},
		{"admin", "PUT", "/v2.0/service_profiles/" + p, `{"service_profile":{"driver":"x"}}`, 404, "ServiceProfileDriverNotFound", ""},
		{"demo", "GET", "/v2.0/service_profiles/" + p, ``, 404, "ServiceProfileNotFound", ""},
		{"demo", "POST", at + "/service_profiles", of(p), 403, "PolicyNotAuthorized", "rule:create_flavor_service_profile is disallowed by policy"},
		{"admin", "POST", at + "/service_profiles", of(missing), 404, "ServiceProfileNotFound", ""},
		{"admin", "POST", at + "/service_profiles", `{}`, 400, "HTTPBadRequest", ""},
		{"admin", "GET", at + "/service_profiles/" + p, ``, 404, "FlavorServiceProfileBindingNotFound", ""},
		{"admin", "DELETE", at + "/service_profiles/" + p, ``, 404, "FlavorServiceProfileBindingNotFound", "Service Profile " + p + " is not associated with flavor " + f + "."},
		{"admin", "GET", at + "/next_providers", ``, 404, "FlavorServiceProfileBindingNotFound", ""},
		{"demo", "POST", "/v2.0/routers", `{"router":{"flavor_id":"` + f + `"}}`, 404, "FlavorServiceProfileBindingNotFound", ""},
		{"demo", "POST", "/v2.0/routers", `{"router":{"flavor_id":"` + missing + `"}}`, 404, "FlavorNotFound", ""},
	} {
		w.refuse(c.who, c.method, c.path, c.body, c.status, c.kind, c.message)
	}
	w.do("admin", "POST", at+"/service_profiles", of(p), 201)
	w.refuse("admin", "POST", at+"/service_profiles", of(p), 409, "FlavorServiceProfileBindingExists", "")
	w.refuse("admin", "DELETE", "/v2.0/service_profiles/"+p, "", 409, "ServiceProfileInUse", "")
	w.refuse("admin", "PUT", "/v2.0/service_profiles/"+p, `{"service_profile":{"description":"x"}}`, 409, "ServiceProfileInUse", "")
	if got := dig(w.do("admin", "GET", at+"/next_providers", "", 200), "next_providers", 0, "provider"); got != "dvr" {
		t.Errorf("next provider %v", got)
	}
	if got := dig(w.do("demo", "GET", "/v2.0/service-providers", "", 200), "service_providers", 0); fmt.Sprint(got) != "map[default:true name:dvr service_type:L3_ROUTER_NAT]" {
		t.Errorf("provider %v", got)
	}
	r := w.make("demo", "routers", "router", `"flavor_id":"`+f+`"`)
	if got := dig(w.do("demo", "GET", "/v2.0/routers/"+r, "", 200), "router", "flavor_id"); got != f {
		t.Errorf("router of flavor %v", got)
	}
	w.refuse("admin", "DELETE", at, "", 409, "FlavorInUse", "Flavor "+f+" is used by some service instance.")
	w.do("admin", "PUT", at, `{"flavor":{"enabled":false}}`, 200)
	w.refuse("demo", "POST", "/v2.0/routers", `{"router":{"flavor_id":"`+f+`"}}`, 409, "FlavorDisabled", "")
	w.do("demo", "DELETE", "/v2.0/routers/"+r, "", 204)
	w.do("admin", "DELETE", at+"/service_profiles/"+p, "", 204)
	w.do("admin", "POST", at+"/service_profiles", of(told), 201)
	w.refuse("admin", "GET", at+"/next_providers", "", 409, "ServiceProfileDisabled", "")
	w.do("admin", "DELETE", at, "", 204)
	w.do("admin", "DELETE", "/v2.0/service_profiles/"+told, "", 204)
}

// cloudCells adds what belongs to the cloud to the grid.
func cloudCells(w *world, add func(name, label, path, id, create, change string, actions ...string)) {
	add("flavor", "any", "flavors", w.make("admin", "flavors", "flavor", `"service_type":"VPN"`), `"service_type":"VPN"`, `"name":"x"`)
	add("service_profile", "any", "service_profiles", w.make("admin", "service_profiles", "service_profile", `"metainfo":"x"`), `"metainfo":"x"`, `"metainfo":"y"`)
}
