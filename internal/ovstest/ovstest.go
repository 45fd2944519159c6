// SPDX-License-Identifier: Apache-2.0

// Package ovstest starts private Open vSwitch instances for tests: one
// ovsdb-server and one ovs-vswitchd in a directory of their own, stopped by pid
// when the test ends. They share nothing with a system-wide instance.
//
// The default datapath is Open vSwitch's simulated one ("dummy"): no root, no
// kernel module, no network devices; packets are injected with
// netdev-dummy/receive. Bridges with datapath_type=netdev work too and then
// need the right to make tap devices.
//
// Tests skip only when told to: without ovs-vswitchd a test fails unless
// NAGARE_NO_OVS=1 is set, so that a missing package cannot hide a failure.
package ovstest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startTimeout bounds every wait for a daemon; a loaded machine may need seconds.
const startTimeout = 60 * time.Second

const schema = "/usr/share/openvswitch/vswitch.ovsschema"

// Require skips or fails the test if Open vSwitch is not installed.
func Require(t testing.TB) {
	t.Helper()
	path()
	for _, tool := range []string{"ovs-vswitchd", "ovsdb-server", "ovsdb-tool", "ovs-vsctl", "ovs-ofctl", "ovs-appctl"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("NAGARE_NO_OVS") == "1" {
				t.Skipf("%s not installed and NAGARE_NO_OVS=1", tool)
			}
			t.Fatalf("%s not installed: install openvswitch-switch, or set NAGARE_NO_OVS=1 to skip", tool)
		}
	}
}

// path makes sure the daemons are found when sbin is not in PATH.
var path = sync.OnceFunc(func() {
	os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
})

// Switch is one running instance.
type Switch struct {
	Dir string // run, log and database directory

	t        testing.TB
	db, vsw  *daemon
	vswExtra []string
}

// Start starts an instance and stops it when the test ends. Extra arguments go
// to ovs-vswitchd.
func Start(t testing.TB, vswitchdArgs ...string) *Switch {
	t.Helper()
	Require(t)
	// Socket names are limited to 107 bytes, so not t.TempDir.
	dir, err := os.MkdirTemp("", "ovs")
	if err != nil {
		t.Fatal(err)
	}
	s := &Switch{Dir: dir, t: t, vswExtra: vswitchdArgs}
	t.Cleanup(s.stop)
	s.run("ovsdb-tool", "create", filepath.Join(dir, "conf.db"), schema)
	s.db = s.daemon("ovsdb-server", filepath.Join(dir, "conf.db"), "--remote=punix:"+s.DBSocket(),
		"--remote=db:Open_vSwitch,Open_vSwitch,manager_options", "--unixctl="+filepath.Join(dir, "ovsdb.ctl"))
	s.wait("ovsdb-server", func() error { return sockReady(s.DBSocket()) })
	s.Vsctl("--no-wait", "init")
	s.StartVswitchd()
	return s
}

// DBSocket is the unix socket of ovsdb-server.
func (s *Switch) DBSocket() string { return filepath.Join(s.Dir, "db.sock") }

// DB is the same as a connection method: unix:/...
func (s *Switch) DB() string { return "unix:" + s.DBSocket() }

// MgmtSocket is the OpenFlow service socket of a bridge.
func (s *Switch) MgmtSocket(bridge string) string { return filepath.Join(s.Dir, bridge+".mgmt") }

func (s *Switch) ctl() string { return filepath.Join(s.Dir, "vswitchd.ctl") }

// StartVswitchd starts ovs-vswitchd; Start has done so already.
func (s *Switch) StartVswitchd() {
	s.t.Helper()
	args := append([]string{s.DB(), "--enable-dummy", "--disable-system", "--unixctl=" + s.ctl()}, s.vswExtra...)
	s.vsw = s.daemon("ovs-vswitchd", args...)
	s.wait("ovs-vswitchd", func() error { return sockReady(s.ctl()) })
}

// StopVswitchd stops ovs-vswitchd gracefully; flows and ports are gone, the
// database stays.
func (s *Switch) StopVswitchd() {
	s.vsw.stop()
	os.Remove(s.ctl())
}

// VswitchdPID is the process id of ovs-vswitchd.
func (s *Switch) VswitchdPID() int { return s.vsw.cmd.Process.Pid }

// DBPID is the process id of ovsdb-server.
func (s *Switch) DBPID() int { return s.db.cmd.Process.Pid }

// Vsctl runs ovs-vsctl against the instance and returns its output without the
// last newline. A failing command fails the test.
func (s *Switch) Vsctl(args ...string) string {
	s.t.Helper()
	return s.run("ovs-vsctl", append([]string{"--timeout=30", "--db=" + s.DB()}, args...)...)
}

// Ofctl runs ovs-ofctl with OpenFlow 1.3. Bridges are named as usual.
func (s *Switch) Ofctl(args ...string) string {
	s.t.Helper()
	return s.run("ovs-ofctl", append([]string{"-O", "OpenFlow13"}, args...)...)
}

// TryOfctl is Ofctl without failing the test.
func (s *Switch) TryOfctl(args ...string) (string, error) {
	return s.try("ovs-ofctl", append([]string{"-O", "OpenFlow13"}, args...)...)
}

// Appctl runs ovs-appctl against ovs-vswitchd.
func (s *Switch) Appctl(args ...string) string {
	s.t.Helper()
	return s.run("ovs-appctl", append([]string{"-t", s.ctl()}, args...)...)
}

// AddBridge makes a bridge with the simulated datapath that speaks OpenFlow 1.3
// to 1.5 and fails secure. More column settings, such as datapath_type=netdev,
// may follow.
func (s *Switch) AddBridge(name string, set ...string) {
	s.t.Helper()
	args := []string{"add-br", name, "--", "set", "bridge", name, "datapath_type=dummy",
		"protocols=[OpenFlow10,OpenFlow13,OpenFlow14,OpenFlow15]", "fail_mode=secure"}
	s.Vsctl(append(args, set...)...)
}

// AddPort adds a simulated port with a given OpenFlow number.
func (s *Switch) AddPort(bridge, name string, ofport int) {
	s.t.Helper()
	s.Vsctl("add-port", bridge, name, "--", "set", "interface", name, "type=dummy", fmt.Sprintf("ofport_request=%d", ofport))
}

// Receive lets a packet come in by a simulated port; packet is hex or a flow
// description as netdev-dummy/receive takes it.
func (s *Switch) Receive(port, packet string) {
	s.t.Helper()
	s.Appctl("netdev-dummy/receive", port, packet)
}

// Controller makes the bridge connect to a fresh listener on loopback.
func (s *Switch) Controller(bridge string) net.Listener {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { l.Close() })
	s.SetController(bridge, "tcp:"+l.Addr().String())
	return l
}

// SetController points the bridge at a controller, which it retries every second.
func (s *Switch) SetController(bridge, target string) {
	s.t.Helper()
	s.Vsctl("set-controller", bridge, target, "--", "set", "controller", bridge, "max_backoff=1000", "connection_mode=out-of-band")
}

// Accept waits for the bridge to connect to l.
func (s *Switch) Accept(l net.Listener) net.Conn {
	s.t.Helper()
	if tl, ok := l.(*net.TCPListener); ok {
		tl.SetDeadline(time.Now().Add(startTimeout))
	}
	c, err := l.Accept()
	if err != nil {
		s.t.Fatalf("switch did not connect: %v", err)
	}
	return c
}

// Dial opens an OpenFlow session on the bridge's service socket. Such a session
// gets no asynchronous messages by default.
func (s *Switch) Dial(bridge string) net.Conn {
	s.t.Helper()
	c, err := net.DialTimeout("unix", s.MgmtSocket(bridge), startTimeout)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *Switch) run(name string, args ...string) string {
	s.t.Helper()
	out, err := s.try(name, args...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func (s *Switch) try(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = s.env()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSuffix(stdout.String(), "\n"), nil
}

func (s *Switch) env() []string {
	return append(os.Environ(), "OVS_RUNDIR="+s.Dir, "OVS_LOGDIR="+s.Dir, "OVS_DBDIR="+s.Dir, "OVS_SYSCONFDIR="+s.Dir)
}

type daemon struct {
	cmd  *exec.Cmd
	done chan struct{}
}

func (s *Switch) daemon(name string, args ...string) *daemon {
	s.t.Helper()
	logfile := filepath.Join(s.Dir, name+".log")
	cmd := exec.Command(name, append(args, "-vconsole:off", "-vfile:info", "--log-file="+logfile)...)
	cmd.Env, cmd.Dir = s.env(), s.Dir
	// A test that dies without cleaning up must not leave daemons behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	d := &daemon{cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(d.done)
		cmd.Wait()
	}()
	return d
}

// stop ends the process: politely, then not.
func (d *daemon) stop() {
	if d == nil {
		return
	}
	d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.done:
	case <-time.After(10 * time.Second):
		d.cmd.Process.Kill()
		<-d.done
	}
}

func (s *Switch) stop() {
	s.vsw.stop()
	s.db.stop()
	if s.t.Failed() {
		for _, name := range []string{"ovs-vswitchd.log", "ovsdb-server.log"} {
			if b, err := os.ReadFile(filepath.Join(s.Dir, name)); err == nil {
				s.t.Logf("%s, last lines:\n%s", name, tail(b, 30))
			}
		}
	}
	os.RemoveAll(s.Dir)
}

func tail(b []byte, n int) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// wait polls until ready, since daemons offer no other signal than their socket.
func (s *Switch) wait(what string, ready func() error) {
	s.t.Helper()
	if err := Poll(startTimeout, ready); err != nil {
		s.t.Fatalf("%s not ready: %v", what, err)
	}
}

// Poll calls check every 10 ms until it returns nil, or the time is over and
// its last error is returned.
func Poll(limit time.Duration, check func() error) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(limit)
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-deadline:
			return err
		}
	}
}

func sockReady(path string) error {
	c, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	return c.Close()
}
