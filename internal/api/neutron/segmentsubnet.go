// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"net/http"
	"net/netip"
	"slices"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// Subnets on segments make a network a routed one: an address works where its segment is, so a port gets one only when its host is
// known, and the fabric's routers join the segments.

// ownerRouted is the service type of subnets that are of the whole network, routed to wherever their addresses are.
const ownerRouted = "network:routed"

func init() {
	declare(part{extensions: []extension{
		{"ip_allocation", "IP Allocation", "IP allocation extension.", "2016-06-10T23:00:00-00:00"},
		{"segments-peer-subnet-host-routes", "Segments peer-subnet host routes", "Add host routes to subnets on a routed network (segments)", "2018-06-12T10:00:00-00:00"},
		{"subnet-segmentid-enforce", "Subnet SegmentID (enforce)", "Enforce a subnet's segment_id: all subnets of a network have one, or none has", "2020-08-21T00:00:00-00:00"},
		{"subnet-segmentid-writable", "Subnet SegmentID (writable)", "Provides a writable segment_id for a subnet resource.", "2016-12-08T00:00:00-00:00"},
	}})
	subnets.extend(Attr[model.Subnet]{Name: "segment_id", Get: func(_ *view, s *model.Subnet) any { return nullText(string(s.Segment)) },
		Parse: orNull(uuidText), Post: true, Put: true, SetPost: adminOnly, SetPut: adminOnly, See: adminOrService})
}

// isRouted reports whether addresses of a network work on their segments only.
func isRouted(r store.Reader, n model.NetworkID) bool {
	for s := range tables.SubnetsByNetwork.By(r, string(n)) {
		if s.Segment != "" {
			return true
		}
	}
	return false
}

// segmentsAt are the segments of a network that a node reaches by a physical network.
func segmentsAt(r store.Reader, n model.NetworkID, host model.NodeID) (ids []model.SegmentID) {
	node, _ := tables.Nodes.Get(r, host)
	for s := range tables.SegmentsByNetwork.By(r, string(n)) {
		if s.Physical() && node.Mappings[s.PhysicalNetwork] != "" {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// reaches reports whether a port can be on the network where it is bound to. A network that nobody routes and that has one segment
// is the data plane's to judge.
func reaches(r store.Reader, p *model.Port) bool {
	network, ips := p.Network, p.FixedIPs
	if network == "" { // of a binding, which knows its port by the id alone
		of, _ := tables.Ports.Get(r, p.ID)
		network, ips = of.Network, of.FixedIPs
	}
	n, ok := tables.Networks.Get(r, network)
	if !ok || n.Type.Tunnelled() && len(n.Segments) == 0 {
		return ok
	}
	onSegments := isRouted(r, n.ID)
	if len(n.Segments) == 0 && n.Type != "" && !onSegments {
		return true
	}
	if _, ok := wireAt(r, &n, p.Host); !ok {
		return false
	}
	if !onSegments {
		return true
	}
	here := segmentsAt(r, n.ID, p.Host)
	for _, f := range ips {
		if s, _ := tables.Subnets.Get(r, f.Subnet); s.Segment != "" && !slices.Contains(here, s.Segment) {
			return false
		}
	}
	return len(here) > 0
}

// onSegment reports whether a host reaches a segment of a network.
func (w *work) onSegment(n model.NetworkID, s model.SegmentID, host model.NodeID) bool {
	return host != "" && slices.Contains(segmentsAt(w.tx, n, host), s)
}

// site is where a port is on a routed network; the zero one is of a port that may have any address.
type site struct {
	routed bool
	had    int // subnets that it could use anywhere
	here   []model.SegmentID
}

// locate leaves a port the subnets that work where it is. What is nowhere in particular, routers and the network's services, has
// all of them.
func (c *chooser) locate() {
	if isNetworkDevice(c.port.DeviceOwner) || !slices.ContainsFunc(c.all, func(s model.Subnet) bool { return s.Segment != "" }) {
		return
	}
	c.site = site{routed: true, had: len(c.subs)}
	if c.port.Host != "" {
		c.site.here = segmentsAt(c.w.tx, c.net.ID, c.port.Host)
	}
	c.subs = slices.DeleteFunc(c.subs, func(s model.Subnet) bool { return !c.works(&s) })
}

// works reports whether the subnet's addresses work where the port is.
func (c *chooser) works(s *model.Subnet) bool {
	return !c.site.routed || s.Segment == "" || slices.Contains(c.site.here, s.Segment)
}

// defers reports whether the port's addresses have to wait until its host is known.
func (c *chooser) defers() bool {
	return c.site.routed && c.port.Host == "" && c.site.had > 0 && len(c.subs) == 0
}

// checkSite refuses what cannot work on a routed network: addresses of several segments, or where the port's host has none or several.
func (c *chooser) checkSite(want []fixedIP) error {
	if !c.site.routed {
		return nil
	}
	var asked []model.SegmentID
	for _, f := range want {
		at := slices.IndexFunc(c.all, func(s model.Subnet) bool { return s.ID == f.subnet || f.subnet == "" && s.CIDR.Contains(f.addr) })
		if at < 0 {
			continue // choose says so
		}
		s := &c.all[at]
		if c.port.Host != "" && !c.works(s) {
			return invalidInput("Failed to create port on network %s, because fixed_ips included invalid subnet %s", c.net.ID, s.ID)
		}
		if !slices.Contains(asked, s.Segment) {
			asked = append(asked, s.Segment)
		}
	}
	if len(asked) > 1 {
		return fail(http.StatusBadRequest, "FixedIpsSubnetsNotOnSameSegment", "Cannot allocate addresses from different segments.")
	}
	if c.port.Host == "" {
		return nil
	}
	var used []model.SegmentID
	for _, s := range c.subs {
		if s.Segment != "" && !slices.Contains(used, s.Segment) {
			used = append(used, s.Segment)
		}
	}
	switch {
	case len(used) > 1:
		return conflict("HostConnectedToMultipleSegments", "Host %s is connected to multiple segments on routed provider network '%s'.  It should be connected to one.", c.port.Host, c.net.ID)
	case want == nil && c.site.had > 0 && len(c.subs) == 0:
		return conflict("HostNotConnectedToAnySegment", "Host %s is not connected to any segments on routed provider network '%s'.  It should be connected to one.", c.port.Host, c.net.ID)
	}
	return nil
}

// addressHere gives a port that was just bound the addresses that waited for it, and refuses a host where those that it has do not
// work.
func (w *work) addressHere(p *model.Port) error {
	n, ok := tables.Networks.Get(w.tx, p.Network)
	if p.Host == "" || !ok {
		return nil
	}
	if p.Deferred {
		ips, err := w.elevated().newAddresses(&n, p, &values{})
		p.FixedIPs = ips
		return err
	}
	if len(p.FixedIPs) == 0 {
		return nil
	}
	c := w.elevated().chooser(&n, p)
	for _, f := range p.FixedIPs {
		if at := slices.IndexFunc(c.all, func(s model.Subnet) bool { return s.ID == f.Subnet }); at >= 0 && !c.works(&c.all[at]) {
			return conflict("HostNotCompatibleWithFixedIps",
				"Host %s is not connected to a segment where the existing fixed_ips on port %s will function given the routed network topology.", p.Host, p.ID)
		}
	}
	return nil
}

// segmentFor is the segment that a subnet is to be on.
func (w *work) segmentFor(s *model.Subnet, id model.SegmentID) error {
	seg, ok := tables.Segments.Get(w.tx, id)
	switch {
	case !ok:
		return segmentNotFound(string(id))
	case seg.Network != s.Network:
		return fail(http.StatusBadRequest, "NetworkIdsDontMatch", "The subnet's network id, '%s', doesn't match the network_id of segment '%s'", s.Network, id)
	}
	s.Segment = id
	return nil
}

// newSubnetSegment puts a new subnet on its segment. All subnets of a network are on segments, or none is.
func (w *work) newSubnetSegment(s *model.Subnet, in *values) error {
	if id := model.SegmentID(get[string](in, "segment_id")); id != "" {
		if err := w.segmentFor(s, id); err != nil {
			return err
		}
	}
	everywhere := func(types []string) bool { return slices.Contains(types, ownerRouted) }
	if everywhere(get[[]string](in, "service_types")) {
		return nil
	}
	for o := range tables.SubnetsByNetwork.By(w.tx, string(s.Network)) {
		if (o.Segment == "") != (s.Segment == "") && !everywhere(o.ServiceTypes) {
			return fail(http.StatusBadRequest, "SubnetsNotAllAssociatedWithSegments",
				"All of the subnets on network '%s' must either all be associated with segments or all not associated with any segment.", s.Network)
		}
	}
	return nil
}

// changeSubnetSegment puts a subnet on the one segment that its network has, for good.
func (w *work) changeSubnetSegment(s *model.Subnet, in *values) error {
	if !in.asked("segment_id") {
		if in.asked("host_routes") {
			w.eachPeer(s, func(o *model.Subnet) { routeToPeer(s, o) })
		}
		return nil
	}
	id := model.SegmentID(get[string](in, "segment_id"))
	if id == s.Segment {
		return nil
	}
	if s.Segment != "" {
		return fail(http.StatusBadRequest, "SubnetSegmentAssociationChangeNotAllowed", "A subnet that is already associated with a segment cannot have its segment association changed.")
	}
	if err := w.segmentFor(s, id); err != nil {
		return err
	}
	if n, _ := tables.Networks.Get(w.tx, s.Network); len(n.Segments) > 1 {
		return fail(http.StatusBadRequest, "NoUpdateSubnetWhenMultipleSegmentsOnNetwork",
			"The network '%s' has multiple segments, it is only possible to associate an existing subnet with a segment on networks with a single segment.", s.Network)
	}
	return nil
}

// eachPeer runs f for the subnets of the same family on other segments of the network.
func (w *work) eachPeer(s *model.Subnet, f func(*model.Subnet)) {
	if s.Segment == "" {
		return
	}
	for _, o := range slices.Collect(tables.SubnetsByNetwork.By(w.tx, string(s.Network))) {
		if o.ID != s.ID && o.Segment != "" && o.Segment != s.Segment && o.IPVersion() == s.IPVersion() {
			f(&o)
		}
	}
}

// routeToPeer has the subnet's hosts send to another by their gateway, unless somebody said how.
func routeToPeer(s, to *model.Subnet) (added bool) {
	if !s.Gateway.IsValid() || slices.ContainsFunc(s.HostRoutes, func(r model.Route) bool { return r.Destination == to.CIDR }) {
		return false
	}
	s.HostRoutes = append(slices.Clone(s.HostRoutes), model.Route{Destination: to.CIDR, NextHop: s.Gateway})
	return true
}

// joinPeers gives a new subnet routes to those of other segments, and them one to it.
func (w *work) joinPeers(s *model.Subnet) {
	w.eachPeer(s, func(o *model.Subnet) {
		routeToPeer(s, o)
		if routeToPeer(o, s) {
			w.touch(&o.Std)
			tables.Subnets.Put(w.tx, o.ID, *o)
		}
	})
}

// movePeers has the routes to other segments follow a subnet's gateway.
func (w *work) movePeers(s *model.Subnet, from netip.Addr) {
	w.eachPeer(s, func(o *model.Subnet) {
		s.HostRoutes = slices.DeleteFunc(slices.Clone(s.HostRoutes), func(r model.Route) bool { return r.Destination == o.CIDR && r.NextHop == from })
		routeToPeer(s, o)
	})
}

// leavePeers takes the routes to a subnet away that goes.
func (w *work) leavePeers(s *model.Subnet) {
	w.eachPeer(s, func(o *model.Subnet) {
		left := slices.DeleteFunc(slices.Clone(o.HostRoutes), func(r model.Route) bool { return r.Destination == s.CIDR && r.NextHop == o.Gateway })
		if len(left) != len(o.HostRoutes) {
			o.HostRoutes = left
			w.touch(&o.Std)
			tables.Subnets.Put(w.tx, o.ID, *o)
		}
	})
}
