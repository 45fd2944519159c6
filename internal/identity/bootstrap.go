// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"nagare/internal/model"
	"nagare/internal/store"
)

// Option adjusts Bootstrap.
type Option func(*bootstrap)

type bootstrap struct {
	demo  string
	newID func(kind, name string) string
	cost  int
}

// WithDemoPassword gives the user demo a password of its own; without it, demo has the one given to Bootstrap.
func WithDemoPassword(p string) Option { return func(b *bootstrap) { b.demo = p } }

// WithIDs makes f choose the ids of what Bootstrap creates; kind is "project", "user" or "role". An empty answer means a
// fresh id.
func WithIDs(f func(kind, name string) string) Option { return func(b *bootstrap) { b.newID = f } }

// WithPasswordCost sets bcrypt's cost; for tests.
func WithPasswordCost(n int) Option { return func(b *bootstrap) { b.cost = n } }

// Bootstrap makes what a cloud needs to begin: the domain Default, the roles, the projects admin and demo, the user admin
// (role admin on both) and the user demo (role member on demo), and the key that signs tokens. A store that was bootstrapped
// before is left as it is and needs no password, so it may run at every start.
func Bootstrap(ctx context.Context, st *store.Store, password string, opts ...Option) error {
	if Bootstrapped(st.Snapshot()) {
		return nil
	}
	b := bootstrap{demo: password, newID: func(string, string) string { return "" }, cost: bcryptCost}
	for _, o := range opts {
		o(&b)
	}
	if password == "" || b.demo == "" {
		return errors.New("identity bootstrap: no administrator's password given; set one (there is no default)")
	}
	// Hash outside the transaction: it is slow and would hold up every writer.
	var hashes [2]string
	for i, p := range []string{password, b.demo} {
		var err error
		if hashes[i], err = hashPassword(p, b.cost); err != nil {
			return err
		}
	}
	_, err := st.Commit(ctx, store.Origin{User: "bootstrap", Action: "identity bootstrap"}, func(tx *store.Txn) error {
		if Bootstrapped(tx) { // by another member meanwhile
			return nil
		}
		secret := make([]byte, 32)
		rand.Read(secret)
		keys.Put(tx, currentKey, signingKey{ID: currentKey, Secret: secret})
		domains.Put(tx, DefaultDomain, Domain{ID: DefaultDomain, Name: "Default", Description: "The default domain", Enabled: true})
		roleID := map[string]string{}
		for _, name := range []string{RoleAdmin, RoleManager, RoleMember, RoleReader, RoleService} {
			r := Role{ID: b.id("role", name), Name: name}
			roles.Put(tx, r.ID, r)
			roleID[name] = r.ID
		}
		for i, name := range []string{"admin", "demo"} {
			p := Project{ID: model.ProjectID(b.id("project", name)), Name: name, Domain: DefaultDomain, Enabled: true}
			projects.Put(tx, p.ID, p)
			u := User{ID: b.id("user", name), Name: name, Domain: DefaultDomain, Enabled: true, DefaultProject: p.ID, PasswordHash: hashes[i]}
			users.Put(tx, u.ID, u)
		}
		for _, g := range [][3]string{{"admin", RoleAdmin, "admin"}, {"admin", RoleAdmin, "demo"}, {"demo", RoleMember, "demo"}} {
			u, _ := findUser(tx, g[0], DefaultDomain)
			p, _ := FindProject(tx, g[2])
			a := Assignment{User: u.ID, Role: roleID[g[1]], Target: projectTarget(p.ID)}
			assignments.Put(tx, a.key(), a)
		}
		return nil
	})
	return err
}

// Bootstrapped reports whether Bootstrap has run on the state.
func Bootstrapped(r store.Reader) bool {
	_, ok := keys.Get(r, currentKey)
	return ok
}

// SetPassword changes the password of a user of the domain Default without knowing the old one, for an operator who lost it.
// The user's tokens end.
func SetPassword(ctx context.Context, st *store.Store, name, password string) error {
	if password == "" {
		return errors.New("password: empty; give one")
	}
	hash, err := hashPassword(password, bcryptCost)
	if err != nil {
		return err
	}
	_, err = st.Commit(ctx, store.Origin{User: "operator", Action: "set password"}, func(tx *store.Txn) error {
		u, ok := findUser(tx, name, DefaultDomain)
		if !ok {
			return fmt.Errorf("user %s: not found in domain Default", name)
		}
		u.PasswordHash, u.NotBefore = hash, time.Now().UTC()
		users.Put(tx, u.ID, u)
		return nil
	})
	return err
}

func (b *bootstrap) id(kind, name string) string {
	if id := b.newID(kind, name); id != "" {
		return id
	}
	return newID()
}

// newID gives an id as Keystone writes them: a UUID without dashes.
func newID() string { return strings.ReplaceAll(uuid.NewString(), "-", "") }

func findUser(r store.Reader, name, domain string) (User, bool) {
	for u := range usersByName.By(r, name) {
		if u.Domain == domain && u.Name == name {
			return u, true
		}
	}
	return User{}, false
}
