// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"nagare/internal/api/jsonbody"
	"nagare/internal/yang"
)

// Objects of Neutron have two faces: the JSON of the northbound, and the tree of the modules neutron*. The names of one follow from the
// other's, dashes for underscores, but for those here; identities follow from words.

// jsonNames are names in the northbound's JSON that do not follow from the schema's, by the schema's path below neutron:neutron.
var jsonNames = map[string]string{
	"uuid": "id",
	"networks/network/neutron-L3-ext:external":                        "router:external",
	"networks/network/neutron-provider-ext:network-type":              "provider:network_type",
	"networks/network/neutron-provider-ext:physical-network":          "provider:physical_network",
	"networks/network/neutron-provider-ext:segmentation-id":           "provider:segmentation_id",
	"networks/network/neutron-provider-ext:segments/network-type":     "provider:network_type",
	"networks/network/neutron-provider-ext:segments/physical-network": "provider:physical_network",
	"networks/network/neutron-provider-ext:segments/segmentation-id":  "provider:segmentation_id",
	"ports/port/neutron-binding:host-id":                              "binding:host_id",
	"ports/port/neutron-binding:vif-type":                             "binding:vif_type",
	"ports/port/neutron-binding:vnic-type":                            "binding:vnic_type",
	"ports/port/neutron-binding:profile":                              "binding:profile",
	"ports/port/neutron-binding:vif-details":                          "binding:vif_details",
	"routers/router/gateway-port-id":                                  "gw_port_id",
	"routers/router/external_gateway_info/external-network-id":        "network_id",
	"qos-policies/qos-policy/dscpmarking-rules":                       "dscp_marking_rules",
	"qos-policies/qos-policy/minimumbandwidth-rules":                  "minimum_bandwidth_rules",
}

// words are the texts for which identities stand, by what the identities' names begin with. A word that is missing is what follows.
var words = []struct {
	prefix string
	texts  map[string]string // what follows, if it is not the word itself
}{
	{"neutron-networks:network-type-", nil},
	{"neutron-constants:ip-version-", map[string]string{"v4": "4", "v6": "6"}},
	{"neutron-constants:ethertype-", map[string]string{"v4": "IPv4", "v6": "IPv6"}},
	{"neutron-constants:direction-", nil},
	{"neutron-constants:dhcpv6-", map[string]string{"stateful": "dhcpv6-stateful", "stateless": "dhcpv6-stateless"}},
	{"neutron-constants:protocol-", map[string]string{"icmp-v6": "icmpv6"}},
}

// identities are what identityOf found, by type and word: there are no more than the modules have.
var identities sync.Map // [wordKey]string

type wordKey struct {
	t    *yang.Type
	word string
}

// identityOf gives the identity that a word stands for among those that a type takes.
func identityOf(t *yang.Type, word string) (string, bool) {
	if !t.TakesIdentities() {
		return "", false
	}
	for _, w := range words {
		name := word
		for k, v := range w.texts {
			if v == word {
				name = k
			}
		}
		if id, err := t.Parse(w.prefix+name, yang.Served().ModuleNames); err == nil {
			identities.Store(wordKey{t, strings.Clone(word)}, id)
			return id, true
		}
	}
	return "", false
}

// wordOf is the other way round; what is no identity is its own word.
func wordOf(value string) string {
	for _, w := range words {
		if name, ok := strings.CutPrefix(value, w.prefix); ok {
			if text, special := w.texts[name]; special {
				return text
			}
			return name
		}
	}
	return value
}

// neutronNames are the names in the northbound's JSON of everything below neutron:neutron, worked out once: they are asked for with every
// value of every entry.
var neutronNames = sync.OnceValue(func() map[*yang.Node]string {
	out := map[*yang.Node]string{}
	root, _ := yang.Served().Root("neutron:neutron")
	root.Walk(func(n *yang.Node) {
		_, path, _ := strings.Cut(strings.TrimPrefix(n.Path(), "/"), "/")
		name, ok := jsonNames[path]
		if !ok {
			name, ok = jsonNames[n.Name]
		}
		if !ok {
			name = strings.ReplaceAll(n.Name, "-", "_")
		}
		out[n] = name
	})
	return out
})

// jsonName is the name of a node's value in the northbound's JSON.
func jsonName(n *yang.Node) string { return neutronNames()[n] }

// fromNeutron fills in an entry with what the northbound's JSON says of the object, as far as the schema has a place for it.
func fromNeutron(d *yang.Data, obj map[string]any) {
	d.Children = slices.Grow(d.Children, min(len(obj), len(d.Node.Children)))
	for _, n := range d.Node.Children {
		v, ok := obj[jsonName(n)]
		if !ok || v == nil {
			continue
		}
		switch n.Kind {
		case yang.Container:
			if inner, ok := v.(map[string]any); ok && len(inner) > 0 {
				fromNeutron(d.Add(n, ""), inner)
			}
		case yang.Leaf:
			addValue(d, n, v)
		case yang.LeafList:
			list, _ := v.([]any)
			for _, x := range list {
				if inner, ok := x.(map[string]any); ok { // groups of a port may come as objects
					x = inner["id"]
				}
				addValue(d, n, x)
			}
		case yang.List:
			for i, x := range entries(n, v) {
				addEntry(d, n, i, x, obj)
			}
		}
	}
}

// entries gives the objects that become entries of a list. Details of an interface are one object there, and a list of keys and
// values here.
func entries(n *yang.Node, v any) (out []map[string]any) {
	if details, ok := v.(map[string]any); ok && n.Name == "vif-details" {
		for _, k := range slices.Sorted(maps.Keys(details)) {
			text, plain := details[k].(string)
			if !plain {
				text = string(jsonbody.Append(nil, details[k]))
			}
			out = append(out, map[string]any{"details_key": k, "value": text})
		}
		return out
	}
	list, _ := v.([]any)
	for _, x := range list {
		if obj, ok := x.(map[string]any); ok {
			out = append(out, obj)
		}
	}
	return out
}

// addEntry adds an entry, unless it lacks a key, or another has it: lists there may say a thing twice.
func addEntry(d *yang.Data, n *yang.Node, i int, obj, around map[string]any) {
	e := d.Add(n, "")
	if n.Name == "segments" {
		obj = maps.Clone(obj)
		obj["segmentation_index"] = json.Number(strconv.Itoa(i))
	}
	if n.Name == "extra-dhcp-opts" && obj["ip_version"] == nil {
		obj = maps.Clone(obj)
		obj["ip_version"] = json.Number("4")
	}
	if n.Name == "allowed-address-pairs" && obj["mac_address"] == nil { // the port's own, which the key has to say
		obj = maps.Clone(obj)
		obj["mac_address"] = around["mac_address"]
	}
	fromNeutron(e, obj)
	key, ok := e.Key()
	for _, other := range d.All(n.QName()) {
		if k, _ := other.Key(); other != e && slices.Equal(k, key) {
			ok = false
		}
	}
	if !ok {
		d.Children = d.Children[:len(d.Children)-1]
	}
}

// addValue adds a leaf, if its type takes the value; what the schema cannot say is left out.
func addValue(d *yang.Data, n *yang.Node, v any) {
	text, ok := v.(string)
	if !ok {
		text = string(jsonbody.Append(nil, v))
	}
	if id, known := identities.Load(wordKey{n.Type, text}); known {
		d.Add(n, id.(string))
		return
	}
	value, err := n.Type.Parse(text, yang.Served().ModuleNames)
	if err != nil { // a word, perhaps, for which an identity stands
		var is bool
		if value, is = identityOf(n.Type, text); !is {
			return
		}
	}
	d.Add(n, value)
}

// toNeutron gives the northbound's JSON of an entry.
func toNeutron(d *yang.Data) map[string]any {
	out := map[string]any{}
	for _, c := range d.Children {
		name := jsonName(c.Node)
		switch c.Node.Kind {
		case yang.Container:
			out[name] = toNeutron(c)
		case yang.Leaf:
			out[name] = neutronValue(c)
		case yang.LeafList:
			list, _ := out[name].([]any)
			out[name] = append(list, neutronValue(c))
		case yang.List:
			if c.Node.Name == "vif-details" {
				details, _ := out[name].(map[string]any)
				if details == nil {
					details = map[string]any{}
				}
				k, _ := c.Get("details-key")
				details[k], _ = c.Get("value")
				out[name] = details
				break
			}
			list, _ := out[name].([]any)
			inner := toNeutron(c)
			delete(inner, "segmentation_index")
			out[name] = append(list, inner)
		}
	}
	return out
}

// neutronValue is a leaf's value as the northbound's JSON has it.
func neutronValue(d *yang.Data) any {
	word := wordOf(d.Value)
	if word != d.Value {
		if word == "4" || word == "6" {
			return json.Number(word)
		}
		return word
	}
	raw := d.Node.Type.AppendJSON(nil, d.Value)
	if raw[0] == '"' {
		if d.Node.Type.Base == yang.Int || d.Node.Type.Base == yang.Uint {
			return json.Number(d.Value)
		}
		return d.Value
	}
	if d.Value == "true" || d.Value == "false" {
		return d.Value == "true"
	}
	return json.Number(d.Value)
}
