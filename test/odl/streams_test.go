// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	nbi "nagare/internal/api/odl"
	"nagare/internal/api/restconf"
	"nagare/internal/model"
	"nagare/internal/repro"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// front is the RESTCONF of a server, which dies with it.
type front struct {
	t    *testing.T
	http *httptest.Server

	mu   sync.Mutex
	rest *restconf.Server
	stop func()
}

func newFront(t *testing.T, s *server) *front {
	f := &front{t: t}
	f.http = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		rest := f.rest
		f.mu.Unlock()
		rest.ServeHTTP(w, r)
	}))
	f.begin(s)
	return f
}

// begin serves the store of the living process.
func (f *front) begin(s *server) {
	cfg := nbi.Config{Store: s.st, Auth: allow, Writable: true, NativeDHCP: true}
	rest := restconf.New(restconf.Config{Store: s.st, Objects: nbi.NewObjects(cfg), Auth: allow, Profile: "standard", NativeDHCP: true})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- rest.Run(ctx) }()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rest, f.stop = rest, func() { cancel(); <-done }
}

// again is a process that died and came back.
func (f *front) again(s *server) {
	f.stop()
	f.http.CloseClientConnections()
	s.kill()
	f.begin(s)
}

func (f *front) end() {
	f.stop()
	f.http.CloseClientConnections()
	f.http.Close()
}

func (f *front) get(path string) (any, bool) {
	f.t.Helper()
	res, err := f.http.Client().Get(f.http.URL + path)
	if err != nil {
		f.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	var v any
	if res.StatusCode == http.StatusNotFound {
		return nil, false
	}
	if err := json.Unmarshal(b, &v); err != nil || res.StatusCode != http.StatusOK {
		f.t.Fatalf("GET %s: %d %s", path, res.StatusCode, b)
	}
	return v, true
}

// Lists whose entries are told one by one, with their keys; those that are not told at all are left out of copies.
var (
	toldLists = map[string][]string{"network": {"uuid"}, "subnet": {"uuid"}, "port": {"uuid"}, "router": {"uuid"}, "floatingip": {"uuid"}, "security-group": {"uuid"},
		"security-rule": {"uuid"}, "qos-policy": {"uuid"}, "trunk": {"uuid"}, "hostconfig": {"host-id", "host-type"}, "node": {"node-id"}, "termination-point": {"tp-id"}, "topology": {"topology-id"}}
	untold = map[string]bool{"topology": true}
)

// copied is a subscriber's copy: entries by their paths.
type copied map[string]string

// take puts what an answer holds into a copy.
func (c copied) take(path string, v any) {
	obj, _ := v.(map[string]any)
	for name, inner := range obj {
		_, local, ok := strings.Cut(name, ":")
		if !ok {
			local = name
		}
		keys, list := toldLists[local]
		if !list || !isList(inner) {
			if _, is := inner.(map[string]any); is {
				c.take(path+"/"+name, inner)
			}
			continue
		}
		for _, e := range inner.([]any) {
			e := e.(map[string]any)
			at := path + "/" + name
			for _, k := range keys {
				at += "[" + k + "='" + e[k].(string) + "']"
			}
			own := maps.Clone(e)
			for k, x := range e {
				if _, nested := toldLists[k]; nested && isList(x) {
					delete(own, k)
					c.take(at, map[string]any{k: x})
				}
			}
			if !untold[local] {
				c[at] = asText(own)
			}
		}
	}
}

func isList(v any) bool { _, ok := v.([]any); return ok }

func asText(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// what is what a subscriber watches: a stream, a filter, and the same by GET.
type watched struct {
	stream, filter, content string
	gets                    []string
}

var watchedData = []watched{
	{"data-changes", "", "all", []string{"neutron:neutron", "network-topology:network-topology"}},
	{"config-changes", "/neutron:neutron", "config", []string{"neutron:neutron"}},
	{"operational-changes", "/network-topology:network-topology | /neutron:neutron/ports | /neutron:neutron/hostconfigs", "nonconfig",
		[]string{"network-topology:network-topology", "neutron:neutron/ports", "neutron:neutron/hostconfigs"}},
	{"config-changes", "/neutron:neutron/ports | /neutron:neutron/routers/router | /neutron:neutron/networks", "config",
		[]string{"neutron:neutron/ports", "neutron:neutron/routers", "neutron:neutron/networks"}},
}

// whole is what GET gives of it.
func (f *front) whole(w watched) copied {
	f.t.Helper()
	c := copied{}
	for _, path := range w.gets {
		v, ok := f.get("/rests/data/" + path + "?content=" + w.content)
		if !ok {
			continue
		}
		above := ""
		if i := strings.LastIndex(path, "/"); i >= 0 {
			above = "/" + path[:i]
			m := v.(map[string]any)
			for k, x := range m { // below another of its module, where it has no prefix
				delete(m, k)
				m[k[strings.Index(k, ":")+1:]] = x
			}
		}
		c.take(above, v)
	}
	return c
}

// watcher is a subscriber who applies what it is told to its copy, is cut off now and then, and goes on.
type watcher struct {
	f    *front
	what watched
	copy copied
	id   string
	lost int

	body io.ReadCloser
	in   *bufio.Reader
}

func (w *watcher) open() {
	w.f.t.Helper()
	u := w.f.http.URL + "/rests/streams/" + w.what.stream + "/json"
	if w.what.filter != "" {
		u += "?filter=" + url.QueryEscape(w.what.filter)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) { // a process that has just begun says that it is not ready
		r, err := http.NewRequestWithContext(w.f.t.Context(), http.MethodGet, u, nil)
		if err != nil {
			w.f.t.Fatal(err)
		}
		if w.id != "" {
			r.Header.Set("Last-Event-ID", w.id)
		}
		res, err := w.f.http.Client().Do(r)
		if err == nil && res.StatusCode == http.StatusOK {
			w.body, w.in = res.Body, bufio.NewReader(res.Body)
			return
		}
		if err == nil {
			res.Body.Close()
		}
		if time.Now().After(end) {
			w.f.t.Fatalf("stream: %v %v", res, err)
		}
	}
}

func (w *watcher) close() {
	if w.body != nil {
		w.body.Close()
		w.body = nil
	}
}

// follow applies messages until the copy has, or lacks, an entry.
func (w *watcher) follow(enough func(copied) bool) {
	w.f.t.Helper()
	if w.body == nil {
		w.open()
	}
	kind, data, id := "", "", ""
	for !enough(w.copy) {
		line, err := w.in.ReadString('\n')
		if err != nil {
			w.f.t.Fatalf("stream %s: %v", w.what.stream, err)
		}
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "event: "):
			kind = line[7:]
		case strings.HasPrefix(line, "id: "):
			id = line[4:]
		case strings.HasPrefix(line, "data: "):
			data = line[6:]
		case line == "":
			switch {
			case kind == "lost":
				w.lost++
				w.copy = w.f.whole(w.what)
			case data != "":
				w.apply(data)
			}
			if id != "" {
				w.id = id
			}
			kind, data, id = "", "", ""
		}
	}
}

func (w *watcher) apply(data string) {
	w.f.t.Helper()
	var m struct {
		N struct {
			D struct {
				Events []struct {
					Path      string                      `json:"path"`
					Operation string                      `json:"operation"`
					Data      map[string][]map[string]any `json:"data"`
				} `json:"data-change-event"`
			} `json:"sal-remote:data-changed-notification"`
		} `json:"ietf-restconf:notification"`
	}
	if err := json.Unmarshal([]byte(data), &m); err != nil {
		w.f.t.Fatalf("%v: %s", err, data)
	}
	for _, e := range m.N.D.Events {
		if e.Operation == "deleted" {
			for path := range w.copy {
				if path == e.Path || strings.HasPrefix(path, e.Path+"/") {
					delete(w.copy, path)
				}
			}
			continue
		}
		for _, list := range e.Data {
			w.copy[e.Path] = asText(list[0])
		}
	}
}

// TestEverythingIsTold: after any history, with switches that come and go and processes that die, what a subscriber has made of what it
// was told is what GET gives; and so it is for one who has read at some time and comes only at the end.
func TestEverythingIsTold(t *testing.T) {
	ctx := t.Context()
	events, deaths, cuts, lost, resumed := 0, 0, 0, 0, 0
	for seed := range uint64(repro.Rounds(24, 60)) {
		s := newServer(t, inMemory())
		f := newFront(t, s)
		rnd := repro.Rand(seed, 7)
		r := newRun(seed, s)
		r.h.Start()
		s.happen(1, 2) // both switches are there
		s.happen(1, 3)
		s.happen(0, 1)
		s.happen(0, 2)
		var ws []*watcher
		for _, what := range watchedData {
			ws = append(ws, &watcher{f: f, what: what, copy: copied{}})
		}
		mark := func() string {
			id := uuid.NewSHA1(uuid.Nil, fmt.Append(nil, seed, events)).String()
			events++
			n := model.Network{ID: model.NetworkID(id)}
			if _, err := s.st.Commit(ctx, store.Origin{User: "test"}, func(tx *store.Txn) error { tables.Networks.Put(tx, n.ID, n); return nil }); err != nil {
				t.Fatal(err)
			}
			return id
		}
		// settled has a watcher follow until it has seen what was committed last: a host configuration, or a network.
		settled := func(w *watcher) {
			t.Helper()
			var path string
			if w.what.content == "nonconfig" {
				host := fmt.Sprintf("mark%d", events)
				events++
				if _, err := s.st.Commit(ctx, store.Origin{User: "test"}, func(tx *store.Txn) error {
					tables.Nodes.Put(tx, model.NodeID(host), model.Node{ID: model.NodeID(host), Approved: true})
					return nil
				}); err != nil {
					t.Fatal(err)
				}
				path = "/neutron:neutron/hostconfigs/hostconfig[host-id='" + host + "'][host-type='ODL L2']"
			} else {
				path = "/neutron:neutron/networks/network[uuid='" + mark() + "']"
			}
			w.follow(func(c copied) bool { _, ok := c[path]; return ok })
			if want := f.whole(w.what); !maps.Equal(w.copy, want) {
				for p := range want {
					if w.copy[p] != want[p] {
						t.Errorf("seed %d, stream %s: %s is\n%s by GET, and told was\n%s", seed, w.what.stream, p, want[p], w.copy[p])
					}
				}
				for p := range w.copy {
					if want[p] == "" {
						t.Errorf("seed %d, stream %s: %s was told and is not there", seed, w.what.stream, p)
					}
				}
				t.FailNow()
			}
		}
		for _, w := range ws {
			w.copy = f.whole(w.what)
			w.id = fmt.Sprint(uint64(s.st.Snapshot().Revision()))
			w.follow(func(copied) bool { return true })
		}
		for range 50 {
			r.h.Step()
			for range 4 {
				r.Step(ctx)
			}
			if rnd.IntN(2) == 0 {
				s.happen(min(rnd.IntN(16), 7-rnd.IntN(5)), rnd.IntN(1000))
			}
			switch rnd.IntN(25) {
			case 0:
				for _, w := range ws {
					w.close()
				}
				f.again(s)
				deaths++
			case 1, 2, 3:
				ws[rnd.IntN(len(ws))].close()
				cuts++
			case 4, 5:
				w := ws[rnd.IntN(len(ws))]
				if w.body == nil {
					resumed++
				}
				settled(w)
			}
		}
		r.Drain(ctx)
		for _, w := range ws {
			settled(w)
			lost += w.lost
			if w.what.content == "config" && w.lost > 0 {
				t.Errorf("seed %d: %d times what is all in the log had to be read anew", seed, w.lost)
			}
			w.close()
		}
		f.end()
		if err := s.st.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if deaths < 10 || cuts < 50 || resumed < 10 {
		t.Errorf("too little happened to prove much: %d deaths, %d cuts, %d times gone on", deaths, cuts, resumed)
	}
	t.Logf("%d deaths, %d cuts, %d times gone on, %d times read anew", deaths, cuts, resumed, lost)
}

// happen is what switches would report.
func (s *server) happen(what, which int) {
	s.t.Helper()
	_, err := s.st.Commit(context.Background(), store.Origin{User: "nodes"}, func(tx *store.Txn) error {
		host := model.NodeID([]string{"a", "b"}[which%2])
		n, _ := tables.Nodes.Get(tx, host)
		var ports []model.Port
		for _, p := range tables.Ports.All(tx) {
			ports = append(ports, p)
		}
		slices.SortFunc(ports, func(a, b model.Port) int { return strings.Compare(string(a.ID), string(b.ID)) })
		switch {
		case what == 0: // the switch is another, or gone
			n.OVSUUID = []string{"", "00000000-0000-0000-0000-00000000000" + string(host), "00000000-0000-0000-0000-00000000001" + string(host)}[which%3]
			tables.Nodes.Put(tx, host, n)
		case what == 1:
			n.Approved, n.Lost = which%5 != 0, time.Time{}
			if which%7 == 0 {
				n.Lost = time.Unix(1, 0)
			}
			tables.Nodes.Put(tx, host, n)
		case what == 2:
			n.HostConfigs = map[string]string{[]string{"ODL L2", "ODL L3", "other"}[which%3]: fmt.Sprint(which)}
			tables.Nodes.Put(tx, host, n)
		case len(ports) == 0:
		case what < 6:
			p := ports[which%len(ports)]
			key := model.InterfaceKey(host, p.ID.TapName())
			if what == 3 {
				tables.Interfaces.Delete(tx, key)
				tables.Plugs.Delete(tx, model.PlugKey(host, p.ID))
				break
			}
			tables.Interfaces.Put(tx, key, model.Interface{Node: host, Name: p.ID.TapName(), OFPort: uint32(which), IfaceID: p.ID})
			tables.Plugs.Put(tx, model.PlugKey(host, p.ID), model.Plug{Node: host, Port: p.ID})
		default:
			for i, p := range ports { // most are ACTIVE, so that one more or less decides for a trunk
				status := model.StatusActive
				if (i+which)%len(ports) < 2 {
					status = model.StatusDown
				}
				if old, _ := tables.Statuses.Get(tx, p.ID); old.Status != status {
					tables.Statuses.Put(tx, p.ID, model.PortStatus{Port: p.ID, Status: status})
				}
			}
			for f := range tables.FloatingIPs.All(tx) {
				tables.Statuses.Put(tx, model.PortID(f), model.PortStatus{Port: model.PortID(f), Status: []string{model.StatusDown, model.StatusActive}[which%2]})
			}
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
}
