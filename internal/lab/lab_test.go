// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"nagare/internal/cli"
	"nagare/internal/lab"
	"nagare/internal/nodedhcp/dhcpapi"
)

// TestMain lets the test binary stand in for the program itself, because a lab
// starts that as its server, DHCP process and forwarder.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if fault := os.Getenv("FAKE_FAULT"); fault != "" && os.Args[1] == "serve" {
			os.Exit(serveFaulty(ctx, os.Args[2:], fault))
		}
		os.Exit(cli.Main(ctx, os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// labs numbers the labs of this process.
var labs atomic.Int32

// newLab gives a lab of its own to a test, and takes it down at the end.
func newLab(t *testing.T) *lab.Lab {
	t.Helper()
	needLab(t)
	l, err := lab.New(filepath.Join(t.TempDir(), "labs"), fmt.Sprintf("t%d-%d", os.Getpid(), labs.Add(1)))
	if err != nil {
		t.Fatal(err)
	}
	l.Out = t.Output()
	t.Cleanup(func() {
		if _, err := l.Down(context.Background()); err != nil {
			t.Errorf("down: %v", err)
		}
	})
	return l
}

const (
	dhcpPort = "178a8b99-700f-4d2f-be35-f34d420f66a3"
	dhcpTap  = "tap178a8b99-70"
	dhcpMAC  = "fa:16:3e:ef:85:07"
)

var instances = []lab.Instance{
	{Name: "vm01", Node: "compute", PortID: "7adff632-ccf9-4d43-8f5d-7db454313f44", MAC: "fa:16:3e:9e:f5:70", DeviceID: "11111111-1111-4111-8111-111111111111", MTU: 1450},
	{Name: "vm02", Node: "compute", PortID: "2756a09c-125a-4fe8-9a26-2bde05857062", MAC: "fa:16:3e:53:88:56", DeviceID: "22222222-2222-4222-8222-222222222222", MTU: 1450},
}

// adminAPI serves the DHCP configuration inside the controller node, as the
// server would.
func adminAPI(t *testing.T, l *lab.Lab) {
	t.Helper()
	config := dhcpapi.Config{Revision: 1, Ports: []dhcpapi.Port{{
		PortID: dhcpPort, Tap: dhcpTap, MAC: dhcpMAC, MTU: 1450, Domain: "openstacklocal",
		Addresses: []dhcpapi.Address{{
			IP: netip.MustParseAddr("10.11.12.2"), CIDR: netip.MustParsePrefix("10.11.12.0/24"),
			Gateway: netip.MustParseAddr("10.11.12.1"), LeaseSeconds: 86400,
		}},
		Hosts: []dhcpapi.Host{
			{MAC: instances[0].MAC, IP: netip.MustParseAddr("10.11.12.3"), Hostname: "host-10-11-12-3"},
			{MAC: instances[1].MAC, IP: netip.MustParseAddr("10.11.12.4"), Hostname: "host-10-11-12-4"},
		},
	}}}
	listener, err := l.ListenIn("controller", "192.168.0.10:8181")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("after") == "1" {
			<-r.Context().Done() // nothing newer will come
			return
		}
		json.NewEncoder(w).Encode(config)
	})}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
}

// program does by hand what the server does: bridge, tunnel, tap, flows.
func program(t *testing.T, l *lab.Lab, node string, golden string, ports ...[]string) {
	t.Helper()
	ctx := t.Context()
	ovs := func(argv ...string) {
		t.Helper()
		if _, err := l.OVSForTest(ctx, node, argv...); err != nil {
			t.Fatal(err)
		}
	}
	ovs("ovs-vsctl", "--may-exist", "add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev", "fail_mode=secure")
	for _, p := range ports {
		ovs(append([]string{"ovs-vsctl", "--may-exist", "add-port", "br-int", p[0], "--", "set", "Interface"}, p...)...)
	}
	flows, err := lab.GoldenForTest(golden)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "flows")
	if err := os.WriteFile(file, []byte(strings.Join(flows, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ovs("ovs-ofctl", "-O", "OpenFlow13", "add-flows", "br-int", file)
	dump, err := l.OVSForTest(ctx, node, "ovs-ofctl", "-O", "OpenFlow13", "dump-flows", "br-int")
	if err != nil {
		t.Fatal(err)
	}
	have, err := lab.CanonicalForTest(dump)
	if err != nil {
		t.Fatal(err)
	}
	if d := lab.DifferenceForTest(flows, have); d != nil {
		t.Fatalf("%s does not read back as it was written:\n%s", golden, strings.Join(d, "\n"))
	}
}

func tunnel(local, remote string) []string {
	return []string{"vxlan-" + remote, "type=vxlan", "options:key=flow", "options:local_ip=" + local, "options:remote_ip=" + remote}
}

// TestScenarioWithoutServer runs the walk-through's data plane with the expected
// flows loaded by hand: DHCP over the tunnel from the node's DHCP process, ping on
// one node and between two; then a restart of the switches; then nothing is left.
func TestScenarioWithoutServer(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	ctx := t.Context()
	began := time.Now()
	if err := l.Up(ctx, lab.UpOptions{Bare: true}); err != nil {
		t.Fatal(err)
	}
	t.Logf("two nodes up after %v", time.Since(began))
	adminAPI(t, l)
	tap := []string{dhcpTap, "type=internal", "external_ids:iface-id=" + dhcpPort, `mac="` + dhcpMAC + `"`}
	program(t, l, "controller", "instances-controller", tap, tunnel("192.168.0.10", "192.168.0.11"))
	program(t, l, "compute", "instances-compute", tunnel("192.168.0.11", "192.168.0.10"))
	for _, inst := range instances {
		if err := l.PlugForTest(ctx, inst); err != nil {
			t.Fatal(err)
		}
	}
	facts, err := l.FactsForTest(ctx, "compute")
	if err != nil {
		t.Fatal(err)
	}
	if facts["interface tap7adff632-cc ofport"] != "2" || facts["interface tap7adff632-cc external_ids:attached-mac"] != instances[0].MAC {
		t.Errorf("vm01 is plugged as %v", facts)
	}
	if _, err := l.SpawnForTest("controller", "dhcp-controller", "node", "dhcp", "--server", "http://192.168.0.10:8181", "--node", "controller"); err != nil {
		t.Fatal(err)
	}
	for i, inst := range instances {
		lease, took, err := l.LeaseForTest(ctx, inst)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %+v after %v", inst.Name, lease, took)
		want := lab.Lease{Address: fmt.Sprintf("10.11.12.%d/24", 3+i), Router: "10.11.12.1", MTU: "1450", Host: fmt.Sprintf("host-10-11-12-%d", 3+i),
			Domain: "openstacklocal", Server: "10.11.12.2", Seconds: "86400"}
		if lease != want {
			t.Errorf("%s: lease %+v, want %+v", inst.Name, lease, want)
		}
	}
	pings := func() {
		t.Helper()
		for _, p := range [][2]string{{"vm01", "10.11.12.4"}, {"vm02", "10.11.12.3"}, {"vm01", "10.11.12.2"}, {"vm02", "10.11.12.2"}} {
			err := lab.Until(ctx, 20*time.Second, p[0]+" pings "+p[1], func(ctx context.Context) error {
				_, err := l.RunInForTest(ctx, p[0], "ping", "-c", "1", "-W", "1", p[1])
				return err
			})
			if err != nil {
				t.Error(err)
			}
		}
	}
	pings()

	// No address of the node may be reached through the tap.
	if out, err := l.RunInForTest(ctx, "vm01", "ip", "-4", "route", "add", "192.168.0.10", "dev", "eth0"); err != nil {
		t.Fatal(out, err)
	}
	if _, err := l.RunInForTest(ctx, "vm01", "ping", "-c", "1", "-W", "1", "192.168.0.10"); err == nil {
		t.Error("an instance reached the controller node's own address through the DHCP port")
	}

	// A second Up changes nothing.
	before, err := os.ReadFile(filepath.Join(l.Dir, "nodes/compute/run/ovs-vswitchd.pid"))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Up(ctx, lab.UpOptions{}); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.ReadFile(filepath.Join(l.Dir, "nodes/compute/run/ovs-vswitchd.pid")); string(after) != string(before) {
		t.Error("a second Up started the switch again")
	}

	// The switches die: Up starts them, and the DHCP process finds the new tap.
	for _, n := range []string{"controller", "compute"} {
		pidFile := filepath.Join(l.Dir, "nodes", n, "run/ovs-vswitchd.pid")
		p, ok := lab.FromPIDFile(pidFile, "ovs-vswitchd")
		if !ok {
			t.Fatalf("no switch on %s", n)
		}
		if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if err := lab.Until(ctx, 10*time.Second, "the switch is dead", func(context.Context) error {
			if p.Alive() {
				return errors.New("it lives")
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if s, err := l.Status(ctx); err != nil || s.Healthy {
		t.Errorf("status of a lab with dead switches: %+v, %v", s, err)
	}
	if err := l.Up(ctx, lab.UpOptions{}); err != nil {
		t.Fatal(err)
	}
	program(t, l, "controller", "instances-controller")
	program(t, l, "compute", "instances-compute")
	pings()
	if s, err := l.Status(ctx); err != nil || !s.Healthy {
		t.Errorf("status after mending: %+v, %v", s, err)
	}

	if _, err := l.Down(ctx); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, l)
}

// nothingLeft holds that no namespace, file or process of the lab remains.
func nothingLeft(t *testing.T, l *lab.Lab) {
	t.Helper()
	if left, _ := filepath.Glob("/run/netns/" + l.Name + "-*"); left != nil {
		t.Errorf("namespaces left: %v", left)
	}
	if left, _ := filepath.Glob(l.Dir + "*"); left != nil {
		t.Errorf("files left: %v", left)
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range commands {
		if b, err := os.ReadFile(c); err == nil && strings.Contains(string(b), l.Dir) && !strings.Contains(c, fmt.Sprint(os.Getpid())) {
			t.Errorf("process left: %s %q", c, b)
		}
	}
}

// TestDownOfAHalfMadeLab breaks Up at each step and holds that Down removes it.
func TestDownOfAHalfMadeLab(t *testing.T) {
	t.Parallel()
	for _, after := range []time.Duration{0, 20 * time.Millisecond, 60 * time.Millisecond, 120 * time.Millisecond, 250 * time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			l := newLab(t)
			ctx, cancel := context.WithTimeout(t.Context(), after)
			defer cancel()
			err := l.Up(ctx, lab.UpOptions{Bare: true, Nodes: []string{"controller"}})
			t.Logf("up ended with: %v", err)
			if _, err := l.Down(t.Context()); err != nil {
				t.Fatal(err)
			}
			nothingLeft(t, l)
			if _, err := l.Down(t.Context()); err != nil {
				t.Errorf("a second down: %v", err)
			}
		})
	}
}

func TestUpRefusals(t *testing.T) {
	l := newLab(t)
	for name, o := range map[string]lab.UpOptions{
		"first node":   {Nodes: []string{"compute"}},
		"node twice":   {Nodes: []string{"controller", "a", "a"}},
		"node name":    {Nodes: []string{"controller", "A/../b"}},
		"underlay":     {Nodes: []string{"controller", "underlay"}},
		"host address": {HostIP: "8.8.8.8"},
		"profile":      {Profile: "baroque"},
		"ids":          {IDs: "mine"},
		"manager":      {Manager: "tcp:1.2.3.4:6640"},
	} {
		if err := l.Up(t.Context(), o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	nothingLeft(t, l)
	if _, err := l.Status(t.Context()); !errors.Is(err, lab.ErrNotUp) {
		t.Errorf("status of no lab: %v", err)
	}
}

// needLab fails where no lab can be built, unless that is known: a missing package or right must not hide a failure.
func needLab(t *testing.T) {
	t.Helper()
	if err := lab.Require(); err != nil {
		if os.Getenv("NAGARE_NO_OVS") == "1" {
			t.Skipf("no lab here, and NAGARE_NO_OVS=1: %v", err)
		}
		t.Fatalf("a lab cannot be built here: %v; run make test, or set NAGARE_NO_OVS=1", err)
	}
}
