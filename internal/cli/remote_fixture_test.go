// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"nagare/internal/api/admin"
	"nagare/internal/nodedhcp/dhcpapi"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const (
	vm01    = "178a8b99-17b3-4a0e-97b3-b5b02bc3e2b3"
	vm02    = "71b6fca1-2a3b-4dce-b5a5-d5a4c8c0f4be"
	net01   = "5a3b2c1d-0e9f-4a8b-b7c6-d5e4f3a2b1c0"
	orphan  = "deadbeef-0000-4000-8000-000000000001"
	admitMe = "newcomer"
)

// cloud is the server as the tests have it: the real admin API over canned answers.
type cloud struct {
	status   admin.Status
	nodes    []admin.Node
	topology admin.Topology
	flows    map[string][]admin.Flow
	explain  map[string]admin.Explanation // by node and flow identity, a blank between
	ports    map[string]admin.PortReport
	cookies  map[string]admin.CookieReport // by node
	wait     func(ctx context.Context, revision uint64) error
	traces   map[string]admin.Trace // by words, or what stands in their place

	mu      sync.Mutex
	changes []string // "approve compute by admin"
}

func (c *cloud) Status(context.Context) (admin.Status, error)     { return c.status, nil }
func (c *cloud) Nodes(context.Context) ([]admin.Node, error)      { return c.nodes, nil }
func (c *cloud) Topology(context.Context) (admin.Topology, error) { return c.topology, nil }

func (c *cloud) change(verb, node, user string) error {
	if !slices.ContainsFunc(c.nodes, func(n admin.Node) bool { return n.ID == node }) {
		return fmt.Errorf("node %s: %w", node, admin.ErrNotFound)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes = append(c.changes, verb+" "+node+" by "+user)
	return nil
}

// made are the changes so far.
func (c *cloud) made() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.changes)
}

func (c *cloud) Approve(_ context.Context, node, user string) error {
	return c.change("approve", node, user)
}

func (c *cloud) Forget(_ context.Context, node, user string) error {
	if node == "compute" {
		return fmt.Errorf("node compute is connected: stop its Open vSwitch or its manager first: %w", admin.ErrBadInput)
	}
	return c.change("forget", node, user)
}

func (c *cloud) Flows(_ context.Context, node string, authors bool) ([]admin.Flow, error) {
	fs, ok := c.flows[node]
	if !ok {
		return nil, fmt.Errorf("node %s: %w; see `nagare nodes`", node, admin.ErrNotFound)
	}
	fs = slices.Clone(fs)
	for i := range fs {
		if !authors {
			fs[i].Authors = nil
		}
	}
	return fs, nil
}

func (c *cloud) ExplainCookie(_ context.Context, node string, cookie uint64) (admin.CookieReport, error) {
	x, ok := c.cookies[node]
	if !ok || x.Cookie != fmt.Sprintf("%#x", cookie) {
		return x, fmt.Errorf("cookie %#x: port 7: %w; it is gone, or another server's", cookie, admin.ErrNotFound)
	}
	return x, nil
}

func (c *cloud) ExplainFlow(_ context.Context, node, flow string) (admin.Explanation, error) {
	x, ok := c.explain[node+" "+flow]
	if !ok {
		return x, fmt.Errorf("node %s should hold no flow %s: %w; see `nagare flows %s`", node, flow, admin.ErrNotFound, node)
	}
	return x, nil
}

func (c *cloud) ExplainPort(_ context.Context, port string) (admin.PortReport, error) {
	p, ok := c.ports[port]
	if !ok {
		return p, fmt.Errorf("port %s: %w", port, admin.ErrNotFound)
	}
	return p, nil
}

func (c *cloud) Wait(ctx context.Context, revision uint64) error {
	if c.wait != nil {
		return c.wait(ctx, revision)
	}
	if revision > c.status.Confirmed {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (c *cloud) Trace(_ context.Context, q admin.TraceQuery) (admin.Trace, error) {
	key := strings.TrimSpace(strings.Join([]string{q.From, q.Node, q.InPort, strings.Join(q.Words, " "), q.Flow, q.State}, " "))
	t, ok := c.traces[strings.Join(strings.Fields(key), " ")]
	if slices.Contains(q.Words, "tcp/99999") {
		return t, fmt.Errorf("tcp/99999: say to which port: %w", admin.ErrBadInput)
	}
	if !ok {
		return t, fmt.Errorf("port %s: %w", q.From, admin.ErrNotFound)
	}
	return t, nil
}

// Events are two commits, of which the log holds the second alone; then the server stops.
func (c *cloud) Events(_ context.Context, after uint64, f func(es []admin.Event, lost bool) error) error {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	es := []admin.Event{
		{Commit: admin.Commit{Revision: 7, Request: "req-0a1b", User: "demo", Action: "POST /v2.0/ports", Time: at}, Project: "p",
			Changes: []admin.Change{{Kind: "networks", ID: net01, Change: "updated"}, {Kind: "ports", ID: vm01, Change: "created"}}},
		{Commit: admin.Commit{Revision: 9, Action: "node compute: plug\x1b[2J", Time: at}, Changes: []admin.Change{{Kind: "plugs", ID: "compute|" + vm01, Change: "deleted"}}},
	}
	return f(slices.DeleteFunc(es, func(e admin.Event) bool { return e.Revision <= after }), after == 0)
}

func (c *cloud) DHCP(context.Context, string, uint64) (dhcpapi.Config, error) {
	return dhcpapi.Config{}, errors.New("not asked for here")
}

// newCloud has two nodes in order and one that waits to be admitted.
func newCloud() *cloud {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.FixedZone("CET", 3600))
	create := &admin.Commit{Revision: 7, Request: "req-0a1b", User: "demo", Action: "create port", Time: at}
	spine := admin.Flow{Text: "table=0,priority=0 actions=goto_table:20", Rule: "bridge", Kind: "node", Object: "compute"}
	entry := admin.Flow{Text: "table=0,priority=32768,in_port=2,dl_src=fa:16:3e:9e:f5:70 actions=set_field:0x435->tun_id,load:0x1->NXM_NX_REG0[],goto_table:20",
		Rule: "port", Kind: "port", Object: vm01}
	deliver := admin.Flow{Text: "table=110,priority=32768,tun_id=0x435,dl_dst=fa:16:3e:9e:f5:70 actions=output:2", Rule: "port", Kind: "port", Object: vm01}
	byPort := admin.Author{Rule: "port", Kind: "port", Object: vm01, Name: "vm01", Commit: create}
	byRule := admin.Author{Rule: "acl", Kind: "security-group-rule", Object: orphan, Name: "ingress IPv4 tcp 22 from 0.0.0.0/0", Commit: &admin.Commit{Revision: 8, Time: at}}
	entry.Authors, deliver.Authors = []admin.Author{byPort}, []admin.Author{byPort, byRule}
	spine.Authors = []admin.Author{{Rule: "bridge", Kind: "node", Object: "compute"}}
	why := admin.Explanation{Node: "compute", Flow: entry.Text, Table: "0 (classifier)",
		Purpose: "tells which network a packet belongs to",
		Reasons: []admin.Reason{{Rule: "port", Doc: "a plugged port: admitted with its own MAC only, and reached by it", Source: "internal/netvirt/l2.go:71",
			Kind: "port", Object: vm01, Name: "vm01", Commit: create,
			Because: []admin.Cause{{Kind: "network", Object: net01, Commit: &admin.Commit{Revision: 5, Time: at}}, {Kind: "node", Object: "compute"}}}}}
	why2 := admin.Explanation{Node: "controller", Flow: deliver.Text, Table: "110 (l2-forward)",
		Reasons: []admin.Reason{{Rule: "remote", Kind: "port", Object: vm01}}}
	return &cloud{
		status: admin.Status{Version: "1.2.3", Profile: "classic", Revision: 9, Compiled: 9, Confirmed: 9, Nodes: 2, LiveNodes: 2, Networks: 1, Ports: 3,
			Units: 14, InSync: true, Uptime: "1h2m3s", Notice: "profile classic is no security boundary", Northbound: "neutron"},
		nodes: []admin.Node{
			{ID: "compute", LocalIP: "192.168.0.20", Approved: true, OVSDB: true, OpenFlow: true, InSync: true, Confirmed: 9, Flows: 3, Ports: []string{vm01, vm02}},
			{ID: "controller", LocalIP: "192.168.0.10", Approved: true, OVSDB: true, OpenFlow: true, InSync: true, Confirmed: 9, Flows: 1, Ports: []string{}},
		},
		topology: admin.Topology{
			Nodes: []admin.TopologyNode{
				{ID: "compute", LocalIP: "192.168.0.20", Ports: []admin.TopologyPort{
					{ID: vm01, Name: "vm01", Network: net01, MAC: "fa:16:3e:9e:f5:70", Addresses: []string{"10.11.12.3", "fd00::3"}, OFPort: 2, Status: "ACTIVE"},
					{ID: vm02, Network: net01, MAC: "fa:16:3e:53:88:56", Addresses: []string{"10.11.12.4"}, Status: "DOWN"}}},
				{ID: "controller", LocalIP: "192.168.0.10", Ports: []admin.TopologyPort{}}},
			Links: []admin.TopologyLink{
				{From: "compute", FromPort: "tun1", To: "controller", ToPort: "tun2", Seen: at.Add(time.Second)},
				{From: "controller", FromPort: "tun2", To: "compute", ToPort: "tun1", Seen: at},
				{From: "controller", FromPort: "eth1", To: "compute", ToPort: "eth1", Seen: at}},
			Networks: []admin.TopologyNetwork{{ID: net01, Name: "net01", Type: "vxlan", Tag: 1077, Nodes: []string{"compute", "controller"}}},
		},
		flows: map[string][]admin.Flow{"compute": {entry, spine, deliver},
			"controller": {{Text: "table=0,priority=0 actions=goto_table:20", Rule: "bridge", Kind: "node", Object: "controller"}}},
		cookies: map[string]admin.CookieReport{"compute": {Node: "compute", Cookie: "0x4e03000100000011", What: "port", Key: 17, Table: "0 (classifier)", Number: 1,
			Kind: "port", Object: vm01, Name: "vm01", Commit: create, Flows: []admin.Flow{{Text: entry.Text, Authors: entry.Authors}, {Text: spine.Text, Authors: spine.Authors}}},
			"controller": {Node: "controller", Cookie: "0x4e09ffff00000001", What: "group rule", Key: 1, Merged: true, Flows: []admin.Flow{{Text: deliver.Text, Authors: deliver.Authors}}}},
		traces:  traces(byPort, entry, deliver),
		explain: map[string]admin.Explanation{"compute table=0,priority=32768,in_port=2,dl_src=fa:16:3e:9e:f5:70": why},
		ports: map[string]admin.PortReport{
			"vm01": {ID: vm01, Name: "vm01", Network: net01, MAC: "fa:16:3e:9e:f5:70", Host: "compute", Plugged: []string{"compute"}, Status: "ACTIVE",
				Commit: create, Flows: []admin.Explanation{why, why2}},
			orphan: {ID: orphan, Network: net01, MAC: "fa:16:3e:00:00:01", Plugged: []string{}, Status: "DOWN", Flows: []admin.Explanation{},
				Advice:   "the port is bound to no host: set binding:host_id",
				Problems: []string{"node compute reports an interface with this iface-id, but the port's host is \"\""}},
		},
	}
}

// traces are one packet that arrives and one that does not, by their queries.
func traces(by admin.Author, entry, deliver admin.Flow) map[string]admin.Trace {
	in := admin.TraceStep{Table: "0 (classifier)", Flow: entry.Text, Authors: []admin.Author{by},
		Did: []admin.TraceDo{{Action: "set_field:0x435->tun_id", Changes: []string{"tun_id: 0 -> 1077, logical network: net01"}}, {Action: "output:7", Note: "skipped: the port does not exist"}}}
	out := admin.TraceStep{Table: "110 (l2-forward)", Flow: deliver.Text, Authors: deliver.Authors, Did: []admin.TraceDo{{Action: "output:2"}}}
	pass := func(table, next string) admin.TraceStep {
		n, _, _ := strings.Cut(table, " ")
		return admin.TraceStep{Table: table, Flow: "table=" + n + ",priority=0 actions=goto_table:" + next, Authors: []admin.Author{{Rule: "bridge", Kind: "node", Object: "compute"}}}
	}
	arrived := admin.Trace{Revision: 9, Packet: "in_port=2,icmp", Node: "compute", Verdict: admin.TraceVerdict{Result: admin.TraceDelivered, Arrived: true, Text: "delivered to port " + vm02},
		Notes: []string{"ARP is not simulated"}, Way: []admin.TraceVisit{{Node: "compute", InPort: 2, Name: "tap1", Packet: "in_port=2,icmp", Steps: []admin.TraceStep{in, pass("20 (responder)", "30"), pass("30 (inbound-nat)", "110"), out},
			Out: []admin.TraceOut{{Port: 2, Name: "tap2", To: "port " + vm02}}}}}
	dropped := arrived
	dropped.Verdict = admin.TraceVerdict{Result: admin.TraceDropped, Text: "dropped in table 92 (ingress-rules) on node compute: no rule of the receiver's groups (default) allows tcp/22", Remedy: "openstack security group rule create\x1b[2J"}
	dropped.State, dropped.Before = admin.TraceEstablished, []admin.TraceLeg{{What: "first packet", Packet: "in_port=2", Verdict: arrived.Verdict}}
	dropped.Way = []admin.TraceVisit{{Node: "compute", InPort: 2, Packet: "in_port=2,tcp", Steps: []admin.TraceStep{in, {Depth: 1, Table: "92 (ingress-rules)"}}, Errors: []string{"group 7 does not exist"}}}
	return map[string]admin.Trace{"vm01 icmp to vm02": arrived, "vm01 tcp/22 to vm02 established": dropped, "compute 3 arp": dropped}
}

// trouble makes a node wait for approval, one lag behind with a fault and a conflict, and one be away.
func (c *cloud) trouble() *cloud {
	c.status.Nodes, c.status.InSync, c.status.Faults, c.status.Confirmed, c.status.Notice = 4, false, 1, 8, ""
	c.nodes[0].InSync, c.nodes[0].Confirmed, c.nodes[0].Waiting = false, 8, "connected"
	c.nodes[0].Faults = []admin.Fault{{Kind: "port", Object: vm02, Rule: "acl", Reason: "two flows for one match"}}
	c.nodes[0].Conflicts = []string{"port " + orphan + ` is plugged here, but its host is ""`}
	c.nodes[1].OpenFlow, c.nodes[1].InSync = false, false
	c.nodes = append(c.nodes,
		admin.Node{ID: admitMe, LocalIP: "192.168.0.30", OVSDB: true},
		admin.Node{ID: "old\x1b[2J", Approved: true, Problem: "second node claims the name:\nrefused"})
	return c
}

// site is a server with its Identity, as the command line finds it.
type site struct {
	t        *testing.T
	server   *httptest.Server
	identity *httptest.Server
	env      map[string]string
	mu       sync.Mutex
	requests []string // to both servers
}

// newSite serves a cloud. With closed the admin API wants a token: "admin-token" has role admin, "demo-token" has member.
func newSite(t *testing.T, b admin.Backend, closed bool) *site {
	authorize := func(r *http.Request, roles ...string) (string, error) {
		switch r.Header.Get("X-Auth-Token") {
		case "admin-token":
			return "admin", nil
		case "demo-token":
			return "", fmt.Errorf("%w: user demo has none of the roles %s", admin.ErrForbidden, strings.Join(roles, ", "))
		}
		if closed {
			return "", fmt.Errorf("%w: token is not valid; ask for a new one", admin.ErrUnauthorized)
		}
		return "admin", nil
	}
	return newSiteOf(t, admin.Handler(b, authorize))
}

// newSiteOf serves any handler in the place of the admin API.
func newSiteOf(t *testing.T, h http.Handler) *site {
	leaks := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, leaks) })
	s := &site{t: t, env: map[string]string{}}
	s.server = httptest.NewServer(s.noted(h))
	t.Cleanup(s.server.Close)
	s.identity = httptest.NewServer(s.noted(http.HandlerFunc(serveIdentity)))
	t.Cleanup(s.identity.Close)
	s.env["NAGARE_SERVER"] = s.server.URL
	return s
}

func (s *site) noted(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, r.Method+" "+r.URL.RequestURI())
		s.mu.Unlock()
		h.ServeHTTP(w, r)
	})
}

// seen are the requests so far.
func (s *site) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// as sets the variables that `nagare lab openrc` prints.
func (s *site) as(user, password string) *site {
	for name, value := range map[string]string{"AUTH_URL": s.identity.URL + "/v3", "USERNAME": user, "PASSWORD": password,
		"PROJECT_NAME": user, "USER_DOMAIN_NAME": "Default", "PROJECT_DOMAIN_NAME": "Default"} {
		s.env["OS_"+name] = value
	}
	return s
}

// serveIdentity is POST /v3/auth/tokens of a tiny Identity v3: the users admin and demo, each with the project of its name in the
// domain Default, and the password "secret".
func serveIdentity(w http.ResponseWriter, r *http.Request) {
	fail := func(code int, message string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"error":{"code":%d,"title":%q,"message":%q}}`, code, http.StatusText(code), message)
	}
	type named struct{ ID, Name string }
	type scoped struct {
		Name   string
		Domain named
	}
	var q struct {
		Auth struct {
			Identity struct {
				Methods  []string
				Password struct {
					User struct {
						scoped
						Password string
					}
				}
			}
			Scope struct{ Project scoped }
		}
	}
	if r.Method != http.MethodPost || r.URL.Path != "/v3/auth/tokens" {
		fail(404, "Not Found")
		return
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		fail(400, err.Error())
		return
	}
	u, p := q.Auth.Identity.Password.User, q.Auth.Scope.Project
	inDefault := func(d named) bool { return d.Name == "Default" || d.ID == "default" }
	if !slices.Equal(q.Auth.Identity.Methods, []string{"password"}) || u.Name != "admin" && u.Name != "demo" || u.Password != "secret" ||
		!inDefault(u.Domain) || p.Name != u.Name || !inDefault(p.Domain) {
		fail(401, "The request you have made requires authentication.")
		return
	}
	w.Header().Set("X-Subject-Token", u.Name+"-token")
	w.WriteHeader(http.StatusCreated)
	fmt.Fprint(w, `{"token":{}}`)
}

// transcript is what a user sees of one command.
type transcript struct {
	code           int
	stdout, stderr string
}

func (s *site) run(args ...string) transcript {
	s.t.Helper()
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "OS_") || strings.HasPrefix(name, "NAGARE_") {
			s.t.Setenv(name, "")
		}
	}
	for name, value := range s.env {
		s.t.Setenv(name, value)
	}
	var stdout, stderr bytes.Buffer
	code := Main(s.t.Context(), args, &stdout, &stderr)
	return transcript{code, s.masked(stdout.String()), s.masked(stderr.String())}
}

// masked gives the servers' addresses names.
func (s *site) masked(text string) string {
	return strings.NewReplacer(s.server.URL, "http://SERVER", s.identity.URL, "http://IDENTITY").Replace(text)
}

// golden compares the transcripts of commands with a file of testdata, which -update rewrites.
func (s *site) golden(name string, commands ...[]string) {
	s.t.Helper()
	var b strings.Builder
	for _, args := range commands {
		got := s.run(args...)
		fmt.Fprintf(&b, "$ nagare %s\n%s", strings.Join(args, " "), got.stdout)
		for line := range strings.Lines(got.stderr) {
			b.WriteString("! " + line)
		}
		fmt.Fprintf(&b, "exit %d\n\n", got.code)
	}
	file := filepath.Join("testdata", "remote", name+".golden")
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			s.t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatalf("%v; run go test -update", err)
	}
	if d := cmp.Diff(string(want), b.String()); d != "" {
		s.t.Errorf("%s, -want +got:\n%s", file, d)
	}
}
