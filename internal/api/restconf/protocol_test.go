// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"encoding/xml"
	"net/http"
	"slices"
	"strings"
	"testing"

	"nagare/internal/yang"
)

// allMethods are those that a client may try.
var allMethods = []string{"GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE", "TRACE"}

// TestOffered is the table of RFC 8040 section 4: which methods a resource has is what OPTIONS says, and all others are 405 with the same list.
func TestOffered(t *testing.T) {
	w := cloudWorld(t)
	w.send("PUT", newConfig+"networks/network="+netID, netBody("n"), 201)
	w.commit(putHost(host("h1", map[string]string{"ODL L2": published})))
	const read, call = "GET, HEAD, OPTIONS", "OPTIONS, POST"
	const write = read + ", PUT, POST, PATCH, DELETE"
	for path, want := range map[string]string{
		"/rests":                                                                        read,
		"/rests/yang-library-version":                                                   read,
		"/rests/yang/neutron":                                                           read,
		"/rests/operations":                                                             read,
		"/restconf/operations":                                                          read,
		"/restconf/modules":                                                             read,
		"/rests/data":                                                                   read,
		"/rests/data/neutron:neutron":                                                   read,
		newConfig + "networks":                                                          read + ", POST",
		newConfig + "networks/network":                                                  read,
		newConfig + "hostconfigs":                                                       read,
		newConfig + "networks/network=" + netID:                                         write,
		newConfig + "networks/network=" + netID + "/name":                               read + ", PUT, PATCH, DELETE",
		newConfig + "networks/network=" + netID + "/uuid":                               read,
		newConfig + "networks/network=" + subID:                                         write, // it may be made
		"/restconf/config/neutron:neutron/networks/network/" + netID:                    write,
		"/restconf/operational/neutron:neutron/networks":                                read,
		"/rests/operations/sal-remote:create-data-change-event-subscription":            call,
		"/restconf/operations/sal-remote:create-data-change-event-subscription":         call,
		"/rests/data/ietf-restconf-monitoring:restconf-state/capabilities":              read,
		"/rests/data/network-topology:network-topology/topology=ovsdb%3A1":              read,
		"/rests/data/neutron:neutron/hostconfigs/hostconfig=h1,ODL%20L2":                read,
		"/rests/data/ietf-yang-library:yang-library/module-set=all/module=neutron/name": read,
	} {
		a := w.do("admin", "OPTIONS", path, "")
		if a.code != 204 || a.body != "" || a.header.Get("Allow") != want {
			t.Errorf("OPTIONS %s: %d %q, Allow %q, want %q", path, a.code, a.body, a.header.Get("Allow"), want)
		}
		if patch := a.header.Get("Accept-Patch"); strings.Contains(want, "PATCH") != strings.Contains(patch, "json") {
			t.Errorf("OPTIONS %s: Accept-Patch %q", path, patch)
		}
		for _, m := range allMethods {
			if m == "HEAD" || slices.Contains(strings.Split(want, ", "), m) {
				continue
			}
			a := w.do("admin", m, path, "{}")
			if strings.HasSuffix(path, "/uuid") && m != "TRACE" {
				if a.code != 400 { // a key
					t.Errorf("%s %s: %d %s", m, path, a.code, a.body)
				}
				continue
			}
			w.refused(a, 405, "operation-not-supported")
			if got := a.header.Get("Allow"); got == "" || strings.Contains(got, m) {
				t.Errorf("%s %s: Allow %q", m, path, got)
			}
		}
	}
	for _, path := range []string{"/rests/data/no:such", "/rests/operations/no:such", "/rests/no", newConfig + "networks/network=x"} {
		if a := w.do("admin", "OPTIONS", path, ""); a.code != 400 {
			t.Errorf("OPTIONS %s: %d %s", path, a.code, a.body)
		}
	}
	if a := w.do("", "OPTIONS", "/rests/data", ""); a.code != 401 {
		t.Errorf("OPTIONS by nobody: %d", a.code)
	}
}

// TestHead: HEAD says what GET would, without a body.
func TestHead(t *testing.T) {
	w := cloudWorld(t)
	w.send("PUT", newConfig+"networks/network="+netID, netBody("n"), 201)
	for _, path := range []string{newConfig + "networks/network=" + netID, newConfig + "networks", "/rests", "/rests/operations", "/rests/yang/neutron", "/restconf/modules",
		"/rests/data/ietf-yang-library:yang-library", newConfig + "routers", "/rests/data/no:such", "/rests/data", hostMeta} {
		get, head := w.get(path), w.do("admin", "HEAD", path, "")
		if head.code != get.code || head.body != "" {
			t.Errorf("HEAD %s: %d %q, GET %d", path, head.code, head.body, get.code)
		}
		for _, h := range []string{"Content-Type", "ETag", "Cache-Control", "Content-Length"} {
			if head.header.Get(h) != get.header.Get(h) {
				t.Errorf("HEAD %s: %s %q, GET has %q", path, h, head.header.Get(h), get.header.Get(h))
			}
		}
	}
}

// TestErrorForm: errors are in the form that the client takes (RFC 8040 section 7.1).
func TestErrorForm(t *testing.T) {
	w := newWorld(t)
	for accept, media := range map[string]string{"application/yang-data+xml": "application/yang-data+xml", "application/xml": "application/xml",
		"application/yang-data+json": "application/yang-data+json", "*/*": "application/yang-data+json",
		"application/xml;q=0.2, application/json;q=0.7": "application/json", "text/html": "application/yang-data+json"} {
		a := w.do("admin", "GET", `/rests/data/no:%3Csuch%3E`, "", "Accept", accept)
		if a.code != 400 && a.code != 406 || a.header.Get("Content-Type") != media {
			t.Errorf("%s: %d %s: %s", accept, a.code, a.header.Get("Content-Type"), a.body)
		}
		if !isXML(media) {
			continue
		}
		var got struct {
			XMLName xml.Name `xml:"urn:ietf:params:xml:ns:yang:ietf-restconf errors"`
			Error   []struct {
				Type    string `xml:"error-type"`
				Tag     string `xml:"error-tag"`
				Message string `xml:"error-message"`
			} `xml:"error"`
		}
		if err := xml.Unmarshal([]byte(a.body), &got); err != nil || len(got.Error) != 1 || got.Error[0].Type != "protocol" || got.Error[0].Tag != "unknown-element" ||
			!strings.Contains(got.Error[0].Message, `"no:<such>"`) {
			t.Errorf("%v: %s", err, a.body)
		}
	}
}

// TestErrorTable is the table of RFC 8040 section 7: what is wrong has its status and tag.
func TestErrorTable(t *testing.T) {
	w := cloudWorld(t)
	network := newConfig + "networks/network=" + netID
	w.send("PUT", network, netBody("n"), 201)
	for _, tt := range []struct {
		name, user, method, path, body string
		header                         []string
		code                           int
		tag                            string
	}{
		{"in-use", "admin", "DELETE", newConfig + "security-groups/security-group=" + groupID, "", nil, 404, "data-missing"},
		{"no credentials", "", "GET", network, "", nil, 401, "access-denied"},
		{"not for tenants", "tenant", "GET", network, "", nil, 403, "access-denied"},
		{"nothing there", "admin", "GET", newConfig + "networks/network=" + subID, "", nil, 404, "data-missing"},
		{"unknown module", "admin", "GET", "/rests/data/no:such", "", nil, 400, "unknown-element"},
		{"unknown element in a body", "admin", "PUT", network, `{"neutron:network":[{"uuid":"` + netID + `","no":1}]}`, nil, 400, "unknown-element"},
		{"bad value", "admin", "PUT", network, `{"neutron:network":[{"uuid":"` + netID + `","neutron-mtu-ext:mtu":"x"}]}`, nil, 400, "invalid-value"},
		{"another key", "admin", "PUT", network, `{"neutron:network":[{"uuid":"` + subID + `"}]}`, nil, 400, "invalid-value"},
		{"no JSON", "admin", "PUT", network, `{`, nil, 400, "malformed-message"},
		{"no XML", "admin", "PUT", network, `<a`, []string{"Content-Type", "application/yang-data+xml"}, 400, "malformed-message"},
		{"data exists", "admin", "POST", newConfig + "networks", netBody("n"), nil, 409, "data-exists"},
		{"delete what is not there", "admin", "DELETE", newConfig + "networks/network=" + subID, "", nil, 404, "data-missing"},
		{"a tag that is not the entry's", "admin", "PUT", network, netBody("n"), []string{"If-Match", `"no"`}, 412, "operation-failed"},
		{"missing element", "admin", "POST", newConfig + "security-rules", `{"neutron:security-rule":[{"uuid":"` + subID + `"}]}`, nil, 400, "missing-element"},
		{"not offered", "admin", "PUT", "/rests/data/neutron:neutron", `{}`, nil, 405, "operation-not-supported"},
		{"no such form", "admin", "GET", network, "", []string{"Accept", "text/html"}, 406, "invalid-value"},
		{"refused form", "admin", "GET", network, "", []string{"Accept", "application/yang-data+json;q=0"}, 406, "invalid-value"},
		{"no such body", "admin", "PUT", network, "a: b", []string{"Content-Type", "application/yaml"}, 415, "invalid-value"},
		{"the whole, written", "admin", "PUT", "/rests/data", "{}", nil, 405, "operation-not-supported"},
		{"the whole, not for tenants", "tenant", "GET", "/rests/data", "", nil, 403, "access-denied"},
		{"too large", "admin", "PUT", network, strings.Repeat(" ", 11<<20), nil, 413, "too-big"},
	} {
		a := w.do(tt.user, tt.method, tt.path, tt.body, tt.header...)
		t.Run(tt.name, func(t *testing.T) {
			was := w.t
			defer func() { w.t = was }()
			w.t = t
			w.refused(a, tt.code, tt.tag)
		})
	}
	w.ready.Store(false)
	w.refused(w.get(network), http.StatusServiceUnavailable, "resource-denied")
}

// TestLibrary: what the server says of its modules is what it has, and each can be fetched.
func TestLibrary(t *testing.T) {
	w := newWorld(t)
	w.want("/rests/yang-library-version", 200, `{"ietf-restconf:yang-library-version":"2019-01-04"}`)
	w.want("/rests", 200, `{"ietf-restconf:restconf":{"data":{},"operations":{},"yang-library-version":"2019-01-04"}}`)
	if m, ok := yang.Served().Module("ietf-yang-library"); !ok || m.Revision != libraryVersion {
		t.Errorf("the module is of %s", m.Revision)
	}
	library := w.get("/rests/data/ietf-yang-library:yang-library").json["ietf-yang-library:yang-library"].(map[string]any)
	state := w.get("/rests/data/ietf-yang-library:modules-state").json["ietf-yang-library:modules-state"].(map[string]any)
	if library["content-id"] == "" || library["content-id"] != state["module-set-id"] {
		t.Errorf("content-id %v, module-set-id %v", library["content-id"], state["module-set-id"])
	}
	set := library["module-set"].([]any)[0].(map[string]any)
	n := 0
	for _, list := range []string{"module", "import-only-module"} {
		for _, x := range set[list].([]any) {
			m := x.(map[string]any)
			n++
			at := m["location"].([]any)[0].(string)
			a := w.get(strings.TrimPrefix(at, w.http.URL))
			of, ok := yang.Served().Module(m["name"].(string))
			if !ok || !strings.HasPrefix(at, w.http.URL+"/rests/yang/") || a.code != 200 || a.body != of.Source || a.header.Get("Content-Type") != "application/yang" ||
				m["revision"] != of.Revision || m["namespace"] != of.Namespace || of.Implement != (list == "module") {
				t.Errorf("%v: %d %s", m, a.code, a.header)
			}
		}
	}
	if all := len(yang.Served().Modules); n != all || len(state["module"].([]any)) != all {
		t.Errorf("%d modules, and %d of RFC 7895, want %d", n, len(state["module"].([]any)), all)
	}
	w.want("/rests/data/ietf-yang-library:modules-state/module=neutron,2015-07-12/conformance-type", 200, `{"ietf-yang-library:conformance-type":"implement"}`)
	w.want("/rests/data/ietf-yang-library:modules-state/module=nagare-types,2026-11-22/conformance-type", 200, `{"ietf-yang-library:conformance-type":"import"}`)
	for _, path := range []string{"/rests/yang/no", "/rests/yang/neutron@1999-01-01", "/rests/yang", "/rests/data/ietf-yang-library:yang-library?content=config"} {
		w.refused(w.get(path), 404, "data-missing")
	}
	ops := w.get("/rests/operations")
	if _, ok := ops.json["ietf-restconf:operations"].(map[string]any)["sal-remote:create-data-change-event-subscription"]; !ok || ops.code != 200 {
		t.Errorf("%d %s", ops.code, ops.body)
	}
	if a := w.do("admin", "GET", "/rests/operations", "", "Accept", "application/yang-data+xml"); !strings.Contains(a.body, `<create-data-change-event-subscription xmlns="urn:opendaylight:params:xml:ns:yang:controller:md:sal:remote"/>`) {
		t.Errorf("%d %s", a.code, a.body)
	}
	modules := w.get("/restconf/modules").json["modules"].(map[string]any)["module"].([]any)
	if len(modules) != n {
		t.Errorf("%d modules in the older dialect, want %d", len(modules), n)
	}
}

// TestMonitoring: what is offered is told.
func TestMonitoring(t *testing.T) {
	w := newWorld(t)
	a := w.get("/rests/data/ietf-restconf-monitoring:restconf-state/capabilities")
	for _, c := range []string{"depth", "fields", "with-defaults", "defaults"} {
		if !strings.Contains(a.body, `"urn:ietf:params:restconf:capability:`+c+`:1.0`) {
			t.Errorf("%s is not among %s", c, a.body)
		}
	}
	w.want("/rests/data/ietf-restconf-monitoring:restconf-state?depth=2", 200, `{"ietf-restconf-monitoring:restconf-state":{"capabilities":{},"streams":{}}}`)
	if a := w.do("admin", "GET", "/rests/data/ietf-restconf-monitoring:restconf-state", "", "Accept", "application/xml"); a.code != 200 ||
		!strings.HasPrefix(a.body, `<restconf-state xmlns="urn:ietf:params:xml:ns:yang:ietf-restconf-monitoring"><capabilities><capability>`) {
		t.Errorf("%d %s", a.code, a.body)
	}
}
