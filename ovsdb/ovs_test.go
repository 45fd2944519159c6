// SPDX-License-Identifier: Apache-2.0

package ovsdb_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const vswitchSchema = "/usr/share/openvswitch/vswitch.ovsschema"

// realServer is a private ovsdb-server without ovs-vswitchd.
type realServer struct {
	t      testing.TB
	dir    string
	socket string // unix socket that it listens on
	stop   func() // ends the process
}

// startReal runs ovsdb-server on a fresh database for the time of the test. Without
// Open vSwitch installed the test fails, unless NAGARE_NO_OVS=1 says so is fine.
func startReal(t testing.TB, args ...string) *realServer {
	t.Helper()
	if _, err := exec.LookPath("ovsdb-server"); err != nil {
		if os.Getenv("NAGARE_NO_OVS") == "1" {
			t.Skip("no Open vSwitch here, and NAGARE_NO_OVS=1")
		}
		t.Fatalf("%v; install openvswitch-switch or set NAGARE_NO_OVS=1", err)
	}
	// Socket paths have to be short.
	dir, err := os.MkdirTemp("", "ovsdb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := &realServer{t: t, dir: dir, socket: filepath.Join(dir, "db.sock")}
	r.run("ovsdb-tool", "create", filepath.Join(dir, "conf.db"), vswitchSchema)
	r.start(args...)
	r.vsctl("init")
	return r
}

func (r *realServer) start(args ...string) {
	r.t.Helper()
	cmd := exec.Command("ovsdb-server", append([]string{filepath.Join(r.dir, "conf.db"), "--remote=punix:" + r.socket,
		"--remote=db:Open_vSwitch,Open_vSwitch,manager_options", "--unixctl=" + filepath.Join(r.dir, "ctl"),
		"--log-file=" + filepath.Join(r.dir, "log"), "-vconsole:off"}, args...)...)
	cmd.Env = r.env()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	r.stop = func() {
		_ = cmd.Process.Kill()
		<-exited
		os.Remove(r.socket)
	}
	r.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-exited
		if r.t.Failed() {
			log, _ := os.ReadFile(filepath.Join(r.dir, "log"))
			r.t.Logf("ovsdb-server: %s\n%s", out.String(), log)
		}
	})
	deadline := time.NewTimer(2 * time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if nc, err := net.Dial("unix", r.socket); err == nil {
			nc.Close()
			return
		}
		select {
		case <-exited:
			r.t.Fatalf("ovsdb-server ended: %s", out.String())
		case <-deadline.C:
			r.t.Fatalf("ovsdb-server does not listen: %s", out.String())
		case <-tick.C:
		}
	}
}

func (r *realServer) env() []string {
	return append(os.Environ(), "OVS_RUNDIR="+r.dir, "OVS_LOGDIR="+r.dir, "OVS_DBDIR="+r.dir)
}

func (r *realServer) run(name string, args ...string) string {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = r.env()
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// vsctl runs ovs-vsctl against the server without waiting for ovs-vswitchd.
func (r *realServer) vsctl(args ...string) string {
	r.t.Helper()
	return r.run("ovs-vsctl", append([]string{"--no-wait", "--db=unix:" + r.socket}, args...)...)
}
