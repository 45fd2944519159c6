// SPDX-License-Identifier: Apache-2.0

package ovsdb

import (
	"errors"
	"fmt"
	"strconv"

	"nagare/ovsdb/internal/jsonscan"
)

// Names of the operations, RFC 7047 section 5.2.
const (
	OpInsert  = "insert"
	OpSelect  = "select"
	OpUpdate  = "update"
	OpMutate  = "mutate"
	OpDelete  = "delete"
	OpWait    = "wait"
	OpCommit  = "commit"
	OpAbort   = "abort"
	OpComment = "comment"
	OpAssert  = "assert"
)

// Op is one operation of a transaction; the fields that its kind lacks are unused.
// Txn builds them, and the test server takes them apart.
type Op struct {
	Op        string
	Table     string
	Where     []Condition
	Row       Fields     // insert, update
	Rows      []Fields   // wait
	Columns   []string   // select (nil = all), wait
	Mutations []Mutation // mutate
	UUIDName  string     // insert, may be empty
	UUID      UUID       // insert, zero = server's choice (ovsdb-server(7) extension)
	Until     string     // wait: "==" or "!="
	Timeout   *int       // wait, in milliseconds; nil = for ever
	Durable   bool       // commit
	Comment   string
	Lock      string // assert
}

// Condition is [column, function, value], RFC 7047 section 5.1. Functions: ==, !=,
// <, <=, >, >=, includes, excludes.
type Condition struct {
	Column, Function string
	Value            Value
}

// Mutation is [column, mutator, value], RFC 7047 section 5.1. Mutators: +=, -=, *=,
// /=, %=, insert, delete.
type Mutation struct {
	Column, Mutator string
	Value           Value
}

// All matches every row.
func All() []Condition { return nil }

// ByUUID matches one row.
func ByUUID(u UUID) []Condition { return []Condition{{"_uuid", "==", u}} }

// Where matches the rows whose column equals the value.
func Where(column string, v Value) []Condition { return []Condition{{column, "==", v}} }

// Includes matches the rows whose set or map column contains every element of v.
func Includes(column string, v Value) []Condition { return []Condition{{column, "includes", v}} }

// Add makes a mutation that adds elements to a set, or pairs to a map where the key
// is absent (an existing key keeps its value).
func Add(column string, v Value) Mutation { return Mutation{column, "insert", v} }

// Remove makes a mutation that takes elements out of a set, or pairs out of a map;
// with a Set as v a map loses those keys whatever their values.
func Remove(column string, v Value) Mutation { return Mutation{column, "delete", v} }

// Put makes the two mutations that set a string key of a map.
func Put(column, key, value string) []Mutation {
	return []Mutation{Remove(column, String(key)), Add(column, Map{{String(key), String(value)}})}
}

// AppendOp appends the JSON object of an operation.
func AppendOp(b []byte, op *Op) ([]byte, error) {
	b, err := appendOp(b, op)
	if err != nil {
		err = fmt.Errorf("operation %s %s: %w", op.Op, op.Table, err)
	}
	return b, err
}

func appendOp(b []byte, op *Op) ([]byte, error) {
	var err error
	b = append(b, `{"op":`...)
	b = jsonscan.AppendString(b, op.Op)
	key := func(name string) { b = append(jsonscan.AppendString(append(b, ','), name), ':') }
	text := func(name, v string) {
		key(name)
		if err == nil {
			b, err = appendText(b, v)
		}
	}
	if op.Table != "" {
		text("table", op.Table)
	}
	switch op.Op {
	case OpInsert:
		if op.UUIDName != "" {
			text("uuid-name", op.UUIDName)
		}
		if !op.UUID.IsZero() {
			text("uuid", op.UUID.String())
		}
	case OpSelect, OpUpdate, OpMutate, OpDelete, OpWait:
		key("where")
		b, err = appendWhere(b, op.Where)
	case OpCommit:
		key("durable")
		b = strconv.AppendBool(b, op.Durable)
	case OpComment:
		text("comment", op.Comment)
	case OpAssert:
		text("lock", op.Lock)
	case OpAbort:
	default:
		return b, errors.New("kind of operation unknown")
	}
	if err != nil {
		return b, err
	}
	switch op.Op {
	case OpInsert, OpUpdate:
		key("row")
		b, err = appendFields(b, op.Row)
	case OpMutate:
		key("mutations")
		b, err = appendMutations(b, op.Mutations)
	case OpSelect:
		if op.Columns != nil {
			key("columns")
			b = appendNames(b, op.Columns)
		}
	case OpWait:
		if op.Timeout != nil {
			key("timeout")
			b = strconv.AppendInt(b, int64(*op.Timeout), 10)
		}
		key("columns")
		b = appendNames(b, op.Columns)
		text("until", op.Until)
		key("rows")
		b = append(b, '[')
		for i, row := range op.Rows {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = appendFields(b, row); err != nil {
				return b, err
			}
		}
		b = append(b, ']')
	}
	return append(b, '}'), err
}

func appendNames(b []byte, names []string) []byte {
	b = append(b, '[')
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = jsonscan.AppendString(b, name)
	}
	return append(b, ']')
}

func appendWhere(b []byte, where []Condition) ([]byte, error) {
	return appendTriples(b, len(where), func(i int) (string, string, Value) {
		return where[i].Column, where[i].Function, where[i].Value
	})
}

func appendMutations(b []byte, m []Mutation) ([]byte, error) {
	return appendTriples(b, len(m), func(i int) (string, string, Value) {
		return m[i].Column, m[i].Mutator, m[i].Value
	})
}

func appendTriples(b []byte, n int, at func(i int) (string, string, Value)) ([]byte, error) {
	b = append(b, '[')
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		column, verb, v := at(i)
		b = jsonscan.AppendString(append(b, '['), column)
		b = jsonscan.AppendString(append(b, ','), verb)
		var err error
		if b, err = AppendValue(append(b, ','), v); err != nil {
			return b, &EncodeError{Column: column, Err: err}
		}
		b = append(b, ']')
	}
	return append(b, ']'), nil
}

// ParseOp reads one operation, within the package's limits. Unknown members are
// ignored; whether the operation makes sense is for the database to say.
func ParseOp(text []byte) (*Op, error) {
	s := jsonscan.New(text, maxDepth)
	op, err := scanOp(s)
	if err == nil {
		err = s.End()
	}
	return op, err
}

func scanOp(s *jsonscan.Scanner) (*Op, error) {
	op := &Op{}
	err := s.Object(func(key []byte) (err error) {
		switch string(key) {
		case "op":
			op.Op, err = s.Text()
		case "table":
			op.Table, err = s.Text()
		case "where":
			err = scanTriples(s, func(column, verb string, v Value) {
				op.Where = append(op.Where, Condition{column, verb, v})
			})
		case "mutations":
			err = scanTriples(s, func(column, verb string, v Value) {
				op.Mutations = append(op.Mutations, Mutation{column, verb, v})
			})
		case "row":
			op.Row, err = scanFields(s)
		case "rows":
			op.Rows = []Fields{}
			err = s.Array(func(int) error {
				f, err := scanFields(s)
				op.Rows = append(op.Rows, f)
				return err
			})
		case "columns":
			op.Columns, err = scanNames(s)
		case "uuid-name":
			op.UUIDName, err = s.Text()
		case "uuid":
			var text string
			if text, err = s.Text(); err == nil {
				op.UUID, err = ParseUUID(text)
			}
		case "until":
			op.Until, err = s.Text()
		case "timeout":
			i, _, isInt, nerr := s.Number()
			if err = nerr; err == nil && (!isInt || i < 0 || i > 1<<31) {
				err = s.Errorf("timeout out of range")
			}
			ms := int(i)
			op.Timeout = &ms
		case "durable":
			op.Durable, err = s.Bool()
		case "comment":
			op.Comment, err = s.Text()
		case "lock":
			op.Lock, err = s.Text()
		default:
			err = s.Skip()
		}
		return err
	})
	return op, err
}

const maxNames = 4096

func scanNames(s *jsonscan.Scanner) ([]string, error) {
	names := []string{}
	err := s.Array(func(i int) error {
		if i == maxNames {
			return s.Errorf("more than %d names", maxNames)
		}
		name, err := s.Text()
		names = append(names, name)
		return err
	})
	return names, err
}

func scanTriples(s *jsonscan.Scanner, add func(column, verb string, v Value)) error {
	return s.Array(func(int) error {
		var column, verb string
		var v Value
		n := 0
		err := s.Array(func(i int) (err error) {
			n++
			switch i {
			case 0:
				column, err = s.Text()
			case 1:
				verb, err = s.Text()
			case 2:
				v, err = scanValue(s)
			default:
				err = s.Errorf("fourth element in a condition or mutation")
			}
			return err
		})
		if err == nil && n != 3 {
			err = s.Errorf("condition or mutation of %d elements", n)
		}
		if err == nil {
			add(column, verb, v)
		}
		return err
	})
}
