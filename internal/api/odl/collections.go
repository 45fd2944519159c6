// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"iter"
	"slices"
	"strings"

	"nagare/internal/store"
)

// collections are all that is served, by path below Base. A path that is longer goes first.
var collections map[string]collection

func init() {
	collections = map[string]collection{
		"networks": networks,
		"subnets":  subnets,
		"ports":    ports,
		"routers":  routers, "floatingips": floatingIPs,
		"security-groups": groups, "security-group-rules": rules,
		"qos/policies": policies, "trunks": trunks,
	}
	for path, x := range extensions {
		collections[path] = x
	}
}

// find gives the collection that a path names, and what follows its name; nil: none.
func find(path string) (collection, []string) {
	seg := strings.Split(path, "/")
	if slices.Contains(seg, "") {
		return nil, nil
	}
	for n := min(2, len(seg)); n > 0; n-- {
		if c, ok := collections[strings.Join(seg[:n], "/")]; ok {
			return c, seg[n:]
		}
	}
	return nil, nil
}

// records drops the keys of a walk over a table.
func records[K, V any](seq iter.Seq2[K, V]) iter.Seq[V] {
	return func(yield func(V) bool) {
		for _, v := range seq {
			if !yield(v) {
				return
			}
		}
	}
}

// one is the lookup by primary key.
func one[K ~string, V any](t *store.Table[K, V]) func(store.Reader, string) iter.Seq[V] {
	return func(r store.Reader, id string) iter.Seq[V] {
		return func(yield func(V) bool) {
			if v, ok := t.Get(r, K(id)); ok {
				yield(v)
			}
		}
	}
}
