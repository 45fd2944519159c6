// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// unplacedDevice is the device id of a DHCP port that no node has; Neutron names ports between two servers so.
const unplacedDevice = "reserved_dhcp_port"

// dhcpDevice is the device id of a network's DHCP port on a host: "dhcp", the name-based UUID (RFC 9562 version 5, DNS
// namespace) of the host, and the network's id.
func dhcpDevice(host string, n model.NetworkID) string {
	return "dhcp" + uuid.NewSHA1(uuid.NameSpaceDNS, []byte(host)).String() + "-" + string(n)
}

// ownDHCP reports whether a port is the DHCP port that this package made for its network, not one of an outside agent.
func ownDHCP(p *model.Port) bool {
	return p.IsDHCP() && (p.DeviceID == unplacedDevice || strings.HasPrefix(p.DeviceID, "dhcp") && strings.HasSuffix(p.DeviceID, "-"+string(p.Network)))
}

// servesNatively reports whether a port is a DHCP port that the controller answers for: nothing need be plugged for it, so it is
// ACTIVE from its commit on (decision 6).
func (v *view) servesNatively(p *model.Port) bool {
	return v.api.cfg.NativeDHCP && p.Host == "" && p.AdminStateUp && ownDHCP(p)
}

// syncDHCP gives the network the DHCP port that its subnets ask for: one port with an address of each subnet that has DHCP,
// none without such a subnet.
func (w *work) syncDHCP(id model.NetworkID) error {
	n, ok := tables.Networks.Get(w.tx, id)
	if !ok {
		return nil
	}
	var port model.Port
	have := false
	for p := range tables.DHCPPortsByNetwork.By(w.tx, string(id)) {
		if ownDHCP(&p) {
			port, have = p, true
			break
		}
	}
	if !have {
		var mac model.MAC
		port.ID, mac = w.api.ids.Port(w.tx, n.Name, model.OwnerDHCP, "")
		port.Std = model.Std{Project: n.Project, CreatedAt: w.now, UpdatedAt: w.now}
		port.PortPlane = model.PortPlane{Network: id, AdminStateUp: true, DeviceOwner: model.OwnerDHCP}
		port.VNICType = "normal"
		var err error
		if port.MAC, err = w.mac(id, mac); err != nil {
			return err
		}
		w.place(&port)
	}
	ips, err := w.dhcpAddresses(&port)
	if err != nil {
		return err
	}
	switch {
	case len(ips) == 0 && have:
		w.dropPort(port)
		return nil
	case len(ips) == 0:
		return nil
	case have && slices.Equal(ips, port.FixedIPs):
		return nil
	case !have:
		if port.Key, err = alloc.NextKey(w.tx, alloc.Port); err != nil {
			return err
		}
	}
	port.FixedIPs = ips
	w.touch(&port.Std)
	return putPort(w.tx, port)
}

// dhcpAddresses keeps the port's addresses of subnets with DHCP and adds those that are missing. A subnet without a free
// address stays without a server.
func (w *work) dhcpAddresses(port *model.Port) ([]model.FixedIP, error) {
	var ips []model.FixedIP
	for s := range tables.SubnetsByNetwork.By(w.tx, string(port.Network)) {
		at := slices.IndexFunc(port.FixedIPs, func(f model.FixedIP) bool { return f.Subnet == s.ID })
		switch {
		case at >= 0 && s.EnableDHCP:
			ips = append(ips, port.FixedIPs[at])
		case at >= 0:
			alloc.ReleaseAddress(w.tx, s, port.FixedIPs[at].Addr)
		case s.EnableDHCP && autoAddress(&s):
			ips = append(ips, model.FixedIP{Subnet: s.ID, Addr: alloc.EUI64(s.CIDR, port.MAC)})
		case s.EnableDHCP:
			a, err := w.api.alloc.Address(w.tx, s, noAddr)
			var none *alloc.ExhaustedError
			if errors.As(err, &none) {
				continue
			}
			if err != nil {
				return nil, err
			}
			ips = append(ips, model.FixedIP{Subnet: s.ID, Addr: a})
		}
	}
	// In order of age, so that a new subnet leaves the first address first.
	slices.SortStableFunc(ips, func(a, b model.FixedIP) int {
		return int(w.subnetKey(a.Subnet)) - int(w.subnetKey(b.Subnet))
	})
	return ips, nil
}

func (w *work) subnetKey(id model.SubnetID) model.Key {
	s, _ := tables.Subnets.Get(w.tx, id)
	return s.Key
}

// dhcpPlace is the node for a DHCP port.
func dhcpPlace(r store.Reader, p *model.Port) (model.NodeID, bool) {
	n, _ := tables.Networks.Get(r, p.Network)
	return alloc.PlaceDHCP(r, n.DHCPNode, p.RemovedFrom)
}

// place puts a DHCP port on the node that serves it, if there is one; a native one on none, with the server as its device.
func (w *work) place(p *model.Port) {
	if w.api.cfg.NativeDHCP {
		p.Host, p.DeviceID, p.RemovedFrom = "", dhcpDevice(w.api.cfg.DHCPServerHost, p.Network), ""
		return
	}
	p.Host, p.DeviceID = "", unplacedDevice
	if node, ok := dhcpPlace(w.tx, p); ok {
		p.Host, p.RemovedFrom = node, ""
		host := w.api.cfg.DHCPServerHost
		if host == "" {
			host = string(node)
		}
		p.DeviceID = dhcpDevice(host, p.Network)
	}
}

// PlaceDHCPPorts puts the DHCP ports that no node serves onto one: those that were made before any network node was known,
// and those whose node was removed. A port that is placed stays where it is, because moving it interrupts its clients. Call
// it when nodes appear or go; without anything to do it costs a look-up per node. With native DHCP there is nothing to place.
func (a *API) PlaceDHCPPorts(ctx context.Context) error {
	if a.cfg.NativeDHCP {
		return nil
	}
	return a.placeAnew(ctx, "place dhcp ports", unplaced(a.store.Snapshot()))
}

// SettleDHCP brings the DHCP ports of a store to the way of DHCP that is configured: with native DHCP none of ours is on a node,
// else all are, if there is a node. Addresses and MACs stay, so clients keep their leases and renew them at the same server.
// Call it before nodes are served.
func (a *API) SettleDHCP(ctx context.Context) error {
	snap := a.store.Snapshot()
	var ports []model.Port
	for p := range dhcpPortsByHost.By(snap, "") {
		if ownDHCP(&p) && (p.DeviceID == unplacedDevice) == a.cfg.NativeDHCP {
			ports = append(ports, p)
		}
	}
	if !a.cfg.NativeDHCP {
		return a.placeAnew(ctx, "place dhcp ports", ports)
	}
	for host := range dhcpHosts.Members(snap, tables.All) {
		for p := range dhcpPortsByHost.By(snap, host) {
			if ownDHCP(&p) {
				ports = append(ports, p)
			}
		}
	}
	return a.placeAnew(ctx, "take dhcp ports off nodes", ports)
}

// placeAnew places ports in one transaction, or in several if the store takes no more at once.
func (a *API) placeAnew(ctx context.Context, action string, ports []model.Port) error {
	if len(ports) == 0 {
		return nil
	}
	o := store.Origin{Request: "req-" + uuid.NewString(), User: "nagare", Action: action}
	_, err := a.store.Commit(ctx, o, func(tx *store.Txn) error {
		w := &work{view: view{r: tx, api: a}, tx: tx, now: a.cfg.Now().UTC().Truncate(time.Second)}
		for _, p := range ports {
			p, ok := tables.Ports.Get(tx, p.ID)
			if !ok || !ownDHCP(&p) {
				continue
			}
			if err := w.replaceDHCP(p); err != nil {
				return err
			}
		}
		return nil
	})
	var large *store.TooLargeError
	if half := len(ports) / 2; errors.As(err, &large) && half > 0 {
		if err := a.placeAnew(ctx, action, ports[:half]); err != nil {
			return err
		}
		return a.placeAnew(ctx, action, ports[half:])
	}
	return err
}

// replaceDHCP puts a DHCP port where it belongs now.
func (w *work) replaceDHCP(p model.Port) error {
	old, _ := tables.Ports.Get(w.tx, p.ID)
	if w.place(&p); p.Host == old.Host && p.DeviceID == old.DeviceID && p.RemovedFrom == old.RemovedFrom {
		return nil
	}
	w.touch(&p.Std)
	if err := putPort(w.tx, p); err != nil {
		return err
	}
	if p.Host != old.Host {
		w.down(p.ID, "moved")
	}
	return nil
}

// unplaced are our DHCP ports on no node, or on one that is gone, when there is a node to take them.
func unplaced(r store.Reader) []model.Port {
	if _, ok := alloc.PlaceDHCP(r, "", ""); !ok {
		return nil
	}
	var out []model.Port
	for p := range dhcpPortsByHost.By(r, "") {
		if _, ok := dhcpPlace(r, &p); ok && ownDHCP(&p) {
			out = append(out, p)
		}
	}
	for host := range dhcpHosts.Members(r, tables.All) {
		if _, ok := tables.Nodes.Get(r, model.NodeID(host)); ok {
			continue
		}
		for p := range dhcpPortsByHost.By(r, host) {
			if ownDHCP(&p) {
				out = append(out, p)
			}
		}
	}
	return out
}

// dhcpHosts are the hosts that DHCP ports are placed on, under tables.All.
var dhcpHosts = func() *store.Derived {
	d := store.DeclareDerived(tables.Schema, "dhcp-hosts", func(r store.Reader, id string) []store.Member {
		p, ok := tables.Ports.Get(r, model.PortID(id))
		if !ok || !p.IsDHCP() || p.Host == "" {
			return nil
		}
		return []store.Member{{Group: tables.All, Name: string(p.Host)}}
	})
	store.From(d, tables.Ports, func(_ store.Reader, p model.Port) []string {
		if !p.IsDHCP() {
			return nil
		}
		return []string{string(p.ID)}
	})
	return d
}()
