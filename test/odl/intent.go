// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"fmt"
	"net/netip"
	"strings"
)

// Device owners of ports.
const (
	ownerCompute   = "compute:nova"
	ownerDHCP      = "network:dhcp"
	ownerInterface = "network:router_interface"
	ownerGateway   = "network:router_gateway"
	ownerFloating  = "network:floatingip"
	ownerSubport   = "trunk:subport"
)

// Segment is what a network has of the provider's attributes.
type Segment struct {
	Type     string
	Physical string // "" for tunnels
	ID       int    // 0 for flat
}

// Network creates a network.
func (n *Neutron) Network(tenant, name string, s Segment, external bool) string {
	mtu := 1500
	if s.Type == "vxlan" {
		mtu = 1450
	}
	o := Object{"admin_state_up": true, "mtu": mtu, "status": "ACTIVE", "subnets": []any{}, "shared": external, "availability_zone_hints": []any{},
		"availability_zones": []any{}, "ipv4_address_scope": nil, "ipv6_address_scope": nil, "router:external": external, "port_security_enabled": true,
		"qos_policy_id": nil, "vlan_transparent": nil, "is_default": false, "l2_adjacency": true,
		"provider:network_type": s.Type, "provider:physical_network": nil, "provider:segmentation_id": nil, "revision_number": 1}
	if s.Physical != "" {
		o["provider:physical_network"] = s.Physical
	}
	if s.ID != 0 {
		o["provider:segmentation_id"] = s.ID
	}
	return n.create(Network, tenant, name, o)
}

// Subnet creates a subnet whose gateway is the first host, if gateway, and whose pool is the rest. With dhcp an IPv4 subnet's
// server has a port, as enable_dhcp_service makes it.
func (n *Neutron) Subnet(tenant, name, network, cidr string, gateway, dhcp bool, dns ...any) string {
	id := n.BareSubnet(tenant, name, network, cidr, gateway, dhcp, dns...)
	if dhcp && !strings.Contains(cidr, ":") {
		n.port(tenant, name+"-dhcp", network, []any{fixed(id, n.free(id))}, Object{"device_owner": ownerDHCP, "device_id": "OpenDaylight-" + id,
			"port_security_enabled": false, "security_groups": []any{}})
	}
	return id
}

// BareSubnet creates a subnet for which nobody makes a DHCP port.
func (n *Neutron) BareSubnet(tenant, name, network, cidr string, gateway, dhcp bool, dns ...any) string {
	p := netip.MustParsePrefix(cidr)
	o := Object{"network_id": network, "cidr": cidr, "ip_version": 4, "gateway_ip": nil, "enable_dhcp": dhcp, "dns_nameservers": append([]any{}, dns...),
		"host_routes": []any{}, "ipv6_ra_mode": nil, "ipv6_address_mode": nil, "service_types": []any{}, "shared": false, "segment_id": nil, "subnetpool_id": nil}
	first := p.Masked().Addr().Next()
	last := lastAddr(p)
	pool := first
	if gateway {
		o["gateway_ip"] = first.String()
		pool = first.Next()
	}
	if p.Addr().Is6() {
		o["ip_version"], o["ipv6_ra_mode"], o["ipv6_address_mode"] = 6, "slaac", "slaac"
	} else {
		last = last.Prev()
	}
	o["allocation_pools"] = []any{map[string]any{"start": pool.String(), "end": last.String()}}
	return n.create(Subnet, tenant, name, o)
}

// lastAddr is the highest address of a prefix.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 1 << (7 - bit%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func fixed(subnet, ip string) map[string]any {
	return map[string]any{"subnet_id": subnet, "ip_address": ip}
}

// free is the lowest address of a subnet's pool that no port has.
func (n *Neutron) free(subnet string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.objects[Subnet][subnet]
	if n.used[subnet] == nil {
		n.used[subnet] = map[string]bool{}
	}
	used := n.used[subnet]
	start := Object(s.list("allocation_pools")[0].(map[string]any)).str("start")
	if last := n.next[subnet]; last != "" {
		start = last
	}
	for a := netip.MustParseAddr(start); ; a = a.Next() {
		if !used[a.String()] {
			used[a.String()] = true
			n.next[subnet] = a.Next().String()
			return a.String()
		}
	}
}

// port creates an unbound port.
func (n *Neutron) port(tenant, name, network string, ips []any, more Object) string {
	n.mu.Lock()
	mac := fmt.Sprintf("fa:16:3e:%02x:%02x:%02x", (n.made+1)>>16&0xff, (n.made+1)>>8&0xff, (n.made+1)&0xff)
	if m, ok := n.macs[name]; ok {
		mac = m
	}
	n.mu.Unlock()
	o := Object{"network_id": network, "mac_address": mac, "admin_state_up": true, "status": "DOWN", "device_id": "", "device_owner": "", "fixed_ips": ips,
		"allowed_address_pairs": []any{}, "extra_dhcp_opts": []any{}, "security_groups": []any{}, "port_security_enabled": true, "qos_policy_id": nil,
		"qos_network_policy_id": nil, "resource_request": nil, "binding:vnic_type": "normal", "binding:profile": "{}", "binding:host_id": "",
		"binding:vif_type": "unbound", "binding:vif_details": map[string]any{}, "revision_number": 1}
	for k, v := range more {
		o[k] = v
	}
	return n.create(Port, tenant, name, o)
}

// groupRefs are security groups as a port names them on this wire: objects with an id.
func groupRefs(ids []string) []any {
	out := []any{}
	for _, id := range ids {
		out = append(out, map[string]any{"id": id})
	}
	return out
}

// Boot creates an instance's port and binds it as Nova does: three requests. ip may be "".
func (n *Neutron) Boot(tenant, name, subnet, ip, host string, groups ...string) string {
	if ip == "" {
		ip = n.free(subnet)
	}
	id := n.port(tenant, name, n.Object(Subnet, subnet).str("network_id"), []any{fixed(subnet, ip)},
		Object{"security_groups": groupRefs(groups), "device_id": "instance-" + name, "device_owner": ownerCompute})
	n.Bind(id, host)
	return id
}

// Bind sets a port's host, and then what the driver makes of it; both changes may carry one revision number.
func (n *Neutron) Bind(port, host string) {
	n.update(Port, port, Object{"binding:host_id": host, "binding:vif_type": "unbound", "binding:vif_details": map[string]any{}})
	n.update(Port, port, Object{"binding:vif_type": "ovs", "binding:profile": "{}", "binding:vif_details": map[string]any{
		"uuid": "b1c4a7b2-0000-4000-8000-000000000001", "host_addresses": []any{"192.168.0.11"}, "has_datapath_type_netdev": true,
		"support_vhost_user": false, "bound_drivers": map[string]any{"0": "opendaylight_v2"}}}, true)
}

// Unbind takes a port's host away.
func (n *Neutron) Unbind(port string) {
	n.update(Port, port, Object{"binding:host_id": "", "binding:vif_type": "unbound", "binding:vif_details": map[string]any{}, "device_id": "", "device_owner": ""})
}

// Change changes attributes of an object and tells the controller.
func (n *Neutron) Change(k Kind, id string, attrs Object) { n.update(k, id, attrs) }

// Remove deletes an object that nothing else refers to; others have methods of their own.
func (n *Neutron) Remove(k Kind, id string) { n.remove(k, id) }

// RemoveSubnet deletes a subnet with its DHCP port.
func (n *Neutron) RemoveSubnet(id string) {
	for _, p := range n.find(Port, "device_id", "OpenDaylight-"+id) {
		n.remove(Port, p)
	}
	n.remove(Subnet, id)
}

// Group creates a security group with two rules for egress and those given; the controller hears of each rule twice.
func (n *Neutron) Group(tenant, name string, rules ...Object) string {
	n.mu.Lock()
	n.made++
	id := fmt.Sprintf("20000000-0000-4000-8000-%012x", n.made)
	if f, ok := n.ids[name]; ok {
		id = f
		delete(n.ids, name)
	}
	n.mu.Unlock()
	rules = append([]Object{{"direction": "egress", "ethertype": "IPv4"}, {"direction": "egress", "ethertype": "IPv6"}}, rules...)
	var whole []any
	for i, r := range rules {
		o := n.rule(tenant, id, r)
		n.mu.Lock()
		n.made++
		o["id"] = fmt.Sprintf("30000000-0000-4000-8000-%012x", n.made)
		n.mu.Unlock()
		rules[i] = o
		whole = append(whole, map[string]any(o.clone()))
	}
	n.create(Group, tenant, name, Object{"id": id, "stateful": true, "shared": false, "security_group_rules": whole, "revision_number": 1})
	for _, o := range rules {
		n.create(Rule, tenant, "", o)
	}
	return id
}

// rule is a whole rule of a group; remote_group_id "self" is the group's own.
func (n *Neutron) rule(tenant, group string, attrs Object) Object {
	o := Object{"tenant_id": tenant, "project_id": tenant, "security_group_id": group, "direction": "ingress", "ethertype": "IPv4", "protocol": nil,
		"port_range_min": nil, "port_range_max": nil, "remote_ip_prefix": nil, "remote_group_id": nil, "normalized_cidr": nil,
		"remote_address_group_id": nil, "description": nil, "belongs_to_default_sg": false, "revision_number": 0}
	for k, v := range attrs {
		o[k] = v
	}
	if o.str("remote_group_id") == "self" {
		o["remote_group_id"] = group
	}
	return o
}

// AddRule adds a rule to a group. The group itself is not sent again.
func (n *Neutron) AddRule(group string, attrs Object) string {
	tenant := n.Object(Group, group).str("tenant_id")
	id := n.create(Rule, tenant, "", n.rule(tenant, group, attrs))
	n.mu.Lock()
	defer n.mu.Unlock()
	g := n.objects[Group][group]
	g["security_group_rules"] = append(g.list("security_group_rules"), map[string]any(n.objects[Rule][id].clone()))
	return id
}

// RemoveRule deletes a rule.
func (n *Neutron) RemoveRule(id string) {
	group := n.Object(Rule, id).str("security_group_id")
	n.remove(Rule, id)
	n.mu.Lock()
	defer n.mu.Unlock()
	g := n.objects[Group][group]
	if g == nil {
		return
	}
	rest := []any{}
	for _, r := range g.list("security_group_rules") {
		if Object(r.(map[string]any)).id() != id {
			rest = append(rest, r)
		}
	}
	g["security_group_rules"] = rest
}

// RemoveGroup deletes a group: a request for each rule, then one for the group.
func (n *Neutron) RemoveGroup(id string) {
	for _, r := range n.find(Rule, "security_group_id", id) {
		n.RemoveRule(r)
	}
	n.remove(Group, id)
}

// AgentPort creates the port by which a DHCP agent of Neutron's serves a subnet from a host, in place of one of the controller's.
func (n *Neutron) AgentPort(tenant, name, subnet, host string) string {
	network := n.Object(Subnet, subnet).str("network_id")
	id := n.port(tenant, name, network, []any{fixed(subnet, n.free(subnet))}, Object{"device_owner": ownerDHCP,
		"device_id": "dhcpd3377d3c-a0d1-5d71-9947-f17125c357bb-" + network, "port_security_enabled": false})
	n.Bind(id, host)
	return id
}
