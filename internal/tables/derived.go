// SPDX-License-Identifier: Apache-2.0

package tables

import (
	"slices"
	"strconv"

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
	// NetworkPorts: NetNode(network, node) -> ports of the network located on the node.
	NetworkPorts = located("network-ports", func(r store.Reader, p *model.Port) []store.Member {
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

// NetNode is the group key of NetworkPorts.
func NetNode(n model.NetworkID, host model.NodeID) string { return string(n) + "|" + string(host) }

// Located reports on which node the port is located.
func Located(r store.Reader, id model.PortID) (model.Port, bool) {
	p, ok := Ports.Get(r, id)
	if !ok || p.Host == "" || !p.AdminStateUp {
		return p, false
	}
	_, ok = Plugs.Get(r, model.PlugKey(p.Host, id))
	return p, ok
}

// located declares a derived table whose subjects are ports: emit runs for located ones.
func located(name string, emit func(store.Reader, *model.Port) []store.Member) *store.Derived {
	d := store.DeclareDerived(Schema, name, func(r store.Reader, subject string) []store.Member {
		p, ok := Located(r, model.PortID(subject))
		if !ok {
			return nil
		}
		return emit(r, &p)
	})
	store.From(d, Ports, func(_ store.Reader, p model.Port) []string { return []string{string(p.ID)} })
	store.From(d, Plugs, func(_ store.Reader, p model.Plug) []string { return []string{string(p.Port)} })
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
