// SPDX-License-Identifier: Apache-2.0

package ovsdbtest

import (
	"fmt"
	"math"
	"unicode/utf8"

	"nagare/ovsdb"
)

// fault is why an operation or a commit failed.
type fault struct {
	code    ovsdb.Code
	details string
}

func (f *fault) Error() string { return string(f.code) + ": " + f.details }

func faultf(code ovsdb.Code, format string, args ...any) *fault {
	return &fault{code, fmt.Sprintf(format, args...)}
}

func atomType(a ovsdb.Atom) string {
	switch a.(type) {
	case ovsdb.Int:
		return "integer"
	case ovsdb.Real:
		return "real"
	case ovsdb.Bool:
		return "boolean"
	case ovsdb.UUID:
		return "uuid"
	case ovsdb.String:
		return "string"
	}
	return "named-uuid"
}

// checkAtom holds an atom against its base type (RFC 7047 section 3.2).
func checkAtom(a ovsdb.Atom, t *ovsdb.BaseType) (ovsdb.Atom, *fault) {
	if n, ok := a.(ovsdb.Int); ok && t.Type == "real" {
		a = ovsdb.Real(n)
	}
	if atomType(a) != t.Type {
		return nil, faultf(ovsdb.SyntaxFault, "expected %s, got %s", t.Type, atomType(a))
	}
	if len(t.Enum) > 0 && !t.Enum.Contains(a) {
		return nil, faultf(ovsdb.ConstraintViolation, "%v is not one of the allowed values", a)
	}
	switch a := a.(type) {
	case ovsdb.Int:
		if int64(a) < t.MinInteger || int64(a) > t.MaxInteger {
			return nil, faultf(ovsdb.ConstraintViolation, "%d is not in the valid range %d to %d", a, t.MinInteger, t.MaxInteger)
		}
	case ovsdb.Real:
		if float64(a) < t.MinReal || float64(a) > t.MaxReal {
			return nil, faultf(ovsdb.ConstraintViolation, "%g is not in the valid range", a)
		}
	case ovsdb.String:
		if n := utf8.RuneCountInString(string(a)); n < t.MinLength || n > t.MaxLength {
			return nil, faultf(ovsdb.ConstraintViolation, "%q has a length out of range", a)
		}
	}
	return a, nil
}

// checkValue holds a value against a column's type and gives it in canonical form.
// With loose, the number of elements is not checked: mutations and conditions.
func checkValue(v ovsdb.Value, c *ovsdb.ColumnSchema, loose bool) (ovsdb.Value, *fault) {
	v = ovsdb.Canon(v)
	n := 1
	switch x := v.(type) {
	case ovsdb.Map:
		if c.Value == nil {
			return nil, faultf(ovsdb.SyntaxFault, "map where a set is wanted")
		}
		out := make(ovsdb.Map, len(x))
		for i, p := range x {
			var f *fault
			if out[i].Key, f = checkAtom(p.Key, &c.Key); f != nil {
				return nil, f
			}
			if out[i].Value, f = checkAtom(p.Value, c.Value); f != nil {
				return nil, f
			}
		}
		v, n = out, len(x)
	default:
		set := ovsdb.AsSet(v)
		if c.Value != nil && len(set) > 0 {
			return nil, faultf(ovsdb.SyntaxFault, "set where a map is wanted")
		}
		out := make(ovsdb.Set, len(set))
		for i, a := range set {
			var f *fault
			if out[i], f = checkAtom(a, &c.Key); f != nil {
				return nil, f
			}
		}
		v, n = ovsdb.Canon(out), len(set)
	}
	if !loose {
		return v, checkCount(n, c)
	}
	return v, nil
}

func checkCount(n int, c *ovsdb.ColumnSchema) *fault {
	if n < c.Min || n > c.Max {
		return faultf(ovsdb.ConstraintViolation, "%d values when type requires between %d and %d", n, c.Min, c.Max)
	}
	return nil
}

func count(v ovsdb.Value) int {
	if m, ok := v.(ovsdb.Map); ok {
		return len(m)
	}
	return len(ovsdb.AsSet(v))
}

// holds evaluates a condition's function (RFC 7047 section 5.1).
func holds(have ovsdb.Value, function string, arg ovsdb.Value) (bool, *fault) {
	switch function {
	case "==":
		return ovsdb.Equal(have, arg), nil
	case "!=":
		return !ovsdb.Equal(have, arg), nil
	case "includes":
		return includes(have, arg), nil
	case "excludes":
		if m, ok := arg.(ovsdb.Map); ok {
			for _, p := range m {
				if v := ovsdb.AsMap(have).Lookup(p.Key); v != nil && ovsdb.Compare(v, p.Value) == 0 {
					return false, nil
				}
			}
			return true, nil
		}
		for _, a := range ovsdb.AsSet(arg) {
			if ovsdb.AsSet(have).Contains(a) {
				return false, nil
			}
		}
		return true, nil
	}
	x, xok := have.(ovsdb.Atom)
	y, yok := arg.(ovsdb.Atom)
	if !yok {
		return false, faultf(ovsdb.SyntaxFault, "function %q needs one number", function)
	}
	if !xok { // an empty optional column matches no order
		return false, nil
	}
	order := ovsdb.Compare(x, y)
	switch function {
	case "<":
		return order < 0, nil
	case "<=":
		return order <= 0, nil
	case ">":
		return order > 0, nil
	case ">=":
		return order >= 0, nil
	}
	return false, faultf(ovsdb.SyntaxFault, "function %q unknown", function)
}

func includes(have, arg ovsdb.Value) bool {
	if m, ok := arg.(ovsdb.Map); ok {
		for _, p := range m {
			if v := ovsdb.AsMap(have).Lookup(p.Key); v == nil || ovsdb.Compare(v, p.Value) != 0 {
				return false
			}
		}
		return true
	}
	for _, a := range ovsdb.AsSet(arg) {
		if !ovsdb.AsSet(have).Contains(a) {
			return false
		}
	}
	return true
}

// mutate applies a mutator (RFC 7047 section 5.1) to a column's value.
func mutate(have ovsdb.Value, c *ovsdb.ColumnSchema, mutator string, arg ovsdb.Value) (ovsdb.Value, *fault) {
	switch mutator {
	case "insert", "delete":
		if mutator == "delete" && c.Value != nil {
			if _, isMap := arg.(ovsdb.Map); !isMap {
				return deleteKeys(have, c, arg)
			}
		}
		arg, f := checkValue(arg, c, true)
		if f != nil {
			return nil, f
		}
		if c.Value != nil {
			return mutateMap(ovsdb.AsMap(have), ovsdb.AsMap(arg), mutator), nil
		}
		return mutateSet(ovsdb.AsSet(have), ovsdb.AsSet(arg), mutator), nil
	}
	if c.Value != nil || (c.Key.Type != "integer" && c.Key.Type != "real") {
		return nil, faultf(ovsdb.ConstraintViolation, "mutator %q needs a column of numbers", mutator)
	}
	operand, ok := ovsdb.Canon(arg).(ovsdb.Atom)
	if !ok {
		return nil, faultf(ovsdb.SyntaxFault, "mutator %q needs one number", mutator)
	}
	var out ovsdb.Set
	for _, a := range ovsdb.AsSet(have) {
		r, f := arithmetic(a, mutator, operand)
		if f != nil {
			return nil, f
		}
		out = append(out, r)
	}
	return ovsdb.Canon(out), nil
}

func deleteKeys(have ovsdb.Value, c *ovsdb.ColumnSchema, arg ovsdb.Value) (ovsdb.Value, *fault) {
	var out ovsdb.Map
	keys := ovsdb.AsSet(ovsdb.Canon(arg))
	for _, k := range keys {
		if _, f := checkAtom(k, &c.Key); f != nil {
			return nil, f
		}
	}
	for _, p := range ovsdb.AsMap(have) {
		if !keys.Contains(p.Key) {
			out = append(out, p)
		}
	}
	return ovsdb.Canon(out), nil
}

func mutateMap(have, arg ovsdb.Map, mutator string) ovsdb.Value {
	var out ovsdb.Map
	for _, p := range have {
		v := arg.Lookup(p.Key)
		if mutator == "delete" && v != nil && ovsdb.Compare(v, p.Value) == 0 {
			continue
		}
		out = append(out, p)
	}
	if mutator == "insert" {
		for _, p := range arg {
			if have.Lookup(p.Key) == nil {
				out = append(out, p)
			}
		}
	}
	return ovsdb.Canon(out)
}

func mutateSet(have, arg ovsdb.Set, mutator string) ovsdb.Value {
	out := make(ovsdb.Set, 0, len(have)+len(arg))
	if mutator == "insert" {
		return ovsdb.Canon(append(append(out, have...), arg...))
	}
	for _, a := range have {
		if !arg.Contains(a) {
			out = append(out, a)
		}
	}
	return ovsdb.Canon(out)
}

func arithmetic(a ovsdb.Atom, mutator string, b ovsdb.Atom) (ovsdb.Atom, *fault) {
	if x, ok := a.(ovsdb.Int); ok {
		y, ok := b.(ovsdb.Int)
		if !ok {
			return nil, faultf(ovsdb.SyntaxFault, "integer column and %s operand", atomType(b))
		}
		return integerArithmetic(x, mutator, y)
	}
	x, _ := a.(ovsdb.Real)
	y, ok := b.(ovsdb.Real)
	if n, isInt := b.(ovsdb.Int); isInt {
		y, ok = ovsdb.Real(n), true
	}
	if !ok {
		return nil, faultf(ovsdb.SyntaxFault, "real column and %s operand", atomType(b))
	}
	switch mutator {
	case "+=":
		x += y
	case "-=":
		x -= y
	case "*=":
		x *= y
	case "/=":
		if y == 0 {
			return nil, faultf(ovsdb.DomainError, "division by zero")
		}
		x /= y
	default:
		return nil, faultf(ovsdb.SyntaxFault, "mutator %q unknown", mutator)
	}
	if math.IsInf(float64(x), 0) || math.IsNaN(float64(x)) {
		return nil, faultf(ovsdb.RangeError, "result of %q out of range", mutator)
	}
	return x, nil
}

func integerArithmetic(x ovsdb.Int, mutator string, y ovsdb.Int) (ovsdb.Atom, *fault) {
	var z ovsdb.Int
	overflow := false
	switch mutator {
	case "+=":
		z = x + y
		overflow = (z > x) != (y > 0) && y != 0
	case "-=":
		z = x - y
		overflow = (z < x) != (y > 0) && y != 0
	case "*=":
		z = x * y
		overflow = x != 0 && (z/x != y || x == -1 && y == math.MinInt64)
	case "/=", "%=":
		switch {
		case y == 0:
			return nil, faultf(ovsdb.DomainError, "division by zero")
		case x == math.MinInt64 && y == -1:
			overflow = true
		case mutator == "/=":
			z = x / y
		default:
			z = x % y
		}
	default:
		return nil, faultf(ovsdb.SyntaxFault, "mutator %q unknown", mutator)
	}
	if overflow {
		return nil, faultf(ovsdb.RangeError, "result of %q out of range", mutator)
	}
	return z, nil
}
