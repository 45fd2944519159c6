// SPDX-License-Identifier: Apache-2.0

package flowtree

import (
	"strconv"

	"nagare/internal/flow"
	"nagare/internal/yang"
	"nagare/openflow"
)

// groupTypes are OpenFlow's numbers of the types of groups, in the words of the module.
var groupTypes = map[flow.GroupType]string{
	flow.GroupAll: "group-all", flow.GroupSelect: "group-select", flow.GroupIndirect: "group-indirect", flow.GroupFastFailover: "group-ff",
}

// PutGroup says g in d, an entry of the list group of a node.
func PutGroup(d *yang.Data, g flow.Group) {
	d.Leaf("group-id", strconv.FormatUint(uint64(g.ID), 10))
	if word, ok := groupTypes[g.Type]; ok {
		d.Leaf("group-type", word)
	}
	list := (*yang.Data)(nil)
	for i, k := range g.Decoded() {
		if list == nil {
			list = d.Put("buckets")
		}
		b := list.Put("bucket").Leaf("bucket-id", strconv.Itoa(i))
		if g.Type == flow.GroupSelect {
			b.Leaf("weight", strconv.Itoa(int(k.Weight)))
		}
		if k.WatchPort != 0 {
			b.Leaf("watch_port", strconv.FormatUint(uint64(k.WatchPort), 10))
		}
		if k.WatchGroup != 0 {
			b.Leaf("watch_group", strconv.FormatUint(uint64(k.WatchGroup), 10))
		}
		as, _ := openflow.DecodeActions(k.Actions)
		putActions(b, as)
	}
}

// anyOne says in OpenFlow that no port, or no group, is watched.
const anyOne = 0xffffffff

// ReadGroup reads an entry of the list group of a node. Buckets are in the order of their ids.
func ReadGroup(d *yang.Data, node string) (flow.Group, error) {
	id, _ := uintAt(d, "group-id")
	kind := flow.GroupAll
	word, _ := d.Get("group-type")
	for t, w := range groupTypes {
		if w == word {
			kind = t
		}
	}
	var buckets []flow.Bucket
	size := 0
	if list := at(d, "buckets"); list != nil {
		for _, e := range inOrder(list, "bucket", "bucket-id") {
			var b flow.Bucket
			weight, has := uintAt(e, "weight")
			if b.Weight = uint16(weight); has && weight == 0 && kind == flow.GroupSelect {
				return flow.Group{}, invalid(at(e, "weight"), "want at least 1: a bucket of weight 0 gets no packets")
			}
			for leaf, to := range map[string]*uint32{"watch_port": &b.WatchPort, "watch_group": &b.WatchGroup} {
				if v, _ := uintAt(e, leaf); v != anyOne {
					*to = uint32(v)
				}
			}
			if kind == flow.GroupFastFailover && b.WatchPort == 0 && b.WatchGroup == 0 {
				return flow.Group{}, missing(e, "watch_port")
			}
			var err error
			if b.Acts, err = (reader{node: node}).actions(e); err != nil {
				return flow.Group{}, err
			}
			buckets = append(buckets, b)
			if size += 16 + len(flow.Do(b.Acts...)); size > 60000 {
				return flow.Group{}, invalid(e, "the buckets up to here have more than 60000 bytes")
			}
		}
	}
	if kind == flow.GroupIndirect && len(buckets) != 1 {
		return flow.Group{}, invalid(d, "a group of type group-indirect has one bucket, and this has %d", len(buckets))
	}
	return flow.NewGroup(uint32(id), kind, buckets...), nil
}
