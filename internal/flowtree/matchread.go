// SPDX-License-Identifier: Apache-2.0

package flowtree

import (
	"strconv"
	"strings"

	"nagare/internal/flow"
	"nagare/internal/yang"
	"nagare/openflow"
)

// read is a condition on its way from a leaf to a match.
type read struct {
	field *openflow.Field
	value []byte
	mask  []byte // nil: exact
	from  *yang.Data
}

// tlv is the condition as a match holds it.
func (r read) tlv() openflow.TLV {
	raw := openflow.AppendField(nil, r.field, r.value, r.mask)
	t, _, _ := openflow.NextTLV(raw)
	return t
}

// readMatch reads the container match of a flow; nil is a flow for all packets.
func readMatch(d *yang.Data, node string) (flow.Match, error) {
	if d == nil {
		return "", nil
	}
	all, err := readConditions(d, node)
	if err != nil {
		return "", err
	}
	var seen scene
	by := map[*openflow.Field]*yang.Data{}
	var wire []byte
	for _, r := range all {
		seen.note(r.tlv())
	}
	for _, r := range all {
		if before := by[r.field]; before != nil {
			return "", invalid(r.from, "%s says the same field %s", before.Path(), r.field.Name)
		}
		by[r.field] = r.from
		if !seen.has(r.field.Prereq) {
			return "", invalid(r.from, "%s needs %s in the match", r.from.Node.Name, needs[r.field.Prereq])
		}
		wire = append(wire, r.tlv().Raw...)
	}
	m, err := flow.Wire(wire)
	if err != nil {
		return "", invalid(d, "%v", err)
	}
	return m, nil
}

// readConditions collects all that a match says, whether it fits together or not.
func readConditions(d *yang.Data, node string) (all []read, err error) {
	if leaf := at(d, "in-port"); leaf != nil {
		p, err := parsePort(node, leaf.Value)
		if err != nil {
			return nil, invalid(leaf, "%v", err)
		}
		all = append(all, read{openflow.FieldInPort, []byte{byte(p >> 24), byte(p >> 16), byte(p >> 8), byte(p)}, nil, leaf})
	}
	vlan, err := readVLAN(d)
	if err != nil {
		return nil, err
	}
	all = append(all, vlan...)
	for i := range conditions {
		c := &conditions[i]
		leaf, mask := at(d, c.path), (*yang.Data)(nil)
		if c.mask != "" {
			mask = at(d, c.mask)
		}
		if leaf == nil {
			if mask != nil {
				return nil, invalid(mask, "a mask needs a value, %s", c.path)
			}
			continue
		}
		r := read{field: c.field, from: leaf}
		if r.value, r.mask, err = c.parse(leaf.Value); err != nil {
			return nil, invalid(leaf, "%v", err)
		}
		if mask != nil {
			if r.mask, _, err = c.parse(mask.Value); err != nil {
				return nil, invalid(mask, "%v", err)
			}
		}
		all = append(all, r)
	}
	words, err := readWords(d, all)
	return append(all, words...), err
}

// readVLAN reads the condition on the tag. OpenDaylight's convention: an id of 0 stands for any tag, or for none if it is not there.
func readVLAN(d *yang.Data) ([]read, error) {
	c := at(d, "vlan-match/vlan-id")
	if c == nil {
		return nil, nil
	}
	id, _ := uintAt(c, "vlan-id")
	present, said := c.Get("vlan-id-present")
	there := present == "true" || !said && id != 0
	switch {
	case !there && id != 0:
		return nil, invalid(at(c, "vlan-id-present"), "a packet without tag has no VLAN %d", id)
	case !there:
		return []read{{openflow.FieldVLANVID, []byte{0, 0}, nil, c}}, nil
	case id == 0:
		return []read{{openflow.FieldVLANVID, []byte{0x10, 0}, []byte{0x10, 0}, c}}, nil
	}
	return []read{{openflow.FieldVLANVID, []byte{0x10 | byte(id>>8), byte(id)}, nil, c}}, nil
}

// readWords reads the conditions in the words of ovs-ofctl. What names of them mean can depend on the protocol, so they are read
// together with it, and with each other.
func readWords(d *yang.Data, others []read) (out []read, err error) {
	entries := d.All("nagare-inventory:field")
	if len(entries) == 0 {
		return nil, nil
	}
	var scenery []string
	for _, r := range others {
		switch v := r.tlv().Uint(); r.field {
		case openflow.FieldEthType:
			scenery = append(scenery, "dl_type="+strconv.FormatUint(v, 10))
		case openflow.FieldIPProto:
			scenery = append(scenery, "nw_proto="+strconv.FormatUint(v, 10))
		}
	}
	texts := make([]string, len(entries))
	for i, e := range entries {
		name, _ := e.Get("name")
		value, _ := e.Get("value")
		if strings.ContainsAny(name, ",= \t\n:") || strings.ContainsAny(value, ",= \t\n") {
			return nil, invalid(e, "want one name and one value, without comma or space")
		}
		if texts[i] = name + "=" + value; name == "oxm" {
			texts[i] = name + ":" + value
		}
	}
	// First each alone, so that a fault names its entry; the priority of a tag is nothing without the tag.
	for i, e := range entries {
		alone := append(scenery[:len(scenery):len(scenery)], texts[i])
		if _, err := flow.ParseMatch(strings.Join(alone, ",")); err != nil {
			return nil, invalid(e, "%v", err)
		}
	}
	m, err := flow.ParseMatch(strings.Join(append(scenery, texts...), ","))
	if err != nil {
		return nil, invalid(entries[0], "%v", err)
	}
	implied := map[*openflow.Field]bool{openflow.FieldEthType: true, openflow.FieldIPProto: true}
	for _, e := range entries {
		switch name, _ := e.Get("name"); name {
		case "dl_type", "eth_type":
			implied[openflow.FieldEthType] = false
		case "nw_proto", "ip_proto":
			implied[openflow.FieldIPProto] = false
		}
	}
	for t := range m.Fields() {
		if t.Field == nil {
			return nil, invalid(entries[0], "a field that is not known here: %x", t.Raw)
		}
		if implied[t.Field] {
			continue
		}
		out = append(out, read{t.Field, t.Value, t.Mask, entryOf(entries, t)})
	}
	return out, nil
}

// entryOf finds the entry that a condition came from, by the name that it is written with; the first if it was written otherwise.
func entryOf(entries []*yang.Data, t openflow.TLV) *yang.Data {
	for _, e := range entries {
		name, _ := e.Get("name")
		if f := openflow.FieldByName(name); f == t.Field || strings.HasPrefix(flow.Match(t.Raw).String(), name+"=") {
			return e
		}
	}
	return entries[0]
}
