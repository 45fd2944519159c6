// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	crand "crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"nagare/internal/alloc"
	"nagare/internal/api/neutron"
	"nagare/internal/identity"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

func TestMain(m *testing.M) {
	uuid.SetRand(dice)
	code := m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, "goleak:", err)
		code = 1
	}
	os.Exit(code)
}

// people are who may ask. A token is a name of this map.
var people = map[string]identity.Principal{
	"admin": {UserID: "u-admin", ProjectID: "p-admin", Roles: []string{"admin"}},
	"demo":  {UserID: "u-demo", ProjectID: "p-demo", Roles: []string{"member"}},
	"other": {UserID: "u-other", ProjectID: "p-other", Roles: []string{"member"}},
}

type tokens struct{}

func (tokens) Validate(_ context.Context, t string) (identity.Principal, error) {
	p, ok := people[t]
	if !ok {
		return p, identity.ErrUnauthorized
	}
	return p, nil
}

// dice is the randomness behind ids and MAC addresses. It remembers in which order ids came, so that a replay can draw the
// same ones; see serial_test.go.
var dice = &source{drawn: map[string]int{}}

type source struct {
	mu    sync.Mutex
	drawn map[string]int // id or MAC address -> when
	queue [][]byte       // what the next draws give
}

// Read implements io.Reader. A draw of 16 bytes is an id, one of 3 the end of a MAC address.
func (s *source) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) > 0 && len(s.queue[0]) == len(p) {
		copy(p, s.queue[0])
		s.queue = s.queue[1:]
		return len(p), nil
	}
	if _, err := crand.Read(p); err != nil {
		return 0, err
	}
	switch len(p) {
	case 16:
		u := uuid.UUID(p)
		u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
		s.drawn[u.String()] = len(s.drawn)
	case 3:
		s.drawn[fmt.Sprintf("fa:16:3e:%02x:%02x:%02x", p[0], p[1], p[2])] = len(s.drawn)
	}
	return len(p), nil
}

// when reports when the text was drawn.
func (s *source) when(text string) (int, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.drawn[text]
	return n, ok
}

func (s *source) feed(queue [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = queue
}

// server is the API over HTTP on a durable store.
type server struct {
	t      testing.TB
	dir    string
	st     *store.Store
	cfg    neutron.Config
	url    string
	client *http.Client
}

var then = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func start(t testing.TB, change ...func(*neutron.Config)) *server {
	t.Helper()
	s := &server{t: t, dir: t.TempDir()}
	s.open(change...)
	return s
}

// open serves what the directory holds, until the test ends.
func (s *server) open(change ...func(*neutron.Config)) {
	s.t.Helper()
	var err error
	s.st, err = store.Open(context.Background(), tables.Schema, store.Options{DataDir: s.dir, Logger: quiet()})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { s.st.Close() }) //nolint:errcheck // a second time does nothing
	s.cfg = neutron.Config{Store: s.st, Auth: tokens{}, Routers: true, Quotas: map[string]int{}, PublicURL: "http://cloud:9696",
		Alloc: &alloc.Allocator{Rand: dice}, Now: func() time.Time { return then }}
	for _, f := range change {
		f(&s.cfg)
	}
	srv := httptest.NewServer(neutron.New(s.cfg))
	s.url = srv.URL
	s.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}}
	s.t.Cleanup(func() {
		s.client.CloseIdleConnections()
		srv.Close()
	})
}

// node makes a node known.
func (s *server) node(id string, mappings map[string]string) {
	s.t.Helper()
	_, err := s.st.Commit(context.Background(), store.Origin{}, func(tx *store.Txn) error {
		k, err := alloc.NextKey(tx, alloc.Node)
		tables.Nodes.Put(tx, model.NodeID(id), model.Node{ID: model.NodeID(id), Approved: true, FirstSeen: then,
			NodePlane: model.NodePlane{Key: k, LocalIP: netip.MustParseAddr("192.168.0.10"), Mappings: mappings}})
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// call is a request.
type call struct{ who, method, path, body string }

func (c call) String() string {
	return fmt.Sprintf("%s: %s %s %.300s", c.who, c.method, c.path, c.body)
}

// answer is what came of it. low and high are revisions of the store before the call was made and after it was answered.
type answer struct {
	code      int
	request   string // its id
	text      string
	low, high store.Revision
}

// ask makes a call. It may be used by many goroutines.
func (s *server) ask(c call) (a answer, err error) {
	r, err := http.NewRequest(c.method, s.url+"/v2.0/"+c.path, strings.NewReader(c.body))
	if err != nil {
		return a, err
	}
	r.Header.Set("X-Auth-Token", c.who)
	a.low = s.st.Snapshot().Revision()
	rs, err := s.client.Do(r)
	if err != nil {
		return a, err
	}
	defer rs.Body.Close()
	b, err := io.ReadAll(rs.Body)
	a.code, a.text, a.request = rs.StatusCode, string(b), rs.Header.Get("X-Openstack-Request-Id")
	a.high = s.st.Snapshot().Revision()
	return a, err
}

// all makes all calls at once and gives their answers.
func (s *server) all(calls []call) []answer {
	s.t.Helper()
	out, errs := make([]answer, len(calls)), make([]error, len(calls))
	var ready, done sync.WaitGroup
	ready.Add(len(calls))
	for i := range calls {
		done.Go(func() {
			ready.Done()
			ready.Wait()
			out[i], errs[i] = s.ask(calls[i])
		})
	}
	done.Wait()
	for i, err := range errs {
		if err != nil {
			s.t.Fatalf("%s: %v", calls[i], err)
		}
		if out[i].code >= 500 {
			s.t.Errorf("%s: %d %s", calls[i], out[i].code, out[i].text)
		}
	}
	return out
}

// do wants a status and gives the body.
func (s *server) do(c call, want int) map[string]any {
	s.t.Helper()
	a, err := s.ask(c)
	if err != nil || a.code != want {
		s.t.Fatalf("%s: %v: %d %s, want %d", c, err, a.code, a.text, want)
	}
	return a.body()
}

// make creates an object and gives its id.
func (s *server) make(who, path, name, attrs string, args ...any) string {
	s.t.Helper()
	m := s.do(create(who, path, name, attrs, args...), 201)
	return m[name].(map[string]any)["id"].(string)
}

func create(who, path, name, attrs string, args ...any) call {
	return call{who, "POST", path, fmt.Sprintf(`{%q:{`, name) + fmt.Sprintf(attrs, args...) + "}}"}
}

func (a answer) body() (m map[string]any) {
	json.Unmarshal([]byte(a.text), &m) //nolint:errcheck // no body, no map
	return m
}

// fault is the type of an error.
func (a answer) fault() string {
	e, _ := a.body()["NeutronError"].(map[string]any)
	kind, _ := e["type"].(string)
	return kind
}

// tally counts answers by status, and refusals by type too.
func tally(as []answer) map[string]int {
	n := map[string]int{}
	for _, a := range as {
		key := fmt.Sprint(a.code)
		if f := a.fault(); f != "" {
			key += " " + f
		}
		n[key]++
	}
	return n
}
