// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"net/http"
	"slices"
	"strings"

	"nagare/internal/store"
	"nagare/internal/tables"
)

// Access rules: what a token of an application credential may ask of which service, where the credential has such rules. They are
// the user's, and several of his credentials may have the same one; one that is in use is not deleted. Services enforce them
// themselves: we for Neutron and Identity (see Admit), others if they are Keystone's clients that know of rules.

// AccessRule permits one method on the paths of a pattern of a service.
type AccessRule struct {
	Service string `json:"service"` // type, as in the catalog
	Method  string `json:"method"`
	// Path is a pattern: * and {name} stand for one segment, ** for any rest, slashes included, the remainder for itself.
	Path string `json:"path"`
}

// userRule is an access rule as a user's object.
type userRule struct {
	ID   string `json:"id"`
	User string `json:"user"`
	AccessRule
}

var (
	accessRules       = store.Declare[string, userRule](tables.Schema, "identity-access-rules", store.Intent)
	accessRulesByUser = store.DeclareIndex(tables.Schema, accessRules, "user", func(a userRule) []string { return []string{a.User} })
)

const (
	// maxAccessRules bounds those of a credential, and of a user.
	maxAccessRules, maxUserRules = 100, 1000
	maxRulePath                  = 128
	// maxRuledPath bounds the paths that rules are tried on; a longer one is permitted by none.
	maxRuledPath = 4096
)

var ruleMethods = []string{"POST", "GET", "HEAD", "PATCH", "PUT", "DELETE"}

// Permits reports whether the rule lets a request of the service pass. Methods are compared as they stand: GET permits no HEAD.
func (a *AccessRule) Permits(service, method, path string) bool {
	return a.Service == service && a.Method == method && len(path) <= maxRuledPath && pathMatches(a.Path, path)
}

// pathMatches tells whether a path is one of a pattern's, in time of the product of their lengths whatever the pattern.
func pathMatches(pattern, path string) bool {
	// at[i]: what was read of the pattern may stand for path[:i].
	at := make([]bool, len(path)+1)
	at[0] = true
	for pattern != "" {
		switch {
		case strings.HasPrefix(pattern, "**"):
			pattern = pattern[2:]
			for i := 1; i < len(at); i++ {
				at[i] = at[i] || at[i-1]
			}
			continue
		case pattern[0] == '*':
			pattern = pattern[1:]
		case pattern[0] == '{' && strings.Contains(pattern, "}"):
			pattern = pattern[strings.IndexByte(pattern, '}')+1:]
		default:
			for i := len(at) - 1; i > 0; i-- {
				at[i] = at[i-1] && path[i-1] == pattern[0]
			}
			at[0] = false
			pattern = pattern[1:]
			continue
		}
		// One character at least, none of them a slash.
		was := at[0]
		at[0] = false
		for i := 1; i < len(at); i++ {
			old := at[i]
			at[i] = path[i-1] != '/' && (at[i-1] || was)
			was = old
		}
	}
	return at[len(path)]
}

func (u *userRule) body() map[string]any {
	return map[string]any{"id": u.ID, "service": u.Service, "method": u.Method, "path": u.Path}
}

func (c *call) renderAccessRule(u *userRule) map[string]any {
	m := u.body()
	m["links"] = map[string]any{"self": c.cfg.PublicURL + "/users/" + u.User + "/access_rules/" + u.ID}
	return m
}

func (c *call) listAccessRules() error {
	q := c.r.URL.Query()
	out := []any{}
	for u := range accessRulesByUser.By(c.snap, c.r.PathValue("id")) {
		m := c.renderAccessRule(&u)
		if !slices.ContainsFunc([]string{"service", "method", "path"}, func(f string) bool { return q.Has(f) && q.Get(f) != m[f] }) {
			out = append(out, m)
		}
	}
	return c.ok(200, map[string]any{"access_rules": out, "links": c.links(strings.TrimPrefix(c.r.URL.Path, "/v3"))})
}

func (c *call) accessRule(r store.Reader) (userRule, error) {
	id := c.r.PathValue("rule")
	u, ok := accessRules.Get(r, id)
	if !ok || u.User != c.r.PathValue("id") {
		return u, notFound("access rule", id)
	}
	return u, nil
}

func (c *call) showAccessRule() error {
	u, err := c.accessRule(c.snap)
	if err != nil {
		return err
	}
	return c.ok(200, map[string]any{"access_rule": c.renderAccessRule(&u)})
}

func (c *call) deleteAccessRule() error {
	err := c.commit(func(tx *store.Txn) error {
		u, err := c.accessRule(tx)
		if err != nil {
			return err
		}
		for a := range appCredsByUser.By(tx, u.User) { // at most maxAppCredentials
			if slices.Contains(a.AccessRules, u.ID) {
				return &fault{http.StatusForbidden, "Access rule " + u.ID + " is in use by the application credential " + a.ID + "; delete that first."}
			}
		}
		accessRules.Delete(tx, u.ID)
		return nil
	})
	if err != nil {
		return err
	}
	return c.none()
}

func forgetAccessRules(tx *store.Txn, user string) {
	for u := range accessRulesByUser.By(tx, user) {
		accessRules.Delete(tx, u.ID)
	}
}

// askedRules reads the rules of a body: [{"service","method","path"}], or [{"id"}] for one that the user has. Those with an id have no
// content yet. None is no restriction, as in Keystone.
func askedRules(v any) ([]userRule, error) {
	l, ok := v.([]any)
	if v != nil && !ok || len(l) > maxAccessRules {
		return nil, badRequest("Invalid input for field 'access_rules': a list of at most %d rules is wanted.", maxAccessRules)
	}
	var out []userRule
	for i, x := range l {
		m, ok := x.(map[string]any)
		bad := func(what string) error { return badRequest("Invalid input for field 'access_rules[%d]': %s.", i, what) }
		if !ok {
			return nil, bad("an object is wanted")
		}
		u := userRule{}
		if err := firstErr(text(m, "id", &u.ID), text(m, "service", &u.Service), text(m, "method", &u.Method), text(m, "path", &u.Path)); err != nil {
			return nil, err
		}
		content := u.AccessRule != AccessRule{}
		switch {
		case u.ID != "" && content:
			return nil, bad("an id, or service, method and path, are wanted")
		case u.ID != "":
		case !slices.Contains(ruleMethods, u.Method):
			return nil, bad("the method is one of " + strings.Join(ruleMethods, ", "))
		case u.Service == "" || len(u.Service) > 64 || strings.ContainsRune(u.Service, 0):
			return nil, bad("the service is the type of one in the catalog, like network")
		case !strings.HasPrefix(u.Path, "/") || len(u.Path) > maxRulePath || strings.ContainsRune(u.Path, 0):
			return nil, bad("the path begins with / and has at most 128 characters")
		}
		out = append(out, u)
	}
	return out, nil
}

// takeRules finds or makes the rules of a user's new credential.
func takeRules(tx *store.Txn, user string, asked []userRule) (ids []string, err error) {
	if len(asked) == 0 {
		return nil, nil
	}
	have, n := map[AccessRule]string{}, 0
	for u := range accessRulesByUser.By(tx, user) {
		have[u.AccessRule] = u.ID
		n++
	}
	for _, a := range asked {
		id := a.ID
		if id != "" {
			if u, ok := accessRules.Get(tx, id); !ok || u.User != user {
				return nil, notFound("access rule", id)
			}
		} else if id = have[a.AccessRule]; id == "" {
			if n++; n > maxUserRules {
				return nil, &fault{http.StatusForbidden, "Unable to create additional access rules, maximum of 1000 already exceeded for user; delete some that no credential uses."}
			}
			id = newID()
			have[a.AccessRule] = id
			accessRules.Put(tx, id, userRule{id, user, a.AccessRule})
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// rulesOf are a credential's, nil if it has none and may everything.
func rulesOf(r store.Reader, a *AppCredential) []userRule {
	if len(a.AccessRules) == 0 {
		return nil
	}
	out := make([]userRule, 0, len(a.AccessRules))
	for _, id := range a.AccessRules {
		if u, ok := accessRules.Get(r, id); ok {
			out = append(out, u)
		}
	}
	return out
}

func ruleBodies(rules []userRule) []any {
	out := make([]any, len(rules))
	for i := range rules {
		out[i] = rules[i].body()
	}
	return out
}
