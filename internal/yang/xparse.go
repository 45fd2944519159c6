// SPDX-License-Identifier: Apache-2.0

package yang

import (
	"fmt"
	"strconv"
	"strings"
)

// parseXPath reads an expression of the subset; names says which module a prefix stands for, "" being that of names without one.
func parseXPath(source string, names Names) (*Expr, error) {
	p := &xparser{names: names}
	if err := p.lex(source); err != nil {
		return nil, err
	}
	root, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.peek() != "" {
		return nil, fmt.Errorf("%q is not understood there", p.peek())
	}
	return &Expr{text: source, root: root}, nil
}

type xparser struct {
	tokens []string // literals keep their first quote
	names  Names
	depth  int
}

const nameRunes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."

func (p *xparser) lex(s string) error {
	for s = strings.TrimLeft(s, " \t\r\n"); s != ""; s = strings.TrimLeft(s, " \t\r\n") {
		n := 1
		switch c := s[0]; {
		case c == '\'' || c == '"':
			end := strings.IndexByte(s[1:], c)
			if end < 0 {
				return fmt.Errorf("a literal has no end")
			}
			p.tokens = append(p.tokens, s[:end+1])
			s = s[end+2:]
			continue
		case strings.HasPrefix(s, ".."), strings.HasPrefix(s, "!="), strings.HasPrefix(s, "<="), strings.HasPrefix(s, ">="), strings.HasPrefix(s, "//"), strings.HasPrefix(s, "::"):
			n = 2
		case strings.IndexByte("()[]/.=<>,|*+@$", c) >= 0:
		default:
			n = len(s) - len(strings.TrimLeft(s, nameRunes+":"))
			if n == 0 {
				return fmt.Errorf("%q is not understood there", s[:1])
			}
		}
		p.tokens = append(p.tokens, s[:n])
		s = s[n:]
	}
	return nil
}

func (p *xparser) peek() string {
	if len(p.tokens) == 0 {
		return ""
	}
	return p.tokens[0]
}

func (p *xparser) next() string {
	t := p.peek()
	if t != "" {
		p.tokens = p.tokens[1:]
	}
	return t
}

func (p *xparser) want(t string) error {
	if got := p.next(); got != t {
		return fmt.Errorf("want %s, not %q", t, got)
	}
	return nil
}

func (p *xparser) or() (term, error)  { return p.chain("or", p.and) }
func (p *xparser) and() (term, error) { return p.chain("and", p.comparison) }

func (p *xparser) chain(op string, part func() (term, error)) (term, error) {
	if p.depth++; p.depth > 64 {
		return nil, fmt.Errorf("too deep")
	}
	defer func() { p.depth-- }()
	a, err := part()
	for err == nil && p.peek() == op {
		p.next()
		var b term
		if b, err = part(); err == nil {
			a = logical{op == "or", a, b}
		}
	}
	return a, err
}

func (p *xparser) comparison() (term, error) {
	a, err := p.primary()
	if err != nil {
		return nil, err
	}
	switch op := p.peek(); op {
	case "=", "!=", "<", "<=", ">", ">=":
		p.next()
		b, err := p.primary()
		return compare{op, a, b}, err
	}
	return a, nil
}

func (p *xparser) primary() (term, error) {
	t := p.peek()
	switch {
	case t == "":
		return nil, fmt.Errorf("the expression ends too early")
	case t[0] == '\'' || t[0] == '"':
		p.next()
		return literal{t[1:]}, nil
	case t == "(":
		p.next()
		inner, err := p.or()
		if err != nil {
			return nil, err
		}
		return inner, p.want(")")
	case t[0] >= '0' && t[0] <= '9':
		p.next()
		f, err := strconv.ParseFloat(t, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is no number", t)
		}
		return literal{f}, nil
	case len(p.tokens) > 1 && p.tokens[1] == "(" && t != "current":
		return p.function()
	}
	return p.location()
}

func (p *xparser) function() (term, error) {
	f := function{name: p.next()}
	want, ok := arity[f.name]
	if !ok {
		return nil, fmt.Errorf("function %s is not understood here", f.name)
	}
	p.next() // (
	for p.peek() != ")" {
		if len(f.args) > 0 {
			if err := p.want(","); err != nil {
				return nil, err
			}
		}
		a, err := p.or()
		if err != nil {
			return nil, err
		}
		f.args = append(f.args, a)
	}
	p.next()
	if len(f.args) != want {
		return nil, fmt.Errorf("%s takes %d arguments, not %d", f.name, want, len(f.args))
	}
	if strings.HasPrefix(f.name, "derived-from") {
		return f, p.identityArgument(&f)
	}
	return f, nil
}

// identityArgument gives the identity that a derived-from names its module's name, so that it compares with values.
func (p *xparser) identityArgument(f *function) error {
	l, ok := f.args[1].(literal)
	name, isText := l.value.(string)
	if !ok || !isText {
		return fmt.Errorf("%s: want the identity as a literal", f.name)
	}
	prefix, local, qualified := strings.Cut(name, ":")
	if !qualified {
		prefix, local = "", name
	}
	m, ok := p.names(prefix)
	if !ok {
		return fmt.Errorf("prefix %q is not known", prefix)
	}
	f.args[1] = literal{m.Name + ":" + local}
	return nil
}

func (p *xparser) location() (term, error) {
	l := location{}
	switch p.peek() {
	case "/":
		l.from = fromTop
		p.next()
		l.text = "/"
	case "current":
		l.from = fromCurrent
		p.next()
		if err := p.want("("); err != nil {
			return nil, err
		}
		if err := p.want(")"); err != nil {
			return nil, err
		}
		l.text = "current()"
		if p.peek() != "/" {
			return l, nil
		}
		p.next()
		l.text += "/"
	}
	for {
		st, err := p.step()
		if err != nil {
			return nil, err
		}
		l.steps = append(l.steps, st)
		switch {
		case st.up:
			l.text += ".."
		case st.self:
			l.text += "."
		default:
			l.text += st.module.Name + ":" + st.name
		}
		if p.peek() != "/" {
			return l, nil
		}
		p.next()
		l.text += "/"
	}
}

func (p *xparser) step() (step, error) {
	var st step
	switch t := p.next(); {
	case t == "..":
		st.up = true
	case t == ".":
		st.self = true
	case t == "" || strings.Trim(t, nameRunes+":") != "" || strings.IndexByte("0123456789-.:", t[0]) >= 0:
		return st, fmt.Errorf("%q is not understood there", t)
	default:
		prefix, local, qualified := strings.Cut(t, ":")
		if !qualified {
			prefix, local = "", t
		}
		if strings.Contains(local, ":") {
			return st, fmt.Errorf("%q: axes are not understood here", t)
		}
		var ok bool
		if st.module, ok = p.names(prefix); !ok {
			return st, fmt.Errorf("prefix %q is not known", prefix)
		}
		st.name = local
	}
	for p.peek() == "[" {
		p.next()
		e, err := p.or()
		if err != nil {
			return st, err
		}
		if n, ok := e.(literal); ok {
			return st, fmt.Errorf("a position (%v) is not understood here", n.value)
		}
		if err := p.want("]"); err != nil {
			return st, err
		}
		st.predicates = append(st.predicates, e)
	}
	return st, nil
}
