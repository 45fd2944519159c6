// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"nagare/internal/api/admin"
	"nagare/internal/model"
	"nagare/internal/ovstest"
	"nagare/internal/store"
	"nagare/internal/tables"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("internal/poll.runtime_pollWait"), // idle keep-alive connections of the test's client
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

func TestConfigFaults(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		want   string // part of the error; "" for none
	}{
		"defaults":             {func(*Config) {}, ""},
		"profile":              {func(c *Config) { c.Profile = "baroque" }, "profile"},
		"classic":              {func(c *Config) { c.Profile = "classic" }, ""},
		"classic, port":        {func(c *Config) { c.Profile, c.DHCP = "classic", "port" }, ""},
		"classic, native":      {func(c *Config) { c.Profile, c.DHCP = "classic", "native" }, "dhcp native"},
		"classic, one tunnel":  {func(c *Config) { c.Profile, c.TunnelMode = "classic", "flow" }, "tunnel-mode flow"},
		"one tunnel":           {func(c *Config) { c.TunnelMode = "flow" }, ""},
		"port in standard":     {func(c *Config) { c.DHCP = "port" }, ""},
		"dhcp":                 {func(c *Config) { c.DHCP = "dnsmasq" }, "dhcp"},
		"tunnels":              {func(c *Config) { c.TunnelMode = "" }, "tunnel-mode"},
		"no punts":             {func(c *Config) { c.PuntRate = 0 }, "punt-rate"},
		"too many punts":       {func(c *Config) { c.PuntRate = 1 << 20 }, "punt-rate"},
		"open without consent": {func(c *Config) { c.ListenIP = "192.0.2.1" }, "southbound-plaintext"},
		"open with consent":    {func(c *Config) { c.ListenIP, c.SouthboundPlaintext = "192.0.2.1", true }, ""},
		"open with tls": {func(c *Config) {
			c.ListenIP, c.SouthboundCert, c.SouthboundKey, c.SouthboundCA = "192.0.2.1", "c", "k", "a"
		}, ""},
		"half of tls":       {func(c *Config) { c.SouthboundCert = "c" }, "go together"},
		"no auth, open":     {func(c *Config) { c.ListenIP, c.SouthboundPlaintext, c.Auth = "192.0.2.1", true, "none" }, "loopback only"},
		"every address":     {func(c *Config) { c.ListenIP, c.SouthboundPlaintext = "0.0.0.0", true }, "public-host"},
		"no address":        {func(c *Config) { c.ListenIP = "localhost" }, "listen-ip"},
		"no place for data": {func(c *Config) { c.DataDir = "" }, "data-dir"},
		"port":              {func(c *Config) { c.AdminPort = 70000 }, "admin-port"},
		"level":             {func(c *Config) { c.LogLevel = "loud" }, "log-level"},
		"enrol":             {func(c *Config) { c.Enrol = "never" }, "enrol"},
		"seconds":           {func(c *Config) { c.Audit = -1 }, "audit"},
		"master":            {func(c *Config) { c.Northbound = "onos" }, "northbound"},
		"another master":    {func(c *Config) { c.Northbound = "odl" }, ""},
		"keystone, where?":  {func(c *Config) { c.Auth, c.KeystonePasswordFile = "keystone", "f" }, "keystone-url"},
		"keystone, no URL":  {func(c *Config) { c.Auth, c.KeystonePasswordFile, c.KeystoneURL = "keystone", "f", "controller:5000" }, "want a URL"},
		"keystone":          {func(c *Config) { c.Auth, c.KeystonePasswordFile, c.KeystoneURL = "keystone", "f", "https://k/v3" }, ""},
		"keystone, and odl": {func(c *Config) {
			c.Auth, c.KeystonePasswordFile, c.KeystoneURL, c.Northbound = "keystone", "f", "https://k/v3", "odl"
		}, "networking-odl"},
		"half of https":   {func(c *Config) { c.TLSKey = "k" }, "tls-cert and tls-key"},
		"several at once": {func(c *Config) { c.Enrol, c.Auth = "x", "y" }, "auth"},
	} {
		cfg := Defaults()
		c.change(&cfg)
		err := cfg.complete()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: error %v, want one about %q", name, err, c.want)
		}
	}
	cfg := Defaults()
	host, _ := os.Hostname()
	for profile, want := range map[string]string{"standard": "native", "classic": "port"} {
		c := Defaults()
		c.Profile = profile
		if err := c.complete(); err != nil || c.DHCP != want || c.ServerName != host {
			t.Errorf("%s: dhcp %q by %q, %v; want %s by %s", profile, c.DHCP, c.ServerName, err, want, host)
		}
	}
	cfg.Dial = []string{"192.0.2.7", "192.0.2.8:6641"}
	if err := cfg.complete(); err != nil || cfg.Dial[0] != "192.0.2.7:6640" || cfg.Dial[1] != "192.0.2.8:6641" {
		t.Errorf("dial %v %v, want port 6640 where none was given", cfg.Dial, err)
	}
}

func TestLogLevels(t *testing.T) {
	var b strings.Builder
	l := &logs{handler: slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug})}
	l.level, l.levels, _ = parseLevels("warn,southbound=debug")
	l.logger("southbound").Debug("heard")
	l.logger("neutron").Info("not heard")
	l.logger("neutron").With("a", 1).WithGroup("g").Warn("heard too")
	if got := b.String(); !strings.Contains(got, "msg=heard sys=southbound") || strings.Contains(got, "not heard") || !strings.Contains(got, "heard too") {
		t.Errorf("log:\n%s", got)
	}
}

func commit(t testing.TB, st *store.Store, f func(*store.Txn)) store.Result {
	t.Helper()
	r, err := st.Commit(t.Context(), store.Origin{}, func(tx *store.Txn) error { f(tx); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestDHCPFeed follows one node's configuration: what concerns it moves its revision, nothing else does.
func TestDHCPFeed(t *testing.T) {
	st := store.New(tables.Schema, nil)
	f := newDHCPFeed(st, "openstacklocal")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = f.run(ctx) }()
	defer func() { cancel(); <-done }()

	port := func(id model.PortID, owner string, n byte) model.Port {
		return model.Port{ID: id, PortPlane: model.PortPlane{Network: "net", MAC: model.MAC{0xfa, 0x16, 0x3e, 0, 0, n}, Host: "controller",
			DeviceOwner: owner, AdminStateUp: true, FixedIPs: []model.FixedIP{{Subnet: "sub", Addr: netip.AddrFrom4([4]byte{10, 0, 0, n})}}}}
	}
	at := commit(t, st, func(tx *store.Txn) {
		tables.Networks.Put(tx, "net", model.Network{ID: "net", NetworkPlane: model.NetworkPlane{MTU: 1450}})
		tables.Subnets.Put(tx, "sub", model.Subnet{ID: "sub", SubnetPlane: model.SubnetPlane{Network: "net", EnableDHCP: true,
			CIDR: netip.MustParsePrefix("10.0.0.0/24"), Gateway: netip.MustParseAddr("10.0.0.1")}})
		tables.Ports.Put(tx, "dhcp-port-000", port("dhcp-port-000", model.OwnerDHCP, 2))
		tables.Ports.Put(tx, "vm", port("vm", "compute:nova", 3))
	})
	cfg, err := f.Config(t.Context(), "controller", 0)
	if err != nil || len(cfg.Ports) != 1 || cfg.Revision != uint64(at.Revision) {
		t.Fatalf("first configuration %+v %v", cfg, err)
	}
	p := cfg.Ports[0]
	if p.Tap != "tapdhcp-port-0" || p.MTU != 1450 || len(p.Addresses) != 1 || len(p.Hosts) != 1 || p.Hosts[0].Hostname != "host-10-0-0-3" ||
		p.Addresses[0].Gateway.String() != "10.0.0.1" {
		t.Errorf("port %+v", p)
	}
	// Another network's port, and a new name, concern nobody here: a poll for something newer keeps waiting.
	commit(t, st, func(tx *store.Txn) {
		tables.Ports.Put(tx, "other", model.Port{ID: "other", PortPlane: model.PortPlane{Network: "elsewhere"}})
		n, _ := tables.Networks.Get(tx, "net")
		n.Name = "renamed"
		tables.Networks.Put(tx, "net", n)
	})
	short, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	same, _ := f.Config(short, "controller", cfg.Revision)
	stop()
	if same.Revision != cfg.Revision {
		t.Errorf("revision moved from %d to %d although nothing changed for the node", cfg.Revision, same.Revision)
	}
	// A new port on the network ends the wait.
	got := make(chan int, 1)
	go func() {
		c, _ := f.Config(t.Context(), "controller", cfg.Revision)
		got <- len(c.Ports[0].Hosts)
	}()
	commit(t, st, func(tx *store.Txn) { tables.Ports.Put(tx, "vm2", port("vm2", "compute:nova", 4)) })
	select {
	case n := <-got:
		if n != 2 {
			t.Errorf("%d hosts, want 2", n)
		}
	case <-time.After(time.Minute):
		t.Error("the poll did not end when a port was added")
	}
	// So do a port's own options and name, though no flow depends on them; those of a port elsewhere do not.
	last, _ := f.Config(t.Context(), "controller", 0)
	told := func(id model.PortID) uint64 {
		t.Helper()
		commit(t, st, func(tx *store.Txn) {
			p, _ := tables.Ports.Get(tx, id)
			p.DNSName, p.DHCPOpts = "web", []model.DHCPOpt{{Name: "bootfile-name", Value: "x", Version: 4}, {Name: "nonsense", Value: "x", Version: 4}}
			tables.Ports.Put(tx, id, p)
		})
		wait, stop := context.WithTimeout(t.Context(), map[bool]time.Duration{true: time.Minute, false: 50 * time.Millisecond}[id == "vm"])
		defer stop()
		c, _ := f.Config(wait, "controller", last.Revision)
		return c.Revision
	}
	if told("other") != last.Revision {
		t.Error("an option of a port elsewhere moved the revision")
	}
	if told("vm") == last.Revision {
		t.Error("an option moved nothing")
	}
	now, _ := f.Config(t.Context(), "controller", 0)
	if h := now.Ports[0].Hosts[0]; h.Hostname != "web" || len(h.Options) != 1 || h.Options[0].Code != 67 || string(h.Options[0].Data) != "x" {
		t.Errorf("host %+v", h)
	}
}

// What clients are told besides what flows depend on concerns a node if it serves the network, and no other node.
func TestRetold(t *testing.T) {
	n := &nodeDHCP{networks: map[model.NetworkID]struct{}{"net": {}}}
	port := func(network model.NetworkID, name string) model.Port {
		return model.Port{PortPlane: model.PortPlane{Network: network}, DNSName: name}
	}
	for what, c := range map[string]struct {
		before, after any
		want          bool
	}{
		"name":            {port("net", ""), port("net", "a"), true},
		"same name":       {port("net", "a"), port("net", "a"), false},
		"name elsewhere":  {port("far", ""), port("far", "a"), false},
		"new port":        {nil, port("net", "a"), false}, // which touches what was read
		"domain":          {model.Network{ID: "net"}, model.Network{ID: "net", DNSDomain: "d."}, true},
		"same domain":     {model.Network{ID: "net"}, model.Network{ID: "net"}, false},
		"another network": {model.Network{ID: "far"}, model.Network{ID: "far", DNSDomain: "d."}, false},
	} {
		if got := n.retold(&store.Changes{Records: []store.RecordChange{{Before: c.before, After: c.after}}}); got != c.want {
			t.Errorf("%s: %v", what, got)
		}
	}
}

// TestServe starts the whole server twice on one data directory and asks it by HTTP.
func TestServe(t *testing.T) {
	cfg := Defaults()
	p := ovstest.Ports(t, 5)
	cfg.NeutronPort, cfg.IdentityPort, cfg.AdminPort, cfg.OVSDBPort, cfg.OpenFlowPort = p[0], p[1], p[2], p[3], p[4]
	cfg.DataDir, cfg.LogFile, cfg.ServerName = t.TempDir(), filepath.Join(t.TempDir(), "log"), "controller"
	cfg.BootstrapPasswordFile = filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(cfg.BootstrapPasswordFile, []byte("correct horse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Timeout: time.Minute}
	defer client.CloseIdleConnections()
	ask := func(method, url, token, body string) (int, http.Header, []byte) {
		t.Helper()
		r, _ := http.NewRequest(method, url, strings.NewReader(body))
		if token != "" {
			r.Header.Set("X-Auth-Token", token)
		}
		resp, err := client.Do(r)
		if err != nil {
			return 0, nil, nil
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, resp.Header, b
	}
	base := func(port int) string { return fmt.Sprintf("http://127.0.0.1:%d", port) }
	login := func(user string) string {
		t.Helper()
		code, head, body := ask("POST", base(cfg.IdentityPort)+"/v3/auth/tokens", "", fmt.Sprintf(`{"auth":{"identity":{"methods":["password"],
			"password":{"user":{"name":%q,"domain":{"id":"default"},"password":"correct horse"}}},
			"scope":{"project":{"name":%q,"domain":{"id":"default"}}}}}`, user, user))
		if code != 201 {
			t.Fatalf("token for %s: %d %s", user, code, body)
		}
		return head.Get("X-Subject-Token")
	}
	var network string
	for run := range 2 {
		cfg.DHCP = []string{"native", "port"}[run]
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- Serve(ctx, cfg) }()
		ready := false
		for deadline := time.Now().Add(2 * time.Minute); !ready && time.Now().Before(deadline); {
			code, _, _ := ask("GET", base(cfg.AdminPort)+"/readyz", "", "")
			ready = code == 200
			select {
			case err := <-ended:
				t.Fatalf("run %d: server ended: %v", run, err)
			case <-time.After(20 * time.Millisecond):
			}
		}
		if !ready {
			t.Fatal("not ready in time")
		}
		adm, demo := login("admin"), login("demo")
		if run == 0 {
			code, _, body := ask("POST", base(cfg.NeutronPort)+"/v2.0/networks", demo, `{"network":{"name":"n1"}}`)
			var v struct{ Network struct{ ID string } }
			if json.Unmarshal(body, &v); code != 201 {
				t.Fatalf("network create: %d %s", code, body)
			}
			network = v.Network.ID
		}
		if code, _, body := ask("GET", base(cfg.NeutronPort)+"/v2.0/networks/"+network, demo, ""); code != 200 {
			t.Errorf("run %d: the acknowledged network: %d %s", run, code, body)
		}
		if run == 0 {
			if code, _, body := ask("POST", base(cfg.NeutronPort)+"/v2.0/subnets", demo, `{"subnet":{"network_id":"`+network+`","ip_version":4,"cidr":"10.0.0.0/24"}}`); code != 201 {
				t.Errorf("subnet: %d %s", code, body)
			}
		}
		// Native at first; then, with port and no node to hold it, on nothing.
		var ports struct {
			Ports []struct {
				Device string `json:"device_id"`
				Status string
			}
		}
		code, _, body := ask("GET", base(cfg.NeutronPort)+"/v2.0/ports?device_owner=network:dhcp", adm, "")
		want := []string{"dhcpd3377d3c-a0d1-5d71-9947-f17125c357bb-" + network + " ACTIVE", "reserved_dhcp_port DOWN"}[run]
		if json.Unmarshal(body, &ports); code != 200 || len(ports.Ports) != 1 || ports.Ports[0].Device+" "+ports.Ports[0].Status != want {
			t.Errorf("run %d: dhcp ports %d %s, want %s", run, code, body, want)
		}
		if b, _ := os.ReadFile(cfg.LogFile); strings.Contains(string(b), "no security boundary") {
			t.Error("standard says that it is no security boundary")
		}
		var st admin.Status
		if code, _, body := ask("GET", base(cfg.AdminPort)+"/nagare/v1/status", adm, ""); code != 200 || json.Unmarshal(body, &st) != nil || st.Networks != 1 || !st.InSync {
			t.Errorf("run %d: status %d %s", run, code, body)
		}
		for what, want := range map[string]int{"/nagare/v1/status": 401, "/nagare/v1/nodes/x/flows": 401, "/healthz": 200} {
			if code, _, _ := ask("GET", base(cfg.AdminPort)+what, "", ""); code != want {
				t.Errorf("run %d: %s without a token: %d, want %d", run, what, code, want)
			}
		}
		for what, want := range map[string]int{"/nagare/v1/topology": 200, "/nagare/v1/nodes": 200, "/nagare/v1/nodes/x/flows": 404,
			"/nagare/v1/ports/x/explain": 404, "/nagare/v1/wait?revision=no": 400, "/nagare/v1/dhcp": 400, "/nagare/v1/dhcp?node=x": 200,
			"/nagare/v1/wait?revision=1": 200, "/nagare/v1/wait?revision=999999&timeout=1": 504, "/nagare/v1/nodes/x/explain?flow=nonsense": 400} {
			if code, _, body := ask("GET", base(cfg.AdminPort)+what, adm, ""); code != want {
				t.Errorf("run %d: %s as admin: %d %s, want %d", run, what, code, body, want)
			}
		}
		if code, _, _ := ask("GET", base(cfg.AdminPort)+"/nagare/v1/status", demo, ""); code != 403 {
			t.Errorf("run %d: status as demo: %d, want 403", run, code)
		}
		if code, _, body := ask("DELETE", base(cfg.AdminPort)+"/nagare/v1/nodes/x", adm, ""); code != 404 {
			t.Errorf("forget of an unknown node: %d %s", code, body)
		}
		if code, _, body := ask("GET", base(cfg.AdminPort)+"/metrics", "", ""); code != 200 || !strings.Contains(string(body), `nagare_objects{kind="network"} 1`) {
			t.Errorf("run %d: metrics: %d", run, code)
		}
		second := Serve(t.Context(), cfg)
		if second == nil {
			t.Error("a second server started on the same data directory")
		}
		client.CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run %d: end: %v", run, err)
		}
	}
	if b, err := os.ReadFile(cfg.LogFile); err != nil || strings.Contains(string(b), "correct horse") || !strings.Contains(string(b), "msg=ready") {
		t.Errorf("log: %v\n%s", err, b)
	}
}
