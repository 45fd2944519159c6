// SPDX-License-Identifier: Apache-2.0

package flow

import "nagare/openflow"

// Acts that address an answer, made of the question itself, to who asked.

// EthBack copies the source MAC address to the destination.
func EthBack() Act { return MoveField(openflow.FieldEthSrc, openflow.FieldEthDst) }

// IPv6Back copies the IPv6 source address to the destination.
func IPv6Back() Act { return MoveField(openflow.FieldIPv6Src, openflow.FieldIPv6Dst) }

// ARPBack copies both addresses of the ARP sender to the target (RFC 826).
func ARPBack() Act {
	var buf [64]byte
	b := openflow.Move{Src: openflow.FieldARPSHA.All(), Dst: openflow.FieldARPTHA.All()}.AppendTo(buf[:0])
	return wire(stageApply, openflow.Move{Src: openflow.FieldARPSPA.All(), Dst: openflow.FieldARPTPA.All()}.AppendTo(b))
}
