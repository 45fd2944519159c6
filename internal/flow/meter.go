// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"fmt"
	"strings"
)

// Meter is a rate limit of a switch with one drop band, the only kind that the
// userspace datapath of Open vSwitch knows. It is comparable.
type Meter struct {
	ID      uint32
	Packets bool   // Rate counts packets per second, else kilobits per second
	Rate    uint32 // above which packets are dropped
	Burst   uint32 // in the unit of Rate, without the second; 0 = the switch's choice
}

// String is the meter in the form `ovs-ofctl add-meter` reads.
func (m Meter) String() string {
	unit, burst, size := "kbps", "", ""
	if m.Packets {
		unit = "pktps"
	}
	if m.Burst != 0 {
		burst, size = ",burst", fmt.Sprintf(",burst_size=%d", m.Burst)
	}
	return fmt.Sprintf("meter=%d,%s%s,bands=type=drop,rate=%d%s", m.ID, unit, burst, m.Rate, size)
}

// ParseMeter reads what String writes: one band, which drops.
func ParseMeter(text string) (m Meter, err error) {
	head, band, ok := strings.Cut(text, ",bands=type=drop,")
	for _, item := range append(strings.Split(head, ","), strings.Split(band, ",")...) {
		key, value, _ := strings.Cut(item, "=")
		var n uint64
		switch key {
		case "meter", "rate", "burst_size":
			n, err = parseUint(value, 32)
		case "kbps", "burst":
		case "pktps":
			m.Packets = true
		default:
			ok = false
		}
		if err != nil || !ok {
			return Meter{}, fmt.Errorf("meter %q: want meter=N, kbps or pktps, and one band of type drop with its rate", text)
		}
		switch key {
		case "meter":
			m.ID = uint32(n)
		case "rate":
			m.Rate = uint32(n)
		case "burst_size":
			m.Burst = uint32(n)
		}
	}
	return m, nil
}
