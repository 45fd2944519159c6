// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"cmp"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"nagare/internal/alloc"
	"nagare/internal/api/jsonbody"
	"nagare/internal/model"
	"nagare/internal/tables"
)

func init() {
	declare(part{extensions: []extension{
		{"ip-substring-filtering", "IP address substring filtering", "Provides IP address substring filtering when listing ports", "2017-11-28T09:00:00-00:00"},
	}})
}

// noAddr asks an allocator for any address.
var noAddr netip.Addr

// maxFixedIPs bounds the addresses of one port.
const maxFixedIPs = 64

// fixedIP is one element of fixed_ips in a body: a subnet, an address, or both.
type fixedIP struct {
	subnet model.SubnetID
	addr   netip.Addr
}

// fixedIPs takes [{"subnet_id","ip_address"}].
func fixedIPs(v any) (any, error) {
	if v == nil {
		return []fixedIP(nil), nil
	}
	l, ok := v.([]any)
	if !ok {
		return nil, because("Invalid data format for fixed IP: '%s'", show(v))
	}
	if len(l) > maxFixedIPs {
		return nil, because("more than %d fixed IPs", maxFixedIPs)
	}
	out := []fixedIP{}
	for _, e := range l {
		m, err := object(e, map[string]parser{"subnet_id": orNull(uuidText), "ip_address": orNull(ipAddress)})
		if err != nil {
			return nil, err
		}
		var f fixedIP
		if s, ok := m["subnet_id"].(string); ok {
			f.subnet = model.SubnetID(s)
		}
		f.addr, _ = m["ip_address"].(netip.Addr)
		if f.addr.IsValid() && slices.ContainsFunc(out, func(o fixedIP) bool { return o.addr == f.addr }) {
			return nil, because("Duplicate IP address '%s'", f.addr)
		}
		out = append(out, f)
	}
	return out, nil
}

// namesAddress: whoever may use a network may choose the subnet, but only its owner the address.
func namesAddress(v any) bool {
	l, _ := v.([]fixedIP)
	return slices.ContainsFunc(l, func(f fixedIP) bool { return f.addr.IsValid() })
}

func namesSubnet(v any) bool {
	l, _ := v.([]fixedIP)
	return slices.ContainsFunc(l, func(f fixedIP) bool { return f.subnet != "" })
}

func fixedIPsBody(_ *view, p *model.Port) any {
	if len(p.FixedIPs) == 0 {
		return emptyArray
	}
	b := make(jsonbody.Raw, 0, 96*len(p.FixedIPs))
	b = append(b, '[')
	for i, f := range inOrder(p.FixedIPs) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"ip_address":"`...)
		b = f.Addr.AppendTo(b)
		b = pair(append(b, `",`...), "subnet_id", string(f.Subnet))
		b = append(b, '}')
	}
	return append(b, ']')
}

// inOrder are a port's addresses as Neutron shows them, in the order of their text: clients (Terraform's provider) compare them
// with what they have.
func inOrder(ips []model.FixedIP) []model.FixedIP {
	if len(ips) < 2 {
		return ips
	}
	return slices.SortedStableFunc(slices.Values(ips), func(a, b model.FixedIP) int {
		return cmp.Or(strings.Compare(a.Addr.String(), b.Addr.String()), strings.Compare(string(a.Subnet), string(b.Subnet)))
	})
}

// chooser gives addresses to one port.
type chooser struct {
	w     *work
	net   *model.Network
	port  *model.Port
	subs  []model.Subnet // that the port may use without being told, oldest first
	all   []model.Subnet // of the network
	taken []netip.Addr
	none  bool // there are subnets that the caller sees, but none in subs
	site  site // of a routed network, where the port is
}

func (w *work) chooser(n *model.Network, p *model.Port) *chooser {
	c := &chooser{w: w, net: n, port: p, all: slices.Collect(tables.SubnetsByNetwork.By(w.tx, string(n.ID)))}
	slices.SortFunc(c.all, func(a, b model.Subnet) int { return int(a.Key) - int(b.Key) })
	found := 0
	// A subnet made for this kind of device goes before general ones; one for other kinds is left alone.
	for _, special := range []bool{true, false} {
		for _, s := range c.all {
			if !w.privileged() && !usesSubnet(&w.view, &s) {
				continue
			}
			found++
			if special == (len(s.ServiceTypes) > 0) && suits(&s, p.DeviceOwner) {
				c.subs = append(c.subs, s)
			}
		}
	}
	c.none = found > 0 && len(c.subs) == 0
	c.locate()
	return c
}

// suits reports whether ports of a device owner may have addresses of the subnet.
func suits(s *model.Subnet, owner string) bool {
	return len(s.ServiceTypes) == 0 || slices.Contains(s.ServiceTypes, owner)
}

// mayUse is the same for a port that is told to; routers and the network's services go where they are sent.
func (c *chooser) mayUse(s *model.Subnet) bool {
	return isNetworkDevice(c.port.DeviceOwner) || suits(s, c.port.DeviceOwner)
}

// checkServices refuses a port if the network has subnets, but all are for other kinds of devices.
func (c *chooser) checkServices() error {
	if !c.none || isNetworkDevice(c.port.DeviceOwner) {
		return nil
	}
	return conflict("IpAddressGenerationFailureNoMatchingSubnet", "No valid service subnet for the given device owner, network %s, service type %s.",
		c.net.ID, c.port.DeviceOwner)
}

// newAddresses are those of a new port: as asked, or one of each family that the network has.
func (w *work) newAddresses(n *model.Network, p *model.Port, in *values) ([]model.FixedIP, error) {
	c := w.chooser(n, p)
	if err := c.checkServices(); err != nil {
		return nil, err
	}
	want := get[[]fixedIP](in, "fixed_ips")
	var out []model.FixedIP
	if err := c.checkSite(want); err != nil {
		return nil, err
	}
	if in.asked("fixed_ips") && want != nil { // an empty list asks for none but those that the host forms by itself
		for _, f := range want {
			ip, err := c.choose(f)
			if err != nil {
				return nil, err
			}
			out = append(out, ip)
		}
		return c.withAuto(out), nil
	}
	if p.Deferred = c.defers(); p.Deferred {
		return nil, nil
	}
	for _, v4 := range []bool{true, false} {
		ip, ok, err := c.any(func(s *model.Subnet) bool { return s.CIDR.Addr().Is4() == v4 && !autoAddress(s) })
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, ip)
		}
	}
	return c.withAuto(out), nil
}

// any gives an address of the first fitting subnet that has one free. It fails if subnets fit, but none has one.
func (c *chooser) any(fits func(*model.Subnet) bool) (ip model.FixedIP, ok bool, err error) {
	full := false
	for _, s := range c.subs {
		if !fits(&s) {
			continue
		}
		a, err := c.w.api.alloc.Address(c.w.tx, s, noAddr, c.taken...)
		var none *alloc.ExhaustedError
		if errors.As(err, &none) {
			full = true
			continue
		}
		if err != nil {
			return ip, false, err
		}
		return c.take(s.ID, a), true, nil
	}
	if full {
		return ip, false, conflict("IpAddressGenerationFailure", "No more IP addresses available on network %s.", c.net.ID)
	}
	return ip, false, nil
}

func (c *chooser) take(s model.SubnetID, a netip.Addr) model.FixedIP {
	c.taken = append(c.taken, a)
	return model.FixedIP{Subnet: s, Addr: a}
}

// withAuto adds the addresses that the port's host forms by itself.
func (c *chooser) withAuto(ips []model.FixedIP) []model.FixedIP {
	if isInterface(&c.port.PortPlane) {
		return ips
	}
	for _, s := range c.subs {
		if !autoAddress(&s) || slices.ContainsFunc(ips, func(f model.FixedIP) bool { return f.Subnet == s.ID }) {
			continue
		}
		a := alloc.EUI64(s.CIDR, c.port.MAC)
		if p, used := tables.PortsByAddress.First(c.w.tx, tables.AddressKey(c.net.ID, a)); !used || p.ID == c.port.ID {
			ips = append(ips, c.take(s.ID, a))
		}
	}
	return ips
}

// choose gives the address that one element of fixed_ips asks for.
func (c *chooser) choose(f fixedIP) (model.FixedIP, error) {
	var none model.FixedIP
	var sub model.Subnet
	switch {
	case f.subnet != "":
		at := slices.IndexFunc(c.all, func(s model.Subnet) bool { return s.ID == f.subnet && c.mayUse(&s) })
		if at < 0 {
			if _, err := subnets.find(&c.w.view, string(f.subnet)); err != nil {
				return none, err
			}
			return none, invalidInput("Failed to create port on network %s, because fixed_ips included invalid subnet %s", c.net.ID, f.subnet)
		}
		sub = c.all[at]
	case f.addr.IsValid():
		at := slices.IndexFunc(c.all, func(s model.Subnet) bool { return s.CIDR.Contains(f.addr) && c.mayUse(&s) })
		if at < 0 {
			return none, fail(http.StatusBadRequest, "InvalidIpForNetwork", "IP address %s is not a valid IP for any of the subnets on the specified network.", f.addr)
		}
		sub = c.all[at]
	default:
		return none, invalidInput("IP allocation requires subnet_id or ip_address")
	}
	want := f.addr
	if autoAddress(&sub) && !isInterface(&c.port.PortPlane) {
		own := alloc.EUI64(sub.CIDR, c.port.MAC)
		if want.IsValid() && want != own {
			return none, invalidInput("IPv6 address %s cannot be directly assigned to a port on subnet %s as the subnet is configured for automatic addresses", want, sub.ID)
		}
		want = own
	}
	a, err := c.w.api.alloc.Address(c.w.tx, sub, want, c.taken...)
	if err == nil {
		return c.take(sub.ID, a), nil
	}
	var con *alloc.ConflictError
	var inv *alloc.InvalidError
	switch {
	case errors.As(err, &con):
		return none, conflict("IpAddressAlreadyAllocated", "IP address %s already allocated in subnet %s", want, sub.ID)
	case errors.As(err, &inv):
		return none, fail(http.StatusBadRequest, "InvalidIpForSubnet", "IP address %s is not a valid IP for the specified subnet.", want)
	}
	return none, exhausted(err, conflict("IpAddressGenerationFailure", "No more IP addresses available on network %s.", c.net.ID))
}

// changeAddresses moves a port from its addresses to those asked for. What it has already it keeps.
func (w *work) changeAddresses(p *model.Port, want []fixedIP) ([]model.FixedIP, error) {
	n, ok := tables.Networks.Get(w.tx, p.Network)
	if !ok {
		return nil, networkNotFound(string(p.Network))
	}
	c := w.chooser(&n, p)
	if err := c.checkSite(want); err != nil {
		return nil, err
	}
	left := slices.Clone(p.FixedIPs)
	kept := make([]*model.FixedIP, len(want))
	keep := func(i int, same func(model.FixedIP) bool) {
		if at := slices.IndexFunc(left, same); at >= 0 && kept[i] == nil {
			f := left[at]
			kept[i], left = &f, slices.Delete(left, at, at+1)
			c.taken = append(c.taken, f.Addr)
		}
	}
	for i, f := range want {
		if f.addr.IsValid() {
			keep(i, func(o model.FixedIP) bool { return o.Addr == f.addr && (f.subnet == "" || f.subnet == o.Subnet) })
		}
	}
	for i, f := range want {
		if !f.addr.IsValid() && f.subnet != "" {
			keep(i, func(o model.FixedIP) bool { return o.Subnet == f.subnet })
		}
	}
	out := []model.FixedIP{}
	for i, f := range want {
		if kept[i] != nil {
			out = append(out, *kept[i])
			continue
		}
		ip, err := c.choose(f)
		if err != nil {
			return nil, err
		}
		out = append(out, ip)
	}
	out = c.withAuto(out)
	for _, f := range left {
		if s, ok := tables.Subnets.Get(w.tx, f.Subnet); ok && !slices.Contains(out, f) {
			alloc.ReleaseAddress(w.tx, s, f.Addr)
		}
	}
	return out, nil
}

// renewAuto gives a port whose MAC address changed the addresses that its host forms of the new one.
func (w *work) renewAuto(p *model.Port) {
	if isInterface(&p.PortPlane) {
		return
	}
	had := p.FixedIPs
	p.FixedIPs = slices.Clone(had)
	for i, f := range had {
		s, ok := tables.Subnets.Get(w.tx, f.Subnet)
		if !ok || !autoAddress(&s) {
			continue
		}
		a := alloc.EUI64(s.CIDR, p.MAC)
		if _, used := tables.PortsByAddress.First(w.tx, tables.AddressKey(p.Network, a)); !used {
			p.FixedIPs[i].Addr = a
			alloc.ReleaseAddress(w.tx, s, f.Addr)
		}
	}
	w.disassociate(p, p.FixedIPs)
}

// Filters on fixed_ips: "ip_address=A", "subnet_id=S", "ip_address_substr=T". Several of one kind are alternatives, kinds add up.
var fixedIPKeys = []string{"ip_address", "subnet_id", "ip_address_substr"}

func checkFixedIPs(values []string) error {
	for _, v := range values {
		if key, _, ok := strings.Cut(v, "="); !ok || !slices.Contains(fixedIPKeys, key) {
			return invalidInput("'%s' is not a fixed_ips filter; want one of ip_address=, subnet_id=, ip_address_substr=", show(v))
		}
	}
	return nil
}

func matchFixedIPs(_ *view, p *model.Port, values []string) bool {
	of := func(key string) (out []string) {
		for _, v := range values {
			if rest, ok := strings.CutPrefix(v, key+"="); ok {
				out = append(out, rest)
			}
		}
		return out
	}
	addrs, subs, parts := of("ip_address"), of("subnet_id"), of("ip_address_substr")
	return slices.ContainsFunc(p.FixedIPs, func(f model.FixedIP) bool {
		text := f.Addr.String()
		return (addrs == nil || slices.ContainsFunc(addrs, func(s string) bool { a, err := netip.ParseAddr(s); return err == nil && a.Unmap() == f.Addr })) &&
			(subs == nil || slices.Contains(subs, string(f.Subnet))) &&
			(parts == nil || slices.ContainsFunc(parts, func(s string) bool { return strings.Contains(text, s) }))
	})
}

// subnetsOfFilter gives the subnets that a filter on fixed_ips names: those are indexed.
func subnetsOfFilter(values []string) (out []string) {
	for _, v := range values {
		if id, ok := strings.CutPrefix(v, "subnet_id="); ok {
			out = append(out, id)
		}
	}
	return out
}
