// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"encoding/json"
	"iter"
	"net/http"
	"strconv"
	"strings"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

var portForwardings = new(Resource[model.PortForwarding])

func init() {
	declare(part{when: whereRouted, extensions: []extension{
		{"expose-port-forwarding-in-fip", "Expose Floating IP port forwardings", "Expose port forwarding fields in floating IP response", "2018-06-28T16:00:00-00:00"},
		{"floating-ip-port-forwarding", "Floating IP Port Forwarding", "Allow port forwarding from floating IP port to an internal port", "2018-01-19T10:00:00-00:00"},
		{"floating-ip-port-forwarding-description", "Floating IP Port Forwarding new attribute description", "Add a description field to Port Forwarding rules", "2019-11-01T10:00:00-00:00"},
		{"floating-ip-port-forwarding-detail", "Floating IP port forwarding detail", "Allow list floating ip return more port forwarding data, include 'id' and 'internal_port_id'", "2022-05-06T10:00:00-00:00"},
		{"floating-ip-port-forwarding-port-ranges", "Floating IP Port Forwarding support port ranges", "Add support to port ranges", "2020-07-01T10:00:00-00:00"},
	}})
	d := Resource[model.PortForwarding]{
		name: "port_forwarding", plural: "port_forwardings", ruleName: "floatingip_port_forwarding", when: whereRouted,
		id:  func(f *model.PortForwarding) string { return string(f.ID) },
		std: func(f *model.PortForwarding) *model.Std { return &f.Std },
		get: func(r store.Reader, id string) (model.PortForwarding, bool) {
			return tables.PortForwardings.Get(r, model.PortForwardingID(id))
		},
		put: func(tx *store.Txn, f model.PortForwarding) error { tables.PortForwardings.Put(tx, f.ID, f); return nil },
		from: func(r store.Reader, id string) iter.Seq[model.PortForwarding] {
			return records(tables.PortForwardings.From(r, model.PortForwardingID(id)))
		},
		back: backwards(tables.PortForwardings),
		gone: func(id string) *Error {
			return fail(http.StatusNotFound, "PortForwardingNotFound", "Port Forwarding %s could not be found.", id)
		},
		lookups: []lookup[model.PortForwarding]{
			{attr: "id", by: one(tables.PortForwardings)},
			{attr: "internal_port_id", in: tables.PortForwardingsByPort},
			{attr: "floatingip_id", in: tables.PortForwardingsByFloating},
		},
		scope: func(*view) iter.Seq[model.PortForwarding] { return func(func(model.PortForwarding) bool) {} }, // lists are below a floating IP
		sees: func(v *view, f *model.PortForwarding) bool {
			_, err := floatingIPs.find(v, string(f.Floating))
			return err == nil
		},
		create: owner, change: owner, remove: owner,
		build: buildForwarding, update: updateForwarding, delete: deleteForwarding,
		attrs: []Attr[model.PortForwarding]{
			{Name: "id", Get: func(_ *view, f *model.PortForwarding) any { return string(f.ID) }},
			{Name: "tenant_id", Parse: text(255), Post: true},
			{Name: "project_id", Parse: text(255), Post: true},
			{Name: "floatingip_id", Get: func(_ *view, f *model.PortForwarding) any { return string(f.Floating) }, Parse: text(255), Post: true, See: hidden},
			{Name: "protocol", Get: func(_ *view, f *model.PortForwarding) any { return f.Protocol }, Parse: forwardedProtocol, Post: true, Put: true, Required: true},
			{Name: "internal_port_id", Get: func(_ *view, f *model.PortForwarding) any { return string(f.Port) }, Parse: uuidText, Post: true, Put: true, Required: true},
			{Name: "internal_ip_address", Get: func(_ *view, f *model.PortForwarding) any { return addrText(f.Fixed) }, Parse: ipAddress, Post: true, Put: true, Required: true, NoFilter: true, NoSort: true},
			{Name: "internal_port", Get: func(_ *view, f *model.PortForwarding) any { return onePort(f.Internal) }, Parse: orNull(integer(1, 65535)), Post: true, Put: true, NoFilter: true, NoSort: true},
			{Name: "internal_port_range", Get: func(_ *view, f *model.PortForwarding) any { return f.Internal.String() }, Parse: portRange, Post: true, Put: true, NoFilter: true, NoSort: true},
			{Name: "external_port", Get: func(_ *view, f *model.PortForwarding) any { return onePort(f.External) }, Parse: orNull(integer(1, 65535)), Post: true, Put: true},
			{Name: "external_port_range", Get: func(_ *view, f *model.PortForwarding) any { return f.External.String() }, Parse: portRange, Post: true, Put: true},
			{Name: "description", Get: func(_ *view, f *model.PortForwarding) any { return f.Description }, Parse: text(1024), Default: "", Post: true, Put: true, NoSort: true},
		},
	}
	portForwardings.declare(d)
	floatingIPs.serveBelow("port_forwardings", nest(floatingIPs, portForwardings, "floatingip_id"))
	floatingIPs.extend(Attr[model.FloatingIP]{Name: "port_forwardings", Get: forwardingsOf, NoFilter: true, NoSort: true})
}

// onePort is the port of a range that is no more than one.
func onePort(r model.PortRange) any {
	if r.Size() != 1 {
		return nil
	}
	return int(r.From)
}

// forwardingsOf shows what a floating IP forwards, of each what the extension tells.
func forwardingsOf(v *view, f *model.FloatingIP) any {
	out := []any{}
	for p := range tables.PortForwardingsByFloating.By(v.r, string(f.ID)) {
		m := map[string]any{"id": string(p.ID), "protocol": p.Protocol, "internal_ip_address": p.Fixed.String(), "internal_port_id": string(p.Port)}
		for name, r := range map[string]model.PortRange{"external_port": p.External, "internal_port": p.Internal} {
			if port := onePort(r); port != nil {
				m[name] = port
			}
		}
		out = append(out, m)
	}
	return out
}

// forwardedProtocol takes the protocols that the data plane forwards ports of, in any letters or as numbers.
func forwardedProtocol(v any) (any, error) {
	s, ok := v.(string)
	if n, isNumber := v.(json.Number); isNumber {
		s, ok = n.String(), true
	}
	s = strings.ToLower(s)
	switch n, _, known := model.ProtocolNumber(s); {
	case ok && known && n == model.ProtoTCP:
		return "tcp", nil
	case ok && known && n == model.ProtoUDP:
		return "udp", nil
	}
	return nil, because("'%s' is not in ['tcp', 'udp']", show(v))
}

// portRange takes "80", 80 or "80:90"; null is none.
func portRange(v any) (any, error) {
	var s string
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		s = v
	case json.Number:
		s = v.String()
	default:
		return nil, because("Port range must be two integers separated by a colon")
	}
	words := strings.Split(s, ":")
	if len(words) > 2 {
		return nil, because("Port range must be two integers separated by a colon")
	}
	var ends [2]uint16
	for i, w := range words {
		if w == "" {
			return nil, because("Port range must be two integers separated by a colon")
		}
		n, err := strconv.ParseUint(w, 10, 16)
		if err != nil {
			return nil, because("Invalid port: %s", show(w))
		}
		if n == 0 {
			return nil, because("Invalid port: %s, the port must be in the range [1, 65535]", w)
		}
		ends[i] = uint16(n)
	}
	if len(words) == 1 {
		ends[1] = ends[0]
	}
	if ends[0] > ends[1] {
		return nil, because("First port in a port range must be lower than the second port")
	}
	return model.PortRange{From: ends[0], To: ends[1]}, nil
}

// badForwarding is Neutron's BadRequest of this resource.
func badForwarding(format string, args ...any) *Error {
	e := fail(http.StatusBadRequest, "BadRequest", format, args...)
	e.Message = "Bad port_forwarding request: " + e.Message + "."
	return e
}

// takeRange reads one side's ports of a body: a port or a range, or both if they say the same. ok is false if there is neither.
func takeRange(in *values, side string) (r model.PortRange, ok bool, err error) {
	r, ranged := in.m[side+"_port_range"].(model.PortRange)
	port, single := in.m[side+"_port"].(int)
	if !single {
		return r, ranged, nil
	}
	one := model.PortRange{From: uint16(port), To: uint16(port)}
	if ranged && r != one {
		return r, false, badForwarding("%s_port %d and %s_port_range %s do not agree", side, port, side, r)
	}
	return one, true, nil
}
