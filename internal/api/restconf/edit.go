// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strings"

	"nagare/internal/yang"
)

// editor changes the entry with these keys in one transaction. f gets the entry as it is, nil if it is not there, and gives what it
// shall be, nil to have it removed. It may run more than once.
type editor func(c *call, keys []string, f func(now *yang.Data) (*yang.Data, error)) error

// edit is a write on its way: to an entry of a list that can be written, or to something in it.
type edit struct {
	*call
	method string
	list   *yang.Node
	keys   []string
	inner  []hop      // from the entry to the target
	body   *yang.Data // what came; its place is the target's, or for POST a child of the target
	made   bool       // the target, or what POST brought, was not there before
}

// change answers PUT, POST, PATCH and DELETE of configuration (RFC 8040 sections 4.4 to 4.7).
func (c *call) change(path []string) error {
	if c.r.URL.RawQuery != "" {
		return unsupported("parameters of a write, such as insert and point, are not understood here")
	}
	hops, err := c.hops(path)
	if err != nil {
		return err
	}
	e := &edit{call: c, method: c.r.Method}
	var keys []string
	for i, h := range hops {
		keys = append(keys, h.keys...)
		if src := c.tree.sources[h.node]; src != nil && src.edit != nil && e.list == nil {
			e.list, e.inner = h.node, hops[i+1:]
			if h.keys != nil {
				e.keys = slices.Clip(keys)
			}
		}
	}
	switch {
	case e.list != nil && e.keys == nil:
		c.w.Header().Set("Allow", strings.Join(reading, ", "))
		return &fault{http.StatusMethodNotAllowed, "protocol", "operation-not-supported", "one entry of " + e.list.Name + " is written at a time; name its keys"}
	case e.list != nil && hops[len(hops)-1].node.IsKey():
		if e.method != http.MethodDelete { // without it the entry is found wanting
			return invalid("%s is a key of its list's entries, which keep theirs", hops[len(hops)-1].node.Name)
		}
	case !slices.Contains(c.tree.methods(hops), e.method):
		return c.readOnly(hops)
	case e.list == nil: // POST to what is around such a list
		return e.add(hops[len(hops)-1].node, keys)
	}
	target := hops[len(hops)-1]
	if e.method == http.MethodPost {
		if e.body, err = c.child(target.node); err != nil {
			return err
		}
	} else if e.method != http.MethodDelete {
		e.body = &yang.Data{Node: target.node}
		if err := c.body(e.body); err != nil {
			return err
		}
		if !target.matches(e.body) {
			return invalid("the keys in the body are not those of the path")
		}
	}
	return e.commit(path)
}

// readOnly refuses a write of what nobody writes.
func (c *call) readOnly(hops []hop) error {
	what := "the whole store"
	if len(hops) > 0 {
		what = hops[len(hops)-1].node.Path()
	}
	c.w.Header().Set("Allow", strings.Join(c.tree.methods(hops), ", "))
	return &fault{http.StatusMethodNotAllowed, "protocol", "operation-not-supported",
		"method " + c.r.Method + " is not offered for " + what + "; entries that can be written are below " + strings.Join(c.tree.editable(), ", ")}
}

// editable names the lists whose entries can be written.
func (t *tree) editable() (out []string) {
	for n, s := range t.sources {
		if s.edit != nil {
			out = append(out, n.Path())
		}
	}
	slices.Sort(out)
	return out
}

// child reads the body of a POST: one child of the target.
func (c *call) child(target *yang.Node) (*yang.Data, error) {
	m, err := c.message()
	if err != nil {
		return nil, err
	}
	n, ok := target.Child(m.name)
	if !ok {
		return nil, unknown("element", m.name)
	}
	d := &yang.Data{Node: n}
	return d, c.fill(d, m)
}

// add is POST of an entry to the container around its list.
func (e *edit) add(around *yang.Node, above []string) (err error) {
	if e.body, err = e.child(around); err != nil {
		return err
	}
	src := e.tree.sources[e.body.Node]
	if src == nil || src.edit == nil {
		return e.readOnly([]hop{{node: e.body.Node}})
	}
	e.list = e.body.Node
	own, ok := e.body.Key()
	if !ok {
		return modelFault(e.tree.schema.Validate(e.body, true, nil))
	}
	e.keys = append(slices.Clip(above), own...)
	return e.commit(nil)
}

// commit makes the change and answers.
func (e *edit) commit(path []string) error {
	removed := false
	err := e.tree.sources[e.list].edit(e.call, e.keys, func(now *yang.Data) (*yang.Data, error) {
		if err := e.conditions(now); err != nil {
			return nil, err
		}
		next, err := e.apply(now)
		if removed = next == nil; err != nil || removed {
			return nil, err
		}
		return next, modelFault(e.tree.schema.Validate(next, true, nil))
	})
	if err != nil {
		return refused(err)
	}
	status := http.StatusNoContent
	switch {
	case e.method == http.MethodPost:
		e.w.Header().Set("Location", e.location(path))
		if status = http.StatusCreated; e.inline {
			status = http.StatusNoContent
		}
	case e.made:
		status = http.StatusCreated
	case e.inline:
		status = http.StatusOK
	}
	e.w.Header().Del("Content-Type")
	e.w.WriteHeader(status)
	return nil
}

// location is where what POST brought can be read.
func (e *edit) location(path []string) string {
	at := strings.TrimSuffix(e.r.URL.EscapedPath(), "/") + "/" + e.body.Node.JSONName()
	key, sep := "=", ","
	if e.inline {
		key, sep = "/", "/"
	}
	if keys, ok := e.body.Key(); ok && len(keys) > 0 {
		at += key
		for i, k := range keys {
			if i > 0 {
				at += sep
			}
			at += escapeKey(k)
		}
	}
	return at
}

// escapeKey writes a key into a path: everything but unreserved characters as octets (RFC 8040 section 3.5.3).
func escapeKey(k string) string {
	var b strings.Builder
	for _, c := range []byte(k) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
		} else {
			b.WriteString("%" + strings.ToUpper(hex.EncodeToString([]byte{c})))
		}
	}
	return b.String()
}

// conditions holds If-Match and If-None-Match against the entry.
func (e *edit) conditions(now *yang.Data) error {
	failed := &fault{http.StatusPreconditionFailed, "application", "operation-failed", "the entry is not what the request's conditions want; read it anew"}
	if want := e.r.Header.Get("If-Match"); want != "" && (now == nil || want != "*" && !tagged(want, etag(now))) {
		return failed
	}
	if avoid := e.r.Header.Get("If-None-Match"); avoid != "" && now != nil && (avoid == "*" || tagged(avoid, etag(now))) {
		return failed
	}
	return nil
}

// etag is the entity tag of an entry (RFC 9110 section 8.8.3): the same for the same configuration.
func etag(d *yang.Data) string {
	sum := sha256.Sum256(d.AppendJSON(nil))
	return `"` + hex.EncodeToString(sum[:12]) + `"`
}

// tagged reports whether a list of entity tags has one.
func tagged(list, tag string) bool {
	for t := range strings.SplitSeq(list, ",") {
		if strings.TrimPrefix(strings.TrimSpace(t), "W/") == tag {
			return true
		}
	}
	return false
}

// apply gives the entry as it shall be.
func (e *edit) apply(now *yang.Data) (*yang.Data, error) {
	e.made = false
	if len(e.inner) == 0 && (e.method != http.MethodPost || e.body.Node == e.list) {
		return e.whole(now)
	}
	if now == nil {
		return nil, errMissing
	}
	at := now
	down := e.inner
	if e.method != http.MethodPost {
		down = down[:len(down)-1]
	}
	for _, h := range down {
		next := within(at, h)
		if len(next) == 0 {
			if h.node.Kind != yang.Container || h.node.Presence {
				return nil, errMissing
			}
			next = []*yang.Data{at.Add(h.node, "")} // a container without presence is always there
		}
		at = next[0]
	}
	if e.method == http.MethodPost {
		return now, e.insert(at)
	}
	return now, e.replace(at, e.inner[len(e.inner)-1])
}

// whole is a write of the entry itself.
func (e *edit) whole(now *yang.Data) (*yang.Data, error) {
	switch {
	case e.method == http.MethodDelete && now == nil, e.method == http.MethodPatch && now == nil:
		return nil, errMissing
	case e.method == http.MethodDelete:
		return nil, nil
	case e.method == http.MethodPost && now != nil:
		return nil, errExists
	case e.method == http.MethodPatch:
		merge(now, e.body)
		return now, nil
	}
	e.made = now == nil
	return e.body, nil
}

var errExists = &fault{http.StatusConflict, "application", "data-exists", "it is there already"}

// insert adds what POST brought to an instance.
func (e *edit) insert(at *yang.Data) error {
	h := hop{node: e.body.Node}
	if e.body.Node.Kind == yang.List {
		h.keys, _ = e.body.Key()
	} else if e.body.Node.Kind == yang.LeafList {
		h.keys = []string{e.body.Value}
	}
	if len(within(at, h)) > 0 {
		return errExists
	}
	at.Children = append(at.Children, e.body)
	e.body.Parent = at
	return nil
}

// replace writes, merges or removes what a hop leads to.
func (e *edit) replace(at *yang.Data, h hop) error {
	old := within(at, h)
	switch e.method {
	case http.MethodDelete:
		if len(old) == 0 {
			return errMissing
		}
		at.Children = slices.DeleteFunc(at.Children, func(x *yang.Data) bool { return slices.Contains(old, x) })
		return nil
	case http.MethodPatch:
		if len(old) == 0 && h.node.Kind == yang.List {
			return errMissing
		}
		merge(at, &yang.Data{Node: at.Node, Children: []*yang.Data{e.body}})
		return nil
	}
	e.made = len(old) == 0
	e.body.Parent = at
	if e.made {
		at.Children = append(at.Children, e.body)
		return nil
	}
	at.Children[slices.Index(at.Children, old[0])] = e.body
	return nil
}

// merge lays one instance over another of the same node: leaves replace, entries go to those with their keys (RFC 8040 section 4.6.1).
func merge(d, over *yang.Data) {
	for _, x := range over.Children {
		h := hop{node: x.Node}
		switch x.Node.Kind {
		case yang.List:
			h.keys, _ = x.Key()
		case yang.LeafList:
			h.keys = []string{x.Value}
		}
		old := within(d, h)
		switch {
		case len(old) == 0:
			x.Parent = d
			d.Children = append(d.Children, x)
		case x.Node.Type != nil:
			old[0].Value = x.Value
		default:
			merge(old[0], x)
		}
	}
}

// refusal is an error of another adapter that is an answer.
type refusal interface {
	error
	Refusal() (status int, message string)
}

// refused tells a refusal in RESTCONF's words.
func refused(err error) error {
	var r refusal
	if !errors.As(err, &r) {
		var f *fault
		if errors.As(err, &f) {
			return f
		}
		return &fault{http.StatusServiceUnavailable, "transport", "resource-denied", "nothing can be stored at present; try again"}
	}
	status, message := r.Refusal()
	tags := map[int]string{http.StatusForbidden: "access-denied", http.StatusNotFound: "data-missing", http.StatusConflict: "in-use", http.StatusRequestEntityTooLarge: "too-big"}
	tag, ok := tags[status]
	if !ok {
		tag = "invalid-value"
		if status != http.StatusServiceUnavailable {
			status = http.StatusBadRequest
		}
	}
	return &fault{status, "application", tag, message}
}

// editObjects is the editor of a collection of Neutron's objects.
func (t *tree) editObjects(path, collection string) editor {
	return func(c *call, keys []string, f func(*yang.Data) (*yang.Data, error)) error {
		return c.cfg.Objects.Edit(c.r, c.who, collection, keys[0], func(now map[string]any) (map[string]any, error) {
			var d *yang.Data
			if now != nil {
				d = t.entry(path)
				fromNeutron(d, now)
			}
			next, err := f(d)
			if next == nil || err != nil {
				return nil, err
			}
			obj := toNeutron(next)
			for name, v := range now { // what the modules have no place for stays
				if _, ok := obj[name]; !ok && !t.shown(path, name) {
					obj[name] = v
				}
			}
			return obj, nil
		})
	}
}

// shown reports whether the modules have a place for an attribute of the northbound's JSON.
func (t *tree) shown(path, attr string) bool {
	return slices.ContainsFunc(t.node(path).Children, func(n *yang.Node) bool { return jsonName(n) == attr })
}
