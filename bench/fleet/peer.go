// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// errPeerMissing says how to get OVN.
var errPeerMissing = errors.New("OVN is not installed (no ovn-northd or ovn-controller): run install.sh of the peer's directory as root")

// findPeer tells whether OVN's programs and its runner are there.
func findPeer(dir string) error {
	for _, p := range []string{"ovn-northd", "ovn-controller", "python3"} {
		if _, err := exec.LookPath(p); err != nil {
			return errPeerMissing
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "ovn_fleet.py")); err != nil {
		return fmt.Errorf("the peer's runner: %w", err)
	}
	return nil
}

// runPeer lets OVN do the same work and returns what its runner printed.
func runPeer(ctx context.Context, o *options, what string, w work, n int) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "python3", filepath.Join(o.peer, "ovn_fleet.py"), what, "--nets", strconv.Itoa(w.nets),
		"--ports", strconv.Itoa(w.ports), "--chassis", strconv.Itoa(w.nodes), "--n", strconv.Itoa(n), "--sg", "1", "--out", os.DevNull)
	cmd.Stderr, cmd.Env = os.Stderr, append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1") // the directory is not ours
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("peer: %s of %v: %w", what, w, err)
	}
	return string(out), nil
}

// runPeerDHCP lets OVN answer discoveries.
func runPeerDHCP(ctx context.Context, o *options) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "python3", filepath.Join(o.peer, "ovn_dhcp.py"), "--seconds", fmt.Sprint(o.dhcpFor.Seconds()), "--out", os.DevNull)
	cmd.Stderr, cmd.Env = os.Stderr, append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1") // the directory is not ours
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("peer: dhcp: %w", err)
	}
	return string(out), nil
}

// readDHCP reads what "ovn_dhcp.py" printed.
func readDHCP(text string) (out []dhcpFigures, err error) {
	line := regexp.MustCompile(`window= *(\d+): \d+ offers in [\d.]+s = (\d+)/s +cpu us per offer: ovn-controller (\d+), vswitchd (\d+)`)
	for _, m := range line.FindAllStringSubmatch(text, -1) {
		var n [4]int
		for i := range n {
			if n[i], err = strconv.Atoi(m[i+1]); err != nil {
				return nil, err
			}
		}
		out = append(out, dhcpFigures{outstanding: n[0], perSecond: float64(n[1]), central: time.Duration(n[2]) * time.Microsecond, node: time.Duration(n[3]) * time.Microsecond})
	}
	if out == nil {
		return nil, fmt.Errorf("peer: its output has no offers:\n%s", text)
	}
	return out, nil
}

// reader takes numbers out of the lines of the peer's runner. The first that is missing is its error.
type reader struct {
	text string
	err  error
}

func (r *reader) number(pattern string) float64 {
	m := regexp.MustCompile(pattern).FindStringSubmatch(r.text)
	if m == nil {
		if r.err == nil {
			r.err = fmt.Errorf("peer: its output has no %q:\n%s", pattern, r.text)
		}
		return 0
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil && r.err == nil {
		r.err = err
	}
	return v
}

func (r *reader) seconds(pattern string) time.Duration {
	return time.Duration(r.number(pattern) * float64(time.Second))
}

func (r *reader) millis(pattern string) time.Duration {
	return time.Duration(r.number(pattern) * float64(time.Millisecond))
}

const mib = 1 << 20

// readBulk reads what "ovn_fleet.py bulk" printed.
func readBulk(w work, text string) (bulkFigures, error) {
	r := &reader{text: text}
	b := bulkFigures{work: w, perSecond: r.number(`-> (\d+) ports/s`), cpu: r.seconds(`cpu: total ([\d.]+)s`),
		switchCPU: r.seconds(`vswitchd=([\d.]+)s`),
		central:   mib * (r.number(`rss MB: nb-db=([\d.]+)`) + r.number(`sb-db=([\d.]+) \(peak`) + r.number(`northd=([\d.]+) \(peak`)),
		perNode:   mib * r.number(`ovn-controller=([\d.]+) (?:avg|\(peak)`),
		base:      r.number(`flows/node: before ports (\d+)`), flows: r.number(`after avg (\d+)`), traces: peerTraces(text), load: peerLoad(text)}
	b.took.done = r.seconds(`all nodes done ([\d.]+)s`)
	return b, r.err
}

// readLatency reads what "ovn_fleet.py latency" printed.
func readLatency(w work, text string) (latencyFigures, error) {
	r := &reader{text: text}
	l := latencyFigures{work: w,
		up50: r.millis(`write->up p50=(\d+)ms`), up99: r.millis(`write->up p50=.* p99=(\d+)ms`),
		done50: r.millis(`every node done \(second nb_cfg round\) p50=(\d+)ms`), done99: r.millis(`second nb_cfg round\) p50=.* max=(\d+)ms load`),
		cpu:      r.millis(`cpu: total [\d.]+s \(([\d.]+) ms/port\)`),
		ruleWall: r.millis(`add one SG rule -> every node done: p50=(\d+)ms`), ruleCPU: r.millis(`add one SG rule .* cpu (\d+) ms each`),
		idle: r.number(`idle 10s: cpu total ([\d.]+) ms/s`) / 1000, flows: r.number(`flows/node avg (\d+)`), traces: peerTraces(text), load: peerLoad(text)}
	return l, r.err
}

// readRefill reads the line of "ovn_fleet.py restart" about a switch that comes back empty.
func readRefill(text string) (wall time.Duration, flows float64, err error) {
	r := &reader{text: text}
	const line = `ovs-vswitchd killed and started \(empty tables\)\s+`
	return r.seconds(line + `consistent after p50=([\d.]+)s`), r.number(line + `.*flows/node now (\d+)`), r.err
}

func peerTraces(text string) string {
	if m := regexp.MustCompile(`traced pairs: (\d+) delivered, (\d+) not`).FindStringSubmatch(text); m != nil {
		a, _ := strconv.Atoi(m[1])
		b, _ := strconv.Atoi(m[2])
		return traced{delivered: a, lost: b}.String()
	}
	return "not traced"
}

func peerLoad(text string) string {
	loads := regexp.MustCompile(`load=([\d.]+(?:->[\d.]+)?)`).FindAllStringSubmatch(text, -1)
	if len(loads) == 0 {
		return "?"
	}
	return strings.ReplaceAll(loads[len(loads)-1][1], "->", " → ")
}
