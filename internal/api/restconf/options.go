// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"net/http"
	"slices"
	"strings"

	"nagare/internal/yang"
)

// notOffered refuses a method, and says which there are.
func (c *call) notOffered(methods ...string) error {
	c.w.Header().Set("Allow", strings.Join(methods, ", "))
	return &fault{http.StatusMethodNotAllowed, "protocol", "operation-not-supported",
		"method " + c.r.Method + " is not offered here; there are " + strings.Join(methods, ", ")}
}

var reading = []string{http.MethodGet, http.MethodHead, http.MethodOptions}

// options answers OPTIONS (RFC 8040 section 4.1): what may be done with a resource, whether it is there or not.
func (c *call) options(r route, rest []string) error {
	methods := offered(r.methods)
	switch {
	case r.writes:
		hops, err := c.hops(rest)
		if err != nil {
			return err
		}
		methods = c.tree.methods(hops)
	case r.first == "operations" && len(rest) == 0:
		methods = reading
	case r.first == "operations":
		if _, ok := c.tree.schema.RPC(strings.Join(rest, "/")); !ok {
			return unknown("rpc", strings.Join(rest, "/"))
		}
		methods = []string{http.MethodOptions, http.MethodPost}
	}
	return c.allowed(methods)
}

// allowed is an answer to OPTIONS.
func (c *call) allowed(methods []string) error {
	c.w.Header().Set("Allow", strings.Join(methods, ", "))
	if slices.Contains(methods, http.MethodPatch) {
		c.w.Header().Set("Accept-Patch", strings.Join(c.patches(), ", "))
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// patches are the media types of PATCH.
func (c *call) patches() []string { return c.media }

// offered are the methods of a route with those that come with them.
func offered(methods []string) (out []string) {
	for _, m := range methods {
		if out = append(out, m); m == http.MethodGet {
			out = append(out, http.MethodHead, http.MethodOptions)
		}
	}
	if !slices.Contains(out, http.MethodOptions) {
		out = append(out, http.MethodOptions)
	}
	return out
}

// methods are those that data knows, by its place in the schema.
func (t *tree) methods(hops []hop) []string {
	out := slices.Clone(reading)
	if len(hops) == 0 {
		return out
	}
	for i, h := range hops {
		src := t.sources[h.node]
		if src == nil || src.edit == nil {
			continue
		}
		last := hops[len(hops)-1]
		switch {
		case h.whole: // one entry is written at a time
			return out
		case !last.node.Config, last.node.IsKey(): // entries keep their keys
			return out
		case i == len(hops)-1 || last.node.Type == nil && !last.whole:
			return append(out, http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete)
		}
		return append(out, http.MethodPut, http.MethodPatch, http.MethodDelete)
	}
	last := hops[len(hops)-1].node
	if slices.ContainsFunc(last.Children, func(n *yang.Node) bool { s := t.sources[n]; return s != nil && s.edit != nil }) {
		out = append(out, http.MethodPost)
	}
	return out
}
