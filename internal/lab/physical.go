// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"strings"
)

// Physical networks, as operators wire them: a bridge of the node that the server finds in the node's mappings and joins to
// br-int by itself. The bridges are infrastructure of the lab, with the flows of an ordinary switch.
//
// "external", behind br-ex, is the way out and exists on the first node alone, as in the recorded scenario. "physnet1", behind
// br-prov, exists on all nodes of a lab with a provider network; its wire is a bridge of the underlay that passes every tag.
const (
	externalNet  = "external"
	providerNet  = "physnet1"
	providerNode = "br-prov" // on each node

	providerBridge = "pv0"   // in the underlay
	providerLink   = "prov0" // on each node, the port of br-prov to the wire
)

// applyExternal gives the first node its address behind the external network, of which the node is the router then: the machine
// in front of the cloud. It forwards nothing further.
func (l *Lab) applyExternal(ctx context.Context, s *State) error {
	if s.Config.External == "" {
		return nil
	}
	return each(ctx, ip("-n", l.namespace(firstNode), "addr", "replace", s.Config.External, "dev", "br-ex"))
}

// setExternal changes that address, and enters it, so that it is there again after a crash.
func (l *Lab) setExternal(ctx context.Context, s *State, address string) error {
	if s.Config.External == address {
		return nil
	}
	if old := s.Config.External; old != "" && haveLink(ctx, l.namespace(firstNode), "br-ex") {
		if err := each(ctx, ip("-n", l.namespace(firstNode), "addr", "flush", "dev", "br-ex")); err != nil {
			return err
		}
	}
	s.Config.External = address
	return l.save(s)
}

// SetExternal gives the first node an address on br-ex, such as 172.16.1.1/24, instead of the one that it had there.
func (l *Lab) SetExternal(ctx context.Context, address string) error {
	unlock, err := l.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	s, err := l.load()
	if err != nil {
		return err
	}
	if err := l.setExternal(ctx, s, address); err != nil {
		return err
	}
	return l.applyExternal(ctx, s)
}

// startPhysical gives a node its physical networks.
func (l *Lab) startPhysical(ctx context.Context, s *State, index int) error {
	n := s.Config.Nodes[index]
	ns := l.namespace(n.Name)
	var mappings []string
	if index == 0 {
		mappings = append(mappings, externalNet+":br-ex")
		if _, err := l.ovs(ctx, n.Name, "ovs-vsctl", "--may-exist", "add-br", "br-ex", "--", "set", "Bridge", "br-ex", "datapath_type=netdev"); err != nil {
			return err
		}
		if err := each(ctx,
			ip("-n", ns, "link", "set", "br-ex", "up"),
			inNamespace(ns, "ethtool", "-K", "br-ex", "tx", "off")); err != nil {
			return err
		}
		if err := l.applyExternal(ctx, s); err != nil {
			return err
		}
	}
	if s.Config.Provider {
		mappings = append(mappings, providerNet+":"+providerNode)
		if err := l.cable(ctx, ns, providerLink, fmt.Sprint("p", index), providerBridge); err != nil {
			return err
		}
		if _, err := l.ovs(ctx, n.Name, "ovs-vsctl", "--may-exist", "add-br", providerNode,
			"--", "set", "Bridge", providerNode, "datapath_type=netdev", "fail_mode=standalone",
			"--", "--may-exist", "add-port", providerNode, providerLink); err != nil {
			return err
		}
	}
	if len(mappings) == 0 {
		return nil
	}
	all := strings.Join(mappings, ",")
	_, err := l.ovs(ctx, n.Name, "ovs-vsctl", "set", "Open_vSwitch", ".",
		"other_config:provider_mappings="+quoteOVS(all), "external_ids:ovn-bridge-mappings="+quoteOVS(all))
	return err
}
