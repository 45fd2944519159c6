// SPDX-License-Identifier: Apache-2.0

package yang

import (
	"fmt"
	"slices"
	"strings"
)

// identity is "module:name".
type identity string

// identitySet is an identity with all that are derived from it.
type identitySet struct{ derived map[identity]bool }

// TakesIdentities reports whether the type, or a member of it, has identities as values.
func (t *Type) TakesIdentities() bool {
	t = t.resolve()
	return t.Base == IdentityRef || slices.ContainsFunc(t.members, (*Type).TakesIdentities)
}

// identity reads the name of an identity and gives it with its module's.
func (t *Type) identity(text string, names Names) (string, error) {
	prefix, local, qualified := strings.Cut(text, ":")
	m := t.module
	switch {
	case !qualified:
		local = text
		if inScope, ok := names(""); ok {
			m = inScope
		}
	default:
		var ok bool
		if m, ok = names(prefix); !ok {
			return "", fmt.Errorf("%q: no module is known as %q", clip(text), clip(prefix))
		}
	}
	id := identity(m.Name + ":" + local)
	for _, base := range t.bases {
		if !t.schema.idents[base].derived[id] {
			return "", fmt.Errorf("%q is no identity derived from %s", clip(text), base)
		}
	}
	return string(id), nil
}

// DerivedFrom reports whether an identity is, or is derived from, another; both with their modules' names.
func (s *Schema) DerivedFrom(id, base string, orSelf bool) bool {
	if orSelf && id == base {
		return true
	}
	set := s.idents[identity(base)]
	return set != nil && set.derived[identity(id)]
}
