// SPDX-License-Identifier: Apache-2.0

package pipeline

import "nagare/openflow"

type fields = []*openflow.Field

// Sets of fields that tables share.
var (
	fL2   = fields{openflow.FieldInPort, openflow.FieldEthSrc, openflow.FieldEthDst, openflow.FieldEthType}
	fVLAN = fields{openflow.FieldVLANVID, openflow.FieldVLANPCP}
	fIP   = fields{openflow.FieldEthType, openflow.FieldIPProto, openflow.FieldIPv4Src, openflow.FieldIPv4Dst, openflow.FieldIPv6Src, openflow.FieldIPv6Dst}
	fL4   = fields{openflow.FieldTCPSrc, openflow.FieldTCPDst, openflow.FieldUDPSrc, openflow.FieldUDPDst, openflow.FieldSCTPSrc, openflow.FieldSCTPDst,
		openflow.FieldICMPType, openflow.FieldICMPCode, openflow.FieldICMPv6Type, openflow.FieldICMPv6Code, openflow.FieldTCPFlags}
	fARP = fields{openflow.FieldEthType, openflow.FieldARPOp, openflow.FieldARPSPA, openflow.FieldARPTPA, openflow.FieldARPSHA, openflow.FieldARPTHA}
	fND  = fields{openflow.FieldEthType, openflow.FieldIPProto, openflow.FieldICMPv6Type, openflow.FieldICMPv6Code, openflow.FieldNDTarget,
		openflow.FieldNDSLL, openflow.FieldNDTLL, openflow.FieldNDOptionsType, openflow.FieldNDReserved}
	// The packet that opened the connection: its fragments have these, but no ports.
	fOpener = fields{openflow.FieldCTNwProto, openflow.FieldCTTpSrc, openflow.FieldCTTpDst}
	fCT     = fields{openflow.FieldCTState, openflow.FieldCTMark, openflow.FieldCTLabel, openflow.FieldCTZone}
)

func reg(ns ...int) fields {
	var out fields
	for _, n := range ns {
		out = append(out, openflow.Reg(n))
	}
	return out
}

func join(sets ...fields) (out fields) {
	seen := map[*openflow.Field]bool{}
	for _, s := range sets {
		for _, f := range s {
			if !seen[f] {
				seen[f] = true
				out = append(out, f)
			}
		}
	}
	return out
}

func one(f *openflow.Field) fields { return fields{f} }

var tunID = one(openflow.FieldTunID)

func missGoto(t TableID) Miss { return Miss{Kind: MissGoto, Goto: t} }

// declare puts the tables into the index; a number given twice is a mistake in
// this file.
func declare(ts ...Table) {
	for i := range ts {
		t := &ts[i]
		if byID[t.ID] != nil {
			panic("pipeline: table " + t.ID.String() + " declared twice")
		}
		t.match, t.sets = fieldSet(t.Match), fieldSet(t.Sets)
		byID[t.ID] = t
	}
}

func init() {
	declare(
		Table{
			ID: Classifier, Name: "classifier", Profiles: both,
			Purpose: "Tells where a frame comes from (reg0) and to which logical network it belongs (tun_id). Frames of unknown origin from a managed port stop here.",
			Match:   join(fL2, fVLAN, tunID, fields{openflow.FieldTunSrc, openflow.FieldTunDst, openflow.FieldIPProto, openflow.FieldIPv4Dst}),
			Kinds:   Goto | Punt | Set | VLAN | Limit | Track | Copy | SampleKind,
			Sets:    join(tunID, reg(0, 1, 5, 7, 12)),
			Next:    []TableID{UserHooks, EgressQoS, Responder, MetadataBack},
			Miss:    missGoto(Responder),
			Prios: []Priority{
				{Value: PrioLLDPPort, Name: "lldp", Profiles: Standard, What: "LLDP of a tunnel or provider port to the controller"},
				{Value: PrioMetaBack, Name: "metadata-back", Profiles: Standard, What: "answer of the node's metadata proxy"},
				{Value: PrioTrunk, Name: "trunk", Profiles: Standard, What: "sub-port of a trunk, by its tag"},
				{Value: PrioPort, Name: "origin", Profiles: both, What: "local port; tunnel; provider network; in classic LLDP to the controller"},
				{Value: PrioPortDrop, Name: "port-drop", Profiles: both, What: "anything else from that port"},
			},
		},
		Table{
			ID: UserHooks, Name: "user-hooks", Profiles: Standard,
			Purpose: "Empty; kept free for the operator's own flows.",
			Miss:    missGoto(Responder), Kinds: Goto, Next: []TableID{Responder},
		},
		Table{
			ID: EgressQoS, Name: "egress-qos", Profiles: Standard,
			Purpose: "What a policy of quality of service does with a port's packets beside the meter in the classifier: a second meter, and the code point.",
			Match:   join(one(openflow.FieldEthType), reg(1)), Kinds: Goto | Limit | Set, Sets: one(openflow.FieldIPDSCP),
			Next: []TableID{Responder}, Miss: missGoto(Responder),
			Prios: []Priority{
				{Value: PrioQosMark, Name: "mark", Profiles: Standard, What: "IP packet of a port whose packets are marked"},
				{Value: PrioQos, Name: "limit", Profiles: Standard, What: "other frame of a port whose packets are counted"},
			},
		},
		Table{
			ID: Responder, Name: "responder", Profiles: both,
			Purpose: "Answers ARP and neighbour solicitations for known addresses, hands DHCP and router solicitations to the controller.",
			Match:   join(fL2, fVLAN[:1], fARP, fND, tunID, reg(0, 1), fields{openflow.FieldUDPSrc, openflow.FieldUDPDst, openflow.FieldIPv6Src, openflow.FieldIPv6Dst}),
			Kinds:   Goto | Punt | Set | Again | Out,
			Sets:    join(fields{openflow.FieldEthSrc, openflow.FieldEthDst, openflow.FieldIPv6Src, openflow.FieldIPv6Dst}, fARP[1:], fND[2:]),
			Next:    []TableID{InboundNAT, ReturnToSender},
			Back:    []TableID{ResponderND},
			Miss:    missGoto(InboundNAT),
			Prios: []Priority{
				{Value: PrioTwoTags, Name: "two-tags", Profiles: Standard, What: "a frame that is tagged still, without its sub-port's tag"},
				{Value: PrioDHCPPunt, Name: "dhcp-punt", Profiles: Standard, What: "DHCP request, answered by the controller (native mode)"},
				{Value: PrioGatewayLearn, Name: "gateway-learn", Profiles: Standard, What: "copy of the external gateway's ARP or ND answer to the controller"},
				{Value: PrioMulticastReport, Name: "multicast-report", Profiles: Standard, What: "copy of IGMP and MLD reports to the controller"},
				{Value: PrioRouterSolicit, Name: "router-solicit", Profiles: Standard, What: "router solicitation to the controller"},
				{Value: PrioResponderExempt, Name: "responder-exempt", Profiles: Standard, What: "address-conflict probe of the owner, not answered by us"},
				{Value: PrioResponder, Name: "responder", Profiles: both, What: "answer for one address"},
			},
		},
		Table{
			ID: ResponderND, Name: "responder-nd", Profiles: Standard,
			Purpose: "Second half of the neighbour advertisement: nd_tll can be set on an advertisement only.",
			Match:   join(fND, tunID), Kinds: Goto | Set, Sets: one(openflow.FieldNDTLL),
			Next: []TableID{ReturnToSender}, Miss: Miss{Kind: MissNone},
			Prios: []Priority{{Value: PrioResponder, Name: "responder", Profiles: Standard, What: "answer for one address"}},
		},
		Table{
			ID: InboundNAT, Name: "inbound-nat", Profiles: both,
			Purpose: "Undoes and makes destination translation for packets from an external network; metadata requests.",
			Match:   join(fL2, fIP, fL4, tunID, reg(0, 1, 7)),
			Kinds:   Goto | Set | Track | Punt | CheckSize | Limit,
			Sets:    join(tunID, reg(3, 7, 15), fields{openflow.FieldIPv4Dst, openflow.FieldEthDst}),
			Next:    []TableID{InboundNew, MetadataOut, EgressACL, PacketSize},
			Miss:    missGoto(EgressACL),
			Prios: []Priority{
				{Value: PrioMetadata, Name: "metadata", Profiles: Standard, What: "request to 169.254.169.254"},
				{Value: PrioSized, Name: "sized", Profiles: Standard, What: "floating or gateway address, while larger packets come than go on from there: their size is looked at before translation"},
				{Value: PrioHelped, Name: "helped", Profiles: Standard, What: "the same, from or to another port than FTP's own that a conntrack helper follows"},
				{Value: PrioFloating, Name: "floating", Profiles: both, What: "floating or gateway address"},
			},
		},
		Table{
			ID: InboundNew, Name: "inbound-nat-new", Profiles: Standard,
			Purpose: "Translates new connections from outside; known ones were translated by ct().",
			Match:   join(fIP, fL4, fCT, reg(3)), Kinds: Goto | Track | Set, Sets: one(openflow.FieldCTMark), Next: []TableID{InboundDone, EgressACL},
			Miss: Miss{Kind: MissDrop},
			Prios: []Priority{
				{Value: PrioRelated, Name: "related", Profiles: Standard, What: "new connection to which one led that a conntrack helper follows: translated as that one"},
				{Value: PrioHelped, Name: "helped", Profiles: Standard, What: "new connection that a conntrack helper follows"},
				{Value: PrioFloating, Name: "floating", Profiles: Standard, What: "new connection to a floating address, or to ports of it that are forwarded; ping of an address of the router"},
				{Value: PrioNATDone, Name: "done", Profiles: Standard, What: "translated to the fixed address, of the present association or forwarding"},
				{Value: PrioNATKnown, Name: "known", Profiles: Standard, What: "reply to what left by the gateway's address; what is related to that"},
			},
		},
		Table{
			ID: InboundDone, Name: "inbound-nat-done", Profiles: Standard,
			Purpose: "Joins what inbound-nat-new translated.", Kinds: Goto, Next: []TableID{EgressACL}, Miss: missGoto(EgressACL),
		},
		Table{
			ID: MetadataOut, Name: "metadata-out", Profiles: Standard,
			Purpose: "Sends translated metadata requests to the node's metadata port.",
			Match:   join(fIP, fL4, fCT), Kinds: Out | Set, Sets: join(reg(15), one(openflow.FieldEthDst)), Miss: Miss{Kind: MissNone},
			Prios: []Priority{{Value: PrioMetadata, Name: "metadata", Profiles: Standard, What: "to the metadata port"}},
		},
		Table{
			ID: MetadataBack, Name: "metadata-back", Profiles: Standard,
			Purpose: "Sends metadata answers to the instance that asked.",
			Match:   join(fL2, fIP, fL4, fCT), Kinds: Out | Set, Sets: fields{openflow.FieldIPv4Src, openflow.FieldEthSrc, openflow.FieldEthDst}, Miss: Miss{Kind: MissNone},
			Prios: []Priority{{Value: PrioMetadata, Name: "metadata", Profiles: Standard, What: "to one local port"}},
		},
	)
	declareACL()
	declareForward()
}
