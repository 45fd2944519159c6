// SPDX-License-Identifier: Apache-2.0

package tables

import (
	"net/netip"

	"nagare/internal/model"
	"nagare/internal/store"
)

// Local IPs and the ports that serve them; the key of the second is LocalIPAssociationPlane.ID.
var (
	LocalIPs = store.Declare[model.LocalIPID, model.LocalIP](Schema, "local-ips", store.Intent).
			Plane(func(l model.LocalIP) any { return l.LocalIPPlane })
	LocalIPAssociations = store.Declare[string, model.LocalIPAssociation](Schema, "local-ip-associations", store.Intent).
				Plane(func(a model.LocalIPAssociation) any { return a.LocalIPAssociationPlane })
)

// Indices of local IPs.
var (
	LocalIPsByProject = store.DeclareIndex(Schema, LocalIPs, "project", func(l model.LocalIP) []string { return []string{string(l.Project)} })
	LocalIPsByName    = store.DeclareIndex(Schema, LocalIPs, "name", func(l model.LocalIP) []string { return []string{l.Name} })
	LocalIPsByNetwork = store.DeclareIndex(Schema, LocalIPs, "network", func(l model.LocalIP) []string { return []string{string(l.Network)} })
	// LocalIPsByPort finds the local IPs whose address a port has.
	LocalIPsByPort = store.DeclareIndex(Schema, LocalIPs, "port", func(l model.LocalIP) []string { return []string{string(l.Port)} })
	// LocalIPsByAddress finds those of one address: AddressKey.
	LocalIPsByAddress = store.DeclareIndex(Schema, LocalIPs, "address", func(l model.LocalIP) []string { return []string{AddressKey(l.Network, l.Addr)} })

	LocalIPAssociationsByLocalIP = store.DeclareIndex(Schema, LocalIPAssociations, "local-ip", func(a model.LocalIPAssociation) []string { return []string{string(a.LocalIP)} })
	// LocalIPAssociationsByPort finds what a port serves.
	LocalIPAssociationsByPort = store.DeclareIndex(Schema, LocalIPAssociations, "port", func(a model.LocalIPAssociation) []string { return []string{string(a.Port)} })
)

// Derived tables of local IPs: what nodes other than a port's own know nothing of. The subject of each is a port that serves them.
var (
	// NodeLocalIPs: node -> local IPs that a port located there serves.
	NodeLocalIPs = localServing("node-local-ips", func(p *model.Port, a *model.LocalIPAssociation) store.Member {
		return store.Member{Group: string(p.Host), Name: string(a.LocalIP)}
	})
	// LocalIPServers: LocalIPOn(local IP, node) -> ports located there that serve it.
	LocalIPServers = localServing("local-ip-servers", func(p *model.Port, a *model.LocalIPAssociation) store.Member {
		return store.Member{Group: LocalIPOn(a.LocalIP, p.Host), Name: string(p.ID)}
	})
)

// LocalIPOn is the group key of LocalIPServers.
func LocalIPOn(ip model.LocalIPID, node model.NodeID) string { return string(ip) + "|" + string(node) }

// localServing declares a derived table of ports that are located on their active host and serve local IPs.
func localServing(name string, member func(*model.Port, *model.LocalIPAssociation) store.Member) *store.Derived {
	d := store.DeclareDerived(Schema, name, func(r store.Reader, subject string) (ms []store.Member) {
		p, located := model.Port{}, false
		for a := range LocalIPAssociationsByPort.By(r, subject) {
			if !located {
				if p, located = Located(r, a.Port); !located {
					return nil
				}
			}
			ms = append(ms, member(&p, &a))
		}
		return ms
	})
	store.From(d, LocalIPAssociations, func(_ store.Reader, a model.LocalIPAssociation) []string { return []string{string(a.Port)} })
	store.From(d, Ports, func(_ store.Reader, p model.Port) []string { return []string{string(p.ID)} })
	return store.From(d, Plugs, carriedBy)
}

// Serves reports whether an association can work: its port is on the network of the local IP and has the address that packets
// are to get, of the same family, but not the local IP's, which would be its own already.
func Serves(l *model.LocalIPPlane, a *model.LocalIPAssociationPlane, p *model.PortPlane) bool {
	return p.Network == l.Network && a.Fixed.Is4() == l.Addr.Is4() && HasAddress(p, a.Fixed) && !HasAddress(p, l.Addr)
}

// HasAddress reports whether an address is one of a port's fixed ones.
func HasAddress(p *model.PortPlane, a netip.Addr) bool {
	for _, f := range p.FixedIPs {
		if f.Addr == a {
			return true
		}
	}
	return false
}
