// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"slices"
	"strings"
	"sync"

	"nagare/internal/model"
	"nagare/internal/policy"
	"nagare/internal/store"
)

// part is what one file brings to the API: collections, and the extensions by which clients learn of them. Each file declares
// its own in an init function; nothing else lists them.
type part struct {
	when        func(*Config) bool // the configurations in which it is there; nil: all
	collections []collection
	extensions  []extension
	rules       []policy.Default // of what is no Resource; see Rules
}

// collection is a path below /v2.0/ and who answers there. A Resource that is declared makes its own.
type collection struct {
	name, plural string // in the list of collections; empty: not listed
	path         string // "networks"; "qos/policies" has two segments
	endpoint     endpoint
}

// extension is one entry of the list by which clients learn what the API can do. Its behaviour exists in full: clients change
// their calls, and Nova its ways, accordingly.
type extension struct{ alias, name, about, updated string }

var (
	parts    []part
	nested   []described // resources that are only below others
	unsealed []func()    // complete the declarations of resources, once every file has had its say
	seal     sync.Once
)

func declare(p part) { parts = append(parts, p) }

// whereFiltered and whereRouted are conditions of parts: where the pipeline enforces groups, and where it routes.
func whereFiltered(c *Config) bool { return c.filters() }
func whereRouted(c *Config) bool   { return c.Routers }

// declare makes rs the resource that d describes and a part of the API. Call it in an init function. Attributes that other
// files have added, or will, stay.
func (rs *Resource[T]) declare(d Resource[T]) {
	d.added, d.dropped, d.beneath = rs.added, rs.dropped, rs.beneath
	*rs = d
	ruleSets = append(ruleSets, rs)
	if d.path == "" {
		nested = append(nested, rs)
	} else {
		declare(part{when: d.when, collections: []collection{{d.name, d.plural, d.path, rs}}})
	}
	if d.quota != nil {
		d.quota.count(d.name, d.when, func(r store.Reader, id string) (model.ProjectID, bool) {
			o, ok := rs.get(r, id)
			return rs.std(&o).Project, ok
		})
	}
	unsealed = append(unsealed, func() { rs.complete() })
}

// extend adds attributes to a resource that another file declares. Call it in an init function.
func (rs *Resource[T]) extend(attrs ...Attr[T]) { rs.added = append(rs.added, attrs...) }

// serveBelow adds what answers below /{collection}/{id}/{name} of a resource that another file declares. Call it in an init
// function.
func (rs *Resource[T]) serveBelow(name string, f func(rq *request, id string, rest []string) error) {
	if rs.beneath == nil {
		rs.beneath = map[string]func(*request, string, []string) error{}
	}
	rs.beneath[name] = f
}

// onDelete adds what is to be done, or refused, before an object of another file's resource goes. Call it in an init function.
func (rs *Resource[T]) onDelete(f func(*work, T) error) { rs.dropped = append(rs.dropped, f) }

func sealAll() {
	for _, f := range unsealed {
		f()
	}
}

// register gives the API what its configuration has of all parts.
func (a *API) register() {
	seal.Do(sealAll)
	a.collections = map[string]collection{}
	for _, p := range parts {
		if p.when != nil && !p.when(&a.cfg) {
			continue
		}
		for _, c := range p.collections {
			if _, dup := a.collections[c.path]; dup {
				panic("neutron: " + c.path + " declared twice")
			}
			a.collections[c.path] = c
		}
		a.extensions = append(a.extensions, p.extensions...)
	}
	slices.SortFunc(a.extensions, func(x, y extension) int { return strings.Compare(x.alias, y.alias) })
	for i := 1; i < len(a.extensions); i++ {
		if a.extensions[i].alias == a.extensions[i-1].alias {
			panic("neutron: extension " + a.extensions[i].alias + " declared twice")
		}
	}
}

// collection finds who answers for the segments of a path below /v2.0/, and how many of them name the collection.
func (a *API) collection(seg []string) (collection, int) {
	if len(seg) > 1 {
		if c, ok := a.collections[seg[0]+"/"+seg[1]]; ok {
			return c, 2
		}
	}
	if c, ok := a.collections[seg[0]]; ok {
		return c, 1
	}
	return collection{}, 0
}
