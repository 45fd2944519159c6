// SPDX-License-Identifier: Apache-2.0

package odl

import "fmt"

// Router creates a router without a gateway.
func (n *Neutron) Router(tenant, name string) string {
	return n.create(Router, tenant, name, Object{"admin_state_up": true, "status": "ACTIVE", "distributed": false, "ha": false, "ha_vr_id": 0,
		"gw_port_id": nil, "external_gateway_info": nil, "routes": []any{}, "availability_zone_hints": []any{}, "availability_zones": []any{},
		"flavor_id": nil, "revision_number": 1})
}

// SetGateway gives a router a gateway on a subnet of an external network: a port, then the router. The port's project is "".
func (n *Neutron) SetGateway(router, subnet, ip string) string {
	if ip == "" {
		ip = n.free(subnet)
	}
	r, s := n.Object(Router, router), n.Object(Subnet, subnet)
	gw := n.port(r.str("tenant_id"), r.str("name")+"-gw", s.str("network_id"), []any{fixed(subnet, ip)},
		Object{"device_owner": ownerGateway, "device_id": router, "project_id": "", "port_security_enabled": false})
	n.update(Router, router, Object{"gw_port_id": gw, "external_gateway_info": map[string]any{"network_id": s.str("network_id"), "enable_snat": true,
		"external_fixed_ips": []any{fixed(subnet, ip)}}})
	return gw
}

// ClearGateway takes it away: the port first, then the router with nulls.
func (n *Neutron) ClearGateway(router string) {
	gw := n.Object(Router, router).str("gw_port_id")
	n.remove(Port, gw)
	n.update(Router, router, Object{"gw_port_id": nil, "external_gateway_info": nil})
}

// AddInterface joins a subnet to a router by a port with the subnet's gateway address, created and then updated.
func (n *Neutron) AddInterface(router, subnet string) string {
	r, s := n.Object(Router, router), n.Object(Subnet, subnet)
	ip := s.str("gateway_ip")
	id := n.port(r.str("tenant_id"), r.str("name")+"-"+s.str("name"), s.str("network_id"), []any{fixed(subnet, ip)},
		Object{"device_owner": ownerInterface, "device_id": router, "port_security_enabled": false})
	n.update(Port, id, Object{"device_owner": ownerInterface, "device_id": router})
	return id
}

// RemoveRouter deletes a router with its ports.
func (n *Neutron) RemoveRouter(id string) {
	if n.Object(Router, id).str("gw_port_id") != "" {
		n.ClearGateway(id)
	}
	for _, p := range n.find(Port, "device_id", id) {
		n.remove(Port, p)
	}
	n.remove(Router, id)
}

// Float creates a floating IP that stands for nothing yet: a port with a placeholder for a device, its update, the floating IP.
func (n *Neutron) Float(tenant, name, subnet, ip string) string {
	if ip == "" {
		ip = n.free(subnet)
	}
	network := n.Object(Subnet, subnet).str("network_id")
	p := n.port(tenant, name+"-port", network, []any{fixed(subnet, ip)},
		Object{"device_owner": ownerFloating, "device_id": "PENDING", "project_id": "", "port_security_enabled": false})
	n.mu.Lock()
	n.made++
	id := fmt.Sprintf("50000000-0000-4000-8000-%012x", n.made)
	if f, ok := n.ids[name]; ok {
		id = f
		delete(n.ids, name)
	}
	n.mu.Unlock()
	n.update(Port, p, Object{"device_id": id})
	return n.create(FloatingIP, tenant, name, Object{"id": id, "floating_network_id": network, "floating_ip_address": ip, "port_id": nil,
		"fixed_ip_address": nil, "router_id": nil, "status": "DOWN", "qos_policy_id": nil, "port_details": nil, "dns_domain": "", "dns_name": ""})
}

// Associate makes a floating IP stand for a port's first address.
func (n *Neutron) Associate(float, port, router string) {
	ip := Object(n.Object(Port, port).list("fixed_ips")[0].(map[string]any)).str("ip_address")
	n.update(FloatingIP, float, Object{"port_id": port, "fixed_ip_address": ip, "router_id": router})
}

// Disassociate makes it stand for nothing: the update lacks the three attributes.
func (n *Neutron) Disassociate(float string) {
	n.update(FloatingIP, float, Object{"port_id": nil, "fixed_ip_address": nil, "router_id": nil})
}

// RemoveFloat deletes a floating IP: its port first.
func (n *Neutron) RemoveFloat(id string) {
	for _, p := range n.find(Port, "device_id", id) {
		n.remove(Port, p)
	}
	n.remove(FloatingIP, id)
}

// RemovePort deletes an instance's port, from which its floating IPs are taken before.
func (n *Neutron) RemovePort(id string) {
	for _, f := range n.find(FloatingIP, "port_id", id) {
		n.Disassociate(f)
	}
	n.remove(Port, id)
}

// QoS creates a policy with one rule.
func (n *Neutron) QoS(tenant, name string, kbps int) string {
	id := n.create(Policy, tenant, name, Object{"shared": false, "is_default": false, "rules": []any{}, "revision_number": 0})
	n.SetRate(id, kbps)
	return id
}

// SetRate changes a policy's rule: the policy is sent whole.
func (n *Neutron) SetRate(policy string, kbps int) {
	n.update(Policy, policy, Object{"rules": []any{map[string]any{"type": "bandwidth_limit", "id": "4" + policy[1:], "qos_policy_id": policy,
		"max_kbps": kbps, "max_burst_kbps": kbps / 10, "direction": "egress"}}})
}

// Trunk makes a port the parent of others.
func (n *Neutron) Trunk(tenant, name, parent string, subs ...string) string {
	return n.create(Trunk, tenant, name, Object{"port_id": parent, "status": "ACTIVE", "admin_state_up": true, "sub_ports": n.subPorts(subs)})
}

// SetSubPorts changes a trunk's list, which is sent whole.
func (n *Neutron) SetSubPorts(trunk string, subs ...string) {
	n.update(Trunk, trunk, Object{"sub_ports": n.subPorts(subs)})
}

func (n *Neutron) subPorts(ids []string) []any {
	out := []any{}
	for i, id := range ids {
		out = append(out, map[string]any{"port_id": id, "segmentation_type": "vlan", "segmentation_id": 100 + i})
	}
	return out
}
