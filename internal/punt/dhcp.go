// SPDX-License-Identifier: Apache-2.0

package punt

import (
	"encoding/binary"
	"math"
	"net/netip"
	"strings"
	"time"

	"nagare/internal/model"
	"nagare/internal/responder"
	"nagare/internal/responder/dhcpopt"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// LeaseSeconds is how long an address may be used before it must be asked for again.
const LeaseSeconds = 86400

// DefaultDomain is the domain of networks that name none, where none is configured.
const DefaultDomain = "openstacklocal"

// dhcp answers one frame of the port's DHCP client.
func dhcp(r store.Reader, port *model.Port, domain string, frame []byte) []byte {
	if binary.BigEndian.Uint16(frame[12:14]) != etherIPv4 {
		return nil // the flow sends up nothing else, and a node that does asks for another service
	}
	n := network(r, port, domain)
	if n == nil {
		return nil
	}
	return n.Frame(frame)
}

// network is what the DHCP server of the port's network knows, as far as it concerns the port: nil if we are not that server.
func network(r store.Reader, port *model.Port, domain string) *responder.Network {
	net, ok := tables.Networks.Get(r, port.Network)
	if !ok || !net.AdminStateUp {
		return nil
	}
	server, ok := serverOf(r, port)
	if !ok || server.ID == port.ID {
		return nil
	}
	n := &responder.Network{MAC: responder.MAC(server.MAC), Domain: Domain(&net, domain)}
	if net.MTU > 0 && net.MTU <= math.MaxUint16 {
		n.MTU = uint16(net.MTU)
	}
	n.Subnets = make([]responder.Subnet, 0, len(server.FixedIPs))
	var hosts []responder.Host
	var extras []dhcpopt.Option
	for _, f := range server.FixedIPs {
		if !f.Addr.Is4() {
			continue
		}
		s, ok := tables.Subnets.Get(r, f.Subnet)
		if !ok || !s.EnableDHCP {
			continue
		}
		n.Subnets = append(n.Subnets, subnet(&s, f.Addr))
		for _, own := range port.FixedIPs {
			if own.Subnet != f.Subnet {
				continue
			}
			if hosts == nil {
				extras, _ = Extras(port)
			}
			hosts = append(hosts, responder.Host{IP: own.Addr, Name: HostName(port, own.Addr), Options: extras})
		}
	}
	if len(hosts) == 0 {
		return nil
	}
	n.Hosts = map[responder.MAC][]responder.Host{responder.MAC(port.MAC): hosts}
	return n
}

func subnet(s *model.Subnet, server netip.Addr) responder.Subnet {
	out := responder.Subnet{Server: server, Prefix: s.CIDR, Gateway: s.Gateway, DNS: s.DNSNameservers, Lease: LeaseSeconds * time.Second}
	for _, rt := range s.HostRoutes {
		out.Routes = append(out.Routes, responder.Route{Destination: rt.Destination, NextHop: rt.NextHop})
	}
	return out
}

// reserved is the device of a DHCP port that Neutron keeps between two agents: nobody's, and not ours.
const reserved = "reserved_dhcp_port"

// serverOf finds the DHCP port of a client's network that serves the client, if it is ours to answer for: on no node, and with an
// address on one of the client's subnets. OpenDaylight has a port for each subnet, Neutron one for all. One that is on a node is an
// interface there, and whoever holds that interface is the network's server, a Neutron agent for example.
func serverOf(r store.Reader, client *model.Port) (server model.Port, ok bool) {
	for p := range tables.DHCPPortsByNetwork.By(r, string(client.Network)) {
		if p.Host != "" {
			return model.Port{}, false
		}
		if !ok && p.AdminStateUp && p.DeviceID != reserved && meet(&p, client) {
			server, ok = p, true
		}
	}
	return server, ok
}

// meet reports whether two ports have IPv4 addresses on the same subnet.
func meet(a, b *model.Port) bool {
	for _, f := range a.FixedIPs {
		for _, g := range b.FixedIPs {
			if f.Subnet == g.Subnet && f.Addr.Is4() && g.Addr.Is4() {
				return true
			}
		}
	}
	return false
}

// Extras are the port's extra DHCPv4 options, encoded. The second result has a reason for each that cannot be sent.
func Extras(p *model.Port) ([]dhcpopt.Option, []error) {
	var out []dhcpopt.Option
	var faults []error
	for _, o := range p.DHCPOpts {
		if o.Version != 4 {
			continue
		}
		e, err := dhcpopt.Encode(o.Name, o.Value)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		out = append(out, e)
	}
	return out, faults
}

// Domain is the domain name that a network's clients are told: its own, else the configured one, else DefaultDomain.
func Domain(n *model.Network, configured string) string {
	if d := strings.TrimSuffix(n.DNSDomain, "."); d != "" {
		return d
	}
	if d := strings.TrimSuffix(configured, "."); d != "" {
		return d
	}
	return DefaultDomain
}

// HostName is the name that a port is told for an address: its own, without the domain, or one made of the address, like
// host-10-11-12-3.
func HostName(p *model.Port, a netip.Addr) string {
	if name, _, _ := strings.Cut(p.DNSName, "."); name != "" {
		return name
	}
	b := append(make([]byte, 0, 48), "host-"...)
	b = a.AppendTo(b)
	for i, c := range b {
		if c == '.' || c == ':' {
			b[i] = '-'
		}
	}
	return string(b)
}
