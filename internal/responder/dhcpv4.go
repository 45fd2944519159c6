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

	"nagare/internal/responder/dhcpopt"
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
		l := lease{subnet: s, host: Host{Options: leases[0].host.Options}}
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
	s := leaseSeconds(l.subnet.Lease)
	if o, ok := option(l.host.Options, dhcpopt.LeaseTime); ok && len(o.Data) == 4 {
		s = binary.BigEndian.Uint32(o.Data)
	}
	r.Options.Update(seconds(dhcpv4.OptionIPAddressLeaseTime, s, 1, 1))
	if s != infiniteLease {
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
		r.Options[dhcpopt.Routes] = routes
	}
	extra(r, l.host.Options)
	if routes := r.Options[dhcpopt.Routes]; len(routes) > 0 && r.Options[dhcpopt.MicrosoftRoutes] == nil &&
		slices.Contains(req.GetOneOption(dhcpv4.OptionParameterRequestList), dhcpopt.MicrosoftRoutes) {
		r.Options[dhcpopt.MicrosoftRoutes] = routes
	}
	fit(req, r, l.host.Options)
}

// extra puts the host's own options over those of the subnet. Boot loaders look for their image in the header too, whatever
// they were told in options (RFC 2132 sections 9.4, 9.5), so it is named there if there is room.
func extra(r *dhcpv4.DHCPv4, options []dhcpopt.Option) {
	inform := r.Options[dhcpopt.LeaseTime] == nil
	for _, o := range options {
		switch {
		case o.Code == dhcpopt.NextServer:
			if len(o.Data) == 4 {
				r.ServerIPAddr = net.IP(o.Data)
			}
			continue
		case dhcpopt.Reserved(o.Code), inform && (o.Code == dhcpopt.LeaseTime || o.Code == dhcpopt.RenewalTime || o.Code == dhcpopt.RebindingTime):
			continue
		case o.TakesBack():
			delete(r.Options, o.Code)
			continue
		case o.Code == dhcpopt.BootFile && len(o.Data) < 128:
			r.BootFileName = string(o.Data)
		case o.Code == dhcpopt.BootServer && len(o.Data) < 64:
			r.ServerHostName = string(o.Data)
		}
		r.Options[o.Code] = o.Data
	}
}

func option(options []dhcpopt.Option, code uint8) (dhcpopt.Option, bool) {
	i := slices.IndexFunc(options, func(o dhcpopt.Option) bool { return o.Code == code })
	if i < 0 {
		return dhcpopt.Option{}, false
	}
	return options[i], true
}

// classless returns option 121. A client that understands it ignores the router
// option (RFC 3442), so the default route is repeated here.
func classless(s *Subnet) []byte {
	var out []byte
	defaultGiven := false
	for _, r := range s.Routes {
		if !r.Destination.IsValid() || !r.Destination.Addr().Is4() || !r.NextHop.Is4() {
			continue
		}
		defaultGiven = defaultGiven || r.Destination.Bits() == 0
		out = dhcpopt.AppendRoute(out, r.Destination, r.NextHop)
	}
	if len(out) > 0 && !defaultGiven && s.Gateway.Is4() {
		out = dhcpopt.AppendRoute(out, netip.PrefixFrom(netip.IPv4Unspecified(), 0), s.Gateway)
	}
	return out
}

// fit drops what a client can best do without until the message is no longer
// than the client accepts (option 57). What a client cannot do without fits in
// the 576 octets that every client must accept, unless there are dozens of
// routes or options of its own; those then go too, the last ones first, rather
// than the whole answer.
func fit(req, r *dhcpv4.DHCPv4, options []dhcpopt.Option) {
	limit := minMaxMessage
	if m, err := req.MaxMessageSize(); err == nil && int(m) > limit {
		limit = min(int(m), 1500)
	}
	over := size(r.Options) - (limit - ipUDPHeader)
	drop := func(code uint8) {
		if data, ok := r.Options[code]; ok && over > 0 {
			over -= sizeOf(data)
			delete(r.Options, code)
		}
	}
	for _, code := range []dhcpv4.OptionCode{optionMSRoutes, dhcpv4.OptionBroadcastAddress, dhcpv4.OptionDomainName,
		dhcpv4.OptionHostName, dhcpv4.OptionClasslessStaticRoute} {
		drop(code.Code())
	}
	for _, o := range slices.Backward(options) {
		if !essential(o.Code) {
			drop(o.Code)
		}
	}
	drop(dhcpv4.OptionDomainNameServer.Code())
}

// essential options have a fixed and small size, and without them an address is no good.
func essential(code uint8) bool {
	switch code {
	case 1, dhcpopt.LeaseTime, dhcpopt.RenewalTime, dhcpopt.RebindingTime:
		return true
	}
	return dhcpopt.Reserved(code)
}

// size is how many octets a message with these options takes: header, cookie, options, end.
func size(options dhcpv4.Options) int {
	n := 236 + 4 + 1
	for _, data := range options {
		n += sizeOf(data)
	}
	return n
}

// sizeOf counts an option's octets, which come in pieces of 255 (RFC 3396).
func sizeOf(data []byte) int { return len(data) + 2*max(1, (len(data)+254)/255) }

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
