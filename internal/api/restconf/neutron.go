// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"cmp"
	"maps"
	"slices"

	"nagare/internal/api/jsonbody"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// kindL2 is the type of host configuration by which networking-odl binds ports.
const kindL2 = "ODL L2"

// hostConfigs are a node's by type: what it published, and a derived one for binding ports if it published none. A node that is
// lost, or not yet approved, has none, so that nothing is bound to it.
func hostConfigs(profile string, n *model.Node) map[string]string {
	if !n.Lost.IsZero() || !n.Approved {
		return nil
	}
	if _, own := n.HostConfigs[kindL2]; own {
		return n.HostConfigs
	}
	out := maps.Clone(n.HostConfigs)
	if out == nil {
		out = map[string]string{}
	}
	out[kindL2] = derivedHostConfig(profile, n)
	return out
}

// derivedHostConfig says what neutron-odl-ovs-hostconfig would write on the node, without what this profile does not carry or
// the node has no way to.
func derivedHostConfig(profile string, n *model.Node) string {
	datapath := cmp.Or(n.DatapathType, "system")
	address := cmp.Or(n.Hostname, string(n.ID))
	if n.LocalIP.IsValid() {
		address = n.LocalIP.String()
	}
	mappings := map[string]any{}
	for net, bridge := range n.Mappings {
		mappings[net] = bridge
	}
	return string(jsonbody.Append(nil, map[string]any{
		"allowed_network_types": networkTypes(profile, n),
		"bridge_mappings":       mappings,
		"datapath_type":         datapath,
		"supported_vnic_types": []any{map[string]any{
			"vnic_type": "normal",
			"vif_type":  "ovs",
			"vif_details": map[string]any{
				"uuid":                     n.OVSUUID,
				"host_addresses":           []string{address},
				"has_datapath_type_netdev": datapath == "netdev",
				"support_vhost_user":       false,
			},
		}},
	}))
}

func networkTypes(profile string, n *model.Node) []string {
	if profile == "classic" {
		return []string{string(model.VXLAN)}
	}
	out := []string{string(model.Local)}
	if len(n.Mappings) > 0 {
		out = append(out, string(model.Flat), string(model.VLAN))
	}
	return append(out, string(model.VXLAN), string(model.GRE), string(model.Geneve))
}

func hostConfigEntry(id model.NodeID, kind, config string) map[string]any {
	return map[string]any{"host-id": string(id), "host-type": kind, "config": config}
}

func hostConfigList(cfg *Config) *node {
	return &node{module: "neutron", name: "hostconfig", keys: []string{"host-id", "host-type"},
		all: func(r store.Reader, _ []string) (out []any) {
			for id, n := range tables.Nodes.All(r) {
				configs := hostConfigs(cfg.Profile, &n)
				for _, kind := range slices.Sorted(maps.Keys(configs)) {
					out = append(out, hostConfigEntry(id, kind, configs[kind]))
				}
			}
			return out
		},
		one: func(r store.Reader, keys []string) (map[string]any, bool) {
			n, ok := tables.Nodes.Get(r, model.NodeID(keys[0]))
			if !ok {
				return nil, false
			}
			config, ok := hostConfigs(cfg.Profile, &n)[keys[1]]
			return hostConfigEntry(n.ID, keys[1], config), ok
		}}
}

// featureList announces what networking-odl asks for when it starts. The names must have a prefix.
func featureList(cfg *Config) *node {
	const operationalPortStatus = "neutron-extensions:operational-port-status"
	entry := map[string]any{"service-provider-feature": operationalPortStatus, "configuration": ""}
	return &node{module: "neutron", name: "feature", keys: []string{"service-provider-feature"},
		all: func(store.Reader, []string) []any {
			if !cfg.PortStatus {
				return nil
			}
			return []any{entry}
		},
		one: func(_ store.Reader, keys []string) (map[string]any, bool) {
			return entry, cfg.PortStatus && unprefixed(keys[0]) == unprefixed(operationalPortStatus)
		}}
}

// portStatus is a port's status as Neutron is told it; ok is false if there is no such port.
func (cfg *Config) portStatus(r store.Reader, id model.PortID) (status string, ok bool) {
	p, ok := tables.Ports.Get(r, id)
	if !ok {
		return "", false
	}
	return tables.ForeignStatus(r, &p, cfg.NativeDHCP), true
}

func portEntry(id model.PortID, status string) map[string]any {
	return map[string]any{"uuid": string(id), "status": status}
}

func portList(cfg *Config) *node {
	return &node{module: "neutron", name: "port", keys: []string{"uuid"},
		all: func(r store.Reader, _ []string) (out []any) {
			for id := range tables.Ports.All(r) {
				status, _ := cfg.portStatus(r, id)
				out = append(out, portEntry(id, status))
			}
			return out
		},
		one: func(r store.Reader, keys []string) (map[string]any, bool) {
			status, ok := cfg.portStatus(r, model.PortID(keys[0]))
			return portEntry(model.PortID(keys[0]), status), ok
		}}
}
