// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"nagare/internal/api/jsonbody"
	"nagare/internal/model"
	"nagare/internal/tables"
)

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
	return "ovs"
}

func vifDetails(v *view, p *model.Port) any {
	n, ok := tables.Nodes.Get(v.r, p.Host)
	if !ok || vifType(v, p) != "ovs" {
		return map[string]any{}
	}
	return map[string]any{"connectivity": "l2", "port_filter": true, "ovs_hybrid_plug": false, "bridge_name": "br-int",
		"datapath_type": cmp.Or(n.DatapathType, "system")}
}

// maxPairs is how many address pairs a port may have.
const maxPairs = 10

// addressPairs takes [{"ip_address","mac_address"}]; an address without prefix length stands for itself.
func addressPairs(v any) (any, error) {
	if v == nil {
		return []model.AddressPair(nil), nil
	}
	l, ok := v.([]any)
	if !ok {
		return nil, because("Allowed address pairs must be a list.")
	}
	if len(l) > maxPairs {
		return nil, fail(400, "AllowedAddressPairExhausted", "The number of allowed address pair exceeds the maximum %d.", maxPairs)
	}
	var out []model.AddressPair
	for _, e := range l {
		if m, ok := e.(map[string]any); ok && m["ip_address"] == nil {
			return nil, fail(400, "AllowedAddressPairsMissingIP", "AllowedAddressPair must contain ip_address")
		}
		m, err := object(e, map[string]parser{"ip_address": ipOrCIDR, "mac_address": orNull(macAddress)}, "ip_address")
		if err != nil {
			return nil, err
		}
		p := model.AddressPair{Prefix: m["ip_address"].(netip.Prefix)}
		p.MAC, _ = m["mac_address"].(model.MAC)
		if slices.Contains(out, p) {
			return nil, fail(400, "DuplicateAddressPairInRequest", "Request contains duplicate address pair: mac_address %s ip_address %s.", p.MAC, p.Prefix)
		}
		out = append(out, p)
	}
	return out, nil
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
