// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

// The scenario's names.
const (
	walkNetwork = "net01"
	walkSubnet  = "net01-subnet"
	walkCIDR    = "10.11.12.0/24"
	dhcpAddress = "10.11.12.2"
	lastStep    = 3

	settleWithin = 15 * time.Second // of a state that a command has asked for
)

var (
	walkInstances = []string{"vm01", "vm02"}
	walkAddresses = map[string]string{"vm01": "10.11.12.3", "vm02": "10.11.12.4"}
)

// WalkOptions says how far to go, and how the lab is to be if it is not up.
type WalkOptions struct {
	Up    UpOptions
	Until int // 0 to 3
}

// Statement is one thing that a step proves, or fails to.
type Statement struct {
	Step   int    `json:"step"`
	Text   string `json:"statement"`
	Held   bool   `json:"held"`
	Detail string `json:"detail,omitempty"` // why not
	// Skipped says why this lab cannot show it; then it neither held nor failed.
	Skipped string `json:"skipped,omitempty"`
}

// Walkthrough brings the lab up if need be and leads through the scenario, from
// where the lab is: each command, its real output, and what it proves. Objects
// that exist are used, not made again. The error is for what kept the scenario
// from going on; a statement that did not hold is in the list alone.
func (l *Lab) Walkthrough(ctx context.Context, o WalkOptions) ([]Statement, error) {
	if o.Until < 0 || o.Until > lastStep {
		return nil, fmt.Errorf("step %d: the steps are 0 to %d", o.Until, lastStep)
	}
	if err := l.Up(ctx, o.Up); err != nil {
		return nil, err
	}
	w, err := l.newWalk(ctx)
	if err != nil {
		return nil, err
	}
	at, err := w.position(ctx)
	if err != nil {
		return nil, err
	}
	if o.Until < at {
		return nil, fmt.Errorf("lab %s: is at step %d already, and step %d can be shown in a fresh lab only: take it down first with 'nagare lab down'", l.Name, at, o.Until)
	}
	w.print("\n%s", w.preface())
	w.print("\nNODE$ COMMAND below is 'nagare lab exec NODE -- COMMAND'; $ COMMAND runs on this machine, openstack as demo unless it says (admin).\n")
	for n, step := range []func(context.Context) error{w.fresh, w.network, w.instances, w.routed} {
		if n > o.Until {
			break
		}
		w.step = n
		if n < at {
			w.print("\n== Step %d: passed in an earlier run\n", n)
			continue
		}
		if err := step(ctx); err != nil {
			return w.statements, fmt.Errorf("step %d: %w", n, err)
		}
	}
	return w.statements, nil
}

// walk is one run of the scenario.
type walk struct {
	l          *Lab
	s          *State
	out        io.Writer
	demo       *api
	admin      *api
	single     bool
	recorded   bool   // ids are those of the recording
	classic    bool   // profile; the other is standard
	native     bool   // the server answers DHCP
	host       string // node of the instances
	step       int
	statements []Statement
}

func (l *Lab) newWalk(ctx context.Context) (*walk, error) {
	s, err := l.load()
	if err != nil {
		return nil, err
	}
	w := &walk{l: l, s: s, out: l.Out, recorded: s.Config.IDs == idsRecorded, classic: s.Config.Profile == profileClassic,
		native: s.Config.DHCP == dhcpNative}
	switch {
	case len(s.Config.Nodes) == 1:
		w.single, w.host = true, firstNode
	case len(s.Config.Nodes) == 2 && s.Config.Nodes[1].Name == "compute":
		w.host = "compute"
	default:
		return nil, fmt.Errorf("lab %s: has the nodes %s; the walk-through is for controller,compute or controller alone", l.Name, nodeNames(s))
	}
	if w.demo, err = l.connect(ctx, s, "demo"); err != nil {
		return nil, err
	}
	if w.admin, err = l.connect(ctx, s, "admin"); err != nil {
		return nil, err
	}
	return w, nil
}

// position is the step whose state the lab shows, as far as it was begun.
func (w *walk) position(ctx context.Context) (int, error) {
	network, err := one[apiNetwork](ctx, w.demo, "networks", walkNetwork)
	if err != nil || network == nil {
		return 0, err
	}
	if external, err := one[apiNetwork](ctx, w.admin, "networks", walkExternal); err != nil || external != nil {
		return 3, err
	}
	for _, name := range walkInstances {
		if _, ok := w.s.instance(name); ok {
			return 2, nil
		}
	}
	return 1, nil
}

func (w *walk) print(format string, args ...any) {
	if w.out != nil {
		fmt.Fprintf(w.out, format, args...)
	}
}

func (w *walk) title(text string) {
	what := fmt.Sprintf("Step %d", w.step)
	if w.single {
		what = fmt.Sprintf("Step 4 (single node), step %d", w.step)
	}
	w.print("\n== %s: %s\n", what, text)
}

// hold enters a statement: it held if err is nil.
func (w *walk) hold(err error, format string, args ...any) {
	s := Statement{Step: w.step, Text: fmt.Sprintf(format, args...), Held: err == nil}
	mark := "PASS"
	if err != nil {
		s.Detail, mark = err.Error(), "FAIL"
	}
	w.statements = append(w.statements, s)
	w.print("%s  %s\n", mark, s.Text)
	if err != nil {
		w.print("      %s\n", strings.ReplaceAll(s.Detail, "\n", "\n      "))
	}
}

// equal is a statement about a value.
func (w *walk) equal(have, want any, format string, args ...any) {
	var err error
	if fmt.Sprint(have) != fmt.Sprint(want) {
		err = fmt.Errorf("it is %v, not %v", have, want)
	}
	w.hold(err, format, args...)
}

// on runs a command on a node or in an instance and shows both.
func (w *walk) on(ctx context.Context, where string, argv ...string) (string, error) {
	program, env, err := w.l.ExecCommand(where, argv)
	if err != nil {
		return "", err
	}
	return w.show(ctx, where, strings.Join(argv, " "), env, program)
}

// openstack runs the stock client as the user demo and shows it.
func (w *walk) openstack(ctx context.Context, args ...string) (string, error) {
	return w.openstackAs(ctx, "demo", args...)
}

// openstackAs runs the stock client as a user and shows it; whose it is, unless it is demo's.
func (w *walk) openstackAs(ctx context.Context, user string, args ...string) (string, error) {
	credentials, err := w.l.OpenRC(user)
	if err != nil {
		return "", err
	}
	env := slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "OS_") })
	env = append(env, credentials...)
	argv := append([]string{"openstack"}, args...)
	where := ""
	if user != "demo" {
		where = "(" + user + ") "
	}
	return w.show(ctx, where, strings.Join(argv, " "), append(env, "PYTHONWARNINGS=ignore"), argv)
}

// show runs a command in an environment of its own and prints what it prints.
func (w *walk) show(ctx context.Context, where, text string, env, argv []string) (string, error) {
	cmd := command(ctx, nil, argv...)
	cmd.Env = env
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	w.print("\n%s$ %s\n%s", where, text, out.String())
	if err != nil {
		w.print("%s", errOut.String())
		return out.String(), fmt.Errorf("%s: %w: %s", text, err, strings.TrimSpace(errOut.String()))
	}
	return out.String(), nil
}

// nodes are the nodes of the scenario, the controller first.
func (w *walk) nodes() []string {
	if w.single {
		return []string{firstNode}
	}
	return []string{firstNode, "compute"}
}

// walkPorts are the ports of the scenario that exist.
type walkPorts struct {
	segment int
	dhcp    *apiPort
	vm      map[string]*apiPort // by instance
}

func (w *walk) ports(ctx context.Context) (walkPorts, error) {
	p := walkPorts{vm: map[string]*apiPort{}}
	network, err := one[apiNetwork](ctx, w.admin, "networks", walkNetwork)
	if err != nil || network == nil {
		return p, err
	}
	p.segment = network.Segment
	all, err := list[apiPort](ctx, w.admin, "ports", url.Values{"network_id": {network.ID}})
	for _, port := range all {
		switch {
		case port.DeviceOwner == "network:dhcp":
			p.dhcp = &port
		case strings.HasPrefix(port.DeviceOwner, "compute:"):
			p.vm[port.Name] = &port
		}
	}
	return p, err
}

// preface says what this profile's run shows.
func (w *walk) preface() string {
	if w.classic {
		return "Profile classic: the flow tables equal the recorded ones, line by line. It is no security boundary: what no flow drops passes.\n"
	}
	text := "Profile standard: instances send only as themselves and receive only what their groups allow; every flow has an author.\n"
	if w.native {
		text += "DHCP is answered by the server itself: there is no DHCP interface, and a node runs Open vSwitch and nothing else.\n"
	}
	return text
}

// checkNode waits until a node shows what the step expects, then shows the
// node's own words and enters each statement. state names the step's state.
func (w *walk) checkNode(ctx context.Context, node, state string) error {
	if w.classic {
		return w.checkRecorded(ctx, node, state)
	}
	return w.checkStandard(ctx, node)
}

func factHolds(facts map[string]string, fact string) error {
	name, want, _ := strings.Cut(fact, " = ")
	have, ok := facts[name]
	switch {
	case !ok:
		return errors.New("there is no such row")
	case have != want:
		return fmt.Errorf("it is %s", have)
	}
	return nil
}

func flowsEqual(want, have []string) error {
	d := difference(want, have)
	if d == nil {
		return nil
	}
	return fmt.Errorf("%d flows, and they differ ('-' is missing, '+' is too much):\n%s", len(have), strings.Join(d, "\n"))
}
