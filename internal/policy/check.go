// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"regexp"
	"slices"
	"strings"
)

// Creds are what checks see of a caller.
type Creds struct {
	UserID, UserDomain, ProjectID string
	Roles                         []string
	System                        bool // the scope is the whole system
	Admin                         bool // is_admin
	Writer                        bool // has a role besides reader
}

// Target is the object that a check is about. What it does not have makes the check fail.
type Target interface {
	// Value is an attribute by name, or "network:project_id" and the like: the owner of what the object belongs to.
	Value(name string) (string, bool)
	// Field is an attribute of the object of a collection ("networks"): of the object itself, or of the one that it is on.
	Field(collection, name string) (string, bool)
}

// check is a parsed check string. rules are those that it may refer to.
type check interface {
	eval(rules map[string]check, t Target, c *Creds) bool
	refers(to func(rule string))
}

type (
	always  bool
	every   []check // and
	either  []check // or
	negated struct{ of check }
	ruleOf  string
	role    template
	// generic compares something of the caller, or a literal, with something of the object.
	generic struct {
		cred    string // key of creds, "" for a literal
		literal string
		match   template
	}
	field struct {
		collection, name, value string
		pattern                 *regexp.Regexp // instead of value
	}
)

func (a always) eval(map[string]check, Target, *Creds) bool { return bool(a) }
func (a always) refers(func(string))                        {}

func (a every) eval(rules map[string]check, t Target, c *Creds) bool {
	return !slices.ContainsFunc(a, func(x check) bool { return !x.eval(rules, t, c) })
}

func (a every) refers(to func(string)) {
	for _, x := range a {
		x.refers(to)
	}
}

func (a either) eval(rules map[string]check, t Target, c *Creds) bool {
	return slices.ContainsFunc(a, func(x check) bool { return x.eval(rules, t, c) })
}

func (a either) refers(to func(string)) { every(a).refers(to) }

func (n negated) eval(rules map[string]check, t Target, c *Creds) bool {
	return !n.of.eval(rules, t, c)
}
func (n negated) refers(to func(string)) { n.of.refers(to) }

func (r ruleOf) eval(rules map[string]check, t Target, c *Creds) bool {
	x, ok := rules[string(r)]
	return ok && x.eval(rules, t, c)
}
func (r ruleOf) refers(to func(string)) { to(string(r)) }

// eval compares names of roles without regard to case, as Keystone's are.
func (r role) eval(_ map[string]check, t Target, c *Creds) bool {
	want, ok := template(r).fill(t)
	return ok && slices.ContainsFunc(c.Roles, func(have string) bool { return strings.EqualFold(have, want) })
}
func (r role) refers(func(string)) {}

func (g generic) eval(_ map[string]check, t Target, c *Creds) bool {
	want, ok := g.match.fill(t)
	have := g.literal
	if g.cred != "" {
		if have = creds[g.cred](c); have == "" { // or who has no project would own what has none
			return false
		}
	}
	return ok && have == want
}
func (g generic) refers(func(string)) {}

// creds are the kinds of checks that ask about the caller.
var creds = map[string]func(*Creds) string{
	"user_id":        func(c *Creds) string { return c.UserID },
	"user_domain_id": func(c *Creds) string { return c.UserDomain },
	"domain_id":      func(c *Creds) string { return c.UserDomain },
	"project_id":     func(c *Creds) string { return c.ProjectID },
	"tenant_id":      func(c *Creds) string { return c.ProjectID },
	"tenant":         func(c *Creds) string { return c.ProjectID },
	"is_admin":       func(c *Creds) string { return truth(c.Admin) },
	"writer":         func(c *Creds) string { return truth(c.Writer) },
	"system_scope": func(c *Creds) string {
		if c.System {
			return "all"
		}
		return ""
	},
}

func truth(b bool) string {
	if b {
		return "True"
	}
	return "False"
}

func (f field) eval(_ map[string]check, t Target, _ *Creds) bool {
	v, ok := t.Field(f.collection, f.name)
	switch {
	case !ok:
		return false
	case f.pattern != nil:
		return f.pattern.MatchString(v)
	}
	return v == f.value || isTruth(f.value) && strings.EqualFold(v, f.value)
}
func (f field) refers(func(string)) {}

func isTruth(s string) bool { return strings.EqualFold(s, "true") || strings.EqualFold(s, "false") }

// template is text with %(name)s in it: pairs of text and a name, the last name empty.
type template []struct{ text, name string }

func (tm template) fill(t Target) (string, bool) {
	var b strings.Builder
	for _, p := range tm {
		b.WriteString(p.text)
		if p.name == "" {
			continue
		}
		v, ok := t.Value(p.name)
		if !ok {
			return "", false
		}
		b.WriteString(v)
	}
	return b.String(), true
}

// Nothing is the target of questions that are about no object.
type Nothing struct{}

// Value implements Target.
func (Nothing) Value(string) (string, bool) { return "", false }

// Field implements Target.
func (Nothing) Field(string, string) (string, bool) { return "", false }
