// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"nagare/internal/lab"
)

// walked runs the scenario and fails the test for each statement that did not hold.
func walked(t *testing.T, l *lab.Lab, o lab.WalkOptions) []lab.Statement {
	t.Helper()
	statements, err := l.Walkthrough(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range statements {
		if !s.Held {
			t.Errorf("step %d: %s: %s", s.Step, s.Text, s.Detail)
		}
	}
	return statements
}

func needOpenStackClient(t *testing.T) {
	if _, err := exec.LookPath("openstack"); err != nil {
		if os.Getenv("NAGARE_NO_OPENSTACK") == "1" {
			t.Skip("no openstack client here, and NAGARE_NO_OPENSTACK=1")
		}
		t.Fatal("the openstack client is not installed; run make setup, or set NAGARE_NO_OPENSTACK=1")
	}
}

func TestWalkthroughInParts(t *testing.T) {
	t.Parallel()
	needOpenStackClient(t)
	l := newLab(t)
	var narration bytes.Buffer
	l.Out = &narration
	defer func() { t.Log(narration.String()) }()
	up := lab.UpOptions{Profile: "classic", IDs: "recorded", HostIP: "127.0.0.77"}
	first := walked(t, l, lab.WalkOptions{Up: up, Until: 0})
	if len(first) < 15 {
		t.Errorf("step 0 proved only %d statements", len(first))
	}
	walked(t, l, lab.WalkOptions{Until: 1})
	if !strings.Contains(narration.String(), "$ openstack network create net01") {
		t.Error("the narration does not show the creation of the network")
	}
	all := walked(t, l, lab.WalkOptions{Until: 2})
	for _, s := range all {
		if s.Step == 0 {
			t.Errorf("step 0 was run again: %s", s.Text)
		}
	}
	narration.Reset()
	again := walked(t, l, lab.WalkOptions{Until: 2})
	if len(again) == 0 || strings.Contains(narration.String(), "network create") {
		t.Errorf("a repeated run proved %d statements, or created again:\n%s", len(again), narration.String())
	}
	if _, err := l.Walkthrough(t.Context(), lab.WalkOptions{Until: 1}); err == nil {
		t.Error("step 1 ran in a lab that is at step 2")
	}
	if err := l.Up(t.Context(), lab.UpOptions{IDs: "generated"}); err != nil {
		t.Log("other ids are refused:", err)
	} else {
		t.Error("a lab with recorded ids came up with generated ones")
	}
	if _, err := l.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, l)
}

func TestWalkthroughOnOneNode(t *testing.T) {
	t.Parallel()
	needOpenStackClient(t)
	l := newLab(t)
	walked(t, l, lab.WalkOptions{Up: lab.UpOptions{Nodes: []string{"controller"}, HostIP: "127.0.0.78"}, Until: 3})
}

// TestLabMendsItself kills what a lab runs, one after the other, and holds that Up
// brings it back with nothing lost.
func TestLabMendsItself(t *testing.T) {
	t.Parallel()
	needOpenStackClient(t)
	l := newLab(t)
	walked(t, l, lab.WalkOptions{Up: lab.UpOptions{Nodes: []string{"controller"}, DHCP: "port", HostIP: "127.0.0.82"}, Until: 2})
	for _, victim := range []string{"server", "dhcp-controller", "forwarder", "ovs-vswitchd", "ovsdb-server"} {
		p, err := l.ProcessForTest(victim)
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
			t.Fatalf("%s: %v", victim, err)
		}
		if err := lab.Until(t.Context(), 10*time.Second, victim+" is dead", func(context.Context) error {
			if p.Alive() {
				return errors.New("it lives")
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if s, err := l.Status(t.Context()); err != nil || s.Healthy {
			t.Errorf("status after %s was killed: %+v, %v", victim, s, err)
		}
		if err := l.Up(t.Context(), lab.UpOptions{}); err != nil {
			t.Fatalf("up after %s was killed: %v", victim, err)
		}
		if s, err := l.Status(t.Context()); err != nil || !s.Healthy {
			t.Errorf("status after mending %s: %+v, %v", victim, s, err)
		}
	}
	walked(t, l, lab.WalkOptions{Until: 2})
}

// TestWalkthroughTellsWhatIsWrong leaves one flow out: the run has to go on, say
// which flow is missing, and not hold.
func TestWalkthroughTellsWhatIsWrong(t *testing.T) {
	const fault = "table=90,priority=0 actions=goto_table:100"
	t.Setenv("FAKE_FAULT", fault)
	l := newLab(t)
	statements, err := l.Walkthrough(t.Context(), lab.WalkOptions{Up: lab.UpOptions{Nodes: []string{"controller"}, Profile: "classic", HostIP: "127.0.0.79"}, Until: 0})
	if err != nil {
		t.Fatal(err)
	}
	var failed []lab.Statement
	for _, s := range statements {
		if !s.Held {
			failed = append(failed, s)
		}
	}
	if len(failed) != 1 || !strings.Contains(failed[0].Detail, "- "+fault) {
		t.Errorf("failed: %+v, want the one about the flows, naming %s", failed, fault)
	}
}

func TestTwoLabsSideBySide(t *testing.T) {
	t.Parallel()
	a := newLab(t)
	if err := a.Up(t.Context(), lab.UpOptions{Nodes: []string{"controller"}, HostIP: "127.0.0.80"}); err != nil {
		t.Fatal(err)
	}
	b := newLab(t)
	b.Name += "b"
	err := b.Up(t.Context(), lab.UpOptions{Nodes: []string{"controller"}, HostIP: "127.0.0.80"})
	if err == nil || !strings.Contains(err.Error(), "--host-ip") {
		t.Errorf("a second lab on the same address: %v", err)
	}
	if _, err := b.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.Up(t.Context(), lab.UpOptions{Nodes: []string{"controller"}, HostIP: "127.0.0.81"}); err != nil {
		t.Fatal(err)
	}
	for _, l := range []*lab.Lab{a, b} {
		if s, err := l.Status(t.Context()); err != nil || !s.Healthy {
			t.Errorf("lab %s: %+v, %v", l.Name, s, err)
		}
	}
	if _, err := b.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s, err := a.Status(t.Context()); err != nil || !s.Healthy {
		t.Errorf("the first lab after the second went down: %+v, %v", s, err)
	}
	if _, err := b.OpenRC("demo"); !errors.Is(err, lab.ErrNotUp) {
		t.Errorf("openrc of a lab that is down: %v", err)
	}
}
