// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// shareNetwork is what is particular to sharing networks: one that is shared as external is external, and it is no longer when
// the last such policy ends.
func shareNetwork(s *shareable) {
	s.actions = append(s.actions, model.AsExternal)
	s.granted = func(w *work, p *model.RBACPolicy) error {
		return w.followNetwork(p, func(n *model.Network) error {
			n.External = n.External || p.Action == model.AsExternal
			return nil
		})
	}
	s.revoked = func(w *work, p *model.RBACPolicy) error {
		return w.followNetwork(p, func(n *model.Network) error {
			if p.Action != model.AsExternal {
				return nil
			}
			if n.IsDefault && p.Target == model.Everybody {
				return policyInUse(p, "Default external networks must be shared to everyone.")
			}
			for left := range tables.RBACPoliciesByObject.By(w.tx, "network|"+p.Object) {
				if left.Action == model.AsExternal {
					return nil
				}
			}
			n.External = false
			return w.checkNoGateways(n)
		})
	}
}

// followNetwork changes the network of a policy, which counts as a change of it.
func (w *work) followNetwork(p *model.RBACPolicy, f func(*model.Network) error) error {
	n, ok := tables.Networks.Get(w.tx, model.NetworkID(p.Object))
	if !ok {
		return networkNotFound(p.Object)
	}
	if err := f(&n); err != nil {
		return err
	}
	w.touch(&n.Std)
	tables.Networks.Put(w.tx, n.ID, n)
	return nil
}

// setExternal makes a network external for everybody, or for nobody any more.
func (w *work) setExternal(n *model.Network, on bool) error {
	if n.External == on {
		return nil
	}
	n.External = on
	if on {
		return w.setEverybody("network", string(n.ID), n.Project, model.AsExternal, true)
	}
	if err := w.checkNoGateways(n); err != nil {
		return err
	}
	for p := range tables.RBACPoliciesByObject.By(w.tx, "network|"+string(n.ID)) {
		if p.Action == model.AsExternal {
			tables.RBACPolicies.Delete(w.tx, p.ID)
		}
	}
	return nil
}

// checkNoGateways refuses to make a network internal on which gateways or floating IPs are. Those of a network are few beside
// its other ports only on internal networks, where none are.
func (w *work) checkNoGateways(n *model.Network) error {
	for p := range tables.PortsByNetwork.By(w.tx, string(n.ID)) {
		if p.DeviceOwner == model.OwnerRouterGateway || p.DeviceOwner == model.OwnerFloatingIP {
			return conflict("ExternalNetworkInUse", "External network %s cannot be updated to be made non-external, since it has existing gateway ports.", n.ID)
		}
	}
	return nil
}

// sharesNetwork reports whether the network's subnets are there for the caller, and he may have ports on it.
func (v *view) sharesNetwork(id model.NetworkID) bool {
	return v.granted("network", string(id), model.AsShared)
}

func init() {
	external := func(n model.NetworkID, by model.ProjectID) []store.Member {
		if n == "" || by == "" {
			return nil
		}
		return []store.Member{{Group: userGroup("network", string(n), model.AsExternal), Name: string(by)}}
	}
	uses("router", tables.Routers, func(r *model.Router) model.RouterID { return r.ID }, func(r store.Reader, o *model.Router) []store.Member {
		if o.GatewayPort == "" {
			return nil
		}
		p, _ := tables.Ports.Get(r, o.GatewayPort)
		return external(p.Network, o.Project)
	})
	uses("floatingip", tables.FloatingIPs, func(f *model.FloatingIP) model.FloatingIPID { return f.ID }, func(_ store.Reader, f *model.FloatingIP) []store.Member {
		return external(f.Network, f.Project)
	})
}
