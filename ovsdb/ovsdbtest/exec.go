// SPDX-License-Identifier: Apache-2.0

package ovsdbtest

import (
	"errors"
	"slices"
	"strconv"

	"nagare/ovsdb"
)

// errWait is a wait operation whose condition does not hold yet.
var errWait = errors.New("condition of wait not met")

// answer is the result of one operation.
type answer struct {
	uuid   ovsdb.UUID
	insert bool
	counts bool
	count  int
	rows   []ovsdb.Fields // select; nil otherwise
	fault  *fault
}

// execution is the run of a transact request.
type execution struct {
	*txn
	locked  func(name string) bool
	answers []answer
	wait    *ovsdb.Op // the operation that has to wait; nothing is committed then
}

// run executes operations in order until one fails or has to wait. A fault of an
// operation or of the commit becomes the last answer. It gives what changed.
func (d *database) run(ops []*ovsdb.Op, locked func(string) bool, expired bool) (*execution, []*delta) {
	x := &execution{txn: d.begin(), locked: locked}
	var repeated *ovsdb.Op
	for _, op := range ops { // names may be used before their insert
		if op.Op == ovsdb.OpInsert && op.UUIDName != "" {
			if _, dup := x.names[op.UUIDName]; dup {
				repeated = op
				break
			}
			x.names[op.UUIDName] = d.uuid()
			if !op.UUID.IsZero() {
				x.names[op.UUIDName] = op.UUID
			}
		}
	}
	for _, op := range ops {
		a, err := x.one(op)
		if op == repeated {
			err = faultf(ovsdb.DuplicateUUIDName, "uuid-name %q used twice", op.UUIDName)
		}
		if err == errWait {
			if !expired {
				x.wait = op
				return x, nil
			}
			err = faultf(ovsdb.TimedOut, "%q timed out", "wait")
		}
		if f, ok := err.(*fault); ok {
			x.answers = append(x.answers, answer{fault: f})
			return x, nil
		}
		x.answers = append(x.answers, a)
	}
	changed, f := x.commit()
	if f != nil {
		x.answers = append(x.answers, answer{fault: f})
		return x, nil
	}
	return x, changed
}

// one executes an operation; its error is a *fault or errWait.
func (x *execution) one(op *ovsdb.Op) (a answer, err error) {
	switch op.Op {
	case ovsdb.OpComment, ovsdb.OpCommit:
		return a, nil
	case ovsdb.OpAbort:
		return a, faultf(ovsdb.Aborted, "aborted by request")
	case ovsdb.OpAssert:
		if !x.locked(op.Lock) {
			return a, faultf(ovsdb.NotOwner, "asserted lock %s not held", op.Lock)
		}
		return a, nil
	}
	tb := x.db.tables[op.Table]
	if tb == nil {
		return a, faultf(ovsdb.SyntaxFault, "no table named %s", op.Table)
	}
	var f *fault
	switch op.Op {
	case ovsdb.OpInsert:
		a.insert = true
		a.uuid, f = x.insert(tb, op)
	case ovsdb.OpSelect:
		a.rows = []ovsdb.Fields{}
		f = x.match(tb, op.Where, func(r *row) *fault {
			fields, f := project(tb, r, op.Columns)
			a.rows = append(a.rows, fields)
			return f
		})
	case ovsdb.OpUpdate:
		for name := range op.Row {
			if _, ok := tb.index[name]; !ok {
				return a, noColumn(tb, name)
			}
		}
		a.counts = true
		f = x.match(tb, op.Where, func(r *row) *fault {
			a.count++
			c := r.clone()
			x.put(tb, r.uuid, c)
			return x.assign(tb, c, op.Row, true)
		})
	case ovsdb.OpMutate:
		for _, m := range op.Mutations {
			if _, ok := tb.index[m.Column]; !ok {
				return a, noColumn(tb, m.Column)
			}
		}
		a.counts = true
		f = x.match(tb, op.Where, func(r *row) *fault {
			a.count++
			return x.mutate(tb, r, op.Mutations)
		})
	case ovsdb.OpDelete:
		a.counts = true
		f = x.match(tb, op.Where, func(r *row) *fault {
			a.count++
			x.put(tb, r.uuid, nil)
			return nil
		})
	case ovsdb.OpWait:
		return a, x.waitFor(tb, op)
	default:
		f = faultf(ovsdb.SyntaxFault, "operation %q unknown", op.Op)
	}
	if f != nil {
		return a, f
	}
	return a, nil
}

func noColumn(tb *table, name string) *fault {
	return faultf(ovsdb.SyntaxFault, "no column named %s in table %s", name, tb.name)
}

func (x *execution) insert(tb *table, op *ovsdb.Op) (ovsdb.UUID, *fault) {
	u, named := x.names[op.UUIDName]
	if !named {
		if u = op.UUID; u.IsZero() {
			u = x.db.uuid()
		}
	}
	if x.get(tb, u) != nil || x.deltas[u] != nil {
		return u, faultf(ovsdb.DuplicateUUID, "row %s exists", u)
	}
	x.db.seq++
	r := &row{uuid: u, seq: x.db.seq, values: slices.Clone(tb.zero)}
	if f := x.assign(tb, r, op.Row, false); f != nil {
		return u, f
	}
	for i, v := range r.values {
		if f := checkCount(count(v), tb.types[i]); f != nil {
			return u, f
		}
	}
	x.put(tb, u, r)
	return u, nil
}

// assign overwrites columns of r.
func (x *execution) assign(tb *table, r *row, fields ovsdb.Fields, update bool) *fault {
	for name, v := range fields {
		i, ok := tb.index[name]
		if !ok {
			return noColumn(tb, name)
		}
		v, f := x.resolve(v)
		if f != nil {
			return f
		}
		if v, f = checkValue(v, tb.types[i], false); f != nil {
			f.details = "table " + tb.name + " column " + name + ": " + f.details
			return f
		}
		if update && tb.types[i].Immutable && !ovsdb.Equal(v, r.values[i]) {
			return faultf(ovsdb.ConstraintViolation, "cannot update immutable column %s in table %s", name, tb.name)
		}
		r.values[i] = v
	}
	return nil
}

// resolve puts rows for the names that stand for them.
func (x *execution) resolve(v ovsdb.Value) (ovsdb.Value, *fault) {
	var missing *fault
	atom := func(a ovsdb.Atom) ovsdb.Atom {
		name, ok := a.(ovsdb.Named)
		if !ok {
			return a
		}
		u, ok := x.names[string(name)]
		if !ok {
			missing = faultf(ovsdb.SyntaxFault, "named-uuid %q unknown", string(name))
		}
		return u
	}
	switch y := v.(type) {
	case ovsdb.Set:
		out := make(ovsdb.Set, len(y))
		for i, a := range y {
			out[i] = atom(a)
		}
		return out, missing
	case ovsdb.Map:
		out := make(ovsdb.Map, len(y))
		for i, p := range y {
			out[i] = ovsdb.Pair{Key: atom(p.Key), Value: atom(p.Value)}
		}
		return out, missing
	case ovsdb.Atom:
		return atom(y), missing
	}
	return v, nil
}

func (x *execution) mutate(tb *table, r *row, mutations []ovsdb.Mutation) *fault {
	c := r.clone()
	for _, m := range mutations {
		i := tb.index[m.Column]
		arg, f := x.resolve(m.Value)
		if f != nil {
			return f
		}
		if tb.types[i].Immutable {
			return faultf(ovsdb.ConstraintViolation, "cannot mutate immutable column %s in table %s", m.Column, tb.name)
		}
		v, f := mutate(c.values[i], tb.types[i], m.Mutator, arg)
		if f == nil {
			v, f = checkValue(v, tb.types[i], false)
		}
		if f != nil {
			f.details = "table " + tb.name + " column " + m.Column + ": " + f.details
			return f
		}
		c.values[i] = v
	}
	x.put(tb, r.uuid, c)
	return nil
}

// match calls f with the rows that meet all conditions.
func (x *execution) match(tb *table, where []ovsdb.Condition, f func(*row) *fault) *fault {
	where = slices.Clone(where)
	for i := range where {
		v, f := x.resolve(where[i].Value)
		if f == nil {
			v, f = checkCondition(tb, where[i].Column, v)
		}
		if f != nil {
			return f
		}
		where[i].Value = v
	}
	if len(where) > 0 && where[0].Column == "_uuid" && where[0].Function == "==" {
		u, _ := where[0].Value.(ovsdb.UUID)
		r := x.get(tb, u)
		if r == nil {
			return nil
		}
		if ok, bad := meets(tb, r, where); !ok || bad != nil {
			return bad
		}
		return f(r)
	}
	return x.each(tb, func(r *row) *fault {
		if ok, bad := meets(tb, r, where); !ok || bad != nil {
			return bad
		}
		return f(r)
	})
}

func checkCondition(tb *table, column string, v ovsdb.Value) (ovsdb.Value, *fault) {
	if column == "_uuid" || column == "_version" {
		return ovsdb.Canon(v), nil
	}
	i, ok := tb.index[column]
	if !ok {
		return nil, noColumn(tb, column)
	}
	return checkValue(v, tb.types[i], true)
}

func meets(tb *table, r *row, where []ovsdb.Condition) (bool, *fault) {
	for _, c := range where {
		if ok, f := holds(r.column(tb, c.Column), c.Function, c.Value); !ok || f != nil {
			return false, f
		}
	}
	return true, nil
}

func (r *row) column(tb *table, name string) ovsdb.Value {
	switch name {
	case "_uuid":
		return r.uuid
	case "_version":
		return r.version
	}
	return r.values[tb.index[name]]
}

// project gives the named columns of a row, or all of them.
func project(tb *table, r *row, columns []string) (ovsdb.Fields, *fault) {
	if columns == nil {
		columns = append([]string{"_uuid", "_version"}, tb.names...)
	}
	f := make(ovsdb.Fields, len(columns))
	for _, name := range columns {
		if _, ok := tb.index[name]; !ok && name != "_uuid" && name != "_version" {
			return nil, noColumn(tb, name)
		}
		f[name] = r.column(tb, name)
	}
	return f, nil
}

// waitFor compares the matching rows' columns, as a set of rows, with those given.
func (x *execution) waitFor(tb *table, op *ovsdb.Op) error {
	seen := make(map[string]bool)
	f := x.match(tb, op.Where, func(r *row) *fault {
		fields, f := project(tb, r, op.Columns)
		if f == nil {
			seen[rowKey(fields, op.Columns)] = true
		}
		return f
	})
	if f != nil {
		return f
	}
	want := make(map[string]bool)
	for _, given := range op.Rows {
		full := make(ovsdb.Fields)
		for _, name := range op.Columns {
			if i, ok := tb.index[name]; ok {
				full[name] = tb.zero[i]
			}
		}
		for name, v := range given {
			v, f := x.resolve(v)
			if f == nil {
				v, f = checkCondition(tb, name, v)
			}
			if f != nil {
				return f
			}
			full[name] = v
		}
		want[rowKey(full, op.Columns)] = true
	}
	same := len(seen) == len(want)
	for k := range want {
		same = same && seen[k]
	}
	if same == (op.Until == "==") {
		return nil
	}
	return errWait
}

func rowKey(f ovsdb.Fields, columns []string) string {
	var b []byte
	for _, name := range columns {
		b = strconv.AppendQuote(b, name)
		b, _ = ovsdb.AppendValue(b, f[name])
	}
	return string(b)
}
