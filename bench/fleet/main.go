// SPDX-License-Identifier: Apache-2.0

// Command fleet runs nagare with real switches on the work that the peers' runner gives OVN, and prints its figures beside
// theirs: the rows 1 to 6, 8 and 9 of the scoreboard, and DHCP.
//
// Each node is a private ovsdb-server and ovs-vswitchd with simulated devices; nagare is the program itself with an empty, durable
// data directory, asked by its Neutron API. The workload's arithmetic is that of the peers' runner (work.go): one
// router per tenant with an interface in each of its networks, and half of the traced pairs cross it. The classic profile runs
// without routers.
//
// A clock stops when three things hold, the latest of which counts: every port is ACTIVE and every node in sync by the server's
// word; no number of flows has changed for a second; and packets traced through the switches at both ends of pairs of ports
// arrive. CPU is that of every process that the work needs (/proc/*/schedstat): a busy machine does not blur it as it
// does wall-clock times, so the load average stands beside those.
//
// Invariants: nothing outlives the program; it writes nothing but what -out names.
//
//	go run ./bench/fleet -quick
//	go run ./bench/fleet -nodes 4,2,10 -base 1000,5000 -rounds 3
//	go run ./bench/fleet -peer DIR      also run DIR/ovn_fleet.py, turn by turn
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"nagare/test/bench/host"
)

// options are what the flags say.
type options struct {
	profile  string
	binary   string
	peer     string
	nodes    []int
	base     []int
	ports    int
	networks int
	n        int
	pairs    int
	rounds   int
	rows     map[string]bool
	serve    []string
	dhcpFor  time.Duration
	out      string
}

// unmetered are arguments that keep meters out of the way of a benchmark of the controller.
func (o *options) unmetered() []string {
	help, err := exec.Command(o.binary, "serve", "--help").CombinedOutput()
	if err == nil && strings.Contains(string(help), "--punt-rate") {
		return []string{"--punt-rate", "100000"}
	}
	return nil
}

func main() {
	o, err := parse(os.Args[1:], os.Stderr)
	if err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "fleet:", err)
		}
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		stop()
		os.Exit(1)
	}
}

func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{rows: map[string]bool{}}
	fs := flag.NewFlagSet("fleet", flag.ContinueOnError)
	fs.SetOutput(stderr)
	quick := fs.Bool("quick", false, "a small size: 4 nodes, 200 ports")
	nodes := fs.String("nodes", "4,2,10", "numbers of nodes; single changes are measured with the first")
	base := fs.String("base", "1000,5000", "numbers of ports, 50 a network, on top of which single changes are measured")
	rows := fs.String("rows", "1,2,3,4,5,6,8,9,dhcp", "rows of the scoreboard")
	serve := fs.String("serve", "", "further arguments of nagare serve, separated by blanks")
	fs.IntVar(&o.ports, "ports", 1000, "ports of a bulk")
	fs.IntVar(&o.networks, "networks", 10, "networks of a bulk")
	fs.IntVar(&o.n, "n", 40, "single ports measured")
	fs.IntVar(&o.pairs, "pairs", 24, "pairs of ports traced")
	fs.IntVar(&o.rounds, "rounds", 1, "times that everything is measured; the median by CPU is shown")
	fs.StringVar(&o.profile, "profile", "standard", "profile of nagare serve")
	fs.StringVar(&o.binary, "binary", "", "the program (default: built for the occasion)")
	fs.StringVar(&o.peer, "peer", "", "directory of the peer's runner, ovn_fleet.py; without it recorded figures are shown")
	fs.StringVar(&o.out, "out", "", "write the table to this file too")
	fs.DurationVar(&o.dhcpFor, "dhcp-time", 3*time.Second, "time for each number of outstanding discoveries")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("argument %q: there are only flags, see -help", fs.Arg(0))
	}
	if *quick {
		*nodes, *base, o.ports, o.n, o.pairs, o.dhcpFor = "4", "200", 200, 20, 12, time.Second
	}
	var err1, err2 error
	o.nodes, err1 = numbers(*nodes)
	o.base, err2 = numbers(*base)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	for _, r := range strings.Split(*rows, ",") {
		o.rows[strings.TrimSpace(r)] = true
	}
	o.serve = strings.Fields(*serve)
	return o, nil
}

func numbers(s string) (out []int, err error) {
	for _, f := range strings.Split(s, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(f))
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q: want whole numbers above 0 with commas between them", s)
		}
		out = append(out, n)
	}
	return out, nil
}

func run(ctx context.Context, o *options) error {
	if o.peer != "" {
		if err := findPeer(o.peer); err != nil {
			fmt.Fprintf(os.Stderr, "fleet: peer: %v; its recorded figures are shown\n", err)
			o.peer = ""
		}
	}
	if o.binary == "" {
		dir, err := os.MkdirTemp("", "nagare-fleet")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		o.binary = filepath.Join(dir, "nagare")
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", o.binary, "nagare/cmd/nagare")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("go build: %w\n%s", err, out)
		}
	}
	r := &report{o: o}
	var faults []error
	section := func(name string, f func(*host.Host)) {
		start := time.Now()
		fmt.Fprintf(os.Stderr, "fleet: %s ...", name)
		err := host.Run(ctx, time.Hour, f)
		fmt.Fprintf(os.Stderr, " %.0f s\n", time.Since(start).Seconds())
		if err != nil {
			r.failed(name, err)
			faults = append(faults, fmt.Errorf("%s: %w", name, err))
		}
	}
	if o.wants("3", "4", "5", "6", "8") {
		for i, nodes := range o.nodes {
			w := work{nets: o.networks, ports: o.ports, nodes: nodes}
			section("bulk, "+w.String(), func(h *host.Host) { r.bulk(h, w, i == 0) })
		}
	}
	if o.wants("1", "2", "9") {
		shapes := []work{{1, 0, 2}, {o.networks, 0, o.nodes[0]}}
		if o.routed() { // two networks, so that half of the pairs are routed
			shapes = slices.Insert(shapes, 1, work{2, 0, 2})
		}
		if o.wants("2", "9") {
			for _, b := range o.base {
				shapes = append(shapes, work{max(b/50, 5), b, o.nodes[0]})
			}
		}
		for _, w := range shapes {
			section("single changes on top of "+w.String(), func(h *host.Host) { r.latency(h, w) })
		}
	}
	if o.wants("dhcp") {
		section("dhcp", func(h *host.Host) { r.dhcp(h) })
	}
	text := r.text()
	fmt.Print(text)
	if o.out != "" {
		faults = append(faults, os.WriteFile(o.out, []byte(text), 0o644))
	}
	return errors.Join(faults...)
}

func (o *options) wants(rows ...string) bool {
	for _, r := range rows {
		if o.rows[r] {
			return true
		}
	}
	return false
}
