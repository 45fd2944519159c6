// SPDX-License-Identifier: Apache-2.0

package flow

import "fmt"

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
