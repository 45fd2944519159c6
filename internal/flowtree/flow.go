// SPDX-License-Identifier: Apache-2.0

package flowtree

import (
	"strconv"

	"nagare/internal/flow"
	"nagare/internal/yang"
	"nagare/openflow"
)

// PutFlow says f in d, an entry of the list flow of a node's table, which may have its key already. Node is the node's id, "openflow:"
// and the datapath's number.
func PutFlow(d *yang.Data, node string, f flow.Flow) {
	d.Leaf("table_id", strconv.Itoa(int(f.Table)))
	d.Leaf("priority", strconv.Itoa(int(f.Priority)))
	d.Leaf("cookie", strconv.FormatUint(f.Cookie, 10))
	if f.Match != "" {
		putMatch(d.Put("match"), node, f.Match)
	}
	PutInstructions(d, f.Actions)
}

// PutInstructions says what is done with packets in d, an entry of the list flow. An instruction of an experimenter, which Open
// vSwitch has none of, is left out.
func PutInstructions(d *yang.Data, a flow.Actions) {
	list := (*yang.Data)(nil)
	add := func() *yang.Data {
		if list == nil {
			list = d.Put("instructions")
		}
		return list.Put("instruction").Leaf("order", strconv.Itoa(len(list.Children)-1))
	}
	for _, i := range a.Instructions() {
		switch i := i.(type) {
		case openflow.Meter:
			add().Put("meter").Leaf("meter-id", strconv.FormatUint(uint64(i.ID), 10))
		case openflow.ApplyActions:
			putActions(add().Put("apply-actions"), i.Actions)
		case openflow.ClearActions:
			add().Put("clear-actions")
		case openflow.WriteActions:
			putActions(add().Put("write-actions"), i.Actions)
		case openflow.WriteMetadata:
			add().Put("write-metadata").Leaf("metadata", strconv.FormatUint(i.Value, 10)).Leaf("metadata-mask", strconv.FormatUint(i.Mask, 10))
		case openflow.GotoTable:
			add().Put("go-to-table").Leaf("table_id", strconv.Itoa(int(i.Table)))
		}
	}
}

// ReadFlow reads an entry of the list flow of table. Faults are of type *yang.Fault and name the leaf.
func ReadFlow(d *yang.Data, node string, table uint8) (flow.Flow, error) {
	f := flow.Flow{Table: table, Priority: flow.DefaultPriority}
	if id, has := uintAt(d, "table_id"); has && id != uint64(table) {
		return f, invalid(at(d, "table_id"), "the flow stands in table %d", table)
	}
	if p, has := uintAt(d, "priority"); has {
		f.Priority = uint16(p)
	}
	f.Cookie, _ = uintAt(d, "cookie")
	var err error
	if f.Match, err = readMatch(at(d, "match"), node); err != nil {
		return f, err
	}
	r := reader{node: node, seen: sceneOf(f.Match)}
	if t, ok := f.Match.Find(openflow.FieldIPProto); ok {
		r.proto = t.Uint()
	}
	f.Actions, err = r.instructions(at(d, "instructions"))
	return f, err
}

func (r reader) instructions(d *yang.Data) (flow.Actions, error) {
	if d == nil {
		return "", nil
	}
	var acts []flow.Act
	seen := map[*yang.Node]*yang.Data{}
	for _, e := range inOrder(d, "instruction", "order") {
		var c *yang.Data
		for _, x := range e.Children {
			if !x.Node.IsKey() {
				c = x
			}
		}
		if c == nil {
			return "", invalid(e, "there is no instruction in it")
		}
		if before := seen[c.Node]; before != nil {
			return "", invalid(c, "a flow has each instruction once, and %s is one", before.Path())
		}
		seen[c.Node] = c
		more, err := r.instruction(c)
		if err != nil {
			return "", err
		}
		acts = append(acts, more...)
	}
	return flow.Do(acts...), nil
}

func (r reader) instruction(c *yang.Data) ([]flow.Act, error) {
	number := func(leaf string) (uint64, error) {
		v, has := uintAt(c, leaf)
		if !has {
			return 0, missing(c, leaf)
		}
		return v, nil
	}
	switch c.Node.Name {
	case "apply-actions":
		return r.actions(c)
	case "write-actions":
		acts, err := r.actions(c)
		if len(acts) == 0 || err != nil {
			return nil, err
		}
		return []flow.Act{flow.WriteActions(acts...)}, nil
	case "clear-actions":
		return []flow.Act{flow.ClearActions()}, nil
	case "go-to-table":
		t, err := number("table_id")
		return []flow.Act{flow.Goto(uint8(t))}, err
	case "meter":
		id, err := number("meter-id")
		return []flow.Act{flow.Metered(uint32(id))}, err
	}
	v, err := number("metadata")
	mask, has := uintAt(c, "metadata-mask")
	if !has {
		mask = ^uint64(0)
	}
	return []flow.Act{flow.WriteMetadata(v, mask)}, err
}
