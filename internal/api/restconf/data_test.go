// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"bufio"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"nagare/internal/identity"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// events is an open stream of server-sent events.
type events struct {
	w    *world
	body io.ReadCloser
	r    *bufio.Reader
	last string // id
}

// listen opens a stream; query begins with ? or is empty.
func (w *world) listen(stream, query string, header ...string) *events {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), "GET", w.http.URL+"/rests/streams/"+stream+query, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.SetBasicAuth("admin", "pw")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := w.http.Client().Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		b, _ := io.ReadAll(res.Body)
		w.t.Fatalf("stream %s%s: %d %s", stream, query, res.StatusCode, b)
	}
	e := &events{w: w, body: res.Body, r: bufio.NewReader(res.Body)}
	w.t.Cleanup(func() { e.body.Close() })
	return e
}

// event reads to the next event with data.
func (e *events) event() (name, data string) {
	e.w.t.Helper()
	for {
		line, err := e.r.ReadString('\n')
		if err != nil {
			e.w.t.Fatalf("stream: %v", err)
		}
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "event: "):
			name = line[7:]
		case strings.HasPrefix(line, "id: "):
			e.last = line[4:]
		case strings.HasPrefix(line, "data: "):
			data += line[6:]
		case line == "" && data != "":
			return name, data
		}
	}
}

// next are the events of the next message, as "operation path data".
func (e *events) next() (out []string) {
	e.w.t.Helper()
	name, data := e.event()
	if name != "" {
		return []string{name}
	}
	var m struct {
		N struct {
			Time string `json:"eventTime"`
			D    struct {
				Events []struct {
					Path      string          `json:"path"`
					Store     string          `json:"store"`
					Operation string          `json:"operation"`
					Data      json.RawMessage `json:"data"`
				} `json:"data-change-event"`
			} `json:"sal-remote:data-changed-notification"`
		} `json:"ietf-restconf:notification"`
	}
	if err := json.Unmarshal([]byte(data), &m); err != nil {
		e.w.t.Fatalf("%v: %s", err, data)
	}
	if _, err := time.Parse(time.RFC3339, m.N.Time); err != nil || len(m.N.D.Events) == 0 {
		e.w.t.Fatalf("message %s", data)
	}
	for _, x := range m.N.D.Events {
		out = append(out, strings.TrimSpace(x.Operation+" "+x.Path+" "+string(x.Data)))
	}
	return out
}

// wants holds that the next events begin so.
func (e *events) wants(want ...string) {
	e.w.t.Helper()
	got := e.next()
	for len(got) < len(want) {
		got = append(got, e.next()...)
	}
	for i := range want {
		if len(got) != len(want) || !strings.HasPrefix(got[i], want[i]) {
			e.w.t.Fatalf("events\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func (w *world) put(path, body string) {
	w.t.Helper()
	if a := w.do("admin", "PUT", path, body); a.code >= 300 {
		w.t.Fatalf("PUT %s: %d %s", path, a.code, a.body)
	}
}

func q(s string) string { return url.QueryEscape(s) }

const netsPath = "/neutron:neutron/networks"

// TestEventStream: a change of any data is told to those who listen to what is at, above or in it, and to nobody else; with Last-Event-ID, or the position
// of an answer, a client goes on where it was.
func TestEventStream(t *testing.T) {
	w := cloudWorld(t)
	w.settle()
	all := w.listen("data-changes/json", "")
	nets := w.listen("config-changes/json", "?filter="+q(netsPath))
	one := w.listen("config-changes/json", "?filter="+q(netsPath+"/network[uuid='"+netID+"']"))
	name := w.listen("config-changes/json", "?filter="+q(netsPath+"/network[uuid='"+netID+"']/name"))
	subs := w.listen("config-changes/json", "?filter="+q("/neutron:neutron/subnets | "+netsPath+"/network[uuid='"+testID("other")+"']"))
	entry := netsPath + "/network[uuid='" + netID + "']"

	w.put(newConfig+"networks/network="+netID, netBody("a"))
	all.wants("created " + entry + ` {"neutron:network":[{"uuid":"` + netID + `"`)
	nets.wants("created " + entry + " {")
	one.wants("created " + entry + " {")
	name.wants("created " + entry + `/name {"neutron:name":"a"}`)
	first := one.last

	w.put(newConfig+"networks/network="+netID, netBody("b"))
	for _, e := range []*events{all, nets, one} {
		e.wants("updated " + entry + " {")
	}
	name.wants("updated " + entry + `/name {"neutron:name":"b"}`)

	// What does not change a leaf is not told to who listens to it.
	w.put(newConfig+"networks/network="+netID+"/neutron-mtu-ext:mtu", `{"neutron-mtu-ext:mtu":1400}`)
	one.wants("updated " + entry + " {")
	w.do("admin", "DELETE", newConfig+"networks/network="+netID, "")
	one.wants("deleted " + entry)
	name.wants("deleted " + entry + "/name")
	w.put(newConfig+"networks/network="+testID("other"), strings.ReplaceAll(netBody("c"), netID, testID("other")))
	subs.wants("created " + netsPath + "/network[uuid='" + testID("other") + "'] {")

	// Who missed it all is told what is now, once.
	again := w.listen("config-changes/json", "?filter="+q(entry), "Last-Event-ID", first)
	again.wants("deleted " + entry)
	both := w.listen("config-changes/json", "?since="+first+"&filter="+q(netsPath))
	both.wants("deleted "+entry, "updated "+netsPath+"/network[uuid='"+testID("other")+"'] {")
	if both.last == first {
		t.Errorf("the id is still %s", first)
	}
	// By the revision alone, from the log.
	rev, _, _ := strings.Cut(first, ".")
	both = w.listen("config-changes/json", "?since="+rev+"&filter="+q(netsPath))
	both.wants("deleted "+entry, "updated "+netsPath+"/network[uuid='"+testID("other")+"'] {")
	// From a time.
	both = w.listen("config-changes/json", "?start-time="+q(time.Now().Add(-time.Hour).Format(time.RFC3339))+"&filter="+q(netsPath))
	both.wants("deleted "+entry, "updated "+netsPath+"/network[uuid='"+testID("other")+"'] {")
	// Another process's position is as good, but not of what no log has.
	both = w.listen("config-changes/json", "?since="+rev+".00000000.1&filter="+q(netsPath))
	both.wants("deleted "+entry, "updated ")
	if got := w.listen("operational-changes/json", "?since="+rev).next(); got[0] != "lost" {
		t.Errorf("interfaces are in no log: %v", got)
	}
	if got := w.listen("config-changes/json", "?since=99999999").next(); got[0] != "lost" {
		t.Errorf("a revision that is to come: %v", got)
	}
	w.settle()
}

// TestEventStreamXML: the other form is a document a line.
func TestEventStreamXML(t *testing.T) {
	w := cloudWorld(t)
	w.settle()
	e := w.listen("data-changes/xml", "")
	w.put(newConfig+"networks/network="+netID, netBody("a<b&\\n"))
	_, data := e.event()
	var doc struct {
		XMLName xml.Name `xml:"urn:ietf:params:xml:ns:netconf:notification:1.0 notification"`
		Event   []struct {
			Path      string `xml:"path"`
			Operation string `xml:"operation"`
			Name      string `xml:"data>network>name"`
		} `xml:"data-changed-notification>data-change-event"`
	}
	if err := xml.Unmarshal([]byte(data), &doc); err != nil || len(doc.Event) != 1 || doc.Event[0].Operation != "created" || doc.Event[0].Name != "a<b&\n" {
		t.Errorf("%v %+v: %s", err, doc, data)
	}
}

// TestEventStreamRefused: what a request for a stream may ask, and who may.
func TestEventStreamRefused(t *testing.T) {
	w := cloudWorld(t)
	w.settle()
	const at = "/rests/streams/data-changes/json"
	past, future := q(time.Now().Add(-time.Hour).Format(time.RFC3339)), q(time.Now().Add(time.Hour).Format(time.RFC3339))
	for query, tag := range map[string]string{
		"?nosuch=1": "invalid-value", "?filter=": "invalid-value", "?filter=neutron": "invalid-value", "?filter=/nosuch": "invalid-value", "?filter=/neutron:neutron/nosuch": "invalid-value",
		"?filter=" + q("/neutron:neutron/networks/network[name='x']"):          "invalid-value",
		"?filter=" + q("/neutron:neutron/networks[uuid='x']"):                  "invalid-value",
		"?filter=" + q("/neutron:neutron/networks/network[uuid='x'"):           "invalid-value",
		"?filter=" + q("/neutron:neutron/networks/network[uuid=x]"):            "invalid-value",
		"?filter=" + q("/neutron:neutron/networks/network[uuid='not a uuid']"): "invalid-value",
		"?filter=" + q("/neutron:neutron/ports/port/fixed-ips"):                "invalid-value",
		"?filter=" + q("/neutron:neutron/features"):                            "invalid-value",
		"?filter=" + q(netsPath) + "&filter=" + q(netsPath):                    "invalid-value",
		"?filter=" + q(strings.Repeat(netsPath+"|", 100)+netsPath):             "invalid-value",
		"?start-time=yesterday":                                                "invalid-value",
		"?start-time=" + future:                                                "invalid-value",
		"?stop-time=" + future:                                                 "invalid-value",
		"?start-time=" + past + "&stop-time=" + past:                           "invalid-value",
		"?start-time=" + past + "&since=1":                                     "invalid-value",
		"?since=x":                                                             "invalid-value",
		"?filter=%zz":                                                          "malformed-message",
		"?since=1.zz.1":                                                        "invalid-value",
	} {
		w.refused(w.get(at+query), 400, tag)
	}
	w.refused(w.do("admin", "GET", at, "", "Last-Event-ID", "?"), 400, "invalid-value")
	w.refused(w.get("/rests/streams/nosuch/json"), 400, "unknown-element")
	w.refused(w.get("/rests/streams/data-changes/yaml"), 400, "unknown-element")
	w.refused(w.get("/rests/streams/data-changes"), 400, "unknown-element")
	w.refused(w.do("admin", "GET", at, "", "Accept", "application/json"), 406, "invalid-value")
	w.refused(w.do("admin", "POST", at, ""), 405, "operation-not-supported")
	w.refused(w.do("tenant", "GET", at, ""), 403, "access-denied")
	w.refused(w.do("", "GET", at, ""), 401, "access-denied")
	if a := w.do("admin", "HEAD", at, ""); a.code != 200 || a.header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("HEAD: %+v", a)
	}
	if n := w.srv.Stats().Subscribers; n != 0 {
		t.Errorf("%d subscribers of refused streams", n)
	}
}

// TestStreamList: clients find the streams where RFC 8040 has them.
func TestStreamList(t *testing.T) {
	w := cloudWorld(t)
	w.settle()
	w.want("/rests/data/ietf-restconf-monitoring:restconf-state/streams/stream=config-changes/access=json/location", 200,
		`{"ietf-restconf-monitoring:location":"`+w.http.URL+`/rests/streams/config-changes/json"}`)
	a := w.get("/rests/data/ietf-restconf-monitoring:restconf-state/streams")
	for _, s := range eventStreams {
		if !strings.Contains(a.body, `"`+s.name+`"`) {
			t.Errorf("%s lacks %s", a.body, s.name)
		}
	}
	w.put(newConfig+"networks/network="+netID, netBody("a"))
	if a := w.get("/rests/data/ietf-restconf-monitoring:restconf-state/streams/stream=data-changes"); !strings.Contains(a.body, "replay-log-creation-time") {
		t.Errorf("%d %s", a.code, a.body)
	}
}

// subscribeData creates a stream for a path of a datastore and opens it.
func (w *world) subscribeData(path, store, scope, form, query string) *websocket.Conn {
	w.t.Helper()
	w.settle()
	body := strings.NewReplacer("OPERATIONAL", store, "SUBTREE", scope).Replace(rpcBody(path, form))
	a := w.do("admin", "POST", rpc, body)
	out, _ := a.json["output"].(map[string]any)
	name, _ := out["stream-name"].(string)
	if a.code != 200 || name == "" {
		w.t.Fatalf("subscription: %d %s", a.code, a.body)
	}
	for _, at := range []string{"/restconf/streams/stream/", "/rests/data/ietf-restconf-monitoring:restconf-state/streams/stream/"} {
		if a = w.get(at + name + query); a.code != 200 {
			w.t.Fatalf("stream %s: %d %s", name, a.code, a.body)
		}
	}
	return w.dial(a.header.Get("Location"))
}

// TestDataSockets: the older dialect's subscriptions of any path, in its three scopes.
func TestDataSockets(t *testing.T) {
	w := cloudWorld(t)
	entry := "/neutron:neutron/neutron:networks/neutron:network[neutron:uuid='" + netID + "']"
	list, net := netsPath, netsPath+"/network[uuid='"+netID+"']"
	below := w.subscribeData(list, "CONFIGURATION", "SUBTREE", "JSON", "")
	child := w.subscribeData(list, "CONFIGURATION", "ONE", "JSON", "")
	self := w.subscribeData(list, "CONFIGURATION", "BASE", "JSON", "")
	whole := w.subscribeData(net, "CONFIGURATION", "BASE", "JSON", "")
	leaves := w.subscribeData(net, "CONFIGURATION", "SUBTREE", "JSON", "?odl-leaf-nodes-only=true")
	asXML := w.subscribeData(entry, "CONFIGURATION", "SUBTREE", "XML", "")
	w.put(newConfig+"networks/network="+netID, netBody("a"))
	for _, c := range []*websocket.Conn{below, child, whole} {
		got := w.happened(c, 1)[0]
		if !strings.HasPrefix(got, "created "+entry+" {") || !strings.Contains(got, `"name":"a"`) || !strings.Contains(got, `"xmlns":"urn:opendaylight:neutron"`) ||
			!strings.Contains(got, `{"content":"1077","xmlns":"urn:opendaylight:neutron-provider-ext"}`) {
			t.Errorf("%s", got)
		}
	}
	got := w.happened(leaves, 5)
	if !slices.ContainsFunc(got, func(s string) bool {
		return s == "created "+entry+`/neutron:name {"name":{"content":"a","xmlns":"urn:opendaylight:neutron"}}`
	}) {
		t.Errorf("leaves: %v", got)
	}
	w.left[leaves] = nil
	if text := w.frame(asXML); !strings.Contains(text, "<operation>created</operation><data><network xmlns=") || !strings.Contains(text, `xmlns:neutron="urn:opendaylight:neutron"`) {
		t.Errorf("XML: %s", text)
	}
	w.put(newConfig+"networks/network="+netID, netBody("b"))
	if got := w.happened(whole, 1); !strings.HasPrefix(got[0], "updated ") {
		t.Errorf("%v", got)
	}
	for {
		if got := w.happened(leaves, 1)[0]; strings.HasPrefix(got, "updated "+entry+"/neutron:name ") {
			break // revision numbers and times may come beside it
		}
	}
	w.do("admin", "DELETE", newConfig+"networks/network="+netID, "")
	for _, c := range []*websocket.Conn{below, child, whole} {
		for got := ""; got != "deleted "+entry; {
			got = w.happened(c, 1)[0]
		}
	}
	// Of the container itself nothing ever was changed.
	self.Close(websocket.StatusNormalClosure, "") //nolint:errcheck // over
	if n := len(w.left[self]); n != 0 {
		t.Errorf("%d events of BASE", n)
	}
}

// TestScopes: how far a change may be below what is subscribed.
func TestScopes(t *testing.T) {
	w := cloudWorld(t)
	path, err := w.srv.tree.location(netsPath)
	if err != nil {
		t.Fatal(err)
	}
	entry := w.srv.tree.entry("neutron:neutron/ports/port").Leaf("uuid", portID).Leaf("name", "a")
	entry.Put("fixed-ips").Leaf("subnet-id", subID).Leaf("ip-address", "192.0.2.1")
	named := w.srv.tree.entry("neutron:neutron/ports/port").Leaf("uuid", portID).Leaf("name", "b")
	named.Put("fixed-ips").Leaf("subnet-id", subID).Leaf("ip-address", "192.0.2.1")
	moved := w.srv.tree.entry("neutron:neutron/ports/port").Leaf("uuid", portID).Leaf("name", "a")
	moved.Put("fixed-ips").Leaf("subnet-id", subID).Leaf("ip-address", "192.0.2.2")
	for _, tt := range []struct {
		d     delta
		above int
		want  [3]bool
	}{
		{delta{after: entry}, 0, [3]bool{true, true, true}},
		{delta{after: entry}, 1, [3]bool{false, true, true}},
		{delta{before: entry}, 2, [3]bool{false, false, true}},
		{delta{before: entry, after: named}, 0, [3]bool{true, true, true}},
		{delta{before: entry, after: moved}, 0, [3]bool{false, true, true}},
		{delta{before: entry, after: moved}, 1, [3]bool{false, false, true}},
	} {
		tt.d.chain = path
		for s, want := range tt.want {
			if got := len(tt.d.notices(hit{group: &group{scope: scope(s)}, above: tt.above})) > 0; got != want {
				t.Errorf("%+v, %d levels above, scope %s: %v", tt.d, tt.above, scopeNames[s], got)
			}
		}
	}
	same := delta{before: entry, after: w.srv.tree.entry("neutron:neutron/ports/port").Leaf("uuid", portID).Leaf("name", "a")}
	same.after.Put("fixed-ips").Leaf("subnet-id", subID).Leaf("ip-address", "192.0.2.1")
	if same.notices(hit{group: &group{scope: subtree}}) != nil {
		t.Error("what is the same is told")
	}
}

// TestTopologyEvents: what goes with a node goes before it, and what comes with it comes after; sessions, which the store does not know, are
// noticed.
func TestTopologyEvents(t *testing.T) {
	on := map[model.NodeID]bool{"h1": true}
	w := newWorld(t, func(c *Config) { c.Online = func(n model.NodeID) bool { return on[n] } })
	w.settle()
	e := w.listen("operational-changes/json", "?filter="+q("/network-topology:network-topology"))
	port := w.listen("operational-changes/json", "?filter="+q("/network-topology:network-topology/topology[topology-id='ovsdb:1']/node/termination-point"))
	n := host("h1", nil)
	w.commit(putHost(n))
	at := "/network-topology:network-topology/topology[topology-id='ovsdb:1']/node[node-id='" + managerID(&n) + "']"
	bridge := "/network-topology:network-topology/topology[topology-id='ovsdb:1']/node[node-id='" + bridgeID(&n) + "']"
	e.wants("created "+at+" {", "created "+bridge+" {")
	w.commit(func(tx *store.Txn) {
		tables.Interfaces.Put(tx, model.InterfaceKey("h1", "tap1"), model.Interface{Node: "h1", Name: "tap1", OFPort: 7})
	})
	e.wants("created " + bridge + "/termination-point[tp-id='tap1'] {")
	port.wants("created " + bridge + "/termination-point[tp-id='tap1'] {")
	before := e.last

	gone := n
	gone.OVSUUID = ""
	w.commit(putHost(gone))
	got := e.next()
	for len(got) < 3 {
		got = append(got, e.next()...)
	}
	if i, j := slices.Index(got, "deleted "+bridge+"/termination-point[tp-id='tap1']"), slices.Index(got, "deleted "+bridge); len(got) != 3 || i < 0 || j < i || !slices.Contains(got, "deleted "+at) {
		t.Errorf("%v", got)
	}
	port.wants("deleted " + bridge + "/termination-point[tp-id='tap1']")
	w.commit(putHost(n))
	e.wants("created "+at, "created "+bridge, "created "+bridge+"/termination-point[tp-id='tap1'] {")
	port.wants("created " + bridge + "/termination-point[tp-id='tap1'] {")

	// Who was away is told of the parts of an entry anew.
	back := w.listen("operational-changes/json", "?filter="+q("/network-topology:network-topology"), "Last-Event-ID", before)
	back.wants("deleted "+at, "created "+at, "deleted "+bridge, "created "+bridge, "updated "+bridge+"/termination-point[tp-id='tap1'] {")
	backPort := w.listen("operational-changes/json", "?filter="+q("/network-topology:network-topology/topology[topology-id='ovsdb:1']/node/termination-point"), "Last-Event-ID", before)
	if got := backPort.next(); got[len(got)-1] != backPort.lastOf(got, "updated "+bridge+"/termination-point[tp-id='tap1'] {") {
		t.Errorf("%v", got)
	}

	w.settle()
	w.srv.notifier.mu.Lock()
	on["h1"] = false
	w.srv.notifier.mu.Unlock()
	w.srv.notifier.sessions()
	got = e.next()
	for len(got) < 3 {
		got = append(got, e.next()...)
	}
	if !slices.Contains(got, "deleted "+at) || !slices.Contains(got, "deleted "+bridge) {
		t.Errorf("the session ended: %v", got)
	}
}

// lastOf gives the last of some events if it begins so.
func (e *events) lastOf(got []string, want string) string {
	if strings.HasPrefix(got[len(got)-1], want) {
		return got[len(got)-1]
	}
	return want
}

// slowSink is a client that reads when it is let.
type slowSink struct {
	let  chan struct{}
	got  []string
	lose bool
}

func (s *slowSink) message(msg []byte, pos string) error {
	<-s.let
	s.got = append(s.got, string(msg))
	return nil
}
func (s *slowSink) lost(string) error { s.lose = true; return nil }
func (s *slowSink) beat(string) error { return nil }

// TestLagging: what waits for a slow subscriber is bounded. When it reads again it is told, once, how things are now.
func TestLagging(t *testing.T) {
	w := cloudWorld(t)
	w.srv.cfg.MaxPending = 2000
	w.settle()
	hops, err := w.srv.tree.location(netsPath)
	if err != nil {
		t.Fatal(err)
	}
	n := w.srv.notifier
	l, err := n.join(&group{id: "slow", paths: [][]hop{hops}, store: config, scope: subtree}, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	sink := &slowSink{let: make(chan struct{})}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan string)
	go func() { done <- n.pump(ctx, l, sink, time.Hour, nil) }()
	for i := range 50 {
		w.put(newConfig+"networks/network="+netID, netBody(fmt.Sprint("n", i)))
		w.settle() // each by itself: what comes together is told together
	}
	l.mu.Lock()
	waits, behind := l.pending, l.behind
	l.mu.Unlock()
	if waits > 2*2000 || !behind || w.srv.Stats().Lagged == 0 {
		t.Errorf("%d bytes wait, behind: %v", waits, behind)
	}
	close(sink.let)
	w.poll("it has caught up", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.pos == n.reached()
	})
	stop()
	<-done
	n.leave(l)
	if last := sink.got[len(sink.got)-1]; !strings.Contains(last, `"name":"n49"`) || len(sink.got) > 30 || sink.lose {
		t.Errorf("%d messages, the last %s", len(sink.got), last)
	}
	if len(n.groups) != 0 || len(n.index.root.kids) != 0 {
		t.Error("it has left something behind")
	}
}

// TestRevoked: who may no longer read is no longer told.
func TestRevoked(t *testing.T) {
	w := newWorld(t)
	c := &call{Server: w.srv, r: (&http.Request{Header: http.Header{}}).WithContext(t.Context())}
	c.r.SetBasicAuth("admin", "pw")
	if err := c.still(); err != nil {
		t.Error(err)
	}
	c.r.SetBasicAuth("tenant", "pw")
	if err := c.still(); err == nil {
		t.Error("a tenant's stream goes on")
	}
	c.r.SetBasicAuth("admin", "other")
	if err := c.still(); err == nil {
		t.Error("a stream goes on though its user is gone")
	}
	w.settle()
	hops, _ := w.srv.tree.location("/neutron:neutron")
	l, err := w.srv.notifier.join(&group{id: "x", paths: [][]hop{hops}, scope: subtree}, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.srv.notifier.leave(l)
	if why := w.srv.notifier.pump(t.Context(), l, &slowSink{}, time.Millisecond, func() error { return identity.ErrUnauthorized }); why != identity.ErrUnauthorized.Error() {
		t.Errorf("it ended because %s", why)
	}
}

// TestStreamsAreBounded: streams that nobody uses make room after their lifetime, others never.
func TestStreamsAreBounded(t *testing.T) {
	w := cloudWorld(t)
	w.srv.cfg.MaxStreams = 2
	start := time.Now()
	w.now.Store(start.UnixMilli())
	create := func(path string) answer {
		return w.do("admin", "POST", rpc, strings.Replace(rpcBody(path, "JSON"), "OPERATIONAL", "CONFIGURATION", 1))
	}
	used := w.subscribeData("/neutron:neutron/networks", "CONFIGURATION", "SUBTREE", "JSON", "")
	if a := create("/neutron:neutron/subnets"); a.code != 200 {
		t.Fatal(a)
	}
	if a := create("/neutron:neutron/subnets"); a.code != 200 {
		t.Errorf("the same again: %+v", a)
	}
	w.refused(create("/neutron:neutron/routers"), 503, "resource-denied")
	w.now.Store(start.Add(2 * time.Hour).UnixMilli())
	if a := create("/neutron:neutron/routers"); a.code != 200 {
		t.Errorf("%+v", a)
	}
	w.refused(create("/neutron:neutron/subnets"), 503, "resource-denied")
	w.put(newConfig+"networks/network="+netID, netBody("a"))
	if got := w.happened(used, 1); !strings.HasPrefix(got[0], "created ") {
		t.Errorf("%v", got)
	}
	if w.srv.streams.find("data-change-event-subscription/neutron:neutron/neutron:networks/datastore=CONFIGURATION/scope=SUBTREE/0123/JSON") != nil {
		t.Error("a name that was guessed")
	}
}

// TestSubscribersOfDataAreBounded: both kinds of subscribers count.
func TestSubscribersOfDataAreBounded(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MaxSubscribers = 2 })
	w.subscribe(portsPath, "JSON", "")
	e := w.listen("data-changes/json", "")
	w.refused(w.get("/rests/streams/data-changes/json"), 503, "resource-denied")
	location := w.get("/restconf/streams/stream/" + portsName).header.Get("Location")
	if _, res, err := websocket.Dial(t.Context(), location, &websocket.DialOptions{HTTPClient: w.http.Client()}); err == nil || res == nil || res.StatusCode != 503 {
		t.Errorf("one too many: %v %v", res, err)
	}
	e.body.Close()
	w.poll("its place is free", func() bool { return w.srv.Stats().Subscribers == 1 })
}

// TestStreamEnds: when the server stops, and at the time that was asked for.
func TestStreamEnds(t *testing.T) {
	w := newWorld(t)
	w.settle()
	now := time.Now().Truncate(time.Millisecond)
	w.now.Store(now.UnixMilli()) // it stands, so that the end is to come whenever the request arrives
	e := w.listen("data-changes/json", "?start-time="+q(now.Add(-time.Hour).Format(time.RFC3339))+"&stop-time="+q(now.Add(100*time.Millisecond).Format(time.RFC3339Nano)))
	for {
		if name, data := e.event(); name == "end" {
			if !strings.Contains(data, "reason") {
				t.Error(data)
			}
			break
		}
	}
	e = w.listen("data-changes/json", "")
	w.stop()
	if name, data := e.event(); name != "end" || !strings.Contains(data, "the server stops") {
		t.Errorf("%s %s", name, data)
	}
}

// TestChangeCostsItsSubscribers: a change makes nothing for those whom it does not concern, however many there are, and is made and written once for
// those who subscribed alike.
func TestChangeCostsItsSubscribers(t *testing.T) {
	w := cloudWorld(t)
	w.srv.cfg.MaxSubscribers = 2000
	w.settle()
	n := w.srv.notifier
	join := func(path string) *listener {
		t.Helper()
		hops, err := w.srv.tree.location(path)
		if err != nil {
			t.Fatal(err)
		}
		l, err := n.join(&group{id: path, paths: [][]hop{hops}, store: config, scope: subtree}, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	for i := range 500 {
		join(netsPath + "/network[uuid='" + testID(fmt.Sprint("other", i)) + "']")
		join("/neutron:neutron/ports/port[uuid='" + testID(fmt.Sprint("port", i)) + "']/name")
	}
	w.put(newConfig+"networks/network="+netID, netBody("a"))
	w.settle()
	if n.made != 0 {
		t.Errorf("%d entries were made for nobody", n.made)
	}
	var mine []*listener
	for range 100 {
		mine = append(mine, join(netsPath))
	}
	w.put(newConfig+"networks/network="+netID, netBody("b"))
	w.settle()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.made != 1 || n.frames != 100 {
		t.Errorf("%d entries were made and %d messages handed out, want 1 and 100", n.made, n.frames)
	}
	for _, l := range mine {
		if len(l.queue) != 1 || &l.queue[0].msg[0] != &mine[0].queue[0].msg[0] {
			t.Fatal("each has a message of its own")
		}
	}
}

var errGone = errors.New("gone")

// TestGone: who cannot be written to is dropped.
func TestGone(t *testing.T) {
	w := cloudWorld(t)
	w.settle()
	hops, _ := w.srv.tree.location(netsPath)
	l, err := w.srv.notifier.join(&group{id: "x", paths: [][]hop{hops}, scope: subtree}, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	w.put(newConfig+"networks/network="+netID, netBody("a"))
	if why := w.srv.notifier.pump(t.Context(), l, goneSink{}, time.Hour, nil); why != errGone.Error() {
		t.Error(why)
	}
	w.srv.notifier.leave(l)
}

type goneSink struct{}

func (goneSink) message([]byte, string) error { return errGone }
func (goneSink) lost(string) error            { return errGone }
func (goneSink) beat(string) error            { return errGone }
