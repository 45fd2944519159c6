// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// UpOptions says how a lab is to be. What is empty stays as it is, or is the
// default in a new lab.
type UpOptions struct {
	Nodes    []string // names; the first is "controller"
	Profile  string   // "standard" or "classic"
	DHCP     string   // "native" or "port"; the default follows from the profile
	Provider bool     // a physical network of its own between all nodes
	External string   // the first node's address on br-ex, with prefix length
	HostIP   string
	IDs      string // "generated" or "recorded"
	// Northbound is who owns the networks: "neutron", the server's own API, or "odl", another Neutron that comes by networking-odl.
	Northbound string
	Bare       bool   // nodes only, no server
	Manager    string // of a bare lab: what set-manager gets, if anything
}

const (
	idsGenerated = "generated"
	idsRecorded  = "recorded"

	profileStandard = "standard"
	profileClassic  = "classic"

	dhcpNative = "native" // the server answers
	dhcpPort   = "port"   // a process on the network node answers, through a port of br-int

	northboundNeutron = "neutron"
	northboundODL     = "odl"
)

// Up brings the lab up, or completes what is there. It changes nothing that is
// already as it should be.
func (l *Lab) Up(ctx context.Context, o UpOptions) error {
	if err := Require(); err != nil {
		return err
	}
	want, err := o.config()
	if err != nil {
		return err
	}
	unlock, err := l.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	s, err := l.load()
	switch {
	case errors.Is(err, ErrNotUp):
		if err := os.MkdirAll(l.path("log"), 0o755); err != nil {
			return err
		}
		s = &State{Version: stateVersion, Name: l.Name, Config: want, Processes: map[string]Process{}}
		if err := l.save(s); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		if err := o.agrees(l.Name, s.Config, want); err != nil {
			return err
		}
		if want.External != "" {
			if err := l.setExternal(ctx, s, want.External); err != nil {
				return err
			}
		}
	}
	if err := l.startUnderlay(ctx, s); err != nil {
		return err
	}
	for i, n := range s.Config.Nodes {
		if err := l.startNode(ctx, s, i); err != nil {
			return fmt.Errorf("node %s: %w", n.Name, err)
		}
		if s.Config.Northbound == northboundODL {
			if err := l.publishHostConfig(ctx, s, n); err != nil {
				return fmt.Errorf("node %s: host configuration: %w", n.Name, err)
			}
		}
		l.say("node %-12s %s  Open vSwitch runs in namespace %s", n.Name, n.Address, l.namespace(n.Name))
	}
	if err := l.pinNeighbours(ctx, s); err != nil {
		return err
	}
	if s.Config.Bare {
		for _, n := range s.Config.Nodes {
			if s.Config.Manager != "" {
				if err := l.setManager(ctx, n, s.Config.Manager); err != nil {
					return err
				}
			}
		}
	} else if err := l.startControl(ctx, s); err != nil {
		return err
	}
	for _, inst := range s.Instances {
		if err := l.plug(ctx, s, inst); err != nil {
			return fmt.Errorf("instance %s: %w", inst.Name, err)
		}
		if !s.Config.Bare {
			if _, _, err := l.lease(ctx, inst); err != nil {
				return fmt.Errorf("instance %s: %w", inst.Name, err)
			}
		}
		if inst.SSH {
			if err := l.startSSH(ctx, inst); err != nil {
				return fmt.Errorf("instance %s: %w", inst.Name, err)
			}
		}
		l.say("instance %-8s plugged into %s", inst.Name, inst.Node)
	}
	return nil
}

// startControl starts the server and what belongs to it, and hands the nodes to
// it.
func (l *Lab) startControl(ctx context.Context, s *State) error {
	began := time.Now()
	if err := l.startServer(ctx, s); err != nil {
		return err
	}
	l.say("server ready after %v, log %s", time.Since(began).Round(10*time.Millisecond), l.path("log", "server.log"))
	if err := l.startForwarder(ctx, s); err != nil {
		return err
	}
	l.say("forwarder on %s: Identity %d, Neutron %d, admin and web %d", s.Config.HostIP, portIdentity, portNeutron, portAdmin)
	if s.Config.Northbound == northboundODL {
		l.say("northbound %s; its name and password: nagare lab openrc odl", l.odlURL(s))
	}
	if err := l.startDHCP(s); err != nil {
		return err
	}
	for _, n := range s.Config.Nodes {
		if err := l.setManager(ctx, n, fmt.Sprintf("tcp:%s:6640", serverIP)); err != nil {
			return err
		}
	}
	for _, n := range s.Config.Nodes {
		err := until(ctx, controlledWithin, "node "+n.Name+" is controlled", func(ctx context.Context) error {
			if !s.Processes[roleServer].Alive() {
				return finalError{fmt.Errorf("the server ended:\n%s", l.serverLog())}
			}
			return l.connected(ctx, n)
		})
		if err != nil {
			return err
		}
		l.say("node %-12s manager and controller connected", n.Name)
	}
	return nil
}

// Validate reports what is wrong with the options themselves.
func (o UpOptions) Validate() error {
	_, err := o.config()
	return err
}

// config checks the options and fills in the defaults.
func (o UpOptions) config() (Config, error) {
	c := Config{Profile: o.Profile, DHCP: o.DHCP, Provider: o.Provider, HostIP: o.HostIP, External: o.External, Bare: o.Bare, Manager: o.Manager,
		Northbound: o.Northbound}
	if c.Profile == "" {
		c.Profile = DefaultProfile
	}
	if c.Profile != profileClassic && c.Profile != profileStandard {
		return c, fmt.Errorf("profile %q: use standard or classic", c.Profile)
	}
	switch {
	case c.DHCP == "" && c.Profile == profileStandard:
		c.DHCP = dhcpNative
	case c.DHCP == "":
		c.DHCP = dhcpPort
	case c.DHCP != dhcpNative && c.DHCP != dhcpPort:
		return c, fmt.Errorf("dhcp %q: use native or port", c.DHCP)
	case c.DHCP == dhcpNative && c.Profile == profileClassic:
		return c, errors.New("dhcp native: the profile classic has none: use --dhcp port, or --profile standard")
	}
	switch {
	case c.Northbound == "":
		c.Northbound = northboundNeutron
	case c.Northbound != northboundNeutron && c.Northbound != northboundODL:
		return c, fmt.Errorf("northbound %q: use neutron or odl", c.Northbound)
	case c.Northbound == northboundODL && o.Bare:
		return c, errors.New("northbound odl: a lab without server has none")
	case c.Northbound == northboundODL && o.IDs == idsRecorded:
		return c, errors.New("ids recorded: with northbound odl the other Neutron chooses ids: leave --ids out")
	}
	if c.HostIP == "" {
		c.HostIP = DefaultHostIP
	}
	if a, err := netip.ParseAddr(c.HostIP); err != nil || !a.Is4() || !a.IsLoopback() {
		return c, fmt.Errorf("host address %q: use a loopback address, 127.x.y.z", c.HostIP)
	}
	if c.External != "" {
		if p, err := netip.ParsePrefix(c.External); err != nil || !p.Addr().Is4() || p.Addr() == p.Masked().Addr() {
			return c, fmt.Errorf("external address %q: use an IPv4 address with prefix length, such as %s", c.External, walkUpstream)
		}
	}
	switch o.IDs {
	case "", idsGenerated:
	case idsRecorded:
		c.IDs = idsRecorded
	default:
		return c, fmt.Errorf("ids %q: use generated or recorded", o.IDs)
	}
	if c.Manager != "" && !c.Bare {
		return c, errors.New("a manager of its own is for a lab without server")
	}
	names := o.Nodes
	if len(names) == 0 {
		names = []string{firstNode, "compute"}
	}
	if names[0] != firstNode {
		return c, fmt.Errorf("nodes: the first is %q, it must be %q: it runs the server", names[0], firstNode)
	}
	if len(names) > 200 {
		return c, fmt.Errorf("nodes: %d are more than 200", len(names))
	}
	for i, n := range names {
		if !nameForm.MatchString(n) || n == "underlay" || slices.Contains(names[:i], n) {
			return c, fmt.Errorf("node name %q: use lower-case letters, digits and dashes, each name once, and not \"underlay\"", n)
		}
		c.Nodes = append(c.Nodes, Node{Name: n, Address: fmt.Sprintf("192.168.0.%d", 10+i)})
	}
	return c, nil
}

// agrees reports where options that were given differ from a lab that exists.
func (o UpOptions) agrees(name string, have, want Config) error {
	var differ string
	switch {
	case len(o.Nodes) > 0 && !slices.Equal(have.Nodes, want.Nodes):
		differ = "nodes"
	case o.Profile != "" && have.Profile != want.Profile:
		differ = "profile"
	case o.DHCP != "" && have.DHCP != want.DHCP:
		differ = "DHCP"
	case o.Provider && !have.Provider:
		differ = "physical networks"
	case o.HostIP != "" && have.HostIP != want.HostIP:
		differ = "host address"
	case o.Northbound != "" && have.Northbound != want.Northbound:
		differ = "northbound"
	case o.IDs != "" && have.IDs != want.IDs:
		differ = "ids"
	case o.Bare && !have.Bare, o.Manager != "" && have.Manager != want.Manager:
		differ = "server"
	default:
		return nil
	}
	return fmt.Errorf("lab %s: is up with other %s than asked for: take it down first with 'nagare lab down'", name, differ)
}

// Down removes the lab, whole or half made, and everything in it. A lab that is
// not there is no error; was tells whether there was one.
func (l *Lab) Down(ctx context.Context) (was bool, err error) {
	if _, err := os.Stat(l.Dir); errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err := Require(); err != nil {
		return false, err
	}
	unlock, err := l.lock(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	s, err := l.load()
	if err != nil && !errors.Is(err, ErrNotUp) {
		return false, err
	}
	if s != nil {
		if err := l.dismantle(ctx, s); err != nil {
			return false, err
		}
	}
	if err := errors.Join(os.RemoveAll(l.Dir), os.Remove(l.Dir+".lock")); err != nil {
		return false, err
	}
	os.Remove(filepath.Dir(l.Dir)) // when it was the last lab; otherwise it is not empty
	return true, nil
}

// dismantle ends the processes and deletes the namespaces, the instances' first,
// the controller node's last.
func (l *Lab) dismantle(ctx context.Context, s *State) error {
	if p, ok := l.forwarder(); ok {
		s.Processes[roleForwarder] = p
	}
	var errs []error
	for role, p := range s.Processes {
		if role == roleServer {
			continue // it ends with its namespace, after the switches
		}
		if err := p.stop(ctx, stopGrace); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", role, err))
		}
	}
	// Stop the switches side by side; each may take a moment to release its
	// interfaces.
	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, ns := range slices.Backward(s.Namespaces) {
		wg.Go(func() {
			if err := dropNamespace(ctx, ns); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
