// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"nagare/internal/yang"
)

// choice says how much of what was found is shown: parameters depth, fields, content and with-defaults (RFC 8040 section 4.8).
type choice struct {
	want     content
	depth    int // levels, the resource itself being the first; 0: all
	fields   *fields
	defaults defaults
}

// fields is a selection: what is named with its own selection below; nil selects all.
type fields struct{ below map[string]*fields }

type defaults uint8

const (
	explicit  defaults = iota // what was set
	reportAll                 // and defaults where nothing was
	trim                      // what was set, unless it is the default
)

// parameters that each dialect has for reading.
var readParameters = map[bool][]string{
	true:  {"content", "depth", "fields", "with-defaults", "odl-pretty-print"},
	false: {"depth", "with-defaults", "prettyPrint"},
}

// choose reads the parameters.
func (c *call) choose() (ch choice, err error) {
	q, err := parameters(c.r.URL.RawQuery)
	if err != nil {
		return ch, err
	}
	for name, values := range q {
		if !slices.Contains(readParameters[c.prefixed], name) {
			return ch, invalid("parameter %q is not known here; there are %s", name, strings.Join(readParameters[c.prefixed], ", "))
		}
		if len(values) > 1 {
			return ch, invalid("parameter %s is given twice", name)
		}
	}
	word := func(name string, known ...string) int {
		v := q.Get(name)
		i := slices.Index(known, v)
		if i < 0 && err == nil && q.Has(name) {
			err = invalid("%s %q: want one of %s", name, v, strings.Join(known, ", "))
		}
		return max(i, 0)
	}
	ch.want = content(word("content", "all", "config", "nonconfig"))
	ch.defaults = defaults(word("with-defaults", "explicit", "report-all", "trim"))
	if d := q.Get("depth"); q.Has("depth") && d != "unbounded" {
		if ch.depth, err = strconv.Atoi(d); err != nil || ch.depth < 1 || ch.depth > 65535 {
			return ch, invalid("depth %q: want unbounded, or a number from 1 to 65535", d)
		}
	}
	if f := q.Get("fields"); err == nil && q.Has("fields") {
		ch.fields, err = parseFields(f)
	}
	return ch, err
}

// parameters reads a query, in which a semicolon is a character like others, which net/url's are not to take it for.
func parameters(raw string) (url.Values, error) {
	q := url.Values{}
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		name, err := url.QueryUnescape(name)
		if err == nil {
			value, err = url.QueryUnescape(value)
		}
		if err != nil {
			return nil, malformed("the query string is malformed: %v", err)
		}
		q.Add(name, value)
	}
	return q, nil
}

// parseFields reads a selection (RFC 8040 section 4.8.3): "a;b/c;d(e;f)".
func parseFields(text string) (*fields, error) {
	p := fieldParser{rest: text}
	out := p.list(0)
	if p.broken || p.rest != "" {
		return nil, invalid("fields %q: want names with / ; ( and )", text)
	}
	return out, nil
}

type fieldParser struct {
	rest   string
	broken bool
}

func (p *fieldParser) list(deep int) *fields {
	out := &fields{below: map[string]*fields{}}
	for {
		p.path(out, deep)
		if p.broken || !strings.HasPrefix(p.rest, ";") {
			return out
		}
		p.rest = p.rest[1:]
	}
}

func (p *fieldParser) path(in *fields, deep int) {
	n := strings.IndexAny(p.rest, "/;()")
	if n < 0 {
		n = len(p.rest)
	}
	name := p.rest[:n]
	if p.rest = p.rest[n:]; name == "" || deep > 32 {
		p.broken = true
		return
	}
	old, had := in.below[name]
	var sub *fields
	switch {
	case strings.HasPrefix(p.rest, "/"):
		p.rest = p.rest[1:]
		sub = &fields{below: map[string]*fields{}}
		p.path(sub, deep+1)
	case strings.HasPrefix(p.rest, "("):
		p.rest = p.rest[1:]
		sub = p.list(deep + 1)
		if !strings.HasPrefix(p.rest, ")") {
			p.broken = true
			return
		}
		p.rest = p.rest[1:]
	}
	switch {
	case had && (old == nil || sub == nil): // all of it is selected elsewhere
		in.below[name] = nil
	case had:
		for k, v := range sub.below {
			old.below[k] = v
		}
	default:
		in.below[name] = sub
	}
}

// pick gives the selection below a child, and whether the child is selected.
func (f *fields) pick(n *yang.Node) (*fields, bool) {
	if f == nil {
		return nil, true
	}
	if sub, ok := f.below[n.QName()]; ok {
		return sub, true
	}
	sub, ok := f.below[n.Name]
	return sub, ok
}

// below is the choice for a child.
func (ch choice) below(n *yang.Node) (choice, bool) {
	sub, ok := ch.fields.pick(n)
	if ch.depth == 1 || !ok {
		return ch, false
	}
	if ch.depth > 1 {
		ch.depth--
	}
	ch.fields = sub
	return ch, true
}

// reduce gives an instance with what is chosen of it; nil if that is nothing.
func (ch choice) reduce(d *yang.Data) *yang.Data {
	if d.Node.Type != nil {
		if ch.defaults == trim && d.Node.Kind == yang.Leaf && slices.Equal(d.Node.Default, []string{d.Value}) && !d.Node.IsKey() {
			return nil
		}
		if ch.want == config && !d.Node.Config {
			return nil
		}
		return d
	}
	if ch == (choice{}) {
		return d
	}
	if ch.want == config && !d.Node.Config {
		return nil
	}
	out := &yang.Data{Node: d.Node}
	for _, x := range d.Children {
		inner, ok := ch.below(x.Node)
		if !ok && x.Node.IsKey() && ch.depth != 1 {
			inner, ok = ch, true // an entry is nothing without its keys
		}
		if !ok {
			continue
		}
		if kept := inner.reduce(x); kept != nil {
			out.Children = append(out.Children, kept)
		}
	}
	if ch.defaults == reportAll {
		ch.addDefaults(out)
	}
	if len(out.Children) == 0 && d.Node.Kind == yang.Container && !d.Node.Presence && ch.depth != 1 {
		return nil
	}
	return out
}

// addDefaults adds the leaves that are not there and have a default, unless they belong to a case that is not chosen.
func (ch choice) addDefaults(d *yang.Data) {
	for _, n := range d.Node.Children {
		if _, ok := ch.below(n); !ok || n.Kind != yang.Leaf || len(n.Default) == 0 || len(n.Cases) > 0 || d.Child(n) != nil || ch.want == config && !n.Config {
			continue
		}
		d.Add(n, n.Default[0])
	}
}
