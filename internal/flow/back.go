// SPDX-License-Identifier: Apache-2.0

package flow

import "nagare/openflow"

// Acts that address an answer, made of the question itself, to who asked.

// EthBack copies the source MAC address to the destination.
func EthBack() Act { return MoveField(openflow.FieldEthSrc, openflow.FieldEthDst) }

// EthSwap exchanges the MAC addresses, by way of the low 48 bits of xxreg n.
func EthSwap(n int) Act {
	scratch := openflow.XXReg(n).Range(0, 48)
	var buf [96]byte
	b := openflow.Move{Src: openflow.FieldEthDst.All(), Dst: scratch}.AppendTo(buf[:0])
	b = openflow.Move{Src: openflow.FieldEthSrc.All(), Dst: openflow.FieldEthDst.All()}.AppendTo(b)
	return wire(stageApply, openflow.Move{Src: scratch, Dst: openflow.FieldEthSrc.All()}.AppendTo(b))
}

// IPv4Back copies the IPv4 source address to the destination.
func IPv4Back() Act { return MoveField(openflow.FieldIPv4Src, openflow.FieldIPv4Dst) }

// IPv6Back copies the IPv6 source address to the destination.
func IPv6Back() Act { return MoveField(openflow.FieldIPv6Src, openflow.FieldIPv6Dst) }

// ARPBack copies both addresses of the ARP sender to the target (RFC 826).
func ARPBack() Act {
	var buf [64]byte
	b := openflow.Move{Src: openflow.FieldARPSHA.All(), Dst: openflow.FieldARPTHA.All()}.AppendTo(buf[:0])
	return wire(stageApply, openflow.Move{Src: openflow.FieldARPSPA.All(), Dst: openflow.FieldARPTPA.All()}.AppendTo(b))
}
