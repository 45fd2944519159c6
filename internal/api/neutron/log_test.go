// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"slices"
	"testing"

	"nagare/internal/model"
	"nagare/internal/tables"
)

func init() { untagged = append(untagged, "log") }

// logCells adds logs to the grid.
func logCells(w *world, add func(name, label, path, id, create, change string, actions ...string)) {
	add("log", "own", "log/logs", w.make("admin", "log/logs", "log", `"resource_type":"security_group","project_id":"p-demo"`), `"resource_type":"security_group"`, `"name":"x"`)
	add("log", "foreign", "log/logs", w.make("admin", "log/logs", "log", `"resource_type":"security_group"`), "", `"enabled":false`)
}

func logObjects(w *world) []matrixObject {
	return []matrixObject{
		{"demo's log", "log/logs", "log", w.make("admin", "log/logs", "log", `"resource_type":"security_group","project_id":"p-demo"`), `"name":"x"`},
		{"create log", "log/logs", "log", "", `"resource_type":"security_group"`},
	}
}

func TestLogs(t *testing.T) {
	w := newWorld(t)
	const at, missing = "/v2.0/log/logs", "11111111-1111-1111-1111-111111111111"
	n := w.network("demo", "")
	g := w.make("demo", "security-groups", "security_group", `"name":"g"`)
	other := w.make("demo", "security-groups", "security_group", `"name":"other"`)
	p := w.port("demo", n, `,"security_groups":["`+g+`"]`)
	direct := w.port("admin", n, `,"binding:vnic_type":"direct"`)
	body := func(more string) string { return `{"log":{"resource_type":"security_group"` + more + `}}` }
	m := w.do("admin", "POST", at, body(`,"name":"l","description":"d","project_id":"p-demo","resource_id":"`+g+`","target_id":"`+p+`","event":"DROP"`), 201)
	id := dig(m, "log", "id").(string)
	got := m["log"].(map[string]any)
	for _, a := range []string{"created_at", "updated_at"} {
		if got[a] == nil {
			t.Errorf("no %s", a)
		}
		delete(got, a)
	}
	want := map[string]any{"id": id, "name": "l", "description": "d", "project_id": "p-demo", "tenant_id": "p-demo", "resource_type": "security_group",
		"resource_id": g, "target_id": p, "event": "DROP", "enabled": true, "revision_number": got["revision_number"]}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("log %v, want %v", got, want)
	}
	all := w.do("admin", "POST", at, body(""), 201)["log"].(map[string]any)
	if all["event"] != "ALL" || all["resource_id"] != nil || all["target_id"] != nil || all["enabled"] != true {
		t.Errorf("log of everything %v", all)
	}
	for _, c := range []struct {
		who, method, path, body string
		status                  int
		kind, message           string
	}{
		{"admin", "POST", at, `{"log":{"name":"x"}}`, 400, "HTTPBadRequest", "Failed to parse request. Required attribute 'resource_type' not specified"},
		{"admin", "POST", at, `{"log":{"resource_type":"router"}}`, 400, "InvalidLogResourceType", "Invalid log resource_type: router."},
		{"admin", "POST", at, body(`,"event":"REJECT"`), 400, "HTTPBadRequest", "Invalid input for event. Reason: 'REJECT' is not in ['ACCEPT', 'DROP', 'ALL']."},
		{"admin", "POST", at, body(`,"resource_id":"x"`), 400, "HTTPBadRequest", "Invalid input for resource_id. Reason: 'x' is not a valid UUID."},
		{"admin", "POST", at, body(`,"resource_id":"` + missing + `"`), 404, "ResourceNotFound", "Resource " + missing + " could not be found."},
		{"admin", "POST", at, body(`,"target_id":"` + missing + `"`), 404, "TargetResourceNotFound", "Target resource " + missing + " could not be found."},
		{"admin", "POST", at, body(`,"target_id":"` + direct + `"`), 409, "LoggingTypeNotSupported", "Logging type security_group is not supported on port " + direct + "."},
		{"admin", "POST", at, body(`,"target_id":"` + p + `","resource_id":"` + other + `"`), 400, "InvalidResourceConstraint",
			"Invalid resource constraint between resource (security_group " + other + ") and target resource (port " + p + ")."},
		{"admin", "PUT", at + "/" + id, `{"log":{"event":"ALL"}}`, 400, "HTTPBadRequest", "Cannot update read-only attribute event"},
		{"admin", "GET", at + "/" + missing, "", 404, "LogResourceNotFound", "Log resource " + missing + " could not be found."},
		{"admin", "PUT", at + "/" + missing, `{"log":{"name":"x"}}`, 404, "LogResourceNotFound", ""},
		{"admin", "DELETE", at + "/" + missing, "", 404, "LogResourceNotFound", ""},
		{"admin", "POST", "/v2.0/log/loggable-resources", "{}", 405, "HTTPMethodNotAllowed", ""},
		{"demo", "POST", at, body(""), 403, "PolicyNotAuthorized", "rule:create_log is disallowed by policy"},
		{"demo", "GET", at + "/" + id, "", 404, "LogResourceNotFound", ""},
		{"demo", "PUT", at + "/" + id, `{"log":{"name":"x"}}`, 404, "LogResourceNotFound", ""},
		{"demo", "DELETE", at + "/" + id, "", 404, "LogResourceNotFound", ""},
	} {
		w.refuse(c.who, c.method, c.path, c.body, c.status, c.kind, c.message)
	}
	if got := w.names("demo", "log/logs", "id"); len(got) != 0 {
		t.Errorf("demo sees %v", got)
	}
	for query, want := range map[string]int{"": 2, "?resource_id=" + g: 1, "?target_id=" + p + "&event=DROP": 1, "?event=ALL": 1, "?name=l": 1, "?project_id=p-demo": 1, "?enabled=false": 0, "?resource_type=security_group": 2} {
		if got := w.names("admin", "log/logs"+query, "id"); len(got) != want {
			t.Errorf("%q lists %v, want %d", query, got, want)
		}
	}
	for who, want := range map[string]string{"admin": "map[loggable_resources:[map[type:security_group]]]", "demo": "map[loggable_resources:[]]"} {
		if got := fmt.Sprint(w.do(who, "GET", "/v2.0/log/loggable-resources", "", 200)); got != want {
			t.Errorf("%s: %s", who, got)
		}
	}
	if got := w.do("admin", "PUT", at+"/"+id, `{"log":{"enabled":false,"name":"m","description":"e"}}`, 200); dig(got, "log", "enabled") != false || dig(got, "log", "name") != "m" {
		t.Errorf("changed to %v", got)
	}
	w.do("admin", "DELETE", at+"/"+all["id"].(string), "", 204)
}

// TestLogsGoWithWhatTheyName: deleting the group or the port of a log deletes it, whoever deletes; a refused deletion does not.
func TestLogsGoWithWhatTheyName(t *testing.T) {
	w := newWorld(t)
	n := w.network("demo", "")
	g := w.make("demo", "security-groups", "security_group", `"name":"g"`)
	p := w.port("demo", n, `,"security_groups":["`+g+`"]`)
	make := func(name, more string) string {
		return w.make("admin", "log/logs", "log", `"resource_type":"security_group","name":"`+name+`"`+more)
	}
	make("both", `,"resource_id":"`+g+`","target_id":"`+p+`","enabled":false`)
	make("group", `,"resource_id":"`+g+`"`)
	make("port", `,"target_id":"`+p+`"`)
	make("neither", "")
	left := func(want ...string) {
		t.Helper()
		if got := w.names("admin", "log/logs?sort_key=name&sort_dir=asc", "name"); !slices.Equal(got, want) {
			t.Errorf("left: %v, want %v", got, want)
		}
	}
	w.refuse("demo", "DELETE", "/v2.0/security-groups/"+g, "", 409, "SecurityGroupInUse", "")
	left("both", "group", "neither", "port")
	w.do("demo", "DELETE", "/v2.0/ports/"+p, "", 204)
	left("group", "neither")
	w.do("demo", "DELETE", "/v2.0/security-groups/"+g, "", 204)
	left("neither")
}

// TestLogScope: which enabled logs a port is in the scope of.
func TestLogScope(t *testing.T) {
	w := newWorld(t)
	n := w.network("demo", "")
	g := w.make("demo", "security-groups", "security_group", `"name":"g"`)
	p, bare, open := w.port("demo", n, `,"security_groups":["`+g+`"]`), w.port("demo", n, `,"security_groups":[]`), w.port("demo", n, `,"port_security_enabled":false`)
	foreign := w.port("admin", n, "")
	for name, more := range map[string]string{"group": `,"resource_id":"` + g + `"`, "port": `,"target_id":"` + p + `"`, "demo's": `,"project_id":"p-demo"`, "admin's": "",
		"off": `,"project_id":"p-demo","enabled":false`, "both": `,"resource_id":"` + g + `","target_id":"` + p + `"`, "open": `,"target_id":"` + open + `"`} {
		w.make("admin", "log/logs", "log", `"resource_type":"security_group","name":"`+name+`"`+more)
	}
	for id, want := range map[string][]string{p: {"both", "demo's", "group", "port"}, bare: {"demo's"}, open: nil, foreign: {"admin's"}} {
		port, _ := tables.Ports.Get(w.st.Snapshot(), model.PortID(id))
		var got []string
		for _, l := range tables.LogsOf(w.st.Snapshot(), &port) {
			got = append(got, l.Name)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("port %s: logs %v, want %v", id, got, want)
		}
	}
}
