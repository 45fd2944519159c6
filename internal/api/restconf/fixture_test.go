// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"nagare/internal/alloc"
	"nagare/internal/identity"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = time.Minute

// world is a server on a socket, with a store in memory.
type world struct {
	t     testing.TB
	st    *store.Store
	srv   *Server
	http  *httptest.Server
	ready atomic.Bool
	now   atomic.Int64 // unix milliseconds; 0: the clock
	stop  func()       // ends Run
	log   *lines
	left  map[*websocket.Conn][]string // events that were read and not yet looked at
}

// none is a northbound without objects.
type none struct{}

func (none) Object(store.Reader, string, string) (map[string]any, bool) { return nil, false }
func (none) Objects(store.Reader, string) iter.Seq[map[string]any] {
	return func(func(map[string]any) bool) {}
}

func (none) Edit(*http.Request, identity.Principal, string, string, func(map[string]any) (map[string]any, error)) error {
	return nil
}

// lines collects a log.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var principals = map[string]identity.Principal{
	"admin":  {UserName: "admin", ProjectID: "p", Roles: []string{identity.RoleAdmin}},
	"nova":   {UserName: "nova", ProjectID: "p", Roles: []string{identity.RoleService}},
	"viewer": {UserName: "viewer", System: true, Roles: []string{identity.RoleReader}},
	"domain": {UserName: "domain", DomainID: "d", Roles: []string{identity.RoleAdmin, identity.RoleReader}},
	"tenant": {UserName: "tenant", ProjectID: "p", Roles: []string{"member", identity.RoleReader}},
}

func auth(r *http.Request) (identity.Principal, error) {
	user, password, ok := r.BasicAuth()
	switch {
	case user == "locked":
		return identity.Principal{}, &identity.LockedError{RetryAfter: 1500 * time.Millisecond}
	case user == "unlucky":
		return identity.Principal{}, errors.New("the store of users is away")
	case !ok || password != "pw" || principals[user].UserName == "":
		return identity.Principal{}, identity.ErrUnauthorized
	}
	return principals[user], nil
}

func newWorld(t testing.TB, change ...func(*Config)) *world {
	t.Helper()
	return newWorldOn(t, store.New(tables.Schema, nil), change...)
}

func newWorldOn(t testing.TB, st *store.Store, change ...func(*Config)) *world {
	t.Helper()
	w := &world{t: t, st: st, log: &lines{}, left: map[*websocket.Conn][]string{}}
	w.ready.Store(true)
	cfg := Config{Store: st, Objects: none{}, Auth: auth, Ready: w.ready.Load, Profile: "standard", PortStatus: true, NativeDHCP: true,
		Log: slog.New(slog.NewTextHandler(w.log, nil)),
		Now: func() time.Time {
			if ms := w.now.Load(); ms != 0 {
				return time.UnixMilli(ms)
			}
			return time.Now()
		}}
	for _, f := range change {
		f(&cfg)
	}
	w.srv = New(cfg)
	w.http = httptest.NewServer(w.srv)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.srv.Run(ctx) }()
	stopped := false
	w.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() {
		w.stop()
		w.http.Close()
		w.http.Client().CloseIdleConnections()
	})
	w.poll("the loop runs", func() bool {
		w.srv.hub.mu.Lock()
		defer w.srv.hub.mu.Unlock()
		return w.srv.hub.open
	})
	return w
}

func (w *world) poll(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func (w *world) commit(f func(*store.Txn)) {
	w.t.Helper()
	if _, err := w.st.Commit(context.Background(), store.Origin{User: "test"}, func(tx *store.Txn) error { f(tx); return nil }); err != nil {
		w.t.Fatal(err)
	}
}

// answer is what came back.
type answer struct {
	code   int
	header http.Header
	body   string
	json   map[string]any // nil if it is none
}

// do sends a request as a user; path may be escaped.
func (w *world) do(user, method, path, body string, header ...string) answer {
	w.t.Helper()
	r, err := http.NewRequest(method, w.http.URL+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if user != "" {
		r.SetBasicAuth(user, "pw")
	}
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := w.http.Client().Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	a := answer{code: res.StatusCode, header: res.Header, body: string(b)}
	_ = json.Unmarshal(b, &a.json)
	return a
}

func (w *world) get(path string) answer { w.t.Helper(); return w.do("admin", "GET", path, "") }

// want checks a GET's answer, as JSON.
func (w *world) want(path string, code int, body string) {
	w.t.Helper()
	a := w.get(path)
	if a.code != code || body != "" && !sameJSON(w.t, a.body, body) {
		w.t.Errorf("GET %s: %d %s\nwant %d %s", path, a.code, a.body, code, body)
	}
}

// refused checks an error's status, tag and form.
func (w *world) refused(a answer, code int, tag string) {
	w.t.Helper()
	for _, top := range []string{"errors", "ietf-restconf:errors"} {
		if errs, ok := a.json[top].(map[string]any); ok {
			e := errs["error"].([]any)[0].(map[string]any)
			if a.code != code || e["error-tag"] != tag || e["error-message"] == "" || e["error-type"] == "" {
				w.t.Errorf("answer %d %s, want %d with tag %s", a.code, a.body, code, tag)
			}
			return
		}
	}
	w.t.Errorf("answer %d %q is no error of RESTCONF; want %d with tag %s", a.code, a.body, code, tag)
}

func sameJSON(t testing.TB, a, b string) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal([]byte(b), &y); err != nil {
		t.Fatalf("wanted %s: %v", b, err)
	}
	return json.Unmarshal([]byte(a), &x) == nil && fmt.Sprint(x) == fmt.Sprint(y)
}

// host is a node as southbound records it.
func host(id model.NodeID, configs map[string]string) model.Node {
	return model.Node{ID: id, NodePlane: model.NodePlane{Key: 1, LocalIP: netip.MustParseAddr("192.0.2.1"), DatapathType: "netdev",
		Mappings: map[string]string{"physnet1": "br-ex"}}, OVSUUID: "00000000-0000-0000-0000-0000000000" + fmt.Sprintf("%02x", len(id)),
		Source: "198.51.100.7", Hostname: string(id), SystemID: "sys-" + string(id), OVSVersion: "3.1.0", Approved: true, HostConfigs: configs}
}

func putHost(n model.Node) func(*store.Txn) {
	return func(tx *store.Txn) { tables.Nodes.Put(tx, n.ID, n) }
}

// port is an instance's port.
func port(id model.PortID) model.Port {
	var last byte
	for _, c := range []byte(id) {
		last = last*31 + c
	}
	return model.Port{ID: id, PortPlane: model.PortPlane{Network: "net", MAC: model.MAC{0xfa, 0x16, 0x3e, 0, 0, last}, Host: "h1", AdminStateUp: true,
		DeviceOwner: "compute:nova"}}
}

func (w *world) putPort(p model.Port) {
	w.t.Helper()
	w.commit(func(tx *store.Txn) {
		if err := alloc.PutPort(tx, p); err != nil {
			w.t.Fatal(err)
		}
	})
}

func status(id model.PortID, s string) func(*store.Txn) {
	return func(tx *store.Txn) {
		tables.Statuses.Put(tx, id, model.PortStatus{Port: id, Status: s, Since: time.Now()})
	}
}

func (w *world) setStatus(id model.PortID, s string) { w.t.Helper(); w.commit(status(id, s)) }

const portsPath, hostsPath = "/neutron:neutron/neutron:ports", "/neutron:neutron/neutron:hostconfigs"

func rpcBody(path, form string) string {
	return `{"input": {"path": "` + path + `", "sal-remote-augment:datastore": "OPERATIONAL", "sal-remote-augment:scope": "SUBTREE",` +
		` "sal-remote-augment:notification-output-type": "` + form + `"}}`
}

const rpc = "/restconf/operations/sal-remote:create-data-change-event-subscription"

// settle waits until everything that was committed has been told.
func (w *world) settle() {
	w.t.Helper()
	seq := w.st.Snapshot().Seq()
	w.poll("the changes are told", func() bool { return w.srv.Stats().Told >= seq })
}

// subscribe goes through all steps of a client and gives the open socket.
func (w *world) subscribe(path, form, query string) *websocket.Conn {
	w.t.Helper()
	w.settle()
	a := w.do("admin", "POST", rpc, rpcBody(path, form))
	out, _ := a.json["output"].(map[string]any)
	name, _ := out["stream-name"].(string)
	if a.code != 200 || name == "" {
		w.t.Fatalf("subscription: %d %s", a.code, a.body)
	}
	a = w.get("/restconf/streams/stream/" + name + query)
	if a.code != 200 {
		w.t.Fatalf("stream %s: %d %s", name, a.code, a.body)
	}
	return w.dial(a.header.Get("Location"))
}

// dial opens a web socket as networking-odl does: no Authorization, no subprotocol, an Origin.
func (w *world) dial(location string) *websocket.Conn {
	w.t.Helper()
	c, res, err := websocket.Dial(w.t.Context(), location, &websocket.DialOptions{HTTPClient: w.http.Client(),
		HTTPHeader: http.Header{"Origin": {"http://elsewhere.example:8181"}}})
	if err != nil {
		w.t.Fatalf("web socket %s: %v", location, err)
	}
	if res.Body != nil {
		res.Body.Close()
	}
	c.SetReadLimit(16 << 20)
	w.t.Cleanup(func() { c.CloseNow() }) //nolint:errcheck // over
	return c
}

// frame reads one frame.
func (w *world) frame(c *websocket.Conn) string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	kind, b, err := c.Read(ctx)
	if err != nil || kind != websocket.MessageText {
		w.t.Fatalf("frame: %v %v", kind, err)
	}
	return string(b)
}

// happened are the next n events, as "operation path data". How commits are gathered in frames depends on how fast they come.
func (w *world) happened(c *websocket.Conn, n int) []string {
	w.t.Helper()
	out := w.left[c]
	for len(out) < n {
		var f struct {
			Notification struct {
				XMLNS     string `json:"xmlns"`
				EventTime string `json:"eventTime"`
				Data      struct {
					XMLNS string          `json:"xmlns"`
					Event json.RawMessage `json:"data-change-event"`
				} `json:"data-changed-notification"`
			} `json:"notification"`
		}
		text := w.frame(c)
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			w.t.Fatalf("%v: %s", err, text)
		}
		if _, err := time.Parse(time.RFC3339, f.Notification.EventTime); err != nil || f.Notification.XMLNS != nsNotification || f.Notification.Data.XMLNS != nsRemote {
			w.t.Errorf("frame %s", text)
		}
		type one struct {
			Path      string          `json:"path"`
			Operation string          `json:"operation"`
			Data      json.RawMessage `json:"data"`
		}
		var list []one
		if f.Notification.Data.Event[0] == '{' {
			list = make([]one, 1)
			if err := json.Unmarshal(f.Notification.Data.Event, &list[0]); err != nil {
				w.t.Fatal(err)
			}
		} else if err := json.Unmarshal(f.Notification.Data.Event, &list); err != nil || len(list) < 2 {
			w.t.Fatalf("%v: %s", err, text)
		}
		for _, e := range list {
			out = append(out, strings.TrimSpace(e.Operation+" "+e.Path+" "+string(e.Data)))
		}
	}
	w.left[c] = out[n:]
	return out[:n]
}

func modelPort(id string) model.PortID { return model.PortID(id) }
