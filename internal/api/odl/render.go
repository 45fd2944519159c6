// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"encoding/json"
	"slices"

	"nagare/internal/api/jsonbody"
	"nagare/internal/model"
	"nagare/internal/tables"
)

// one wraps an object as an answer; the key has the object's exact name. An object that is gone meanwhile is null.
func (c *core[T]) one(e *env, id string, fields []string) []byte {
	b := append(make([]byte, 0, 1024), `{"`...)
	b = append(b, c.kind...)
	b = append(b, `":`...)
	o, ok := c.get(e.r, id)
	if !ok {
		return append(b, "null}"...)
	}
	return append(c.append(b, e, &o, wanted(fields)), '}')
}

// array renders {"plural":[...] without the closing brace, so that links may follow.
func (c *core[T]) array(e *env, objs []*T, fields []string) []byte {
	b := append(make([]byte, 0, 64+512*len(objs)), `{"`...)
	b = append(b, c.plural...)
	b = append(b, `":[`...)
	fields = wanted(fields)
	for i, o := range objs {
		if i > 0 {
			b = append(b, ',')
		}
		b = c.append(b, e, o, fields)
	}
	return append(b, ']')
}

// wanted are the fields that are asked for; nil: all.
func wanted(fields []string) []string {
	var out []string
	for _, f := range fields {
		if f != "" {
			out = append(out, f)
		}
	}
	return out
}

// append renders an object: what the model holds, in the form that the client gave it where that matters, and what it does not. An
// attribute that is null is left out.
func (c *core[T]) append(b []byte, e *env, o *T, fields []string) []byte {
	f, _ := tables.Foreign.Get(e.r, model.ForeignKey(c.kind, c.id(o)))
	forms := decodeForms(f.Forms)
	b = append(b, '{')
	first := len(b)
	for i := range c.attrs {
		a := &c.attrs[i]
		if len(fields) > 0 && !slices.Contains(fields, a.name) {
			continue
		}
		if v := a.value(e, o, forms); v != nil {
			b = pair(b, first, a.name, v)
		}
	}
	return append(appendAttrs(b, first, f.Attrs, fields), '}')
}

// value is the attribute as it is shown.
func (a *attr[T]) value(e *env, o *T, forms map[string]json.RawMessage) any {
	form, ok := forms[a.name]
	if ok && !a.fallback {
		return shown(form)
	}
	v := a.get(e, o)
	if v == nil && ok {
		return shown(form)
	}
	return v
}

func shown(form json.RawMessage) any {
	if string(form) == "null" {
		return nil
	}
	return jsonbody.Raw(form)
}

func pair(b []byte, first int, name string, v any) []byte {
	if len(b) > first {
		b = append(b, ',')
	}
	b = jsonbody.AppendString(b, name)
	return jsonbody.Append(append(b, ':'), v)
}

// appendAttrs appends the members of a JSON object, all or those that are asked for.
func appendAttrs(b []byte, first int, attrs string, fields []string) []byte {
	if len(attrs) <= len("{}") {
		return b
	}
	if len(fields) == 0 {
		if len(b) > first {
			b = append(b, ',')
		}
		return append(b, attrs[1:len(attrs)-1]...)
	}
	m := decodeForms(attrs)
	for _, name := range fields {
		if v, ok := m[name]; ok {
			b = pair(b, first, name, jsonbody.Raw(v))
		}
	}
	return b
}

// decodeForms reads a JSON object of ours.
func decodeForms(s string) map[string]json.RawMessage {
	if s == "" {
		return nil
	}
	var m map[string]json.RawMessage
	if json.Unmarshal([]byte(s), &m) != nil {
		return nil // written by us; a damaged one is shown as if it were not there
	}
	return m
}
