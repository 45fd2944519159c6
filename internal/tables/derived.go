// SPDX-License-Identifier: Apache-2.0

package tables

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"nagare/internal/model"
	"nagare/internal/store"
)

// All is the one group of derived tables that are plain sets.
const All = "all"

// Derived tables over located ports; the subject of each is a port.
var (
	// LocalPorts: node -> ports located there.
	LocalPorts = located("local-ports", func(r store.Reader, p *model.Port) []store.Member {
		return []store.Member{{Group: string(p.Host), Name: string(p.ID)}}
	})
	// NetworkPorts: NetNode(network, node) -> ports of the network whose active host is the node: those that receive there.
	NetworkPorts = active("network-ports", func(r store.Reader, p *model.Port) []store.Member {
		return []store.Member{{Group: NetNode(p.Network, p.Host), Name: string(p.ID)}}
	})
	// NetworkNodes: network -> nodes that host one of its ports.
	NetworkNodes = located("network-nodes", func(r store.Reader, p *model.Port) []store.Member {
		return []store.Member{{Group: string(p.Network), Name: string(p.Host)}}
	})
	// NodeNetworks: node -> networks of its ports.
	NodeNetworks = located("node-networks", func(r store.Reader, p *model.Port) []store.Member {
		return []store.Member{{Group: string(p.Host), Name: string(p.Network)}}
	})
	// ComputeSubnets: node -> subnets of the instances' ports located there.
	ComputeSubnets = located("compute-subnets", func(r store.Reader, p *model.Port) []store.Member {
		if !p.IsCompute() {
			return nil
		}
		var ms []store.Member
		for _, f := range p.FixedIPs {
			if m := (store.Member{Group: string(p.Host), Name: string(f.Subnet)}); !slices.Contains(ms, m) {
				ms = append(ms, m)
			}
		}
		return ms
	})
	// TunnelledPorts: All -> located ports of tunnelled networks.
	TunnelledPorts = located("tunnelled-ports", func(r store.Reader, p *model.Port) []store.Member {
		if n, ok := Networks.Get(r, p.Network); !ok || !n.Type.Tunnelled() {
			return nil
		}
		return []store.Member{{Group: All, Name: string(p.ID)}}
	})
	// TunnelledNodes: All -> nodes with a located port of a tunnelled network.
	TunnelledNodes = located("tunnelled-nodes", func(r store.Reader, p *model.Port) []store.Member {
		if n, ok := Networks.Get(r, p.Network); !ok || !n.Type.Tunnelled() {
			return nil
		}
		return []store.Member{{Group: All, Name: string(p.Host)}}
	})
)

// Derived tables for the standard profile; the subjects of all but the last are ports.
var (
	// NetworkPeers: network -> NetNode of the network and each node that hosts one of its ports.
	NetworkPeers = located("network-peers", func(_ store.Reader, p *model.Port) []store.Member {
		return []store.Member{{Group: string(p.Network), Name: NetNode(p.Network, p.Host)}}
	})
	// NetworkPairMACs: network -> PairMAC of each address that an allowed address pair of a port gives it beside its own.
	NetworkPairMACs = located("network-pair-macs", func(_ store.Reader, p *model.Port) []store.Member {
		var ms []store.Member
		for _, m := range ForeignMACs(p) {
			ms = append(ms, store.Member{Group: string(p.Network), Name: PairMAC(p.Network, m)})
		}
		return ms
	})
	// PairPorts: PairMAC -> ports that an allowed address pair gives the address.
	PairPorts = located("pair-ports", func(_ store.Reader, p *model.Port) []store.Member {
		var ms []store.Member
		for _, m := range ForeignMACs(p) {
			ms = append(ms, store.Member{Group: PairMAC(p.Network, m), Name: string(p.ID)})
		}
		return ms
	})
	// NetworkMembers: network -> its located ports, wherever they are.
	NetworkMembers = located("network-members", func(_ store.Reader, p *model.Port) []store.Member {
		return []store.Member{{Group: string(p.Network), Name: string(p.ID)}}
	})
	// NodeGroupSets: node -> sets of security groups (KeyText) that filtered ports located there wear, or wore until lately.
	NodeGroupSets = worn("node-group-sets", func(p *model.Port, former model.FormerSet) (names []string) {
		for _, k := range []model.Key{p.GroupSet, former.Set} {
			if k != 0 {
				names = append(names, KeyText(k))
			}
		}
		return names
	})
	// NodeGroups: node -> security groups that filtered ports located there wear, or wore until lately.
	NodeGroups = worn("node-groups", func(p *model.Port, former model.FormerSet) (names []string) {
		for _, g := range slices.Concat(p.SecurityGroups, former.Groups) {
			names = append(names, string(g))
		}
		return names
	})
	// RemoteMembers: RemoteKey(group or address group, family) -> MemberName of each address that a rule naming it as remote
	// allows: fixed addresses and allowed address pairs of the group's ports, located or not, or the address group's prefixes.
	RemoteMembers = func() *store.Derived {
		d := store.DeclareDerived(Schema, "remote-members", remoteMembers)
		store.From(d, Ports, func(_ store.Reader, p model.Port) []string { return []string{string(p.ID)} })
		return store.From(d, AddressGroups, func(_ store.Reader, g model.AddressGroup) []string { return []string{string(g.ID)} })
	}()
)

// worn declares a derived table of what the filtered ports of a node wear.
func worn(name string, of func(*model.Port, model.FormerSet) []string) *store.Derived {
	d := located(name, func(r store.Reader, p *model.Port) (ms []store.Member) {
		if !p.IsFiltered() {
			return nil
		}
		former, _ := FormerSets.Get(r, p.ID)
		for _, n := range of(p, former) {
			if m := (store.Member{Group: string(p.Host), Name: n}); !slices.Contains(ms, m) {
				ms = append(ms, m)
			}
		}
		return ms
	})
	return store.From(d, FormerSets, func(_ store.Reader, f model.FormerSet) []string { return []string{string(f.Port)} })
}

func remoteMembers(r store.Reader, subject string) (ms []store.Member) {
	add := func(set string, p netip.Prefix) {
		m := store.Member{Group: RemoteKey(set, p.Addr().Is4()), Name: MemberName(set, p)}
		if !slices.Contains(ms, m) {
			ms = append(ms, m)
		}
	}
	if g, ok := AddressGroups.Get(r, model.AddressGroupID(subject)); ok {
		for _, p := range g.Addresses {
			add(subject, p)
		}
		return ms
	}
	p, ok := Ports.Get(r, model.PortID(subject))
	if !ok {
		return nil
	}
	for _, g := range p.SecurityGroups {
		for _, f := range p.FixedIPs {
			add(string(g), netip.PrefixFrom(f.Addr, f.Addr.BitLen()))
		}
		for _, a := range p.AllowedPairs {
			add(string(g), a.Prefix.Masked())
		}
	}
	return ms
}

// RemoteKey is the group key of RemoteMembers.
func RemoteKey(set string, ipv4 bool) string {
	if ipv4 {
		return set + "|4"
	}
	return set + "|6"
}

// MemberName is the name of an address in RemoteMembers; it names its set too.
func MemberName(set string, p netip.Prefix) string { return set + "|" + p.String() }

// ParseMember is the inverse of MemberName.
func ParseMember(name string) (set string, p netip.Prefix, ok bool) {
	set, text, _ := strings.Cut(name, "|")
	p, err := netip.ParsePrefix(text)
	return set, p, err == nil
}

// ForeignMACs are the distinct addresses that allowed address pairs give a port beside its own, in their order. One with the
// group bit set is left out: no frame may come from it.
func ForeignMACs(p *model.Port) []model.MAC {
	var out []model.MAC
	for _, a := range p.AllowedPairs {
		if !a.MAC.IsZero() && a.MAC != p.MAC && !a.MAC.IsMulticast() && !slices.Contains(out, a.MAC) {
			out = append(out, a.MAC)
		}
	}
	return out
}

// PairMAC is the group key of PairPorts, and the key of PortsByMAC for the same address.
func PairMAC(n model.NetworkID, m model.MAC) string { return string(n) + "|" + m.String() }

// NetNode is the group key of NetworkPorts.
func NetNode(n model.NetworkID, host model.NodeID) string { return string(n) + "|" + string(host) }

// Located reports whether the port is located on its active host.
func Located(r store.Reader, id model.PortID) (model.Port, bool) {
	p, ok := Ports.Get(r, id)
	return p, ok && LocatedOn(r, &p, p.Host)
}

// LocatedOn reports whether the port is located on a node.
func LocatedOn(r store.Reader, p *model.Port, n model.NodeID) bool {
	if !p.AdminStateUp || !p.LivesOn(n) {
		return false
	}
	_, ok := Plugs.Get(r, model.PlugKey(n, p.Carrier()))
	return ok
}

// places runs emit for each node that a port is located on, with Host telling which.
func places(r store.Reader, id model.PortID, emit func(store.Reader, *model.Port) []store.Member) (ms []store.Member) {
	p, ok := Ports.Get(r, id)
	if !ok {
		return nil
	}
	for n := range p.Hosts {
		if !LocatedOn(r, &p, n) {
			continue
		}
		if p.Host = n; ms == nil {
			ms = emit(r, &p)
		} else {
			ms = append(ms, emit(r, &p)...)
		}
	}
	return ms
}

// located declares a derived table whose subjects are ports: emit runs for each node that one is located on.
func located(name string, emit func(store.Reader, *model.Port) []store.Member) *store.Derived {
	return overPorts(name, func(r store.Reader, subject string) []store.Member {
		return places(r, model.PortID(subject), emit)
	})
}

// active declares a derived table whose subjects are ports: emit runs for those that are located on their active host.
func active(name string, emit func(store.Reader, *model.Port) []store.Member) *store.Derived {
	return overPorts(name, func(r store.Reader, subject string) []store.Member {
		p, ok := Located(r, model.PortID(subject))
		if !ok {
			return nil
		}
		return emit(r, &p)
	})
}

func overPorts(name string, emit func(store.Reader, string) []store.Member) *store.Derived {
	d := store.DeclareDerived(Schema, name, emit)
	store.From(d, Ports, func(_ store.Reader, p model.Port) []string { return []string{string(p.ID)} })
	store.From(d, Plugs, carriedBy)
	store.From(d, Networks, func(r store.Reader, n model.Network) []string {
		var ids []string
		for p := range PortsByNetwork.By(r, string(n.ID)) {
			ids = append(ids, string(p.ID))
		}
		return ids
	})
	return d
}

func mapDistinct[T any](in []T, f func(T) string) []string {
	out := make([]string, 0, len(in))
	for _, v := range in {
		if s := f(v); !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func itoa(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// PhysicalNetworks: All -> physical networks that nodes map. The subject is a node.
var PhysicalNetworks = func() *store.Derived {
	d := store.DeclareDerived(Schema, "physical-networks", func(r store.Reader, subject string) (ms []store.Member) {
		n, _ := Nodes.Get(r, model.NodeID(subject))
		for name := range n.Mappings {
			ms = append(ms, store.Member{Group: All, Name: name})
		}
		return ms
	})
	return store.From(d, Nodes, func(_ store.Reader, n model.Node) []string { return []string{string(n.ID)} })
}()

// DHCPTaps: node -> DHCP ports placed there whose tap we make ourselves, plugged or not. The subject is a port.
var DHCPTaps = func() *store.Derived {
	d := store.DeclareDerived(Schema, "dhcp-taps", func(r store.Reader, subject string) []store.Member {
		p, ok := Ports.Get(r, model.PortID(subject))
		if !ok || !p.IsDHCP() || p.Host == "" || !p.AdminStateUp {
			return nil
		}
		return []store.Member{{Group: string(p.Host), Name: subject}}
	})
	return store.From(d, Ports, func(_ store.Reader, p model.Port) []string { return []string{string(p.ID)} })
}()
