// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"iter"
	"net/http"
	"slices"
	"strings"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// Bindings of a port below /ports/{id}/bindings: the active one is the port's own, and inactive ones prepare other hosts for it
// (extension binding-extended). Nova makes one to where it migrates an instance, activates it when the instance runs there, and
// deletes the one that it left.

// binding is one of them. It has no record of its own: std is the port's.
type binding struct {
	model.Binding
	Port   model.PortID
	active bool
	std    model.Std
}

// Statuses of bindings.
const (
	bindingActive   = "ACTIVE"
	bindingInactive = "INACTIVE"
)

var bindings = new(Resource[binding])

func init() {
	declare(part{extensions: []extension{
		{"binding-extended", "Port Bindings Extended", "Expose port bindings of a virtual port to external application", "2017-07-17T10:00:00-00:00"},
	}})
	ports.serveBelow("bindings", serveBindings)
	bindings.declare(Resource[binding]{
		name: "binding", plural: "bindings", ruleName: "port_binding",
		id:  func(b *binding) string { return bindingID(b.Port, string(b.Host)) },
		std: func(b *binding) *model.Std { return &b.std },
		get: bindingOf,
		put: func(*store.Txn, binding) error { return nil }, // build and update have changed the port
		// Lists are below a port, so the lookup serves them.
		from:    func(store.Reader, string) iter.Seq[binding] { return func(func(binding) bool) {} },
		scope:   func(*view) iter.Seq[binding] { return func(func(binding) bool) {} },
		gone:    bindingGone,
		lookups: []lookup[binding]{{attr: "port_id", by: bindingsOf}},
		sees:    func(*view, *binding) bool { return false }, // only who sees all
		create:  adminOrService, change: adminOrService, remove: adminOrService,
		build: buildBinding, update: updateBinding, delete: deleteBinding,
		actions: map[string]func(*request, string) error{"activate": activateBinding},
		attrs: []Attr[binding]{
			{Name: "tenant_id", Parse: text(255), Post: true},
			{Name: "project_id", Parse: text(255), Post: true},
			{Name: "port_id", Get: func(_ *view, b *binding) any { return string(b.Port) }, Parse: text(255), Post: true, See: hidden},
			{Name: "host", Get: func(_ *view, b *binding) any { return string(b.Host) }, Parse: bindingHost, Post: true, Put: true, Required: true},
			{Name: "vif_type", Get: func(v *view, b *binding) any { p := b.asPort(); return vifType(v, &p) }},
			{Name: "vnic_type", Get: func(_ *view, b *binding) any { return b.VNICType }, Parse: oneOf(vnicTypes...), Default: "normal", Post: true, Put: true},
			{Name: "status", Get: func(_ *view, b *binding) any {
				if b.active {
					return bindingActive
				}
				return bindingInactive
			}},
			{Name: "profile", Get: func(_ *view, b *binding) any { return orEmpty(b.Profile) }, Parse: bindingProfile, Default: map[string]any{}, Post: true, Put: true,
				NoFilter: true, NoSort: true},
			{Name: "vif_details", Get: func(v *view, b *binding) any { p := b.asPort(); return vifDetails(v, &p) }, NoFilter: true, NoSort: true},
		},
	})
}

// serveBindings answers below /ports/{id}/bindings. A binding's id is its host, which is no other's of that port.
func serveBindings(rq *request, id string, rest []string) error {
	p, err := ports.find(rq.view(rq.api.store.Snapshot()), id)
	if err != nil {
		return err
	}
	if err := mayMigrate(&p); err != nil {
		return err
	}
	if len(rest) > 0 {
		rest = append([]string{bindingID(p.ID, rest[0])}, rest[1:]...)
	}
	return nest(ports, bindings, "port_id")(rq, id, rest)
}

// mayMigrate refuses ports that no instance or shared file system owns.
func mayMigrate(p *model.Port) error {
	if p.IsCompute() || strings.HasPrefix(p.DeviceOwner, "manila:") {
		return nil
	}
	return fail(http.StatusBadRequest, "BadRequest", "Bad port request: Invalid port %s. Operation only valid on compute and shared filesystem ports.", p.ID)
}

// bindingID is the id of a binding among those of all ports.
func bindingID(p model.PortID, host string) string { return string(p) + "|" + host }

func bindingGone(id string) *Error {
	port, host, _ := strings.Cut(id, "|")
	return fail(http.StatusNotFound, "PortBindingNotFound", "Binding for port %s for host %s could not be found.", port, host)
}

func bindingHost(v any) (any, error) {
	host, err := hostID(v)
	if err == nil && host == "" {
		return nil, because("'%s' is not a valid host", show(v))
	}
	return host, err
}

// asPort is what the binding makes of its port. A host that the instance has left has no interface for it any more.
func (b *binding) asPort() model.Port {
	p := model.Port{ID: b.Port, PortPlane: model.PortPlane{Host: b.Host}, VNICType: b.VNICType}
	if b.Former {
		p.Host = ""
	}
	return p
}

func activeOf(p *model.Port) binding {
	return binding{Binding: model.Binding{Host: p.Host, VNICType: p.VNICType, Profile: p.Profile}, Port: p.ID, active: true, std: p.Std}
}

func bindingOf(r store.Reader, id string) (binding, bool) {
	port, host, _ := strings.Cut(id, "|")
	p, ok := tables.Ports.Get(r, model.PortID(port))
	if !ok {
		return binding{}, false
	}
	if string(p.Host) == host {
		return activeOf(&p), true
	}
	b, ok := p.Binding(model.NodeID(host))
	return binding{Binding: b, Port: p.ID, std: p.Std}, ok
}

func bindingsOf(r store.Reader, port string) iter.Seq[binding] {
	return func(yield func(binding) bool) {
		p, ok := tables.Ports.Get(r, model.PortID(port))
		if !ok || !yield(activeOf(&p)) {
			return
		}
		for _, b := range p.Bindings {
			if !yield(binding{Binding: b, Port: p.ID, std: p.Std}) {
				return
			}
		}
	}
}

// maxBindings bounds how many hosts are prepared for one port: an instance goes to one at a time.
const maxBindings = 16

func buildBinding(w *work, in *values) (binding, error) {
	p, err := ports.find(&w.view, get[string](in, "port_id"))
	if err != nil {
		return binding{}, err
	}
	if err := mayMigrate(&p); err != nil {
		return binding{}, err
	}
	b := binding{Binding: model.Binding{Host: model.NodeID(get[string](in, "host")), VNICType: get[string](in, "vnic_type"),
		Profile: get[map[string]any](in, "profile")}, Port: p.ID, std: p.Std}
	if _, there := bindingOf(w.tx, bindingID(p.ID, string(b.Host))); there {
		return b, bindingExists(&b)
	}
	if len(p.Bindings) >= maxBindings {
		return b, conflict("PortBindingLimit", "Port %s has %d inactive bindings; delete one first.", p.ID, len(p.Bindings))
	}
	if err := w.checkBound(&b); err != nil {
		return b, err
	}
	p.Bindings = append(slices.Clone(p.Bindings), b.Binding)
	return b, putPort(w.tx, p)
}

func bindingExists(b *binding) error {
	return conflict("PortBindingAlreadyExists", "Binding for port %s on host %s already exists.", b.Port, b.Host)
}

// checkBound refuses a binding by which no hypervisor could plug the port. Neutron answers 500; to Nova every refusal is the same, that it
// tries another host.
func (w *work) checkBound(b *binding) error {
	p := b.asPort()
	if vifType(&w.view, &p) != "binding_failed" {
		return nil
	}
	why := "the node does not reach the port's network; give it a mapping to the network's physical network"
	if _, ok := tables.Nodes.Get(w.tx, b.Host); !ok {
		why = "no node has reported under this name; GET /v2.0/agents lists those that have"
	} else if b.VNICType != "normal" {
		why = "nodes plug ports with binding:vnic_type normal only, and this one's is " + show(b.VNICType)
	}
	return fail(http.StatusBadRequest, "PortBindingError", "Binding for port %s on host %s could not be created or updated: %s.", b.Port, b.Host, why)
}

// updateBinding changes a binding. One that does not name a profile has none from then on, as with Neutron.
func updateBinding(w *work, b binding, in *values) (binding, error) {
	p, err := ports.find(&w.view, string(b.Port))
	if err != nil {
		return b, err
	}
	if err := mayMigrate(&p); err != nil {
		return b, err
	}
	had := b.Host
	if host := model.NodeID(get[string](in, "host")); in.asked("host") && host != had {
		if _, there := bindingOf(w.tx, bindingID(p.ID, string(host))); there {
			b.Host = host
			return b, bindingExists(&b)
		}
		b.Host, b.Former = host, false
	}
	set(in, "vnic_type", &b.VNICType)
	b.Profile = get[map[string]any](in, "profile")
	if err := w.checkBound(&b); err != nil {
		return b, err
	}
	if b.active {
		w.touch(&p.Std)
		if p.VNICType, p.Profile = b.VNICType, b.Profile; p.Host != b.Host {
			p.Host = b.Host
			w.down(p.ID, "binding changed")
			w.subPortsDown(p.ID)
		}
	} else {
		p.Bindings = slices.Clone(p.Bindings)
		p.Bindings[slices.IndexFunc(p.Bindings, func(x model.Binding) bool { return x.Host == had })] = b.Binding
	}
	return b, putPort(w.tx, p)
}

func deleteBinding(w *work, b binding) error {
	p, err := ports.find(&w.view, string(b.Port))
	if err != nil {
		return err
	}
	if b.active {
		w.touch(&p.Std)
		p.Host, p.Profile = "", nil
		w.down(p.ID, "binding deleted")
		w.subPortsDown(p.ID)
	} else {
		p.Bindings = withoutHost(p.Bindings, b.Host)
	}
	return putPort(w.tx, p)
}

func withoutHost(bs []model.Binding, host model.NodeID) []model.Binding {
	return slices.DeleteFunc(slices.Clone(bs), func(b model.Binding) bool { return b.Host == host })
}

// handOver tells a port's status when another host becomes active: as it was, if that host is ready, and then the one that is left
// is the next to be so.
func (w *work) handOver(id model.PortID, from, to model.NodeID) {
	s, _ := tables.Statuses.Get(w.tx, id)
	if !slices.Contains(s.Ready, to) {
		w.down(id, "the binding was activated before its host had confirmed the port")
		w.subPortsDown(id)
		return
	}
	s.Ready = slices.DeleteFunc(slices.Clone(s.Ready), func(n model.NodeID) bool { return n == to })
	if s.Status == model.StatusActive && from != "" {
		s.Ready = append(s.Ready, from)
		slices.Sort(s.Ready)
	}
	tables.Statuses.Put(w.tx, id, s)
}

// activateBinding answers PUT /ports/{port}/bindings/{host}/activate: the instance is there from now on. Everything changes in one
// transaction. The port stays up if that host's flows for it are confirmed; the binding that was active becomes an inactive one, so
// that what its host still has of the instance may finish, until it is deleted.
func activateBinding(rq *request, id string) error {
	var b binding
	snap, err := rq.commit(func(w *work) error {
		var err error
		if b, err = bindings.find(&w.view, id); err != nil {
			return err
		}
		if !bindings.operation(&w.view, "activate", bindings.change, bindings.targetOf(&w.view, &b), &b, nil) {
			return forbidden("activate", nil)
		}
		p, err := ports.find(&w.view, string(b.Port))
		if err != nil {
			return err
		}
		if err := mayMigrate(&p); err != nil {
			return err
		}
		if b.active {
			return conflict("PortBindingAlreadyActive", "Binding for port %s on host %s is already active.", p.ID, b.Host)
		}
		left := activeOf(&p).Binding
		left.Former = true
		if p.Bindings = withoutHost(p.Bindings, b.Host); left.Host != "" {
			p.Bindings = append(p.Bindings, left)
		}
		p.Host, p.VNICType, p.Profile = b.Host, b.VNICType, b.Profile
		w.touch(&p.Std)
		w.handOver(p.ID, left.Host, b.Host)
		b = activeOf(&p)
		return putPort(w.tx, p)
	})
	if err != nil {
		return err
	}
	v := rq.view(snap)
	return rq.answer(http.StatusOK, bindings.append(nil, v, &b, bindings.visible(v, nil)))
}
