// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"

	"nagare/internal/compile"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// peerList is a query's value: every node with a tunnel address as "name=address name=address ...", in order of name; empty
// while no tunnel is wanted at all. One comparable string, so that units that asked rerun only when it changed.
type peerList string

type peer struct {
	Node model.NodeID
	IP   netip.Addr
}

// declarePeers declares the query for the mesh. Tunnels are wanted as soon as any port of a tunnelled network is plugged
// anywhere, not when it is merely created: this also gives DHCP ports their lower port numbers.
func declarePeers(b *compile.Rulebook) *compile.Query[peerList] {
	return compile.DeclareQuery(b, "tunnel-peers", func(r store.Reader, _ string) peerList { return allPeers(r) })
}

func allPeers(r store.Reader) peerList {
	wanted := false
	for range tables.TunnelledNodes.Members(r, tables.All) {
		wanted = true
		break
	}
	if !wanted {
		return ""
	}
	var s strings.Builder
	for id, n := range tables.Nodes.All(r) {
		if n.LocalIP.IsValid() {
			s.WriteString(string(id) + "=" + n.LocalIP.String() + " ")
		}
	}
	return peerList(s.String())
}

// numberList is a query's value: port numbers, ascending, four bytes each.
type numberList string

// declareTunnelNumbers declares the query for the port numbers of a node's tunnels; its key is the node. Every network on the
// node needs them, so they are read once and not by each of its units.
func declareTunnelNumbers(b *compile.Rulebook) *compile.Query[numberList] {
	return compile.DeclareQuery(b, "tunnel-numbers", func(r store.Reader, node string) numberList {
		var numbers []uint32
		_, ps := allPeers(r).others(node)
		for _, p := range ps {
			if n := tunnelNumber(r, model.NodeID(node), p.IP); n != 0 {
				numbers = append(numbers, n)
			}
		}
		slices.Sort(numbers)
		var b []byte
		for _, n := range slices.Compact(numbers) { // a node's old record may still name the address of another
			b = binary.BigEndian.AppendUint32(b, n)
		}
		return numberList(b)
	})
}

func (l numberList) all() []uint32 {
	out := make([]uint32, 0, len(l)/4)
	for ; len(l) >= 4; l = l[4:] {
		out = append(out, binary.BigEndian.Uint32([]byte(l[:4])))
	}
	return out
}

// others are the peers of a node: all but itself, none if it has no tunnel address of its own.
func (l peerList) others(node string) (own netip.Addr, ps []peer) {
	for _, w := range strings.Fields(string(l)) {
		name, ip, _ := strings.Cut(w, "=")
		a, err := netip.ParseAddr(ip)
		switch {
		case err != nil:
		case name == node:
			own = a
		default:
			ps = append(ps, peer{model.NodeID(name), a})
		}
	}
	if !own.IsValid() {
		return own, nil
	}
	return own, ps
}

// TunnelName is the name of the OVSDB port towards a tunnel address.
func TunnelName(remote netip.Addr) string { return "vxlan-" + remote.String() }

// tunnelNumber is the OpenFlow port number of the tunnel towards an address; 0 while it has none.
func tunnelNumber(r store.Reader, node model.NodeID, remote netip.Addr) uint32 {
	i, _ := tables.Interfaces.Get(r, model.InterfaceKey(node, TunnelName(remote)))
	return i.OFPort
}

func mesh(peers *compile.Query[peerList], tunnel compile.RuleID) func(*compile.Context) {
	return func(c *compile.Context) {
		own, ps := compile.Ask(c, peers, "").others(c.Node)
		for _, p := range ps {
			if p.IP != own {
				c.Need(tunnel, string(p.Node)+"|"+own.String()+"|"+p.IP.String())
			}
		}
	}
}

// tunnelPort emits the OVSDB port; its subject is peer|local address|remote address.
func tunnelPort(c *compile.Context) {
	w := strings.Split(c.Subject, "|")
	local, remote := w[1], w[2]
	c.Row(compile.Row{
		Bridge: Bridge, Name: "vxlan-" + remote, Type: "vxlan",
		Options: compile.Pairs("key", "flow", "local_ip", local, "remote_ip", remote),
	})
}
