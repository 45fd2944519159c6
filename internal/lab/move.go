// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// Moved is what MoveInstance brought about.
type Moved struct {
	Instance Instance `json:"instance"`
	From     string   `json:"from"`
	// Took is from the moment at which the instance was unplugged to its port being ACTIVE on the other node.
	Took time.Duration `json:"took"`
}

// MoveInstance brings an instance to another node, as the network sees a migration by Nova: unplugged there, binding:host_id
// changed, plugged here, announced by the hypervisor. The guest runs on with its address, its MAC and its connections; only
// its cable is out for a while. Moving an instance to where it is completes a move that failed half-way.
func (l *Lab) MoveInstance(ctx context.Context, name, to string) (*Moved, error) {
	if err := Require(); err != nil {
		return nil, err
	}
	unlock, err := l.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	s, err := l.load()
	if err != nil {
		return nil, err
	}
	inst, ok := s.instance(name)
	if !ok {
		return nil, fmt.Errorf("instance %q: the lab has none of that name; see 'nagare lab instance list'", name)
	}
	if inst.VM {
		return nil, fmt.Errorf("instance %s: is a virtual machine, and the lab's cannot be moved while they run: remove it and add it on %s", name, to)
	}
	if _, ok := s.node(to); !ok {
		return nil, fmt.Errorf("node %q: the lab has %s", to, nodeNames(s))
	}
	admin, err := l.connect(ctx, s, "admin")
	if err != nil {
		return nil, err
	}
	began, from := time.Now(), inst.Node
	if from != to {
		if _, err := l.ovs(ctx, from, "ovs-vsctl", "--if-exists", "del-port", "br-int", inst.Tap()); err != nil {
			return nil, fmt.Errorf("instance %s: %w", name, err)
		}
	}
	if _, err := admin.updatePort(ctx, inst.PortID, map[string]any{"binding:host_id": to}); err != nil {
		return nil, fmt.Errorf("instance %s: %w", name, err)
	}
	inst.Node = to
	s.putInstance(inst)
	if err := l.save(s); err != nil {
		return nil, err
	}
	if err := l.plug(ctx, s, inst); err != nil {
		return nil, fmt.Errorf("instance %s: %w", name, err)
	}
	if err := waitActive(ctx, admin, inst.PortID); err != nil {
		return nil, fmt.Errorf("instance %s: %w", name, err)
	}
	took := time.Since(began)
	return &Moved{Instance: inst, From: from, Took: took}, l.announce(inst)
}

// fetchTap brings the node's end of an instance's cable to its node, if it is on another one. The guest's end stays as it is.
func (l *Lab) fetchTap(ctx context.Context, s *State, inst Instance) error {
	here, tap := l.namespace(inst.Node), inst.Tap()
	if haveLink(ctx, here, tap) {
		return nil
	}
	for _, n := range s.Config.Nodes {
		there := l.namespace(n.Name)
		if !haveLink(ctx, there, tap) {
			continue
		}
		if _, err := l.ovs(ctx, n.Name, "ovs-vsctl", "--if-exists", "del-port", "br-int", tap); err != nil {
			return err
		}
		return each(ctx, ip("-n", there, "link", "set", tap, "netns", here))
	}
	return fmt.Errorf("link %s: is on no node: remove the instance with 'nagare lab instance rm %s' and add it again", tap, inst.Name)
}

// announce tells everybody on the network where the instance's address is: by an ARP request for it from the instance itself. A
// client does so with a new lease, a hypervisor after a migration. An instance without lease has nothing to announce.
func (l *Lab) announce(inst Instance) error {
	lease, err := l.LeaseOf(inst.Name)
	if err != nil {
		return nil
	}
	p, err := netip.ParsePrefix(lease.Address)
	if err != nil || !p.Addr().Is4() {
		return fmt.Errorf("instance %s: its lease is for %q, not an IPv4 address", inst.Name, lease.Address)
	}
	mac, err := net.ParseMAC(inst.MAC)
	if err != nil {
		return err
	}
	return l.sendFrame(inst.Name, arpFrame(1, mac, p.Addr().AsSlice())) // RFC 5227 section 3
}
