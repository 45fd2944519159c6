// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"fmt"
	"math/rand/v2"
)

// History makes random changes as OpenStack's users would: each is possible where it is made, and none leaves what Neutron would
// refuse. Two histories of one seed are the same.
type History struct {
	N     *Neutron
	Hosts []string
	Rnd   *rand.Rand

	nets, names int
	ext         string // subnet of the external network
}

func (h *History) name(what string) string { h.names++; return fmt.Sprintf("%s%d", what, h.names) }

// pick gives one of a list; ok is false if it is empty.
func (h *History) pick(ids []string) (string, bool) {
	if len(ids) == 0 {
		return "", false
	}
	return ids[h.Rnd.IntN(len(ids))], true
}

const tenant = "0f0e0d0c0b0a09080706050403020100" // 32 hexadecimal digits, as Keystone's are

// Start makes what most changes need: a group as each project has, a network with a subnet, an external network.
func (h *History) Start() {
	h.N.Group(tenant, "default", Object{"remote_group_id": "self"}, Object{"ethertype": "IPv6", "remote_group_id": "self"})
	h.network()
	ext := h.N.Network("admin", "ext", Segment{Type: "flat", Physical: "physnet1"}, true)
	h.ext = h.N.Subnet("admin", "ext-subnet", ext, "172.16.0.0/22", true, false)
}

func (h *History) network() {
	h.nets++
	seg := Segment{"vxlan", "", 1000 + h.nets}
	if h.Rnd.IntN(5) == 0 {
		seg = Segment{"vlan", "physnet1", 100 + h.nets}
	}
	id := h.N.Network(tenant, h.name("net"), seg, false)
	h.subnet(id, fmt.Sprintf("10.%d.%d.0/24", h.nets/250, h.nets%250))
	if h.Rnd.IntN(4) == 0 {
		h.subnet(id, fmt.Sprintf("2001:db8:%x::/64", h.nets))
	}
}

func (h *History) subnet(network, cidr string) {
	dns := []any{}
	if h.Rnd.IntN(2) == 0 {
		dns = []any{"9.9.9.9", "1.1.1.1"} // not sorted: the order is the user's
	}
	h.N.Subnet(tenant, h.name("sub"), network, cidr, true, true, dns...)
}

// Step makes one change. What it draws may not be possible now; then it draws again.
func (h *History) Step() {
	for range 50 {
		if h.try(h.Rnd.IntN(36)) {
			return
		}
	}
}

func (h *History) tenantSubnets() []string {
	var out []string
	for _, id := range h.N.find(Subnet, "ip_version", 4) {
		if id != h.ext {
			out = append(out, id)
		}
	}
	return out
}

func (h *History) instances() []string { return h.N.find(Port, "device_owner", ownerCompute) }

func (h *History) try(what int) bool {
	switch n := h.N; what {
	case 0:
		h.network()
	case 1: // attributes of a network
		id, _ := h.pick(n.find(Network, "router:external", false))
		if id == "" {
			return false
		}
		n.Change(Network, id, Object{"name": h.name("renamed"), "mtu": 1400 + h.Rnd.IntN(50), "admin_state_up": h.Rnd.IntN(4) > 0})
	case 2: // a network with nothing on it
		id, ok := h.pick(n.find(Network, "router:external", false))
		if !ok || len(n.find(Network, "router:external", false)) < 2 {
			return false
		}
		for _, p := range n.find(Port, "network_id", id) {
			if n.Object(Port, p).str("device_owner") != ownerDHCP {
				return false
			}
		}
		for _, s := range n.find(Subnet, "network_id", id) {
			n.RemoveSubnet(s)
		}
		n.Remove(Network, id)
	case 3:
		id, ok := h.pick(h.tenantSubnets())
		if !ok {
			return false
		}
		routes := []any{}
		if h.Rnd.IntN(2) == 0 {
			routes = []any{map[string]any{"destination": "192.168.9.0/24", "nexthop": "10.0.1.9"}}
		}
		n.Change(Subnet, id, Object{"host_routes": routes, "dns_nameservers": []any{"8.8.8.8"}, "name": h.name("sub")})
	case 4, 5, 6, 7, 8, 9:
		s, ok := h.pick(h.tenantSubnets())
		if !ok {
			return false
		}
		var groups []string
		if g, ok := h.pick(n.IDs(Group)); ok {
			groups = []string{g}
		}
		host, _ := h.pick(h.Hosts)
		n.Boot(tenant, h.name("vm"), s, "", host, groups...)
	case 10:
		return h.withPort(func(id string) { n.RemovePort(id) })
	case 11:
		return h.withPort(func(id string) { n.Change(Port, id, Object{"name": h.name("p")}) })
	case 12:
		return h.withPort(func(id string) {
			var groups []string
			for _, g := range n.IDs(Group) {
				if h.Rnd.IntN(2) == 0 {
					groups = append(groups, g)
				}
			}
			n.Change(Port, id, Object{"security_groups": groupRefs(groups), "port_security_enabled": true})
		})
	case 13:
		return h.withPort(func(id string) {
			n.Change(Port, id, Object{"security_groups": []any{}, "port_security_enabled": false, "allowed_address_pairs": []any{}})
		})
	case 14:
		return h.withPort(func(id string) {
			if n.Object(Port, id)["port_security_enabled"] != true {
				return
			}
			n.Change(Port, id, Object{"allowed_address_pairs": []any{map[string]any{"ip_address": "10.200.0.0/24", "mac_address": "fa:16:3e:99:00:01"}}})
		})
	case 15:
		return h.withPort(func(id string) {
			opts := []any{}
			if h.Rnd.IntN(2) == 0 {
				opts = []any{map[string]any{"opt_name": "bootfile-name", "opt_value": "pxe.0", "ip_version": 4}}
			}
			n.Change(Port, id, Object{"extra_dhcp_opts": opts, "admin_state_up": h.Rnd.IntN(3) > 0})
		})
	case 16:
		return h.withPort(func(id string) {
			host, _ := h.pick(h.Hosts)
			n.Bind(id, host)
		})
	case 17, 18:
		n.Group(tenant, h.name("group"), h.rule(), h.rule())
	case 19, 20:
		g, ok := h.pick(n.IDs(Group))
		if !ok {
			return false
		}
		n.AddRule(g, h.rule())
	case 21:
		r, ok := h.pick(n.IDs(Rule))
		if !ok {
			return false
		}
		n.RemoveRule(r)
	case 22:
		g, ok := h.pick(n.IDs(Group))
		if !ok || h.groupUsed(g) {
			return false
		}
		n.RemoveGroup(g)
	case 23:
		g, ok := h.pick(n.IDs(Group))
		if !ok {
			return false
		}
		n.Change(Group, g, Object{"name": h.name("group")})
	default:
		return h.tryMore(what)
	}
	return true
}

// tryMore are the changes of routers, floating IPs, policies and trunks.
func (h *History) tryMore(what int) bool {
	switch n := h.N; what {
	case 24, 25:
		r := n.Router(tenant, h.name("router"))
		if h.Rnd.IntN(2) == 0 {
			n.SetGateway(r, h.ext, "")
		}
	case 26, 27:
		r, ok := h.pick(n.IDs(Router))
		s, found := h.pick(h.tenantSubnets())
		if !ok || !found || h.routed(s) != "" {
			return false
		}
		n.AddInterface(r, s)
	case 28:
		r, ok := h.pick(n.IDs(Router))
		if !ok {
			return false
		}
		switch {
		case n.Object(Router, r).str("gw_port_id") == "":
			n.SetGateway(r, h.ext, "")
		case len(n.find(FloatingIP, "router_id", r)) == 0:
			n.ClearGateway(r)
		default:
			routes := []any{}
			if h.Rnd.IntN(2) == 0 {
				routes = []any{map[string]any{"destination": "10.99.0.0/16", "nexthop": "172.16.0.9"}}
			}
			n.Change(Router, r, Object{"routes": routes})
		}
	case 29:
		r, ok := h.pick(n.IDs(Router))
		if !ok || len(n.find(FloatingIP, "router_id", r)) > 0 {
			return false
		}
		n.RemoveRouter(r)
	case 30, 31:
		n.Float(tenant, h.name("fip"), h.ext, "")
	case 32:
		f, ok := h.pick(n.IDs(FloatingIP))
		if !ok {
			return false
		}
		if n.Object(FloatingIP, f).str("port_id") != "" {
			n.Disassociate(f)
			return true
		}
		for _, p := range h.instances() {
			at := Object(n.Object(Port, p).list("fixed_ips")[0].(map[string]any)).str("subnet_id")
			if r := h.routed(at); r != "" && n.Object(Router, r).str("gw_port_id") != "" && len(n.find(FloatingIP, "port_id", p)) == 0 {
				n.Associate(f, p, r)
				return true
			}
		}
		return false
	case 33:
		f, ok := h.pick(n.IDs(FloatingIP))
		if !ok {
			return false
		}
		n.RemoveFloat(f)
	case 34:
		return h.policy()
	case 35:
		return h.trunk()
	}
	return true
}

// withPort does something to an instance's port that is not part of a trunk.
func (h *History) withPort(do func(id string)) bool {
	id, ok := h.pick(h.instances())
	if !ok {
		return false
	}
	for _, t := range h.N.IDs(Trunk) {
		if h.N.Object(Trunk, t).str("port_id") == id {
			return false
		}
	}
	do(id)
	return true
}

// rule gives a rule in one of the forms that users write.
func (h *History) rule() Object {
	forms := []Object{
		{"protocol": "tcp", "port_range_min": 22, "port_range_max": 22, "remote_ip_prefix": "0.0.0.0/0"},
		{"protocol": "udp", "port_range_min": 1000, "port_range_max": 2000},
		{"protocol": "icmp", "port_range_min": 8, "port_range_max": 0},
		{"protocol": "icmp", "ethertype": "IPv6"},
		{"protocol": "ipv6-icmp", "ethertype": "IPv6"},
		{"protocol": "sctp", "port_range_min": 7, "port_range_max": 9},
		{"protocol": "112"},
		{"protocol": nil, "remote_ip_prefix": "10.0.0.0/8"},
		{"protocol": "tcp", "remote_group_id": "self"},
	}
	r := forms[h.Rnd.IntN(len(forms))].clone()
	r["description"] = h.name("rule")
	return r
}

func (h *History) groupUsed(id string) bool {
	for _, p := range h.N.IDs(Port) {
		for _, g := range h.N.Object(Port, p).list("security_groups") {
			if Object(g.(map[string]any)).id() == id {
				return true
			}
		}
	}
	return false
}

// routed is the router that a subnet is joined to; "" for none.
func (h *History) routed(subnet string) string {
	for _, p := range h.N.find(Port, "device_owner", ownerInterface) {
		o := h.N.Object(Port, p)
		if Object(o.list("fixed_ips")[0].(map[string]any)).str("subnet_id") == subnet {
			return o.str("device_id")
		}
	}
	return ""
}

// policy makes a policy, or changes, attaches, detaches or deletes one.
func (h *History) policy() bool {
	n := h.N
	id, ok := h.pick(n.IDs(Policy))
	if !ok || h.Rnd.IntN(4) == 0 {
		n.QoS(tenant, h.name("qos"), 1000*(1+h.Rnd.IntN(9)))
		return true
	}
	nets := n.find(Network, "qos_policy_id", id)
	ports := n.find(Port, "qos_policy_id", id)
	switch {
	case len(nets)+len(ports) == 0 && h.Rnd.IntN(3) == 0:
		n.Remove(Policy, id)
	case len(nets) > 0 && h.Rnd.IntN(2) == 0:
		n.Change(Network, nets[0], Object{"qos_policy_id": nil})
	case len(ports) > 0 && h.Rnd.IntN(2) == 0:
		n.Change(Port, ports[0], Object{"qos_policy_id": nil})
	case h.Rnd.IntN(3) == 0:
		n.SetRate(id, 1000*(1+h.Rnd.IntN(9)))
	case h.Rnd.IntN(2) == 0:
		return h.withPort(func(p string) { n.Change(Port, p, Object{"qos_policy_id": id}) })
	default:
		net, ok := h.pick(n.find(Network, "router:external", false))
		if !ok {
			return false
		}
		n.Change(Network, net, Object{"qos_policy_id": id})
	}
	return true
}

// trunk makes a trunk, or changes or deletes one.
func (h *History) trunk() bool {
	n := h.N
	id, ok := h.pick(n.IDs(Trunk))
	if !ok {
		parent := ""
		h.withPort(func(p string) { parent = p })
		if parent == "" || len(n.find(FloatingIP, "port_id", parent)) > 0 {
			return false
		}
		n.Trunk(tenant, h.name("trunk"), parent)
		return true
	}
	t := n.Object(Trunk, id)
	subs := []string{}
	for _, s := range t.list("sub_ports") {
		subs = append(subs, Object(s.(map[string]any)).str("port_id"))
	}
	switch {
	case len(subs) < 3 && h.Rnd.IntN(2) == 0:
		s, ok := h.pick(h.tenantSubnets())
		if !ok {
			return false
		}
		p := n.port(tenant, h.name("sub"), n.Object(Subnet, s).str("network_id"), []any{fixed(s, n.free(s))}, Object{})
		n.SetSubPorts(id, append(subs, p)...)
		n.Change(Port, p, Object{"device_owner": ownerSubport, "device_id": id, "binding:host_id": n.Object(Port, t.str("port_id")).str("binding:host_id")})
	case len(subs) > 0:
		n.SetSubPorts(id, subs[1:]...)
		n.Remove(Port, subs[0])
	default:
		n.Remove(Trunk, id)
	}
	return true
}
