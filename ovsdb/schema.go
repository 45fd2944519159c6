// SPDX-License-Identifier: Apache-2.0

package ovsdb

import (
	"crypto/sha256"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"

	"nagare/ovsdb/internal/jsonscan"
)

// Schema is a <database-schema>, RFC 7047 section 3.2. It is immutable: sessions
// whose servers sent the same text share one.
type Schema struct {
	Name    string
	Version string
	Tables  map[string]*TableSchema
}

// TableSchema is one table.
type TableSchema struct {
	Columns map[string]*ColumnSchema
	Indexes [][]string
	MaxRows int // Unlimited when not given
	IsRoot  bool
}

// ColumnSchema is one column and its <type>.
type ColumnSchema struct {
	Key       BaseType
	Value     *BaseType // nil unless the column is a map
	Min, Max  int
	Ephemeral bool
	Immutable bool
}

// BaseType is a <base-type>: one of integer, real, boolean, string, uuid, and its
// constraints.
type BaseType struct {
	Type       string
	Enum       Set
	MinInteger int64
	MaxInteger int64
	MinReal    float64
	MaxReal    float64
	MinLength  int
	MaxLength  int
	RefTable   string
	RefWeak    bool
}

// Unlimited is the Max of a column and the MaxRows of a table without a bound.
const Unlimited = math.MaxInt

// Scalar tells whether the column always holds exactly one atom.
func (c *ColumnSchema) Scalar() bool { return c.Value == nil && c.Min == 1 && c.Max == 1 }

// Default is the column's value in a row inserted without it.
func (c *ColumnSchema) Default() Value {
	switch {
	case c.Min == 0:
		return Set(nil)
	case c.Value != nil:
		return Map{{c.Key.zero(), c.Value.zero()}}
	}
	return c.Key.zero()
}

func (t *BaseType) zero() Atom {
	if len(t.Enum) > 0 {
		return t.Enum[0]
	}
	switch t.Type {
	case "integer":
		return Int(0)
	case "real":
		return Real(0)
	case "boolean":
		return Bool(false)
	case "uuid":
		return UUID{}
	}
	return String("")
}

var schemas = struct {
	sync.Mutex
	m map[[sha256.Size]byte]*Schema
}{m: make(map[[sha256.Size]byte]*Schema)}

// A peer chooses what schemas we keep: these bound it. The text of Open_vSwitch's is
// 25 kB, with 190 columns.
const (
	maxSchemas    = 16
	maxSchemaText = 128 << 10
	maxColumns    = 2048
)

// ParseSchema reads a <database-schema>. The same text gives the same *Schema.
func ParseSchema(text []byte) (*Schema, error) {
	if len(text) > maxSchemaText {
		return nil, fmt.Errorf("schema of %d bytes: %w", len(text), ErrTooLong)
	}
	sum := sha256.Sum256(text)
	schemas.Lock()
	have := schemas.m[sum]
	schemas.Unlock()
	if have != nil {
		return have, nil
	}
	s := jsonscan.New(text, maxDepth)
	schema, err := scanSchema(s)
	if err == nil {
		err = s.End()
	}
	if err != nil {
		return nil, err
	}
	schemas.Lock()
	defer schemas.Unlock()
	if len(schemas.m) < maxSchemas {
		schemas.m[sum] = schema
	}
	return schema, nil
}

func scanSchema(s *jsonscan.Scanner) (*Schema, error) {
	schema := &Schema{Tables: make(map[string]*TableSchema)}
	columns := 0
	err := s.Object(func(key []byte) (err error) {
		switch string(key) {
		case "name":
			schema.Name, err = s.Text()
		case "version":
			schema.Version, err = s.Text()
		case "tables":
			err = s.Object(func(key []byte) error {
				name := string(key)
				t, err := scanTable(s)
				schema.Tables[name] = t
				if columns += 1 + len(t.Columns); columns > maxColumns {
					return s.Errorf("schema with more than %d columns", maxColumns)
				}
				return err
			})
		default:
			err = s.Skip()
		}
		return err
	})
	if err == nil && (schema.Name == "" || len(schema.Tables) == 0) {
		err = s.Errorf("schema without name or tables")
	}
	return schema, err
}

func scanTable(s *jsonscan.Scanner) (*TableSchema, error) {
	t := &TableSchema{Columns: make(map[string]*ColumnSchema), MaxRows: Unlimited}
	err := s.Object(func(key []byte) (err error) {
		switch string(key) {
		case "columns":
			err = s.Object(func(key []byte) error {
				name := string(key)
				c, err := scanColumn(s)
				t.Columns[name] = c
				return err
			})
		case "indexes":
			err = s.Array(func(int) error {
				names, err := scanNames(s)
				t.Indexes = append(t.Indexes, names)
				return err
			})
		case "maxRows":
			t.MaxRows, err = scanInt(s)
		case "isRoot":
			t.IsRoot, err = s.Bool()
		default:
			err = s.Skip()
		}
		return err
	})
	return t, err
}

func scanInt(s *jsonscan.Scanner) (int, error) {
	i, _, isInt, err := s.Number()
	if err == nil && !isInt {
		err = s.Errorf("number is not an integer")
	}
	return int(i), err
}

func scanColumn(s *jsonscan.Scanner) (*ColumnSchema, error) {
	c := &ColumnSchema{Min: 1, Max: 1}
	err := s.Object(func(key []byte) (err error) {
		switch string(key) {
		case "type":
			err = scanType(s, c)
		case "ephemeral":
			c.Ephemeral, err = s.Bool()
		case "mutable":
			c.Immutable, err = s.Bool()
			c.Immutable = !c.Immutable
		default:
			err = s.Skip()
		}
		return err
	})
	if err == nil && (c.Key.Type == "" || c.Min < 0 || c.Min > 1 || c.Max < 1) {
		err = s.Errorf("column without a valid type")
	}
	return c, err
}

func scanType(s *jsonscan.Scanner, c *ColumnSchema) error {
	if s.Kind() == jsonscan.String {
		return scanBase(s, &c.Key)
	}
	return s.Object(func(key []byte) (err error) {
		switch string(key) {
		case "key":
			err = scanBase(s, &c.Key)
		case "value":
			c.Value = &BaseType{}
			err = scanBase(s, c.Value)
		case "min":
			c.Min, err = scanInt(s)
		case "max":
			if s.Kind() == jsonscan.String {
				c.Max = Unlimited
				return s.Skip()
			}
			c.Max, err = scanInt(s)
		default:
			err = s.Skip()
		}
		return err
	})
}

func scanBase(s *jsonscan.Scanner, t *BaseType) (err error) {
	t.MinInteger, t.MaxInteger = math.MinInt64, math.MaxInt64
	t.MinReal, t.MaxReal, t.MaxLength = math.Inf(-1), math.Inf(1), Unlimited
	if s.Kind() == jsonscan.String {
		t.Type, err = s.Text()
		return err
	}
	return s.Object(func(key []byte) (err error) {
		switch string(key) {
		case "type":
			t.Type, err = s.Text()
		case "enum":
			var v Value
			v, err = scanValue(s)
			t.Enum = AsSet(v)
		case "minInteger":
			t.MinInteger, _, _, err = s.Number()
		case "maxInteger":
			t.MaxInteger, _, _, err = s.Number()
		case "minReal":
			t.MinReal, err = scanReal(s)
		case "maxReal":
			t.MaxReal, err = scanReal(s)
		case "minLength":
			t.MinLength, err = scanInt(s)
		case "maxLength":
			t.MaxLength, err = scanInt(s)
		case "refTable":
			t.RefTable, err = s.Text()
		case "refType":
			var kind string
			kind, err = s.Text()
			t.RefWeak = kind == "weak"
		default:
			err = s.Skip()
		}
		return err
	})
}

func scanReal(s *jsonscan.Scanner) (float64, error) {
	i, f, isInt, err := s.Number()
	if isInt {
		f = float64(i)
	}
	return f, err
}

// AppendJSON appends the schema's <database-schema> text, members in sorted order.
func (schema *Schema) AppendJSON(b []byte) []byte {
	str := func(name, v string) {
		b = jsonscan.AppendString(append(jsonscan.AppendString(b, name), ':'), v)
	}
	b = append(b, '{')
	str("name", schema.Name)
	b = append(b, ',')
	str("version", schema.Version)
	b = append(b, `,"tables":{`...)
	for i, name := range sortedNames(schema.Tables) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(jsonscan.AppendString(b, name), ':')
		b = schema.Tables[name].appendJSON(b)
	}
	return append(b, "}}"...)
}

func sortedNames[T any](m map[string]T) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (t *TableSchema) appendJSON(b []byte) []byte {
	b = append(b, `{"columns":{`...)
	for i, name := range sortedNames(t.Columns) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(jsonscan.AppendString(b, name), ':')
		b = t.Columns[name].appendJSON(b)
	}
	b = append(b, '}')
	if len(t.Indexes) > 0 {
		b = append(b, `,"indexes":[`...)
		for i, index := range t.Indexes {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendNames(b, index)
		}
		b = append(b, ']')
	}
	if t.IsRoot {
		b = append(b, `,"isRoot":true`...)
	}
	if t.MaxRows != Unlimited {
		b = strconv.AppendInt(append(b, `,"maxRows":`...), int64(t.MaxRows), 10)
	}
	return append(b, '}')
}

func (c *ColumnSchema) appendJSON(b []byte) []byte {
	b = append(b, `{"type":{"key":`...)
	b = c.Key.appendJSON(b)
	if c.Value != nil {
		b = append(b, `,"value":`...)
		b = c.Value.appendJSON(b)
	}
	b = strconv.AppendInt(append(b, `,"min":`...), int64(c.Min), 10)
	b = append(b, `,"max":`...)
	if c.Max == Unlimited {
		b = append(b, `"unlimited"`...)
	} else {
		b = strconv.AppendInt(b, int64(c.Max), 10)
	}
	b = append(b, '}')
	if c.Ephemeral {
		b = append(b, `,"ephemeral":true`...)
	}
	if c.Immutable {
		b = append(b, `,"mutable":false`...)
	}
	return append(b, '}')
}

func (t *BaseType) appendJSON(b []byte) []byte {
	b = jsonscan.AppendString(append(b, `{"type":`...), t.Type)
	num := func(name string, v int64, def bool) {
		if !def {
			b = strconv.AppendInt(append(jsonscan.AppendString(append(b, ','), name), ':'), v, 10)
		}
	}
	if len(t.Enum) > 0 {
		b, _ = AppendValue(append(b, `,"enum":`...), t.Enum)
	}
	num("minInteger", t.MinInteger, t.MinInteger == math.MinInt64)
	num("maxInteger", t.MaxInteger, t.MaxInteger == math.MaxInt64)
	if !math.IsInf(t.MinReal, -1) {
		b, _ = appendAtom(append(b, `,"minReal":`...), Real(t.MinReal))
	}
	if !math.IsInf(t.MaxReal, 1) {
		b, _ = appendAtom(append(b, `,"maxReal":`...), Real(t.MaxReal))
	}
	num("minLength", int64(t.MinLength), t.MinLength == 0)
	num("maxLength", int64(t.MaxLength), t.MaxLength == Unlimited)
	if t.RefTable != "" {
		b = jsonscan.AppendString(append(b, `,"refTable":`...), t.RefTable)
		if t.RefWeak {
			b = append(b, `,"refType":"weak"`...)
		}
	}
	return append(b, '}')
}
