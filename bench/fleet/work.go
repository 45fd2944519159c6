// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"net/netip"
)

// work is the workload, by the arithmetic of the peers' runner, so that both are given the same ports at the same places:
// tenants of five networks, a /20 of 10.0.0.0/8 each, ports dealt round over the networks and in turn over the nodes, so that
// every network is on every node. It is pure arithmetic on the numbers of networks and ports.
type work struct {
	nets, ports, nodes int
}

// perTenant is how many networks share a tenant, and with it a security group.
const perTenant = 5

func (w work) String() string {
	return fmt.Sprintf("%s ports, %d networks, %d nodes", count(float64(w.ports)), w.nets, w.nodes)
}

func (w work) tenants() int       { return (w.nets + perTenant - 1) / perTenant }
func (w work) tenantOf(n int) int { return n / perTenant }

// cidr is a network's subnet; its address 1 is the gateway.
func (w work) cidr(n int) netip.Prefix { return netip.PrefixFrom(ipv4(10<<24+n<<12), 20) }
func (w work) gateway(n int) string    { return ipv4(10<<24 + n<<12 + 1).String() }

func (w work) netOf(p int) int  { return p % w.nets }
func (w work) nodeOf(p int) int { return (p/w.nets + p%w.nets) % w.nodes }
func (w work) ip(p int) string  { return ipv4(10<<24 + w.netOf(p)<<12 + 10 + p/w.nets).String() }
func (w work) mac(p int) string {
	return fmt.Sprintf("fa:16:3e:%02x:%02x:%02x", p>>16&255, p>>8&255, p&255)
}
func (w work) tap(p int) string { return fmt.Sprintf("tap%06x", p) }

// id is the id of a port whose id has to be known before it is created.
func (w work) id(p int) string { return fmt.Sprintf("7adff632-0000-0000-0000-%012x", p) }

// stranger is an address of a network that no port has.
func (w work) stranger(n int) string { return ipv4(10<<24 + n<<12 + 4000).String() }

// nodeName and vtep name a node and its tunnel's end.
func nodeName(i int) string     { return fmt.Sprintf("ch%d", i) }
func vtep(i int) netip.Addr     { return ipv4(172<<24 + 31<<16 + i/250<<8 + i%250 + 1) }
func project(tenant int) string { return fmt.Sprintf("%032x", 0x7e000000+tenant) }

func parseMAC(s string) []byte {
	m, err := net.ParseMAC(s)
	if err != nil {
		panic(err) // ours
	}
	return m
}

func ipv4(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// pairs are ports that must reach each other, by the arithmetic of the peers' runner: in one network, on most occasions on two
// nodes; and, where the networks have routers, every second pair in two networks of a tenant.
func (w work) pairs(k int, routed bool) [][2]int {
	var out [][2]int
	for i := 0; len(out) < k && i < 50*k; i++ {
		a := i * 7919 % max(w.ports, 1)
		b := a + w.nets*(1+i%7)
		if routed && len(out)%2 == 0 && w.nets > 1 {
			first := w.tenantOf(w.netOf(a)) * perTenant
			b = a - w.netOf(a) + first + (w.netOf(a)-first+1)%min(perTenant, w.nets-first)
		}
		if a != b && b < w.ports {
			out = append(out, [2]int{a, b})
		}
	}
	return out
}
