// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

const (
	minMaxMessage   = 576 // octets that every client takes, IP header included (RFC 2131 section 2)
	ipUDPHeader     = 28
	infiniteLease   = 0xffffffff // RFC 2131 section 3.3
	optionMSRoutes  = dhcpv4.GenericOptionCode(249)
	broadcastFlag   = 0x8000
	defaultLeaseFor = 24 * time.Hour
)

// DHCPv4 answers one client message, or returns nil when there is nothing to
// say: a MAC without a reservation, a message for another server, RELEASE,
// DECLINE, or a message that RFC 2131 section 4.3 does not allow.
//
// Addresses are reservations, so the server needs no memory of its offers, and
// it is authoritative for the MACs that it knows: a known client that asks for
// an address which is not its own gets a NAK. The relay fields (giaddr, option
// 82) are ignored: every client is on the link, and a guest that sets them must
// not be able to send answers elsewhere.
func (n *Network) DHCPv4(req *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	if req.OpCode != dhcpv4.OpcodeBootRequest || req.HWType != iana.HWTypeEthernet || len(req.ClientHWAddr) != 6 {
		return nil
	}
	leases := n.leases(MAC(req.ClientHWAddr))
	if len(leases) == 0 {
		return nil
	}
	requested, hasRequested := optionAddr(req, dhcpv4.OptionRequestedIPAddress)
	server, hasServer := optionAddr(req, dhcpv4.OptionServerIdentifier)
	client := addrOf(req.ClientIPAddr)

	switch req.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		l := leases[0]
		if m, ok := find(leases, requested); ok {
			l = m
		}
		return n.offer(req, dhcpv4.MessageTypeOffer, l)

	case dhcpv4.MessageTypeRequest:
		wanted := requested
		switch {
		case hasServer && !n.serves(server):
			return nil // SELECTING, another server was chosen
		case hasRequested: // SELECTING or INIT-REBOOT
		case !client.IsUnspecified(): // RENEWING or REBINDING
			wanted = client
		default:
			return nil // RFC 2131 table 4 allows no REQUEST without an address
		}
		if l, ok := find(leases, wanted); ok {
			return n.offer(req, dhcpv4.MessageTypeAck, l)
		}
		return n.nak(req, leases[0].subnet)

	case dhcpv4.MessageTypeInform:
		// The client has an address already, perhaps one set by hand: then it
		// learns the subnet's options, and no name.
		s := n.subnetOf(client)
		if s == nil || !s.Server.Is4() {
			return nil
		}
		l := lease{subnet: s}
		if m, ok := find(leases, client); ok {
			l = m
		}
		return n.inform(req, l)
	}
	return nil
}

func find(leases []lease, ip netip.Addr) (lease, bool) {
	for _, l := range leases {
		if l.host.IP == ip {
			return l, true
		}
	}
	return lease{}, false
}

// base is a reply with the fields that every answer copies (RFC 2131 table 3)
// and the client identifier that RFC 6842 wants echoed.
func base(req *dhcpv4.DHCPv4, t dhcpv4.MessageType, s *Subnet) *dhcpv4.DHCPv4 {
	r := &dhcpv4.DHCPv4{
		OpCode:        dhcpv4.OpcodeBootReply,
		HWType:        iana.HWTypeEthernet,
		TransactionID: req.TransactionID,
		Flags:         req.Flags & broadcastFlag,
		ClientIPAddr:  net.IPv4zero,
		YourIPAddr:    net.IPv4zero,
		ServerIPAddr:  net.IPv4zero,
		GatewayIPAddr: net.IPv4zero,
		ClientHWAddr:  req.ClientHWAddr,
		Options:       dhcpv4.Options{},
	}
	r.UpdateOption(dhcpv4.OptMessageType(t))
	r.UpdateOption(dhcpv4.OptServerIdentifier(s.Server.AsSlice()))
	if id := req.GetOneOption(dhcpv4.OptionClientIdentifier); len(id) > 0 && len(id) <= 255 {
		r.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionClientIdentifier, id))
	}
	return r
}

func (n *Network) offer(req *dhcpv4.DHCPv4, t dhcpv4.MessageType, l lease) *dhcpv4.DHCPv4 {
	r := base(req, t, l.subnet)
	r.YourIPAddr = l.host.IP.AsSlice()
	r.ServerIPAddr = l.subnet.Server.AsSlice()
	if t == dhcpv4.MessageTypeAck {
		r.ClientIPAddr = req.ClientIPAddr
	}
	r.Options.Update(seconds(dhcpv4.OptionIPAddressLeaseTime, leaseSeconds(l.subnet.Lease), 1, 1))
	if s := leaseSeconds(l.subnet.Lease); s != infiniteLease {
		r.Options.Update(seconds(dhcpv4.OptionRenewTimeValue, s, 1, 2))
		r.Options.Update(seconds(dhcpv4.OptionRebindingTimeValue, s, 7, 8))
	}
	n.configure(req, r, l)
	return r
}

// inform is the ACK to INFORM: parameters, but neither an address nor a lease
// (RFC 2131 section 4.3.5).
func (n *Network) inform(req *dhcpv4.DHCPv4, l lease) *dhcpv4.DHCPv4 {
	r := base(req, dhcpv4.MessageTypeAck, l.subnet)
	r.ClientIPAddr = req.ClientIPAddr
	r.ServerIPAddr = l.subnet.Server.AsSlice()
	n.configure(req, r, l)
	return r
}

// nak carries nothing but its reason and is broadcast (RFC 2131 section 4.3.2).
func (n *Network) nak(req *dhcpv4.DHCPv4, s *Subnet) *dhcpv4.DHCPv4 {
	r := base(req, dhcpv4.MessageTypeNak, s)
	r.Flags = broadcastFlag
	r.UpdateOption(dhcpv4.OptMessage("address is not the one reserved for this interface"))
	return r
}

// configure adds the parameters of the subnet. They are sent whether or not the
// client listed them: the list is small, and some clients list too little.
func (n *Network) configure(req, r *dhcpv4.DHCPv4, l lease) {
	s := l.subnet
	mask := net.CIDRMask(s.Prefix.Bits(), 32)
	r.UpdateOption(dhcpv4.OptSubnetMask(mask))
	r.UpdateOption(dhcpv4.OptBroadcastAddress(broadcastOf(s.Prefix)))
	if s.Gateway.Is4() {
		r.UpdateOption(dhcpv4.OptRouter(s.Gateway.AsSlice()))
	}
	if dns := only4(s.DNS); len(dns) > 0 {
		r.UpdateOption(dhcpv4.OptDNS(dns...))
	}
	if n.Domain != "" && len(n.Domain) <= 255 {
		r.UpdateOption(dhcpv4.OptDomainName(n.Domain))
	}
	if l.host.Name != "" && len(l.host.Name) <= 255 {
		r.UpdateOption(dhcpv4.OptHostName(l.host.Name))
	}
	if n.MTU >= 68 { // RFC 2132 section 5.1
		r.Options.Update(dhcpv4.OptGeneric(dhcpv4.OptionInterfaceMTU, binary.BigEndian.AppendUint16(nil, n.MTU)))
	}
	if routes := classless(s); len(routes) > 0 {
		r.UpdateOption(dhcpv4.OptClasslessStaticRoute(routes...))
		if slices.Contains(req.GetOneOption(dhcpv4.OptionParameterRequestList), optionMSRoutes.Code()) {
			r.UpdateOption(dhcpv4.OptGeneric(optionMSRoutes, dhcpv4.Routes(routes).ToBytes()))
		}
	}
	fit(req, r)
}

// classless returns option 121. A client that understands it ignores the router
// option (RFC 3442), so the default route is repeated here.
func classless(s *Subnet) []*dhcpv4.Route {
	var out []*dhcpv4.Route
	add := func(dst netip.Prefix, via netip.Addr) {
		out = append(out, &dhcpv4.Route{
			Dest:   &net.IPNet{IP: dst.Masked().Addr().AsSlice(), Mask: net.CIDRMask(dst.Bits(), 32)},
			Router: via.AsSlice(),
		})
	}
	defaultGiven := false
	for _, r := range s.Routes {
		if !r.Destination.IsValid() || !r.Destination.Addr().Is4() || !r.NextHop.Is4() {
			continue
		}
		defaultGiven = defaultGiven || r.Destination.Bits() == 0
		add(r.Destination, r.NextHop)
	}
	if len(out) > 0 && !defaultGiven && s.Gateway.Is4() {
		add(netip.PrefixFrom(netip.IPv4Unspecified(), 0), s.Gateway)
	}
	return out
}

// fit drops what a client can best do without until the message is no longer
// than the client accepts (option 57). What a client cannot do without fits in
// the 576 octets that every client must accept, unless there are dozens of
// routes; those then go too, rather than the whole answer.
func fit(req, r *dhcpv4.DHCPv4) {
	limit := minMaxMessage
	if m, err := req.MaxMessageSize(); err == nil && int(m) > limit {
		limit = min(int(m), 1500)
	}
	for _, code := range []dhcpv4.OptionCode{
		optionMSRoutes, dhcpv4.OptionBroadcastAddress, dhcpv4.OptionDomainName, dhcpv4.OptionHostName,
		dhcpv4.OptionClasslessStaticRoute, dhcpv4.OptionDomainNameServer,
	} {
		if len(r.ToBytes())+ipUDPHeader <= limit {
			return
		}
		r.DeleteOption(code)
	}
}

// optionAddr reads an option that must hold exactly one IPv4 address.
func optionAddr(req *dhcpv4.DHCPv4, code dhcpv4.OptionCode) (netip.Addr, bool) {
	b := req.GetOneOption(code)
	if len(b) != 4 {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte(b)), true
}

func addrOf(ip net.IP) netip.Addr {
	a, ok := netip.AddrFromSlice(ip)
	if !ok {
		return netip.IPv4Unspecified()
	}
	return a.Unmap()
}

func only4(in []netip.Addr) []net.IP {
	var out []net.IP
	for _, a := range in {
		if a.Is4() {
			out = append(out, a.AsSlice())
		}
	}
	return out
}

func broadcastOf(p netip.Prefix) net.IP {
	a := p.Masked().Addr().As4()
	v := binary.BigEndian.Uint32(a[:]) | uint32(uint64(1)<<(32-p.Bits())-1)
	return binary.BigEndian.AppendUint32(nil, v)
}

// leaseSeconds turns a lease into its wire value; not set means a day, and
// anything beyond 32 bits (or negative) means for ever.
func leaseSeconds(d time.Duration) uint32 {
	switch s := d / time.Second; {
	case d == 0:
		return uint32(defaultLeaseFor / time.Second)
	case s < 0 || s >= infiniteLease:
		return infiniteLease
	default:
		return max(uint32(s), 1)
	}
}

// seconds is an option that holds s*num/den seconds.
func seconds(code dhcpv4.OptionCode, s uint32, num, den uint64) dhcpv4.Option {
	return dhcpv4.OptGeneric(code, binary.BigEndian.AppendUint32(nil, uint32(uint64(s)*num/den)))
}
