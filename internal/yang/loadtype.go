// SPDX-License-Identifier: Apache-2.0

package yang

import (
	"cmp"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strings"

	goyang "github.com/openconfig/goyang/pkg/yang"
)

var integers = map[goyang.TypeKind]struct {
	base Base
	bits int
}{
	goyang.Yint8: {Int, 8}, goyang.Yint16: {Int, 16}, goyang.Yint32: {Int, 32}, goyang.Yint64: {Int, 64},
	goyang.Yuint8: {Uint, 8}, goyang.Yuint16: {Uint, 16}, goyang.Yuint32: {Uint, 32}, goyang.Yuint64: {Uint, 64},
}

var others = map[goyang.TypeKind]Base{
	goyang.Ydecimal64: Decimal, goyang.Ystring: String, goyang.Ybool: Boolean, goyang.Yenum: Enumeration, goyang.Ybits: Bits, goyang.Ybinary: Binary,
	goyang.Yempty: Empty, goyang.Yidentityref: IdentityRef, goyang.Yleafref: LeafRef, goyang.Yunion: Union, goyang.YinstanceIdentifier: InstanceID,
}

// typ compiles the type of a node, or of a member of its union.
func (l *loader) typ(n *Node, e *goyang.Entry, y *goyang.YangType) *Type {
	t := &Type{Name: y.Name, module: n.Module, schema: l.schema, fraction: y.FractionDigits, Base: others[y.Kind]}
	if i, ok := integers[y.Kind]; ok {
		t.Base, t.bits = i.base, i.bits
	}
	if t.Base == 0 {
		l.refuse(e.Node, "type %s of %s is not understood here", y.Name, n.Name)
		return t
	}
	t.ranges, t.lengths = spans(y.Range), spans(y.Length)
	for _, p := range y.Pattern {
		re, err := compilePattern(p)
		if err != nil {
			l.refuse(e.Node, "pattern %q of %s: %v", p, n.Name, err)
			continue
		}
		t.patterns = append(t.patterns, pattern{p, re})
	}
	for _, values := range []*goyang.EnumType{y.Enum, y.Bit} {
		if values != nil {
			t.names = slices.SortedFunc(maps.Keys(values.NameMap()), func(a, b string) int { return cmp.Compare(values.Value(a), values.Value(b)) })
		}
	}
	switch t.Base {
	case IdentityRef:
		if y.IdentityBase != nil {
			t.bases = append(t.bases, identity(goyang.RootNode(y.IdentityBase).Name+":"+y.IdentityBase.Name))
		}
	case LeafRef:
		at := goyang.Node(e.Node)
		if y.Base != nil && goyang.RootNode(y.Base) != nil { // a typedef's path is of the typedef's module
			at = y.Base
		}
		if t.path = l.compile(at, n, y.Path); t.path == nil {
			break
		}
		l.later = append(l.later, func() {
			target, err := t.path.target(n)
			switch {
			case err != nil:
				l.refuse(e.Node, "path %q of %s: %v", y.Path, n.Name, err)
			case target.Type == nil:
				l.refuse(e.Node, "path %q of %s leads to no leaf", y.Path, n.Name)
			default:
				t.Target = target
			}
		})
	case Union:
		for _, m := range y.Type {
			t.members = append(t.members, l.typ(n, e, m))
		}
	}
	return t
}

func spans(r goyang.YangRange) (out []span) {
	number := func(n goyang.Number) *big.Int {
		v := new(big.Int).SetUint64(n.Value)
		if n.Negative {
			v.Neg(v)
		}
		return v
	}
	for _, x := range r {
		out = append(out, span{number(x.Min), number(x.Max)})
	}
	return out
}

// compilePattern makes a regular expression of XML Schema one of Go. They differ in anchors, which XML Schema has not (a pattern matches
// the whole), so ^ and $ are plain characters there; and in block names and class subtraction, which are refused.
func compilePattern(p string) (*regexp.Regexp, error) {
	var b strings.Builder
	b.WriteString(`\A(?:`)
	class := false
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case c == '\\' && i+1 < len(p):
			b.WriteString(p[i : i+2])
			i++
			continue
		case c == '[' && !class:
			class = true
			if i+1 < len(p) && p[i+1] == '^' {
				b.WriteString("[^")
				i++
				continue
			}
		case c == ']':
			class = false
		case (c == '^' || c == '$') && !class:
			b.WriteByte('\\')
		}
		b.WriteByte(p[i])
	}
	b.WriteString(`)\z`)
	return regexp.Compile(b.String())
}
