// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"net/url"
	"reflect"
	"slices"
	"strings"

	"nagare/internal/identity"
	"nagare/internal/model"
	"nagare/internal/policy"
	"nagare/internal/store"
)

func init() {
	declare(part{extensions: []extension{
		{"project-id", "project_id field enabled", "Extension that indicates that project_id field is enabled.", "2016-09-09T09:09:09-09:09"},
		{"revision-if-match", "If-Match constraints based on revision_number", "Extension indicating that If-Match based on revision_number is supported.", "2016-12-11T00:00:00-00:00"},
		{"standard-attr-description", "standard-attr-description", "Extension to add descriptions to standard attributes", "2016-02-10T10:00:00-00:00"},
		{"standard-attr-revisions", "Resource revision numbers", "This extension will display the revision number of neutron resources.", "2016-04-11T10:00:00-00:00"},
		{"standard-attr-timestamp", "Resource timestamps", "Adds created_at and updated_at fields to all Neutron resources that have Neutron standard attributes.", "2016-09-12T10:00:00-00:00"},
	}})
}

// Attr declares one attribute of objects of type T.
type Attr[T any] struct {
	Name string
	// Get gives the value as the API shows it: nil, string, bool, int, []string, or something with a JSON form.
	Get func(v *view, o *T) any
	// Parse checks and converts a value of a body. nil with Post or Put set means that any value is taken as it is.
	Parse parser
	// Default is used in a create that does not name the attribute, already converted.
	Default    any
	Post, Put  bool                 // may be given in a create, in an update
	Required   bool                 // in a create
	SetPost    Rule                 // who may give another value than the default in a create; zero: whoever may create
	SetPut     Rule                 // who may give it in an update; zero: whoever may update
	SetWhen    func(value any) bool // which values are asked about; nil: all but the default
	Except     string               // the same as a check string that holds for all others, where one can say it
	Parts      []attrPart           // of the value; SetPost and SetPut are about those that are not free in place of the whole
	See        Rule                 // who sees it; zero: whoever sees the object
	Bool       bool                 // filter values are booleans
	NoFilter   bool
	NoSort     bool
	Match      func(v *view, o *T, values []string) bool // filter other than by equality
	CheckMatch func(values []string) error               // refuses malformed filter values
	Hint       string                                    // extension that brought it; empty: the core API
	// Take gives the object the attribute's value of a body that names it (or of a default that is not zero), after the resource's own build or
	// update. An attribute with it needs nothing of the resource's functions, so that an extension is one file.
	Take func(w *work, o *T, in *values) error

	seeName, postName, putName string // of its policy rules
}

// attrPart is a part of an attribute's value with a policy rule of its own: create_port:fixed_ips:ip_address.
type attrPart struct {
	name string
	in   func(value any) bool // whether the value has it
	free bool                 // whoever may set the attribute may, unless a policy file says otherwise
}

// whole is what a rule about the attribute says of its value as a whole.
func (a *Attr[T]) whole(r Rule) Rule {
	if slices.ContainsFunc(a.Parts, func(p attrPart) bool { return !p.free }) {
		return deny
	}
	return r
}

// of is what a rule about an attribute says of the part.
func (p *attrPart) of(r Rule) Rule {
	if p.free {
		return deny
	}
	return r
}

// view is what one request sees: a state of the store and who asks.
type view struct {
	r       store.Reader
	api     *API
	who     identity.Principal
	admin   bool
	service bool
	global  bool          // reads what every project has
	writes  bool          // has a role besides reader
	under   *under        // of a request below another object's path
	file    *policy.Set   // nil: the built-in rules hold alone
	creds   *policy.Creds // for file
	query   url.Values
}

// privileged reports whether the caller acts for every project.
func (v *view) privileged() bool { return v.admin || v.service }

// readsAll reports whether the caller sees objects of every project.
func (v *view) readsAll() bool { return v.admin || v.service || v.global }

// mine reports whether the project is the caller's.
func (v *view) mine(p model.ProjectID) bool { return p != "" && p == v.who.ProjectID }

// values are the attributes of one object in a body, converted. In a create, defaults are filled in.
type values struct {
	m     map[string]any
	given []string // named in the body, in the order of declaration
	// creates tells those of a create from those of an update.
	creates bool
}

func (in *values) has(name string) bool { _, ok := in.m[name]; return ok }
func (in *values) asked(name string) bool {
	return slices.Contains(in.given, name)
}

// get returns the value of an attribute, or the zero value if it is absent or null.
func get[V any](in *values, name string) V {
	v, _ := in.m[name].(V)
	return v
}

// set writes the value to *to if the body (or a default) has one.
func set[V any](in *values, name string, to *V) {
	if in.has(name) {
		*to = get[V](in, name)
	}
}

// noProject among values says that the object is of no project. It is no name of an attribute.
const noProject = "(no project)"

// method of a body.
type method string

const (
	post method = "POST"
	put  method = "PUT"
)

// parse checks the names of one body object and converts its values.
func (rs *Resource[T]) parse(v *view, body map[string]any, m method) (*values, error) {
	in := &values{m: make(map[string]any, len(rs.attrs)), creates: m == post}
	if p, given := body["project_id"]; given && p == nil && rs.cloudwide && m == post {
		if !v.privileged() {
			return nil, badRequest("Specifying 'project_id' or 'tenant_id' other than the authenticated project in request requires admin privileges")
		}
		in.m[noProject] = true
	}
	if err := joinProject(v, body, m); err != nil {
		return nil, err
	}
	var unknown []string
	for name := range body {
		if rs.byName[name] == nil {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return nil, badRequest("Unrecognized attribute(s) '%s'", strings.Join(unknown, ", "))
	}
	for i := range rs.attrs {
		a := &rs.attrs[i]
		raw, given := body[a.Name]
		switch {
		case given && m == post && !a.Post:
			return nil, badRequest("Attribute '%s' not allowed in POST", a.Name)
		case given && m == put && !a.Put:
			return nil, badRequest("Cannot update read-only attribute %s", a.Name)
		case !given && m == post && a.Required:
			return nil, badRequest("Failed to parse request. Required attribute '%s' not specified", a.Name)
		case !given && m == post && a.Post:
			if a.Default != nil {
				in.m[a.Name] = a.Default
			}
		}
		if !given {
			continue
		}
		in.given = append(in.given, a.Name)
		if a.Parse == nil {
			in.m[a.Name] = raw
			continue
		}
		val, err := a.Parse(raw)
		if r, ok := err.(reason); ok {
			return nil, badRequest("Invalid input for %s. Reason: %s.", a.Name, strings.TrimSuffix(string(r), "."))
		}
		if err != nil {
			return nil, err
		}
		in.m[a.Name] = val
	}
	return in, nil
}

// joinProject makes project_id and tenant_id one: both may be given if they agree, and an object's project is the caller's
// unless a privileged caller names another.
func joinProject(v *view, body map[string]any, m method) error {
	p, hasP := body["project_id"]
	t, hasT := body["tenant_id"]
	switch {
	case hasP && hasT && !reflect.DeepEqual(p, t):
		return badRequest("'project_id' and 'tenant_id' do not match")
	case hasT:
		body["project_id"] = t
		delete(body, "tenant_id")
	case !hasP && m == post:
		if v.who.ProjectID == "" && v.under == nil {
			return badRequest("Running without keystone AuthN requires that tenant_id is specified")
		}
		return nil
	}
	if m == post {
		if body["project_id"] == nil {
			delete(body, "project_id")
		} else if s, ok := body["project_id"].(string); !ok || (s != string(v.who.ProjectID) && !v.privileged()) {
			return badRequest("Specifying 'project_id' or 'tenant_id' other than the authenticated project in request requires admin privileges")
		}
	}
	return nil
}

// checkAttrs applies the attributes' rules to what a body names. In a create a value equal to the default asks for nothing;
// in an update naming an attribute is asking, because the object may hold another value.
func (rs *Resource[T]) checkAttrs(v *view, o *T, in *values, m method, t target) error {
	var ruled []string
	ok := true
	ask := func(name, what string, r Rule) {
		if r != deny || v.file != nil && v.file.Decides(name) {
			ruled = append(ruled, what)
			ok = ok && rs.ruled(v, name, r, t, o, in)
		}
	}
	for _, name := range in.given {
		a := rs.byName[name]
		rule, full := a.SetPost, a.postName
		if m == put {
			rule, full = a.SetPut, a.putName
		}
		val := in.m[name]
		if m == post && sameAsDefault(val, a.Default) {
			continue
		}
		if a.SetWhen == nil || a.SetWhen(val) || v.file != nil && v.file.Names(full) {
			ask(full, name, a.whole(rule))
		}
		for _, p := range a.Parts {
			if p.in(val) {
				ask(full+":"+p.name, name+":"+p.name, p.of(rule))
			}
		}
	}
	if ok {
		return nil
	}
	if m == put {
		return forbidden(rs.changeName, ruled)
	}
	return forbidden(rs.createName, ruled)
}

func sameAsDefault(val, def any) bool {
	if val == nil || def == nil {
		return val == nil && def == nil
	}
	return reflect.DeepEqual(val, def)
}
