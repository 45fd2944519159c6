// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"nagare/internal/store"
)

func TestPathMatches(t *testing.T) {
	for pattern, c := range map[string]struct{ yes, no string }{
		"/v2.0/networks":         {"/v2.0/networks", "/v2.0/networks/ /v2.0/network /v2X0/networks /v2.0/networks/x /x/v2.0/networks"},
		"/v2.0/networks/*":       {"/v2.0/networks/a /v2.0/networks/a.json", "/v2.0/networks /v2.0/networks/ /v2.0/networks/a/b /v2.0/networks/a/"},
		"/v2.0/networks/{id}":    {"/v2.0/networks/a", "/v2.0/networks/ /v2.0/networks/a/b"},
		"/v2.0/networks/**":      {"/v2.0/networks/ /v2.0/networks/a /v2.0/networks/a/b", "/v2.0/networks /v2.0/subnets/a"},
		"/v2.0/networks**":       {"/v2.0/networks /v2.0/networks/a/b /v2.0/networksx", "/v2.0/network"},
		"/v2.0/*/{id}/tags":      {"/v2.0/a/b/tags", "/v2.0/a/tags /v2.0/a/b/c/tags /v2.0//b/tags"},
		"/a*c":                   {"/abc /abbbc", "/ac /a/c /abcd"},
		"/**/tags/**":            {"/a/tags/x /a/b/tags/x/y //tags/", "/tags/x /a/tags"},
		"/**":                    {"/ /x/y", "x"},
		"/***":                   {"/x /x/y", "/ /x/"},
		"/{open":                 {"/{open", "/x"},
		strings.Repeat("/**", 9): {strings.Repeat("/a", 2000), strings.Repeat("a/", 9)},
	} {
		for _, p := range strings.Fields(c.yes) {
			if !pathMatches(pattern, p) {
				t.Errorf("%s does not match %.40s", pattern, p)
			}
		}
		for _, p := range strings.Fields(c.no) {
			if pathMatches(pattern, p) {
				t.Errorf("%s matches %.40s", pattern, p)
			}
		}
	}
	r := AccessRule{"network", "GET", "/v2.0/**"}
	for _, c := range []struct {
		service, method, path string
		want                  bool
	}{
		{"network", "GET", "/v2.0/ports", true}, {"network", "HEAD", "/v2.0/ports", false}, {"network", "DELETE", "/v2.0/ports", false},
		{"identity", "GET", "/v2.0/ports", false}, {"network", "GET", "/v2.0/" + strings.Repeat("x", maxRuledPath), false},
	} {
		if r.Permits(c.service, c.method, c.path) != c.want {
			t.Errorf("%.60v", c)
		}
	}
}

func TestAccessRules(t *testing.T) {
	w := newWorld(t)
	admin, token := w.login("admin", secret, projectScope("admin")), w.login("demo", "demo secret", projectScope("demo"))
	demo, _ := findUser(w.st.Snapshot(), "demo", DefaultDomain)
	boss, _ := findUser(w.st.Snapshot(), "admin", DefaultDomain)
	user := "/v3/users/" + demo.ID
	create := func(name, rules string, want int) (cred map[string]any, made string) {
		t.Helper()
		m, _ := w.do(token, "POST", user+"/application_credentials", fmt.Sprintf(`{"application_credential":{"name":%q,"unrestricted":true,"access_rules":%s}}`, name, rules), want)
		if want != 201 {
			return nil, ""
		}
		cred = m["application_credential"].(map[string]any)
		_, h := w.do("", "POST", "/v3/auth/tokens", appAuth(fmt.Sprintf(`"id":%q,"secret":%q`, cred["id"], cred["secret"])), 201)
		return cred, h.Get("X-Subject-Token")
	}
	for _, rules := range []string{`7`, `{}`, `[7]`, `[{}]`, `[{"service":"network","method":"get","path":"/x"}]`, `[{"service":"network","method":"GET","path":"x"}]`,
		`[{"service":"network","method":"GET"}]`, `[{"method":"GET","path":"/x"}]`, `[{"id":"x","service":"network","method":"GET","path":"/x"}]`, `[{"id":7}]`,
		`[{"service":"network","method":"GET","path":"/` + strings.Repeat("x", maxRulePath) + `"}]`, `[` + strings.Repeat(`{"id":"x"},`, maxAccessRules) + `{"id":"x"}]`} {
		create("bad", rules, 400)
	}
	create("bad", `[{"id":"none"}]`, 404)
	if accessRules.Len(w.st.Snapshot()) != 0 {
		t.Error("a refused credential left rules behind")
	}
	ports, ruled := create("ports", `[{"service":"network","method":"GET","path":"/v2.0/ports/*"},{"service":"identity","method":"GET","path":"`+user+`/access_rules"},{"service":"network","method":"GET","path":"/v2.0/ports/*"}]`, 201)
	l := ports["access_rules"].([]any)
	if len(l) != 2 || dig(l[0].(map[string]any), "path") != "/v2.0/ports/*" || dig(l[1].(map[string]any), "service") != "identity" {
		t.Fatalf("rules %v", l)
	}
	id := l[0].(map[string]any)["id"].(string)
	same, _ := create("same", `[{"id":"`+id+`"},{"service":"network","method":"GET","path":"/v2.0/ports/*"}]`, 201)
	if l := same["access_rules"].([]any); len(l) != 1 || dig(l[0].(map[string]any), "id") != id {
		t.Errorf("an equal rule is made twice: %v", l)
	}
	free, everything := create("free", `[]`, 201)
	if _, has := free["access_rules"]; has {
		t.Errorf("no rules: %v", free)
	}
	// Their collection.
	m, _ := w.do(token, "GET", user+"/access_rules", "", 200)
	if l := m["access_rules"].([]any); len(l) != 2 {
		t.Errorf("list %v", l)
	}
	m, _ = w.do(admin, "GET", user+"/access_rules?service=network&method=GET&path=/v2.0/ports/*", "", 200)
	if l := m["access_rules"].([]any); len(l) != 1 || dig(l[0].(map[string]any), "id") != id {
		t.Errorf("list by content %v", l)
	}
	m, _ = w.do(token, "GET", user+"/access_rules/"+id, "", 200)
	if dig(m, "access_rule", "method") != "GET" || dig(m, "access_rule", "links", "self") != "http://127.0.0.1:5000"+user+"/access_rules/"+id {
		t.Errorf("show %v", m)
	}
	w.do(token, "GET", "/v3/users/"+boss.ID+"/access_rules", "", 403)
	w.do(admin, "GET", "/v3/users/"+boss.ID+"/access_rules/"+id, "", 404)
	w.do(admin, "DELETE", "/v3/users/"+boss.ID+"/access_rules/"+id, "", 404)
	w.do(token, "DELETE", user+"/access_rules/"+id, "", 403) // in use
	w.do(admin, "POST", "/v3/users/"+boss.ID+"/application_credentials", `{"application_credential":{"name":"of another","access_rules":[{"id":"`+id+`"}]}}`, 404)
	// Validation: only who enforces rules is told of the token.
	w.do(admin, "GET", "/v3/auth/tokens", "", 404, "X-Subject-Token", ruled)
	w.do(admin, "GET", "/v3/auth/tokens", "", 404, "X-Subject-Token", ruled, accessRulesHeader, "0.9")
	m, _ = w.do(admin, "GET", "/v3/auth/tokens", "", 200, "X-Subject-Token", ruled, accessRulesHeader, "1.0")
	if l := dig(m, "token", "application_credential", "access_rules").([]any); len(l) != 2 {
		t.Errorf("token %v", m)
	}
	m, _ = w.do(admin, "GET", "/v3/auth/tokens", "", 200, "X-Subject-Token", everything)
	if dig(m, "token", "application_credential", "access_rules") != nil {
		t.Errorf("token without rules %v", m)
	}
	// Identity itself, with this token and one made from it.
	_, h := w.do("", "POST", "/v3/auth/tokens", `{"auth":{"identity":{"methods":["token"],"token":{"id":"`+ruled+`"}}}}`, 201)
	for _, tok := range []string{ruled, h.Get("X-Subject-Token")} {
		w.do(tok, "GET", "/v3/auth/tokens", "", 200, "X-Subject-Token", tok, accessRulesHeader, "1.0")
		w.do(tok, "GET", user+"/access_rules", "", 200)
		w.do(tok, "GET", user+"/access_rules/"+id, "", 401)
		w.do(tok, "GET", "/v3/auth/projects", "", 401)
		w.do(tok, "DELETE", "/v3/auth/tokens", "", 401, "X-Subject-Token", tok)
		w.do(tok, "POST", user+"/application_credentials", `{"application_credential":{"name":"more"}}`, 401)
		// The network service.
		for request, want := range map[string]bool{"GET /v2.0/ports/x": true, "GET /v2.0/ports": false, "DELETE /v2.0/ports/x": false, "GET " + user + "/access_rules": false} {
			method, path, _ := strings.Cut(request, " ")
			r := httptest.NewRequest(method, path, nil)
			r.Header.Set("X-Auth-Token", tok)
			if p, err := Admit(w.svc, "network", r); (err == nil) != want || (p.UserID != "") != want {
				t.Errorf("%s: %v", request, err)
			}
			if p, err := w.svc.Authenticate(r); err == nil {
				t.Errorf("%s: the admin API lets %s in", request, p.UserName)
			}
			r.Header.Set("Authorization", "Bearer "+tok)
			r.Header.Del("X-Auth-Token")
			if _, err := w.svc.Authenticate(r); err == nil {
				t.Errorf("%s: the admin API lets a bearer in", request)
			}
		}
	}
	w.do(everything, "GET", "/v3/auth/projects", "", 200)
	// Ends.
	w.do(token, "DELETE", user+"/application_credentials/"+ports["id"].(string), "", 204)
	w.do(token, "DELETE", user+"/access_rules/"+id, "", 403)
	w.do(token, "DELETE", user+"/application_credentials/"+same["id"].(string), "", 204)
	w.do(token, "DELETE", user+"/access_rules/"+id, "", 204)
	w.do(token, "DELETE", user+"/access_rules/"+id, "", 404)
	w.do(admin, "DELETE", user, "", 204)
	if n := accessRules.Len(w.st.Snapshot()); n != 0 {
		t.Errorf("%d rules of a user who is gone", n)
	}
}

// TestAccessRuleBounds: a user has so many rules at most, and they go with his domain.
func TestAccessRuleBounds(t *testing.T) {
	w := newWorld(t)
	demo, _ := findUser(w.st.Snapshot(), "demo", DefaultDomain)
	if _, err := w.st.Commit(t.Context(), store.Origin{}, func(tx *store.Txn) error {
		for i := range maxUserRules {
			id := fmt.Sprint(i)
			accessRules.Put(tx, id, userRule{id, demo.ID, AccessRule{"network", "GET", "/" + id}})
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	token, path := w.login("demo", "demo secret", projectScope("demo")), "/v3/users/"+demo.ID+"/application_credentials"
	body := `{"application_credential":{"name":%q,"access_rules":[{"service":"network","method":"GET","path":%q}]}}`
	w.do(token, "POST", path, fmt.Sprintf(body, "one too many", "/new"), 403)
	w.do(token, "POST", path, fmt.Sprintf(body, "an old one", "/7"), 201)
	if n := accessRules.Len(w.st.Snapshot()); n != maxUserRules {
		t.Errorf("%d rules", n)
	}
	admin := w.login("admin", secret, projectScope("admin"))
	m, _ := w.do(admin, "POST", "/v3/domains", `{"domain":{"name":"passing","enabled":false}}`, 201)
	domain := dig(m, "domain", "id").(string)
	m, _ = w.do(admin, "POST", "/v3/users", `{"user":{"name":"passing","domain_id":"`+domain+`"}}`, 201)
	passing := dig(m, "user", "id").(string)
	if _, err := w.st.Commit(t.Context(), store.Origin{}, func(tx *store.Txn) error {
		accessRules.Put(tx, "passing", userRule{"passing", passing, AccessRule{"network", "GET", "/"}})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	w.do(admin, "DELETE", "/v3/domains/"+domain, "", 204)
	if n := accessRules.Len(w.st.Snapshot()); n != maxUserRules {
		t.Errorf("%d rules after the domain's end", n)
	}
}

// TestRulesLost: of a credential whose rules are gone, however that came, nothing is left.
func TestRulesLost(t *testing.T) {
	s := &session{claims: &claims{Expires: time.Now().UnixMicro()}, rules: []userRule{}}
	if p := s.principal(); p.permitted("network", "GET", "/") {
		t.Error("no rule is taken for no restriction")
	}
}
