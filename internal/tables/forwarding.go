// SPDX-License-Identifier: Apache-2.0

package tables

import (
	"nagare/internal/model"
	"nagare/internal/store"
)

// PortForwardings are ports of floating IPs that stand for ports of instances. A floating IP that has any stands for nothing
// else, and its router is set.
var PortForwardings = store.Declare[model.PortForwardingID, model.PortForwarding](Schema, "port-forwardings", store.Intent).
	Plane(func(f model.PortForwarding) any { return f.ForwardingPlane })

var (
	PortForwardingsByFloating = store.DeclareIndex(Schema, PortForwardings, "floating-ip", func(f model.PortForwarding) []string { return []string{string(f.Floating)} })
	// PortForwardingsByPort finds what is forwarded to a port.
	PortForwardingsByPort = store.DeclareIndex(Schema, PortForwardings, "port", func(f model.PortForwarding) []string { return []string{string(f.Port)} })
	// ForwardersByRouter finds the floating IPs of a router that stand for ports of instances.
	ForwardersByRouter = store.DeclareIndex(Schema, FloatingIPs, "forwarder-router", func(f model.FloatingIP) []string {
		if f.Port != "" {
			return nil
		}
		return some(string(f.Router))
	})
	// FloatingForwardings: floating IP -> its port forwardings.
	FloatingForwardings = func() *store.Derived {
		d := store.DeclareDerived(Schema, "floating-forwardings", func(r store.Reader, id string) []store.Member {
			f, ok := PortForwardings.Get(r, model.PortForwardingID(id))
			if !ok {
				return nil
			}
			return []store.Member{{Group: string(f.Floating), Name: id}}
		})
		return store.From(d, PortForwardings, func(_ store.Reader, f model.PortForwarding) []string { return []string{string(f.ID)} })
	}()
)
