// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"nagare/internal/alloc"
	"nagare/internal/api/odl"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// cloudWorld is a server whose objects are those of the northbound.
func cloudWorld(t testing.TB, change ...func(*odl.Config)) *world {
	t.Helper()
	st := store.New(tables.Schema, nil)
	cfg := odl.Config{Store: st, Alloc: &alloc.Allocator{}, Writable: true}
	for _, f := range change {
		f(&cfg)
	}
	return newWorldOn(t, st, func(c *Config) { c.Objects = odl.NewObjects(cfg) })
}

const (
	oldConfig = "/restconf/config/neutron:neutron/"
	newConfig = "/rests/data/neutron:neutron/"
)

var netID, subID, portID, groupID = testID("net"), testID("sub"), testID("port"), testID("group")

func netBody(name string) string {
	return `{"network":[{"uuid":"` + netID + `","name":"` + name + `","project-id":"p1","neutron-provider-ext:network-type":"neutron-networks:network-type-vxlan","neutron-provider-ext:segmentation-id":"1077"}]}`
}

// put sends a body to a path and wants a status.
func (w *world) send(method, path, body string, want int, header ...string) answer {
	w.t.Helper()
	a := w.do("admin", method, path, body, header...)
	if a.code != want {
		w.t.Errorf("%s %s %s: %d %s, want %d", method, path, body, a.code, a.body, want)
	}
	return a
}

// TestMethods: the table of methods and statuses, for both dialects (RFC 8040 section 4; X1 to X6).
func TestMethods(t *testing.T) {
	for _, d := range []struct {
		config, key                           string
		made, replaced, posted, patched, gone int
		top                                   string
	}{
		{oldConfig, "/", 201, 200, 204, 200, 200, ""},
		{newConfig, "=", 201, 204, 201, 204, 204, "neutron:"},
	} {
		w := cloudWorld(t)
		entry := d.config + "networks/network" + d.key + netID
		w.refused(w.get(entry), 404, "data-missing")
		w.refused(w.do("admin", "DELETE", entry, ""), 404, "data-missing")
		w.refused(w.do("admin", "PATCH", entry, netBody("x")), 404, "data-missing")
		w.send("PUT", entry, netBody("net01"), d.made)
		whole := `{"uuid":"` + netID + `","admin-state-up":true,"name":"net01","neutron-L3-ext:external":false,"neutron-provider-ext:network-type":"neutron-networks:network-type-vxlan","neutron-provider-ext:segmentation-id":"1077","project-id":"p1","revision-number":"0","shared":false,"status":"ACTIVE"}`
		whole = strings.Replace(whole, `"revision-number":"0"`, fmt.Sprintf(`"revision-number":%q`, "0"), 1)
		a := w.get(entry)
		var got struct {
			N []json.RawMessage `json:"network"`
			Q []json.RawMessage `json:"neutron:network"`
		}
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || len(got.N)+len(got.Q) != 1 || (len(got.Q) == 1) != (d.top != "") {
			t.Fatalf("%v %s", err, a.body)
		}
		if one := append(got.N, got.Q...)[0]; !sameJSON(t, string(one), whole) {
			t.Errorf("network %s, want %s", one, whole)
		}
		w.want(d.config+"networks", 200, `{"`+d.top+`networks":{"network":[`+whole+`]}}`) // X1, X2
		w.send("PUT", entry, netBody("net02"), d.replaced)
		w.want(entry+"/name", 200, `{"`+d.top+`name":"net02"}`)
		w.refused(w.do("admin", "POST", d.config+"networks", netBody("x")), 409, "data-exists")
		w.send("PATCH", entry, `{"network":[{"uuid":"`+netID+`","neutron-mtu-ext:mtu":1400}]}`, d.patched)
		w.want(entry+"/neutron-mtu-ext:mtu", 200, `{"`+strings.Replace(d.top, "neutron:", "neutron-mtu-ext:", 1)+`mtu":1400}`)
		w.want(entry+"/name", 200, `{"`+d.top+`name":"net02"}`)
		w.send("PUT", entry+"/name", `{"`+d.top+`name":"net03"}`, d.replaced)
		w.want(entry+"/name", 200, `{"`+d.top+`name":"net03"}`)
		w.send("DELETE", entry+"/neutron-mtu-ext:mtu", "", d.gone)
		w.refused(w.get(entry+"/neutron-mtu-ext:mtu"), 404, "data-missing")
		w.refused(w.do("admin", "DELETE", entry+"/neutron-mtu-ext:mtu", ""), 404, "data-missing")

		revision := w.st.Snapshot().Revision()
		for _, bad := range []struct {
			method, path, body string
			code               int
			tag                string
		}{
			{"PUT", d.config + "networks/network" + d.key + subID, netBody("x"), 400, "invalid-value"}, // X5
			{"PUT", entry, `{"network":[{"name":"x"}]}`, 400, "invalid-value"},
			{"PUT", entry, `{"port":[{"uuid":"` + netID + `"}]}`, 400, "malformed-message"},
			{"PUT", entry, `{"network":[{"uuid":"` + netID + `","nome":"x"}]}`, 400, "unknown-element"},
			{"PUT", entry, `{"network":[{"uuid":"` + netID + `","admin-state-up":"perhaps"}]}`, 400, "invalid-value"},
			{"PUT", entry, `{"network":[{"uuid":"` + netID + `"},{"uuid":"` + subID + `"}]}`, 400, "malformed-message"},
			{"PUT", entry, `{"network":[{"uuid":"` + netID + `","neutron-provider-ext:network-type":"neutron-networks:network-type-token-ring"}]}`, 400, "invalid-value"},
			{"PUT", entry, netBody("x") + "{", 400, "malformed-message"},
			{"PUT", entry, ``, 400, "malformed-message"},
			{"PUT", d.config + "networks/network" + d.key + "nonsense", netBody("x"), 400, "invalid-value"},
			{"PUT", d.config + "networks", `{"networks":{}}`, 405, "operation-not-supported"},
			{"DELETE", d.config + "networks", "", 405, "operation-not-supported"},
			{"DELETE", d.config + "networks/network", "", 405, "operation-not-supported"},
			{"POST", d.config + "hostconfigs", `{"hostconfig":[{"host-id":"a","host-type":"b"}]}`, 405, "operation-not-supported"}, // X6
			{"PUT", d.config + "hostconfigs/hostconfig" + d.key + "a" + map[string]string{"/": "/", "=": ","}[d.key] + "b", `{"hostconfig":[{"host-id":"a","host-type":"b"}]}`, 405, "operation-not-supported"},
			{"PUT", d.config + "nosuch", `{}`, 400, "unknown-element"}, // X4
			{"POST", d.config + "networks", `{"subnet":[{}]}`, 400, "unknown-element"},
			{"POST", d.config + "networks", `{"network":[{"name":"x"}]}`, 400, "missing-element"},
			{"DELETE", entry + "/uuid", "", 400, "missing-element"},
			{"PUT", entry + "/uuid", `{"` + d.top + `uuid":"` + subID + `"}`, 400, "invalid-value"},
		} {
			a := w.do("admin", bad.method, bad.path, bad.body)
			if a.code != bad.code {
				t.Errorf("%s %s %s: %d %s", bad.method, bad.path, bad.body, a.code, a.body)
				continue
			}
			w.refused(a, bad.code, bad.tag)
		}
		if w.st.Snapshot().Revision() != revision {
			t.Error("a refused request changed something")
		}
		w.send("DELETE", entry, "", d.gone)
		w.refused(w.get(d.config+"networks"), 404, "data-missing")
		a = w.send("POST", d.config+"networks", netBody("net04"), d.posted)
		if location := a.header.Get("Location"); location != entry {
			t.Errorf("Location %s, want %s", location, entry)
		}
		w.want(a.header.Get("Location")+"/name", 200, `{"`+d.top+`name":"net04"}`)
	}
}

// TestInner: what is inside an entry is written by itself, too.
func TestInner(t *testing.T) {
	w := cloudWorld(t)
	w.send("PUT", newConfig+"networks/network="+netID, netBody("n"), 201)
	subnet := newConfig + "subnets/subnet=" + subID
	w.send("PUT", subnet, `{"neutron:subnet":[{"uuid":"`+subID+`","network-id":"`+netID+`","ip-version":"neutron-constants:ip-version-v4","cidr":"10.0.0.0/24","gateway-ip":"10.0.0.1","allocation-pools":[{"start":"10.0.0.2","end":"10.0.0.9"}]}]}`, 201)
	w.send("POST", subnet, `{"neutron:host-routes":[{"destination":"10.9.0.0/16","nexthop":"10.0.0.5"}]}`, 201)
	w.refused(w.do("admin", "POST", subnet, `{"neutron:host-routes":[{"destination":"10.9.0.0/16","nexthop":"10.0.0.6"}]}`), 409, "data-exists")
	w.send("PATCH", subnet, `{"neutron:subnet":[{"uuid":"`+subID+`","host-routes":[{"destination":"10.8.0.0/16","nexthop":"10.0.0.6"}],"dns-nameservers":["10.0.0.3"]}]}`, 204)
	w.send("PUT", subnet+"/host-routes=10.9.0.0%2F16/nexthop", `{"neutron:nexthop":"10.0.0.7"}`, 204)
	w.want(subnet+"/host-routes", 200, `{"neutron:host-routes":[{"destination":"10.9.0.0/16","nexthop":"10.0.0.7"},{"destination":"10.8.0.0/16","nexthop":"10.0.0.6"}]}`)
	w.send("DELETE", subnet+"/host-routes=10.9.0.0%2F16", "", 204)
	w.refused(w.do("admin", "DELETE", subnet+"/host-routes=10.8.0.0%2F16/nexthop", ""), 400, "missing-element")
	w.want(subnet+"/host-routes=10.8.0.0%2F16", 200, `{"neutron:host-routes":[{"destination":"10.8.0.0/16","nexthop":"10.0.0.6"}]}`)
	w.send("POST", subnet, `{"neutron:dns-nameservers":["10.0.0.4"]}`, 201)
	w.want(subnet+"/dns-nameservers", 200, `{"neutron:dns-nameservers":["10.0.0.3","10.0.0.4"]}`)
	w.send("DELETE", subnet+"/dns-nameservers=10.0.0.3", "", 204)
	w.want(subnet+"/dns-nameservers", 200, `{"neutron:dns-nameservers":["10.0.0.4"]}`)
	w.refused(w.do("admin", "PUT", subnet+"/cidr", `{"neutron:cidr":"10.0.0.1/33"}`), 400, "invalid-value")
	w.refused(w.do("admin", "PUT", subnet+"?insert=first", `{}`), 501, "operation-not-supported")
	w.refused(w.do("admin", "PUT", newConfig+"subnets/subnet="+netID+"/cidr", `{"neutron:cidr":"10.0.0.0/24"}`), 404, "data-missing")
}

// TestConditions: If-Match and If-None-Match hold, and are by the entry.
func TestConditions(t *testing.T) {
	w := cloudWorld(t)
	entry := newConfig + "networks/network=" + netID
	w.refused(w.do("admin", "PUT", entry, netBody("n"), "If-Match", "*"), 412, "operation-failed")
	w.send("PUT", entry, netBody("n"), 201, "If-None-Match", "*")
	w.refused(w.do("admin", "PUT", entry, netBody("m"), "If-None-Match", "*"), 412, "operation-failed")
	tag := w.get(entry).header.Get("ETag")
	if tag == "" || w.get(entry+"/name").header.Get("ETag") != tag {
		t.Errorf("ETag %q and %q", tag, w.get(entry+"/name").header.Get("ETag"))
	}
	if a := w.do("admin", "GET", entry, "", "If-None-Match", tag); a.code != 304 || a.body != "" {
		t.Errorf("%d %s", a.code, a.body)
	}
	w.send("PUT", newConfig+"networks/network="+subID, strings.ReplaceAll(netBody("other"), netID, subID), 201) // another entry does not count
	w.send("PUT", entry, netBody("m"), 204, "If-Match", `"x", `+tag)
	w.refused(w.do("admin", "PUT", entry, netBody("o"), "If-Match", tag), 412, "operation-failed")
	w.refused(w.do("admin", "DELETE", entry, "", "If-Match", tag), 412, "operation-failed")
	w.send("DELETE", entry, "", 204, "If-Match", w.get(entry).header.Get("ETag"))
}

// TestParameters: depth, fields, with-defaults and content (RFC 8040 section 4.8).
func TestParameters(t *testing.T) {
	w := cloudWorld(t)
	entry := newConfig + "networks/network=" + netID
	w.send("PUT", entry, netBody("n"), 201)
	w.putStatus(portID)
	id := `"uuid":"` + netID + `"`
	for path, want := range map[string]string{
		entry + "?fields=name": `{"neutron:network":[{` + id + `,"name":"n"}]}`,
		entry + "?fields=name;neutron-provider-ext:network-type":            `{"neutron:network":[{` + id + `,"name":"n","neutron-provider-ext:network-type":"neutron-networks:network-type-vxlan"}]}`,
		newConfig + "networks?fields=network/name":                          `{"neutron:networks":{"network":[{` + id + `,"name":"n"}]}}`,
		newConfig + "networks?fields=network(name;project-id)":              `{"neutron:networks":{"network":[{` + id + `,"name":"n","project-id":"p1"}]}}`,
		"/rests/data/neutron:neutron?fields=networks/network/name&depth=3":  `{"neutron:neutron":{"networks":{"network":[{}]}}}`,
		newConfig + "networks?depth=2":                                      `{"neutron:networks":{"network":[{}]}}`,
		newConfig + "networks?depth=1":                                      `{"neutron:networks":{}}`,
		entry + "/name?depth=1":                                             `{"neutron:name":"n"}`,
		newConfig + "networks?fields=network/name&content=config":           `{"neutron:networks":{"network":[{` + id + `,"name":"n"}]}}`,
		newConfig + "ports?content=nonconfig":                               `{"neutron:ports":{"port":[{"uuid":"` + portID + `","status":"ACTIVE"}]}}`,
		entry + "?fields=shared;neutron-L3-ext:external&with-defaults=trim": `{"neutron:network":[{` + id + `}]}`,
		entry + "?fields=vlan-transparent&with-defaults=report-all":         `{"neutron:network":[{` + id + `,"vlan-transparent":false}]}`,
		entry + "?fields=vlan-transparent":                                  `{"neutron:network":[{` + id + `}]}`,
	} {
		w.want(path, 200, want)
	}
	w.refused(w.get(newConfig+"networks?content=nonconfig"), 404, "data-missing")
	for _, q := range []string{"depth=0", "depth=x", "depth=70000", "depth=1&depth=2", "content=some", "with-defaults=report-all-tagged", "fields=", "fields=a(", "fields=a)b", "fields=/", "nosuch=1", "fields=" + strings.Repeat("a(", 50)} {
		w.refused(w.get(newConfig+"networks?"+q), 400, "invalid-value")
	}
	w.refused(w.get("/rests/data/neutron:neutron/networks?fields=%zz"), 400, "malformed-message")
}

func (w *world) putStatus(id string) {
	p := port("x")
	p.ID = modelPort(id)
	w.putPort(p)
	w.setStatus(p.ID, "ACTIVE")
}

// TestBothForms is X7: the same requests in XML do the same, and answers say the same.
func TestBothForms(t *testing.T) {
	w := cloudWorld(t)
	asXML := []string{"Content-Type", "application/yang-data+xml", "Accept", "application/yang-data+xml"}
	entry := newConfig + "networks/network=" + netID
	body := `<network xmlns="urn:opendaylight:neutron"><uuid>` + netID + `</uuid><name>n</name><project-id>p1</project-id>` +
		`<network-type xmlns="urn:opendaylight:neutron-provider-ext" xmlns:t="urn:opendaylight:neutron-networks">t:network-type-vxlan</network-type>` +
		`<segmentation-id xmlns="urn:opendaylight:neutron-provider-ext">1077</segmentation-id></network>`
	w.send("PUT", entry, body, 201, asXML...)
	byXML := w.get(entry).body
	w.send("DELETE", entry, "", 204)
	w.send("PUT", entry, netBody("n"), 201)
	if byJSON := w.get(entry).body; byJSON != byXML {
		t.Errorf("by JSON\n%s\nby XML\n%s", byJSON, byXML)
	}
	a := w.do("admin", "GET", entry, "", asXML...)
	if a.code != 200 || a.header.Get("Content-Type") != "application/yang-data+xml" || !strings.HasPrefix(a.body, `<network xmlns="urn:opendaylight:neutron"><uuid>`+netID+`</uuid>`) {
		t.Errorf("%d %s", a.code, a.body)
	}
	w.send("PUT", entry, a.body, 204, asXML...) // what is read can be written
	if again := w.do("admin", "GET", entry, "", asXML...); again.body != a.body {
		t.Errorf("%s\n%s", again.body, a.body)
	}
	if a := w.do("admin", "GET", newConfig+"networks", "", asXML...); a.code != 200 || !strings.HasPrefix(a.body, `<networks xmlns="urn:opendaylight:neutron"><network><uuid>`) || !strings.HasSuffix(a.body, "</network></networks>") {
		t.Errorf("%d %s", a.code, a.body)
	}
	if a := w.do("admin", "GET", newConfig+"networks/network", "", asXML...); a.code != 400 {
		t.Errorf("a list is no document: %d %s", a.code, a.body)
	}
	for _, bad := range []string{"", "<network", strings.Replace(body, "<name>", "<nome>", 1), `<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><network xmlns="urn:opendaylight:neutron"><name>&e;</name></network>`} {
		if a := w.do("admin", "PUT", entry, bad, asXML...); a.code != 400 {
			t.Errorf("%s: %d %s", bad, a.code, a.body)
		}
	}
}

// TestReadOnly: who may not write, and when nobody may.
func TestReadOnly(t *testing.T) {
	w := cloudWorld(t)
	entry := newConfig + "networks/network=" + netID
	for user, code := range map[string]int{"viewer": 403, "tenant": 403, "domain": 403, "": 401} {
		if a := w.do(user, "PUT", entry, netBody("n")); a.code != code {
			t.Errorf("%s: %d %s", user, a.code, a.body)
		}
	}
	w.send("PUT", entry, netBody("n"), 201)
	closed := cloudWorld(t, func(c *odl.Config) { c.Writable = false })
	a := closed.do("admin", "PUT", entry, netBody("n"))
	closed.refused(a, 409, "in-use")
	if !strings.Contains(a.body, "--northbound") || closed.st.Snapshot().Revision() != 0 {
		t.Errorf("%s", a.body)
	}
}

// TestManyPorts: a long list comes in pieces, whole.
func TestManyPorts(t *testing.T) {
	w := cloudWorld(t)
	w.commit(func(tx *store.Txn) {
		for i := range 2000 {
			p := port("x")
			p.ID = modelPort(testID(fmt.Sprint(i)))
			p.MAC[3], p.MAC[4] = byte(i>>8), byte(i)
			if err := alloc.PutPort(tx, p); err != nil {
				t.Fatal(err)
			}
		}
	})
	for _, accept := range []string{"application/json", "application/xml"} {
		a := w.do("admin", "GET", oldConfig+"ports", "", "Accept", accept)
		if n := strings.Count(a.body, "fa:16:3e:"); a.code != http.StatusOK || n != 2000 || a.header.Get("Content-Length") != "" {
			t.Errorf("%s: %d, %d ports, length %q", accept, a.code, n, a.header.Get("Content-Length"))
		}
	}
	var all struct {
		Ports struct {
			Port []json.RawMessage `json:"port"`
		} `json:"ports"`
	}
	if err := json.Unmarshal([]byte(w.get(oldConfig+"ports").body), &all); err != nil || len(all.Ports.Port) != 2000 {
		t.Errorf("%v, %d", err, len(all.Ports.Port))
	}
}

// TestWhatTheModulesLack: attributes of the northbound for which the modules have no place survive a write through them.
func TestWhatTheModulesLack(t *testing.T) {
	w := cloudWorld(t)
	entry := newConfig + "networks/network=" + netID
	w.send("PUT", entry, netBody("n"), 201)
	objects := w.srv.cfg.Objects
	r := httptest.NewRequest(http.MethodPut, "/", nil)
	if err := objects.Edit(r, principals["admin"], "networks", netID, func(now map[string]any) (map[string]any, error) {
		now["description"] = "kept"
		return now, nil
	}); err != nil {
		t.Fatal(err)
	}
	w.send("PUT", entry, netBody("m"), 204)
	if obj, _ := objects.Object(w.st.Snapshot(), "networks", netID); obj["description"] != "kept" || obj["name"] != "m" {
		t.Errorf("%v", obj)
	}
}

// TestConfigAlone: operational leaves of an entry are no configuration.
func TestConfigAlone(t *testing.T) {
	d := newTree().entry(nodePath+"/termination-point").Leaf("tp-id", "tap1").Leaf("ovsdb:mac-in-use", "fa:16:3e:00:00:01").Leaf("ovsdb:ofport", "3")
	if got := string(choice{want: config}.reduce(d).AppendJSON(nil)); got != `{"tp-id":"tap1","ovsdb:ofport":3}` {
		t.Error(got)
	}
}
