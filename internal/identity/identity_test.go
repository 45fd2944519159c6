// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"nagare/internal/store"
	"nagare/internal/tables"
)

type world struct {
	t   *testing.T
	st  *store.Store
	svc *Service
	h   http.Handler
	now time.Time
}

const secret = "correct horse"

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, st: store.New(tables.Schema, nil), now: time.Date(2025, 11, 22, 8, 0, 0, 123456000, time.UTC)}
	if err := Bootstrap(context.Background(), w.st, secret, WithDemoPassword("demo secret"), WithPasswordCost(bcrypt.MinCost)); err != nil {
		t.Fatal(err)
	}
	w.restart()
	return w
}

// restart makes a new service on the same store, as a new process would.
func (w *world) restart() {
	w.svc = New(Config{Store: w.st, PublicURL: "http://127.0.0.1:5000/v3", NetworkURL: "http://127.0.0.1:9696",
		Now: func() time.Time { return w.now }, PasswordCost: bcrypt.MinCost})
	w.h = w.svc.Handler()
}

// do sends a request and wants the status.
func (w *world) do(token, method, path, body string, want int, header ...string) (map[string]any, http.Header) {
	w.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if token != "" {
		r.Header.Set("X-Auth-Token", token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	w.h.ServeHTTP(rec, r)
	if rec.Code != want {
		w.t.Fatalf("%s %s: got %d, want %d: %s", method, path, rec.Code, want, rec.Body)
	}
	if !strings.HasPrefix(rec.Header().Get("X-Openstack-Request-Id"), "req-") {
		w.t.Errorf("%s %s: no request id", method, path)
	}
	var m map[string]any
	if rec.Body.Len() > 0 {
		if err := json.Unmarshal(rec.Body.Bytes(), &m); err != nil {
			w.t.Fatalf("%s %s: %v in %s", method, path, err, rec.Body)
		}
	}
	if want >= 400 {
		e, _ := m["error"].(map[string]any)
		if e["code"] != float64(want) || e["title"] == "" || e["message"] == "" {
			w.t.Errorf("%s %s: error body %s", method, path, rec.Body)
		}
	}
	return m, rec.Header()
}

func passwordAuth(user, password, scope string) string {
	s := ""
	if scope != "" {
		s = `,"scope":` + scope
	}
	return fmt.Sprintf(`{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":%q,"domain":{"name":"Default"},"password":%q}}}%s}}`, user, password, s)
}

func projectScope(name string) string {
	return fmt.Sprintf(`{"project":{"name":%q,"domain":{"id":"default"}}}`, name)
}

func (w *world) login(user, password, scope string) string {
	w.t.Helper()
	_, h := w.do("", "POST", "/v3/auth/tokens", passwordAuth(user, password, scope), 201)
	return h.Get("X-Subject-Token")
}

func (w *world) valid(token string) bool {
	_, err := w.svc.Validate(context.Background(), token)
	return err == nil
}

func dig(m map[string]any, path ...string) any {
	var v any = m
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	return v
}

func TestTokenBody(t *testing.T) {
	w := newWorld(t)
	m, h := w.do("", "POST", "/v3/auth/tokens", passwordAuth("demo", "demo secret", projectScope("demo")), 201)
	for path, want := range map[string]any{
		"issued_at": "2025-11-22T08:00:00.123456Z", "expires_at": "2025-11-22T09:00:00.123456Z", "is_domain": false,
		"user.name": "demo", "user.domain.id": "default", "project.name": "demo", "project.domain.name": "Default",
	} {
		if got := dig(m, strings.Split("token."+path, ".")...); got != want {
			t.Errorf("%s: got %v, want %v", path, got, want)
		}
	}
	cat := dig(m, "token", "catalog").([]any)
	urls := map[string]string{}
	for _, c := range cat {
		for _, e := range c.(map[string]any)["endpoints"].([]any) {
			ep := e.(map[string]any)
			urls[c.(map[string]any)["type"].(string)+"/"+ep["interface"].(string)] = ep["url"].(string)
		}
	}
	if urls["identity/public"] != "http://127.0.0.1:5000/v3" || urls["network/internal"] != "http://127.0.0.1:9696" || len(urls) != 6 {
		t.Errorf("catalog %v", urls)
	}
	if m, _ = w.do("", "POST", "/v3/auth/tokens?nocatalog", passwordAuth("demo", "demo secret", ""), 201); dig(m, "token", "catalog") != nil {
		t.Error("catalog given although not wanted")
	}
	if dig(m, "token", "project", "name") != "demo" {
		t.Error("the default project is not the scope when none is asked for")
	}
	p, err := w.svc.Validate(context.Background(), h.Get("X-Subject-Token"))
	if err != nil || p.ProjectName != "demo" || p.IsAdmin() || !p.CanWrite() || p.UserName != "demo" {
		t.Errorf("principal %+v, %v", p, err)
	}
}

func TestWrongCredentials(t *testing.T) {
	w := newWorld(t)
	var bodies []string
	for _, b := range []string{
		passwordAuth("demo", "wrong", ""), passwordAuth("nobody", secret, ""), passwordAuth("demo", "demo secret", projectScope("admin")),
		passwordAuth("demo", "demo secret", projectScope("none")), passwordAuth("demo", "demo secret", `{"system":{"all":true}}`),
		`{"auth":{"identity":{"methods":["token"],"token":{"id":"x"}}}}`, `{"auth":{"identity":{"methods":["totp"]}}}`,
	} {
		m, h := w.do("", "POST", "/v3/auth/tokens", b, 401)
		if h.Get("WWW-Authenticate") != `Keystone uri="http://127.0.0.1:5000/v3"` {
			t.Errorf("WWW-Authenticate %q", h.Get("WWW-Authenticate"))
		}
		bodies = append(bodies, fmt.Sprint(m))
	}
	for _, b := range bodies[1:] {
		if b != bodies[0] {
			t.Errorf("answers differ and so tell what was wrong: %s, %s", b, bodies[0])
		}
	}
	for _, b := range []string{"", "{", "[]", `{"auth":1}`, `{"auth":{}}`, `{"auth":{"identity":{"methods":["password"]}}}`, `{"auth":{},"auth":{}}`,
		`{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"x","password":1,"domain":{}}}}}}`} {
		w.do("", "POST", "/v3/auth/tokens", b, 400)
	}
}

// TestTokenLife walks the ways a token ends, and that a restart is none of them.
func TestTokenLife(t *testing.T) {
	w := newWorld(t)
	admin := w.login("admin", secret, projectScope("admin"))
	w.restart()
	if !w.valid(admin) {
		t.Fatal("token did not survive the restart")
	}
	if w.valid(admin+"x") || w.valid("") || w.valid("nagare1.e30.") || w.valid(strings.Replace(admin, ".", ".A", 1)) {
		t.Error("a forged token is accepted")
	}
	start := w.now
	w.now = start.Add(time.Hour)
	if w.valid(admin) {
		t.Error("token outlives its lifetime")
	}
	w.now = start

	chained, _ := w.do("", "POST", "/v3/auth/tokens", fmt.Sprintf(`{"auth":{"identity":{"methods":["token"],"token":{"id":%q}},"scope":%s}}`, admin, projectScope("demo")), 201)
	if dig(chained, "token", "project", "name") != "demo" || len(dig(chained, "token", "audit_ids").([]any)) != 2 {
		t.Errorf("token from token: %v", chained)
	}

	gone := w.login("demo", "demo secret", projectScope("demo"))
	w.do(admin, "GET", "/v3/auth/tokens", "", 200, "X-Subject-Token", gone)
	w.do(gone, "GET", "/v3/auth/tokens", "", 403, "X-Subject-Token", admin)
	w.do(admin, "GET", "/v3/auth/tokens", "", 404, "X-Subject-Token", "rubbish")
	w.do(admin, "HEAD", "/v3/auth/tokens", "", 200, "X-Subject-Token", gone)
	w.do(gone, "DELETE", "/v3/auth/tokens", "", 204, "X-Subject-Token", gone)
	w.restart()
	if w.valid(gone) {
		t.Error("revoked token is valid")
	}
	w.do(admin, "GET", "/v3/auth/tokens", "", 404, "X-Subject-Token", gone)
	w.do(gone, "GET", "/v3/auth/projects", "", 401)

	// Project, user, role, password.
	p, _ := w.do(admin, "POST", "/v3/projects", `{"project":{"name":"p1"}}`, 201)
	pid := dig(p, "project", "id").(string)
	u, _ := w.do(admin, "POST", "/v3/users", fmt.Sprintf(`{"user":{"name":"u1","password":"pw1","email":"u@x","default_project_id":%q}}`, pid), 201)
	uid := dig(u, "user", "id").(string)
	if dig(u, "user", "email") != "u@x" || dig(u, "user", "password") != nil || dig(u, "user", "password_hash") != nil {
		t.Errorf("user %v", u)
	}
	roles, _ := w.do(admin, "GET", "/v3/roles?name=member", "", 200)
	rid := roles["roles"].([]any)[0].(map[string]any)["id"].(string)
	grant := "/v3/projects/" + pid + "/users/" + uid + "/roles/" + rid
	w.do(admin, "HEAD", grant, "", 404)
	w.do(admin, "PUT", grant, "", 204)
	w.do(admin, "HEAD", grant, "", 204)
	tok := w.login("u1", "pw1", "")
	if !w.valid(tok) {
		t.Fatal("fresh token is not valid")
	}
	w.do(admin, "DELETE", grant, "", 204)
	if w.valid(tok) {
		t.Error("token lives without a role")
	}
	w.do(admin, "PUT", grant, "", 204)
	w.now = w.now.Add(time.Second)
	w.do(tok, "POST", "/v3/users/"+uid+"/password", `{"user":{"original_password":"no","password":"pw2"}}`, 401)
	w.do(tok, "POST", "/v3/users/"+uid+"/password", `{"user":{"original_password":"pw1","password":"pw2"}}`, 204)
	if w.valid(tok) {
		t.Error("token outlives its password")
	}
	w.now = w.now.Add(time.Second)
	tok = w.login("u1", "pw2", projectScope("p1"))
	w.do(admin, "PATCH", "/v3/projects/"+pid, `{"project":{"enabled":false}}`, 200)
	if w.valid(tok) {
		t.Error("token lives in a disabled project")
	}
	w.do(admin, "PATCH", "/v3/projects/"+pid, `{"project":{"enabled":true}}`, 200)
	if !w.valid(tok) {
		t.Error("token does not live again with its project")
	}
	w.do(admin, "DELETE", "/v3/projects/"+pid, "", 204)
	if w.valid(tok) {
		t.Error("token outlives its project")
	}
	tok = w.login("u1", "pw2", `"unscoped"`)
	w.do(admin, "DELETE", "/v3/users/"+uid, "", 204)
	if w.valid(tok) {
		t.Error("token outlives its user")
	}
}

// TestRights: what an administrator may, a member may not; and what the client asks first.
func TestRights(t *testing.T) {
	w := newWorld(t)
	admin, demo := w.login("admin", secret, ""), w.login("demo", "demo secret", "")
	w.do("", "GET", "/v3", "", 200)
	w.do("", "GET", "/v3/", "", 200)
	w.do("", "GET", "/", "", 300)
	w.do("", "GET", "/nothing", "", 404)
	w.do(admin, "PUT", "/v3/projects", "", 405)
	for _, path := range []string{"/v3/projects", "/v3/users", "/v3/domains?name=Default", "/v3/services", "/v3/endpoints", "/v3/role_assignments"} {
		w.do("", "GET", path, "", 401)
		w.do(demo, "GET", path, "", 403)
		w.do(admin, "GET", path, "", 200)
	}
	for _, path := range []string{"/v3/roles", "/v3/auth/projects", "/v3/auth/catalog", "/v3/regions"} {
		w.do(demo, "GET", path, "", 200)
	}
	w.do(demo, "GET", "/v3/projects/admin", "", 403) // the client takes the name for an id then
	w.do(admin, "GET", "/v3/projects/demo", "", 404) // and looks it up by name then
	list, _ := w.do(admin, "GET", "/v3/projects?name=demo&domain_id=default&enabled=True", "", 200)
	if n := len(list["projects"].([]any)); n != 1 {
		t.Errorf("%d projects named demo", n)
	}
	list, _ = w.do(admin, "GET", "/v3/projects?enabled=false", "", 200)
	if n := len(list["projects"].([]any)); n != 0 {
		t.Errorf("%d disabled projects", n)
	}
	for _, body := range []string{`{"project":{"name":"demo"}}`, `{"project":{"name":"admin","domain_id":"default"}}`} {
		w.do(admin, "POST", "/v3/projects", body, 409)
		w.do(demo, "POST", "/v3/projects", body, 403)
	}
	w.do(admin, "POST", "/v3/roles", `{"role":{"name":"member"}}`, 409)
	for _, body := range []string{"", "{}", `{"project":{}}`, `{"project":{"name":1}}`, `{"project":{"name":"x","enabled":"yes"}}`, `{"project":{"name":"a\u0000b"}}`} {
		w.do(admin, "POST", "/v3/projects", body, 400)
	}
	w.do(admin, "POST", "/v3/projects", `{"project":{"name":"x","domain_id":"none"}}`, 404)
	my, _ := w.do(admin, "GET", "/v3/auth/projects", "", 200)
	if n := len(my["projects"].([]any)); n != 2 {
		t.Errorf("admin has %d projects, want 2", n)
	}
}

func TestDomains(t *testing.T) {
	w := newWorld(t)
	admin := w.login("admin", secret, "")
	d, _ := w.do(admin, "POST", "/v3/domains", `{"domain":{"name":"d1"}}`, 201)
	id := dig(d, "domain", "id").(string)
	w.do(admin, "POST", "/v3/projects", fmt.Sprintf(`{"project":{"name":"demo","domain_id":%q}}`, id), 201) // same name, other domain
	w.do(admin, "POST", "/v3/users", fmt.Sprintf(`{"user":{"name":"demo","password":"x","domain_id":%q}}`, id), 201)
	w.do(admin, "DELETE", "/v3/domains/"+id, "", 403)
	w.do(admin, "PATCH", "/v3/domains/"+id, `{"domain":{"enabled":false}}`, 200)
	w.do(admin, "DELETE", "/v3/domains/"+id, "", 204)
	list, _ := w.do(admin, "GET", "/v3/users?name=demo", "", 200)
	if n := len(list["users"].([]any)); n != 1 {
		t.Errorf("%d users named demo are left, want the one of Default", n)
	}
}

func TestBootstrap(t *testing.T) {
	ctx := context.Background()
	st := store.New(tables.Schema, nil)
	if err := Bootstrap(ctx, st, ""); err == nil {
		t.Error("bootstrap without a password works; there must be no default")
	}
	w := newWorld(t)
	before := w.st.Snapshot().Revision()
	if err := Bootstrap(ctx, w.st, ""); err != nil || w.st.Snapshot().Revision() != before {
		t.Errorf("second bootstrap: %v, revision %d after %d", err, w.st.Snapshot().Revision(), before)
	}
	tok := w.login("admin", secret, "")
	w.now = time.Now()
	if err := SetPassword(ctx, w.st, "admin", "new"); err != nil {
		t.Fatal(err)
	}
	if w.valid(tok) {
		t.Error("token outlives a reset password")
	}
}

// TestNoSecretsInLogs: a service whose store fails answers 503, and neither answers nor logs hold tokens or passwords.
func TestNoSecretsInLogs(t *testing.T) {
	w := newWorld(t)
	var logs bytes.Buffer
	w.svc = New(Config{Store: w.st, Now: func() time.Time { return w.now }, PasswordCost: bcrypt.MinCost,
		Log: slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	w.h = w.svc.Handler()
	token := w.login("admin", secret, "")
	if err := w.st.Close(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for _, c := range [][3]string{
		{"POST", "/v3/users", `{"user":{"name":"x","password":"hush hush"}}`}, {"DELETE", "/v3/auth/tokens", ""}, {"POST", "/v3/projects", `{"project":{"name":"y"}}`},
	} {
		m, _ := w.do(token, c[0], c[1], c[2], 503, "X-Subject-Token", token)
		fmt.Fprint(&said, m)
	}
	if logs.Len() == 0 {
		t.Error("the failure was not logged")
	}
	for _, s := range []string{token, secret, "hush hush", "$2a$"} {
		if strings.Contains(logs.String(), s) || strings.Contains(said.String(), s) {
			t.Errorf("%q appears in %s or %s", s, logs.String(), said.String())
		}
	}
}

// TestNone: without authentication everybody is the administrator, in the project that exists.
func TestNone(t *testing.T) {
	w := newWorld(t)
	p, err := None{w.st}.Validate(context.Background(), "")
	want, _ := FindProject(w.st.Snapshot(), "admin")
	if err != nil || !p.IsAdmin() || p.ProjectID != want.ID {
		t.Errorf("principal %+v, %v", p, err)
	}
}

// FuzzRequests: no body makes the service fail or changes anything unless it is accepted.
func FuzzRequests(f *testing.F) {
	f.Add("POST", "/v3/auth/tokens", []byte(passwordAuth("demo", "x", `{"project":{}}`)))
	f.Add("POST", "/v3/projects", []byte(`{"project":{"name":"x","tags":[1],"y":{"z":null}}}`))
	f.Add("PATCH", "/v3/users/x", []byte(`{"user":{"options":[]}}`))
	f.Add("GET", "/v3/role_assignments?user.id=%00&include_names", []byte(nil))
	f.Fuzz(func(t *testing.T, method, target string, body []byte) {
		w := fuzzWorld(t)
		r, err := http.NewRequest(method, "http://x/", bytes.NewReader(body))
		if err != nil {
			return
		}
		path, query, _ := strings.Cut(target, "?")
		r.URL.Path, r.URL.RawQuery = "/"+strings.TrimPrefix(path, "/"), query
		r.Header.Set("X-Auth-Token", fuzzToken)
		before := w.st.Snapshot().Revision()
		rec := httptest.NewRecorder()
		w.h.ServeHTTP(rec, r)
		if rec.Code >= 500 {
			t.Fatalf("%s %s: %d %s", method, target, rec.Code, rec.Body)
		}
		if rec.Code >= 400 && w.st.Snapshot().Revision() != before {
			t.Fatalf("%s %s: %d, but the store changed", method, target, rec.Code)
		}
	})
}

var (
	shared    *world
	fuzzToken string
)

func fuzzWorld(t *testing.T) *world {
	if shared == nil {
		shared = newWorld(t)
		fuzzToken = shared.login("admin", secret, "")
	}
	shared.t = t
	return shared
}

func BenchmarkValidate(b *testing.B) {
	st := store.New(tables.Schema, nil)
	if err := Bootstrap(context.Background(), st, secret, WithPasswordCost(bcrypt.MinCost)); err != nil {
		b.Fatal(err)
	}
	s := New(Config{Store: st, PasswordCost: bcrypt.MinCost})
	r := httptest.NewRequest("POST", "/v3/auth/tokens", strings.NewReader(passwordAuth("demo", secret, "")))
	rec := httptest.NewRecorder()
	s.Handler().ServeHTTP(rec, r)
	token := rec.Header().Get("X-Subject-Token")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Validate(context.Background(), token); err != nil {
			b.Fatal(err)
		}
	}
}
