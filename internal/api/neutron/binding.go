// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"cmp"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"nagare/internal/api/jsonbody"
	"nagare/internal/model"
	"nagare/internal/tables"
)

func init() {
	declare(part{extensions: []extension{
		{"aap-reject-multicast", "Allowed address pairs reject multicast extension", "Reject multicast addresses in Allowed Address Pairs", "2026-04-01T00:00:00-00:00"},
		{"allowed-address-pairs", "Allowed Address Pairs", "Provides allowed address pairs", "2013-07-23T10:00:00-00:00"},
		{"binding", "Port Binding", "Expose port bindings of a virtual port to external application", "2014-02-03T10:00:00-00:00"},
	}})
}

// maxProfile bounds a binding's profile in its JSON form, in bytes.
const maxProfile = 4095

var vnicTypes = []string{"normal", "direct", "macvtap", "baremetal", "direct-physical", "virtio-forwarder", "smart-nic", "vdpa",
	"remote-managed", "accelerator-direct", "accelerator-direct-physical"}

// hostID takes a host id; null unbinds. '|' separates parts of keys in tables and occurs in no host's name.
func hostID(v any) (any, error) {
	s, err := textOrNull(255)(v)
	if err != nil {
		return nil, err
	}
	if h := s.(string); strings.ContainsRune(h, '|') {
		return nil, because("'%s' is not a valid host", show(h))
	}
	return s, nil
}

func bindingProfile(v any) (any, error) {
	if v == nil {
		return map[string]any{}, nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, because("'%s' is not a dictionary", show(v))
	}
	if n := len(jsonbody.Append(nil, m)); n > maxProfile {
		return nil, badRequest("Invalid input for binding:profile. Reason: %d bytes are more than %d.", n, maxProfile)
	}
	plain, ok := jsonbody.Plain(m)
	if !ok {
		return nil, because("'%s' has a number that is too large", show(v))
	}
	return plain, nil
}

func orEmpty(m map[string]any) any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

// vifType tells a hypervisor how to plug the port: "ovs" on a known node, "unbound" without a host, "binding_failed" on a
// host that we do not know or for a kind of interface that Open vSwitch alone cannot serve.
func vifType(v *view, p *model.Port) string {
	if p.Host == "" {
		return "unbound"
	}
	if _, ok := tables.Nodes.Get(v.r, p.Host); !ok || p.VNICType != "normal" {
		return "binding_failed"
	}
	if !reaches(v.r, p) {
		return "binding_failed"
	}
	return "ovs"
}

func vifDetails(v *view, p *model.Port) any {
	n, ok := tables.Nodes.Get(v.r, p.Host)
	if !ok || vifType(v, p) != "ovs" {
		return map[string]any{}
	}
	return map[string]any{"connectivity": "l2", "port_filter": v.api.cfg.filters(), "ovs_hybrid_plug": false, "bridge_name": "br-int",
		"datapath_type": cmp.Or(n.DatapathType, "system")}
}

// DefaultAddressPairs is how many address pairs a port may have unless configured; MostAddressPairs is what no configuration exceeds.
const (
	DefaultAddressPairs = 10
	MostAddressPairs    = 1000
)

func tooManyPairs(limit int) error {
	return fail(http.StatusBadRequest, "AllowedAddressPairExhausted", "The number of allowed address pair exceeds the maximum %d.", limit)
}

func duplicatePair(p model.AddressPair) error {
	mac := show(nil)
	if !p.MAC.IsZero() {
		mac = p.MAC.String()
	}
	return fail(http.StatusBadRequest, "DuplicateAddressPairInRequest", "Request contains duplicate address pair: mac_address %s ip_address %s.", mac, prefixText(p.Prefix))
}

// addressPairs takes [{"ip_address","mac_address"}]; an address without prefix length stands for itself.
func addressPairs(v any) (any, error) {
	if v == nil {
		return []model.AddressPair(nil), nil
	}
	l, ok := v.([]any)
	if !ok {
		return nil, badRequest("Allowed address pairs must be a list.")
	}
	if len(l) > MostAddressPairs {
		return nil, tooManyPairs(MostAddressPairs)
	}
	var out []model.AddressPair
	seen := make(map[model.AddressPair]bool, len(l))
	for _, e := range l {
		if m, ok := e.(map[string]any); ok && m["ip_address"] == nil {
			return nil, fail(http.StatusBadRequest, "AllowedAddressPairsMissingIP", "AllowedAddressPair must contain ip_address")
		}
		m, err := object(e, map[string]parser{"ip_address": pairPrefix, "mac_address": orNull(pairMAC)}, "ip_address")
		if err != nil {
			return nil, err
		}
		p := model.AddressPair{Prefix: m["ip_address"].(netip.Prefix)}
		p.MAC, _ = m["mac_address"].(model.MAC)
		if seen[p] {
			return nil, duplicatePair(p)
		}
		seen[p] = true
		out = append(out, p)
	}
	return out, nil
}

// pairMAC takes an address that a port may send from: no group address (aap-reject-multicast).
func pairMAC(v any) (any, error) {
	s, _ := v.(string)
	if m, err := model.ParseMAC(s); err == nil && m.IsMulticast() {
		return nil, badRequest("MAC address %s is a multicast address, which is not supported.", m)
	}
	return macAddress(v)
}

// multicast is what no sender's address may be (RFC 5771, RFC 4291 section 2.7).
var multicast = []netip.Prefix{netip.MustParsePrefix("224.0.0.0/4"), netip.MustParsePrefix("ff00::/8")}

// pairPrefix takes addresses without the multicast ones. A prefix of length 0 says "anything", and is let pass as such.
func pairPrefix(v any) (any, error) {
	val, err := ipOrCIDR(v)
	if err != nil {
		return nil, err
	}
	p := val.(netip.Prefix)
	for _, m := range multicast {
		switch {
		case p.Bits() == 0 || !p.Overlaps(m):
		case p.IsSingleIP():
			return nil, badRequest("IP %s is a multicast address, which is not supported.", p.Addr())
		default:
			return nil, badRequest("Subnet %s overlaps with multicast range %s, which is not supported.", p, m)
		}
	}
	return p, nil
}

// checkPairs judges a port's pairs where the port must be known: how many there may be, and that none is said twice, once with
// the port's own MAC and once without.
func (w *work) checkPairs(p *model.Port) error {
	if limit := min(w.api.cfg.MaxAddressPairs, MostAddressPairs); len(p.AllowedPairs) > limit {
		return tooManyPairs(limit)
	}
	seen := make(map[model.AddressPair]bool, len(p.AllowedPairs))
	for _, a := range p.AllowedPairs {
		if a.MAC.IsZero() {
			a.MAC = p.MAC
		}
		if seen[a] {
			return duplicatePair(a)
		}
		seen[a] = true
	}
	return nil
}

func pairsBody(_ *view, p *model.Port) any {
	if len(p.AllowedPairs) == 0 {
		return emptyArray
	}
	out := make([]any, 0, len(p.AllowedPairs))
	for _, a := range p.AllowedPairs {
		mac := a.MAC
		if mac.IsZero() {
			mac = p.MAC
		}
		out = append(out, map[string]any{"ip_address": prefixText(a.Prefix), "mac_address": mac.String()})
	}
	return out
}

// prefixText writes a prefix of full length as the address that it is.
func prefixText(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// dhcpOpt is one element of extra_dhcp_opts in a body; without a value it removes the option.
type dhcpOpt struct {
	model.DHCPOpt
	remove bool
}

const maxDHCPOpts = 64

// dhcpOpts takes [{"opt_name","opt_value","ip_version"}]. Names and values end up in files and packets of others, so control
// characters are refused.
func dhcpOpts(v any) (any, error) {
	if v == nil {
		return []dhcpOpt(nil), nil
	}
	l, ok := v.([]any)
	if !ok {
		return nil, because("Invalid data format for extra dhcp opt: '%s'", show(v))
	}
	if len(l) > maxDHCPOpts {
		return nil, because("more than %d extra dhcp options", maxDHCPOpts)
	}
	var out []dhcpOpt
	for _, e := range l {
		m, err := object(e, map[string]parser{"opt_name": optName, "opt_value": orNull(optValue), "ip_version": ipVersion}, "opt_name", "opt_value")
		if err != nil {
			return nil, err
		}
		o := dhcpOpt{DHCPOpt: model.DHCPOpt{Name: m["opt_name"].(string), Version: 4}}
		if n, ok := m["ip_version"].(int); ok {
			o.Version = n
		}
		o.Value, ok = m["opt_value"].(string)
		o.remove = !ok
		if slices.ContainsFunc(out, func(x dhcpOpt) bool { return x.Name == o.Name && x.Version == o.Version }) {
			return nil, because("Duplicate extra dhcp option '%s'", o.Name)
		}
		out = append(out, o)
	}
	return out, nil
}

func optName(v any) (any, error) {
	s, err := text(64)(v)
	if err != nil {
		return nil, err
	}
	name := s.(string)
	ok := name != ""
	for _, c := range []byte(name) {
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_:.", c) >= 0)
	}
	if !ok {
		return nil, because("'%s' is not a valid name of a dhcp option", show(name))
	}
	return name, nil
}

func optValue(v any) (any, error) {
	s, err := text(255)(v)
	if err != nil {
		return nil, err
	}
	if strings.ContainsFunc(s.(string), func(c rune) bool { return c < 0x20 || c == 0x7f }) {
		return nil, because("'%s' is not a valid value of a dhcp option: it contains a control character", strings.ToValidUTF8(strings.Map(printable, show(s)), ""))
	}
	return s, nil
}

func printable(c rune) rune {
	if c < 0x20 || c == 0x7f {
		return '?'
	}
	return c
}

// mergeDHCPOpts applies the options of a body to those that a port has.
func mergeDHCPOpts(have []model.DHCPOpt, changes []dhcpOpt) []model.DHCPOpt {
	out := slices.Clone(have)
	for _, c := range changes {
		at := slices.IndexFunc(out, func(o model.DHCPOpt) bool { return o.Name == c.Name && o.Version == c.Version })
		switch {
		case at >= 0 && c.remove:
			out = slices.Delete(out, at, at+1)
		case at >= 0:
			out[at] = c.DHCPOpt
		case !c.remove:
			out = append(out, c.DHCPOpt)
		}
	}
	return out
}

func dhcpOptsBody(_ *view, p *model.Port) any {
	if len(p.DHCPOpts) == 0 {
		return emptyArray
	}
	out := make([]any, 0, len(p.DHCPOpts))
	for _, o := range p.DHCPOpts {
		out = append(out, map[string]any{"opt_name": o.Name, "opt_value": o.Value, "ip_version": o.Version})
	}
	return out
}
