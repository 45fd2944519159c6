// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

const (
	stateVersion = 1
	lockWithin   = time.Minute
)

// State is what a lab remembers. Everything is entered before it is made.
type State struct {
	Version int    `json:"version"`
	Name    string `json:"name"`
	Config  Config `json:"config"`

	Namespaces []string           `json:"namespaces"`
	Processes  map[string]Process `json:"processes"` // by role: server, dhcp-NODE, forwarder
	Instances  []Instance         `json:"instances"`
}

// Config is how the lab was brought up.
type Config struct {
	Nodes   []Node `json:"nodes"`
	Profile string `json:"profile"`
	// DHCP tells who answers: "native", the server, or "port", a process on the network node. A lab of a version that knew only
	// that process has none.
	DHCP string `json:"dhcp,omitempty"`
	// Northbound is who owns the networks: "neutron" or "odl". A lab of a version that knew only the first has none.
	Northbound string `json:"northbound,omitempty"`
	Provider   bool   `json:"provider,omitempty"` // a physical network of its own between all nodes
	HostIP     string `json:"host_ip"`            // loopback address of the forwarder
	// External is the first node's address on br-ex, with prefix length: that of the router behind the external network.
	External string `json:"external,omitempty"`
	IDs      string `json:"ids,omitempty"`     // "" generated, "recorded"
	Bare     bool   `json:"bare,omitempty"`    // no server: br-int is somebody else's
	Manager  string `json:"manager,omitempty"` // of a bare lab; empty: none
}

// dhcpNodes are the nodes that need a DHCP process: those on which the server may put DHCP ports, which are those that know a
// physical network.
func (c *Config) dhcpNodes() []string {
	switch {
	case c.Bare || c.DHCP == dhcpNative:
		return nil
	case !c.Provider:
		return []string{c.Nodes[0].Name}
	}
	var names []string
	for _, n := range c.Nodes {
		names = append(names, n.Name)
	}
	return names
}

// Node is a machine of the lab.
type Node struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}

// Instance is a guest of the lab.
type Instance struct {
	Name     string `json:"name"`
	Node     string `json:"node"`
	Network  string `json:"network"`
	DeviceID string `json:"device_id"`
	PortID   string `json:"port_id"`
	MAC      string `json:"mac"`
	MTU      int    `json:"mtu"`
	SSH      bool   `json:"ssh,omitempty"`     // it has an SSH server
	VM       bool   `json:"vm,omitempty"`      // it is a virtual machine
	Libvirt  bool   `json:"libvirt,omitempty"` // and one of libvirt's
	// KeepPort says that its port was there before it and stays after it.
	KeepPort bool `json:"keep_port,omitempty"`
}

// Tap is the name of the instance's interface on its node.
func (i Instance) Tap() string { return tapName(i.PortID) }

func tapName(portID string) string { return "tap" + portID[:min(11, len(portID))] }

func (s *State) node(name string) (Node, bool) {
	i := slices.IndexFunc(s.Config.Nodes, func(n Node) bool { return n.Name == name })
	if i < 0 {
		return Node{}, false
	}
	return s.Config.Nodes[i], true
}

func (s *State) instance(name string) (Instance, bool) {
	i := slices.IndexFunc(s.Instances, func(n Instance) bool { return n.Name == name })
	if i < 0 {
		return Instance{}, false
	}
	return s.Instances[i], true
}

func (s *State) putInstance(inst Instance) {
	s.dropInstance(inst.Name)
	s.Instances = append(s.Instances, inst)
}

func (s *State) dropInstance(name string) {
	s.Instances = slices.DeleteFunc(s.Instances, func(n Instance) bool { return n.Name == name })
}

func (l *Lab) statePath() string { return l.path("state.json") }

// load reads the state; ErrNotUp when there is none.
func (l *Lab) load() (*State, error) {
	b, err := os.ReadFile(l.statePath())
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("lab %s: %w: bring it up with 'nagare lab up'", l.Name, ErrNotUp)
	}
	if errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("lab %s: %w: its state is root's, run the command with sudo", l.Name, err)
	}
	if err != nil {
		return nil, err
	}
	s := &State{}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("lab %s: state %s: %w", l.Name, l.statePath(), err)
	}
	if s.Version != stateVersion {
		return nil, fmt.Errorf("lab %s: state %s has version %d, this program knows %d: take the lab down with the program that made it", l.Name, l.statePath(), s.Version, stateVersion)
	}
	if s.Processes == nil {
		s.Processes = map[string]Process{}
	}
	if s.Config.DHCP == "" {
		s.Config.DHCP = dhcpPort
	}
	if s.Config.Northbound == "" {
		s.Config.Northbound = northboundNeutron
	}
	return s, nil
}

// save replaces the state file as a whole: written aside, flushed, renamed.
func (l *Lab) save(s *State) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(l.statePath(), append(b, '\n'), 0o600)
}

// writeFile replaces a file so that a reader, or a start after a crash, sees the
// old content or the new, never a part.
func writeFile(path string, content []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// claim enters a namespace into the state before it is made. A namespace that
// exists but is not entered belongs to somebody else.
func (l *Lab) claim(s *State, ns string) error {
	if slices.Contains(s.Namespaces, ns) {
		return nil
	}
	if haveNamespace(ns) {
		return fmt.Errorf("namespace %s: exists and is not this lab's: choose another --name, or delete it with 'ip netns del %s'", ns, ns)
	}
	s.Namespaces = append(s.Namespaces, ns)
	return l.save(s)
}

func (l *Lab) disclaim(s *State, ns string) error {
	s.Namespaces = slices.DeleteFunc(s.Namespaces, func(n string) bool { return n == ns })
	return l.save(s)
}

// lock keeps other commands from changing the lab at the same time. The lock
// file stands beside the lab's directory, so that Down can remove all of that.
//
// It waits a while for another command to end.
func (l *Lab) lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(l.Dir), 0o755); err != nil {
		return nil, err
	}
	path := l.Dir + ".lock"
	err = until(ctx, lockWithin, "lab "+l.Name+" is free to be changed", func(context.Context) error {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return finalError{err}
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			f.Close()
			return errors.New("another command is changing it")
		}
		// Down removes the file: a lock on a removed file locks nothing.
		held, err1 := f.Stat()
		named, err2 := os.Stat(path)
		if err := errors.Join(err1, err2); err != nil || !os.SameFile(held, named) {
			f.Close()
			return errors.New("it was taken down meanwhile")
		}
		unlock = func() { f.Close() }
		return nil
	})
	return unlock, err
}
