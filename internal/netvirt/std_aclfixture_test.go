// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"nagare/internal/alloc"
	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// secured is a state of the store in YAML, with the fields that port security and groups look at. Keys are given out in the
// order of the file, as are OpenFlow port numbers on each node.
type secured struct {
	Native    bool // DHCP
	Nets      []struct{ ID, Type string }
	Addresses map[string][]string // address groups
	Groups    []struct {
		ID        string
		Stateless bool
		Rules     []struct {
			ID, Dir, Ether, Proto, Prefix, Group, Addresses string
			Min, Max                                        *int
		}
	}
	Ports []struct {
		ID, Net, MAC, Owner, Host string
		IPs, Groups               []string
		Pairs                     []struct{ MAC, IP string }
		Insecure, Unplugged       bool
	}
}

func (f *secured) put(tx *store.Txn) error {
	for i, n := range f.Nets {
		typ := model.NetworkType(n.Type)
		if typ == "" {
			typ = model.VXLAN
		}
		tables.Networks.Put(tx, model.NetworkID(n.ID), model.Network{ID: model.NetworkID(n.ID),
			NetworkPlane: model.NetworkPlane{Key: model.Key(i + 1), Type: typ, SegmentationID: uint32(i + 1), AdminStateUp: true}})
	}
	for id, as := range f.Addresses {
		g := model.AddressGroup{ID: model.AddressGroupID(id)}
		for _, a := range as {
			g.Addresses = append(g.Addresses, netip.MustParsePrefix(a))
		}
		tables.AddressGroups.Put(tx, g.ID, g)
	}
	key := model.Key(0)
	for _, g := range f.Groups {
		putGroup(tx, model.SecurityGroupID(g.ID), !g.Stateless)
		for _, r := range g.Rules {
			key++
			rule := model.SecurityGroupRule{ID: model.SecurityGroupRuleID(r.ID), RulePlane: model.RulePlane{Key: key,
				Group: model.SecurityGroupID(g.ID), Direction: model.Direction(r.Dir), Ethertype: "IP" + r.Ether, Protocol: r.Proto,
				PortMin: r.Min, PortMax: r.Max, RemoteGroup: model.SecurityGroupID(r.Group), RemoteAddressGroup: model.AddressGroupID(r.Addresses)}}
			if r.Prefix != "" {
				rule.RemotePrefix = netip.MustParsePrefix(r.Prefix)
			}
			tables.Rules.Put(tx, rule.ID, rule)
		}
	}
	for i, p := range f.Ports {
		port := model.Port{ID: model.PortID(p.ID), PortPlane: model.PortPlane{Key: model.Key(0x11 + i), Network: model.NetworkID(p.Net),
			MAC: model.MustMAC(p.MAC), AdminStateUp: true, DeviceOwner: p.Owner, Host: model.NodeID(p.Host), PortSecurity: !p.Insecure}}
		for _, ip := range p.IPs {
			port.FixedIPs = append(port.FixedIPs, model.FixedIP{Addr: netip.MustParseAddr(ip)})
		}
		for _, g := range p.Groups {
			port.SecurityGroups = append(port.SecurityGroups, model.SecurityGroupID(g))
		}
		for _, a := range p.Pairs {
			pair := model.AddressPair{Prefix: netip.MustParsePrefix(a.IP)}
			if a.MAC != "" {
				pair.MAC = model.MustMAC(a.MAC)
			}
			port.AllowedPairs = append(port.AllowedPairs, pair)
		}
		if err := putPlugged(tx, port, uint32(i+1), !p.Unplugged && p.Host != ""); err != nil {
			return err
		}
	}
	return nil
}

func putGroup(tx *store.Txn, id model.SecurityGroupID, stateful bool) {
	tables.SecurityGroups.Put(tx, id, model.SecurityGroup{ID: id, SecurityGroupPlane: model.SecurityGroupPlane{Stateful: stateful}})
}

// putPlugged writes a port and, if it is plugged, what its node says of it.
func putPlugged(tx *store.Txn, p model.Port, ofport uint32, plugged bool) error {
	if err := alloc.PutPort(tx, p); err != nil {
		return err
	}
	if plugged {
		i := model.Interface{Node: p.Host, Name: p.ID.TapName(), OFPort: ofport, IfaceID: p.ID}
		tables.Interfaces.Put(tx, model.InterfaceKey(i.Node, i.Name), i)
		tables.Plugs.Put(tx, model.PlugKey(p.Host, p.ID), model.Plug{Node: p.Host, Port: p.ID})
	}
	return nil
}

// follower is an engine for the standard profile that follows a store.
type follower struct {
	t     testing.TB
	st    *store.Store
	w     *store.Watch
	e     *compile.Engine
	nodes []string
}

func followStandard(t testing.TB, st *store.Store, o Options, nodes ...string) *follower {
	t.Helper()
	f := &follower{t, st, st.Watch(), compile.New(Standard(o), pipeline.Standard.Check), nodes}
	t.Cleanup(f.w.Close)
	for _, n := range nodes {
		f.e.AddNode(n)
	}
	f.update()
	return f
}

// update compiles what is new and returns what it changed and cost.
func (f *follower) update() (map[string]*compile.Delta, compile.Stats) {
	f.t.Helper()
	before := f.e.Stats()
	snap, ch, ok := f.w.Take()
	if !ok {
		return nil, compile.Stats{}
	}
	d := f.e.Update(snap, ch)
	after := f.e.Stats()
	return d, compile.Stats{UnitRuns: after.UnitRuns - before.UnitRuns, Queries: after.Queries - before.Queries}
}

func (f *follower) commit(do func(tx *store.Txn) error) (map[string]*compile.Delta, compile.Stats) {
	f.t.Helper()
	if _, err := f.st.Commit(f.t.Context(), store.Origin{}, do); err != nil {
		f.t.Fatal(err)
	}
	return f.update()
}

// flows are the desired flows of a node, in order.
func (f *follower) flows(node string) []flow.Flow {
	d, _ := f.e.Desired(node)
	var out []flow.Flow
	for _, v := range d.Flows {
		out = append(out, v)
	}
	slices.SortFunc(out, flow.Compare)
	return out
}

// ours reports the flows that the rules of this file's subject emit: tables 40 to 44 and 90 to 93 and the DHCP punt.
func ours(f flow.Flow) bool {
	switch t := pipeline.TableID(f.Table); {
	case t >= pipeline.EgressACL && t <= pipeline.EgressSource, t >= pipeline.IngressACL && t <= pipeline.IngressCommit:
		return true
	case t == pipeline.Responder:
		return f.Priority == pipeline.PrioDHCPPunt
	}
	return false
}

// accounted fails the test for a flow of a node that has no owner, or whose cookie is none of ours.
func (f *follower) accounted(node string) {
	f.t.Helper()
	owners := f.e.Owners(node)
	for _, v := range f.flows(node) {
		if _, ok := pipeline.UnpackCookie(v.Cookie); !ok {
			f.t.Errorf("%s: cookie %#x is not ours: %s", node, v.Cookie, v)
		}
		if owners[v.Key()].Rule == "" {
			f.t.Errorf("%s: nobody owns %s", node, v)
		}
	}
}

func aclLines(f *follower, node string) (lines []string) {
	for _, v := range f.flows(node) {
		if ours(v) {
			lines = append(lines, fmt.Sprintf("%016x %s", v.Cookie, v))
		}
	}
	d, _ := f.e.Desired(node)
	n := len(lines)
	for id, m := range d.Meters {
		if id >= (model.Slot{Number: 1}).Meter(model.PuntDHCP) { // those below are the node's
			lines = append(lines, m.String())
		}
	}
	slices.Sort(lines[n:])
	return lines
}
