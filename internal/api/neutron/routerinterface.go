// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"net/http"
	"slices"
	"strings"

	"nagare/internal/alloc"
	"nagare/internal/api/jsonbody"
	"nagare/internal/model"
	"nagare/internal/tables"
)

// interfaceBody reads {"subnet_id"} or {"port_id"}.
func interfaceBody(rq *request) (subnet, port string, err error) {
	body, err := rq.body()
	if err != nil {
		return "", "", err
	}
	for name, to := range map[string]*string{"subnet_id": &subnet, "port_id": &port} {
		if body[name] == nil {
			continue
		}
		v, err := uuidText(body[name])
		if r, ok := err.(reason); ok {
			return "", "", badRequest("Invalid input for %s. Reason: %s.", name, strings.TrimSuffix(string(r), "."))
		}
		*to = v.(string)
	}
	if subnet == "" && port == "" {
		return "", "", badRouter("Either subnet_id or port_id must be specified")
	}
	return subnet, port, nil
}

// interfaceAnswer is what adding and removing an interface answer.
func interfaceAnswer(r *model.Router, p *model.Port, subs []model.SubnetID) []byte {
	ids := make([]string, 0, len(subs))
	for _, s := range subs {
		ids = append(ids, string(s))
	}
	return jsonbody.Append(nil, map[string]any{"id": string(r.ID), "tenant_id": string(p.Project), "port_id": string(p.ID), "network_id": string(p.Network),
		"subnet_id": ids[0], "subnet_ids": ids})
}

// addInterface answers PUT /routers/{id}/add_router_interface.
func addInterface(rq *request, id string) error {
	subnet, port, err := interfaceBody(rq)
	if err != nil {
		return err
	}
	if subnet != "" && port != "" {
		return badRouter("Cannot specify both subnet-id and port-id")
	}
	var p model.Port
	var subs []model.SubnetID
	return routers.modify(rq, id, func(w *work, r model.Router) (model.Router, error) {
		var err error
		if port != "" {
			p, subs, err = w.addByPort(&r, port)
		} else {
			subs = []model.SubnetID{model.SubnetID(subnet)}
			p, err = w.addBySubnet(&r, subnet)
		}
		return r, err
	}, func(_ *view, r *model.Router) error { return rq.answer(http.StatusOK, interfaceAnswer(r, &p, subs)) })
}

// addBySubnet makes an interface with the gateway address of a subnet. A second IPv6 subnet of a network is put on the interface
// that the router has there already.
func (w *work) addBySubnet(r *model.Router, id string) (model.Port, error) {
	var p model.Port
	s, err := subnets.find(&w.view, id)
	if err != nil {
		return p, err
	}
	if !s.Gateway.IsValid() {
		return p, badRouter("Subnet for router interface must have a gateway IP")
	}
	if err := w.checkInterface(r, &s); err != nil {
		return p, err
	}
	if !w.privileged() && !w.mine(s.Project) { // else a guest of a shared network would become its gateway
		return p, badRouter("Cannot add interface to router because subnet %s is not owned by project making the request", s.ID)
	}
	n, ok := tables.Networks.Get(w.tx, s.Network)
	if !ok {
		return p, networkNotFound(string(s.Network))
	}
	if s.IPVersion() == 6 {
		if p, ok = w.v6Interface(r, s.Network); ok {
			ip, err := w.elevated().chooser(&n, &p).choose(fixedIP{subnet: s.ID, addr: s.Gateway})
			if err != nil {
				return p, err
			}
			p.FixedIPs = append(slices.Clone(p.FixedIPs), ip)
			w.touch(&p.Std)
			return p, putPort(w.tx, p)
		}
	}
	if p, err = w.devicePort(&n, model.OwnerRouterInterface, string(r.ID), r.Project); err != nil {
		return p, err
	}
	ip, err := w.elevated().chooser(&n, &p).choose(fixedIP{subnet: s.ID, addr: s.Gateway})
	if err != nil {
		return p, err
	}
	p.FixedIPs = []model.FixedIP{ip}
	return p, putPort(w.tx, p)
}

// checkInterface refuses a subnet that cannot be a router's, or not this one's.
func (w *work) checkInterface(r *model.Router, s *model.Subnet) error {
	if s.IPVersion() == 6 && s.IPv6RAMode == "" && s.IPv6AddressMode != "" {
		return badRouter("IPv6 subnet %s configured to receive RAs from an external router cannot be added to Neutron Router", s.ID)
	}
	return w.checkOverlap(r, s)
}

// v6Interface is the interface with IPv6 addresses that a router has on a network.
func (w *work) v6Interface(r *model.Router, n model.NetworkID) (model.Port, bool) {
	for p := range tables.RouterPorts.By(w.tx, string(r.ID)) {
		if p.IsRouterInterface() && p.Network == n && slices.ContainsFunc(p.FixedIPs, func(f model.FixedIP) bool { return f.Addr.Is6() }) {
			return p, true
		}
	}
	return model.Port{}, false
}

// addByPort makes a port an interface, with the addresses that it has.
func (w *work) addByPort(r *model.Router, id string) (model.Port, []model.SubnetID, error) {
	p, err := ports.find(&w.view, id)
	if err != nil {
		return p, nil, err
	}
	if !ports.ruled(&w.view, ports.changeName, ports.change, ports.targetOf(&w.view, &p), &p, nil) {
		return p, nil, forbidden("add_router_interface", nil)
	}
	if p.DeviceID != "" || isNetworkDevice(p.DeviceOwner) {
		return p, nil, conflict("PortInUse", "Unable to complete operation on port %s for network %s. Port already has an attached device %s.", p.ID, p.Network, p.DeviceID)
	}
	if len(p.FixedIPs) == 0 {
		return p, nil, badRouter("Router port must have at least one fixed IP")
	}
	n, _ := tables.Networks.Get(w.tx, p.Network)
	var subs []model.SubnetID
	v4, v6 := 0, 0
	for _, f := range p.FixedIPs {
		if f.Addr.Is4() {
			v4++
		} else {
			v6++
		}
		s, _ := tables.Subnets.Get(w.tx, f.Subnet)
		if err := w.checkInterface(r, &s); err != nil {
			return p, nil, err
		}
		inPool := slices.ContainsFunc(s.AllocationPools, func(a model.AddrRange) bool { return a.Contains(f.Addr) })
		if !w.privileged() && !w.mine(s.Project) && !w.mine(n.Project) && !inPool {
			return p, nil, badRouter("Cannot add interface to router because subnet %s is not owned by project making the request", s.ID)
		}
		if !slices.Contains(subs, f.Subnet) {
			subs = append(subs, f.Subnet)
		}
	}
	if v4 > 1 {
		return p, nil, badRouter("Cannot have multiple IPv4 subnets on router port")
	}
	if o, ok := w.v6Interface(r, p.Network); ok && v6 > 0 {
		return p, nil, badRouter("Cannot have multiple router ports with the same network id if both contain IPv6 subnets. Existing port %s has IPv6 subnet(s) and network id %s", o.ID, o.Network)
	}
	p.DeviceID, p.DeviceOwner = string(r.ID), model.OwnerRouterInterface
	// It is the network's own now: trusted, and nobody's on any node.
	p.Host, p.PortSecurity, p.SecurityGroups, p.AllowedPairs = "", false, nil, nil
	tables.Statuses.Delete(w.tx, p.ID)
	w.touch(&p.Std)
	return p, subs, putPort(w.tx, p)
}

// removeInterface answers PUT /routers/{id}/remove_router_interface. The port goes with the interface, unless other IPv6 subnets
// are on it.
func removeInterface(rq *request, id string) error {
	subnet, port, err := interfaceBody(rq)
	if err != nil {
		return err
	}
	var p model.Port
	var subs []model.SubnetID
	return routers.modify(rq, id, func(w *work, r model.Router) (model.Router, error) {
		var err error
		if p, subs, err = w.interfaceOf(&r, model.SubnetID(subnet), model.PortID(port)); err != nil {
			return r, err
		}
		for _, s := range subs {
			if err := w.checkUnused(&r, s); err != nil {
				return r, err
			}
		}
		left := slices.DeleteFunc(slices.Clone(p.FixedIPs), func(f model.FixedIP) bool { return slices.Contains(subs, f.Subnet) })
		if len(left) == 0 {
			w.dropPort(p)
			return r, nil
		}
		for _, f := range p.FixedIPs {
			if s, ok := tables.Subnets.Get(w.tx, f.Subnet); ok && slices.Contains(subs, f.Subnet) {
				alloc.ReleaseAddress(w.tx, s, f.Addr)
			}
		}
		p.FixedIPs = left
		w.touch(&p.Std)
		return r, putPort(w.tx, p)
	}, func(_ *view, r *model.Router) error { return rq.answer(http.StatusOK, interfaceAnswer(r, &p, subs)) })
}

// interfaceOf finds the interface that a body names, and the subnets that it loses.
func (w *work) interfaceOf(r *model.Router, subnet model.SubnetID, port model.PortID) (model.Port, []model.SubnetID, error) {
	if port != "" {
		p, ok := tables.Ports.Get(w.tx, port)
		if !ok || p.Router != r.ID || !p.IsRouterInterface() {
			return p, nil, fail(http.StatusNotFound, "RouterInterfaceNotFound", "Router %s does not have an interface with id %s", r.ID, port)
		}
		var subs []model.SubnetID
		for _, f := range p.FixedIPs {
			subs = append(subs, f.Subnet)
		}
		if subnet != "" && !slices.Contains(subs, subnet) {
			return p, nil, fail(http.StatusBadRequest, "SubnetMismatchForPort", "Subnet on port %s does not match the requested subnet %s.", port, subnet)
		}
		return p, subs, nil
	}
	if _, err := subnets.find(&w.view, string(subnet)); err != nil {
		return model.Port{}, nil, err
	}
	for p := range tables.RouterPorts.By(w.tx, string(r.ID)) {
		if p.IsRouterInterface() && slices.ContainsFunc(p.FixedIPs, func(f model.FixedIP) bool { return f.Subnet == subnet }) {
			return p, []model.SubnetID{subnet}, nil
		}
	}
	return model.Port{}, nil, fail(http.StatusNotFound, "RouterInterfaceNotFoundForSubnet", "Router %s has no interface on subnet %s", r.ID, subnet)
}

// checkUnused refuses to take a subnet from a router that floating IPs or routes reach through it.
func (w *work) checkUnused(r *model.Router, id model.SubnetID) error {
	if err := w.checkUnproxied(r, id); err != nil {
		return err
	}
	s, _ := tables.Subnets.Get(w.tx, id)
	for f := range tables.FloatingIPsByRouter.By(w.tx, string(r.ID)) {
		forwarded := false
		for p := range tables.PortForwardingsByFloating.By(w.tx, string(f.ID)) {
			forwarded = forwarded || s.CIDR.Contains(p.Fixed)
		}
		if forwarded || s.CIDR.Contains(f.Fixed) {
			return conflict("RouterInterfaceInUseByFloatingIP", "Router interface for subnet %s on router %s cannot be deleted, as it is required by one or more floating IPs.", id, r.ID)
		}
	}
	if usedByRoute(r, s.CIDR.Contains) {
		return conflict("RouterInterfaceInUseByRoute", "Router interface for subnet %s on router %s cannot be deleted, as it is required by one or more routes.", id, r.ID)
	}
	return nil
}
