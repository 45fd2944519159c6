// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"net/http"

	"nagare/internal/api/jsonbody"
)

func init() {
	declare(part{collections: []collection{{"extension", "extensions", "extensions", endpointFunc(serveExtensions)}}})
}

func (e *extension) body() map[string]any {
	return map[string]any{"alias": e.alias, "name": e.name, "description": e.about, "updated": e.updated, "links": []any{}}
}

func serveExtensions(rq *request, rest []string) error {
	if m := rq.r.Method; m != http.MethodGet && m != http.MethodHead {
		return methodNotAllowed(m)
	}
	switch len(rest) {
	case 0:
		all := make([]any, 0, len(rq.api.extensions))
		for _, e := range rq.api.extensions {
			all = append(all, e.body())
		}
		return rq.answer(http.StatusOK, jsonbody.Append(nil, map[string]any{"extensions": all}))
	case 1:
		for _, e := range rq.api.extensions {
			if e.alias == rest[0] {
				return rq.answer(http.StatusOK, jsonbody.Append(nil, map[string]any{"extension": e.body()}))
			}
		}
		return fail(http.StatusNotFound, "ExtensionNotFound", "Extension with alias %s does not exist", show(rest[0]))
	}
	return notFoundPath()
}
