// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"nagare/internal/model"
)

// parser turns a value of a decoded body (nil, bool, string, json.Number, []any, map[string]any) into what the resource's
// functions take. It fails with a reason, which the engine completes, or with an *Error that is the answer.
type parser func(any) (any, error)

// show gives a value as the messages of the API print it.
func show(v any) string {
	s := "None"
	switch v := v.(type) {
	case nil:
	case bool:
		s = "False"
		if v {
			s = "True"
		}
	case string:
		s = v
	case []any:
		parts := make([]string, 0, len(v))
		for _, e := range v {
			parts = append(parts, quote(e))
		}
		s = "[" + strings.Join(parts, ", ") + "]"
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k, e := range v {
			keys = append(keys, "'"+k+"': "+quote(e))
		}
		slices.Sort(keys)
		s = "{" + strings.Join(keys, ", ") + "}"
	default:
		s = fmt.Sprint(v)
	}
	if len(s) > 300 { // an answer need not repeat a megabyte
		s = strings.ToValidUTF8(s[:300], "") + "..."
	}
	return s
}

func quote(v any) string {
	if s, ok := v.(string); ok {
		return "'" + s + "'"
	}
	return show(v)
}

// text takes strings of up to n bytes. NUL is refused: no client means it and it ends strings elsewhere.
func text(n int) parser {
	return func(v any) (any, error) {
		s, ok := v.(string)
		switch {
		case !ok:
			return nil, because("'%s' is not a valid string", show(v))
		case len(s) > n:
			return nil, because("'%s' exceeds maximum length of %d", show(s), n)
		case strings.ContainsRune(s, 0):
			return nil, because("'%s' is not a valid string: it contains a NUL character", show(strings.ReplaceAll(s, "\x00", "\\0")))
		}
		return s, nil
	}
}

// orNull lets null stand for the zero value: the attribute is present with a nil value.
func orNull(p parser) parser {
	return func(v any) (any, error) {
		if v == nil {
			return nil, nil
		}
		return p(v)
	}
}

// textOrNull takes null for the empty string.
func textOrNull(n int) parser {
	p := text(n)
	return func(v any) (any, error) {
		if v == nil {
			return "", nil
		}
		return p(v)
	}
}

func boolean(v any) (any, error) {
	switch v := v.(type) {
	case bool:
		return v, nil
	case string:
		switch strings.ToLower(v) {
		case "true", "1":
			return true, nil
		case "false", "0":
			return false, nil
		}
	case json.Number:
		if v == "1" || v == "0" {
			return v == "1", nil
		}
	}
	return nil, invalidInput("'%s' cannot be converted to boolean", show(v))
}

// integer takes whole numbers between lo and hi, written as a number or as digits in a string.
func integer(lo, hi int) parser {
	return func(v any) (any, error) {
		var s string
		switch v := v.(type) {
		case json.Number:
			s = v.String()
		case string:
			s = v
		default:
			return nil, invalidInput("'%s' is not an integer", show(v))
		}
		n, err := strconv.Atoi(s)
		if err != nil {
			return nil, invalidInput("'%s' is not an integer", show(v))
		}
		if n < lo {
			return nil, because("'%d' is too small - must be at least '%d'", n, lo)
		}
		if n > hi {
			return nil, because("'%d' is too large - must be no larger than '%d'", n, hi)
		}
		return n, nil
	}
}

func oneOf(allowed ...string) parser {
	return func(v any) (any, error) {
		if s, ok := v.(string); ok && slices.Contains(allowed, s) {
			return s, nil
		}
		return nil, because("'%s' is not in ['%s']", show(v), strings.Join(allowed, "', '"))
	}
}

func uuidText(v any) (any, error) {
	s, ok := v.(string)
	if u, err := uuid.Parse(s); !ok || err != nil || len(s) != 36 || !strings.EqualFold(u.String(), s) {
		return nil, because("'%s' is not a valid UUID", show(v))
	}
	return strings.ToLower(s), nil
}

func macAddress(v any) (any, error) {
	s, ok := v.(string)
	m, err := model.ParseMAC(s)
	if !ok || err != nil || m.IsZero() || m.IsMulticast() {
		return nil, because("'%s' is not a valid MAC address", show(v))
	}
	return m, nil
}

// ipAddress takes one address without zone; an IPv4 address mapped into IPv6 becomes IPv4.
func ipAddress(v any) (any, error) {
	s, ok := v.(string)
	a, err := netip.ParseAddr(s)
	if !ok || err != nil || a.Zone() != "" {
		return nil, because("'%s' is not a valid IP address", show(v))
	}
	return a.Unmap(), nil
}

// cidr takes a prefix without host bits.
func cidr(v any) (any, error) {
	s, ok := v.(string)
	p, err := netip.ParsePrefix(s)
	if !ok || err != nil || p.Addr().Is4In6() {
		return nil, because("'%s' is not a valid IP subnet", show(v))
	}
	if p != p.Masked() {
		return nil, because("'%s' isn't a recognized IP subnet cidr, '%s' is recommended", show(v), p.Masked())
	}
	return p, nil
}

// ipOrCIDR takes an address or a prefix; an address is a prefix of its full length. Host bits are kept out.
func ipOrCIDR(v any) (any, error) {
	s, _ := v.(string)
	if p, err := netip.ParsePrefix(s); err == nil && !p.Addr().Is4In6() {
		return p.Masked(), nil
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return nil, because("'%s' is neither a valid IP address, nor is it a valid IP subnet", show(v))
}

// list takes up to n values of one kind. null is the empty list. With distinct, a repeated value is refused.
func list[V comparable](n int, item parser, distinct bool) parser {
	return func(v any) (any, error) {
		if v == nil {
			return []V(nil), nil
		}
		l, ok := v.([]any)
		if !ok {
			return nil, because("'%s' is not a list", show(v))
		}
		if len(l) > n {
			return nil, because("list of %d elements is longer than %d", len(l), n)
		}
		out := make([]V, 0, len(l))
		seen := make(map[V]bool, len(l))
		for _, e := range l {
			x, err := item(e)
			if err != nil {
				return nil, err
			}
			val := x.(V)
			if distinct && seen[val] {
				return nil, because("Duplicate items in the list: '%s'", show(e))
			}
			seen[val] = true
			out = append(out, val)
		}
		return out, nil
	}
}

// object takes a map whose keys are all known; fields parse the values, required names must be there.
func object(v any, fields map[string]parser, required ...string) (map[string]any, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, because("'%s' is not a dictionary", show(v))
	}
	out := make(map[string]any, len(m))
	for _, k := range required {
		if _, ok := m[k]; !ok {
			return nil, because("Invalid data format: '%s' misses '%s'", show(v), k)
		}
	}
	// In a fixed order, so that of several faults always the same is told.
	names := make([]string, 0, len(m))
	for k := range m {
		names = append(names, k)
	}
	slices.Sort(names)
	for _, k := range names {
		p, ok := fields[k]
		if !ok {
			return nil, because("Unexpected keys supplied: %s", show(k))
		}
		x, err := p(m[k])
		if err != nil {
			return nil, err
		}
		out[k] = x
	}
	return out, nil
}
