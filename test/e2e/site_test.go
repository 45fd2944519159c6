// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"nagare/internal/flow"
)

const (
	controller = "controller"
	compute    = "compute"

	settleWithin = time.Minute      // of anything that a healthy server should do by itself, on a busy machine
	healWithin   = 20 * time.Second // of what another hand has changed; it must not take the comparison each 30 s
	auditWithin  = 90 * time.Second // of what only that comparison can find
	noticeWithin = 45 * time.Second // that a peer is gone without a word: 15 s from its last, and what polling adds
)

// site is a laboratory of one test.
type site struct {
	t        *testing.T
	name     string
	base     string // directory of labs
	hostIP   string
	reported *atomic.Bool // a failure has been described
	queues   *queues
}

var sites atomic.Int32

// newSite raises a laboratory and takes it down at the end of the test. args go to "nagare lab up".
func newSite(t *testing.T, args ...string) *site {
	t.Helper()
	s := nameSite(t)
	s.must(append(s.lab("up", "--host-ip", s.hostIP), args...)...)
	return s
}

// nameSite finds a place for a laboratory and takes down at the end what was raised there.
func nameSite(t *testing.T) *site {
	t.Helper()
	// Short: the path of a switch's socket must fit into 108 octets.
	base, err := os.MkdirTemp("", "nagare-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, name: fmt.Sprintf("e%d-%d", os.Getpid(), sites.Add(1)), base: base, hostIP: freeLoopback(t), reported: &atomic.Bool{}, queues: &queues{}}
	t.Cleanup(func() {
		s.describe()
		if out, err := s.try(context.Background(), s.lab("down")...); err != nil {
			t.Errorf("down: %v\n%s", err, out)
		}
		os.RemoveAll(base)
	})
	return s
}

// with is the same site seen by a part of the test.
func (s *site) with(t *testing.T) *site {
	c := *s
	c.t = t
	t.Cleanup(c.describe)
	return &c
}

// part runs one part of a test.
func (s *site) part(name string, f func(*site)) {
	s.t.Helper()
	s.t.Run(name, func(t *testing.T) { f(s.with(t)) })
}

var loopbacks atomic.Int32

// freeLoopback finds an address of the host on which the server's ports are free.
func freeLoopback(t *testing.T) string {
	t.Helper()
	for range 200 {
		n := os.Getpid() + int(loopbacks.Add(1))
		ip := fmt.Sprintf("127.77.%d.%d", n/250%250+1, n%250+1)
		free := true
		for _, port := range []string{"5000", "8181", "9696"} {
			l, err := net.Listen("tcp4", net.JoinHostPort(ip, port))
			if err != nil {
				free = false
				break
			}
			l.Close()
		}
		if free {
			return ip
		}
	}
	t.Fatal("no loopback address with free ports 5000, 8181, 9696")
	return ""
}

func (s *site) dir() string { return filepath.Join(s.base, s.name) }

// namespace is the network namespace of a node, an instance or the underlay.
func (s *site) namespace(of string) string { return s.name + "-" + of }

// lab is a command line of "nagare lab".
func (s *site) lab(args ...string) []string {
	return append([]string{program, "lab", "--dir", s.base, "--name", s.name}, args...)
}

// try runs a program and returns all that it prints.
func (s *site) try(ctx context.Context, argv ...string) (string, error) {
	return tryIn(ctx, nil, argv...)
}

func tryIn(ctx context.Context, env []string, argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Minute) // the walk-through, on a busy machine
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.WaitDelay = time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
	}
	return out.String(), err
}

// must runs a program that has to succeed.
func (s *site) must(argv ...string) string {
	s.t.Helper()
	out, err := s.try(s.t.Context(), argv...)
	if err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
	return out
}

func (s *site) tryOVS(ctx context.Context, node string, argv ...string) (string, error) {
	dir := filepath.Join(s.dir(), "nodes", node)
	env := []string{"OVS_RUNDIR=" + dir + "/run", "OVS_LOGDIR=" + dir + "/log", "OVS_DBDIR=" + dir + "/db", "OVS_SYSCONFDIR=" + dir + "/db"}
	if argv[0] == "ovs-vsctl" {
		argv = append([]string{"ovs-vsctl", "--timeout=20"}, argv[1:]...)
	}
	return tryIn(ctx, env, argv...)
}

// ovs runs a tool of Open vSwitch against a node.
func (s *site) ovs(node string, argv ...string) string {
	s.t.Helper()
	out, err := s.tryOVS(s.t.Context(), node, argv...)
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", node, err, out)
	}
	return out
}

// in runs a command in the namespace of a node or an instance.
func (s *site) in(where string, argv ...string) (string, error) {
	return s.try(s.t.Context(), append([]string{"ip", "netns", "exec", s.namespace(where)}, argv...)...)
}

func dumpArgs() []string { return []string{"ovs-ofctl", "dump-flows", "br-int", "-O", "OpenFlow13"} }

// dump reads the flows of a node's br-int.
func (s *site) dump(node string) ([]flow.Dumped, error) {
	out, err := s.tryOVS(s.t.Context(), node, dumpArgs()...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", node, err, out)
	}
	return flow.ParseDump(out)
}

// flows are the flows of a node's br-int in the form of the recorded tables.
func (s *site) flows(node string) ([]string, error) {
	out, err := s.tryOVS(s.t.Context(), node, dumpArgs()...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", node, err, out)
	}
	return flow.Normalise(out)
}

// mustFlows reads the flows of a node as they are now.
func (s *site) mustFlows(node string) []string {
	s.t.Helper()
	fs, err := s.flows(node)
	if err != nil {
		s.t.Fatal(err)
	}
	return fs
}

// wantFlows waits until a node holds exactly the given flows.
func (s *site) wantFlows(within time.Duration, node string, want []string) {
	s.t.Helper()
	s.eventually(within, "flows of "+node+" are as expected", func() error {
		have, err := s.flows(node)
		if err != nil {
			return err
		}
		return equalLines(want, have)
	})
}

// equalLines reports how two sorted lists differ.
func equalLines(want, have []string) error {
	var diff []string
	for _, w := range want {
		if !slices.Contains(have, w) {
			diff = append(diff, "- "+w)
		}
	}
	for _, h := range have {
		if !slices.Contains(want, h) {
			diff = append(diff, "+ "+h)
		}
	}
	if len(diff) == 0 && len(want) != len(have) {
		diff = append(diff, "a line is there twice")
	}
	if len(diff) == 0 {
		return nil
	}
	return fmt.Errorf("%d lines, want %d ('-' is missing, '+' is too much):\n%s", len(have), len(want), strings.Join(diff, "\n"))
}

// eventually polls a condition until it holds.
func (s *site) eventually(within time.Duration, what string, check func() error) {
	s.t.Helper()
	if err := poll(s.t.Context(), within, check); err != nil {
		s.t.Fatalf("%s: not within %v: %v", what, within, err)
	}
}

func poll(ctx context.Context, within time.Duration, check func() error) error {
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-deadline.C:
			return err
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// labState is what the tests read of the lab's record.
type labState struct {
	Processes map[string]struct {
		PID int `json:"pid"`
	} `json:"processes"`
	Instances []instance `json:"instances"`
}

// instance is a guest of the lab.
type instance struct {
	Name     string `json:"name"`
	Node     string `json:"node"`
	PortID   string `json:"port_id"`
	MAC      string `json:"mac"`
	DeviceID string `json:"device_id"`
}

func (i instance) tap() string { return "tap" + i.PortID[:11] }

func (s *site) state() labState {
	s.t.Helper()
	var st labState
	b, err := os.ReadFile(filepath.Join(s.dir(), "state.json"))
	if err == nil {
		err = json.Unmarshal(b, &st)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return st
}

func (s *site) instance(name string) instance {
	s.t.Helper()
	for _, i := range s.state().Instances {
		if i.Name == name {
			return i
		}
	}
	s.t.Fatalf("the lab has no instance %s", name)
	return instance{}
}

// boot adds an instance and returns its address.
func (s *site) boot(name, network, node string) string {
	s.t.Helper()
	out := s.must(s.lab("instance", "add", name, "--network", network, "--node", node, "-o", "json")...)
	var added struct {
		Lease struct {
			Address string `json:"address"`
		} `json:"lease"`
	}
	if err := json.Unmarshal([]byte(out), &added); err != nil {
		s.t.Fatalf("instance add: %v\n%s", err, out)
	}
	address, _, _ := strings.Cut(added.Lease.Address, "/")
	return address
}

// describe prints what is known about a site whose test failed.
func (s *site) describe() {
	if !s.t.Failed() || s.reported.Swap(true) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, log := range []string{"server.log", "server.out"} {
		if b, err := os.ReadFile(filepath.Join(s.dir(), "log", log)); err == nil {
			lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
			s.t.Logf("end of %s:\n%s", log, strings.Join(lines[max(0, len(lines)-20):], "\n"))
		}
	}
	// What the switches hold is long: it would push the cause out of what CI keeps of the output.
	details, err := os.CreateTemp("", "nagare-e2e-failed-*.txt")
	if err != nil {
		s.t.Log(err)
		return
	}
	defer details.Close()
	s.t.Logf("flows and ports of the nodes are in %s", details.Name())
	nodes, _ := filepath.Glob(filepath.Join(s.dir(), "nodes", "*"))
	for _, dir := range nodes {
		node := filepath.Base(dir)
		for _, argv := range [][]string{dumpArgs(), {"ovs-vsctl", "--no-wait", "show"}} {
			out, err := s.tryOVS(ctx, node, argv...)
			fmt.Fprintf(details, "%s: %s (%v):\n%s\n", node, strings.Join(argv, " "), err, out)
		}
	}
	if c, err := s.login(ctx, "admin"); err == nil {
		code, body, err := c.do(ctx, "GET", c.admin("/nodes"), nil)
		s.t.Logf("node states (%d, %v):\n%s", code, err, body)
	} else {
		s.t.Logf("node states: %v", err)
	}
}
