// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"nagare/internal/api/neutron"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// log reads the commits from a revision on.
func (s *server) log(from store.Revision) (all []store.LogRecord) {
	s.t.Helper()
	for {
		rs, err := s.st.LogTail(context.Background(), from, 200)
		if err != nil {
			s.t.Fatal(err)
		}
		if len(rs) == 0 {
			return all
		}
		all = append(all, rs...)
		from = rs[len(rs)-1].Revision + 1
	}
}

// records are all persistent records, by table and key, as the log tells it.
type records map[string]map[string]map[string]any

func (s *server) records() records {
	s.t.Helper()
	out := records{}
	for _, c := range s.log(0) {
		for _, k := range c.Keys {
			if out[k.Table] == nil {
				out[k.Table] = map[string]map[string]any{}
			}
			if k.After == nil {
				delete(out[k.Table], k.Key)
				continue
			}
			var v map[string]any
			if err := json.Unmarshal(k.After, &v); err != nil {
				s.t.Fatalf("%s %s: %v", k.Table, k.Key, err)
			}
			out[k.Table][k.Key] = v
		}
	}
	return out
}

// texts gives the values at a path of a record; "a.b" goes through lists.
func texts(v any, path string) (out []string) {
	name, rest, deeper := strings.Cut(path, ".")
	m, _ := v.(map[string]any)
	l, ok := m[name].([]any)
	if !ok {
		l = []any{m[name]}
	}
	for _, x := range l {
		switch {
		case x == nil || x == "":
		case deeper:
			out = append(out, texts(x, rest)...)
		default:
			out = append(out, fmt.Sprint(x))
		}
	}
	return out
}

func text(v any, path string) string { return strings.Join(texts(v, path), ",") }

// references say which records name which others.
var references = []struct{ table, path, target string }{
	{"networks", "qos_policy_id", "qos-policies"},
	{"subnets", "network_id", "networks"}, {"subnets", "subnetpool_id", "subnet-pools"},
	{"subnet-pools", "address_scope_id", "address-scopes"},
	{"ports", "network_id", "networks"}, {"ports", "fixed_ips.subnet_id", "subnets"}, {"ports", "security_groups", "security-groups"},
	{"ports", "qos_policy_id", "qos-policies"}, {"ports", "trunk_parent", "ports"}, {"ports", "router_id", "routers"}, {"ports", "group_set", "group-sets"},
	{"security-group-rules", "security_group_id", "security-groups"}, {"security-group-rules", "remote_group_id", "security-groups"},
	{"security-group-rules", "remote_address_group_id", "address-groups"},
	{"routers", "gateway_port", "ports"},
	{"floating-ips", "floating_network_id", "networks"}, {"floating-ips", "floating_port", "ports"}, {"floating-ips", "port_id", "ports"}, {"floating-ips", "router_id", "routers"},
	{"trunks", "port_id", "ports"}, {"former-group-sets", "port", "ports"}, {"former-group-sets", "set", "group-sets"},
	{"gateways", "router", "routers"}, {"gateways", "node", "nodes"}, {"slots", "port", "ports"}, {"slots", "router", "routers"}, {"slots", "node", "nodes"},
	{"port-statuses", "port", "ports"},
	{"port-forwardings", "floatingip_id", "floating-ips"}, {"port-forwardings", "internal_port_id", "ports"},
	{"ndp-proxies", "router_id", "routers"}, {"ndp-proxies", "port_id", "ports"},
	{"security-logs", "resource_id", "security-groups"}, {"security-logs", "target_id", "ports"},
	{"segments", "network_id", "networks"}, {"subnets", "segment_id", "segments"},
}

// shared are the tables of what RBAC policies share.
var shared = map[string]string{"network": "networks", "qos_policy": "qos-policies", "security_group": "security-groups", "address_group": "address-groups",
	"address_scope": "address-scopes", "subnetpool": "subnet-pools"}

// counted are the tables of what quotas limit.
var counted = map[string]string{"network": "networks", "subnet": "subnets", "port": "ports", "router": "routers", "floatingip": "floating-ips",
	"security_group": "security-groups", "security_group_rule": "security-group-rules", "subnetpool": "subnet-pools", "rbac_policy": "rbac-policies", "trunk": "trunks"}

// whole checks the state as the log tells it: every reference leads somewhere, everything allocated has an owner and only one,
// nothing that was given back is lost, and the counts of quotas are those of the objects. Then it opens the store anew, and
// everything reads as before.
func (s *server) whole() {
	s.t.Helper()
	all := s.records()
	for _, fault := range all.faults() {
		s.t.Error(fault)
	}
	for who, p := range people {
		details := s.do(call{who, "GET", "quotas/" + string(p.ProjectID) + "/details", ""}, 200)["quota"].(map[string]any)
		for name, d := range details {
			used := d.(map[string]any)["used"]
			table, known := counted[name]
			if !known {
				s.t.Errorf("quota of %s: the test does not know its table", name)
			}
			n := 0
			for _, o := range all[table] {
				if text(o, "project_id") == string(p.ProjectID) {
					n++
				}
			}
			if fmt.Sprint(used) != fmt.Sprint(n) {
				s.t.Errorf("quota of %s in %s: %v in use, there are %d", name, p.ProjectID, used, n)
			}
		}
	}
	before := s.everything()
	if err := s.st.Close(); err != nil {
		s.t.Fatal(err)
	}
	again := &server{t: s.t, dir: s.dir}
	again.open(func(c *neutron.Config) { c.Quotas = s.cfg.Quotas })
	for path, text := range again.everything() {
		if text != before[path] {
			s.t.Errorf("%s reads otherwise after a restart:\n%s\n%s", path, before[path], text)
		}
	}
}

// everything is what an administrator reads.
func (s *server) everything() map[string]string {
	s.t.Helper()
	out := map[string]string{}
	for _, path := range []string{"networks", "subnets", "ports", "routers", "floatingips", "security-groups", "security-group-rules", "address-groups", "subnetpools",
		"address-scopes", "rbac-policies", "qos/policies", "trunks", "log/logs", "segments", "quotas", "quotas/p-demo/details", "network-ip-availabilities"} {
		a, err := s.ask(call{"admin", "GET", path, ""})
		if err != nil || a.code != 200 {
			s.t.Fatalf("%s: %v %d %s", path, err, a.code, a.text)
		}
		out[path] = a.text
	}
	return out
}

// faults says what does not hold together.
func (all records) faults() (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	for _, r := range references {
		for key, o := range all[r.table] {
			if text(o, "freed") != "" {
				continue // a slot keeps the name of whom it served until its zones are flushed
			}
			for _, id := range texts(o, r.path) {
				if r.target == "group-sets" {
					n, _ := strconv.ParseUint(id, 10, 32)
					id = tables.KeyText(model.Key(n))
				}
				if _, ok := all[r.target][id]; !ok {
					fault("%s %s: %s names %s, which is not in %s", r.table, key, r.path, id, r.target)
				}
			}
		}
	}
	owner := map[string]string{}
	unique := func(key, format string, args ...any) {
		what := fmt.Sprintf(format, args...)
		if other, dup := owner[what]; dup {
			fault("%s belongs to %s and to %s", what, other, key)
		}
		owner[what] = key
	}
	for _, table := range []string{"networks", "subnets", "ports", "routers", "floating-ips", "security-group-rules", "port-forwardings", "nodes"} {
		for key, o := range all[table] {
			unique(key, "key %s of %s", text(o, "key"), table)
		}
	}
	for key, n := range all["networks"] {
		if text(n, "network_type") != "local" {
			unique(key, "segment %s %s %s", text(n, "network_type"), text(n, "physical_network"), text(n, "segmentation_id"))
		}
	}
	for key, g := range all["group-sets"] {
		worn := func(table, path string) bool {
			for _, o := range all[table] {
				if text(o, path) == text(g, "key") {
					return true
				}
			}
			return false
		}
		if unique(key, "the set of groups %s", text(g, "groups")); !worn("ports", "group_set") && !worn("former-group-sets", "set") {
			fault("set of groups %s: no port wears it", key)
		}
	}
	for key, p := range all["rbac-policies"] {
		unique(key, "grant %s %s %s %s", text(p, "object_type"), text(p, "object_id"), text(p, "action"), text(p, "target_tenant"))
		if _, ok := all[shared[text(p, "object_type")]][text(p, "object_id")]; !ok {
			fault("RBAC policy %s: its %s %s is gone", key, text(p, "object_type"), text(p, "object_id"))
		}
	}
	has := func(port, addr string) bool {
		return slices.Contains(texts(all["ports"][port], "fixed_ips.ip_address"), addr)
	}
	for key, p := range all["ndp-proxies"] {
		if unique(key, "proxied address %s of router %s", text(p, "ip_address"), text(p, "router_id")); !has(text(p, "port_id"), text(p, "ip_address")) {
			fault("NDP proxy %s: port %s has no address %s", key, text(p, "port_id"), text(p, "ip_address"))
		}
	}
	for key, p := range all["port-forwardings"] {
		if !has(text(p, "internal_port_id"), text(p, "internal_ip_address")) {
			fault("port forwarding %s: port %s has no address %s", key, text(p, "internal_port_id"), text(p, "internal_ip_address"))
		}
		if f := all["floating-ips"][text(p, "floatingip_id")]; text(f, "port_id") != "" {
			fault("port forwarding %s: floating IP %s stands for port %s", key, text(p, "floatingip_id"), text(f, "port_id"))
		}
	}
	for key, t := range all["trunks"] {
		unique(key, "trunk parent %s", text(t, "port_id"))
	}
	used := map[string]map[netip.Addr]bool{} // by network
	for key, p := range all["ports"] {
		net := text(p, "network_id")
		unique(key, "MAC address %s of network %s", text(p, "mac_address"), net)
		if used[net] == nil {
			used[net] = map[netip.Addr]bool{}
		}
		for _, a := range texts(p, "fixed_ips.ip_address") {
			unique(key, "address %s of network %s", a, net)
			used[net][netip.MustParseAddr(a)] = true
		}
		switch device := text(p, "device_id"); text(p, "device_owner") {
		case "network:floatingip":
			if text(all["floating-ips"][device], "floating_port") != key {
				fault("port %s: of no floating IP %s", key, device)
			}
		case "network:router_gateway":
			if text(all["routers"][device], "gateway_port") != key {
				fault("port %s: not the gateway of router %s", key, device)
			}
		case "network:router_interface":
			if all["routers"][device] == nil {
				fault("port %s: interface of router %s, which is gone", key, device)
			}
		}
		if host := text(p, "binding_host_id"); host != "" {
			if !all.any("slots", func(o map[string]any) bool {
				return text(o, "port") == key && text(o, "node") == host && text(o, "freed") == ""
			}) {
				fault("port %s: has no slot on %s", key, host)
			}
		}
	}
	for key, o := range all["slots"] {
		if text(o, "freed") != "" {
			continue
		}
		if text(o, "port")+text(o, "router") != "" {
			unique(key, "slot of %s%s on %s", text(o, "port"), text(o, "router"), text(o, "node"))
		}
		if p := text(o, "port"); p != "" && text(all["ports"][p], "binding_host_id") != text(o, "node") {
			fault("slot %s: port %s is on %q", key, p, text(all["ports"][p], "binding_host_id"))
		}
	}
	for key, f := range all["floating-ips"] {
		unique(key, "floating address %s of %s", text(f, "floating_ip_address"), text(f, "floating_network_id"))
		if port := text(f, "port_id"); port != "" && !slices.Contains(texts(all["ports"][port], "fixed_ips.ip_address"), text(f, "fixed_ip_address")) {
			fault("floating IP %s: port %s has no address %s", key, port, text(f, "fixed_ip_address"))
		}
	}
	return append(faults, all.prefixFaults(used)...)
}

func (all records) any(table string, f func(map[string]any) bool) bool {
	for _, o := range all[table] {
		if f(o) {
			return true
		}
	}
	return false
}

// prefixFaults checks subnets against each other, their pools and what the allocators remember of them.
func (all records) prefixFaults(used map[string]map[netip.Addr]bool) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	holes := map[string]map[netip.Addr]bool{}
	for key := range all["alloc-address-holes"] {
		sub, digits, _ := strings.Cut(key, "|")
		b, _ := hex.DecodeString(digits)
		a, ok := netip.AddrFromSlice(b)
		if _, there := all["subnets"][sub]; !there || !ok {
			fault("hole %s: of no subnet", key)
		}
		if holes[sub] == nil {
			holes[sub] = map[netip.Addr]bool{}
		}
		holes[sub][a] = true
	}
	for key := range all["alloc-address-cursors"] {
		if all["subnets"][key] == nil {
			fault("address cursor %s: of no subnet", key)
		}
	}
	taken := map[string][]netip.Prefix{}          // by pool, free blocks too
	for key := range all["alloc-free-prefixes"] { // pool|host bits|address
		f := strings.Split(key, "|")
		b, _ := hex.DecodeString(f[2])
		a, _ := netip.AddrFromSlice(b)
		var host int
		fmt.Sscan(strings.TrimLeft(f[1], "0"), &host) //nolint:errcheck // no prefix contains the whole pool then
		// Host bits count from the end of an IPv6 address, whatever the family.
		p := netip.PrefixFrom(a, 128-host)
		if all["subnet-pools"][f[0]] == nil || !p.IsValid() {
			fault("free prefix %s: of no pool, or none", key)
			continue
		}
		taken[f[0]] = append(taken[f[0]], p)
	}
	byNet := map[string][]netip.Prefix{}
	for key, o := range all["subnets"] {
		cidr, net, pool := netip.MustParsePrefix(text(o, "cidr")), text(o, "network_id"), text(o, "subnetpool_id")
		for _, other := range byNet[net] {
			if other.Overlaps(cidr) {
				fault("subnet %s: %s overlaps with %s on network %s", key, cidr, other, net)
			}
		}
		byNet[net] = append(byNet[net], cidr)
		if pool != "" {
			for _, other := range taken[pool] {
				if other.Overlaps(cidr) {
					fault("subnet %s: %s overlaps with %s of pool %s", key, cidr, other, pool)
				}
			}
			taken[pool] = append(taken[pool], cidr)
		}
		cur, ok := all["alloc-address-cursors"][key]
		if !ok || text(cur, "gateway") != text(o, "gateway_ip") || fmt.Sprint(cur["pools"]) != fmt.Sprint(o["allocation_pools"]) {
			continue // it begins anew
		}
		// Every free address below the cursor is a hole: else it would never be given out again.
		next := netip.MustParseAddr(text(cur, "next"))
		for _, r := range cur["pools"].([]any) {
			for a, end := netip.MustParseAddr(text(r, "start")), netip.MustParseAddr(text(r, "end")); a.Compare(end) <= 0 && a.Compare(next) < 0; a = a.Next() {
				if !used[net][a] && !holes[key][a] && a.String() != text(o, "gateway_ip") {
					fault("subnet %s: nobody has %s, and it is not free", key, a)
				}
			}
		}
	}
	return faults
}
