// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/tables"
)

// Facts are what only the operator knows of a deployment: Neutron's settings of the same names. The zero value holds where nothing
// was configured: physical networks are whatever an administrator names, tenants get VXLAN. Segmentation ids for tenants are
// Config.Alloc's ranges; a Facts is read by every request and never changed.
type Facts struct {
	// VLANNetworks are the physical networks that VLAN networks may be on, in the order in which tenants' networks try them; those
	// without ranges serve wanted ids only. nil: any physical network, wanted ids only.
	VLANNetworks []string
	// FlatNetworks are the physical networks that flat networks may be on; nil: any, empty: none.
	FlatNetworks []string
	// TenantTypes are tried in order for a network that is created without provider attributes; nil: VXLAN.
	TenantTypes []model.NetworkType
	// PathMTU bounds packets between nodes, so tunnelled networks; zero: Config.UnderlayMTU alone does.
	PathMTU int
	// PhysicalMTUs bound flat and VLAN networks by physical network, beside Config.UnderlayMTU.
	PhysicalMTUs map[string]int
	// Zone is the name of the one availability zone, DefaultZone if empty.
	Zone string
	// The most that a router has of extra routes, a subnet of host routes and of DNS servers; zero: as Neutron.
	MaxRoutes, MaxHostRoutes, MaxDNSServers int
}

// Defaults of Facts, as Neutron has them.
const (
	DefaultZone          = "nova"
	DefaultMaxRoutes     = 30
	DefaultMaxHostRoutes = 20
	DefaultMaxDNSServers = 5
)

func (f *Facts) complete() {
	orElse := func(n *int, def int) {
		if *n == 0 {
			*n = def
		}
	}
	orElse(&f.MaxRoutes, DefaultMaxRoutes)
	orElse(&f.MaxHostRoutes, DefaultMaxHostRoutes)
	orElse(&f.MaxDNSServers, DefaultMaxDNSServers)
	if f.Zone == "" {
		f.Zone = DefaultZone
	}
	if f.TenantTypes == nil {
		f.TenantTypes = []model.NetworkType{model.VXLAN}
	}
}

// flat reports whether a flat network may be on the physical network.
func (f *Facts) flat(physnet string) bool {
	return f.FlatNetworks == nil || slices.Contains(f.FlatNetworks, physnet)
}

// checkPhysical refuses physical networks that the deployment has not.
func (f *Facts) checkPhysical(n *model.Network) error {
	switch {
	case n.Type == model.VLAN && f.VLANNetworks != nil && !slices.Contains(f.VLANNetworks, n.PhysicalNetwork):
		return invalidInput("physical_network '%s' unknown for VLAN provider network", n.PhysicalNetwork)
	case n.Type == model.Flat && f.FlatNetworks != nil && len(f.FlatNetworks) == 0:
		return invalidInput("Flat provider networks are disabled")
	case n.Type == model.Flat && !f.flat(n.PhysicalNetwork):
		return invalidInput("physical_network '%s' unknown for flat provider network", n.PhysicalNetwork)
	}
	return nil
}

// overhead is what a tunnel takes from the underlay's MTU: outer IPv4 (20), UDP (8) where there is one, the tunnel's header
// (VXLAN 8, Geneve 8 + 8 of options, GRE 8 with a key) and the inner Ethernet header (14).
var overhead = map[model.NetworkType]int{model.VXLAN: 50, model.Geneve: 58, model.GRE: 42}

// maxMTU is the most that a network can carry.
func (a *API) maxMTU(t model.NetworkType, physnet string) int {
	mtu := a.cfg.UnderlayMTU
	switch own, ok := a.cfg.Facts.PhysicalMTUs[physnet]; {
	case t.Tunnelled():
		if p := a.cfg.Facts.PathMTU; p > 0 {
			mtu = min(mtu, p)
		}
		mtu -= overhead[t]
	case ok && (t == model.VLAN || t == model.Flat):
		mtu = min(mtu, own)
	}
	return mtu
}

// noNetwork is what is said when every segment is taken. Neutron calls it a lack of the service, not a conflict.
func noNetwork() *Error {
	return fail(http.StatusServiceUnavailable, "NoNetworkAvailable", "Unable to create the network. No tenant network is available for allocation.")
}

// tenantSegment settles how a network travels that was created without saying so: by the first type of the deployment's list that has
// a free segment. recorded is the wanted id of a VXLAN network, if nobody else has it.
func (w *work) tenantSegment(n *model.Network, recorded uint32) error {
	for _, t := range w.api.cfg.Facts.TenantTypes {
		physnets := []string{""}
		if t == model.VLAN {
			physnets = w.api.cfg.Facts.VLANNetworks
		}
		for _, physnet := range physnets {
			var want uint32
			if t == model.VXLAN {
				want = recorded
			}
			id, err := w.api.alloc.TenantVNI(w.tx, n.Project, t, physnet, want)
			var con *alloc.ConflictError
			if errors.As(err, &con) { // recorded, but somebody else has it now
				id, err = w.api.alloc.TenantVNI(w.tx, n.Project, t, physnet, 0)
			}
			var none *alloc.ExhaustedError
			if errors.As(err, &none) {
				continue
			}
			n.Type, n.PhysicalNetwork, n.SegmentationID = t, physnet, id
			return err
		}
	}
	return noNetwork()
}

// provider settles how the network travels: as an administrator asked, else as tenants' networks do.
func (w *work) provider(n *model.Network, in *values, recorded uint32) error {
	n.Type, n.PhysicalNetwork = model.NetworkType(get[string](in, "provider:network_type")), get[string](in, "provider:physical_network")
	seg, hasSeg := in.m["provider:segmentation_id"].(int)
	facts := &w.api.cfg.Facts
	if n.Type == "" {
		if n.PhysicalNetwork != "" || hasSeg {
			return invalidInput("network_type required")
		}
		if n.External && w.api.cfg.Routers {
			n.PhysicalNetwork = w.externalNetwork()
		}
		if n.PhysicalNetwork == "" {
			return w.tenantSegment(n, recorded)
		}
		n.Type = model.Flat
	}
	ranges := w.api.alloc.Ranges.VLAN
	switch {
	case n.Type == model.VLAN && n.PhysicalNetwork == "" && facts.VLANNetworks != nil && hasSeg:
		return invalidInput("segmentation_id requires physical_network for VLAN provider network")
	case n.Type == model.VLAN && n.PhysicalNetwork == "" && facts.VLANNetworks != nil:
		return w.anyVLAN(n)
	case (n.Type == model.VLAN || n.Type == model.Flat) && n.PhysicalNetwork == "":
		return invalidInput("physical_network required for %s provider network", n.Type)
	case n.Type != model.VLAN && n.Type != model.Flat && n.PhysicalNetwork != "":
		return invalidInput("provider:physical_network specified for %s network", n.Type)
	case strings.Contains(n.PhysicalNetwork, "|"):
		return invalidInput("physical_network '%s' contains '|'", n.PhysicalNetwork)
	case (n.Type == model.Flat || n.Type == model.Local) && hasSeg:
		return invalidInput("provider:segmentation_id specified for %s network", n.Type)
	}
	if err := facts.checkPhysical(n); err != nil {
		return err
	}
	if _, more := tables.SegmentRangesByWire.First(w.tx, tables.RangeKey(n.Type, n.PhysicalNetwork)); n.Type == model.VLAN && !hasSeg && !more && len(ranges[n.PhysicalNetwork]) == 0 {
		return invalidInput("segmentation_id required for VLAN provider network: physical network %s has no range", n.PhysicalNetwork)
	}
	if hasSeg {
		limit := map[model.NetworkType]int{model.VXLAN: 1<<24 - 1, model.Geneve: 1<<24 - 1, model.GRE: 1<<32 - 1, model.VLAN: 4094}[n.Type]
		if seg < 1 || seg > limit {
			return invalidInput("segmentation_id out of range (1 through %d)", limit)
		}
	}
	want := uint32(seg)
	if !hasSeg && n.Type == model.VXLAN {
		want = recorded
	}
	var err error
	n.SegmentationID, err = w.api.alloc.TenantVNI(w.tx, n.Project, n.Type, n.PhysicalNetwork, want)
	var con *alloc.ConflictError
	switch {
	case errors.As(err, &con) && !hasSeg && want != 0: // recorded, but somebody else has it now
		n.SegmentationID, err = w.api.alloc.TenantVNI(w.tx, n.Project, n.Type, n.PhysicalNetwork, 0)
	case errors.As(err, &con) && n.Type == model.Flat:
		return conflict("FlatNetworkInUse", "Unable to create the flat network. Physical network %s is in use.", n.PhysicalNetwork)
	case errors.As(err, &con) && n.Type == model.VLAN:
		return conflict("VlanIdInUse", "Unable to create the network. The VLAN %d on physical network %s is in use.", want, n.PhysicalNetwork)
	case errors.As(err, &con):
		return conflict("TunnelIdInUse", "Unable to create the network. The tunnel ID %d is in use.", want)
	}
	return exhausted(err, noNetwork())
}

// anyVLAN gives a free id on the first physical network that has one.
func (w *work) anyVLAN(n *model.Network) error {
	for _, n.PhysicalNetwork = range w.api.cfg.Facts.VLANNetworks {
		var err error
		var none *alloc.ExhaustedError
		if n.SegmentationID, err = w.api.alloc.TenantVNI(w.tx, n.Project, model.VLAN, n.PhysicalNetwork, 0); !errors.As(err, &none) {
			return err
		}
	}
	return noNetwork()
}

// externalNetwork is where an external network goes that was created without saying so: flat on the physical network, if nodes
// map just one and no other network has it, so that routers can have a gateway there. Empty: it is like any other network.
func (w *work) externalNetwork() string {
	var one string
	for name := range tables.PhysicalNetworks.Members(w.tx, tables.All) {
		if one != "" {
			return ""
		}
		one = name
	}
	if _, taken := tables.NetworksBySegment.First(w.tx, tables.SegmentKey(model.Flat, one, 0)); taken || !w.api.cfg.Facts.flat(one) {
		return ""
	}
	return one
}
