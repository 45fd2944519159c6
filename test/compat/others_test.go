// SPDX-License-Identifier: Apache-2.0

package compat

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// otherServices stand for Nova and Cinder, as far as commands of the network service ask them too: `quota show` wants all three
// services in the catalog. Quotas are kept, lists are empty.
type otherServices struct {
	mu     sync.Mutex
	quotas map[string]map[string]any // by service and project
}

func newOtherServices() *otherServices { return &otherServices{quotas: map[string]map[string]any{}} }

// front starts the services and gives a layer before the identity service that has them in the catalog.
func (s *otherServices) front(t testing.TB) func(http.Handler) http.Handler {
	l := listen(t)
	base := "http://" + l.Addr().String()
	mux := http.NewServeMux()
	s.service(mux, "/compute/v2.1", map[string]any{"cores": 20, "instances": 10, "ram": 51200, "key_pairs": 100, "metadata_items": 128, "server_groups": 10,
		"server_group_members": 10, "injected_files": 5, "injected_file_content_bytes": 10240, "injected_file_path_bytes": 255})
	s.service(mux, "/volume/v3", map[string]any{"volumes": 10, "snapshots": 10, "gigabytes": 1000, "backups": 10, "backup_gigabytes": 1000, "per_volume_gigabytes": -1, "groups": 10})
	for path, body := range map[string]string{
		"/compute/v2.1/servers/detail":              `{"servers": []}`,
		"/compute/v2.1/servers/dev":                 `{"server": {"id": "dev", "name": "dev"}}`,
		"/compute/v2.1/extensions":                  `{"extensions": []}`,
		"/compute/v2.1/os-availability-zone/detail": `{"availabilityZoneInfo": [{"zoneName": "nova", "zoneState": {"available": true}, "hosts": {}}]}`,
		"/compute/v2.1/os-availability-zone":        `{"availabilityZoneInfo": [{"zoneName": "nova", "zoneState": {"available": true}, "hosts": null}]}`,
		"/compute/v2.1/{$}":                         `{"version": {"id": "v2.1", "status": "CURRENT", "version": "2.90", "min_version": "2.1", "links": [{"rel": "self", "href": "` + base + `/compute/v2.1/"}]}}`,
		"/volume/v3/os-availability-zone":           `{"availabilityZoneInfo": [{"zoneName": "nova", "zoneState": {"available": true}}]}`,
		"/volume/v3/extensions":                     `{"extensions": []}`,
		"/volume/v3/{$}":                            `{"versions": [{"id": "v3.0", "status": "CURRENT", "version": "3.70", "min_version": "3.0", "links": [{"rel": "self", "href": "` + base + `/volume/v3/"}]}]}`,
		"/volume/v3/backups/detail":                 `{"backups": []}`,
		"/volume/v3/snapshots/detail":               `{"snapshots": []}`,
		"/volume/v3/volumes/detail":                 `{"volumes": []}`,
	} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Write([]byte(body)) //nolint:errcheck // the client may be gone
		})
	}
	serve(t, l, mux)
	var entries []any
	for kind, path := range map[string]string{"compute": "/compute/v2.1", "volumev3": "/volume/v3"} {
		entries = append(entries, map[string]any{"type": kind, "name": kind, "id": kind, "endpoints": []any{
			map[string]any{"id": kind, "interface": "public", "region": "RegionOne", "region_id": "RegionOne", "url": base + path}}})
	}
	return func(h http.Handler) http.Handler { return withServices(h, entries) }
}

// service answers for the quotas of one service.
func (s *otherServices) service(mux *http.ServeMux, base string, defaults map[string]any) {
	answer := func(w http.ResponseWriter, kind, id string, values map[string]any) {
		values = maps.Clone(values)
		values["id"] = id
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{kind: values}) //nolint:errcheck // the client may be gone
	}
	for path, kind := range map[string]string{"/os-quota-sets/": "quota_set", "/os-quota-class-sets/": "quota_class_set"} {
		of := func(id string) map[string]any {
			s.mu.Lock()
			defer s.mu.Unlock()
			values := maps.Clone(defaults)
			maps.Copy(values, s.quotas[base+path+id])
			return values
		}
		mux.HandleFunc("GET "+base+path+"{id}", func(w http.ResponseWriter, r *http.Request) {
			answer(w, kind, r.PathValue("id"), of(r.PathValue("id")))
		})
		mux.HandleFunc("GET "+base+path+"{id}/defaults", func(w http.ResponseWriter, r *http.Request) { answer(w, kind, r.PathValue("id"), defaults) })
		mux.HandleFunc("GET "+base+path+"{id}/detail", func(w http.ResponseWriter, r *http.Request) {
			values := of(r.PathValue("id"))
			for k, v := range values {
				values[k] = map[string]any{"limit": v, "in_use": 0, "reserved": 0}
			}
			answer(w, kind, r.PathValue("id"), values)
		})
		mux.HandleFunc("PUT "+base+path+"{id}", func(w http.ResponseWriter, r *http.Request) {
			var body map[string]map[string]any
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			id := r.PathValue("id")
			s.mu.Lock()
			if s.quotas[base+path+id] == nil {
				s.quotas[base+path+id] = map[string]any{}
			}
			maps.Copy(s.quotas[base+path+id], body[kind])
			s.mu.Unlock()
			answer(w, kind, id, of(id))
		})
	}
}

// withServices adds entries to the catalogs that a handler gives.
func withServices(h http.Handler, entries []any) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/auth/tokens") && !strings.HasSuffix(r.URL.Path, "/auth/catalog") {
			h.ServeHTTP(w, r)
			return
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		var body map[string]any
		if json.Unmarshal(rec.Body.Bytes(), &body) == nil {
			at := body
			if token, ok := body["token"].(map[string]any); ok {
				at = token
			}
			if catalog, ok := at["catalog"].([]any); ok {
				at["catalog"] = append(catalog, entries...)
				out, _ := json.Marshal(body) //nolint:errcheck // it came from JSON
				rec.Body.Reset()
				rec.Body.Write(out)
			}
		}
		maps.Copy(w.Header(), rec.Header())
		w.Header().Set("Content-Length", strconv.Itoa(rec.Body.Len()))
		w.WriteHeader(rec.Code)
		w.Write(rec.Body.Bytes()) //nolint:errcheck // the client may be gone
	})
}
