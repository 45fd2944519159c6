// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"net/netip"
	"slices"

	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/tables"
)

// ndProxied are the router and solicited bits of an advertisement for somebody else's address: without override, so that who has the
// address itself wins (RFC 4861 section 7.2.8).
const ndProxied = 0xc0000000

// proxies emits, on the gateway node of a router that may speak for instances, the answers for their addresses, and lets from outside
// nothing but these in. The way on is that of any packet of the router.
func (l *layer3) proxies(c *compile.Context) {
	rt, ok := tables.Routers.Get(c, model.RouterID(c.Subject))
	e := compile.Ask(c, l.edges, c.Subject)
	if !ok || !rt.NDPProxying || !e.hasGateway() || string(e.Node) != c.Node || !e.Addr6.IsValid() {
		return
	}
	var inside []netip.Prefix
	for p := range tables.RouterPorts.By(c, c.Subject) {
		if f := compile.Ask(c, l.faces, string(p.ID)); f.carried() {
			for _, a := range f.prefixes() {
				if m := a.Masked(); m.Addr().Is6() && !slices.Contains(inside, m) {
					inside = append(inside, m)
				}
			}
		}
	}
	outer := []flow.Term{flow.IPv6(), flow.TunID(e.Tag), flow.EthDst(e.MAC)}
	emit := func(n uint8, prio uint16, to netip.Prefix, a flow.Actions) {
		c.Flow(ofRouter(&e, n, pipeline.Flow(pipeline.Routing, prio, flow.M(append(slices.Clone(outer), flow.IPDst(to))...), a)))
	}
	for _, p := range inside {
		emit(l3Closed, pipeline.PrioUnproxied, p, flow.Do())
	}
	for proxy := range tables.NDPProxiesByRouter.By(c, c.Subject) {
		a := proxy.Addr
		p, ok := tables.Ports.Get(c, proxy.Port)
		has := slices.ContainsFunc(p.FixedIPs, func(f model.FixedIP) bool { return f.Addr == a })
		if !ok || !has || !slices.ContainsFunc(inside, func(p netip.Prefix) bool { return p.Contains(a) }) {
			continue
		}
		first, second := ndAnswer(e.Tag, a, e.MAC, ndProxied)
		c.Flow(ofRouter(&e, l3Proxied, first))
		c.Flow(ofRouter(&e, l3Proxied, second))
		emit(l3Door, pipeline.PrioProxied, host(a), enterRouter(e.Key))
	}
}
