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

	// Copies for security logs.
	PuntSentAccepted     byte = 8  // first packet of a connection that a port may open, from table 43
	PuntSentDropped      byte = 9  // packet that a port may not send, from table 45
	PuntReceivedAccepted byte = 10 // first packet of a connection that may be opened to a port, from table 93
	PuntReceivedDropped  byte = 11 // packet that may not reach a port, from table 94
)

// IsLogged reports whether a packet was punted for security logs alone: it is a copy, and nobody waits for an answer.
func IsLogged(kind byte) bool { return kind >= PuntSentAccepted && kind <= PuntReceivedDropped }

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
