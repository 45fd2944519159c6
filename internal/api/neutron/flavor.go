// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"iter"
	"net/http"
	"slices"

	"nagare/internal/alloc"
	"nagare/internal/api/jsonbody"
	"nagare/internal/model"
	"nagare/internal/policy"
	"nagare/internal/store"
	"nagare/internal/tables"
)

var (
	flavors         = new(Resource[model.Flavor])
	serviceProfiles = new(Resource[model.ServiceProfile])
)

// What provides routers, by the name that Neutron has for it.
const (
	routerService  = "L3_ROUTER_NAT"
	routerProvider = "dvr"
	routerDriver   = "neutron.services.l3_router.service_providers.dvr.DvrDriver"
)

// serviceTypes are those that Neutron knows.
var serviceTypes = []string{"DUMMY", "FIREWALL", "FLAVORS", routerService, "LOADBALANCER", "LOADBALANCERV2", "METERING", "QOS", "VPN"}

// maxProfiles bounds the profiles of a flavor: it is one record.
const maxProfiles = 100

func init() {
	declare(part{
		extensions: []extension{
			{"flavors", "Neutron Service Flavors", "Flavor specification for Neutron advanced services.", "2015-09-17T10:00:00-00:00"},
			{"service-type", "Neutron Service Type Management", "API for retrieving service providers for Neutron advanced services", "2013-01-20T00:00:00-00:00"},
		},
		collections: []collection{{"service_provider", "service_providers", "service-providers", endpointFunc(serveProviders)}},
		rules: []policy.Default{{Name: "create_flavor_service_profile", Check: "rule:admin_only"}, {Name: "delete_flavor_service_profile", Check: "rule:admin_only"},
			{Name: "get_flavor_service_profile", Check: "rule:regular_user"}},
	})
	declare(part{when: whereRouted, extensions: []extension{
		{"l3-flavors", "Router Flavor Extension", "Flavor support for routers.", "2016-05-17T00:00:00-00:00"},
	}})
	declareFlavors()
	declareProfiles()
	routers.extend(Attr[model.Router]{Name: "flavor_id", Get: func(_ *view, r *model.Router) any { return nullText(string(r.Flavor)) },
		Parse: orNull(uuidText), Post: true, Take: takeFlavor})
}

// cloudAttrs are attributes of objects that belong to no project.
func cloudAttrs[T any](id func(*T) string, std func(*T) *model.Std, enabled func(*T) *bool) []Attr[T] {
	return []Attr[T]{
		{Name: "id", Get: func(_ *view, o *T) any { return id(o) }},
		{Name: "description", Get: func(_ *view, o *T) any { return std(o).Description }, Parse: textOrNull(1024), Default: "", Post: true, Put: true},
		{Name: "enabled", Get: func(_ *view, o *T) any { return *enabled(o) }, Parse: boolean, Default: true, Post: true, Put: true, Bool: true},
		// Taken and not kept, as clients send them with every object.
		{Name: "tenant_id", Parse: text(255), Post: true},
		{Name: "project_id", Parse: text(255), Post: true},
	}
}

func declareFlavors() {
	id := func(f *model.Flavor) string { return string(f.ID) }
	std := func(f *model.Flavor) *model.Std { return &f.Std }
	d := plain(tables.Flavors, tables.FlavorsByName, func(f *model.Flavor) model.FlavorID { return f.ID }, std)
	d.name, d.plural, d.path = "flavor", "flavors", "flavors"
	d.gone = func(id string) *Error {
		return fail(http.StatusNotFound, "FlavorNotFound", "Flavor %s could not be found.", id)
	}
	d.lookups = []lookup[model.Flavor]{d.lookups[0], {attr: "name", in: tables.FlavorsByName}}
	d.sees = func(*view, *model.Flavor) bool { return true }
	d.scope = func(v *view) iter.Seq[model.Flavor] { return records(tables.Flavors.All(v.r)) }
	d.create, d.change, d.remove = adminOnly, adminOnly, adminOnly
	d.build = func(w *work, in *values) (model.Flavor, error) {
		f := model.Flavor{ID: model.FlavorID(alloc.NewUUID()), Std: w.newStd(in, 0), ServiceType: get[string](in, "service_type"), Enabled: get[bool](in, "enabled")}
		f.Project = ""
		tables.Flavors.Put(w.tx, f.ID, f)
		return f, nil
	}
	d.update = func(_ *work, f model.Flavor, in *values) (model.Flavor, error) {
		takeStd(in, &f.Std)
		set(in, "enabled", &f.Enabled)
		return f, nil
	}
	d.delete = func(w *work, f model.Flavor) error {
		if _, used := tables.RoutersByFlavor.First(w.tx, string(f.ID)); used {
			return conflict("FlavorInUse", "Flavor %s is used by some service instance.", f.ID)
		}
		tables.Flavors.Delete(w.tx, f.ID)
		return nil
	}
	d.below = map[string]func(*request, string, []string) error{"service_profiles": serveAssociations, "next_providers": serveNextProviders}
	d.attrs = append(cloudAttrs(id, std, func(f *model.Flavor) *bool { return &f.Enabled }),
		Attr[model.Flavor]{Name: "name", Get: func(_ *view, f *model.Flavor) any { return f.Name }, Parse: text(255), Default: "", Post: true, Put: true},
		Attr[model.Flavor]{Name: "service_type", Get: func(_ *view, f *model.Flavor) any { return f.ServiceType }, Parse: serviceTypeName, Post: true, Required: true},
		// Profiles are associated below the flavor; what a body says of them is taken and not kept, as in Neutron.
		Attr[model.Flavor]{Name: "service_profiles", Get: func(_ *view, f *model.Flavor) any {
			out := make([]string, 0, len(f.Profiles))
			for _, p := range f.Profiles {
				out = append(out, string(p))
			}
			return out
		}, Parse: list[string](maxProfiles, uuidText, true), Post: true, Put: true, NoSort: true, NoFilter: true})
	flavors.declare(d)
}

func serviceTypeName(v any) (any, error) {
	if s, ok := v.(string); ok && slices.Contains(serviceTypes, s) {
		return s, nil
	}
	return nil, fail(http.StatusBadRequest, "InvalidServiceType", "Invalid service type: %s.", show(v))
}

func declareProfiles() {
	std := func(p *model.ServiceProfile) *model.Std { return &p.Std }
	d := plain(tables.ServiceProfiles, tables.ServiceProfilesByDriver, func(p *model.ServiceProfile) model.ServiceProfileID { return p.ID }, std)
	d.name, d.plural, d.path = "service_profile", "service_profiles", "service_profiles"
	d.gone = func(id string) *Error {
		return fail(http.StatusNotFound, "ServiceProfileNotFound", "Service Profile %s could not be found.", id)
	}
	d.lookups = []lookup[model.ServiceProfile]{d.lookups[0], {attr: "driver", in: tables.ServiceProfilesByDriver}}
	d.sees = func(*view, *model.ServiceProfile) bool { return false } // an administrator's alone
	d.scope = func(*view) iter.Seq[model.ServiceProfile] { return func(func(model.ServiceProfile) bool) {} }
	d.create, d.change, d.remove = adminOnly, adminOnly, adminOnly
	d.build = func(w *work, in *values) (model.ServiceProfile, error) {
		p := model.ServiceProfile{ID: model.ServiceProfileID(alloc.NewUUID()), Std: w.newStd(in, 0)}
		p.Project = ""
		p, err := takeProfile(p, in)
		if err == nil && p.Driver == "" && p.Metainfo == "" {
			err = fail(http.StatusBadRequest, "ServiceProfileEmpty", "Service Profile needs either a driver or metainfo.")
		}
		tables.ServiceProfiles.Put(w.tx, p.ID, p)
		return p, err
	}
	d.update = func(w *work, p model.ServiceProfile, in *values) (model.ServiceProfile, error) {
		if err := profileUnused(w, &p); err != nil {
			return p, err
		}
		return takeProfile(p, in)
	}
	d.delete = func(w *work, p model.ServiceProfile) error {
		if err := profileUnused(w, &p); err != nil {
			return err
		}
		tables.ServiceProfiles.Delete(w.tx, p.ID)
		return nil
	}
	d.attrs = append(cloudAttrs(func(p *model.ServiceProfile) string { return string(p.ID) }, std, func(p *model.ServiceProfile) *bool { return &p.Enabled }),
		Attr[model.ServiceProfile]{Name: "driver", Get: func(_ *view, p *model.ServiceProfile) any { return p.Driver }, Parse: textOrNull(1024), Default: "", Post: true, Put: true},
		Attr[model.ServiceProfile]{Name: "metainfo", Get: func(_ *view, p *model.ServiceProfile) any { return p.Metainfo }, Parse: textOrNull(4096), Default: "", Post: true, Put: true})
	serviceProfiles.declare(d)
}

func takeProfile(p model.ServiceProfile, in *values) (model.ServiceProfile, error) {
	takeStd(in, &p.Std)
	set(in, "enabled", &p.Enabled)
	set(in, "driver", &p.Driver)
	set(in, "metainfo", &p.Metainfo)
	return p, checkDriver(p.Driver)
}

func checkDriver(d string) error {
	if d == "" || d == routerDriver {
		return nil
	}
	return fail(http.StatusNotFound, "ServiceProfileDriverNotFound", "Service Profile driver %s could not be found.", show(d))
}

func profileUnused(w *work, p *model.ServiceProfile) error {
	if _, used := tables.FlavorsByProfile.First(w.tx, string(p.ID)); used {
		return conflict("ServiceProfileInUse", "Service Profile %s is used by some service instance.", p.ID)
	}
	return nil
}

// serveAssociations answers POST /flavors/{id}/service_profiles with {"service_profile":{"id"}}, and GET and DELETE of one there.
func serveAssociations(rq *request, id string, rest []string) error {
	m := rq.r.Method
	v := rq.view(rq.api.store.Snapshot())
	if _, err := flavors.find(v, id); err != nil {
		return err
	}
	unbound := func(profile string) error {
		return fail(http.StatusNotFound, "FlavorServiceProfileBindingNotFound", "Service Profile %s is not associated with flavor %s.", show(profile), id)
	}
	associated := func(id string) []byte {
		return jsonbody.Append(nil, map[string]any{"service_profile": map[string]any{"id": id}})
	}
	change := func(operation string, f func(w *work, fl *model.Flavor) error) error {
		if !v.permits(operation, v.admin, "") {
			return forbidden(operation, nil)
		}
		_, err := rq.commit(func(w *work) error {
			fl, err := flavors.find(&w.view, id)
			if err != nil {
				return err
			}
			if err := f(w, &fl); err != nil {
				return err
			}
			tables.Flavors.Put(w.tx, fl.ID, fl)
			return nil
		})
		return err
	}
	switch {
	case len(rest) == 0 && m == http.MethodPost:
		body, err := rq.body()
		if err != nil {
			return err
		}
		b, _ := body["service_profile"].(map[string]any)
		if b == nil {
			return badRequest("Unable to find 'service_profile' in request body")
		}
		asked, err := uuidText(b["id"])
		if err != nil {
			return badRequest("Invalid input for id. Reason: %s.", err)
		}
		profile := model.ServiceProfileID(asked.(string))
		if err := change("create_flavor_service_profile", func(w *work, fl *model.Flavor) error {
			_, known := tables.ServiceProfiles.Get(w.tx, profile)
			switch {
			case !known:
				return serviceProfiles.gone(string(profile))
			case slices.Contains(fl.Profiles, profile):
				return conflict("FlavorServiceProfileBindingExists", "Service Profile %s is already associated with flavor %s.", profile, fl.ID)
			case len(fl.Profiles) >= maxProfiles:
				return conflict("OverQuota", "Flavor %s has %d service profiles, as many as a flavor may have.", fl.ID, maxProfiles)
			}
			fl.Profiles = append(slices.Clone(fl.Profiles), profile)
			return nil
		}); err != nil {
			return err
		}
		return rq.answer(http.StatusCreated, associated(id)) // the flavor's, as in Neutron
	case len(rest) == 1 && m == http.MethodGet:
		fl, err := flavors.find(v, id)
		if err == nil && !slices.Contains(fl.Profiles, model.ServiceProfileID(rest[0])) {
			err = unbound(rest[0])
		}
		if err != nil {
			return err
		}
		return rq.answer(http.StatusOK, associated(rest[0]))
	case len(rest) == 1 && m == http.MethodDelete:
		if err := change("delete_flavor_service_profile", func(_ *work, fl *model.Flavor) error {
			at := slices.Index(fl.Profiles, model.ServiceProfileID(rest[0]))
			if at < 0 {
				return unbound(rest[0])
			}
			fl.Profiles = slices.Delete(slices.Clone(fl.Profiles), at, at+1)
			return nil
		}); err != nil {
			return err
		}
		rq.w.WriteHeader(http.StatusNoContent)
		return nil
	case len(rest) <= 1:
		return methodNotAllowed(m)
	}
	return notFoundPath()
}

// providerOf gives the driver that serves a flavor: its first profile's.
func providerOf(r store.Reader, f *model.Flavor) (string, error) {
	if len(f.Profiles) == 0 {
		return "", fail(http.StatusNotFound, "FlavorServiceProfileBindingNotFound", "Service Profile  is not associated with flavor %s.", f.ID)
	}
	p, _ := tables.ServiceProfiles.Get(r, f.Profiles[0])
	if !p.Enabled {
		return "", conflict("ServiceProfileDisabled", "Service Profile is not enabled.")
	}
	if p.Driver == "" {
		return "", fail(http.StatusNotFound, "ServiceProfileDriverNotFound", "Service Profile driver %s could not be found.", p.Driver)
	}
	return p.Driver, nil
}

// serveNextProviders answers who would serve the next object of a flavor.
func serveNextProviders(rq *request, id string, rest []string) error {
	if m := rq.r.Method; m != http.MethodGet && m != http.MethodHead {
		return methodNotAllowed(m)
	}
	if len(rest) > 0 {
		return notFoundPath()
	}
	v := rq.view(rq.api.store.Snapshot())
	f, err := flavors.find(v, id)
	if err != nil {
		return err
	}
	driver, err := providerOf(v.r, &f)
	if err != nil {
		return err
	}
	return rq.answer(http.StatusOK, jsonbody.Append(nil, map[string]any{"next_providers": []any{map[string]any{"driver": driver, "provider": routerProvider}}}))
}

// serveProviders answers who provides services: our routers, which are distributed.
func serveProviders(rq *request, rest []string) error {
	if m := rq.r.Method; m != http.MethodGet && m != http.MethodHead {
		return methodNotAllowed(m)
	}
	if len(rest) > 0 {
		return notFoundPath()
	}
	out := []any{}
	matches := func(name, value string) bool {
		want := rq.query[name]
		return len(want) == 0 || slices.Contains(want, value)
	}
	if rq.api.cfg.Routers && matches("service_type", routerService) && matches("name", routerProvider) {
		out = append(out, map[string]any{"service_type": routerService, "name": routerProvider, "default": true})
	}
	return rq.answer(http.StatusOK, jsonbody.Append(nil, map[string]any{"service_providers": out}))
}

// takeFlavor makes a router one of a flavor, which must be one of routers that we provide.
func takeFlavor(w *work, r *model.Router, in *values) error {
	id := get[string](in, "flavor_id")
	if id == "" {
		return nil
	}
	f, err := flavors.find(&w.view, id)
	if err != nil {
		return err
	}
	if !f.Enabled {
		return conflict("FlavorDisabled", "Flavor is not enabled.")
	}
	if f.ServiceType != routerService {
		return badRouter("flavor %s is of service type %s, want %s", f.ID, f.ServiceType, routerService)
	}
	if _, err := providerOf(w.tx, &f); err != nil {
		return err
	}
	r.Flavor = f.ID
	return nil
}
