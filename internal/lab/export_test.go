// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"net"
	"time"
)

// What the tests of the whole lab, which run the command line, need of the
// inside.

// PlugForTest plugs an instance without the Neutron API.
func (l *Lab) PlugForTest(ctx context.Context, inst Instance) error {
	unlock, err := l.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	s, err := l.load()
	if err != nil {
		return err
	}
	s.putInstance(inst)
	if err := l.save(s); err != nil {
		return err
	}
	return l.plug(ctx, s, inst)
}

// LeaseForTest starts the instance's DHCP client.
func (l *Lab) LeaseForTest(ctx context.Context, inst Instance) (Lease, time.Duration, error) {
	return l.lease(ctx, inst)
}

// SpawnForTest starts the binary with arguments in a node's namespace.
func (l *Lab) SpawnForTest(node, role string, args ...string) (Process, error) {
	s, err := l.load()
	if err != nil {
		return Process{}, err
	}
	bin, err := l.binary()
	if err != nil {
		return Process{}, err
	}
	err = l.ensureProcess(s, role, node, nil, append([]string{bin}, args...))
	return s.Processes[role], err
}

// OVSForTest runs a tool of Open vSwitch against a node.
func (l *Lab) OVSForTest(ctx context.Context, node string, argv ...string) (string, error) {
	return l.ovs(ctx, node, argv...)
}

// RunInForTest runs a command in a node's or instance's namespace.
func (l *Lab) RunInForTest(ctx context.Context, where string, argv ...string) (string, error) {
	return run(ctx, nil, inNamespace(l.namespace(where), argv...)...)
}

// ListenIn listens inside a node's namespace.
func (l *Lab) ListenIn(where, addr string) (net.Listener, error) {
	var listener net.Listener
	err := within(l.namespace(where), func() (err error) {
		listener, err = net.Listen("tcp4", addr)
		return err
	})
	return listener, err
}

// FactsForTest reads a node's database.
func (l *Lab) FactsForTest(ctx context.Context, node string) (map[string]string, error) {
	return l.facts(ctx, node)
}

// GoldenForTest returns expected flows with the recorded values.
func GoldenForTest(state string) ([]string, error) { return goldenFlows(state, substitution{}) }

// CanonicalForTest normalises a dump.
func CanonicalForTest(dump string) ([]string, error) { return canonicalFlows(dump) }

// DifferenceForTest compares flows.
func DifferenceForTest(want, have []string) []string { return difference(want, have) }

// Until polls like the lab itself.
func Until(ctx context.Context, within time.Duration, what string, ready func(context.Context) error) error {
	return until(ctx, within, what, ready)
}

// FromPIDFile finds a daemon.
func FromPIDFile(path, program string) (Process, bool) { return fromPidFile(path, program) }

// ProcessForTest finds a process of the lab by its role, or a daemon of the
// first node by its name.
func (l *Lab) ProcessForTest(role string) (Process, error) {
	s, err := l.load()
	if err != nil {
		return Process{}, err
	}
	if p, ok := s.Processes[role]; ok {
		return p, nil
	}
	p, ok := fromPidFile(l.path("nodes", firstNode, "run", role+".pid"), role)
	if !ok {
		return p, fmt.Errorf("no process %s", role)
	}
	return p, nil
}
