// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"fmt"
	"strconv"
	"strings"

	"nagare/openflow"
)

// Reserved port numbers (OpenFlow 1.3.5 section 7.2.1).
const (
	PortMax        = openflow.PortMax // the first reserved number
	PortInPort     = openflow.PortInPort
	PortTable      = openflow.PortTable
	PortNormal     = openflow.PortNormal
	PortFlood      = openflow.PortFlood
	PortAll        = openflow.PortAll
	PortController = openflow.PortController
	PortLocal      = openflow.PortLocal
	PortAny        = openflow.PortAny
)

var portNames = map[uint32]string{
	PortInPort: "IN_PORT", PortTable: "TABLE", PortNormal: "NORMAL", PortFlood: "FLOOD",
	PortAll: "ALL", PortController: "CONTROLLER", PortLocal: "LOCAL", PortAny: "ANY",
}

var portNumbers = func() map[string]uint32 {
	m := map[string]uint32{"NONE": PortAny}
	for n, s := range portNames {
		m[s] = n
	}
	return m
}()

// appendPort prints a port number as ovs-ofctl --no-names does: reserved ones by
// name, the rest of the top 256 as their 16-bit OpenFlow 1.0 number.
func appendPort(b []byte, p uint32) []byte {
	if s, ok := portNames[p]; ok {
		return append(b, s...)
	}
	if p >= PortMax {
		p &= 0xffff
	}
	return strconv.AppendUint(b, uint64(p), 10)
}

func parsePort(s string) (uint32, error) {
	if p, ok := portNumbers[strings.ToUpper(s)]; ok {
		return p, nil
	}
	v, err := strconv.ParseUint(s, 0, 32)
	if err != nil {
		return 0, fmt.Errorf("port %q is neither a number nor a reserved name", s)
	}
	if v >= 0xff00 && v <= 0xffff {
		v |= 0xffff0000 // an OpenFlow 1.0 number
	}
	return uint32(v), nil
}
