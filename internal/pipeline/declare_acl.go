// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"slices"

	"nagare/internal/flow"
	"nagare/openflow"
)

// The egress tables 40 to 43 and the ingress tables 90 to 93 mirror each other.
func declareACL() {
	declare(
		Table{
			ID: EgressACL, Name: "egress-acl", Profiles: both,
			Purpose: "What may leave an instance: anti-spoofing, DHCP and neighbour discovery, then the security groups.",
			Match:   join(fL2, fIP, fL4, fARP, fND, tunID, reg(0, 1, 7)),
			Kinds:   Goto | Track | Set,
			Sets:    one(openflow.FieldIPDSCP),
			Next:    []TableID{EgressState, EgressRules, EgressSource, EgressDrop, LoadBalancer},
			Miss:    missGoto(LoadBalancer),
			Prios: []Priority{
				{Value: PrioDHCPClient, Name: "dhcp-client", Profiles: both, What: "DHCP request may leave"},
				{Value: PrioDHCPServerDrop, Name: "dhcp-server-drop", Profiles: both, What: "an instance is no DHCP server and no router"},
				{Value: PrioNeighbour, Name: "neighbour", Profiles: Standard, What: "ARP and ND with the port's own addresses"},
				{Value: PrioUnowned, Name: "unowned", Profiles: Standard, What: "sources that no port can own; ND that is not the port's own"},
				{Value: PrioPermit, Name: "permit", Profiles: Classic, What: "security group rule"},
				{Value: PrioAddress, Name: "address", Profiles: both, What: "packet with the port's own addresses"},
				{Value: PrioSpoofed, Name: "spoofed", Profiles: Standard, What: "anything else from a filtered port"},
				{Value: PrioUnguarded, Name: "unguarded", Profiles: Standard, What: "a filtered port whose own flows are not there"},
			},
		},
		state(EgressState, "egress-state", EgressRules, EgressDrop, LoadBalancer),
		rules(EgressRules, "egress-rules", RegSrcSet, EgressCommit, EgressDrop, openflow.FieldIPv4Dst, openflow.FieldIPv6Dst),
		commit(EgressCommit, "egress-commit", RegSrcPort, LoadBalancer),
		Table{
			ID: EgressSource, Name: "egress-source", Profiles: Standard,
			Purpose: "Neighbour discovery must come from an address of the port's own.",
			Match:   join(fIP, fND, reg(1)), Kinds: Goto, Next: []TableID{EgressDrop, LoadBalancer}, Miss: missGoto(EgressDrop),
			Prios: []Priority{{Value: PrioNeighbour, Name: "neighbour", Profiles: Standard, What: "an own address; the unspecified one in duplicate address detection"}},
		},
		dropped(EgressDrop, "egress-drop", "What a filtered port may not send ends here. Copies of it go to the controller for security logs.", RegSrcPort),
		Table{
			ID: IngressACL, Name: "ingress-acl", Profiles: both,
			Purpose: "What may reach an instance: DHCP and neighbour discovery, then the security groups.",
			Match:   join(fL2, fVLAN[:1], fIP, fL4, fARP, fND, tunID, reg(0, 2, 6, 7)),
			Kinds:   Goto | Track,
			Next:    []TableID{IngressState, IngressRules, IngressDrop, OutboundNAT},
			Miss:    missGoto(OutboundNAT),
			Prios: []Priority{
				{Value: PrioTwoTags, Name: "two-tags", Profiles: Standard, What: "a tagged frame, on a node with trunks"},
				{Value: PrioNeighbour, Name: "neighbour", Profiles: Standard, What: "ARP and ND"},
				{Value: PrioPermit, Name: "permit", Profiles: Classic, What: "security group rule"},
				{Value: PrioDHCPReply, Name: "dhcp-reply", Profiles: both, What: "answer of the subnet's DHCP server"},
				{Value: PrioStateless, Name: "stateless", Profiles: Standard, What: "packet to a filtered port whose groups are stateless"},
				{Value: PrioAddress, Name: "filtered", Profiles: Standard, What: "packet to a filtered port"},
				{Value: PrioSpoofed, Name: "neither", Profiles: Standard, What: "anything else to a filtered port: neither ARP nor IP"},
			},
		},
		state(IngressState, "ingress-state", IngressRules, IngressDrop, OutboundNAT),
		rules(IngressRules, "ingress-rules", RegDstSet, IngressCommit, IngressDrop, openflow.FieldIPv4Src, openflow.FieldIPv6Src),
		commit(IngressCommit, "ingress-commit", RegDstPort, OutboundNAT),
		dropped(IngressDrop, "ingress-drop", "What may not reach a filtered port ends here. Copies of it go to the controller for security logs.", RegDstPort),
	)
}

func state(id TableID, name string, rules, drop, next TableID) Table {
	return Table{
		ID: id, Name: name, Profiles: Standard,
		Purpose: "Judges by connection state: replies of accepted connections pass, revoked ones stop, forward packets face the present rules.",
		Match:   join(fIP[:2], fCT, fOpener), Kinds: Goto, Next: []TableID{rules, drop, next}, Miss: Miss{Kind: MissNone},
		Prios: []Priority{
			{Value: PrioInvalid, Name: "invalid", Profiles: Standard, What: "+trk+inv drops; so do a DHCP server's answers from an instance"},
			{Value: PrioEstablished, Name: "established", Profiles: Standard, What: "reply or related, not revoked"},
			{Value: PrioRevoked, Name: "revoked", Profiles: Standard, What: "reply of a revoked connection drops"},
			{Value: PrioTracked, Name: "tracked", Profiles: Standard, What: "to the rules"},
		},
	}
}

func rules(id TableID, name string, key int, commit, drop TableID, remote ...*openflow.Field) Table {
	return Table{
		ID: id, Name: name, Profiles: Standard,
		Purpose: "Security group rules as conjunctions of port, protocol and remote address. No rule, no passage.",
		Match:   join(fIP[:2], fL4, remote, reg(key), fields{openflow.FieldConjID, openflow.FieldCTState, openflow.FieldIPFrag}, fOpener),
		Kinds:   Goto | Conjoin | Set | Track, Sets: join(reg(14), one(openflow.FieldCTMark)),
		Next: []TableID{id, commit, drop}, Miss: missGoto(drop),
		Prios: []Priority{
			{Value: PrioFragment, Name: "fragment", Profiles: Standard, What: "fragments that were not tracked go through the tracker; later ones follow the first; invalid ones drop"},
			{Value: PrioDHCPClient, Name: "dhcp-client", Profiles: Standard, What: "DHCP and DHCPv6 requests leave without a rule"},
			{Value: PrioDHCPServerDrop, Name: "dhcp-server-drop", Profiles: Standard, What: "a DHCP server's answer in fragments"},
			{Value: PrioPermit, Name: "permit", Profiles: Standard, What: "clauses, and conj_id of the rules they make"},
			{Value: PrioRevoke, Name: "revoke", Profiles: Standard, What: "established without a rule: mark the connection, drop"},
		},
	}
}

func commit(id TableID, name string, port int, next TableID) Table {
	return Table{
		ID: id, Name: name, Profiles: Standard,
		Purpose: "Commits accepted connections, labelled with the key of the accepting rule.",
		Match:   join(fIP[:2], fCT, one(openflow.FieldIPFrag), reg(port)), Kinds: Goto | Track | Set | Punt, Sets: fields{openflow.FieldCTMark, openflow.FieldCTLabel},
		Next: []TableID{next}, Miss: missGoto(next),
		Prios: []Priority{
			{Value: PrioFragment, Name: "fragment", Profiles: Standard, What: "fragments, which the tracker lets go on only when all are here"},
			{Value: PrioNewTold, Name: "new-told", Profiles: Standard, What: "the same, with a copy to the controller, of a port whose security log tells of it; once for a connection"},
			{Value: PrioNew, Name: "new", Profiles: Standard, What: "commit a new connection"},
			{Value: PrioRestored, Name: "restored", Profiles: Standard, What: "a rule allows a revoked connection again"},
		},
	}
}

// dropped is where packets end that are not let past a port's security. It leads nowhere.
func dropped(id TableID, name, purpose string, port int) Table {
	return Table{
		ID: id, Name: name, Profiles: Standard, Purpose: purpose, Match: reg(port), Kinds: Punt, Miss: Miss{Kind: MissNone},
		Prios: []Priority{{Value: PrioDropTold, Name: "drop-told", Profiles: Standard, What: "a copy to the controller, of a port whose security log tells of it"}},
	}
}

// drops are the actions that send a packet to its end.
var drops = [...]flow.Actions{flow.Do(), flow.Do(flow.Goto(EgressDrop)), flow.Do(flow.Goto(IngressDrop))}

// Drops reports whether actions pass a packet on to nothing.
func Drops(a flow.Actions) bool { return slices.Contains(drops[:], a) }
