// SPDX-License-Identifier: Apache-2.0

// Package nodedhcp is the DHCP process of a network node ("nagare node dhcp").
//
// The server makes a DHCP port as an internal interface of br-int (a tap) and
// tells over its admin API what each tap has to answer. This process opens a
// raw socket on every tap that is there and answers ARP, ICMP echo and DHCPv4
// through internal/responder. Its invariants:
//
//   - no address is ever assigned to a tap, and the kernel is told to answer
//     nothing there, so networks with equal addresses never meet;
//   - a tap that vanishes and comes back (a restart of ovs-vswitchd) is served
//     again at once, with the configuration last heard;
//   - while the server is away the last configuration stays in force.
//
// internal/cli calls Run; the process must run in the network namespace that
// holds br-int.
package nodedhcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/vishvananda/netlink"

	"nagare/internal/responder"
)

// resync is how often taps are compared with the links that exist, in case a
// link event was lost (the kernel drops events when a listener is slow).
const resync = 5 * time.Second

// Options tells whom to serve and whom to ask.
type Options struct {
	Server string // admin API, "http://192.168.0.10:8181"
	Node   string // this node's name
	Auth   Auth
	Log    *slog.Logger
}

// Run serves the node's taps until ctx ends, and then returns nil. It returns an
// error only when it cannot start.
func Run(ctx context.Context, o Options) error {
	if o.Node == "" {
		return errors.New("node name is empty: name the node with --node")
	}
	poll, err := newPoller(o)
	if err != nil {
		return err
	}
	m := &manager{log: o.Log, wanted: map[string]*responder.Network{}, taps: map[string]*tap{}, exited: make(chan *tap)}
	ctx, cancel := context.WithCancel(ctx)
	links, err := watchLinks(ctx)
	if err != nil {
		cancel()
		return fmt.Errorf("link events: %w", err)
	}
	configs := make(chan map[string]*responder.Network)
	polled := make(chan struct{})
	go func() {
		defer close(polled)
		poll.run(ctx, configs)
	}()
	defer func() {
		cancel()
		m.closeAll()
		<-polled
		for links != nil {
			if _, ok := <-links; !ok {
				links = nil
			}
		}
	}()

	tick := time.NewTicker(resync)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case c := <-configs:
			m.apply(c)
		case name, ok := <-links:
			if !ok {
				links = nil // the ticker carries on until a new subscription stands
				continue
			}
			m.ensure(name)
		case t := <-m.exited:
			m.forget(t)
		case <-tick.C:
			if links == nil {
				if links, err = watchLinks(ctx); err != nil {
					o.Log.Warn("link events are not available", "error", err)
				}
			}
			m.ensureAll()
		}
	}
}

// manager keeps one tap for every wanted interface that exists. Only Run's
// goroutine touches it.
type manager struct {
	log    *slog.Logger
	wanted map[string]*responder.Network // by interface name
	taps   map[string]*tap
	exited chan *tap // a tap whose reader ended by itself
}

// apply replaces what is wanted.
func (m *manager) apply(wanted map[string]*responder.Network) {
	m.wanted = wanted
	for name := range m.taps {
		if wanted[name] == nil {
			m.close(name, "no longer configured")
		}
	}
	m.ensureAll()
}

func (m *manager) ensureAll() {
	for name := range m.wanted {
		m.ensure(name)
	}
}

// ensure brings one interface to its wanted state: served by a socket on the
// very device that now has the name, and admin up.
func (m *manager) ensure(name string) {
	network := m.wanted[name]
	if network == nil {
		return
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		m.close(name, "the interface is gone")
		return
	}
	if t := m.taps[name]; t != nil {
		if t.index == link.Attrs().Index {
			t.network.Store(network)
			m.raise(link)
			return
		}
		m.close(name, "the interface was made anew")
	}
	t, err := openTap(name, link.Attrs().Index, network)
	if err != nil {
		m.log.Warn("tap cannot be served yet", "tap", name, "error", err)
		return
	}
	if err := quiet(name); err != nil {
		m.log.Warn("the kernel may answer on the tap itself", "tap", name, "error", err)
	}
	m.taps[name] = t
	go t.serve(m.exited, m.log)
	m.raise(link)
	m.log.Info("tap served", "tap", name, "ifindex", t.index, "mac", network.MAC.String(), "hosts", len(network.Hosts))
}

func (m *manager) raise(link netlink.Link) {
	if link.Attrs().RawFlags&1 != 0 { // IFF_UP
		return
	}
	if err := netlink.LinkSetUp(link); err != nil {
		m.log.Warn("tap cannot be set up", "tap", link.Attrs().Name, "error", err)
	}
}

func (m *manager) close(name, why string) {
	t := m.taps[name]
	if t == nil {
		return
	}
	delete(m.taps, name)
	t.close()
	m.log.Info("tap closed", "tap", name, "why", why)
}

func (m *manager) closeAll() {
	for name := range m.taps {
		m.close(name, "shutting down")
	}
}

// forget drops a tap whose reader failed, so that the next event reopens it.
func (m *manager) forget(t *tap) {
	if m.taps[t.name] == t {
		m.close(t.name, "its socket failed")
	}
}

// watchLinks reports the names of interfaces that appear, change or vanish. The
// channel closes when ctx ends or the kernel's socket fails.
func watchLinks(ctx context.Context) (<-chan string, error) {
	updates := make(chan netlink.LinkUpdate, 64)
	done := make(chan struct{})
	if err := netlink.LinkSubscribeWithOptions(updates, done, netlink.LinkSubscribeOptions{}); err != nil {
		return nil, err
	}
	names := make(chan string)
	go func() {
		defer close(names)
		stop := ctx.Done()
		defer func() {
			if stop != nil {
				close(done)
			}
		}()
		for {
			select {
			case <-stop:
				close(done)
				stop = nil
			case u, ok := <-updates:
				if !ok {
					return
				}
				if stop == nil {
					continue // drain until the library's reader has ended
				}
				select {
				case names <- u.Attrs().Name:
				case <-stop:
				}
			}
		}
	}()
	return names, nil
}
