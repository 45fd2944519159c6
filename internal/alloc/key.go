// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// Kind names a sort of object that has keys.
type Kind string

// The kinds. A kind's name is part of a stored record and never changes.
const (
	Network    Kind = "network"
	Subnet     Kind = "subnet"
	Port       Kind = "port"
	Router     Kind = "router"
	Node       Kind = "node"
	Operator   Kind = "operator-entry"
	Rule       Kind = "rule"
	Groups     Kind = "group-set"
	Floating   Kind = "floating-ip"
	Forwarding Kind = "port-forwarding"
	LocalIP    Kind = "local-ip"
	// FloatingMeter are places among the meters of floating IPs.
	FloatingMeter Kind = "floating-meter"
)

// counter is the state of one kind's keys.
type counter struct {
	Next    model.Key `json:"next"`
	Wrapped bool      `json:"wrapped,omitempty"` // keys from 1 up have been handed out before
}

var counters = store.Declare[Kind, counter](tables.Schema, "alloc-counters", store.Allocated).
	Plane(func(counter) any { return nil })

// Indices from keys to objects: they tell whether a key is taken after a wrap, and whose a key in a register or cookie is.
// The index key is KeyText of the object's key.
var (
	NetworksByKey    = store.DeclareIndex(tables.Schema, tables.Networks, "key", func(n model.Network) []string { return keyText(n.Key) })
	SubnetsByKey     = store.DeclareIndex(tables.Schema, tables.Subnets, "key", func(s model.Subnet) []string { return keyText(s.Key) })
	PortsByKey       = store.DeclareIndex(tables.Schema, tables.Ports, "key", func(p model.Port) []string { return keyText(p.Key) })
	NodesByKey       = store.DeclareIndex(tables.Schema, tables.Nodes, "key", func(n model.Node) []string { return keyText(n.Key) })
	OperatorsByKey   = store.DeclareIndex(tables.Schema, tables.OperatorEntries, "key", func(e model.OperatorEntry) []string { return keyText(e.Key) })
	RoutersByKey     = store.DeclareIndex(tables.Schema, tables.Routers, "key", func(r model.Router) []string { return keyText(r.Key) })
	FloatingByKey    = store.DeclareIndex(tables.Schema, tables.FloatingIPs, "key", func(f model.FloatingIP) []string { return keyText(f.Key) })
	floatingByMeter  = store.DeclareIndex(tables.Schema, tables.FloatingIPs, "meter", func(f model.FloatingIP) []string { return keyText(f.Meter) })
	ForwardingsByKey = store.DeclareIndex(tables.Schema, tables.PortForwardings, "key", func(f model.PortForwarding) []string { return keyText(f.Key) })
	LocalIPsByKey    = store.DeclareIndex(tables.Schema, tables.LocalIPs, "key", func(l model.LocalIP) []string { return keyText(l.Key) })
	RulesByKey       = store.DeclareIndex(tables.Schema, tables.Rules, "key", func(r model.SecurityGroupRule) []string { return keyText(r.Key) })
)

// KeyText is the index key of an object key.
func KeyText(k model.Key) string { return tables.KeyText(k) }

func keyText(k model.Key) []string {
	if k == 0 {
		return nil
	}
	return []string{KeyText(k)}
}

// max is the highest key of the kind.
func (k Kind) max() model.Key {
	if k == Rule {
		return 1<<32 - 1
	}
	if k == FloatingMeter {
		return model.MaxFloatingMeter
	}
	if _, ok := slotOf(k); ok {
		return model.MaxSlot
	}
	return 1<<24 - 1
}

func (k Kind) taken(r store.Reader, key model.Key) bool {
	if node, ok := slotOf(k); ok {
		_, taken := tables.Slots.Get(r, model.SlotKey(node, uint32(key)))
		return taken
	}
	var ok bool
	switch text := KeyText(key); k {
	case Network:
		_, ok = NetworksByKey.First(r, text)
	case Subnet:
		_, ok = SubnetsByKey.First(r, text)
	case Port:
		_, ok = PortsByKey.First(r, text)
	case Node:
		_, ok = NodesByKey.First(r, text)
	case Operator:
		_, ok = OperatorsByKey.First(r, text)
	case Rule:
		_, ok = RulesByKey.First(r, text)
	case Router:
		_, ok = RoutersByKey.First(r, text)
	case Floating:
		_, ok = FloatingByKey.First(r, text)
	case FloatingMeter:
		_, ok = floatingByMeter.First(r, text)
	case Forwarding:
		_, ok = ForwardingsByKey.First(r, text)
	case LocalIP:
		_, ok = LocalIPsByKey.First(r, text)
	case Groups:
		_, ok = tables.GroupSets.Get(r, text)
	}
	return ok
}

// NextKey hands out the kind's next key, from 1 up. Only after the range (24 bits; 32 for rules) has wrapped can a key come a
// second time, and never one that an object still has. The error is an *ExhaustedError.
func NextKey(tx *store.Txn, kind Kind) (model.Key, error) {
	c, ok := counters.Get(tx, kind)
	if !ok {
		c.Next = 1
	}
	start := c.Next
	for {
		key := c.Next
		if c.Next >= kind.max() { // above: the range was larger once
			c.Next, c.Wrapped = 1, true
		} else {
			c.Next++
		}
		if !c.Wrapped || !kind.taken(tx, key) {
			counters.Put(tx, kind, c)
			return key, nil
		}
		if c.Next == start {
			return 0, &ExhaustedError{What: "key", Where: string(kind)}
		}
	}
}
