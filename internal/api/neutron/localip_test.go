// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"nagare/internal/model"
	"nagare/internal/tables"
)

// localWorld is a world with a network of demo's and two ports on it.
type localWorld struct {
	*world
	net, one, two string
}

func newLocals(t testing.TB) *localWorld {
	w := &localWorld{world: newWorld(t, withRouters)}
	w.net = w.network("demo", "")
	w.subnet("demo", w.net, "10.11.12.0/24", "")
	w.one, w.two = w.world.port("demo", w.net, ""), w.world.port("demo", w.net, "")
	return w
}

// local makes a local IP of demo's and tells its id.
func (w *localWorld) local(body string) string { return w.make("demo", "local-ips", "local_ip", body) }

func associate(port, more string) string {
	return `{"port_association":{"fixed_port_id":"` + port + `"` + more + `}}`
}

func TestLocalIPs(t *testing.T) {
	w := newLocals(t)
	made := w.do("demo", "POST", "/v2.0/local-ips", `{"local_ip":{"network_id":"`+w.net+`","name":"dns","description":"d"}}`, 201)["local_ip"]
	id, holder, addr := dig(made, "id").(string), dig(made, "local_port_id").(string), dig(made, "local_ip_address").(string)
	for name, want := range map[string]any{"name": "dns", "description": "d", "project_id": "p-demo", "tenant_id": "p-demo", "network_id": w.net, "ip_mode": "translate", "revision_number": 0.0} {
		if got := dig(made, name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if keys := slices.Sorted(maps.Keys(made.(map[string]any))); fmt.Sprint(keys) !=
		"[created_at description id ip_mode local_ip_address local_port_id name network_id project_id revision_number tenant_id updated_at]" {
		t.Errorf("attributes %v", keys)
	}
	p := w.do("demo", "GET", "/v2.0/ports/"+holder, "", 200)["port"]
	if dig(p, "device_owner") != "network:local_ip" || dig(p, "device_id") != id || dig(p, "status") != "N/A" || dig(p, "project_id") != "p-demo" ||
		dig(p, "fixed_ips", 0, "ip_address") != addr || dig(p, "port_security_enabled") != false {
		t.Errorf("holder %v", p)
	}
	// Of a port's address, and of one that is asked for.
	of := w.do("demo", "POST", "/v2.0/local_ips", `{"local_ip":{"local_port_id":"`+w.one+`","ip_mode":"passthrough"}}`, 201)["local_ip"]
	if dig(of, "local_ip_address") != w.addr(w.one) || dig(of, "network_id") != w.net || dig(of, "ip_mode") != "passthrough" {
		t.Errorf("of a port %v", of)
	}
	if a := w.do("demo", "POST", "/v2.0/local-ips", `{"local_ip":{"network_id":"`+w.net+`","local_ip_address":"10.11.12.77"}}`, 201); dig(a, "local_ip", "local_ip_address") != "10.11.12.77" {
		t.Errorf("asked for %v", a)
	}
	for path, n := range map[string]int{"": 3, "?name=dns": 1, "?network_id=" + w.net: 3, "?local_port_id=" + w.one: 1, "?local_ip_address=10.11.12.77": 1, "?ip_mode=passthrough": 1, "?project_id=p-other": 0} {
		for _, at := range []string{"local-ips", "local_ips"} {
			if got := w.names("demo", at+path, "id"); len(got) != n {
				t.Errorf("%s%s: %v, want %d", at, path, got, n)
			}
		}
	}
	if got := w.names("other", "local-ips", "id"); len(got) != 0 {
		t.Errorf("another project sees %v", got)
	}
	one := "/v2.0/local-ips/" + id
	before, _ := tables.LocalIPs.Get(w.st.Snapshot(), model.LocalIPID(id))
	if m := w.do("demo", "PUT", one, `{"local_ip":{"name":"ntp","description":""}}`, 200); dig(m, "local_ip", "name") != "ntp" || dig(m, "local_ip", "revision_number") != 1.0 {
		t.Errorf("changed %v", m)
	}
	if now, _ := tables.LocalIPs.Get(w.st.Snapshot(), before.ID); now.LocalIPPlane != before.LocalIPPlane {
		t.Errorf("a name changed %v to %v", before.LocalIPPlane, now.LocalIPPlane)
	}
	for _, a := range []string{"network_id", "local_port_id", "local_ip_address", "ip_mode", "project_id"} {
		if r := w.send("demo", "PUT", one, `{"local_ip":{"`+a+`":"`+w.two+`"}}`); r.code != 400 {
			t.Errorf("PUT of %s: %d %s", a, r.code, r.text)
		}
	}
	if r := w.send("demo", "PUT", one+"/tags", `{"tags":["x"]}`); r.code != 404 {
		t.Errorf("tags, which Neutron's have not: %d", r.code)
	}
	// What ports may not become or lose.
	w.refuse("demo", "DELETE", "/v2.0/ports/"+holder, "", 409, "ServicePortInUse", "Port "+holder+" cannot be deleted directly via the port API: still referenced by Local IPs.")
	w.refuse("demo", "DELETE", "/v2.0/ports/"+w.one, "", 409, "ServicePortInUse", "Port "+w.one+" cannot be deleted directly via the port API: still referenced by Local IPs.")
	w.refuse("demo", "DELETE", "/v2.0/networks/"+w.net, "", 409, "NetworkInUse", "")
	w.refuse("demo", "PUT", "/v2.0/ports/"+holder, `{"port":{"fixed_ips":[{"ip_address":"10.11.12.99"}]}}`, 409, "ServicePortInUse", "")
	w.refuse("demo", "PUT", "/v2.0/ports/"+holder, `{"port":{"device_owner":""}}`, 409, "ServicePortInUse", "")
	w.refuse("admin", "PUT", "/v2.0/ports/"+w.two, `{"port":{"device_owner":"network:local_ip","device_id":"`+id+`"}}`, 400, "BadRequest", "")
	// It goes with its port; another's port stays.
	w.do("demo", "DELETE", one, "", 204)
	w.refuse("demo", "GET", one, "", 404, "LocalIPNotFound", "Local IP "+id+" could not be found.")
	w.refuse("demo", "GET", "/v2.0/ports/"+holder, "", 404, "PortNotFound", "")
	w.do("demo", "POST", "/v2.0/ports", `{"port":{"network_id":"`+w.net+`","fixed_ips":[{"ip_address":"`+addr+`"}]}}`, 201)
	w.do("demo", "DELETE", "/v2.0/local_ips/"+dig(of, "id").(string), "", 204)
	w.do("demo", "GET", "/v2.0/ports/"+w.one, "", 200)
	w.do("demo", "DELETE", "/v2.0/ports/"+w.one, "", 204)
}

func TestLocalIPRefusals(t *testing.T) {
	w := newLocals(t)
	const none = "00000000-0000-4000-8000-000000000000"
	bare, six := w.network("demo", ""), w.network("demo", "")
	w.subnet("demo", six, "fd00::/64", "")
	foreign := w.network("admin", "")
	w.subnet("admin", foreign, "10.11.12.0/24", "")
	theirs := w.world.port("admin", foreign, "")
	blank := w.world.port("demo", w.net, `,"fixed_ips":[]`)
	both := w.world.port("demo", w.net, `,"fixed_ips":[{"ip_address":"10.11.12.50"},{"ip_address":"10.11.12.51"}]`)
	for _, c := range []struct{ body, kind, message string }{
		{``, "LocalIPPortOrNetworkRequired", "Either Port ID or Network ID must be specified for Local IP create."},
		{`"network_id":"` + bare + `"`, "BadRequest", "Bad local_ip request: Network " + bare + " does not contain any IPv4 subnet."},
		{`"network_id":"` + six + `"`, "BadRequest", "Bad local_ip request: Network " + six + " does not contain any IPv4 subnet."},
		{`"network_id":"` + w.net + `","local_ip_address":"10.9.9.9"`, "InvalidIpForNetwork", ""},
		{`"network_id":null`, "HTTPBadRequest", ""},
		{`"network_id":"` + w.net + `","local_ip_address":"x"`, "HTTPBadRequest", ""},
		{`"network_id":"` + w.net + `","ip_mode":"nat"`, "HTTPBadRequest", "Invalid input for ip_mode. Reason: 'nat' is not in ['translate', 'passthrough']."},
		{`"local_port_id":"` + none + `"`, "BadRequest", "Bad local_ip request: Port " + none + " not found."},
		{`"local_port_id":"` + theirs + `"`, "BadRequest", "Bad local_ip request: Port " + theirs + " not found."},
		{`"local_port_id":"` + blank + `"`, "LocalIPNoIP", "Specified Port " + blank + " has no fixed IPs configured."},
		{`"local_port_id":"` + both + `"`, "LocalIPNoRequestedIP", "Specified Port " + both + " has several IPs, should specify exact IP address to use for Local IP."},
		{`"local_port_id":"` + w.one + `","local_ip_address":"10.11.12.77"`, "LocalIPRequestedIPNotFound", "Specified Port " + w.one + " does not have requested IP address: 10.11.12.77."},
	} {
		w.refuse("demo", "POST", "/v2.0/local-ips", `{"local_ip":{`+c.body+`}}`, 400, c.kind, c.message)
	}
	w.refuse("demo", "POST", "/v2.0/local-ips", `{"local_ip":{"network_id":"`+foreign+`"}}`, 404, "NetworkNotFound", "Network "+foreign+" could not be found.")
	w.refuse("demo", "POST", "/v2.0/local-ips", `{"local_ip":{"network_id":"`+w.net+`","local_ip_address":"`+w.addr(w.one)+`"}}`, 409, "IpAddressAlreadyAllocated", "")
	w.refuse("demo", "POST", "/v2.0/local-ips", `{"local_ip":{"network_id":"`+w.net+`","project_id":"p-other"}}`, 400, "HTTPBadRequest", "")
	w.refuse("reader", "POST", "/v2.0/local-ips", `{"local_ip":{"network_id":"`+w.net+`"}}`, 403, "PolicyNotAuthorized", "")
}

func TestLocalIPAssociations(t *testing.T) {
	w := newLocals(t)
	id := w.local(`"network_id":"` + w.net + `"`)
	lip, _ := tables.LocalIPs.Get(w.st.Snapshot(), model.LocalIPID(id))
	at := "/v2.0/local_ips/" + id + "/port_associations"
	w.node("compute", "", nil)
	w.do("admin", "PUT", "/v2.0/ports/"+w.one, `{"port":{"binding:host_id":"compute"}}`, 200)
	made := w.do("demo", "POST", at, associate(w.one, ""), 201)["port_association"]
	want := map[string]any{"fixed_port_id": w.one, "fixed_ip": w.addr(w.one), "host": "compute", "local_ip_address": lip.Addr.String()}
	if !maps.Equal(made.(map[string]any), want) {
		t.Errorf("association\n got %v\nwant %v", made, want)
	}
	w.do("demo", "POST", "/v2.0/local-ips/"+id+"/port_associations", associate(w.two, `,"fixed_ip":"`+w.addr(w.two)+`"`), 201)
	for path, n := range map[string]int{"": 2, "?fixed_port_id=" + w.one: 1, "?fixed_ip=" + w.addr(w.two): 1, "?host=compute": 1, "?host=": 1, "?fields=host&limit=1": 1} {
		if got := w.do("demo", "GET", at+path, "", 200)["port_associations"].([]any); len(got) != n {
			t.Errorf("%s: %v, want %d", path, got, n)
		}
	}
	if m := w.do("demo", "GET", at+"/"+w.one, "", 200)["port_association"]; !maps.Equal(m.(map[string]any), want) {
		t.Errorf("shown as %v", m)
	}
	w.refuse("demo", "POST", at, associate(w.one, ""), 409, "NeutronDbObjectDuplicateEntry", "")
	w.refuse("demo", "DELETE", "/v2.0/local-ips/"+id, "", 409, "LocalIPInUse", "Local IP "+id+" is still associated with one or more ports.")
	// Below another local IP, and another's, there is nothing.
	second := w.local(`"network_id":"` + w.net + `"`)
	w.refuse("demo", "GET", "/v2.0/local_ips/"+second+"/port_associations/"+w.one, "", 404, "LocalIPAssociationNotFound", "Local IP "+second+" association with port "+w.one+" could not be found.")
	w.refuse("demo", "DELETE", "/v2.0/local_ips/"+second+"/port_associations/"+w.one, "", 404, "LocalIPAssociationNotFound", "")
	for _, ask := range []string{"GET ", "POST ", "GET /" + w.one, "DELETE /" + w.one} {
		method, rest, _ := strings.Cut(ask, " ")
		body := ""
		if method == "POST" {
			body = associate(w.one, "")
		}
		w.refuse("other", method, at+rest, body, 404, "LocalIPNotFound", "Local IP "+id+" could not be found.")
	}
	w.refuse("reader", "POST", at, associate(w.one, ""), 403, "PolicyNotAuthorized", "")
	w.refuse("reader", "DELETE", at+"/"+w.one, "", 403, "PolicyNotAuthorized", "")
	w.refuse("demo", "POST", at, `{"port_association":{"fixed_port_id":"`+w.one+`","local_ip_id":"`+second+`"}}`, 400, "HTTPBadRequest", "")
	if a := w.send("demo", "PUT", at+"/"+w.one, associate(w.two, "")); a.code != 405 {
		t.Errorf("an association is changed: %d", a.code)
	}
	// Ports that cannot serve.
	const none = "00000000-0000-4000-8000-000000000000"
	far := w.network("demo", "")
	w.subnet("demo", far, "10.11.12.0/24", "")
	elsewhere := w.world.port("demo", far, "")
	blank := w.world.port("demo", w.net, `,"fixed_ips":[]`)
	several := w.world.port("demo", w.net, `,"fixed_ips":[{"ip_address":"10.11.12.50"},{"ip_address":"10.11.12.51"}]`)
	w.subnet("demo", w.net, "fd00::/64", "")
	six := w.world.port("demo", w.net, `,"fixed_ips":[{"ip_address":"fd00::50"}]`)
	foreign := w.world.port("admin", w.net, "")
	w.do("admin", "PUT", "/v2.0/ports/"+foreign, `{"port":{"name":"x"}}`, 200)
	const bad = "Bad local_ip_port_association request: "
	for _, c := range []struct{ port, more, kind, message string }{
		{none, "", "BadRequest", bad + "Port " + none + " not found."},
		{elsewhere, "", "BadRequest", bad + "Port " + elsewhere + " is on network " + far + ", Local IP " + id + " on network " + w.net + "; use a port of the latter."},
		{blank, "", "LocalIPNoIP", ""},
		{several, "", "LocalIPNoRequestedIP", ""},
		{several, `,"fixed_ip":"10.11.12.52"`, "LocalIPRequestedIPNotFound", "Specified Port " + several + " does not have requested IP address: 10.11.12.52."},
		{six, "", "BadRequest", bad + "Fixed IP fd00::50 of port " + six + " and address " + lip.Addr.String() + " of Local IP " + id + " are of different versions."},
	} {
		w.refuse("demo", "POST", at, associate(c.port, c.more), 400, c.kind, c.message)
	}
	w.refuse("demo", "POST", at, `{"port_association":{}}`, 400, "HTTPBadRequest", "Failed to parse request. Required attribute 'fixed_port_id' not specified")
	w.do("demo", "POST", at, associate(several, `,"fixed_ip":"10.11.12.51"`), 201)
	// An association goes with its port, or by itself.
	w.do("demo", "DELETE", "/v2.0/ports/"+w.two, "", 204)
	w.do("demo", "DELETE", at+"/"+w.one, "", 204)
	w.refuse("demo", "DELETE", at+"/"+w.one, "", 404, "LocalIPAssociationNotFound", "")
	w.do("demo", "DELETE", at+"/"+several, "", 204)
	for _, a := range tables.LocalIPAssociations.All(w.st.Snapshot()) {
		t.Errorf("left: %v", a)
	}
	w.do("demo", "DELETE", "/v2.0/local-ips/"+id, "", 204)
}

// TestLocalIPsAreOfTheStandardProfile: where nothing carries them out there are none.
func TestLocalIPsAreOfTheStandardProfile(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Profile = "classic" })
	if a := w.send("demo", "GET", "/v2.0/local-ips", ""); a.code != 404 {
		t.Errorf("classic serves them: %d", a.code)
	}
	if got := w.names("demo", "extensions", "alias"); slices.Contains(got, "local_ip") {
		t.Error("classic lists them")
	}
}

func localCells(w *world, add func(name, label, path, id, create, change string, actions ...string)) {
	net := w.network("admin", `"shared":true`)
	w.subnet("admin", net, "10.130.0.0/24", "")
	for i, who := range []string{"demo", "admin"} {
		label := []string{"own", "foreign"}[i]
		of := `"network_id":"` + net + `"`
		id := w.make(who, "local-ips", "local_ip", of)
		add("local_ip", label, "local-ips", w.make(who, "local-ips", "local_ip", of), of, `"name":"x"`)
		base := "local_ips/" + id + "/port_associations"
		port := w.port(who, net, "")
		w.do(who, "POST", "/v2.0/"+base, associate(port, ""), 201)
		add("port_association", label, base, port, `"fixed_port_id":"`+w.port(who, net, "")+`"`, "")
		if i == 1 {
			add("port_association", "own port, foreign below", base, "", `"fixed_port_id":"`+w.port("demo", net, "")+`"`, "")
			add("local_ip", "of a foreign port", "local-ips", "", `"local_port_id":"`+port+`"`, "")
		}
	}
}
