// SPDX-License-Identifier: Apache-2.0

package nodedhcp

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"

	"nagare/internal/nodedhcp/dhcpapi"
)

// TestMain runs the tests in a network namespace of their own, so that they can
// make interfaces without touching the machine's.
func TestMain(m *testing.M) {
	const inside = "NAGARE_TEST_INSIDE"
	if os.Getenv(inside) != "" {
		goleak.VerifyTestMain(m)
		return
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "nodedhcp tests in a network namespace of their own:", err)
		os.Exit(1)
	}
}

// admin is an admin API and an Identity service with one user.
type admin struct {
	*httptest.Server
	mu        sync.Mutex
	config    dhcpapi.Config
	changed   chan struct{}
	token     string // the only valid one; empty: no authentication
	issued    int
	refused   int
	down      bool
	impatient int // long polls that end at once with 504
}

func newAdmin(t *testing.T) *admin {
	a := &admin{changed: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v3/auth/tokens", func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.issued++
		a.token = fmt.Sprint("token-", a.issued)
		w.Header().Set("X-Subject-Token", a.token)
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"token":{"expires_at":"2099-01-01T00:00:00.000000Z","catalog":[]}}`)
	})
	mux.HandleFunc("GET "+dhcpapi.Path, a.serve)
	a.Server = httptest.NewServer(mux)
	t.Cleanup(a.Close)
	return a
}

func (a *admin) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("node") != "controller" {
		http.Error(w, "unknown node", http.StatusNotFound)
		return
	}
	after, err := strconv.ParseUint(r.URL.Query().Get("after"), 10, 64)
	known := err == nil
	for {
		a.mu.Lock()
		down, config, changed := a.down, a.config, a.changed
		noNews := known && config.Revision <= after && a.impatient > 0
		if noNews {
			a.impatient--
		}
		refuse := a.token != "" && r.Header.Get("X-Auth-Token") != a.token
		if refuse {
			a.refused++
		}
		a.mu.Unlock()
		switch {
		case down:
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		case refuse:
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		case noNews:
			http.Error(w, "timeout", http.StatusGatewayTimeout)
			return
		case !known || config.Revision > after:
			json.NewEncoder(w).Encode(config)
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

// set changes the state and wakes all waiting requests.
func (a *admin) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
	close(a.changed)
	a.changed = make(chan struct{})
}

func port(tap, hostIP string) dhcpapi.Port {
	return dhcpapi.Port{
		PortID: "178a8b99-700f-4d2f-be35-f34d420f66a3", Tap: tap, MAC: "fa:16:3e:ef:85:07", MTU: 1450, Domain: "openstacklocal",
		Addresses: []dhcpapi.Address{{
			IP: netip.MustParseAddr("10.11.12.2"), CIDR: netip.MustParsePrefix("10.11.12.0/24"),
			Gateway: netip.MustParseAddr("10.11.12.1"), LeaseSeconds: 600,
		}},
		Hosts: []dhcpapi.Host{{MAC: "fa:16:3e:9e:f5:70", IP: netip.MustParseAddr(hostIP), Hostname: "vm01"}},
	}
}

// plug makes the pair tap <-> peer; the peer is the client's interface.
func plug(t *testing.T, tap, peer string) {
	t.Helper()
	mac, _ := net.ParseMAC("fa:16:3e:9e:f5:70")
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: tap}, PeerName: peer, PeerHardwareAddr: mac}
	if err := netlink.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	p, err := netlink.LinkByName(peer)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(p); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unplug(tap) })
}

func unplug(tap string) {
	if l, err := netlink.LinkByName(tap); err == nil {
		netlink.LinkDel(l)
	}
}

// raiseLoopback lets the HTTP servers of the tests be reached.
func raiseLoopback(t *testing.T) {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		t.Fatal(err)
	}
}

func start(t *testing.T, o Options) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, o) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(time.Minute):
			t.Error("Run did not end")
		}
		http.DefaultClient.CloseIdleConnections()
	})
}

func TestServesTapsThroughEverything(t *testing.T) {
	raiseLoopback(t)
	a := newAdmin(t)
	a.set(func() { a.config = dhcpapi.Config{Revision: 1, Ports: []dhcpapi.Port{port("tapA", "10.11.12.3")}} })
	start(t, Options{Server: a.URL, Node: "controller", Log: slog.New(slog.NewTextHandler(t.Output(), nil))})

	// The tap appears after the configuration.
	plug(t, "tapA", "peerA")
	got := lease(t, "peerA", "10.11.12.3")
	if got.HostName() != "vm01" || got.ServerIdentifier().String() != "10.11.12.2" {
		t.Errorf("lease %s", got.Summary())
	}
	if v, err := os.ReadFile("/proc/sys/net/ipv4/conf/tapA/arp_ignore"); err != nil || string(v) != "8\n" {
		t.Errorf("the kernel still answers ARP on the tap: %q, %v", v, err)
	}

	// The reservation changes.
	a.set(func() { a.config = dhcpapi.Config{Revision: 2, Ports: []dhcpapi.Port{port("tapA", "10.11.12.4")}} })
	lease(t, "peerA", "10.11.12.4")

	// Long polls without news change nothing.
	a.set(func() { a.impatient = 3 })
	lease(t, "peerA", "10.11.12.4")

	// The server goes away; the tap is made anew, as by a restart of the switch.
	a.set(func() { a.down = true })
	unplug("tapA")
	plug(t, "tapA", "peerA")
	lease(t, "peerA", "10.11.12.4")

	// The server comes back with an older revision and a second port.
	a.set(func() {
		a.down = false
		a.config = dhcpapi.Config{Revision: 1, Ports: []dhcpapi.Port{port("tapA", "10.11.12.4"), port("tapB", "10.11.12.9")}}
	})
	plug(t, "tapB", "peerB")
	lease(t, "peerB", "10.11.12.9")

	// A port that is no longer named is no longer served.
	a.set(func() { a.config = dhcpapi.Config{Revision: 3, Ports: []dhcpapi.Port{port("tapB", "10.11.12.8")}} })
	lease(t, "peerB", "10.11.12.8")
	if ack, err := obtain("peerA", 200*time.Millisecond); err == nil {
		t.Errorf("a removed port still answers: %s", ack.Summary())
	}
}

func TestTokenIsRenewed(t *testing.T) {
	raiseLoopback(t)
	a := newAdmin(t)
	a.token = "nobody has this"
	a.config = dhcpapi.Config{Revision: 1}
	start(t, Options{
		Server: a.URL, Node: "controller", Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Auth: Auth{URL: a.URL + "/v3", Username: "admin", Password: "x", Project: "admin", UserDomain: "Default", ProjectDomain: "Default"},
	})
	plug(t, "tapC", "peerC")
	a.set(func() { a.config = dhcpapi.Config{Revision: 2, Ports: []dhcpapi.Port{port("tapC", "10.11.12.3")}} })
	lease(t, "peerC", "10.11.12.3")
	a.set(func() { // the token expires
		a.token = "expired"
		a.config = dhcpapi.Config{Revision: 3, Ports: []dhcpapi.Port{port("tapC", "10.11.12.5")}}
	})
	lease(t, "peerC", "10.11.12.5")
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refused == 0 || a.issued < 2 {
		t.Errorf("%d requests refused, %d tokens issued: the renewal was not exercised", a.refused, a.issued)
	}
}

func TestConvertKeepsWhatIsSound(t *testing.T) {
	bad := port("tapX", "10.11.12.3")
	bad.MAC = "nonsense"
	good := port("tapY", "10.11.12.3")
	good.Hosts = append(good.Hosts, dhcpapi.Host{MAC: "?", IP: netip.MustParseAddr("10.11.12.7")})
	good.Addresses = append(good.Addresses, dhcpapi.Address{IP: netip.MustParseAddr("2001:db8::2"), CIDR: netip.MustParsePrefix("2001:db8::/64")})
	got, err := convert(&dhcpapi.Config{Ports: []dhcpapi.Port{bad, good, port("tapY", "10.11.12.9")}})
	if err == nil {
		t.Error("three faults, no error")
	}
	n := got["tapY"]
	if len(got) != 1 || n == nil || len(n.Hosts) != 1 || len(n.Subnets) != 1 || n.MTU != 1450 {
		t.Errorf("got %+v", got)
	}
}

// TestConvertOptions: what the server encoded passes through JSON to the responder as it was.
func TestConvertOptions(t *testing.T) {
	p := port("tapO", "10.11.12.3")
	p.Hosts[0].Options = []dhcpapi.Option{{Code: 67, Data: []byte("x")}, {Code: 3}}
	b, err := json.Marshal(dhcpapi.Config{Ports: []dhcpapi.Port{p}})
	if err != nil {
		t.Fatal(err)
	}
	var c dhcpapi.Config
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	got, err := convert(&c)
	if err != nil {
		t.Fatal(err)
	}
	for _, hosts := range got["tapO"].Hosts {
		if o := hosts[0].Options; len(o) != 2 || o[0].Code != 67 || string(o[0].Data) != "x" || !o[1].TakesBack() {
			t.Errorf("options %+v", o)
		}
	}
}

func TestFilterDropsForeignTraffic(t *testing.T) {
	plug(t, "tapF", "peerF")
	l, err := netlink.LinkByName("tapF")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(l); err != nil {
		t.Fatal(err)
	}
	rx, err := openTap("tapF", l.Attrs().Index, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer rx.socket.Close()
	p, _ := netlink.LinkByName("peerF")
	tx, err := openTap("peerF", p.Attrs().Index, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.socket.Close()
	frame := func(kind uint16, proto byte, dport byte) []byte {
		f := make([]byte, 60)
		copy(f, []byte{255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1})
		f[12], f[13], f[14], f[23], f[37] = byte(kind>>8), byte(kind), 0x45, proto, dport
		return f
	}
	// In order: what must be dropped lies between what must come.
	for _, f := range [][]byte{
		frame(0x0806, 0, 0), frame(0x86dd, 0, 0), frame(0x0800, 6, 67), frame(0x0800, 17, 53),
		frame(0x0800, 17, 67), frame(0x88cc, 0, 0), frame(0x0800, 1, 0),
	} {
		if _, err := tx.socket.Write(f); err != nil {
			t.Fatal(err)
		}
	}
	rx.socket.SetReadDeadline(time.Now().Add(time.Minute))
	for _, want := range []byte{0, 17, 1} {
		buf := make([]byte, 100)
		n, err := rx.socket.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if n != 60 || buf[23] != want {
			t.Errorf("got protocol %d (type %x), want %d", buf[23], buf[12:14], want)
		}
	}
}
