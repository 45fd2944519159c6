// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"nagare/internal/store"
)

// request has the headers and comes from a client of the address.
func request(remote string, header ...string) *http.Request {
	r := httptest.NewRequest("GET", "/controller/nb/v2/neutron/networks", nil)
	r.RemoteAddr = remote + ":40000"
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

func basicHeader(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

const neutronHost = "192.0.2.10"

func (w *world) basic(remote, user, password string) (Principal, error) {
	return w.svc.Authenticate(request(remote, "Authorization", basicHeader(user, password)))
}

func TestAuthenticate(t *testing.T) {
	w := newWorld(t)
	admin := w.login("admin", secret, projectScope("admin"))
	reader := w.addUser("watcher", "watching", RoleReader, "demo")
	for name, c := range map[string]struct {
		r    *http.Request
		user string
		role string
		proj string
	}{
		"basic":             {request(neutronHost, "Authorization", basicHeader("admin", secret)), "admin", RoleAdmin, "admin"},
		"basic, lower case": {request(neutronHost, "Authorization", "basic"+basicHeader("admin", secret)[5:]), "admin", RoleAdmin, "admin"},
		"member":            {request(neutronHost, "Authorization", basicHeader("demo", "demo secret")), "demo", RoleMember, "demo"},
		"no default":        {request(neutronHost, "Authorization", basicHeader("watcher", "watching")), reader, RoleReader, "demo"},
		"token":             {request(neutronHost, "X-Auth-Token", admin), "admin", RoleAdmin, "admin"},
		"bearer":            {request(neutronHost, "Authorization", "Bearer "+admin), "admin", RoleAdmin, "admin"},
		"cookie ignored": {request(neutronHost, "Cookie", "JSESSIONID=00", "Authorization", basicHeader("admin", secret)),
			"admin", RoleAdmin, "admin"},
	} {
		p, err := w.svc.Authenticate(c.r)
		if err != nil || p.UserName != c.user || !slices.Equal(p.Roles, []string{c.role}) || p.ProjectName != c.proj {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

// Check A1 of the northbound's contract: whatever is wrong, the answer is the same.
func TestAuthenticateRefuses(t *testing.T) {
	w := newWorld(t)
	admin := w.login("admin", secret, projectScope("admin"))
	ok := basicHeader("admin", secret)
	for name, r := range map[string]*http.Request{
		"nothing":          request(neutronHost),
		"wrong password":   request(neutronHost, "Authorization", basicHeader("admin", "wrong")),
		"no password":      request(neutronHost, "Authorization", basicHeader("admin", "")),
		"default of old":   request(neutronHost, "Authorization", basicHeader("admin", "admin")),
		"unknown user":     request(neutronHost, "Authorization", basicHeader("nobody", secret)),
		"no user":          request(neutronHost, "Authorization", basicHeader("", secret)),
		"not base64":       request(neutronHost, "Authorization", "Basic %%%"),
		"no colon":         request(neutronHost, "Authorization", "Basic YWRtaW4="),
		"no scheme":        request(neutronHost, "Authorization", ok[6:]),
		"digest":           request(neutronHost, "Authorization", `Digest username="admin"`),
		"two headers":      request(neutronHost, "Authorization", ok, "Authorization", basicHeader("demo", "demo secret")),
		"bad token":        request(neutronHost, "X-Auth-Token", admin+"x"),
		"bad token beside": request(neutronHost, "X-Auth-Token", "x", "Authorization", ok),
		"bearer":           request(neutronHost, "Authorization", "Bearer "),
		"cookie":           request(neutronHost, "Cookie", "token="+admin),
		"in the URL":       httptest.NewRequest("GET", "http://admin:"+secret[:7]+"@localhost/", nil),
		"huge password":    request(neutronHost, "Authorization", basicHeader("admin", string(make([]byte, 1<<14)))),
		"huge user":        request(neutronHost, "Authorization", basicHeader(string(make([]byte, 1<<14)), secret)),
	} {
		p, err := w.svc.Authenticate(r)
		if !errors.Is(err, ErrUnauthorized) || p.UserID != "" || err.Error() != ErrUnauthorized.Error() {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
		h := http.Header{}
		if code := Deny(h, err); code != 401 || h.Get("WWW-Authenticate") != Challenge {
			t.Errorf("%s: %d %v", name, code, h)
		}
	}
}

// addUser makes a user without a default project, with a role on a project.
func (w *world) addUser(name, password, role, project string) string {
	w.t.Helper()
	hash, err := hashPassword(password, bcrypt.MinCost)
	if err != nil {
		w.t.Fatal(err)
	}
	w.commit(func(tx *store.Txn) {
		u := User{ID: newID(), Name: name, Domain: DefaultDomain, Enabled: true, PasswordHash: hash}
		users.Put(tx, u.ID, u)
		p, _ := FindProject(tx, project)
		for r := range rolesByName.By(tx, role) {
			a := Assignment{User: u.ID, Role: r.ID, Target: projectTarget(p.ID)}
			assignments.Put(tx, a.key(), a)
		}
	})
	return name
}

func (w *world) commit(f func(*store.Txn)) {
	w.t.Helper()
	if _, err := w.st.Commit(context.Background(), store.Origin{}, func(tx *store.Txn) error { f(tx); return nil }); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) change(user string, f func(*User)) {
	w.commit(func(tx *store.Txn) {
		u, _ := findUser(tx, user, DefaultDomain)
		f(&u)
		users.Put(tx, u.ID, u)
	})
}

// Where a user has several projects and no default one, that on which it is administrator counts.
func TestBasicScopePrefersAdministration(t *testing.T) {
	w := newWorld(t)
	w.change("admin", func(u *User) { u.DefaultProject = "" })
	w.commit(func(tx *store.Txn) { // only a member of demo, whichever id is lower
		u, _ := findUser(tx, "admin", DefaultDomain)
		for a := range assignmentsByUser.By(tx, u.ID) {
			p, _ := FindProject(tx, "demo")
			if a.Target == projectTarget(p.ID) {
				assignments.Delete(tx, a.key())
				for r := range rolesByName.By(tx, RoleMember) {
					a.Role = r.ID
				}
				assignments.Put(tx, a.key(), a)
			}
		}
	})
	if p, err := w.basic(neutronHost, "admin", secret); err != nil || p.ProjectName != "admin" || !p.IsAdmin() {
		t.Errorf("%+v, %v", p, err)
	}
	w.change("admin", func(u *User) { p, _ := FindProject(w.st.Snapshot(), "demo"); u.DefaultProject = p.ID })
	if p, err := w.basic(neutronHost, "admin", secret); err != nil || p.ProjectName != "demo" || p.IsAdmin() {
		t.Errorf("with a default project: %+v, %v", p, err)
	}
	w.commit(func(tx *store.Txn) {
		u, _ := findUser(tx, "admin", DefaultDomain)
		forgetAssignments(tx, assignmentsByUser, u.ID)
	})
	if p, err := w.basic(neutronHost, "admin", secret); err != nil || len(p.Roles) != 0 || p.CanWrite() {
		t.Errorf("without any role: %+v, %v", p, err)
	}
}

// A remembered password ends with the record it was checked against, at once.
func TestRememberedPasswordEndsWithTheRecord(t *testing.T) {
	for name, f := range map[string]func(w *world){
		"disabled": func(w *world) { w.change("demo", func(u *User) { u.Enabled = false }) },
		"deleted": func(w *world) {
			w.commit(func(tx *store.Txn) { u, _ := findUser(tx, "demo", "default"); users.Delete(tx, u.ID) })
		},
		"password": func(w *world) {
			if err := SetPassword(context.Background(), w.st, "demo", "another"); err != nil {
				w.t.Fatal(err)
			}
		},
		"domain": func(w *world) {
			w.commit(func(tx *store.Txn) {
				d, _ := domains.Get(tx, DefaultDomain)
				d.Enabled = false
				domains.Put(tx, d.ID, d)
			})
		},
	} {
		w := newWorld(t)
		for range 2 {
			if _, err := w.basic(neutronHost, "demo", "demo secret"); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		f(w)
		if p, err := w.basic(neutronHost, "demo", "demo secret"); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
		if name == "password" {
			if p, err := w.basic(neutronHost, "demo", "another"); err != nil || p.UserName != "demo" {
				t.Errorf("new password: %+v, %v", p, err)
			}
		}
	}
}

// What is remembered ends; and only what is remembered spares the hash, which is seen by a record changed behind the store's back.
func TestRememberedPasswordEndsByTime(t *testing.T) {
	w := newWorld(t)
	if _, err := w.basic(neutronHost, "demo", "demo secret"); err != nil {
		t.Fatal(err)
	}
	u, _ := findUser(w.st.Snapshot(), "demo", DefaultDomain)
	info, _ := users.Info(w.st.Snapshot(), u.ID)
	has := func(password string) bool {
		return w.svc.verified.has(w.svc.verified.digest(u.ID, info.Modified, password), w.now)
	}
	if !has("demo secret") || has("demo secreT") || has("") {
		t.Error("remembered the wrong things")
	}
	w.now = w.now.Add(rememberFor)
	if has("demo secret") {
		t.Error("remembered for ever")
	}
	if _, err := w.basic(neutronHost, "demo", "wrong"); err == nil || has("wrong") {
		t.Error("a wrong password is remembered")
	}
}

func TestRememberedIsBounded(t *testing.T) {
	m := newRemembered()
	at := time.Unix(0, 0)
	for i := range 3 * rememberedMost {
		m.add(m.digest("u", store.Revision(i), ""), at)
	}
	if len(m.ends) > rememberedMost {
		t.Errorf("%d entries", len(m.ends))
	}
}

// locked tells how long the credentials are locked; 0 if they are not.
func (w *world) locked(remote, user, password string) time.Duration {
	_, err := w.basic(remote, user, password)
	var l *LockedError
	if errors.As(err, &l) {
		return l.RetryAfter
	}
	return 0
}

func TestGuessingIsDelayed(t *testing.T) {
	for _, user := range []string{"admin", "nobody"} { // alike, else a lock would tell who exists
		w := newWorld(t)
		for i := range freePerUser + 1 {
			if d := w.locked("198.51.100.1", user, fmt.Sprint(i)); d != 0 {
				t.Fatalf("%s: locked for %v after %d", user, d, i)
			}
		}
		if d := w.locked("198.51.100.1", user, secret); d != lockFirst {
			t.Errorf("%s: locked for %v, want %v, whatever the password", user, d, lockFirst)
		}
		if d := w.locked("198.51.100.2", user, secret); d != lockFirst {
			t.Errorf("%s: from another source: locked for %v", user, d)
		}
		_, err := w.basic("198.51.100.1", user, secret)
		h := http.Header{}
		if code := Deny(h, err); code != 429 || h.Get("Retry-After") != "1" {
			t.Errorf("%s: %d %v", user, code, h)
		}
		for i, want := range []time.Duration{2, 4, 8, 16, 32, 60, 60} {
			w.now = w.now.Add(lockMost)
			w.locked("198.51.100.1", user, "x")
			if d := w.locked("198.51.100.1", user, "x"); d != want*time.Second {
				t.Errorf("%s: lock %d is %v, want %ds", user, i, d, want)
			}
		}
	}
	w := newWorld(t)
	for i := range freePerUser {
		w.locked("198.51.100.1", "admin", fmt.Sprint(i))
	}
	if _, err := w.basic("198.51.100.1", "admin", secret); err != nil {
		t.Errorf("the right password within the free ones: %v", err)
	}
	for i := range freePerUser {
		if w.locked("198.51.100.9", "admin", fmt.Sprint(i)) != 0 {
			t.Error("the right password did not end the count")
		}
	}
}

// A stranger who guesses does not lock out the service that was right before, nor does its neighbours' guessing.
func TestKnownClientIsNotLockedOutByStrangers(t *testing.T) {
	w := newWorld(t)
	if _, err := w.basic(neutronHost, "admin", secret); err != nil {
		t.Fatal(err)
	}
	for i := range 3 * freePerUser {
		w.locked("198.51.100.1", "admin", fmt.Sprint(i))
	}
	for i := range freePerSource + 1 {
		w.locked(neutronHost, fmt.Sprint("user", i), "x")
	}
	if d := w.locked(neutronHost, "user", "x"); d == 0 {
		t.Error("the source is not locked")
	}
	if _, err := w.basic(neutronHost, "admin", secret); err != nil {
		t.Errorf("known client: %v", err)
	}
	// It is counted by itself: its own failures delay it, and nobody else.
	for i := range freePerPair + 1 {
		w.locked(neutronHost, "admin", fmt.Sprint(i))
	}
	if d := w.locked(neutronHost, "admin", secret); d == 0 {
		t.Error("a known client may guess for ever")
	}
	w.now = w.now.Add(lockMost)
	if _, err := w.basic(neutronHost, "admin", secret); err != nil {
		t.Errorf("after the lock: %v", err)
	}
	w.now = w.now.Add(forgetAfter + time.Second)
	if _, err := w.basic("198.51.100.1", "admin", secret); err != nil {
		t.Errorf("after a time without failures: %v", err)
	}
}

// Guesses sent all at once gain nothing.
func TestGuessesInParallel(t *testing.T) {
	w := newWorld(t)
	var tried, locked int
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			_, err := w.basic("198.51.100.1", "admin", fmt.Sprint(i))
			mu.Lock()
			defer mu.Unlock()
			if errors.Is(err, ErrUnauthorized) {
				tried++
			} else {
				locked++
			}
		})
	}
	wg.Wait()
	if most := freePerUser + 1 + cap(hashing); tried > most || locked == 0 {
		t.Errorf("%d guesses were tried, want at most %d", tried, most)
	}
}

// Identity's own logins count as well: guessing there would be the same.
func TestTokensAreGuarded(t *testing.T) {
	w := newWorld(t)
	for range freePerUser + 1 {
		w.do("", "POST", "/v3/auth/tokens", passwordAuth("demo", "wrong", ""), 401)
	}
	_, h := w.do("", "POST", "/v3/auth/tokens", passwordAuth("demo", "demo secret", ""), 429)
	if h.Get("Retry-After") != "1" {
		t.Errorf("headers %v", h)
	}
	if w.locked("203.0.113.7", "demo", "demo secret") == 0 {
		t.Error("not locked elsewhere")
	}
	w.now = w.now.Add(lockFirst)
	w.do("", "POST", "/v3/auth/tokens", passwordAuth("demo", "demo secret", ""), 201)
}

func TestGuardIsBounded(t *testing.T) {
	g := newGuard()
	at := time.Unix(0, 0)
	for i := range 2 * tracked {
		g.failed(g.attempt(fmt.Sprint(i), fmt.Sprintf("[2001:db8:%x::1]:1", i)), at)
		g.passed(g.attempt(fmt.Sprint(i), "192.0.2.1:1"), at)
	}
	for _, l := range []*lru{&g.bad, &g.good} {
		if len(l.m) > tracked || l.order.Len() != len(l.m) {
			t.Errorf("%d entries, %d in order", len(l.m), l.order.Len())
		}
	}
}

func TestSource(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:80": "192.0.2.1/32", "[2001:db8::1]:80": "2001:db8::/64", "[2001:db8::ffff:0:0:1]:1": "2001:db8::/64",
		"[::ffff:192.0.2.1]:9": "192.0.2.1/32", "[fe80::1%eth0]:9": "fe80::/64", "@": "invalid Prefix",
	} {
		if got := source(remote).String(); got != want {
			t.Errorf("%s: %s, want %s", remote, got, want)
		}
	}
}

func TestNoneAuthenticates(t *testing.T) {
	if p, err := (None{}).Authenticate(request(neutronHost)); err != nil || !p.IsAdmin() {
		t.Errorf("%+v, %v", p, err)
	}
}

// What a client that sends Basic with every request costs, once its password was seen to be right.
func BenchmarkAuthenticate(b *testing.B) {
	w := newWorld(&testing.T{})
	token := w.login("admin", secret, projectScope("admin"))
	for name, r := range map[string]*http.Request{
		"basic": request(neutronHost, "Authorization", basicHeader("admin", secret)),
		"token": request(neutronHost, "X-Auth-Token", token),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.svc.Authenticate(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
