// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"slices"
	"testing"
)

// allAttacks is the table of what an instance may try.
func allAttacks() []attack {
	return slices.Concat(macAttacks(), addressAttacks(), arpAttacks(), ndAttacks(), routerAttacks(), dhcpAttacks(), fragmentAttacks(), crossAttacks(), protocolAttacks())
}

// TestClassicLetsThrough sends every attack in the classic profile, where most of them arrive: so the tests of the standard
// profile, which are the same, can see.
func TestClassicLetsThrough(t *testing.T) {
	s := newSite(t, "--profile", "classic")
	newCast(s, false).attacks(allAttacks())
}

// TestStandard is the standard profile with real packets: nothing forbidden arrives while what is allowed loses nothing. Its
// parts share a laboratory, which takes longer to raise than most of them take to run.
func TestStandard(t *testing.T) {
	s := newSite(t, "--profile", "standard", "--provider")
	c := newCast(s, true)
	c.part("Attacks", func(c *cast) {
		full := c.queuesFull()
		pings := []*pinger{c.ping("alice", c.bob.ip.String()), c.ping("bob", c.alice.ip.String()), c.ping("eve", c.ernie.ip.String())}
		c.attacks(allAttacks())
		for _, p := range pings {
			c.noLoss(c.t, "ping "+p.from+" to "+p.to, len(p.rest(c.t)), full)
		}
	})
	c.part("DHCPGreed", dhcpGreed)
	c.part("PuntFlood", puntFlood)
	c.part("AddressPairs", pairs)
	c.part("DeviceOwners", owners)
	c.part("Overlap", overlap)
	c.part("Provider", providers)
	c.part("Sessions", func(c *cast) {
		p := newPair(c)
		p.step("Established", (*pair).established)
		p.step("IPv6", (*pair).six)
		p.step("Related", (*pair).related)
		p.step("Invalid", (*pair).invalid)
		p.step("Fragments", (*pair).fragments)
		p.step("HalfClosed", (*pair).halfClosed)
		p.step("PortRange", (*pair).portRange)
		p.step("ICMPTypes", (*pair).icmpTypes)
		p.step("Stateless", (*pair).stateless)
		p.step("NoBlink", (*pair).noBlink)
		p.step("OwnGroups", (*pair).ownGroups)
		p.step("RuleRemoved", (*pair).ruleRemoved)
		p.step("MemberLeaves", (*pair).memberLeaves)
		p.step("AddressGroup", (*pair).addressGroup)
		p.step("GroupTakenOff", (*pair).groupTakenOff)
		p.step("EgressRemoved", (*pair).egressRemoved)
		p.step("PortDown", (*pair).portDown)
		p.step("PortDeleted", (*pair).portDeleted)
		p.step("ZoneReuse", zoneReuse)
		p.step("Authors", func(p *pair) { authored(p.cast) })
		p.step("Restart", restart)
	})
	c.part("WindowPlug", windowPlug)
	c.part("WindowMove", windowMove)
	c.part("WindowServer", windowServer)
	c.part("WindowSwitch", windowSwitch)
}
