// SPDX-License-Identifier: Apache-2.0

package yang

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"nagare/internal/api/jsonbody"
)

// Base is a built-in type.
type Base uint8

const (
	Int Base = iota + 1
	Uint
	Decimal
	String
	Boolean
	Enumeration
	Bits
	Binary
	Empty
	IdentityRef
	LeafRef
	Union
	InstanceID
)

// Type is the type of a leaf or leaf-list with everything that restricts it.
type Type struct {
	Base     Base
	Name     string // as the module says it
	bits     int    // of integers
	fraction int    // of decimal64
	ranges   []span // of numbers
	lengths  []span // of strings and binary
	patterns []pattern
	names    []string // of enumerations and bits, in order of their values
	bases    []identity
	module   *Module // against which names without a prefix are read
	schema   *Schema
	path     *Expr // of a leafref
	Target   *Node // of a leafref
	members  []*Type
}

// span is a closed interval; decimal64 values are scaled by their fraction digits.
type span struct{ min, max *big.Int }

type pattern struct {
	text string
	re   *regexp.Regexp
}

// Names gives the module that a prefix of a name in a value stands for: in JSON module names themselves, in XML what the namespaces
// in scope say. An empty prefix is not asked for but in XML.
type Names func(prefix string) (*Module, bool)

// resolve follows leafrefs to the type that values have.
func (t *Type) resolve() *Type {
	for t.Base == LeafRef {
		t = t.Target.Type
	}
	return t
}

// Parse reads a value as text, as XML and paths hold it, and gives its canonical form.
func (t *Type) Parse(text string, names Names) (string, error) {
	t = t.resolve()
	switch t.Base {
	case Int, Uint, Decimal:
		return t.number(strings.TrimSpace(text))
	case String:
		return text, t.checkString(text)
	case Boolean:
		if text != "true" && text != "false" {
			return "", fmt.Errorf("%q is not true or false", text)
		}
		return text, nil
	case Enumeration:
		if !slices.Contains(t.names, text) {
			return "", fmt.Errorf("%q is none of %s", text, strings.Join(t.names, ", "))
		}
		return text, nil
	case Bits:
		return t.bitset(text)
	case Binary:
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return "", fmt.Errorf("%q is not base64", text)
		}
		return base64.StdEncoding.EncodeToString(raw), t.checkLength(len(raw))
	case Empty:
		if text != "" {
			return "", fmt.Errorf("%q: want nothing", text)
		}
		return "", nil
	case IdentityRef:
		return t.identity(text, names)
	case InstanceID:
		return t.instance(text, names)
	}
	for _, m := range t.members {
		if v, err := m.Parse(text, names); err == nil {
			return v, nil
		}
	}
	return "", fmt.Errorf("%q fits no member of the union %s", text, t.Name)
}

// FromJSON reads a value as RFC 7951 section 6 has it: small numbers as numbers, those of 64 bits and decimals as strings. Numbers as
// strings, and the other way round, are taken too where lax: the older dialect of RESTCONF has them so.
func (t *Type) FromJSON(v any, names Names, lax bool) (string, error) {
	t = t.resolve()
	if t.Base == Union {
		for _, m := range t.members { // the JSON type chooses between members (section 6.10)
			if s, err := m.FromJSON(v, names, false); err == nil {
				return s, nil
			}
		}
		if lax {
			for _, m := range t.members {
				if s, err := m.FromJSON(v, names, true); err == nil {
					return s, nil
				}
			}
		}
		return "", fmt.Errorf("%s fits no member of the union %s", describe(v), t.Name)
	}
	switch x := v.(type) {
	case string:
		if t.Base == Boolean && !lax || t.Base == Empty || t.small() && !lax {
			return "", fmt.Errorf("%s: want %s", describe(v), t.want())
		}
		return t.Parse(x, names)
	case json.Number:
		if t.small() || t.numeric() && lax {
			return t.Parse(x.String(), names)
		}
	case bool:
		if t.Base == Boolean {
			return strconv.FormatBool(x), nil
		}
	case []any:
		if t.Base == Empty && len(x) == 1 && x[0] == nil {
			return "", nil
		}
	}
	return "", fmt.Errorf("%s: want %s", describe(v), t.want())
}

// AppendJSON writes a canonical value as RFC 7951 has it.
func (t *Type) AppendJSON(b []byte, value string) []byte {
	t = t.resolve()
	switch {
	case t.Base == Union:
		for _, m := range t.members {
			if got, err := m.Parse(value, t.schema.ModuleNames); err == nil && got == value {
				return m.AppendJSON(b, value)
			}
		}
	case t.small(), t.Base == Boolean:
		return append(b, value...)
	case t.Base == Empty:
		return append(b, "[null]"...)
	}
	return jsonbody.AppendString(b, value)
}

// ModuleNames reads prefixes as names of modules.
func (s *Schema) ModuleNames(prefix string) (*Module, bool) { return s.Module(prefix) }

func (t *Type) numeric() bool { return t.Base == Int || t.Base == Uint || t.Base == Decimal }

// small reports whether JSON has the values as numbers.
func (t *Type) small() bool { return (t.Base == Int || t.Base == Uint) && t.bits < 64 }

func (t *Type) want() string {
	switch {
	case t.small():
		return "a number (" + t.Name + ")"
	case t.Base == Boolean:
		return "true or false"
	case t.Base == Empty:
		return "[null]"
	}
	return "a string (" + t.Name + ")"
}

func describe(v any) string {
	switch x := v.(type) {
	case nil:
		return "null"
	case map[string]any:
		return "an object"
	case []any:
		return "a list"
	case string:
		return strconv.Quote(x)
	}
	return fmt.Sprint(v)
}

func (t *Type) number(text string) (string, error) {
	n, err := scaled(text, t.fraction)
	if err != nil {
		return "", fmt.Errorf("%q is no %s", text, t.Name)
	}
	if !within(t.ranges, n) {
		return "", fmt.Errorf("%s is outside %s", text, t.describeRange())
	}
	return unscaled(n, t.fraction), nil
}

// scaled reads a number in decimal, or an integer in hexadecimal or octal (RFC 7950 section 9.2.1), times a power of ten.
func scaled(text string, fraction int) (*big.Int, error) {
	sign, digits := "", text
	if digits != "" && (digits[0] == '-' || digits[0] == '+') {
		sign, digits = strings.TrimPrefix(digits[:1], "+"), digits[1:]
	}
	base := 10
	switch {
	case fraction > 0:
		whole, part, dot := strings.Cut(digits, ".")
		if len(part) > fraction || whole == "" || dot && part == "" {
			return nil, strconv.ErrSyntax
		}
		digits = whole + part + strings.Repeat("0", fraction-len(part))
	case strings.HasPrefix(digits, "0x"):
		base, digits = 16, digits[2:]
	case len(digits) > 1 && digits[0] == '0':
		base, digits = 8, digits[1:]
	}
	if digits == "" || len(digits) > 24 || strings.ContainsAny(digits, "+-_") {
		return nil, strconv.ErrSyntax
	}
	n, ok := new(big.Int).SetString(sign+digits, base)
	if !ok {
		return nil, strconv.ErrSyntax
	}
	return n, nil
}

func unscaled(n *big.Int, fraction int) string {
	if fraction == 0 {
		return n.String()
	}
	s := new(big.Int).Abs(n).String()
	if len(s) <= fraction {
		s = strings.Repeat("0", fraction+1-len(s)) + s
	}
	whole, part := s[:len(s)-fraction], strings.TrimRight(s[len(s)-fraction:], "0")
	if part == "" {
		part = "0"
	}
	if n.Sign() < 0 {
		whole = "-" + whole
	}
	return whole + "." + part
}

func within(spans []span, n *big.Int) bool {
	return len(spans) == 0 || slices.ContainsFunc(spans, func(s span) bool { return s.min.Cmp(n) <= 0 && n.Cmp(s.max) <= 0 })
}

func (t *Type) describeRange() string {
	var out []string
	for _, s := range t.ranges {
		out = append(out, unscaled(s.min, t.fraction)+".."+unscaled(s.max, t.fraction))
	}
	return strings.Join(out, " | ")
}

func (t *Type) checkString(s string) error {
	if !utf8.ValidString(s) {
		return fmt.Errorf("the text is not UTF-8")
	}
	if len(t.lengths) > 0 {
		if err := t.checkLength(utf8.RuneCountInString(s)); err != nil {
			return err
		}
	}
	for _, p := range t.patterns {
		if !p.re.MatchString(s) {
			return fmt.Errorf("%q is no %s (pattern %s)", clip(s), t.Name, p.text)
		}
	}
	return nil
}

func (t *Type) checkLength(n int) error {
	if !within(t.lengths, big.NewInt(int64(n))) {
		var want []string
		for _, s := range t.lengths {
			want = append(want, s.min.String()+".."+s.max.String())
		}
		return fmt.Errorf("the length is %d, want %s", n, strings.Join(want, " | "))
	}
	return nil
}

// clip keeps what errors quote short.
func clip(s string) string {
	if len(s) <= 64 {
		return s
	}
	return strings.ToValidUTF8(s[:64], "") + "..."
}

// bitset gives names of bits in the order of their positions.
func (t *Type) bitset(text string) (string, error) {
	set := map[string]bool{}
	for name := range strings.FieldsSeq(text) {
		if !slices.Contains(t.names, name) || set[name] {
			return "", fmt.Errorf("%q: want each at most once of %s", clip(text), strings.Join(t.names, ", "))
		}
		set[name] = true
	}
	out := slices.DeleteFunc(slices.Clone(t.names), func(n string) bool { return !set[n] })
	return strings.Join(out, " "), nil
}
