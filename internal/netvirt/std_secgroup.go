// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// Security groups as conjunctions (ovs-fields(7), "conjunctive match"). A rule is the conjunction whose id is the rule's key:
// clause 1 is the set of groups that a port wears, clause 2 protocol and ports, clause 3 the other end's address, which a rule
// for anybody lacks. So a rule costs flows for its ports, its members and the sets on the node, and never for their product;
// and clauses that rules have in common are one flow.

// maxClauses bounds the conjunctions of one flow, whose actions must fit an OpenFlow message of 64 KiB.
const maxClauses = 4000

// declareGroups declares the rules of security groups and returns the one for a set of groups on a node.
func declareGroups(b *compile.Rulebook) compile.RuleID {
	naming := compile.DeclareQuery(b, "remote-rules", remoteRules)
	member := b.Add(compile.Rule{Name: "acl/member", Kind: "remote-set", Run: setMember(naming),
		Doc: "an address of a group or address group that rules of this node name"})
	remote := b.Add(compile.Rule{Name: "acl/remote", Kind: "remote-set", Doc: "a group or address group that a rule of this node names",
		Run: func(c *compile.Context) { c.Each(tables.RemoteMembers, c.Subject, member) }})
	rule := b.Add(compile.Rule{Name: "acl/rule", Kind: "security-group-rule", Run: groupRule(remote),
		Doc: "what a rule of a group that is worn here allows"})
	return b.Add(compile.Rule{Name: "acl/group-set", Kind: "group-set", Run: groupSet(rule),
		Doc: "which rules hold for the ports that wear these groups"})
}

// plan is a rule as the tables see it.
type plan struct {
	side    aclSide
	v4      bool
	ports   [][]flow.Term // alternatives of clause 2
	prefix  netip.Prefix  // of clause 3, if it is a prefix
	set     string        // of clause 3, if it is the members of this set
	clauses uint8         // 2 or 3
}

// planOf reads a rule. The error says why the rule cannot be had exactly; then it allows nothing.
func planOf(r *model.RulePlane) (p plan, err error) {
	p.clauses, p.v4 = 2, r.Ethertype == model.EtherIPv4
	switch r.Direction {
	case model.Egress:
		p.side = sending
	case model.Ingress:
		p.side = receiving
	default:
		return p, fmt.Errorf("direction %q: want %s or %s", r.Direction, model.Ingress, model.Egress)
	}
	if !p.v4 && r.Ethertype != model.EtherIPv6 {
		return p, fmt.Errorf("ethertype %q: want %s or %s", r.Ethertype, model.EtherIPv4, model.EtherIPv6)
	}
	if r.Key == 0 {
		return p, fmt.Errorf("has no key: delete it and create it again")
	}
	if p.ports, err = clausePorts(r, p.v4); err != nil {
		return p, err
	}
	switch {
	case r.RemoteSet() != "":
		p.set, p.clauses = r.RemoteSet(), 3
	case r.RemotePrefix.IsValid() && r.RemotePrefix.Addr().Is4() != p.v4:
		return p, fmt.Errorf("remote prefix %s is not of its ethertype %s: create it again with one that is", r.RemotePrefix, r.Ethertype)
	case r.RemotePrefix.IsValid() && r.RemotePrefix.Bits() > 0:
		p.prefix, p.clauses = r.RemotePrefix.Masked(), 3
	}
	return p, nil
}

// groupSet emits clause 1 of the rules of a set of groups.
func groupSet(rule compile.RuleID) func(*compile.Context) {
	return func(c *compile.Context) {
		set, ok := tables.GroupSets.Get(c, c.Subject)
		if !ok {
			return
		}
		var sent, received []flow.Clause
		for _, g := range set.Groups {
			if _, ok := tables.SecurityGroups.Get(c, g); !ok {
				continue // not there yet, or not any more: rules that name it allow nothing
			}
			for r := range tables.RulesByGroup.By(c, string(g)) {
				c.Need(rule, string(r.ID)) // also one that is in fault, to say so
				p, err := planOf(&r.RulePlane)
				switch {
				case err != nil:
				case p.side.rules == sending.rules:
					sent = append(sent, flow.Clause{ID: uint32(r.Key), Number: 1, Of: p.clauses})
				default:
					received = append(received, flow.Clause{ID: uint32(r.Key), Number: 1, Of: p.clauses})
				}
			}
		}
		emit := func(s aclSide, of []flow.Clause) {
			if len(of) == 0 {
				return
			}
			if len(of) > maxClauses {
				c.Fault(fmt.Sprintf("%d rules in one direction: a port's groups may have %d, the others allow nothing", len(of), maxClauses))
			}
			c.Flow(owned(pipeline.KindGroupSet, set.Key, 1, pipeline.Flow(s.rules, pipeline.PrioPermit,
				flow.M(flow.Reg(s.set, uint32(set.Key))), conjoin(of))))
		}
		emit(sending, sent)
		emit(receiving, received)
	}
}

// groupRule emits clauses 2 and 3 of a rule and what follows if all are met.
func groupRule(remote compile.RuleID) func(*compile.Context) {
	return func(c *compile.Context) {
		r, ok := tables.Rules.Get(c, model.SecurityGroupRuleID(c.Subject))
		if !ok {
			return
		}
		p, err := planOf(&r.RulePlane)
		if err != nil {
			c.Fault(fmt.Sprintf("security group rule %s allows nothing: %v", r.ID, err))
			return
		}
		key, ip := uint32(r.Key), flow.IPv6()
		if p.v4 {
			ip = flow.IP()
		}
		c.Flow(owned(pipeline.KindGroupRule, r.Key, 1, pipeline.Flow(p.side.rules, pipeline.PrioPermit, flow.M(ip, flow.ConjID(key)),
			flow.Do(flow.LoadReg(pipeline.RegRule, key), to(p.side.commit)))))
		clause := func(n, number uint8, terms ...flow.Term) {
			c.Merge(owned(pipeline.KindGroupRule, r.Key, n, pipeline.Flow(p.side.rules, pipeline.PrioPermit, flow.M(terms...),
				flow.Do(flow.Conjunction(key, number, p.clauses)))))
		}
		for _, terms := range p.ports {
			clause(2, 2, terms...)
		}
		if p.prefix.IsValid() {
			clause(3, 3, p.side.remote(p.prefix))
		}
		if p.set != "" {
			c.Need(remote, tables.RemoteKey(p.set, p.v4))
		}
	}
}

// ruleList is a query's value: the rules that a node has and that name a set, as "direction key " each, ascending by key.
type ruleList string

// remoteRules lists the rules of groups worn on a node that name a set in a family; its key is node|set|family. A member of the
// set asks for it in place of the rules themselves, and so runs again only if the list is another.
func remoteRules(r store.Reader, key string) ruleList {
	node, remote, _ := strings.Cut(key, "|")
	set, _, _ := strings.Cut(remote, "|")
	var found []model.RulePlane
	for rule := range tables.RulesByRemoteSet.By(r, set) {
		p, err := planOf(&rule.RulePlane)
		if err == nil && tables.RemoteKey(set, p.v4) == remote && tables.NodeGroups.Has(r, node, string(rule.Group)) {
			found = append(found, rule.RulePlane)
		}
	}
	slices.SortFunc(found, func(a, b model.RulePlane) int { return cmp.Compare(a.Key, b.Key) })
	var s strings.Builder
	for _, rule := range found {
		s.WriteString(string(rule.Direction) + " " + strconv.FormatUint(uint64(rule.Key), 36) + " ")
	}
	return ruleList(s.String())
}

// of are the clauses that an address of the set is, in one direction.
func (l ruleList) of(d model.Direction) (out []flow.Clause) {
	words := strings.Fields(string(l))
	for ; len(words) > 1; words = words[2:] {
		if words[0] == string(d) {
			key, _ := strconv.ParseUint(words[1], 36, 32)
			out = append(out, flow.Clause{ID: uint32(key), Number: 3, Of: 3})
		}
	}
	return out
}

// setMember emits clause 3 for an address of a set; its subject is tables.MemberName.
func setMember(naming *compile.Query[ruleList]) func(*compile.Context) {
	return func(c *compile.Context) {
		set, prefix, ok := tables.ParseMember(c.Subject)
		if !ok {
			return
		}
		rules := compile.Ask(c, naming, c.Node+"|"+tables.RemoteKey(set, prefix.Addr().Is4()))
		emit := func(s aclSide, of []flow.Clause) {
			if len(of) == 0 {
				return
			}
			for _, p := range halves(prefix) {
				c.Merge(owned(pipeline.KindGroupMember, 0, 1, pipeline.Flow(s.rules, pipeline.PrioPermit, flow.M(s.remote(p)), conjoin(of))))
			}
		}
		emit(sending, rules.of(model.Egress))
		emit(receiving, rules.of(model.Ingress))
	}
}

// halves is the prefix itself, or its halves if it is all addresses: that match would be the one of clause 2 of a rule without
// protocol, and Open vSwitch 3.1 does not find a conjunction of which one flow is two clauses.
func halves(p netip.Prefix) []netip.Prefix {
	if p.Bits() > 0 {
		return []netip.Prefix{p}
	}
	high := p.Addr().AsSlice()
	high[0] = 0x80
	a, _ := netip.AddrFromSlice(high)
	return []netip.Prefix{netip.PrefixFrom(p.Addr(), 1), netip.PrefixFrom(a, 1)}
}

// conjoin is the clauses as actions, in order, each once.
func conjoin(of []flow.Clause) flow.Actions {
	slices.SortFunc(of, func(a, b flow.Clause) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Number, b.Number), cmp.Compare(a.Of, b.Of))
	})
	of = slices.Compact(of)
	acts := make([]flow.Act, 0, len(of))
	for _, cl := range of[:min(len(of), maxClauses)] {
		acts = append(acts, cl.Act())
	}
	return flow.Do(acts...)
}

// mergeClauses joins the conjunction clauses of several rules or members that share a match.
func mergeClauses(parts []flow.Flow) flow.Flow {
	var of []flow.Clause
	for _, p := range parts {
		of = append(of, p.Actions.Clauses()...)
	}
	f := parts[0]
	f.Actions = conjoin(of)
	f.Cookie = pipeline.Cookie{Kind: pipeline.KindGroupMember, Template: pipeline.TemplateMerged}.Pack()
	return f
}
