// SPDX-License-Identifier: Apache-2.0

package yang

import (
	"fmt"
	"slices"
	"strings"
)

// An instance-identifier's canonical form here is JSON's (RFC 7951 section 6.11): a name has its module's where that differs from the
// name's before. In XML every name has a prefix, and the prefixes are declared on the element.

// rewrite gives an instance-identifier with every name replaced; predicates' names follow that of the step they stand at. f gets the
// prefix that was there, "" if there was none.
func rewrite(id string, f func(prefix, name string, predicate bool) (string, error)) (string, error) {
	var b strings.Builder
	for id != "" {
		switch c := id[0]; c {
		case '\'', '"':
			end := strings.IndexByte(id[1:], c)
			if end < 0 {
				return "", fmt.Errorf("a literal has no end")
			}
			b.WriteString(id[:end+2])
			id = id[end+2:]
			continue
		case '/', '[':
			b.WriteByte(c)
			rest := strings.TrimLeft(id[1:], " ")
			n := len(rest) - len(strings.TrimLeft(rest, nameRunes+":"))
			name := rest[:n]
			id = rest[n:]
			if name == "." && c == '[' {
				b.WriteString(name)
				continue
			}
			prefix, local, qualified := strings.Cut(name, ":")
			if !qualified {
				prefix, local = "", name
			}
			if local == "" {
				return "", fmt.Errorf("a name is missing")
			}
			text, err := f(prefix, local, c == '[')
			if err != nil {
				return "", err
			}
			b.WriteString(text)
			continue
		case '=', ']', ' ', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
			if c != ' ' {
				b.WriteByte(c)
			}
		default:
			return "", fmt.Errorf("%q is not understood there", id[:1])
		}
		id = id[1:]
	}
	return b.String(), nil
}

// instance reads an instance-identifier and gives the canonical form.
func (t *Type) instance(text string, names Names) (string, error) {
	if !strings.HasPrefix(text, "/") {
		return "", fmt.Errorf("%q is no instance identifier; it begins with /", clip(text))
	}
	var module *Module
	out, err := rewrite(text, func(prefix, name string, predicate bool) (string, error) {
		m := module
		if prefix != "" {
			var ok bool
			if m, ok = names(prefix); !ok {
				return "", fmt.Errorf("no module is known as %q", clip(prefix))
			}
		}
		if m == nil {
			return "", fmt.Errorf("the first name needs its module's")
		}
		if m == module {
			return name, nil
		}
		if !predicate {
			module = m
		}
		return m.Name + ":" + name, nil
	})
	if err != nil {
		return "", fmt.Errorf("%q is no instance identifier: %w", clip(text), err)
	}
	return out, nil
}

// inXML gives an instance-identifier with prefixes, which are names of modules, and the modules.
func (t *Type) inXML(value string) (text string, modules []*Module) {
	var module *Module
	text, err := rewrite(value, func(prefix, name string, predicate bool) (string, error) {
		m := module
		if prefix != "" {
			m, _ = t.schema.Module(prefix)
		}
		if m == nil {
			return "", fmt.Errorf("no module")
		}
		if !predicate {
			module = m
		}
		if !slices.Contains(modules, m) {
			modules = append(modules, m)
		}
		return m.Name + ":" + name, nil
	})
	if err != nil {
		return value, nil
	}
	return text, modules
}
