// SPDX-License-Identifier: Apache-2.0

package ovsdb

import (
	"fmt"
	"slices"
	"time"

	"nagare/ovsdb/internal/jsonscan"
)

// Txn gathers the operations of one transaction (RFC 7047 section 4.1.3). It is
// built by one goroutine, then given to Session.Commit; building never fails.
//
//	t := ovsdb.NewTxn("Open_vSwitch")
//	i := t.Insert("Interface", ovsdb.Fields{"name": ovsdb.String("vx1"), "type": ovsdb.String("vxlan")})
//	p := t.Insert("Port", ovsdb.Fields{"name": ovsdb.String("vx1"), "interfaces": i})
//	t.Mutate("Bridge", ovsdb.ByUUID(br), ovsdb.Add("ports", p))
//	res, err := session.Commit(ctx, t)
//	port := res.UUID(p)
type Txn struct {
	DB  string
	ops []Op
}

// Ref is the row that an Insert of the same transaction makes; use it as a value.
type Ref = Named

// NewTxn starts a transaction on a database.
func NewTxn(db string) *Txn { return &Txn{DB: db} }

// Len is the number of operations so far.
func (t *Txn) Len() int { return len(t.ops) }

// Ops gives the operations so far. Do not change them.
func (t *Txn) Ops() []Op { return t.ops }

// Append adds ready-made operations.
func (t *Txn) Append(ops ...Op) { t.ops = append(t.ops, ops...) }

// Insert adds a row and returns its name within the transaction.
func (t *Txn) Insert(table string, row Fields) Ref {
	name := fmt.Sprintf("row%d", len(t.ops))
	t.ops = append(t.ops, Op{Op: OpInsert, Table: table, Row: row, UUIDName: name})
	return Ref(name)
}

// Update overwrites columns of the matching rows.
func (t *Txn) Update(table string, where []Condition, row Fields) {
	t.ops = append(t.ops, Op{Op: OpUpdate, Table: table, Where: where, Row: row})
}

// Mutate changes columns of the matching rows relative to their present values.
func (t *Txn) Mutate(table string, where []Condition, m ...Mutation) {
	t.ops = append(t.ops, Op{Op: OpMutate, Table: table, Where: where, Mutations: m})
}

// Delete removes the matching rows.
func (t *Txn) Delete(table string, where []Condition) {
	t.ops = append(t.ops, Op{Op: OpDelete, Table: table, Where: where})
}

// Select reads columns of the matching rows; no columns means all of them. The rows
// are in Result.Rows at the returned index.
func (t *Txn) Select(table string, where []Condition, columns ...string) int {
	t.ops = append(t.ops, Op{Op: OpSelect, Table: table, Where: where, Columns: columns})
	return len(t.ops) - 1
}

// Wait is a prerequisite: among the matching rows, those columns must be exactly
// rows (until "==") or must not be (until "!="). With timeout 0 it is tested once
// and the transaction fails with TimedOut; a negative timeout waits for ever.
func (t *Txn) Wait(table string, where []Condition, columns []string, until string, rows []Fields, timeout time.Duration) {
	op := Op{Op: OpWait, Table: table, Where: where, Columns: columns, Until: until, Rows: rows}
	if timeout >= 0 {
		ms := int(timeout.Milliseconds())
		op.Timeout = &ms
	}
	t.ops = append(t.ops, op)
}

// Require is the usual Wait: the row u still has these column values.
func (t *Txn) Require(table string, u UUID, row Fields) {
	columns := make([]string, 0, len(row))
	for name := range row {
		columns = append(columns, name)
	}
	slices.Sort(columns)
	t.Wait(table, ByUUID(u), columns, "==", []Fields{row}, 0)
}

// Comment adds text to the server's log of the transaction.
func (t *Txn) Comment(text string) { t.ops = append(t.ops, Op{Op: OpComment, Comment: text}) }

// Assert makes the transaction fail with NotOwner unless the session owns the lock.
func (t *Txn) Assert(lock string) { t.ops = append(t.ops, Op{Op: OpAssert, Lock: lock}) }

// Durable asks the server to answer only once the transaction is on disk.
func (t *Txn) Durable() { t.ops = append(t.ops, Op{Op: OpCommit, Durable: true}) }

// Abort makes the transaction fail with Aborted: a trial.
func (t *Txn) Abort() { t.ops = append(t.ops, Op{Op: OpAbort}) }

// Result is what a committed transaction answered, by operation.
type Result struct {
	ops []Op
	res []OpResult
}

// OpResult is the answer to one operation.
type OpResult struct {
	UUID  UUID   // insert
	Count int    // update, mutate, delete: rows matched
	Rows  []*Row // select
}

// Ops gives the answers in the order of the operations.
func (r *Result) Ops() []OpResult { return r.res }

// UUID gives the row that an Insert made; zero if ref is not of this transaction.
func (r *Result) UUID(ref Ref) UUID {
	for i, op := range r.ops {
		if op.Op == OpInsert && op.UUIDName == string(ref) {
			return r.res[i].UUID
		}
	}
	return UUID{}
}

// Count gives the number of rows that operation i matched.
func (r *Result) Count(i int) int { return r.res[i].Count }

// Rows gives the rows that the Select at index i found.
func (r *Result) Rows(i int) []*Row { return r.res[i].Rows }

// appendTransact appends the params of a transact request.
func appendTransact(b []byte, db string, ops []Op) ([]byte, error) {
	b, err := appendText(append(b, '['), db)
	for i := range ops {
		if err == nil {
			b, err = AppendOp(append(b, ','), &ops[i])
		}
	}
	return append(b, ']'), err
}

// scanResult reads the result of a transact request. A failed transaction gives an
// *OpError; anything that does not fit the operations gives a *SyntaxError.
func scanResult(s *jsonscan.Scanner, ops []Op) (*Result, error) {
	r := &Result{ops: ops, res: make([]OpResult, len(ops))}
	var failed *OpError
	n := 0
	err := s.Array(func(i int) error {
		n++
		if i > len(ops) {
			return s.Errorf("transact result with more elements than operations")
		}
		if s.Kind() == jsonscan.Null { // not executed
			return s.Null()
		}
		var op Op
		if i < len(ops) {
			op = ops[i]
		} else {
			op.Op = OpCommit
		}
		var code, details string
		err := s.Object(func(key []byte) (err error) {
			switch string(key) {
			case "error":
				code, err = s.Text()
			case "details":
				details, err = s.Text()
			case "uuid":
				var a Atom
				if a, err = scanAtom(s); err == nil && i < len(ops) {
					r.res[i].UUID, _ = a.(UUID)
				}
			case "count":
				var c int64
				if c, _, _, err = s.Number(); err == nil && i < len(ops) {
					r.res[i].Count = int(c)
				}
			case "rows":
				err = s.Array(func(int) error {
					row, err := scanRow(s)
					if err == nil && i < len(ops) {
						r.res[i].Rows = append(r.res[i].Rows, row)
					}
					return err
				})
			default:
				err = s.Skip()
			}
			return err
		})
		if code != "" && failed == nil {
			failed = &OpError{Index: i, Op: op.Op, Table: op.Table, Code: Code(code), Details: details}
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case failed != nil:
		return nil, failed
	case n < len(ops):
		return nil, s.Errorf("transact result with %d elements for %d operations", n, len(ops))
	}
	return r, nil
}
