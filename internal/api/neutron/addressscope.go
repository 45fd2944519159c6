// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"iter"
	"net/http"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

var addressScopes = new(Resource[model.AddressScope])

func init() {
	declare(part{extensions: []extension{
		{"address-scope", "Address scope", "Address scopes extension.", "2015-07-26T10:00:00-00:00"},
		{"rbac-address-scope", "Add address_scope type to RBAC", "Add address_scope type to RBAC", "2020-07-27T14:00:00-00:00"},
	}})
	project := func(_ *view, a *model.AddressScope) any { return string(a.Project) }
	addressScopes.declare(Resource[model.AddressScope]{
		name: "address_scope", plural: "address_scopes", path: "address-scopes",
		id:  func(a *model.AddressScope) string { return string(a.ID) },
		std: func(a *model.AddressScope) *model.Std { return &a.Std },
		get: func(r store.Reader, id string) (model.AddressScope, bool) {
			return tables.AddressScopes.Get(r, model.AddressScopeID(id))
		},
		put: func(tx *store.Txn, a model.AddressScope) error { tables.AddressScopes.Put(tx, a.ID, a); return nil },
		from: func(r store.Reader, id string) iter.Seq[model.AddressScope] {
			return records(tables.AddressScopes.From(r, model.AddressScopeID(id)))
		},
		back: backwards(tables.AddressScopes),
		gone: func(id string) *Error {
			return fail(http.StatusNotFound, "AddressScopeNotFound", "Address scope %s could not be found.", id)
		},
		lookups: []lookup[model.AddressScope]{
			{attr: "id", by: one(tables.AddressScopes)},
			{attr: "name", in: tables.AddressScopesByName},
			{attr: "project_id", in: tables.AddressScopesByProject},
			{attr: "tenant_id", in: tables.AddressScopesByProject},
		},
		scope: func(v *view) iter.Seq[model.AddressScope] {
			return tables.AddressScopesByProject.By(v.r, string(v.who.ProjectID))
		},
		sees:   func(v *view, a *model.AddressScope) bool { return v.mine(a.Project) },
		shares: "address_scope",
		create: owner, change: owner, remove: owner,
		build: func(w *work, in *values) (model.AddressScope, error) {
			a := model.AddressScope{ID: model.AddressScopeID(alloc.NewUUID()), Std: w.newStd(in, 0), Version: get[int](in, "ip_version")}
			tables.AddressScopes.Put(w.tx, a.ID, a)
			return a, nil
		},
		update: func(w *work, a model.AddressScope, in *values) (model.AddressScope, error) {
			if in.asked("shared") && !get[bool](in, "shared") && w.grantedTo("address_scope", string(a.ID), model.AsShared, model.Everybody) {
				return a, fail(http.StatusBadRequest, "AddressScopeUpdateError", "Unable to update address scope %s : Shared address scope can't be unshared", a.ID)
			}
			takeStd(in, &a.Std)
			return a, nil
		},
		delete: func(w *work, a model.AddressScope) error {
			if _, used := tables.SubnetPoolsByScope.First(w.tx, string(a.ID)); used {
				return conflict("AddressScopeInUse", "Unable to complete operation on address scope %s. There are one or more subnet pools in use on the address scope", a.ID)
			}
			tables.AddressScopes.Delete(w.tx, a.ID)
			return nil
		},
		// Neutron gives address scopes no other standard attributes.
		attrs: []Attr[model.AddressScope]{
			{Name: "id", Get: func(_ *view, a *model.AddressScope) any { return string(a.ID) }},
			{Name: "name", Get: func(_ *view, a *model.AddressScope) any { return a.Name }, Parse: textOrNull(255), Default: "", Post: true, Put: true},
			{Name: "tenant_id", Get: project, Parse: text(255), Post: true},
			{Name: "project_id", Get: project, Parse: text(255), Post: true},
			{Name: "ip_version", Get: func(_ *view, a *model.AddressScope) any { return a.Version }, Parse: ipVersion, Post: true, Required: true},
			sharedAttr(addressScopes, post, put),
		},
	})
	networks.extend(
		Attr[model.Network]{Name: "ipv4_address_scope", Get: func(v *view, n *model.Network) any { return scopeOf(v, n.ID, 4) }},
		Attr[model.Network]{Name: "ipv6_address_scope", Get: func(v *view, n *model.Network) any { return scopeOf(v, n.ID, 6) }})
	uses("subnetpool", tables.SubnetPools, func(p *model.SubnetPool) model.SubnetPoolID { return p.ID }, func(_ store.Reader, p *model.SubnetPool) []store.Member {
		return used("address_scope", string(p.Scope), p.Project)
	})
}

// scopeOf is the address scope of a network's subnets of a family: they are all in one.
func scopeOf(v *view, n model.NetworkID, version int) any {
	for s := range tables.SubnetsByNetwork.By(v.r, string(n)) {
		if s.Pool != "" && s.IPVersion() == version {
			p, _ := tables.SubnetPools.Get(v.r, s.Pool)
			return nullText(string(p.Scope))
		}
	}
	return nil
}
