// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

func appAuth(fields string) string {
	return fmt.Sprintf(`{"auth":{"identity":{"methods":["application_credential"],"application_credential":{%s}}}}`, fields)
}

// roleNames are the roles of a token's body.
func roleNames(m map[string]any) (out []string) {
	l, _ := dig(m, "token", "roles").([]any)
	for _, r := range l {
		out = append(out, r.(map[string]any)["name"].(string))
	}
	return out
}

func TestApplicationCredentials(t *testing.T) {
	w := newWorld(t)
	w.addUser("worker", "working hard", RoleMember, "demo")
	u, _ := findUser(w.st.Snapshot(), "worker", DefaultDomain)
	id := u.ID
	admin := w.login("admin", secret, projectScope("admin"))
	role := func(name string) string {
		m, _ := w.do(admin, "GET", "/v3/roles?name="+name, "", 200)
		return m["roles"].([]any)[0].(map[string]any)["id"].(string)
	}
	m, _ := w.do(admin, "GET", "/v3/projects?name=demo", "", 200)
	demo := m["projects"].([]any)[0].(map[string]any)["id"].(string)
	w.do(admin, "PUT", "/v3/projects/"+demo+"/users/"+id+"/roles/"+role(RoleReader), "", 204)
	token := w.login("worker", "working hard", projectScope("demo"))
	base := "/v3/users/" + id + "/application_credentials"
	create := func(token, fields string, want int) (string, string) {
		t.Helper()
		m, _ := w.do(token, "POST", base, `{"application_credential":{`+fields+`}}`, want)
		a, _ := m["application_credential"].(map[string]any)
		cred, _ := a["id"].(string)
		s, _ := a["secret"].(string)
		return cred, s
	}
	// What it is, and who may ask.
	all, allSecret := create(token, `"name":"all"`, 201)
	read, readSecret := create(token, `"name":"read","roles":[{"name":"reader"}],"secret":"chosen by hand"`, 201)
	free, freeSecret := create(token, `"name":"free","unrestricted":true,"roles":[{"id":"`+role(RoleMember)+`"}]`, 201)
	if readSecret != "chosen by hand" || len(allSecret) < 32 {
		t.Errorf("secrets %q, %q", readSecret, allSecret)
	}
	for _, c := range []struct {
		fields string
		code   int
	}{
		{`"name":"all"`, 409}, {`"name":""`, 400}, {`"name":7`, 400}, {`"description":"x"`, 400}, {`"name":"x","roles":[{"name":"admin"}]`, 400}, {`"name":"x","roles":[{}]`, 400},
		{`"name":"x","roles":[null]`, 400}, {`"name":"x","roles":"member"`, 400}, {`"name":"x","expires_at":"2020-01-01T00:00:00"`, 400}, {`"name":"x","expires_at":"soon"`, 400}, {`"name":"x","expires_at":7`, 400},
		{`"name":"x","unrestricted":"yes"`, 400},
	} {
		create(token, c.fields, c.code)
	}
	create(admin, `"name":"for another"`, 403)
	create(w.login("worker", "working hard", `"unscoped"`), `"name":"of nothing"`, 400)
	other := w.login("demo", "demo secret", projectScope("demo"))
	w.do(other, "GET", base, "", 403)
	w.do(other, "DELETE", base+"/"+all, "", 403)
	m, _ = w.do(admin, "GET", base, "", 200)
	if l := m["application_credentials"].([]any); len(l) != 3 || l[0].(map[string]any)["secret"] != nil || strings.Contains(fmt.Sprint(m), "hash") {
		t.Errorf("list: %v", m)
	}
	m, _ = w.do(token, "GET", base+"?name=read", "", 200)
	if l := m["application_credentials"].([]any); len(l) != 1 || dig(l[0].(map[string]any), "project_id") != demo {
		t.Errorf("list by name: %v", m)
	}
	w.do(token, "GET", base+"/"+read, "", 200)
	w.do(token, "GET", base+"/none", "", 404)
	w.do(admin, "GET", "/v3/users/"+dig(func() map[string]any {
		m, _ := w.do(admin, "GET", "/v3/auth/tokens", "", 200, "X-Subject-Token", admin)
		return m
	}(), "token", "user", "id").(string)+"/application_credentials/"+read, "", 404)

	// Logins.
	in := func(fields string, want int) (map[string]any, string) {
		t.Helper()
		m, h := w.do("", "POST", "/v3/auth/tokens", appAuth(fields), want)
		return m, h.Get("X-Subject-Token")
	}
	byID := func(id, secret string) string { return fmt.Sprintf(`"id":%q,"secret":%q`, id, secret) }
	m, allToken := in(byID(all, allSecret), 201)
	if got := roleNames(m); len(got) != 2 || dig(m, "token", "project", "id") != demo || dig(m, "token", "application_credential", "restricted") != true {
		t.Errorf("token %v", m)
	}
	m, readToken := in(`"name":"read","secret":"chosen by hand","user":{"name":"worker","domain":{"name":"Default"}}`, 201)
	if got := roleNames(m); len(got) != 1 || got[0] != RoleReader {
		t.Errorf("roles %v", got)
	}
	in(`"name":"read","secret":"chosen by hand","user":{"id":"`+id+`"}`, 201)
	_, freeToken := in(byID(free, freeSecret), 201)
	for _, fields := range []string{byID(all, "wrong"), byID(all, readSecret), byID("none", allSecret), `"name":"all","secret":"x","user":{"name":"nobody","domain":{"id":"default"}}`,
		`"name":"none","secret":"x","user":{"id":"` + id + `"}`, byID(all, "")} {
		in(fields, 401)
	}
	for _, fields := range []string{``, `"id":"` + all + `"`, `"secret":"x"`, `"secret":"x","name":"all"`, `"id":"` + all + `","secret":7`} {
		in(fields, 400)
	}
	// It stays on its project and in its roles, also when a token is made from its token.
	again := func(token, scope string, want int) (map[string]any, string) {
		t.Helper()
		m, h := w.do("", "POST", "/v3/auth/tokens", `{"auth":{"identity":{"methods":["token"],"token":{"id":"`+token+`"}}`+scope+`}}`, want)
		return m, h.Get("X-Subject-Token")
	}
	m, chained := again(readToken, `,"scope":`+projectScope("demo"), 201)
	if got := roleNames(m); len(got) != 1 || got[0] != RoleReader {
		t.Errorf("a token from a token has roles %v", got)
	}
	m, _ = w.do(admin, "GET", "/v3/projects?name=admin", "", 200)
	adminProject := m["projects"].([]any)[0].(map[string]any)["id"].(string)
	w.do(admin, "PUT", "/v3/projects/"+adminProject+"/users/"+id+"/roles/"+role(RoleMember), "", 204)
	again(readToken, `,"scope":`+projectScope("admin"), 401)
	again(readToken, `,"scope":"unscoped"`, 401)
	w.do("", "POST", "/v3/auth/tokens", strings.TrimSuffix(appAuth(byID(all, allSecret)), "}}")+`,"scope":`+projectScope("admin")+`}}`, http.StatusUnauthorized)
	// A restricted one makes and deletes no others.
	create(allToken, `"name":"y"`, 403)
	w.do(allToken, "DELETE", base+"/"+read, "", 403)
	w.do(allToken, "GET", base, "", 200)
	create(freeToken, `"name":"z"`, 201)

	// Ends: the credential's own, its roles', its user's, its project's.
	brief, briefSecret := create(token, `"name":"brief","expires_at":"`+w.now.Add(10*time.Minute).Format("2006-01-02T15:04:05.000000")+`"`, 201)
	m, briefToken := in(byID(brief, briefSecret), 201)
	if got := dig(m, "token", "expires_at"); got != "2025-11-22T08:10:00.123456Z" {
		t.Errorf("a token beyond its credential: %v", got)
	}
	w.now = w.now.Add(11 * time.Minute)
	if w.valid(briefToken) {
		t.Error("the token lives on beyond its credential")
	}
	in(byID(brief, briefSecret), 401)
	w.do(token, "DELETE", base+"/"+all, "", 204)
	w.do(token, "DELETE", base+"/"+all, "", 404)
	if w.valid(allToken) || !w.valid(readToken) || !w.valid(chained) {
		t.Error("tokens of a deleted credential, or of another")
	}
	w.do(admin, "DELETE", "/v3/projects/"+demo+"/users/"+id+"/roles/"+role(RoleReader), "", 204)
	if w.valid(readToken) || w.valid(chained) || !w.valid(freeToken) {
		t.Error("a credential has a role that its user has lost")
	}
	w.do(admin, "PATCH", "/v3/users/"+id, `{"user":{"enabled":false}}`, 200)
	if w.valid(freeToken) {
		t.Error("a credential of a disabled user")
	}
	w.do(admin, "PATCH", "/v3/users/"+id, `{"user":{"enabled":true}}`, 200)
	in(byID(free, freeSecret), 201)
	w.do(admin, "DELETE", "/v3/projects/"+demo, "", 204)
	in(byID(free, freeSecret), 401)
	if n := appCredentials.Len(w.st.Snapshot()); n != 0 {
		t.Errorf("%d credentials of a project that is gone", n)
	}
	w.do(admin, "GET", base, "", 200)
	mine := "/v3/users/" + id + "/application_credentials"
	late := w.login("worker", "working hard", projectScope("admin"))
	w.do(late, "POST", mine, `{"application_credential":{"name":"late"}}`, 201)
	w.do(admin, "DELETE", "/v3/users/"+id, "", 204)
	if n := appCredentials.Len(w.st.Snapshot()); n != 0 {
		t.Errorf("%d credentials of a user who is gone", n)
	}
}

// TestApplicationCredentialGuessing: wrong secrets are counted.
func TestApplicationCredentialGuessing(t *testing.T) {
	w := newWorld(t)
	for range freePerUser + 1 {
		w.do("", "POST", "/v3/auth/tokens", appAuth(`"id":"x","secret":"guess"`), 401)
	}
	w.do("", "POST", "/v3/auth/tokens", appAuth(`"id":"x","secret":"guess"`), 429)
}
