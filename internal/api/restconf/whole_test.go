// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"nagare/internal/model"
	"nagare/internal/yang"
)

// TestWhole: the whole data store has what its containers have, each as it is given out alone, in both dialects and forms.
func TestWhole(t *testing.T) {
	w := cloudWorld(t)
	w.srv.cfg.Switches = &fakeSwitches{connected: map[model.NodeID]bool{"h1": true}, flows: someFlows()}
	w.commit(putHost(host("h1", nil)))
	w.send("PUT", newConfig+"networks/network="+netID, netBody("n"), 201)
	for _, content := range []string{"", "?content=config", "?content=nonconfig"} {
		all := w.get("/rests/data" + content)
		asXML := []string{"Accept", "application/yang-data+xml"}
		allXML := w.do("admin", "GET", "/rests/data"+content, "", asXML...)
		var json, xml, roots []string
		for _, root := range yang.Served().Roots {
			one := w.get("/rests/data/" + root.QName() + content)
			if one.code == 404 {
				continue
			}
			json = append(json, strings.TrimSuffix(strings.TrimPrefix(one.body, "{"), "}"))
			xml = append(xml, w.do("admin", "GET", "/rests/data/"+root.QName()+content, "", asXML...).body)
			roots = append(roots, root.Name)
		}
		if len(roots) == 0 {
			t.Fatalf("%s: there is nothing", content)
		}
		if want := `{"ietf-restconf:data":{` + strings.Join(json, ",") + "}}"; all.code != 200 || all.body != want {
			t.Errorf("%s: %d %s\nwant %s", content, all.code, all.body, want)
		}
		if want := `<data xmlns="` + nsRESTCONF + `">` + strings.Join(xml, "") + "</data>"; allXML.code != 200 || allXML.body != want {
			t.Errorf("%s: %d %s\nwant %s", content, allXML.code, allXML.body, want)
		}
		older, ok := map[string]string{"?content=config": "/restconf/config", "?content=nonconfig": "/restconf/operational"}[content]
		if !ok {
			continue
		}
		if got, want := w.get(older+"/").body, strings.Replace(all.body, "ietf-restconf:", "", 1); got != want {
			t.Errorf("%s: %s\nwant %s", older, got, want)
		}
	}
	w.refused(w.do("tenant", "GET", "/rests/data", ""), 403, "access-denied")
}

// TestWholeParameters: depth and fields cut the whole as they cut anything else.
func TestWholeParameters(t *testing.T) {
	w := cloudWorld(t)
	w.want("/rests/data?content=config", 200, `{"ietf-restconf:data":{}}`) // it is there with nothing in it
	w.send("PUT", newConfig+"networks/network="+netID, netBody("n"), 201)
	for path, want := range map[string]string{
		"/rests/data?depth=1":                                                   `{}`,
		"/rests/data?depth=2&content=config":                                    `{"neutron:neutron":{}}`,
		"/rests/data?depth=3&content=config":                                    `{"neutron:neutron":{"networks":{}}}`,
		"/rests/data?depth=4&content=config":                                    `{"neutron:neutron":{"networks":{"network":[{}]}}}`,
		"/rests/data?fields=neutron:neutron/networks/network/name":              `{"neutron:neutron":{"networks":{"network":[{"uuid":"` + netID + `","name":"n"}]}}}`,
		"/rests/data?fields=ietf-yang-library:modules-state&depth=2":            `{"ietf-yang-library:modules-state":{}}`,
		"/rests/data?fields=opendaylight-inventory:nodes":                       `{}`,
		"/rests/data?fields=neutron:neutron/networks/network&content=nonconfig": `{}`,
	} {
		w.want(path, 200, `{"ietf-restconf:data":`+want+`}`)
	}
	top := w.get("/rests/data?depth=2").json["ietf-restconf:data"].(map[string]any)
	if got := slices.Sorted(maps.Keys(top)); !slices.Equal(got, []string{"ietf-restconf-monitoring:restconf-state", "ietf-yang-library:modules-state",
		"ietf-yang-library:yang-library", "network-topology:network-topology", "neutron:neutron"}) {
		t.Errorf("depth 2: %q", got)
	}
	w.refused(w.get("/rests/data?depth=0"), 400, "invalid-value")
}

// TestWholeTag: the tag of the whole is of its configuration.
func TestWholeTag(t *testing.T) {
	w := cloudWorld(t)
	tag := w.get("/rests/data").header.Get("ETag")
	const path = "/rests/data?content=config"
	if a := w.do("admin", "GET", path, "", "If-None-Match", tag); tag == "" || a.code != 304 || a.body != "" {
		t.Errorf("tag %s: %d %s", tag, a.code, a.body)
	}
	if a := w.do("admin", "GET", "/rests/data", "", "If-None-Match", tag); a.code != 200 { // what is operational has changed perhaps
		t.Errorf("%d %s", a.code, a.body)
	}
	w.send("PUT", newConfig+"networks/network="+netID, netBody("n"), 201)
	if a := w.do("admin", "GET", path, "", "If-None-Match", tag); a.code != 200 || a.header.Get("ETag") == tag {
		t.Errorf("%d, tag %s", a.code, a.header.Get("ETag"))
	}
}

// TestWholeWithoutAnAnswer: a switch that gives none makes the whole an error, not a part; the configuration needs no switch.
func TestWholeWithoutAnAnswer(t *testing.T) {
	w, s, _ := switchWorld(t)
	s.fail = Unavailable(errors.New("h1 gave no answer"))
	a := w.get("/rests/data")
	w.refused(a, http.StatusServiceUnavailable, "resource-denied")
	if a.header.Get("ETag") != "" {
		t.Errorf("an error has the tag %s", a.header.Get("ETag"))
	}
	w.want("/rests/data?content=config", 200, `{"ietf-restconf:data":{}}`)
	for range maxLooks {
		w.srv.looks <- struct{}{}
	}
	w.refused(w.get("/rests/data?fields=opendaylight-inventory:nodes"), http.StatusServiceUnavailable, "resource-denied")
	w.want("/rests/data?content=config", 200, `{"ietf-restconf:data":{}}`)
	if a := w.get("/rests/data?fields=ietf-yang-library:modules-state"); a.code != 200 {
		t.Errorf("%d %s", a.code, a.body)
	}
	for range maxLooks {
		<-w.srv.looks
	}
}
