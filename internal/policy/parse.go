// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// maxCheck bounds a check string, and with it the depth of its parentheses.
const maxCheck = 4096

// parse reads a check string. "" and "@" always hold, "!" never does; "not" binds closer than "and", and that closer than "or".
func parse(text string) (check, error) {
	if len(text) > maxCheck {
		return nil, fmt.Errorf("longer than %d bytes", maxCheck)
	}
	if strings.TrimSpace(text) == "" {
		return always(true), nil
	}
	p := &parser{words: split(text)}
	x, err := p.or()
	if err != nil {
		return nil, err
	}
	if w := p.next(); w != "" {
		return nil, fmt.Errorf("%q is one too many", w)
	}
	return x, nil
}

// split cuts a check string into words and parentheses. Parentheses belong to a word only in its middle, as in %(project_id)s.
func split(text string) (out []string) {
	for _, w := range strings.Fields(text) {
		for strings.HasPrefix(w, "(") {
			out, w = append(out, "("), w[1:]
		}
		closed := 0
		for strings.HasSuffix(w, ")") {
			closed, w = closed+1, w[:len(w)-1]
		}
		if w != "" {
			out = append(out, w)
		}
		for range closed {
			out = append(out, ")")
		}
	}
	return out
}

type parser struct{ words []string }

func (p *parser) peek() string {
	if len(p.words) == 0 {
		return ""
	}
	return p.words[0]
}

func (p *parser) next() string {
	w := p.peek()
	if w != "" {
		p.words = p.words[1:]
	}
	return w
}

// take takes a keyword, in any case.
func (p *parser) take(word string) bool {
	if strings.EqualFold(p.peek(), word) {
		p.next()
		return true
	}
	return false
}

func (p *parser) or() (check, error) {
	return p.joined("or", (*parser).and, func(l []check) check { return either(l) })
}
func (p *parser) and() (check, error) {
	return p.joined("and", (*parser).not, func(l []check) check { return every(l) })
}

func (p *parser) joined(word string, part func(*parser) (check, error), join func([]check) check) (check, error) {
	x, err := part(p)
	if err != nil {
		return nil, err
	}
	l := []check{x}
	for p.take(word) {
		if x, err = part(p); err != nil {
			return nil, err
		}
		l = append(l, x)
	}
	if len(l) == 1 {
		return x, nil
	}
	return join(l), nil
}

func (p *parser) not() (check, error) {
	if p.take("not") {
		x, err := p.not()
		return negated{x}, err
	}
	switch w := p.next(); {
	case w == "":
		return nil, errors.New("it ends where a check is wanted")
	case w == ")", strings.EqualFold(w, "and"), strings.EqualFold(w, "or"):
		return nil, fmt.Errorf("%q stands where a check is wanted", w)
	case w != "(":
		return one(w)
	}
	x, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.next() != ")" {
		return nil, errors.New("a parenthesis is not closed")
	}
	return x, nil
}

// one reads a single check, kind:match.
func one(w string) (check, error) {
	switch w {
	case "@":
		return always(true), nil
	case "!":
		return always(false), nil
	}
	kind, match, ok := strings.Cut(w, ":")
	if quoted := len(w) > 1 && (w[0] == '\'' || w[0] == '"'); quoted { // a literal may hold colons
		end := strings.IndexByte(w[1:], w[0])
		if end < 0 || len(w) < end+3 || w[end+2] != ':' {
			return nil, fmt.Errorf("%s is no check: want 'text':%%(attribute)s", w)
		}
		kind, match = w[:end+2], w[end+3:]
	}
	if !ok || match == "" {
		return nil, fmt.Errorf("%q is no check: want kind:match, e.g. role:member, rule:admin_only, project_id:%%(project_id)s", w)
	}
	switch kind {
	case "rule":
		return ruleOf(match), nil
	case "field":
		return fieldOf(match)
	}
	tm, err := templateOf(match)
	if err != nil {
		return nil, err
	}
	if kind == "role" {
		return role(tm), nil
	}
	if _, known := creds[kind]; known {
		return generic{cred: kind, match: tm}, nil
	}
	if lit, is := literal(kind); is {
		return generic{literal: lit, match: tm}, nil
	}
	return nil, fmt.Errorf("%q: no such kind of check; there are rule, role, field, %s and literals", kind, strings.Join(slices.Sorted(maps.Keys(creds)), ", "))
}

// literal reads what stands for itself: a quoted text, True, False, None, a number.
func literal(s string) (string, bool) {
	if n := len(s); n > 1 && (s[0] == '\'' || s[0] == '"') && s[n-1] == s[0] {
		return s[1 : n-1], true
	}
	_, err := strconv.Atoi(s)
	return s, err == nil || s == "True" || s == "False" || s == "None"
}

// fieldOf reads collection:attribute=value; ~value is a regular expression that the attribute begins with.
func fieldOf(match string) (check, error) {
	collection, rest, ok := strings.Cut(match, ":")
	name, value, eq := strings.Cut(rest, "=")
	if !ok || !eq || name == "" || collection == "" {
		return nil, fmt.Errorf("%q: want field:collection:attribute=value", "field:"+match)
	}
	f := field{collection: collection, name: name, value: value}
	if re, is := strings.CutPrefix(value, "~"); is {
		var err error
		if f.pattern, err = regexp.Compile("^(?:" + re + ")"); err != nil {
			return nil, fmt.Errorf("%q: %w", "field:"+match, err)
		}
	}
	return f, nil
}

func templateOf(s string) (template, error) {
	var tm template
	for {
		text, rest, found := strings.Cut(s, "%(")
		if !found {
			return append(tm, struct{ text, name string }{text, ""}), nil
		}
		name, after, closed := strings.Cut(rest, ")s")
		if !closed || name == "" {
			return nil, fmt.Errorf("%q: want %%(attribute)s", s)
		}
		tm = append(tm, struct{ text, name string }{text, name})
		s = after
	}
}
