// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"strings"
	"testing"

	"nagare/internal/tables"
)

func TestConntrackHelpers(t *testing.T) {
	w := newRouted(t)
	at := "/v2.0/routers/" + w.router + "/conntrack_helpers"
	ask := func(s string) string { return `{"conntrack_helper":{` + s + `}}` }
	const tftp, ftp = `"protocol":"udp","port":69,"helper":"tftp"`, `"protocol":"TCP","port":"21","helper":"ftp"`
	router := func() any { return w.do("demo", "GET", "/v2.0/routers/"+w.router, "", 200)["router"] }
	before := dig(router(), "revision_number").(float64)
	m := w.do("demo", "POST", at, ask(tftp), 201)["conntrack_helper"]
	id := dig(m, "id").(string)
	if fmt.Sprint(m) != fmt.Sprint(map[string]any{"id": id, "protocol": "udp", "port": 69.0, "helper": "tftp"}) {
		t.Errorf("made %v", m)
	}
	second := dig(w.do("demo", "POST", at, ask(ftp), 201), "conntrack_helper", "id").(string)
	w.do("demo", "PUT", at+"/"+id, ask(`"port":6969`), 200)
	w.do("demo", "PUT", at+"/"+id, ask(`"port":6969`), 200) // changes nothing
	if r := router(); dig(r, "revision_number") != before+3 || len(dig(r, "conntrack_helpers").([]any)) != 2 ||
		!strings.Contains(fmt.Sprint(dig(r, "conntrack_helpers")), "map[helper:tftp port:6969 protocol:udp]") || !strings.Contains(fmt.Sprint(dig(r, "conntrack_helpers")), "map[helper:ftp port:21 protocol:tcp]") {
		t.Errorf("router %v, its revision was %v", r, before)
	}
	for _, q := range []string{"?helper=tftp", "?protocol=udp", "?port=6969", "?id=" + id, "?fields=id&port=6969"} {
		if got := w.names("demo", at[len("/v2.0/"):]+q, "id"); len(got) != 1 || got[0] != id {
			t.Errorf("list %s: %v", q, got)
		}
	}
	for _, c := range []struct {
		who, method, path, body string
		code                    int
		kind, words             string
	}{
		{"demo", "POST", at, ask(`"protocol":"tcp","port":5060,"helper":"sip"`), 400, "ConntrackHelperNotAllowed", "Conntrack Helper sip is not allowed. Allowed are: ftp (tcp), tftp (udp)."},
		{"demo", "POST", at, ask(`"protocol":"udp","port":21,"helper":"ftp"`), 400, "InvalidProtocolForHelper", "Conntrack Helper ftp does not support: udp. Supported protocols are: tcp"},
		{"demo", "POST", at, ask(`"protocol":"tcp","port":69,"helper":"tftp"`), 400, "InvalidProtocolForHelper", "Supported protocols are: udp"},
		{"demo", "POST", at, ask(`"protocol":"sctp","port":69,"helper":"tftp"`), 400, "InvalidProtocolForHelper", "does not support: sctp"},
		{"demo", "POST", at, ask(`"protocol":6,"port":21,"helper":"ftp"`), 400, "BadRequest", "Bad conntrack_helper request: A duplicate conntrack helper entry with same attributes already exists, " +
			"conflicting values are {'router_id': '" + w.router + "', 'protocol': 'tcp', 'port': 21, 'helper': 'ftp'}."},
		{"demo", "POST", at, ask(`"protocol":"what","port":21,"helper":"ftp"`), 400, "HTTPBadRequest", "protocol"},
		{"demo", "POST", at, ask(`"protocol":null,"port":21,"helper":"ftp"`), 400, "HTTPBadRequest", "protocol"},
		{"demo", "POST", at, ask(`"protocol":"any","port":21,"helper":"ftp"`), 400, "HTTPBadRequest", "protocol"},
		{"demo", "POST", at, ask(`"protocol":"tcp","port":0,"helper":"ftp"`), 400, "HTTPBadRequest", "too small"},
		{"demo", "POST", at, ask(`"protocol":"tcp","port":65536,"helper":"ftp"`), 400, "HTTPBadRequest", "too large"},
		{"demo", "POST", at, ask(`"protocol":"tcp","port":21,"helper":"` + strings.Repeat("x", 65) + `"`), 400, "HTTPBadRequest", "exceeds maximum length of 64"},
		{"demo", "POST", at, ask(`"protocol":"tcp","port":21`), 400, "HTTPBadRequest", "helper"},
		{"demo", "POST", at, ask(`"protocol":"tcp","helper":"ftp"`), 400, "HTTPBadRequest", "port"},
		{"demo", "POST", at, ask(`"port":21,"helper":"ftp"`), 400, "HTTPBadRequest", "protocol"},
		{"demo", "POST", at, ask(`"router_id":"` + w.router + `",` + tftp), 400, "HTTPBadRequest", "router_id"},
		{"demo", "PUT", at + "/" + id, ask(`"helper":"ftp"`), 400, "InvalidProtocolForHelper", ""},
		{"demo", "PUT", at + "/" + id, ask(`"helper":"irc"`), 400, "ConntrackHelperNotAllowed", ""},
		{"demo", "PUT", at + "/" + id, ask(`"helper":"ftp","protocol":"tcp","port":21`), 400, "BadRequest", "duplicate"},
		{"other", "POST", at, ask(tftp), 404, "RouterNotFound", ""},
		{"other", "GET", at, "", 404, "RouterNotFound", ""},
		{"other", "GET", at + "/" + id, "", 404, "RouterNotFound", ""},
		{"reader", "POST", at, ask(tftp), 403, "PolicyNotAuthorized", "create_router_conntrack_helper"},
		{"reader", "PUT", at + "/" + id, ask(`"port":70`), 403, "PolicyNotAuthorized", "update_router_conntrack_helper"},
		{"reader", "DELETE", at + "/" + id, "", 403, "PolicyNotAuthorized", "delete_router_conntrack_helper"},
		{"demo", "POST", "/v2.0/routers/" + w.net + "/conntrack_helpers", ask(tftp), 404, "RouterNotFound", ""},
		{"demo", "GET", at + "/" + w.net, "", 404, "ConntrackHelperNotFound", "Conntrack Helper " + w.net + " could not be found."},
	} {
		revision := w.st.Snapshot().Revision()
		w.refused(c.who, c.method, c.path, c.body, c.code, c.kind, c.words)
		if w.st.Snapshot().Revision() != revision {
			t.Errorf("%s %s %s is refused, but the store changed", c.method, c.path, c.body)
		}
	}
	// Another router's.
	other := w.make("demo", "routers", "router", `"name":"other"`)
	for method, body := range map[string]string{"GET": "", "PUT": ask(`"port":70`), "DELETE": ""} {
		w.refused("demo", method, "/v2.0/routers/"+other+"/conntrack_helpers/"+id, body, 404, "ConntrackHelperNotFound", "")
	}
	w.do("demo", "POST", "/v2.0/routers/"+other+"/conntrack_helpers", ask(ftp), 201)
	w.do("demo", "DELETE", at+"/"+second, "", 204)
	if r := router(); dig(r, "revision_number") != before+4 || len(dig(r, "conntrack_helpers").([]any)) != 1 {
		t.Errorf("after a delete: %v", r)
	}
	// A router takes its own with it, and no other's.
	w.do("demo", "DELETE", "/v2.0/routers/"+other, "", 204)
	left := 0
	for h := range tables.ConntrackHelpers.All(w.st.Snapshot()) {
		if left++; string(h) != id {
			t.Errorf("%s is left", h)
		}
	}
	if left != 1 {
		t.Errorf("%d helpers are left", left)
	}
	consistent(t, w.world)
}

// TestConntrackHelpersAreBounded: each costs flows at each address of the router.
func TestConntrackHelpersAreBounded(t *testing.T) {
	w := newRouted(t)
	at := "/v2.0/routers/" + w.router + "/conntrack_helpers"
	var many []string
	for i := range maxHelpers {
		many = append(many, fmt.Sprintf(`{"protocol":"tcp","port":%d,"helper":"ftp"}`, 21+i))
	}
	made := w.do("demo", "POST", at, `{"conntrack_helpers":[`+strings.Join(many, ",")+`]}`, 201)["conntrack_helpers"].([]any)
	w.refused("demo", "POST", at, `{"conntrack_helper":{"protocol":"tcp","port":9999,"helper":"ftp"}}`, 409, "OverQuota", "32 conntrack helpers")
	w.do("demo", "PUT", at+"/"+dig(made[0], "id").(string), `{"conntrack_helper":{"port":9999}}`, 200)
}

// TestNoHelpersWithoutTracker: classic tracks no connection, and says so.
func TestNoHelpersWithoutTracker(t *testing.T) {
	w := newRouted(t, func(c *Config) { c.Profile = "classic" })
	for _, e := range w.names("demo", "extensions", "alias") {
		if strings.HasSuffix(e, "l3-conntrack-helper") {
			t.Errorf("extension %s is listed", e)
		}
	}
	w.do("demo", "POST", "/v2.0/routers/"+w.router+"/conntrack_helpers", `{"conntrack_helper":{"protocol":"udp","port":69,"helper":"tftp"}}`, 404)
}
