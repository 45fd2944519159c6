// SPDX-License-Identifier: Apache-2.0

// Package lab builds a small data centre on one Linux machine.
//
// A node is a network namespace that runs its own ovsdb-server and ovs-vswitchd
// with the userspace datapath, so no kernel module is needed. Nodes are joined by
// an underlay (a namespace with a Linux bridge). An instance is a namespace
// plugged into a node's br-int as a hypervisor plugs a guest, with a real DHCP
// client. The server runs in the controller node's namespace; a forwarder on a
// loopback address of the host makes the host's clients reach it.
//
//	controller 192.168.0.10               compute 192.168.0.11
//	+--------------------------+          +--------------------------+
//	| nagare serve             |          |                          |
//	| br-int   br-ex           |          | br-int                   |
//	| br-phy (underlay, IP)    |          | br-phy (underlay, IP)    |
//	+-------------|------------+          +-------------|------------+
//	              +--------------- underlay ------------+
//
// br-phy exists because the userspace datapath can send tunnels only through a
// port of its own bridges; it is plain infrastructure that the server must leave
// alone. br-int is made by the server, not here.
//
// Invariants: what a lab makes is written to its state file before it is made, so
// that Down finds it after a crash at any point; several labs of different names
// run side by side; commands that change a lab hold its lock. internal/cli calls
// this package.
package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Defaults of the command line.
const (
	DefaultName    = "nagare"
	DefaultDir     = "/var/lib/nagare-lab"
	DefaultProfile = profileStandard
	DefaultHostIP  = "127.0.0.1"

	firstNode  = "controller" // runs the server; its name enters ids that clients see
	serverIP   = "192.168.0.10"
	prefixLen  = 24
	underlayMT = 1600 // octets: a tenant's 1500 and a tunnel header fit
)

// Ports of the server that the forwarder offers on the host.
const (
	portIdentity = 5000
	portAdmin    = 8181
	portNeutron  = 9696
)

// ErrNotUp is returned for a lab that has no state.
var ErrNotUp = errors.New("lab is not up")

// Lab is one laboratory, up or not.
type Lab struct {
	Name string
	Dir  string    // state directory of this lab
	Out  io.Writer // progress, one line per fact; nil: none

	// Binary is the program that runs as server, DHCP process and forwarder;
	// empty: the one that is running.
	Binary string
}

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9-]{0,19}$`)

// New names a lab. base is the directory that holds the labs' states.
func New(base, name string) (*Lab, error) {
	if !nameForm.MatchString(name) {
		return nil, fmt.Errorf("lab name %q: use 1 to 20 lower-case letters, digits and dashes, a letter first", name)
	}
	base, err := filepath.Abs(base)
	if err != nil {
		return nil, err
	}
	return &Lab{Name: name, Dir: filepath.Join(base, name)}, nil
}

func (l *Lab) say(format string, args ...any) {
	if l.Out != nil {
		fmt.Fprintf(l.Out, format+"\n", args...)
	}
}

// namespace is the name of a node's, an instance's or the underlay's namespace.
func (l *Lab) namespace(of string) string { return l.Name + "-" + of }

func (l *Lab) path(elem ...string) string {
	return filepath.Join(append([]string{l.Dir}, elem...)...)
}

func (l *Lab) binary() (string, error) {
	if l.Binary != "" {
		return l.Binary, nil
	}
	return os.Executable()
}

// needed lists the programs that a lab runs, with the package that has each.
var needed = [][2]string{
	{"ip", "iproute2"}, {"ethtool", "ethtool"}, {"ovsdb-server", "openvswitch-switch"}, {"ovs-vswitchd", "openvswitch-switch"},
	{"ovsdb-tool", "openvswitch-common"}, {"ovs-vsctl", "openvswitch-switch"}, {"ovs-ofctl", "openvswitch-common"},
	{"ovs-appctl", "openvswitch-common"}, {"busybox", "busybox"}, {"ping", "iputils-ping"},
}

// Require reports what this machine lacks for a lab.
func Require() error {
	if os.Geteuid() != 0 {
		return errors.New("network namespaces need root: run the command with sudo")
	}
	var missing []string
	for _, n := range needed {
		if _, err := exec.LookPath(n[0]); err != nil {
			missing = append(missing, fmt.Sprintf("%s (package %s)", n[0], n[1]))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("programs are missing: %s: install their packages", strings.Join(missing, ", "))
	}
	return nil
}

// until polls ready every 50 ms until it holds, ctx ends or the time is over;
// what is named in the error. ready's error tells what is still missing.
func until(ctx context.Context, within time.Duration, what string, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil && last != nil {
			err = last // this one tells of the time that is over, the one before of the reason
		}
		last = err
		var final finalError
		if errors.As(err, &final) {
			return fmt.Errorf("%s: %w", what, final.err)
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: not within %v: %w", what, within, err)
		}
	}
}

// finalError ends until early: waiting longer will not help.
type finalError struct{ err error }

func (e finalError) Error() string { return e.err.Error() }
