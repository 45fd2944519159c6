// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"slices"
	"strings"
	"testing"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// TestDiscovery: what clients discover is what is there: every collection listed answers, every alias has its page, and what a
// configuration does not have is nowhere.
func TestDiscovery(t *testing.T) {
	for _, routed := range []bool{true, false} {
		w := newWorld(t, func(c *Config) { c.Routers = routed })
		var paths []string
		for _, r := range w.do("admin", "GET", "/v2.0/", "", 200)["resources"].([]any) {
			path := strings.TrimPrefix(dig(r, "links", 0, "href").(string), "http://example.com")
			paths = append(paths, path)
			m := w.do("admin", "GET", path, "", 200)
			if _, ok := m[dig(r, "collection").(string)].([]any); !ok {
				t.Errorf("GET %s: no list %v in %v", path, dig(r, "collection"), m)
			}
		}
		if slices.Contains(paths, "/v2.0/routers") != routed || !slices.Contains(paths, "/v2.0/networks") || !slices.Contains(paths, "/v2.0/quotas") {
			t.Errorf("routers %v: collections %v", routed, paths)
		}
		aliases := w.names("demo", "extensions", "alias")
		if !slices.IsSorted(aliases) || slices.Contains(aliases, "router") != routed || !slices.Contains(aliases, "quotas") {
			t.Errorf("routers %v: aliases %v", routed, aliases)
		}
		for _, a := range aliases {
			e := w.do("demo", "GET", "/v2.0/extensions/"+a, "", 200)["extension"]
			for _, k := range []string{"alias", "name", "description", "updated"} {
				if s, _ := dig(e, k).(string); s == "" || k == "alias" && s != a {
					t.Errorf("extension %s: %s is %q", a, k, s)
				}
			}
			if l, ok := dig(e, "links").([]any); !ok || len(l) > 0 {
				t.Errorf("extension %s: links %v", a, dig(e, "links"))
			}
		}
		quota := w.do("demo", "GET", "/v2.0/quotas/p-demo", "", 200)["quota"].(map[string]any)
		if _, has := quota["router"]; has != routed || quota["port"] != 500.0 {
			t.Errorf("routers %v: quota %v", routed, quota)
		}
	}
}

// TestExtend: another file's attribute is parsed, taken in creates and updates, shown and filtered by, and its check before a
// delete can refuse, without a word in the resource's own file.
func TestExtend(t *testing.T) {
	type thing struct {
		model.Std
		ID, Colour string
	}
	things := map[string]thing{}
	rs := new(Resource[thing])
	refuse := conflict("ThingInUse", "in use")
	rs.extend(Attr[thing]{Name: "colour", Get: func(_ *view, o *thing) any { return o.Colour }, Parse: oneOf("red", "blue"), Default: "red", Post: true, Put: true,
		Take: func(_ *work, o *thing, in *values) error { o.Colour = get[string](in, "colour"); return nil }})
	rs.onDelete(func(_ *work, o thing) error {
		if o.Colour == "red" {
			return refuse
		}
		return nil
	})
	d := Resource[thing]{name: "thing", plural: "things", path: "things", id: func(o *thing) string { return o.ID }, std: func(o *thing) *model.Std { return &o.Std },
		get:    func(_ store.Reader, id string) (thing, bool) { o, ok := things[id]; return o, ok },
		put:    func(_ *store.Txn, o thing) error { things[o.ID] = o; return nil },
		gone:   func(string) *Error { return notFoundPath() },
		sees:   func(*view, *thing) bool { return true },
		create: owner, change: owner, remove: owner,
		build: func(w *work, in *values) (thing, error) {
			o := thing{ID: "one", Std: w.newStd(in, 0)}
			things[o.ID] = o
			return o, nil
		},
		update: func(_ *work, o thing, _ *values) (thing, error) { return o, nil },
		delete: func(_ *work, o thing) error { delete(things, o.ID); return nil },
		attrs:  stdAttrs(func(o *thing) string { return o.ID }, func(o *thing) *model.Std { return &o.Std }, true),
	}
	d.added, d.dropped = rs.added, rs.dropped
	*rs = d
	rs.complete()
	w := newWorld(t)
	w.api.collections["things"] = collection{"thing", "things", "things", rs}
	if m := w.do("demo", "POST", "/v2.0/things", `{"thing":{}}`, 201); dig(m, "thing", "colour") != "red" || things["one"].Colour != "red" {
		t.Errorf("made %v, stored %v", m, things)
	}
	w.refuse("demo", "PUT", "/v2.0/things/one", `{"thing":{"colour":"green"}}`, 400, "HTTPBadRequest", "")
	w.refuse("demo", "DELETE", "/v2.0/things/one", "", 409, "ThingInUse", "in use")
	w.do("demo", "PUT", "/v2.0/things/one", `{"thing":{"colour":"blue"}}`, 200)
	if things["one"].Colour != "blue" {
		t.Errorf("stored %v", things)
	}
	w.do("demo", "DELETE", "/v2.0/things/one", "", 204)
	if len(things) != 0 || tables.Networks.Len(w.st.Snapshot()) != 0 {
		t.Errorf("left: %v", things)
	}
}

// TestForms: the forms of a request that clients vary: a .json suffix anywhere, HEAD for GET, an absent object by HEAD.
func TestForms(t *testing.T) {
	w := newWorld(t)
	n := w.network("demo", `"name":"a"`)
	for _, path := range []string{"/v2.0/networks/" + n, "/v2.0/networks", "/v2.0/extensions", "/v2.0/extensions/quotas", "/v2.0/quotas/p-demo",
		"/v2.0/quotas/p-demo/default", "/v2.0/quotas/p-demo/details", "/v2.0/networks/" + n + "/tags"} {
		plain := w.send("demo", "GET", path, "")
		for _, same := range []answer{w.send("demo", "GET", path+".json", ""), w.send("demo", "HEAD", path, "")} {
			if plain.code != 200 || same.code != 200 || same.text != plain.text {
				t.Errorf("%s: %d %s, then %d %s", path, plain.code, plain.text, same.code, same.text)
			}
		}
	}
	w.refuse("demo", "HEAD", "/v2.0/networks/"+recordedNet, "", 404, "NetworkNotFound", "")
	w.do("demo", "PUT", "/v2.0/networks/"+n+".json", `{"network":{"name":"b"}}`, 200)
	w.do("demo", "POST", "/v2.0/networks.json", `{"network":{}}`, 201)
	w.do("demo", "DELETE", "/v2.0/networks/"+n+".json", "", 204)
}
