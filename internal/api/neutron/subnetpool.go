// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"iter"
	"net/http"
	"net/netip"
	"slices"
	"strconv"

	"nagare/internal/alloc"
	"nagare/internal/api/jsonbody"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// maxPoolPrefixes bounds the prefixes of a pool: it is one record.
const maxPoolPrefixes = 1000

var subnetPools = new(Resource[model.SubnetPool])

func init() {
	declare(part{extensions: []extension{
		{"subnet_allocation", "Subnet Allocation", "Enables allocation of subnets from a subnet pool", "2015-03-30T10:00:00-00:00"},
		{"default-subnetpools", "Default Subnetpools", "Provides ability to mark and use a subnetpool as the default.", "2016-02-18T18:00:00-00:00"},
		{"subnetpool-prefix-ops", "Subnet Pool Prefix Operations", "Provides support for adjusting the prefix list of subnet pools", "2019-02-08T10:00:00-00:00"},
		{"rbac-subnetpool", "Add subnetpool type to RBAC", "Add subnetpool type to RBAC", "2020-07-27T14:00:00-00:00"},
	}})
	length := func(name string, of func(*model.SubnetPool) int) Attr[model.SubnetPool] {
		// Neutron shows them as text.
		return Attr[model.SubnetPool]{Name: name, Get: func(_ *view, p *model.SubnetPool) any { return strconv.Itoa(of(p)) }, Parse: integer(0, 1<<31-1), Post: true, Put: true}
	}
	subnetPools.declare(Resource[model.SubnetPool]{
		name: "subnetpool", plural: "subnetpools", path: "subnetpools",
		quota: atMost(-1, tables.SubnetPools, func(p *model.SubnetPool) string { return string(p.ID) }),
		id:    func(p *model.SubnetPool) string { return string(p.ID) },
		std:   func(p *model.SubnetPool) *model.Std { return &p.Std },
		get: func(r store.Reader, id string) (model.SubnetPool, bool) {
			return tables.SubnetPools.Get(r, model.SubnetPoolID(id))
		},
		put: func(tx *store.Txn, p model.SubnetPool) error { tables.SubnetPools.Put(tx, p.ID, p); return nil },
		from: func(r store.Reader, id string) iter.Seq[model.SubnetPool] {
			return records(tables.SubnetPools.From(r, model.SubnetPoolID(id)))
		},
		back: backwards(tables.SubnetPools),
		gone: func(id string) *Error {
			return fail(http.StatusNotFound, "SubnetPoolNotFound", "Subnet pool %s could not be found.", id)
		},
		lookups: []lookup[model.SubnetPool]{
			{attr: "id", by: one(tables.SubnetPools)},
			{attr: "name", in: tables.SubnetPoolsByName},
			{attr: "address_scope_id", in: tables.SubnetPoolsByScope, keys: notEmpty},
			{attr: "project_id", in: tables.SubnetPoolsByProject},
			{attr: "tenant_id", in: tables.SubnetPoolsByProject},
		},
		scope: func(v *view) iter.Seq[model.SubnetPool] {
			return tables.SubnetPoolsByProject.By(v.r, string(v.who.ProjectID))
		},
		sees:   func(v *view, p *model.SubnetPool) bool { return v.mine(p.Project) },
		shares: "subnetpool",
		create: owner, change: owner, remove: owner,
		build: buildPool, update: updatePool, delete: deletePool,
		actions: map[string]func(*request, string) error{"add_prefixes": addPrefixes, "remove_prefixes": removePrefixes, "onboard_network_subnets": onboardSubnets},
		attrs: append(stdAttrs(func(p *model.SubnetPool) string { return string(p.ID) }, func(p *model.SubnetPool) *model.Std { return &p.Std }, true),
			[]Attr[model.SubnetPool]{
				{Name: "prefixes", Get: func(_ *view, p *model.SubnetPool) any { return prefixTexts(p.Prefixes) }, Parse: poolPrefixes, Post: true, Put: true, Required: true, NoSort: true},
				{Name: "default_quota", Get: func(_ *view, p *model.SubnetPool) any { return nullInt(p.Quota) }, Parse: orNull(integer(0, 1<<31-1)), Post: true, Put: true},
				{Name: "ip_version", Get: func(_ *view, p *model.SubnetPool) any { return p.IPVersion() }},
				length("default_prefixlen", func(p *model.SubnetPool) int { return p.DefaultLength }),
				length("min_prefixlen", func(p *model.SubnetPool) int { return p.MinLength }),
				length("max_prefixlen", func(p *model.SubnetPool) int { return p.MaxLength }),
				{Name: "is_default", Get: func(_ *view, p *model.SubnetPool) any { return p.IsDefault }, Parse: boolean, Default: false, Post: true, Put: true, Bool: true,
					SetPost: adminOnly, SetPut: adminOnly},
				{Name: "address_scope_id", Get: func(_ *view, p *model.SubnetPool) any { return nullText(string(p.Scope)) }, Parse: orNull(uuidText), Post: true, Put: true},
				sharedAttr(subnetPools, post),
			}...),
	})
	subnets.extend(Attr[model.Subnet]{Name: "use_default_subnetpool", Parse: boolean, Default: false, Post: true})
	subnets.extend(Attr[model.Subnet]{Name: "subnetpool_id", Get: func(_ *view, s *model.Subnet) any { return nullText(string(s.Pool)) }, Parse: orNull(uuidText), Post: true})
	uses("subnet", tables.Subnets, func(s *model.Subnet) model.SubnetID { return s.ID }, func(_ store.Reader, s *model.Subnet) []store.Member {
		return used("subnetpool", string(s.Pool), s.Project)
	})
}

// poolPrefixes takes prefixes of one family; they come out merged.
func poolPrefixes(v any) (any, error) {
	parsed, err := list[netip.Prefix](maxPoolPrefixes, cidr, true)(v)
	if err != nil {
		return nil, err
	}
	ps := parsed.([]netip.Prefix)
	if len(ps) == 0 {
		return nil, fail(http.StatusBadRequest, "EmptySubnetPoolPrefixList", "Empty subnet pool prefix list.")
	}
	if slices.ContainsFunc(ps, func(p netip.Prefix) bool { return p.Addr().Is4() != ps[0].Addr().Is4() }) {
		return nil, mixedPrefixes()
	}
	return alloc.MergePrefixes(ps), nil
}

func mixedPrefixes() *Error {
	return fail(http.StatusBadRequest, "PrefixVersionMismatch", "Cannot mix IPv4 and IPv6 prefixes in a subnet pool.")
}

func buildPool(w *work, in *values) (model.SubnetPool, error) {
	p := model.SubnetPool{ID: model.SubnetPoolID(alloc.NewUUID()), Std: w.newStd(in, 0), Prefixes: get[[]netip.Prefix](in, "prefixes")}
	if p.Name == "" {
		return p, badRequest("Invalid input for name. Reason: '' Blank strings are not permitted.")
	}
	p.MinLength, p.MaxLength = 8, 32
	if p.IPVersion() == 6 {
		p.MinLength, p.MaxLength = 64, 128
	}
	set(in, "min_prefixlen", &p.MinLength)
	p.DefaultLength = p.MinLength
	if err := w.takePool(&p, in); err != nil {
		return p, err
	}
	for _, prefix := range p.Prefixes {
		alloc.ReleasePrefix(w.tx, p.ID, prefix)
	}
	tables.SubnetPools.Put(w.tx, p.ID, p)
	return p, nil
}

// takePool takes what create and update have in common, and checks the whole.
func (w *work) takePool(p *model.SubnetPool, in *values) error {
	takeStd(in, &p.Std)
	set(in, "min_prefixlen", &p.MinLength)
	set(in, "max_prefixlen", &p.MaxLength)
	set(in, "default_prefixlen", &p.DefaultLength)
	bounds := func(what string, n int, base string, limit int) error {
		return fail(http.StatusBadRequest, "IllegalSubnetPoolPrefixBounds", "Illegal prefix bounds: %s=%d, %s=%d.", what, n, base, limit)
	}
	top := p.Prefixes[0].Addr().BitLen()
	switch {
	case p.MinLength > p.MaxLength:
		return bounds("min_prefixlen", p.MinLength, "max_prefixlen", p.MaxLength)
	case p.MaxLength > top:
		return bounds("max_prefixlen", p.MaxLength, "ip_version_max", top)
	case p.DefaultLength < p.MinLength:
		return bounds("default_prefixlen", p.DefaultLength, "min_prefixlen", p.MinLength)
	case p.DefaultLength > p.MaxLength:
		return bounds("default_prefixlen", p.DefaultLength, "max_prefixlen", p.MaxLength)
	}
	if in.asked("default_quota") {
		p.Quota = nil
		if n, ok := in.m["default_quota"].(int); ok {
			p.Quota = &n
		}
	}
	was := p.IsDefault
	if set(in, "is_default", &p.IsDefault); p.IsDefault && !was {
		if _, dup := tables.DefaultSubnetPools.First(w.tx, strconv.Itoa(p.IPVersion())); dup {
			return invalidInput("A default subnetpool for this IP family has already been set. Only one default may exist per IP family")
		}
	}
	if in.asked("address_scope_id") {
		p.Scope = model.AddressScopeID(get[string](in, "address_scope_id"))
	}
	return w.checkScope(p)
}

// checkScope: a pool's scope is one that its project may use, of its family, and shares no address with the other pools there.
// A network's subnets of a family stay in one scope, because they are of one pool.
func (w *work) checkScope(p *model.SubnetPool) error {
	if p.Scope == "" {
		return nil
	}
	a, err := addressScopes.find(&w.view, string(p.Scope))
	if err != nil {
		return err
	}
	if a.Version != p.IPVersion() {
		return fail(http.StatusBadRequest, "IllegalSubnetPoolIpVersionAssociationToAddressScope",
			"Illegal subnetpool association: subnetpool %s cannot associate with address scope %s because subnetpool ip_version is not %d.", p.ID, a.ID, a.Version)
	}
	for o := range tables.SubnetPoolsByScope.By(w.tx, string(p.Scope)) {
		if o.ID != p.ID && slices.ContainsFunc(o.Prefixes, func(x netip.Prefix) bool { return slices.ContainsFunc(p.Prefixes, x.Overlaps) }) {
			return conflict("AddressScopePrefixConflict", "Failed to associate address scope: subnetpools within an address scope must have unique prefixes.")
		}
	}
	return nil
}

func badPrefixes(format string, args ...any) *Error {
	e := fail(http.StatusBadRequest, "IllegalSubnetPoolPrefixUpdate", format, args...)
	e.Message = "Illegal update to prefixes: " + e.Message + "."
	return e
}

func updatePool(w *work, p model.SubnetPool, in *values) (model.SubnetPool, error) {
	if err := w.checkSharedScope(&p); err != nil {
		return p, err
	}
	if in.asked("name") && get[string](in, "name") == "" {
		return p, badRequest("Invalid input for name. Reason: '' Blank strings are not permitted.")
	}
	if in.asked("prefixes") {
		if err := w.growPool(&p, get[[]netip.Prefix](in, "prefixes")); err != nil {
			return p, err
		}
	}
	return p, w.takePool(&p, in)
}

func badPoolUpdate(format string, args ...any) *Error {
	e := fail(http.StatusBadRequest, "IllegalSubnetPoolUpdate", format, args...)
	e.Message = "Illegal subnetpool update : " + e.Message + "."
	return e
}

// checkSharedScope: what is in somebody else's scope is not changed.
func (w *work) checkSharedScope(p *model.SubnetPool) error {
	if p.Scope != "" && !w.admin {
		if a, ok := tables.AddressScopes.Get(w.tx, p.Scope); ok && !w.mine(a.Project) {
			return badPoolUpdate("subnetpool %s cannot be updated when associated with shared address scope %s", p.ID, a.ID)
		}
	}
	return nil
}

// growPool gives a pool other prefixes, which cover at least what it had.
func (w *work) growPool(p *model.SubnetPool, now []netip.Prefix) error {
	if now[0].Addr().Is4() != p.Prefixes[0].Addr().Is4() {
		return mixedPrefixes()
	}
	for _, old := range p.Prefixes {
		if !slices.ContainsFunc(now, func(n netip.Prefix) bool { return n.Bits() <= old.Bits() && n.Contains(old.Addr()) }) {
			return badPrefixes("Existing prefixes must be a subset of the new prefixes")
		}
	}
	for _, n := range now {
		for _, fresh := range without(n, p.Prefixes) {
			alloc.ReleasePrefix(w.tx, p.ID, fresh)
		}
	}
	p.Prefixes = now
	return nil
}

// without gives the parts of a prefix that none of others covers.
func without(p netip.Prefix, others []netip.Prefix) []netip.Prefix {
	inside := false
	for _, o := range others {
		switch {
		case o.Bits() <= p.Bits() && o.Contains(p.Addr()):
			return nil
		case p.Contains(o.Addr()):
			inside = true
		}
	}
	if !inside {
		return []netip.Prefix{p}
	}
	low, high := alloc.Halves(p)
	return append(without(low, others), without(high, others)...)
}

func deletePool(w *work, p model.SubnetPool) error {
	if _, used := tables.SubnetsByPool.First(w.tx, string(p.ID)); used {
		return fail(http.StatusBadRequest, "SubnetPoolDeleteError", "Unable to delete subnet pool: Subnet pool has existing allocations.")
	}
	alloc.ForgetPool(w.tx, p.ID)
	tables.SubnetPools.Delete(w.tx, p.ID)
	return nil
}

func addPrefixes(rq *request, id string) error {
	return changePrefixes(rq, id, func(w *work, p *model.SubnetPool, asked []netip.Prefix) error {
		if asked[0].Addr().Is4() != p.Prefixes[0].Addr().Is4() {
			return mixedPrefixes()
		}
		now := alloc.MergePrefixes(append(slices.Clone(p.Prefixes), asked...))
		if len(now) > maxPoolPrefixes {
			return badPrefixes("subnet pool %s would have %d prefixes, more than %d", p.ID, len(now), maxPoolPrefixes)
		}
		return w.growPool(p, now)
	})
}

func removePrefixes(rq *request, id string) error {
	return changePrefixes(rq, id, func(w *work, p *model.SubnetPool, asked []netip.Prefix) error {
		var left []netip.Prefix
		for _, have := range p.Prefixes {
			left = append(left, without(have, asked)...)
		}
		if len(left) == 0 {
			return fail(http.StatusBadRequest, "EmptySubnetPoolPrefixList", "Empty subnet pool prefix list.")
		}
		for _, have := range p.Prefixes {
			for _, gone := range without(have, left) {
				if err := alloc.WantedPrefix(w.tx, p.ID, gone); err != nil {
					return badPrefixes("One or more of %s is allocated to a subnet", listed(asked))
				}
			}
		}
		p.Prefixes = alloc.MergePrefixes(left)
		return nil
	})
}

// changePrefixes answers PUT /subnetpools/{id}/add_prefixes and its opposite, whose body and answer are {"prefixes":[...]}.
func changePrefixes(rq *request, id string, change func(w *work, p *model.SubnetPool, asked []netip.Prefix) error) error {
	body, err := rq.body()
	if err != nil {
		return err
	}
	raw, ok := body["prefixes"]
	if !ok || len(body) > 1 {
		return badRequest("Unable to find 'prefixes' alone in request body")
	}
	asked, err := poolPrefixes(raw)
	if r, ok := err.(reason); ok {
		return badRequest("Invalid input for prefixes. Reason: %s.", r)
	}
	if err != nil {
		return err
	}
	return subnetPools.modify(rq, id, func(w *work, p model.SubnetPool) (model.SubnetPool, error) {
		if err := change(w, &p, asked.([]netip.Prefix)); err != nil {
			return p, err
		}
		return p, w.checkScope(&p)
	}, func(_ *view, p *model.SubnetPool) error {
		return rq.answer(http.StatusOK, append(jsonbody.Append([]byte(`{"prefixes":`), prefixTexts(p.Prefixes)), '}'))
	})
}
