// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"encoding/json"
	"encoding/xml"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// FuzzRequest: whatever is asked for, the answer is no fault of ours, is JSON in its dialect's form, and nothing is changed.
func FuzzRequest(f *testing.F) {
	for _, path := range []string{"/restconf/operational/neutron:neutron/hostconfigs/hostconfig/h1/ODL%20L2", "/restconf/streams/stream/" + portsName + "/XML",
		"/rests/data/neutron:neutron/hostconfigs/hostconfig=h1,ODL%20L2?content=all", "/rests/data/network-topology:network-topology/topology=ovsdb%3A1/node=a%2Fb",
		"/restconf/operational/network-topology:network-topology/topology/ovsdb:1/node/x/termination-point", "/" + portsName + "?token=AAAA",
		"/rests/data/ietf-restconf-monitoring:restconf-state/streams", "/restconf/config/", "/.well-known/host-meta", "/rests/data/%zz", "/restconf//"} {
		f.Add("GET", path, "", "odl:8181", "*/*")
	}
	f.Add("POST", rpc, rpcBody(portsPath, "JSON"), "odl", "application/json")
	f.Add("POST", "/rests/operations/sal-remote:create-data-change-event-subscription", `{"sal-remote:input":{"path":[]}}`, "odl", "application/xml")
	for _, path := range []string{"/rests", "/rests/operations", "/rests/yang-library-version", "/rests/yang/neutron@2015-07-12", "/rests/data/ietf-yang-library:modules-state",
		"/rests/data/ietf-restconf-monitoring:restconf-state/capabilities/capability=urn%3Aietf"} {
		f.Add("GET", path, "", "odl", "application/xml;q=0.5,application/json;q=0.1")
		f.Add("OPTIONS", path, "", "odl", "")
	}
	of := model.Node{NodePlane: model.NodePlane{Key: 1}}
	for _, path := range []string{"", "/flow-node-inventory:table=17/flow=priority%3D50,ip", "/flow-node-inventory:group=7", "/node-connector=x%3ALOCAL", "/nagare-inventory:fault"} {
		f.Add("GET", "/rests/data/opendaylight-inventory:nodes/node="+model.SwitchID(of.DatapathID())+path, "", "odl", "application/xml")
		f.Add("OPTIONS", "/restconf/operational/opendaylight-inventory:nodes/node/"+model.SwitchID(of.DatapathID())+path, "", "odl", "*/*")
	}
	f.Add("GET", "/rests/data/network-topology:network-topology/topology=flow%3A1/link=x?depth=3&fields=link-id", "", "odl", "application/json")
	f.Add("GET", "/rests/data?depth=3&fields=neutron:neutron/networks;network-topology:network-topology", "", "odl", "application/xml")
	st := store.New(tables.Schema, nil)
	fake := &fakeSwitches{connected: map[model.NodeID]bool{"h1": true}, flows: someFlows(), links: []Link{{"h1", "h1", 3, 4}}}
	s := New(Config{Store: st, Objects: none{}, Auth: auth, PortStatus: true, Switches: fake})
	if _, err := st.Commit(f.Context(), store.Origin{}, func(tx *store.Txn) error {
		putHost(host("h1", map[string]string{"ODL L2": "{}"}))(tx)
		status("p1", "ACTIVE")(tx)
		return nil
	}); err != nil {
		f.Fatal(err)
	}
	revision := st.Snapshot().Revision()
	f.Fuzz(func(t *testing.T, method, path, body, host, accept string) {
		u, err := url.ParseRequestURI(path)
		if err != nil || method == "" || strings.ContainsFunc(method, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return // net/http refuses it
		}
		r := &http.Request{Method: method, URL: u, Host: host, Header: http.Header{"Accept": {accept}}, Body: http.NoBody}
		if body != "" {
			r = httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
			r.Method, r.URL, r.Host = method, u, host
			r.Header.Set("Accept", accept)
		}
		r.SetBasicAuth("admin", "pw")
		rec := httptest.NewRecorder()
		s.ServeHTTP(rec, r)
		if rec.Code >= 500 && rec.Code != http.StatusNotImplemented || rec.Code < 200 {
			t.Errorf("%s %q: %d %s", method, path, rec.Code, rec.Body)
		}
		b, media := rec.Body.Bytes(), rec.Header().Get("Content-Type")
		switch {
		case isXML(media):
			if xml.Unmarshal(b, new(any)) != nil {
				t.Errorf("%s %q: %d, no XML: %q", method, path, rec.Code, b)
			}
		case !json.Valid(b) && rec.Code != http.StatusNoContent && media != "application/yang":
			t.Errorf("%s %q: %d, no JSON: %q", method, path, rec.Code, b)
		}
		if rec.Code >= 400 && !strings.Contains(string(b), `errors":{"error":[{"error-message":"`) && !strings.Contains(string(b), `<errors xmlns="`+nsRESTCONF+`"><error>`) {
			t.Errorf("%s %q: %d, no error of RESTCONF: %q", method, path, rec.Code, rec.Body)
		}
		if l := rec.Header().Get("Location"); strings.ContainsAny(l, "\r\n") {
			t.Errorf("%s %q: location %q", method, path, l)
		}
		if st.Snapshot().Revision() != revision {
			t.Errorf("%s %q changed the store", method, path)
		}
	})
}

// fuzzed makes a request of an administrator that writes; what is no request gives 0. No fault of ours may come of it, and no refusal may
// change anything.
func (w *world) fuzzed(t *testing.T, method, path, body string, asXML bool) (status int) {
	u, err := url.ParseRequestURI(path)
	if err != nil || method == "GET" || method == "" || strings.ContainsFunc(method, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return 0
	}
	r := httptest.NewRequest(http.MethodPut, "/", strings.NewReader(body))
	r.Method, r.URL = method, u
	if asXML {
		r.Header.Set("Content-Type", "application/xml")
	}
	r.SetBasicAuth("admin", "pw")
	rec := httptest.NewRecorder()
	before := w.st.Snapshot().Revision()
	w.srv.ServeHTTP(rec, r)
	if rec.Code >= 500 && rec.Code != http.StatusNotImplemented || rec.Code < 200 {
		t.Errorf("%s %s %q: %d %s", method, path, body, rec.Code, rec.Body)
	}
	if rec.Code >= 300 && w.st.Snapshot().Revision() != before {
		t.Errorf("%s %s %q: %d, and something was changed", method, path, body, rec.Code)
	}
	return rec.Code
}

// FuzzWrite: whatever is written in JSON or XML is done or refused: no fault of ours, and nothing changed by a refusal.
func FuzzWrite(f *testing.F) {
	w := cloudWorld(f)
	w.send("PUT", newConfig+"networks/network="+netID, netBody("n"), 201)
	f.Add("PUT", "networks/network="+netID, netBody("m"), false)
	f.Add("PATCH", "networks/network="+netID, `{"neutron:network":[{"uuid":"`+netID+`","neutron-mtu-ext:mtu":9}]}`, false)
	f.Add("POST", "networks", `<network xmlns="urn:opendaylight:neutron"><uuid>`+subID+`</uuid></network>`, true)
	f.Add("POST", "networks/network="+netID, `{"neutron-provider-ext:segments":[{"segmentation-index":1}]}`, false)
	f.Add("DELETE", "networks/network="+netID+"/name", "", false)
	f.Fuzz(func(t *testing.T, method, path, body string, asXML bool) {
		w.fuzzed(t, method, newConfig+path, body, asXML)
	})
}

// FuzzOperator: whatever is written below a switch is done or refused, and what is done is read back and can be removed.
func FuzzOperator(f *testing.F) {
	w, node := operatorWorld(f, &wanted{}, "standard")
	base := "/rests/data/opendaylight-inventory:nodes/node=" + node + "/flow-node-inventory:"
	f.Add("PUT", "table=0/flow=web", `{"flow":[`+dropWeb+`]}`, false)
	f.Add("PUT", "table=1/flow=x", `{"flow":[{"id":"x","instructions":{"instruction":[{"order":0,"apply-actions":{"action":[{"order":0,"nagare-inventory:ovs-action":"clone(resubmit(,20))"}]}}]}}]}`, false)
	f.Add("PATCH", "table=0/flow=web", `{"flow":[{"id":"web","match":{"nagare-inventory:field":[{"name":"reg0","value":"1"}]}}]}`, false)
	f.Add("PUT", "group=5", `{"group":[{"group-id":5,"group-type":"group-ff","buckets":{"bucket":[{"bucket-id":1,"watch_port":2}]}}]}`, false)
	f.Add("PUT", "meter=258050", `{"meter":[{"meter-id":258050,"meter-band-headers":{"meter-band-header":[{"band-id":0,"drop-rate":5}]}}]}`, false)
	f.Add("PUT", "table=0/flow=x", `<flow xmlns="urn:opendaylight:flow:inventory"><id>x</id><priority>7</priority><match><ethernet-match><ethernet-type><type>2048</type></ethernet-type></ethernet-match></match></flow>`, true)
	f.Fuzz(func(t *testing.T, method, path, body string, asXML bool) {
		if w.fuzzed(t, method, base+path, body, asXML) == http.StatusCreated {
			for id, e := range tables.OperatorEntries.All(w.st.Snapshot()) {
				if d := w.srv.tree.operatorEntry(map[string]string{"flow": flowPath, "group": groupPath, "meter": meterPath}[e.Kind], &e); !sameJSON(t, string(d.AppendJSON(nil)), e.Config) {
					t.Errorf("%s is read back as %s, not %s", id, d.AppendJSON(nil), e.Config)
				}
			}
		}
	})
}
