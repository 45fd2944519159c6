// SPDX-License-Identifier: Apache-2.0

package pipeline

// Kinds of punted packets, as the userdata of a controller action says them.
// A packet-in carries them back, so that whoever answers needs no guess at what
// the packet is.
const (
	PuntDHCP      byte = 1 // DHCP request of a client, from table 20
	PuntTTL       byte = 2 // packet that a router must not forward any more, from table 61
	PuntResolve   byte = 3 // packet whose next hop on an external network has no known link address, from table 70
	PuntTooLarge  byte = 5 // packet that is larger than the MTU of the network ahead, from table 62
	PuntNeighbour byte = 4 // copy of an answer about a link address on an external network, from table 20
)

// userdataMark is the first byte of every userdata of ours.
const userdataMark = 0x4e

// Userdata is what a controller action says of the packets that it punts: two
// bytes, the mark and the kind.
func Userdata(kind byte) []byte { return []byte{userdataMark, kind} }

// ParseUserdata reads what Userdata wrote; ok is false for anybody else's.
func ParseUserdata(b []byte) (kind byte, ok bool) {
	if len(b) != 2 || b[0] != userdataMark {
		return 0, false
	}
	return b[1], true
}
