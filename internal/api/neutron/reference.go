// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// described is a collection that can say what it is.
type described interface {
	describe(b *strings.Builder)
}

// Markdown is docs/api.md: every collection, attribute and extension that the resources' files declare.
func Markdown() string {
	seal.Do(sealAll)
	var b strings.Builder
	b.WriteString(`# The Networking API

Generated from ` + "`internal/api/neutron` by `go generate ./internal/api/neutron`" + `; do not edit.

This is OpenStack's Networking API v2.0 as nagare serves it, below ` + "`/v2.0/`" + `. What each attribute means is told by OpenStack's own
reference; here is which there are, and who may do what with them.

Reading the tables:

- *create*, *update*: the attribute may be given there; a word beside it says by whom, where that is not everybody who may create or update
  the object. *required*: a create must give it.
- *filter*, *sort*: it may be a parameter of a list, a key of its order.
- *seen by*: who sees it, where that is not everybody who sees the object. Who does not see it can neither filter nor sort by it.
- *owner* is the object's project, *network owner* that of the network it is on. Administrators are always included; whoever may not see
  an object at all gets 404, whatever he asks.

Lists take ` + "`limit`, `marker`, `page_reverse`, `sort_key`, `sort_dir`, `fields`" + `, and where there are tags ` + "`tags`, `tags-any`, `not-tags`, `not-tags-any`" + `.
PUT and DELETE take ` + "`If-Match: revision_number=N`" + `.

## Collections
`)
	all := map[string]collection{}
	when := map[string]string{}
	for _, p := range parts {
		for _, c := range p.collections {
			all[c.path], when[c.path] = c, condition(p.when)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "\n### /v2.0/%s\n\n", path)
		if when[path] != "" {
			fmt.Fprintf(&b, "Only %s.\n\n", when[path])
		}
		if d, ok := all[path].endpoint.(described); ok {
			d.describe(&b)
		} else {
			fmt.Fprintf(&b, "See OpenStack's reference; `%s` in the list of collections.\n", all[path].name)
		}
	}
	if len(nested) > 0 {
		b.WriteString("\n## Collections below objects\n")
	}
	for _, d := range nested {
		b.WriteString("\n")
		d.describe(&b)
	}
	b.WriteString("\n## Quotas\n\nA project's limits unless configured or set; -1 is none.\n\n| resource | limit |\n|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(DefaultQuotas)) {
		fmt.Fprintf(&b, "| %s | %d |\n", name, DefaultQuotas[name])
	}
	b.WriteString("\n## Extensions\n\nEach is listed by the API because its behaviour is there, but for those that have to be asked for.\n\n| alias | | only |\n|---|---|---|\n")
	type row struct{ alias, about, only string }
	var rows []row
	for _, p := range parts {
		for _, e := range p.extensions {
			rows = append(rows, row{e.alias, e.about, condition(p.when)})
		}
	}
	slices.SortFunc(rows, func(x, y row) int { return strings.Compare(x.alias, y.alias) })
	for _, r := range rows {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", r.alias, r.about, r.only)
	}
	return b.String()
}

// condition puts a part's condition into words, by trying it.
func condition(when func(*Config) bool) string {
	standard := Config{Routers: true}
	switch {
	case when == nil:
		return ""
	case !when(&Config{Profile: "classic", Routers: true}) && when(&standard):
		return "where groups are enforced (profile standard)"
	case !when(&Config{}) && when(&standard):
		return "where the data plane routes"
	case !when(&standard) && when(&Config{Routers: true, StoredOnly: true}):
		return "with `serve --api-stored-only`: stored and shown, no packet is treated otherwise"
	case when(&standard) && !when(&Config{Routers: true, NativeDHCP: true}):
		return "where DHCP ports are on nodes (`--dhcp port`)"
	}
	return "in some configurations"
}

// words are how the tables name rules.
var words = map[Rule]string{anyone: "anyone", adminOnly: "administrator", adminOrService: "administrator, service", owner: "owner", ownerOrService: "owner, service",
	networkOwner: "network owner", networkOwnerOrService: "network owner, service", eitherOwner: "owner, network owner", eitherOwnerOrService: "owner, network owner, service"}

func (rs *Resource[T]) describe(b *strings.Builder) {
	var may []string
	add := func(there bool, what string, r Rule) {
		if there {
			may = append(may, what+" ("+words[r]+")")
		}
	}
	add(rs.build != nil, "POST", rs.create)
	add(rs.update != nil, "PUT", rs.change)
	add(rs.delete != nil, "DELETE", rs.remove)
	fmt.Fprintf(b, "`%s`, list `%s`. GET", rs.name, rs.plural)
	if len(may) > 0 {
		b.WriteString("; " + strings.Join(may, "; "))
	}
	b.WriteString(".")
	list := func(before string, names []string) {
		if len(names) > 0 {
			fmt.Fprintf(b, " %s `%s`.", before, strings.Join(names, "`, `"))
		}
	}
	list("Actions (PUT):", slices.Sorted(maps.Keys(rs.actions)))
	list("Below an object:", slices.Sorted(maps.Keys(rs.below)))
	if rs.shares != "" {
		fmt.Fprintf(b, " Shared by RBAC policies of type `%s`.", rs.shares)
	}
	b.WriteString("\n\n| attribute | create | update | filter | sort | seen by |\n|---|---|---|---|---|---|\n")
	for i := range rs.attrs {
		a := &rs.attrs[i]
		given := func(may bool, r Rule, required bool) string {
			switch {
			case !may:
				return ""
			case required:
				return "required"
			case r == deny:
				return "yes"
			}
			return words[r]
		}
		yes := func(is bool) string {
			if is {
				return "yes"
			}
			return ""
		}
		see := ""
		if a.See != deny {
			see = words[a.See]
		}
		if a.Get == nil {
			see = "nobody"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s | %s |\n", a.Name, given(a.Post, a.SetPost, a.Required), given(a.Put, a.SetPut, false),
			yes((a.Get != nil || a.Match != nil) && !a.NoFilter), yes(a.Get != nil && !a.NoSort), see)
	}
}
