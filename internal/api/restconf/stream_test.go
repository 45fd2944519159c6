// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"crypto/tls"
	"encoding/xml"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"nagare/internal/alloc"
	"nagare/internal/identity"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

const portsName = "data-change-event-subscription/neutron:neutron/neutron:ports/datastore=OPERATIONAL/scope=SUBTREE"

// TestSubscription is W1 and W2: names of streams, in every spelling of the request that clients have.
func TestSubscription(t *testing.T) {
	w := newWorld(t)
	plain := `{"input": {"path": "/neutron:neutron/ports/", "datastore": "OPERATIONAL", "scope": "SUBTREE", "notification-output-type": "JSON"}}`
	for _, body := range []string{rpcBody(portsPath, "JSON"), rpcBody("/neutron:neutron/ports", "JSON"), plain,
		strings.Replace(plain, `"input"`, `"sal-remote:input"`, 1)} {
		a := w.do("nova", "POST", rpc, body)
		if want := `{"output":{"stream-name":"` + portsName + `/JSON"}}`; a.code != 200 || !sameJSON(t, a.body, want) {
			t.Errorf("%s: %d %s", body, a.code, a.body)
		}
	}
	a := w.do("nova", "POST", "/rests/operations/sal-remote:create-data-change-event-subscription", plain, "Content-Type", "application/yang-data+json")
	if want := `{"sal-remote:output":{"stream-name":"` + portsName + `/JSON"}}`; a.code != 200 || !sameJSON(t, a.body, want) {
		t.Errorf("%d %s", a.code, a.body)
	}
	a = w.do("nova", "POST", rpc, strings.Replace(plain, `, "notification-output-type": "JSON"`, "", 1))
	if !strings.Contains(a.body, "/XML") {
		t.Errorf("the default form is XML: %s", a.body)
	}
	for body, want := range map[string]struct {
		code int
		tag  string
	}{
		strings.Replace(plain, "neutron:neutron/ports", "neutron:neutron/nosuch", 1): {400, "invalid-value"}, // W2
		strings.Replace(plain, "OPERATIONAL", "NOSUCH", 1):                           {400, "invalid-value"},
		strings.Replace(plain, `"OPERATIONAL"`, "7", 1):                              {400, "invalid-value"},
		strings.Replace(plain, `"JSON"`, `"YAML"`, 1):                                {400, "invalid-value"},
		strings.Replace(plain, "SUBTREE", "ALL", 1):                                  {400, "invalid-value"},
		strings.Replace(plain, `"path"`, `"nosuch"`, 1):                              {400, "unknown-element"},
		strings.Replace(plain, `"scope"`, `"sal-remote-augment:path"`, 1):            {400, "unknown-element"},
		`{}`:                        {400, "malformed-message"},
		`[]`:                        {400, "malformed-message"},
		`{"input": 7}`:              {400, "malformed-message"},
		`{"input": {}, "more": {}}`: {400, "malformed-message"},
		`{"input": {}}`:             {400, "missing-element"},
		`{"input": {"path"`:         {400, "malformed-message"},
		``:                          {400, "malformed-message"},
		strings.Repeat("[", 100000): {400, "malformed-message"},
		`{"input": "` + strings.Repeat("x", 11<<20) + `"}`: {413, "too-big"},
	} {
		w.refused(w.do("nova", "POST", rpc, body), want.code, want.tag)
	}
	w.refused(w.do("nova", "POST", "/restconf/operations/sal-flow:add-flow", plain), 400, "unknown-element")
	w.refused(w.do("nova", "POST", rpc, plain, "Content-Type", "text/plain"), 415, "invalid-value")
	w.refused(w.do("nova", "POST", rpc, "<input/>", "Content-Type", "application/xml"), 400, "missing-element")
	w.refused(w.do("nova", "POST", rpc, "<output/>", "Content-Type", "application/xml"), 400, "malformed-message")
	w.refused(w.do("nova", "POST", rpc, "<input><path>"+strings.Repeat("x", 11<<20)+"</path></input>", "Content-Type", "application/xml"), 413, "too-big")
	asXML := `<input xmlns="urn:opendaylight:params:xml:ns:yang:controller:md:sal:remote"><path xmlns:n="urn:opendaylight:neutron">/neutron:neutron/neutron:ports</path>` +
		`<datastore xmlns="urn:sal:restconf:event:subscription">OPERATIONAL</datastore><scope xmlns="urn:sal:restconf:event:subscription">SUBTREE</scope></input>`
	a = w.do("nova", "POST", rpc, asXML, "Content-Type", "application/xml", "Accept", "application/xml")
	if want := `<output xmlns="urn:opendaylight:params:xml:ns:yang:controller:md:sal:remote"><stream-name>` + portsName + `/XML</stream-name></output>`; a.code != 200 || a.body != want {
		t.Errorf("%d %s", a.code, a.body)
	}
	w.refused(w.do("nova", "GET", rpc, ""), 405, "operation-not-supported")
}

// TestStreamLocation is W1 and W3: a stream's location is on the host that the client used, with what it used.
func TestStreamLocation(t *testing.T) {
	w := newWorld(t)
	const base = "/restconf/streams/stream/"
	hosts := strings.Replace(portsName, "ports", "hostconfigs", 1)
	for _, name := range []string{hosts, hosts + "/JSON", portsName + "/XML", portsName + "/YAML", "nosuch", strings.Replace(portsName, "ports", "networks", 1),
		strings.Replace(portsName, "OPERATIONAL", "CONFIGURATION", 1)} {
		w.refused(w.get(base+name), 400, "unknown-element") // W3
	}
	for _, name := range []string{portsName, portsName + "/JSON", portsName + "/", portsName + "?odl-leaf-nodes-only=true",
		strings.ReplaceAll(portsName, ":", "%3A"), strings.ReplaceAll(portsName, "=", "%3D")} { // registered from the start
		a := w.get(base + name)
		location := a.header.Get("Location")
		u, err := url.Parse(location)
		if err != nil || a.code != 200 || u.Scheme != "ws" || "http://"+u.Host != w.http.URL || u.Path != "/"+portsName+"/JSON" || len(u.Query().Get("token")) < 40 ||
			!sameJSON(t, a.body, `{"location":"`+location+`"}`) {
			t.Errorf("%s: %d %s %s", name, a.code, location, a.body)
		}
	}
	a := w.get("/rests/data/ietf-restconf-monitoring:restconf-state/streams/stream/" + portsName + "/JSON")
	if a.code != 200 || !strings.HasPrefix(a.header.Get("Location"), "ws://") || a.json["subscribe-to-notification:location"] == nil {
		t.Errorf("%d %v %s", a.code, a.header, a.body)
	}
	w.refused(w.get(base+portsName+"?odl-leaf-nodes-only=perhaps"), 400, "invalid-value")
	w.refused(w.get("/restconf/streams"), 400, "unknown-element")

	locate := func(host string, over *tls.ConnectionState) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", base+portsName, nil)
		r.Host, r.TLS = host, over
		r.SetBasicAuth("admin", "pw")
		rec := httptest.NewRecorder()
		w.srv.ServeHTTP(rec, r)
		return rec
	}
	for host, want := range map[string]string{"odl.example:8181": "wss://odl.example:8181/", "[2001:db8::1]:443": "wss://[2001:db8::1]:443/"} {
		if got := locate(host, &tls.ConnectionState{}).Header().Get("Location"); !strings.HasPrefix(got, want) {
			t.Errorf("Host %s over TLS: %s, want %s...", host, got, want)
		}
	}
	for _, host := range []string{"", "a/b", "user@host", "a b", "a?b", "a#b", "[::1"} {
		if rec := locate(host, nil); rec.Code != 400 || rec.Header().Get("Location") != "" {
			t.Errorf("Host %q: %d %v", host, rec.Code, rec.Header())
		}
	}
}

// TestSocketNeedsToken is W6: who was not given a location, or long ago, opens nothing.
func TestSocketNeedsToken(t *testing.T) {
	w := newWorld(t)
	w.now.Store(time.Now().UnixMilli())
	location := w.get("/restconf/streams/stream/" + portsName).header.Get("Location")
	refused := func(what, location string) {
		t.Helper()
		_, res, err := websocket.Dial(t.Context(), location, &websocket.DialOptions{HTTPClient: w.http.Client()})
		if err == nil || res == nil || res.StatusCode != 401 || res.Header.Get("WWW-Authenticate") != identity.Challenge {
			t.Errorf("%s: %v %v", what, res, err)
		}
	}
	plain, token, _ := strings.Cut(location, "?token=")
	refused("no token", plain)
	refused("empty", plain+"?token=")
	refused("garbage", plain+"?token="+strings.Repeat("A", len(token)))
	for _, i := range []int{0, 11, len(token) / 2} { // the time, the leaves, the proof
		c := "A"
		if token[i] == 'A' {
			c = "B"
		}
		refused("altered", plain+"?token="+token[:i]+c+token[i+1:])
	}
	refused("of another stream", strings.Replace(location, "/JSON", "/XML", 1))
	refused("of no stream", strings.Replace(location, "ports", "networks", 1))
	w.dial(location).CloseNow() //nolint:errcheck // opened, that is all
	w.now.Add(time.Minute.Milliseconds())
	refused("expired", location)

	a := w.get("/restconf/streams/stream/" + portsName)
	location = a.header.Get("Location")
	w.refused(w.do("", "POST", strings.TrimPrefix(location, strings.Replace(w.http.URL, "http", "ws", 1)), ""), 405, "operation-not-supported")
	w.ready.Store(false)
	if _, res, err := websocket.Dial(t.Context(), location, &websocket.DialOptions{HTTPClient: w.http.Client()}); err == nil || res == nil || res.StatusCode != 503 {
		t.Errorf("while not ready: %v %v", res, err)
	}
}

// TestStatusEvents: the exact frame of the contract, and what other changes of a port say.
func TestStatusEvents(t *testing.T) {
	w := newWorld(t)
	w.now.Store(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli())
	w.putPort(port("p1"))
	leaves := w.subscribe(portsPath, "JSON", "?odl-leaf-nodes-only=true")
	entries := w.subscribe(portsPath, "JSON", "")
	hosts := w.subscribe(hostsPath, "JSON", "")

	w.setStatus("p1", "ACTIVE")
	const path = "/neutron:neutron/neutron:ports/neutron:port[neutron:uuid='p1']"
	const frame = `{"notification": {"xmlns": "urn:ietf:params:xml:ns:netconf:notification:1.0",
	  "eventTime": "2026-01-01T00:00:00Z",
	  "data-changed-notification": {"xmlns": "urn:opendaylight:params:xml:ns:yang:controller:md:sal:remote",
	    "data-change-event": {
	      "path": "` + path + `/neutron:status",
	      "operation": "updated",
	      "data": {"status": {"xmlns": "urn:opendaylight:neutron", "content": "ACTIVE"}}}}}}`
	if got := w.frame(leaves); !sameJSON(t, got, frame) {
		t.Errorf("frame %s\nwant %s", got, frame)
	}
	w.expect(entries, "updated "+path+` {"port":{"status":"ACTIVE","uuid":"p1","xmlns":"urn:opendaylight:neutron"}}`)

	leaf := func(name, value string) string {
		return `{"` + name + `":{"content":"` + value + `","xmlns":"urn:opendaylight:neutron"}}`
	}
	w.setStatus("p1", "DOWN")
	w.expect(leaves, "updated "+path+"/neutron:status "+leaf("status", "DOWN"))
	w.commit(func(tx *store.Txn) { tables.Networks.Put(tx, "n", model.Network{ID: "n"}) }) // nothing to tell
	w.setStatus("nosuch", "ACTIVE")                                                        // a status of what is no port
	w.putPort(port("p2"))
	two := "/neutron:neutron/neutron:ports/neutron:port[neutron:uuid='p2']"
	w.expect(leaves, "created "+two+"/neutron:uuid "+leaf("uuid", "p2"), "created "+two+"/neutron:status "+leaf("status", "DOWN"))
	w.commit(func(tx *store.Txn) {
		alloc.DeletePort(tx, "p1")
		tables.Statuses.Delete(tx, "p1")
	})
	w.expect(leaves, "deleted "+path+"/neutron:uuid", "deleted "+path+"/neutron:status")
	w.expect(entries, "updated "+path+` {"port":{"status":"DOWN","uuid":"p1","xmlns":"urn:opendaylight:neutron"}}`,
		"created "+two+` {"port":{"status":"DOWN","uuid":"p2","xmlns":"urn:opendaylight:neutron"}}`, "deleted "+path)

	w.commit(putHost(host("h9", map[string]string{"ODL L2": "{}"}))) // the first that the other stream hears of
	w.expect(hosts, `created /neutron:neutron/neutron:hostconfigs/neutron:hostconfig[neutron:host-id='h9'][neutron:host-type='ODL L2'] `+
		`{"hostconfig":{"config":"{}","host-id":"h9","host-type":"ODL L2","xmlns":"urn:opendaylight:neutron"}}`)
}

// expect reads events until there are as many.
func (w *world) expect(c *websocket.Conn, want ...string) {
	w.t.Helper()
	if got := w.happened(c, len(want)); !slices.Equal(got, want) {
		w.t.Errorf("events\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestOneCommitOneFrame is W4: what changed together is told together.
func TestOneCommitOneFrame(t *testing.T) {
	w := newWorld(t)
	w.putPort(port("p1"))
	w.putPort(port("p2"))
	c := w.subscribe(portsPath, "JSON", "?odl-leaf-nodes-only=true")
	w.commit(func(tx *store.Txn) { status("p2", "ACTIVE")(tx); status("p1", "ACTIVE")(tx) })
	text := w.frame(c)
	if strings.Count(text, `"operation":"updated"`) != 2 || !strings.Contains(text, `"data-change-event":[{`) {
		t.Errorf("frame %s", text)
	}
}

// TestManyEvents: a commit of thousands is several frames, and loses none.
func TestManyEvents(t *testing.T) {
	w := newWorld(t)
	c := w.subscribe(portsPath, "JSON", "?odl-leaf-nodes-only=true")
	const n = 1000
	w.commit(func(tx *store.Txn) {
		for i := range n {
			if err := alloc.PutPort(tx, port(model.PortID(strings.Repeat("x", i+1)))); err != nil {
				t.Fatal(err)
			}
		}
	})
	if got := w.happened(c, 2*n); len(got) != 2*n {
		t.Errorf("%d events, want %d", len(got), 2*n)
	}
}

// TestSameStatusAgain: a binding that begins anew while nobody looked ends in the status that it had. Neutron waits for the
// event all the same, so it is sent.
func TestSameStatusAgain(t *testing.T) {
	st := store.New(tables.Schema, nil)
	s := New(Config{Store: st})
	commit := func(f func(*store.Txn)) {
		if _, err := st.Commit(t.Context(), store.Origin{}, func(tx *store.Txn) error { f(tx); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	commit(func(tx *store.Txn) {
		if err := alloc.PutPort(tx, port("p1")); err != nil {
			t.Fatal(err)
		}
		status("p1", "ACTIVE")(tx)
	})
	w := st.Watch()
	defer w.Close()
	before, _, _ := w.Take()
	commit(status("p1", "DOWN"))
	commit(status("p1", "ACTIVE"))
	now, ch, _ := w.Take()
	got := s.changes(before, now, ch)
	if len(got) != 1 || got[0].op != updated || got[0].leaves[0].value != "ACTIVE" {
		t.Errorf("down and up again: %+v", got)
	}
	before = now
	commit(func(tx *store.Txn) {
		tables.Statuses.Put(tx, "p1", model.PortStatus{Port: "p1", Status: "ACTIVE", Reason: "another"})
	})
	now, ch, _ = w.Take()
	if got := s.changes(before, now, ch); len(got) != 0 {
		t.Errorf("nothing that is told has changed: %+v", got)
	}
}

// TestHostConfigEvents is the northbound half of H4, and of a node that is lost or forgotten.
func TestHostConfigEvents(t *testing.T) {
	w := newWorld(t)
	c := w.subscribe(hostsPath, "JSON", "")
	leaves := w.subscribe(hostsPath, "JSON", "?odl-leaf-nodes-only=true")
	n := host("compute1", map[string]string{"ODL L2": "{}"})
	put := func(change func()) { change(); w.commit(putHost(n)) }
	put(func() {})
	const path = "/neutron:neutron/neutron:hostconfigs/neutron:hostconfig[neutron:host-id='compute1'][neutron:host-type='ODL L2']"
	data := func(config string) string {
		return ` {"hostconfig":{"config":"` + config + `","host-id":"compute1","host-type":"ODL L2","xmlns":"urn:opendaylight:neutron"}}`
	}
	w.expect(c, "created "+path+data("{}"))
	put(func() { n.HostConfigs = map[string]string{"ODL L2": "[]"} })
	put(func() { n.OVSVersion = "9" })   // nothing that is told
	put(func() { n.Lost = time.Now() })  // away for longer than the grace time
	put(func() { n.Lost = time.Time{} }) // and back
	put(func() { n.Approved = false })   //
	put(func() { n.Approved = true })    //
	w.commit(func(tx *store.Txn) { tables.Nodes.Delete(tx, n.ID) })
	w.expect(c, "updated "+path+data("[]"), "deleted "+path, "created "+path+data("[]"), "deleted "+path, "created "+path+data("[]"), "deleted "+path)
	leaf := func(op, name, value string) string {
		return op + " " + path + "/neutron:" + name + ` {"` + name + `":{"content":"` + value + `","xmlns":"urn:opendaylight:neutron"}}`
	}
	w.expect(leaves, leaf("created", "host-id", "compute1"), leaf("created", "host-type", "ODL L2"), leaf("created", "config", "{}"))
	w.expect(leaves, leaf("updated", "config", "[]"))
}

// TestXML: the same tree as elements, for who asked for it.
func TestXML(t *testing.T) {
	w := newWorld(t)
	w.putPort(port("p1"))
	c := w.subscribe(portsPath, "XML", "?odl-leaf-nodes-only=true")
	whole := w.subscribe(hostsPath, "XML", "")
	w.setStatus("p1", "ACTIVE")
	w.commit(putHost(host("h<1>", map[string]string{"ODL L2": `{"a":"<&>"}`})))
	type frame struct {
		XMLName xml.Name `xml:"urn:ietf:params:xml:ns:netconf:notification:1.0 notification"`
		Time    string   `xml:"eventTime"`
		Data    struct {
			Event []struct {
				Path      string `xml:"path"`
				Operation string `xml:"operation"`
				Data      struct {
					Status     string `xml:"urn:opendaylight:neutron status"`
					HostConfig struct {
						Host   string `xml:"host-id"`
						Config string `xml:"config"`
					} `xml:"urn:opendaylight:neutron hostconfig"`
				} `xml:"data"`
			} `xml:"data-change-event"`
		} `xml:"urn:opendaylight:params:xml:ns:yang:controller:md:sal:remote data-changed-notification"`
	}
	var f frame
	text := w.frame(c)
	if err := xml.Unmarshal([]byte(text), &f); err != nil || len(f.Data.Event) != 1 || f.Data.Event[0].Operation != "updated" || f.Data.Event[0].Data.Status != "ACTIVE" ||
		f.Data.Event[0].Path != "/neutron:neutron/neutron:ports/neutron:port[neutron:uuid='p1']/neutron:status" {
		t.Errorf("%v: %s", err, text)
	}
	f = frame{}
	text = w.frame(whole)
	if err := xml.Unmarshal([]byte(text), &f); err != nil || len(f.Data.Event) != 1 || f.Data.Event[0].Data.HostConfig.Config != `{"a":"<&>"}` ||
		f.Data.Event[0].Data.HostConfig.Host != "h<1>" {
		t.Errorf("%v: %s", err, text)
	}
}
