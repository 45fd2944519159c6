// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
)

// toy is a controller that keeps what it is told as JSON and knows nothing of networks: the contract's manners, as few as the
// model needs. The model is tried on it, and with its manners spoiled the judgement is.
type toy struct {
	mu   sync.Mutex
	data map[string]map[string]Object // by collection and id

	// What may be wrong with it.
	merges    bool // an update keeps what its body lacks
	refuses   bool // a repeated create is 409
	upserts   bool // an update makes what is missing
	forgetful bool // a lost canary is 200
	stale     bool // an older revision overwrites a newer
	late      bool // a create overwrites what it was overtaken by
	deaf      bool // a request is done although its sender has gone
}

// keep are attributes that an update never clears.
var keep = map[string][]string{
	"networks": {"tenant_id", "project_id", "is_default"},
	"subnets":  {"network_id", "tenant_id", "project_id", "ip_version", "cidr"},
	"ports":    {"tenant_id", "project_id", "network_id", "mac_address", "fixed_ips"},
	"routers":  {"tenant_id", "project_id"},
}

func (m *toy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.data == nil {
		m.data = map[string]map[string]Object{}
	}
	var res resource
	rest := strings.TrimPrefix(r.URL.Path, basePath)
	for _, k := range SyncOrder {
		if p := resources[k].path; rest == p || strings.HasPrefix(rest, p+"/") {
			res = resources[k]
		}
	}
	if r.Context().Err() != nil && !m.deaf {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	all := m.data[res.path]
	if all == nil {
		all = map[string]Object{}
		m.data[res.path] = all
	}
	id := strings.TrimPrefix(strings.TrimPrefix(rest, res.path), "/")
	old, there := all[id]
	var body map[string]Object
	if r.Method == http.MethodPost || r.Method == http.MethodPut {
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body[res.one] == nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
	}
	sent := body[res.one]
	answer := func(code int, v any) {
		w.WriteHeader(code)
		if v != nil {
			json.NewEncoder(w).Encode(v)
		}
	}
	switch {
	case r.Method == http.MethodGet && id == "":
		list := []Object{}
		for _, o := range all {
			list = append(list, o)
		}
		answer(200, map[string]any{res.many: list})
	case r.Method == http.MethodGet && id == Canary && m.forgetful:
		answer(200, map[string]any{res.one: Object{}})
	case r.Method == http.MethodPost:
		if have, ok := all[sent.id()]; ok && (m.refuses || older(sent, have)) {
			answer(409, nil)
			return
		} else if !ok || m.late || !overtaken(sent, have) {
			all[sent.id()] = sent
		}
		answer(201, body)
	case !there && (r.Method != http.MethodPut || !m.upserts):
		answer(404, nil)
	case r.Method == http.MethodGet:
		answer(200, map[string]any{res.one: old})
	case r.Method == http.MethodDelete:
		delete(all, id)
		answer(204, nil)
	case r.Method == http.MethodPut:
		if there && older(sent, old) && !m.stale {
			answer(200, nil)
			return
		}
		fresh := Object{"id": id}
		if m.merges {
			fresh = old.clone()
		}
		for _, key := range keep[res.path] {
			if v, ok := old[key]; ok {
				fresh[key] = v
			}
		}
		for key, v := range sent {
			fresh[key] = v
		}
		all[id] = fresh
		answer(200, map[string]any{res.one: fresh})
	}
}

// older reports whether a body has a smaller revision than what is stored.
func older(sent, have Object) bool {
	a, ok := sent["revision_number"].(float64)
	b, known := have["revision_number"].(float64)
	return ok && known && a < b
}

// overtaken reports whether a create, which has no revision, is no newer than the object that is there with one.
func overtaken(sent, have Object) bool {
	rev, _ := have["revision_number"].(float64)
	return sent["revision_number"] == nil && rev > 0 && sent.str("updated_at") <= have.str("updated_at")
}
