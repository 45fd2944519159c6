// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"net/netip"

	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/pipeline"
	"nagare/internal/tables"
)

// aclSide is one direction through the tables of security: what an instance sends, or what is sent to it. Both directions
// have the same tables.
type aclSide struct {
	check, state, rules, commit, drop, next pipeline.TableID
	port, set, zone                         int                          // registers: the port's key, its set of groups, its zone
	remote                                  func(netip.Prefix) flow.Term // the other end's address
	accepted, dropped                       byte                         // kinds of punts for security logs
}

var (
	sending = aclSide{pipeline.EgressACL, pipeline.EgressState, pipeline.EgressRules, pipeline.EgressCommit, pipeline.EgressDrop, pipeline.LoadBalancer,
		pipeline.RegSrcPort, pipeline.RegSrcSet, pipeline.RegSrcZone, flow.IPDst,
		pipeline.PuntSentAccepted, pipeline.PuntSentDropped}
	receiving = aclSide{pipeline.IngressACL, pipeline.IngressState, pipeline.IngressRules, pipeline.IngressCommit, pipeline.IngressDrop, pipeline.OutboundNAT,
		pipeline.RegDstPort, pipeline.RegDstSet, pipeline.RegDstZone, flow.IPSrc,
		pipeline.PuntReceivedAccepted, pipeline.PuntReceivedDropped}
)

// track sends the packet through its port's zone of the connection tracker, and on in a table.
func (s aclSide) track(then pipeline.TableID) flow.Act {
	return flow.CT(flow.Track{ZoneFrom: flow.RegBits(s.zone, 0, 16), Next: uint8(then)})
}

// declareStandardACL declares the rules of port security and security groups and returns what the root asks for.
func declareStandardACL(b *compile.Rulebook, o Options) func(*compile.Context) {
	static := b.Add(compile.Rule{Name: "acl/static", Kind: "node", Run: aclStatic,
		Doc: "what holds for all filtered ports: no DHCP server, no router, connection states, nothing by default"})
	told := declareLogs(b, o)
	guard := b.Add(compile.Rule{Name: "acl/guard", Kind: "port", Run: portGuard(told),
		Doc: "a filtered port sends only from its own addresses and speaks ARP and ND for these alone"})
	set := declareGroups(b)
	dhcp := declareDHCP(b, o)
	return func(c *compile.Context) {
		c.Need(static, c.Node)
		c.Each(tables.LocalPorts, c.Node, guard)
		c.Each(tables.NodeGroupSets, c.Node, set)
		dhcp(c)
	}
}

// Bits of the flags register, as terms.
func flagged(bits uint32) flow.Term { return flow.RegMasked(pipeline.RegFlags, bits, bits) }

// ICMPv6 types that the guards know (RFC 4861, RFC 2710, RFC 3810).
const (
	mldQuery      = 130
	mldReport     = 131
	mldDone       = 132
	routerSolicit = 133
	routerAdvert  = 134
	solicit       = 135
	advert        = 136
	redirect      = 137
	mldReport2    = 143
)

// aclStatic emits the flows that all filtered ports of a node share.
func aclStatic(c *compile.Context) {
	emit := func(n uint8, t pipeline.TableID, prio uint16, a flow.Actions, terms ...flow.Term) {
		c.Flow(owned(pipeline.KindBridge, 0, n, pipeline.Flow(t, prio, flow.M(terms...), a)))
	}
	aclSenders(emit)
	aclReceivers(emit)
	aclStates(emit, sending)
	aclStates(emit, receiving)
	aclFragments(emit, sending)
	aclFragments(emit, receiving)
}

// emitStatic takes a flow: its number within its table, its table, priority, actions and match.
type emitStatic func(n uint8, t pipeline.TableID, prio uint16, a flow.Actions, terms ...flow.Term)

// aclSenders is table 40 for all filtered ports, and what of table 44 names no port.
func aclSenders(emit emitStatic) {
	const t = pipeline.EgressACL
	src, drop := flagged(pipeline.FlagSrcFiltered), flow.Do(to(sending.drop))
	emit(1, t, pipeline.PrioDHCPClient, flow.Do(to(t.Next())),
		flow.UDP(), src, flow.IPSrc(host4("0.0.0.0")), flow.IPDst(host4("255.255.255.255")), flow.TPSrc(68), flow.TPDst(67))
	emit(2, t, pipeline.PrioDHCPServerDrop, drop, flow.UDP(), src, flow.TPSrc(67), flow.TPDst(68))
	emit(3, t, pipeline.PrioDHCPServerDrop, drop, flow.UDP6(), src, flow.TPSrc(547), flow.TPDst(546))
	for _, typ := range []uint8{mldQuery, routerAdvert, redirect} { // routers' messages
		emit(4, t, pipeline.PrioDHCPServerDrop, drop, flow.ICMPv6(), src, flow.ICMPType(typ))
	}
	// The switch shows a solicitation whose options are malformed, twice the same among them, as one for the unspecified
	// address without options, which the check of the option would take for a solicitation that has none.
	emit(5, t, pipeline.PrioDHCPServerDrop, drop,
		flow.ICMPv6(), src, flow.ICMPType(solicit), flow.ICMPCode(0), flow.NDTarget(netip.IPv6Unspecified()))
	emit(6, t, pipeline.PrioDHCPServerDrop, drop, flow.IPv6(), src, flow.IPSrc(netip.MustParsePrefix("ff00::/8")))
	for _, typ := range []uint8{routerSolicit, mldReport, mldDone, mldReport2} { // tell of the sender only, which table 44 checks
		emit(7, t, pipeline.PrioNeighbour, flow.Do(to(pipeline.EgressSource)), flow.ICMPv6(), src, flow.ICMPType(typ))
		emit(1, pipeline.EgressSource, pipeline.PrioNeighbour, flow.Do(to(t.Next())),
			flow.ICMPv6(), flow.IPSrc(host6(netip.IPv6Unspecified())), flow.ICMPType(typ))
	}
	for _, typ := range []uint8{solicit, advert} {
		emit(8, t, pipeline.PrioUnowned, drop, flow.ICMPv6(), src, flow.ICMPType(typ))
	}
	for _, p := range []string{"0.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32", "::/128"} { // a wide allowed address pair holds them
		emit(9, t, pipeline.PrioUnowned, drop, src, flow.IPSrc(netip.MustParsePrefix(p)))
	}
	emit(10, t, pipeline.PrioUnguarded, drop, src)
}

// aclReceivers is table 90 for all ports.
func aclReceivers(emit emitStatic) {
	const t = pipeline.IngressACL
	pass := flow.Do(to(t.Next()))
	emit(1, t, pipeline.PrioNeighbour, pass, flow.ARP())
	for _, typ := range []uint8{mldQuery, mldReport, mldDone, routerAdvert, solicit, advert} {
		emit(2, t, pipeline.PrioNeighbour, pass, flow.ICMPv6(), flow.ICMPType(typ))
	}
	dst := flagged(pipeline.FlagDstFiltered)
	for _, ip := range []flow.Term{flow.IP(), flow.IPv6()} {
		// What the tracker told the sender's side is not about this receiver.
		emit(3, t, pipeline.PrioStateless, flow.Do(flow.CTClear(), to(pipeline.IngressRules)), ip, flagged(pipeline.FlagDstFiltered|pipeline.FlagDstStateless))
		emit(4, t, pipeline.PrioAddress, flow.Do(receiving.track(pipeline.IngressState)), ip, dst)
	}
	emit(5, t, pipeline.PrioSpoofed, flow.Do(to(receiving.drop)), dst) // neither ARP nor IP: no group can allow it
}

func host4(s string) netip.Prefix { return netip.PrefixFrom(netip.MustParseAddr(s), 32) }

func host6(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, 128) }
