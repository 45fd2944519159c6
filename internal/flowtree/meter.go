// SPDX-License-Identifier: Apache-2.0

package flowtree

import (
	"strconv"
	"strings"

	"nagare/internal/flow"
	"nagare/internal/yang"
)

// PutMeter says m in d, an entry of the list meter of a node.
func PutMeter(d *yang.Data, m flow.Meter) {
	flags := "meter-kbps"
	if m.Packets {
		flags = "meter-pktps"
	}
	if m.Burst != 0 {
		flags += " meter-burst"
	}
	num := func(v uint32) string { return strconv.FormatUint(uint64(v), 10) }
	d.Leaf("meter-id", num(m.ID)).Leaf("flags", flags+" meter-stats")
	band := d.Put("meter-band-headers").Put("meter-band-header").Leaf("band-id", "0").Leaf("band-rate", num(m.Rate))
	if m.Burst != 0 {
		band.Leaf("band-burst-size", num(m.Burst))
	}
	band.Put("meter-band-types").Leaf("flags", "ofpmbt-drop")
}

// ReadMeter reads an entry of the list meter of a node: one band, which drops.
func ReadMeter(d *yang.Data) (flow.Meter, error) {
	id, _ := uintAt(d, "meter-id")
	m := flow.Meter{ID: uint32(id)}
	text, _ := d.Get("flags")
	flags := map[string]bool{}
	for word := range strings.FieldsSeq(text) {
		flags[word] = true
	}
	if flags["meter-kbps"] && flags["meter-pktps"] {
		return m, invalid(at(d, "flags"), "a meter counts kilobits or packets")
	}
	m.Packets = flags["meter-pktps"]
	list := at(d, "meter-band-headers")
	if list == nil {
		return m, missing(d, "meter-band-headers")
	}
	bands := list.All("meter-band-header")
	if len(bands) != 1 {
		return m, invalid(list, "want one band, and there are %d: Open vSwitch knows no more", len(bands))
	}
	band := bands[0]
	if kind := at(band, "meter-band-types/flags"); kind != nil && kind.Value != "" && kind.Value != "ofpmbt-drop" {
		return m, invalid(kind, "want ofpmbt-drop: Open vSwitch knows no other band")
	}
	rate, err := both(band, "band-rate", "drop-rate")
	if err != nil {
		return m, err
	}
	if rate == nil {
		return m, missing(band, "band-rate")
	}
	burst, err := both(band, "band-burst-size", "drop-burst-size")
	if err != nil {
		return m, err
	}
	number := func(leaf *yang.Data) uint32 {
		v, _ := strconv.ParseUint(leaf.Value, 10, 32) // the schema has checked it
		return uint32(v)
	}
	m.Rate = number(rate)
	if burst != nil {
		m.Burst = number(burst)
	}
	if m.Burst != 0 && !flags["meter-burst"] {
		return m, invalid(burst, "a burst needs meter-burst among the flags")
	}
	return m, nil
}

// both is the leaf that is there, of two that say the same.
func both(d *yang.Data, name, other string) (*yang.Data, error) {
	a, b := at(d, name), at(d, other)
	switch {
	case a == nil:
		return b, nil
	case b != nil && a.Value != b.Value:
		return nil, invalid(b, "%s says %s", name, a.Value)
	}
	return a, nil
}
