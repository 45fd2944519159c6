// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"cmp"
	"iter"
	"maps"
	"net/http"
	"slices"

	"nagare/internal/api/jsonbody"
	"nagare/internal/identity"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/internal/yang"
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

// addNeutron adds the sources below neutron:neutron.
func (t *tree) addNeutron() {
	t.addHostConfigs()
	t.addFeatures()
	for path, collection := range map[string]string{
		"networks/network": "networks", "subnets/subnet": "subnets", "routers/router": "routers", "floatingips/floatingip": "floatingips",
		"security-groups/security-group": "security-groups", "security-rules/security-rule": "security-group-rules",
		"qos-policies/qos-policy": "qos/policies", "trunks/trunk": "trunks",
	} {
		t.addObjects("neutron:neutron/"+path, collection)
	}
	t.addPorts()
}

func (t *tree) addHostConfigs() {
	const path = "neutron:neutron/hostconfigs/hostconfig"
	entry := func(id model.NodeID, kind, config string) *yang.Data {
		return t.entry(path).Leaf("host-id", string(id)).Leaf("host-type", kind).Leaf("config", config)
	}
	t.add(path, source{has: nonconfig,
		all: func(v *view, _ []string) iter.Seq[*yang.Data] {
			return func(yield func(*yang.Data) bool) {
				for id, n := range tables.Nodes.All(v.r) {
					configs := hostConfigs(v.Profile, &n)
					for _, kind := range slices.Sorted(maps.Keys(configs)) {
						if !yield(entry(id, kind, configs[kind])) {
							return
						}
					}
				}
			}
		},
		one: func(v *view, keys []string) *yang.Data {
			n, ok := tables.Nodes.Get(v.r, model.NodeID(keys[0]))
			if !ok {
				return nil
			}
			config, ok := hostConfigs(v.Profile, &n)[keys[1]]
			if !ok {
				return nil
			}
			return entry(n.ID, keys[1], config)
		}})
}

// addFeatures announces what networking-odl asks for when it starts. The names must have a prefix.
func (t *tree) addFeatures() {
	const path, portStatus = "neutron:neutron/features/feature", "neutron-extensions:operational-port-status"
	one := func(v *view, keys []string) *yang.Data {
		if !v.PortStatus || keys[0] != portStatus {
			return nil
		}
		return t.entry(path).Leaf("service-provider-feature", portStatus).Leaf("configuration", "")
	}
	t.add(path, source{has: nonconfig, one: one,
		all: func(v *view, _ []string) iter.Seq[*yang.Data] { return some(one(v, []string{portStatus})) }})
}

// some is a sequence of what there is.
func some(d *yang.Data) iter.Seq[*yang.Data] {
	return func(yield func(*yang.Data) bool) {
		if d != nil {
			yield(d)
		}
	}
}

// Objects gives Neutron's objects in the JSON of the northbound, by its collections' paths.
type Objects interface {
	Object(r store.Reader, collection, id string) (map[string]any, bool)
	Objects(r store.Reader, collection string) iter.Seq[map[string]any]
	// Edit changes one object in one transaction: f gets what it is, nil if it is not there, and gives what it shall be, nil to have it
	// removed. Its errors that are answers have a method Refusal.
	Edit(r *http.Request, who identity.Principal, collection, id string, f func(now map[string]any) (map[string]any, error)) error
}

// addObjects adds a list of objects of a collection, which are configuration.
func (t *tree) addObjects(path, collection string) {
	t.add(path, source{has: config, edit: t.editObjects(path, collection),
		all: func(v *view, _ []string) iter.Seq[*yang.Data] {
			return func(yield func(*yang.Data) bool) {
				for obj := range v.Objects.Objects(v.r, collection) {
					d := t.entry(path)
					fromNeutron(d, obj)
					if !yield(d) {
						return
					}
				}
			}
		},
		one: func(v *view, keys []string) *yang.Data {
			obj, ok := v.Objects.Object(v.r, collection, keys[0])
			if !ok {
				return nil
			}
			d := t.entry(path)
			fromNeutron(d, obj)
			return d
		}})
}

// addPorts adds ports: what Neutron wants is configuration, and their statuses are operational.
func (t *tree) addPorts() {
	const path = "neutron:neutron/ports/port"
	t.addObjects(path, "ports")
	wanted := *t.sources[t.node(path)]
	one := func(v *view, id string) *yang.Data {
		if v.want != nonconfig {
			return wanted.one(v, []string{id})
		}
		status, ok := v.portStatus(v.r, model.PortID(id))
		if !ok {
			return nil
		}
		return t.entry(path).Leaf("uuid", id).Leaf("status", status)
	}
	t.add(path, source{has: all, edit: wanted.edit,
		one: func(v *view, keys []string) *yang.Data { return one(v, keys[0]) },
		all: func(v *view, above []string) iter.Seq[*yang.Data] {
			if v.want != nonconfig {
				return wanted.all(v, above)
			}
			return func(yield func(*yang.Data) bool) {
				for id := range tables.Ports.All(v.r) {
					if !yield(one(v, string(id))) {
						return
					}
				}
			}
		}})
}

// portStatus is a port's status as Neutron is told it; ok is false if there is no such port.
func (cfg *Config) portStatus(r store.Reader, id model.PortID) (status string, ok bool) {
	p, ok := tables.Ports.Get(r, id)
	if !ok {
		return "", false
	}
	return tables.ForeignStatus(r, &p, cfg.NativeDHCP), true
}
