// SPDX-License-Identifier: Apache-2.0

package pipeline

// The named priorities. Which table takes which is in the declaration; rules
// use these names and never a number.
const (
	// Table 0.
	PrioLLDP     uint16 = 32768 // classic: from any port
	PrioLLDPPort uint16 = 33001 // standard: from tunnels and provider networks
	PrioTrunk    uint16 = 32769 // a sub-port, by its tag
	PrioPort     uint16 = 32768
	PrioTunnel   uint16 = 32768
	PrioProvider uint16 = 32768 // a frame from a physical network
	PrioPortDrop uint16 = 8192
	PrioMetaBack uint16 = 33000 // from the node's metadata port

	// Table 2.
	PrioQosMark uint16 = 1025 // packets whose code point is set
	PrioQos     uint16 = 1024 // also in table 111

	// Table 20.
	PrioTwoTags         uint16 = 65000 // also in table 90
	PrioDHCPPunt        uint16 = 61013
	PrioGatewayLearn    uint16 = 1100
	PrioMulticastReport uint16 = 1090
	PrioRouterSolicit   uint16 = 1080
	PrioResponderExempt uint16 = 1025 // address-conflict probes are not answered by us
	PrioResponder       uint16 = 1024

	// Tables 30, 31, 100, 101, 105.
	PrioMetadata  uint16 = 2000
	PrioSized     uint16 = 1026 // its size has not been looked at yet
	PrioRelated   uint16 = 1026 // begins what a helped connection led to
	PrioHelped    uint16 = 1025 // of a connection that a helper follows: PrioFloating + 1
	PrioFloating  uint16 = 1024
	PrioNATHelped uint16 = 513 // PrioNAT + 1
	PrioNAT       uint16 = 512
	PrioNATDone   uint16 = 768 // translated already: known, or still new without an answer
	PrioNATKnown  uint16 = 256

	// Tables 40 and 90.
	PrioDHCPClient     uint16 = 61012
	PrioDHCPServerDrop uint16 = 61011
	PrioNeighbour      uint16 = 61010 // ARP and ND
	PrioUnowned        uint16 = 61009 // sources that nobody owns, and ND that no guard took
	PrioPermit         uint16 = 61007 // security group rules; in standard one for all of them
	PrioDHCPReply      uint16 = 61006
	PrioStateless      uint16 = 36002
	PrioAddress        uint16 = 36001
	PrioSpoofed        uint16 = 36000
	PrioUnguarded      uint16 = 35999 // a filtered port that has no guards

	// Tables 41 and 91.
	PrioInvalid     uint16 = 100
	PrioEstablished uint16 = 90
	PrioRevoked     uint16 = 80
	PrioTracked     uint16 = 70

	// Tables 42, 43, 92, 93.
	PrioFragment uint16 = 61020 // fragments, which only the tracker can judge together
	PrioRevoke   uint16 = 10    // established, but no rule allows it any more
	PrioNewTold  uint16 = 110   // a new connection that a security log tells of
	PrioNew      uint16 = 100
	PrioRestored uint16 = 90

	// Tables 45 and 94.
	PrioDropTold uint16 = 100

	// Tables 50 to 52.
	PrioVIP        uint16 = 1024
	PrioLocalOwn   uint16 = 1034 // a local IP, from the port that serves it
	PrioLocalIP    uint16 = 1033 // also in table 52
	PrioLocalReply uint16 = 1032

	// Tables 60 to 80.
	PrioRouter       uint16 = 1024
	PrioFromFloating uint16 = 1025 // from an address that has a floating IP on this node
	PrioUnproxied    uint16 = 1026 // from outside to an address that the router does not speak for
	PrioProxied      uint16 = 1027 // from outside to one that it does
	PrioUnrouted     uint16 = 1040 // a local IP's packet, which stays on its node
	PrioRouteAgain   uint16 = 2    // came from inbound NAT
	PrioRouterEcho   uint16 = 4000 // the router answers ping
	PrioEchoPassed   uint16 = 4001 // another router answers a ping that came by way of the first
	PrioTTL          uint16 = 3900
	PrioTTLEdge      uint16 = 3890 // of packets that no local port sent
	PrioUnroutable   uint16 = 3800 // addresses that no router forwards
	PrioPrefix       uint16 = 2048 // + 4 * prefix length, + 2 if connected, + 1 to look at the size first
	PrioToGateway    uint16 = 2048 // a node without the gateway hands the packet over
	PrioTooLarge     uint16 = 1024 // a local port's packet
	PrioTooLargeEdge uint16 = 1020 // a packet that no local port sent
	PrioFits         uint16 = 512
	PrioOwnHop       uint16 = 1025 // an external address of this node, or a router
	PrioNextHop      uint16 = 1024
	PrioResolvePort  uint16 = 9 // a local port's packet
	PrioResolve      uint16 = 8
	PrioUnresolved   uint16 = 4 // routed packets for nobody
	PrioDestination  uint16 = 32768

	// Table 110.
	PrioOwnCopy      uint16 = 40002 // a trunk's port gets no copy of what it sent
	PrioLocalLimited uint16 = 40001 // the same as PrioLocal, by meter
	PrioLocal        uint16 = 40000
	PrioStays        uint16 = 36000 // a local IP's packet, for no port of its node
	PrioSplit        uint16 = 35000 // what a tunnel brought goes into no tunnel
	PrioUnicast      uint16 = 32768
	PrioMulticast    uint16 = 16400
	PrioFloodTunnel  uint16 = 16384 // came from a tunnel: to local ports only
	PrioFloodLocal   uint16 = 16383 // came from a local port: everywhere
	PrioUnknown      uint16 = 8192

	// Table 115.
	PrioSubPort uint16 = 1024
	PrioTagged  uint16 = 512 // came from a VLAN
)

// PrefixPriority is the priority of a route in table 61, so that the longest
// prefix wins, and of two equal ones the connected one.
func PrefixPriority(bits int, connected bool) uint16 {
	p := PrioPrefix + 4*uint16(bits)
	if connected {
		p += 2
	}
	return p
}

// SizePriority is the priority of a look at the size of packets that take a
// route: above the route, below any better one.
func SizePriority(bits int, connected bool) uint16 { return PrefixPriority(bits, connected) + 1 }
