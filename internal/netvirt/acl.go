// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"net/netip"

	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/tables"
)

// classicACL emits what the recorded controller wrote for a port: permits by MAC for its groups' IPv4 rules, the check of
// its addresses (which the permits and the tables' default overrule, hence "no security boundary"), and the guard against a
// DHCP server in an instance.
func classicACL(c *compile.Context) {
	p, ok := tables.Ports.Get(c, model.PortID(c.Subject))
	if !ok {
		return
	}
	in := ofport(c, p.ID)
	if _, ok := tunnelID(c, p.Network); !ok || in == 0 {
		return
	}
	pass := flow.Do(to(pipeline.EgressACL.Next()))
	if p.IsDHCP() {
		// Clients' requests may pass this bridge to reach the server; one flow, however many servers.
		c.Shared(entry(pipeline.EgressACL, pipeline.PrioDHCPClient,
			flow.M(flow.UDP(), flow.TPSrc(68), flow.TPDst(67)), pass))
	}
	if !p.PortSecurity || p.IsDHCP() {
		return
	}
	c.Flow(entry(pipeline.EgressACL, pipeline.PrioDHCPServerDrop,
		flow.M(flow.UDP(), flow.InPort(in), flow.TPSrc(67), flow.TPDst(68)), flow.Do()))
	for _, f := range p.FixedIPs {
		if f.Addr.Is4() {
			c.Flow(entry(pipeline.EgressACL, pipeline.PrioAddress,
				flow.M(flow.IP(), flow.InPort(in), flow.EthSrc(p.MAC), flow.IPSrc(netip.PrefixFrom(f.Addr, 32))), pass))
		}
	}
	emitted := map[flow.Key]bool{} // rules of several groups may ask for the same permit
	for _, g := range p.SecurityGroups {
		if _, ok := tables.SecurityGroups.Get(c, g); !ok {
			continue // not there yet, or not any more: rules that name it allow nothing
		}
		for r := range tables.RulesByGroup.By(c, string(g)) {
			for _, f := range classicPermits(c, &p, &r) {
				if !emitted[f.Key()] {
					emitted[f.Key()] = true
					c.Shared(f, compile.Because{Kind: "security-group-rule", ID: string(r.ID)})
				}
			}
		}
	}
}

// classicPermits are the flows of one rule for one port. IPv6 rules give none. A rule without protocol ignores its remote.
func classicPermits(c *compile.Context, p *model.Port, r *model.SecurityGroupRule) []flow.Flow {
	proto, any, ok := model.ProtocolNumber(r.Protocol)
	if r.Ethertype != model.EtherIPv4 || !ok {
		return nil
	}
	table, own, remote := pipeline.EgressACL, flow.EthSrc(p.MAC), flow.IPDst
	if r.Direction == model.Ingress {
		table, own, remote = pipeline.IngressACL, flow.EthDst(p.MAC), flow.IPSrc
	}
	pass := flow.Do(to(table.Next()))
	if any {
		return []flow.Flow{entry(table, pipeline.PrioPermit, flow.M(flow.IP(), own), pass)}
	}
	var out []flow.Flow
	for _, l4 := range layer4(proto, r.PortMin, r.PortMax) {
		for _, addr := range remotes(c, r) {
			terms := append([]flow.Term{own}, l4...)
			if addr.IsValid() && addr.Bits() > 0 {
				terms = append(terms, remote(addr))
			}
			out = append(out, entry(table, pipeline.PrioPermit, flow.M(terms...), pass))
		}
	}
	return out
}

// remotes are the prefixes that a rule allows; one invalid prefix stands for anybody.
func remotes(c *compile.Context, r *model.SecurityGroupRule) []netip.Prefix {
	switch {
	case r.RemoteGroup != "":
		var out []netip.Prefix
		for m := range tables.PortsByGroup.By(c, string(r.RemoteGroup)) {
			for _, f := range m.FixedIPs {
				if f.Addr.Is4() {
					out = append(out, netip.PrefixFrom(f.Addr, 32))
				}
			}
		}
		return out
	case r.RemoteAddressGroup != "":
		var out []netip.Prefix
		g, _ := tables.AddressGroups.Get(c, r.RemoteAddressGroup)
		for _, p := range g.Addresses {
			if p.Addr().Is4() {
				out = append(out, p)
			}
		}
		return out
	case r.RemotePrefix.IsValid():
		return []netip.Prefix{r.RemotePrefix}
	}
	return []netip.Prefix{{}}
}

// layer4 are the alternatives of terms for a protocol and a port range (for ICMP: type and code).
func layer4(proto uint8, lo, hi *int) [][]flow.Term {
	switch proto {
	case model.ProtoTCP, model.ProtoUDP, model.ProtoSCTP:
		base := []flow.Term{flow.IP(), flow.IPProto(proto)}
		if lo == nil || hi == nil || *lo <= 0 && *hi >= 65535 {
			return [][]flow.Term{base}
		}
		var out [][]flow.Term
		for _, m := range PortMasks(uint16(*lo), uint16(*hi)) {
			out = append(out, []flow.Term{flow.IP(), flow.IPProto(proto), flow.TPDstMasked(m.Value, m.Mask)})
		}
		return out
	case model.ProtoICMP:
		terms := []flow.Term{flow.ICMP()}
		if lo != nil {
			terms = append(terms, flow.ICMPType(uint8(*lo)))
			if hi != nil {
				terms = append(terms, flow.ICMPCode(uint8(*hi)))
			}
		}
		return [][]flow.Term{terms}
	}
	return [][]flow.Term{{flow.IP(), flow.IPProto(proto)}}
}

// PortMask is a value and mask that together match a block of ports.
type PortMask struct{ Value, Mask uint16 }

// PortMasks covers a closed range of ports exactly, with at most 30 blocks, ascending.
func PortMasks(lo, hi uint16) []PortMask {
	var out []PortMask
	for at := uint32(lo); at <= uint32(hi); {
		size := uint32(1)
		for at&size == 0 && at+2*size-1 <= uint32(hi) && size < 1<<16 {
			size *= 2
		}
		out = append(out, PortMask{uint16(at), uint16(^(size - 1))})
		at += size
	}
	return out
}

// dhcpReply lets the answers of a subnet's DHCP server reach the instances of this node. The match names the server's MAC
// alone, so subnets that share a server share the flow.
func dhcpReply(c *compile.Context) {
	for p := range tables.DHCPPortsBySubnet.By(c, c.Subject) {
		c.Shared(entry(pipeline.IngressACL, pipeline.PrioDHCPReply,
			flow.M(flow.UDP(), flow.EthSrc(p.MAC), flow.TPSrc(67), flow.TPDst(68)),
			flow.Do(to(pipeline.IngressACL.Next()))), compile.Because{Kind: "port", ID: string(p.ID)})
	}
}

// dhcpTap emits the interface of a DHCP port: internal, with the port's own MAC, which `nagare node dhcp` serves.
func dhcpTap(c *compile.Context) {
	p, ok := tables.Ports.Get(c, model.PortID(c.Subject))
	if !ok {
		return
	}
	c.Row(compile.Row{
		Bridge: Bridge, Name: p.ID.TapName(), Type: "internal", MAC: p.MAC.String(),
		ExternalIDs: compile.Pairs("attached-mac", p.MAC.String(), "iface-id", string(p.ID), "iface-status", "active"),
	})
}
