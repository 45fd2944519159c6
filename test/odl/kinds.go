// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"encoding/json"
	"maps"
	"slices"
)

// Kind is a class of objects as the journal names it.
type Kind string

// Kinds that the model sends.
const (
	Group      Kind = "security_group"
	Rule       Kind = "security_group_rule"
	Network    Kind = "network"
	Subnet     Kind = "subnet"
	Router     Kind = "router"
	Port       Kind = "port"
	FloatingIP Kind = "floatingip"
	Policy     Kind = "qos_policy"
	Trunk      Kind = "trunk"
)

// SyncOrder is the order in which a full synchronisation sends the kinds. Parents may come after their children.
var SyncOrder = []Kind{Group, Rule, Network, Subnet, Router, Port, FloatingIP, Policy, Trunk}

// resource says how a kind travels: its collection under the base path and the keys of its JSON wrappers.
type resource struct{ path, one, many string }

var resources = map[Kind]resource{
	Group:      {"security-groups", "security_group", "security_groups"},
	Rule:       {"security-group-rules", "security_group_rule", "security_group_rules"},
	Network:    {"networks", "network", "networks"},
	Subnet:     {"subnets", "subnet", "subnets"},
	Router:     {"routers", "router", "routers"},
	Port:       {"ports", "port", "ports"},
	FloatingIP: {"floatingips", "floatingip", "floatingips"},
	Policy:     {"qos/policies", "policy", "policies"},
	Trunk:      {"trunks", "trunk", "trunks"},
}

// Canary is the network that networking-odl keeps in the controller to see whether it has forgotten everything.
const Canary = "bd8db3a8-2b30-4083-a8b3-b3fd46401142"

// Object is an object's attributes by their JSON names. Values are what encoding/json makes of JSON, but for integers, which
// are int.
type Object map[string]any

// str is a text attribute; "" if it is null or absent.
func (o Object) str(key string) string { s, _ := o[key].(string); return s }

func (o Object) id() string { return o.str("id") }

func (o Object) list(key string) []any { l, _ := o[key].([]any); return l }

// texts are the strings of a list.
func (o Object) texts(key string) []string {
	var out []string
	for _, v := range o.list(key) {
		if s, ok := v.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// clone copies an object so deep that a later change of either is not seen in the other.
func (o Object) clone() Object {
	out := make(Object, len(o))
	for k, v := range o {
		out[k] = cloneValue(v)
	}
	return out
}

func cloneValue(v any) any {
	switch v := v.(type) {
	case Object:
		return v.clone()
	case map[string]any:
		return map[string]any(Object(v).clone())
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = cloneValue(x)
		}
		return out
	}
	return v
}

// without is a copy that lacks some attributes.
func (o Object) without(keys ...string) Object {
	out := o.clone()
	for _, k := range keys {
		delete(out, k)
	}
	return out
}

// plain is a value as a reader of its JSON sees it.
func plain(v any) any {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // objects hold nothing that JSON cannot
	}
	var out any
	if err := json.Unmarshal(b, &out); err != nil {
		panic(err)
	}
	return out
}

// sorted are the keys of a map in order.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
