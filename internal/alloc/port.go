// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"slices"
	"strings"
	"time"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// PutPort writes a port together with what is allocated to it by where it is and what it wears: a slot on each node that it is
// bound to, and its set of groups. A trunk's sub-port is where its parent is, and follows it. Whoever writes ports does it by PutPort and
// DeletePort, else their zones and group sets go astray. The error
// is an *ExhaustedError.
func PutPort(tx *store.Txn, p model.Port) error {
	old, had := tables.Ports.Get(tx, p.ID)
	var err error
	if p.GroupSet, err = groupSet(tx, p.SecurityGroups); err != nil {
		return err
	}
	if p.Router = ""; p.IsRouterPort() {
		p.Router = model.RouterID(p.DeviceID)
	}
	if p.IsSubPort() {
		parent, _ := tables.Ports.Get(tx, p.Parent)
		p.Host, p.Standby = parent.Host, parent.Standby
	} else {
		p.Bindings, p.Standby = bindingsOf(&p)
	}
	moved := had && (old.Host != p.Host || !slices.Equal(old.Standby, p.Standby))
	if moved {
		for n := range old.Hosts {
			if !p.LivesOn(n) {
				freeSlot(tx, n, p.ID)
			}
		}
	}
	for n := range p.Hosts {
		if err := takeSlot(tx, n, p.ID); err != nil {
			return err
		}
	}
	tables.Ports.Put(tx, p.ID, p)
	if had && old.GroupSet != p.GroupSet {
		leaveGroupSet(tx, p.ID, old.GroupSet)
	}
	if moved {
		return moveSubPorts(tx, p.ID)
	}
	return nil
}

// bindingsOf are a port's inactive bindings, but for one to the host where it is now, and their hosts in order. A port that is
// nowhere is not elsewhere either.
func bindingsOf(p *model.Port) (bindings []model.Binding, hosts []model.NodeID) {
	if len(p.Bindings) == 0 {
		return nil, nil
	}
	for _, b := range p.Bindings {
		if b.Host == p.Host {
			continue
		}
		if bindings = append(bindings, b); p.Host != "" {
			hosts = append(hosts, b.Host)
		}
	}
	slices.Sort(hosts)
	return bindings, hosts
}

// moveSubPorts has the ports that a trunk carries follow their parent.
func moveSubPorts(tx *store.Txn, parent model.PortID) error {
	for _, s := range slices.Collect(tables.SubPortsByParent.By(tx, string(parent))) {
		if err := PutPort(tx, s); err != nil {
			return err
		}
	}
	return nil
}

// leaveGroupSet remembers the set that a port has just left, in place of the one that it left before.
func leaveGroupSet(tx *store.Txn, id model.PortID, key model.Key) {
	before, had := tables.FormerSets.Get(tx, id)
	if s, ok := tables.GroupSets.Get(tx, KeyText(key)); ok {
		tables.FormerSets.Put(tx, id, model.FormerSet{Port: id, Set: key, Groups: s.Groups})
	} else {
		tables.FormerSets.Delete(tx, id)
	}
	if had {
		dropGroupSet(tx, before.Set)
	}
}

// ForgetFormerSet ends the time in which a port's former set is kept, if it is the one named still.
func ForgetFormerSet(tx *store.Txn, id model.PortID, set model.Key) {
	if f, ok := tables.FormerSets.Get(tx, id); ok && f.Set == set {
		tables.FormerSets.Delete(tx, id)
		dropGroupSet(tx, set)
	}
}

// DeletePort removes a port and gives back what PutPort took for it. It reports whether the port was there.
func DeletePort(tx *store.Txn, id model.PortID) bool {
	p, ok := tables.Ports.Get(tx, id)
	if !ok {
		return false
	}
	tables.Ports.Delete(tx, id)
	for n := range p.Hosts {
		freeSlot(tx, n, id)
	}
	dropGroupSet(tx, p.GroupSet)
	if f, ok := tables.FormerSets.Get(tx, id); ok {
		ForgetFormerSet(tx, id, f.Set)
	}
	return true
}

// Incomplete are the ports of an older version's store that lack what PutPort allocates. It walks all ports: it is for the
// server's start.
func Incomplete(r store.Reader) (ids []model.PortID) {
	for _, p := range tables.Ports.All(r) {
		_, slot := tables.SlotsByPort.First(r, model.PlugKey(p.Host, p.ID))
		if p.Host != "" && !slot || len(p.SecurityGroups) > 0 && p.GroupSet == 0 || p.IsRouterPort() && p.Router == "" {
			ids = append(ids, p.ID)
		}
	}
	return ids
}

// Complete allocates what the ports lack.
func Complete(tx *store.Txn, ids []model.PortID) error {
	for _, id := range ids {
		if p, ok := tables.Ports.Get(tx, id); ok {
			if err := PutPort(tx, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// FreeSlot makes a dirty slot's number free. It is for whoever has flushed the slot's zone.
func FreeSlot(tx *store.Txn, key string) {
	if s, ok := tables.Slots.Get(tx, key); ok && !s.Used() {
		tables.Slots.Delete(tx, key)
	}
}

func groupSet(tx *store.Txn, groups []model.SecurityGroupID) (model.Key, error) {
	if len(groups) == 0 {
		return 0, nil
	}
	sorted := slices.Clone(groups)
	slices.Sort(sorted)
	sorted = slices.Compact(sorted)
	if s, ok := tables.GroupSetsByGroups.First(tx, tables.GroupSetText(sorted)); ok {
		return s.Key, nil
	}
	key, err := NextKey(tx, Groups)
	if err != nil {
		return 0, err
	}
	tables.GroupSets.Put(tx, KeyText(key), model.GroupSet{Key: key, Groups: sorted})
	return key, nil
}

// dropGroupSet removes a set that no port wears or wore until lately.
func dropGroupSet(tx *store.Txn, key model.Key) {
	if key == 0 {
		return
	}
	_, worn := tables.PortsByGroupSet.First(tx, KeyText(key))
	if _, lately := tables.FormerSetsBySet.First(tx, KeyText(key)); !worn && !lately {
		tables.GroupSets.Delete(tx, KeyText(key))
	}
}

// slots is the counter of a node's slots.
const slots = "slot|"

// takeSlot gives the port a slot on the node unless it has one: the next number that is neither used nor dirty.
func takeSlot(tx *store.Txn, node model.NodeID, port model.PortID) error {
	if _, ok := tables.SlotsByPort.First(tx, model.PlugKey(node, port)); ok {
		return nil
	}
	return newSlot(tx, model.Slot{Node: node, Port: port})
}

// newSlot stores a slot under the next number of its node.
func newSlot(tx *store.Txn, s model.Slot) error {
	number, err := NextKey(tx, Kind(slots+string(s.Node)))
	if err != nil {
		return err
	}
	s.Number = uint32(number)
	tables.Slots.Put(tx, model.SlotKey(s.Node, s.Number), s)
	return nil
}

// freeSlot makes the port's slot on the node dirty.
func freeSlot(tx *store.Txn, node model.NodeID, port model.PortID) {
	if s, ok := tables.SlotsByPort.First(tx, model.PlugKey(node, port)); ok {
		dirtySlot(tx, s)
	}
}

func dirtySlot(tx *store.Txn, s model.Slot) {
	s.Freed = time.Now().UTC()
	tables.Slots.Put(tx, model.SlotKey(s.Node, s.Number), s)
}

// slotOf tells whether a kind counts the slots of a node, and of which.
func slotOf(k Kind) (model.NodeID, bool) {
	node, ok := strings.CutPrefix(string(k), slots)
	return model.NodeID(node), ok
}
