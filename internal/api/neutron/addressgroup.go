// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"iter"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

var addressGroups = new(Resource[model.AddressGroup])

// maxGroupAddresses bounds an address group: it is one record, and each address costs flows wherever a rule names the group.
const maxGroupAddresses = 4096

func init() {
	declare(part{when: whereFiltered, extensions: []extension{
		{"address-group", "Address group", "Support address group", "2020-07-15T10:00:00-00:00"},
	}})
	addressGroups.declare(Resource[model.AddressGroup]{
		name: "address_group", plural: "address_groups", path: "address-groups",
		id:  func(g *model.AddressGroup) string { return string(g.ID) },
		std: func(g *model.AddressGroup) *model.Std { return &g.Std },
		get: func(r store.Reader, id string) (model.AddressGroup, bool) {
			return tables.AddressGroups.Get(r, model.AddressGroupID(id))
		},
		put: func(tx *store.Txn, g model.AddressGroup) error { tables.AddressGroups.Put(tx, g.ID, g); return nil },
		from: func(r store.Reader, id string) iter.Seq[model.AddressGroup] {
			return records(tables.AddressGroups.From(r, model.AddressGroupID(id)))
		},
		back: backwards(tables.AddressGroups),
		gone: func(id string) *Error {
			return fail(http.StatusNotFound, "AddressGroupNotFound", "Address group %s could not be found.", id)
		},
		lookups: []lookup[model.AddressGroup]{
			{attr: "id", by: one(tables.AddressGroups)},
			{attr: "name", in: tables.AddressGroupsByName},
			{attr: "project_id", in: tables.AddressGroupsByProject},
			{attr: "tenant_id", in: tables.AddressGroupsByProject},
		},
		scope: func(v *view) iter.Seq[model.AddressGroup] {
			return tables.AddressGroupsByProject.By(v.r, string(v.who.ProjectID))
		},
		sees:   func(v *view, g *model.AddressGroup) bool { return v.mine(g.Project) },
		shares: "address_group",
		create: owner, change: owner, remove: owner,
		build: buildAddressGroup, delete: deleteAddressGroup,
		update: func(_ *work, g model.AddressGroup, in *values) (model.AddressGroup, error) {
			takeStd(in, &g.Std)
			return g, nil
		},
		actions: map[string]func(*request, string) error{"add_addresses": addAddresses, "remove_addresses": removeAddresses},
		// Neutron gives address groups no tags.
		attrs: append(stdAttrs(func(g *model.AddressGroup) string { return string(g.ID) }, func(g *model.AddressGroup) *model.Std { return &g.Std }, false),
			[]Attr[model.AddressGroup]{
				{Name: "name", Get: func(_ *view, g *model.AddressGroup) any { return g.Name }, Parse: textOrNull(255), Default: "", Post: true, Put: true},
				{Name: "addresses", Get: func(_ *view, g *model.AddressGroup) any { return prefixTexts(g.Addresses) }, Parse: newAddressList, Post: true, NoFilter: true, NoSort: true},
				sharedAttr(addressGroups),
			}...),
	})
}

// prefixTexts gives prefixes as Neutron shows them here: with their length, also if it is full.
func prefixTexts(ps []netip.Prefix) []string {
	out := make([]string, 0, len(ps))
	for _, p := range ps {
		out = append(out, p.String())
	}
	return out
}

// newAddressList takes the addresses of a create, in which nothing may be said twice in the same words.
func newAddressList(v any) (any, error) {
	l, _ := v.([]any)
	seen := make(map[string]bool, len(l))
	for _, e := range l {
		s, _ := e.(string)
		if s != "" && seen[s] {
			return nil, because("Duplicate items in the list: '%s'", show(s))
		}
		seen[s] = true
	}
	return addressList(v)
}

// addressList takes addresses and prefixes of both families; they come out masked, sorted and distinct.
func addressList(v any) (any, error) {
	parsed, err := list[netip.Prefix](maxGroupAddresses, ipOrCIDR, false)(v)
	if err != nil {
		return nil, err
	}
	return prefixSet(parsed.([]netip.Prefix)), nil
}

func prefixSet(ps []netip.Prefix) []netip.Prefix {
	slices.SortFunc(ps, netip.Prefix.Compare)
	return slices.Compact(ps)
}

func buildAddressGroup(w *work, in *values) (model.AddressGroup, error) {
	g := model.AddressGroup{ID: model.AddressGroupID(alloc.NewUUID()), Std: w.newStd(in, 0)}
	if g.Addresses = get[[]netip.Prefix](in, "addresses"); len(g.Addresses) > 0 {
		g.RevisionNo++ // an address counts as a change of the group
	}
	tables.AddressGroups.Put(w.tx, g.ID, g)
	return g, nil
}

func deleteAddressGroup(w *work, g model.AddressGroup) error {
	if _, used := tables.RulesByRemoteSet.First(w.tx, string(g.ID)); used {
		return conflict("AddressGroupInUse", "Address group %s is in use on one or more security group rules.", g.ID)
	}
	tables.AddressGroups.Delete(w.tx, g.ID)
	return nil
}

func addAddresses(rq *request, id string) error {
	return changeAddressSet(rq, id, func(have, asked []netip.Prefix) ([]netip.Prefix, error) {
		if known := keepIf(asked, have, true); len(known) > 0 {
			return nil, fail(http.StatusBadRequest, "AddressesAlreadyExist", "Addresses %s already exist in the address group %s.", listed(known), id)
		}
		if len(have)+len(asked) > maxGroupAddresses {
			return nil, badRequest("Invalid input for addresses. Reason: address group %s would have %d addresses, more than %d.", id, len(have)+len(asked), maxGroupAddresses)
		}
		return prefixSet(append(slices.Clone(have), asked...)), nil
	})
}

func removeAddresses(rq *request, id string) error {
	return changeAddressSet(rq, id, func(have, asked []netip.Prefix) ([]netip.Prefix, error) {
		if unknown := keepIf(asked, have, false); len(unknown) > 0 {
			return nil, fail(http.StatusNotFound, "AddressesNotFound", "Addresses %s not found in the address group %s.", listed(unknown), id)
		}
		return keepIf(have, asked, false), nil
	})
}

// keepIf gives the prefixes of some that are (or are not) among those of others, which are sorted.
func keepIf(some, others []netip.Prefix, among bool) (out []netip.Prefix) {
	for _, p := range some {
		if _, found := slices.BinarySearchFunc(others, p, netip.Prefix.Compare); found == among {
			out = append(out, p)
		}
	}
	return out
}

func listed(ps []netip.Prefix) string {
	return show("['" + strings.Join(prefixTexts(ps), "', '") + "']")
}

// changeAddressSet answers PUT /address-groups/{id}/add_addresses and its opposite, whose body is {"addresses":[...]} and
// whose answer is the group.
func changeAddressSet(rq *request, id string, change func(have, asked []netip.Prefix) ([]netip.Prefix, error)) error {
	body, err := rq.body()
	if err != nil {
		return err
	}
	raw, ok := body["addresses"]
	if !ok || len(body) > 1 {
		return badRequest("Unable to find 'addresses' alone in request body")
	}
	parsed, err := addressList(raw)
	if r, ok := err.(reason); ok {
		return badRequest("Invalid input for addresses. Reason: %s.", strings.TrimSuffix(string(r), "."))
	}
	if err != nil {
		return err
	}
	return addressGroups.modify(rq, id, func(_ *work, g model.AddressGroup) (model.AddressGroup, error) {
		now, err := change(g.Addresses, parsed.([]netip.Prefix))
		g.Addresses = now
		return g, err
	}, func(v *view, g *model.AddressGroup) error {
		return rq.answer(http.StatusOK, addressGroups.one(v, g, nil))
	})
}
