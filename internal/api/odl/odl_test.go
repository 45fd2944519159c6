// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"nagare/internal/identity"
	"nagare/internal/store"
	"nagare/internal/tables"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// people are those who may log in; the password is the name.
var people = map[string]identity.Principal{
	"neutron": {UserID: "u-neutron", UserName: "neutron", Roles: []string{identity.RoleService}},
	"admin":   {UserID: "u-admin", UserName: "admin", Roles: []string{identity.RoleAdmin}},
	"reader":  {UserID: "u-reader", UserName: "reader", System: true, Roles: []string{identity.RoleReader}},
	"tenant":  {UserID: "u-tenant", UserName: "tenant", ProjectID: "p", Roles: []string{identity.RoleReader, "member"}},
	"domain":  {UserID: "u-domain", UserName: "domain", DomainID: "d", Roles: []string{identity.RoleAdmin, identity.RoleReader}},
	"member":  {UserID: "u-member", UserName: "member", Roles: []string{"member"}},
}

func login(r *http.Request) (identity.Principal, error) {
	name, password, _ := r.BasicAuth()
	switch name {
	case "locked":
		return identity.Principal{}, &identity.LockedError{RetryAfter: 1500 * time.Millisecond}
	case "broken":
		return identity.Principal{}, errors.New("the users cannot be read")
	}
	p, ok := people[name]
	if !ok || password != name {
		return p, identity.ErrUnauthorized
	}
	return p, nil
}

// world is a northbound with a store of its own.
type world struct {
	testing.TB
	st *store.Store
	h  http.Handler
}

func newWorld(t testing.TB, change ...func(*Config)) *world {
	w := &world{TB: t, st: store.New(tables.Schema, nil)}
	cfg := Config{Store: w.st, Auth: login, Writable: true, NativeDHCP: true,
		Now: func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC) }}
	for _, f := range change {
		f(&cfg)
	}
	w.h = New(cfg)
	return w
}

// reply is what a request led to.
type reply struct {
	code int
	text string
	head http.Header
	body map[string]any
}

// ask sends a request as a user; path is below Base.
func (w *world) ask(who, method, path, body string) reply {
	w.Helper()
	r := httptest.NewRequest(method, Base+path, strings.NewReader(body))
	r.SetBasicAuth(who, who)
	rec := httptest.NewRecorder()
	before := w.st.Snapshot().Seq()
	w.h.ServeHTTP(rec, r)
	out := reply{code: rec.Code, text: rec.Body.String(), head: rec.Header()}
	if out.text != "" {
		if err := json.Unmarshal(rec.Body.Bytes(), &out.body); err != nil {
			w.Fatalf("%s %s: answer %q is not JSON: %v", method, path, out.text, err)
		}
	}
	if out.code >= 400 {
		if e, _ := out.body["NeutronError"].(map[string]any); e["type"] == "" || e["message"] == "" {
			w.Errorf("%s %s: %d with %s, want a NeutronError", method, path, out.code, out.text)
		}
		if w.st.Snapshot().Seq() != before {
			w.Errorf("%s %s: %d, but the store changed", method, path, out.code)
		}
	}
	return out
}

// do sends a request as Neutron does and wants a status.
func (w *world) do(method, path, body string, want int) reply {
	w.Helper()
	out := w.ask("neutron", method, path, body)
	if out.code != want {
		w.Fatalf("%s %s %s: %d %s, want %d", method, path, body, out.code, out.text, want)
	}
	return out
}

// show gives an object.
func (w *world) show(coll, id string) map[string]any {
	w.Helper()
	out := w.do("GET", "/"+coll+"/"+id, "", 200)
	for _, v := range out.body {
		return v.(map[string]any)
	}
	return nil
}
