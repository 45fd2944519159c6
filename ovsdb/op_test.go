// SPDX-License-Identifier: Apache-2.0

package ovsdb

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"nagare/ovsdb/internal/jsonscan"
)

func TestOperationsOnTheWire(t *testing.T) {
	txn := NewTxn("Open_vSwitch")
	ifc := txn.Insert("Interface", Fields{"name": String("vx1"), "type": String("vxlan"), "options": StringMap(map[string]string{"key": "flow"})})
	port := txn.Insert("Port", Fields{"name": String("vx1"), "interfaces": ifc})
	txn.Mutate("Bridge", ByUUID(u1), Add("ports", port), Remove("flood_vlans", Set{Int(1), Int(2)}))
	txn.Mutate("Bridge", ByUUID(u1), Put("external_ids", "k", "v")...)
	txn.Update("Bridge", Where("name", String("br-int")), Fields{"fail_mode": String("secure"), "mirrors": nil})
	txn.Delete("QoS", Includes("external_ids", StringMap(map[string]string{"nagare": "1"})))
	txn.Select("Bridge", All(), "name")
	txn.Select("Port", nil)
	txn.Require("Bridge", u1, Fields{"name": String("br-int")})
	txn.Wait("Bridge", nil, []string{"name"}, "!=", nil, -time.Second)
	txn.Comment("why")
	txn.Assert("l")
	txn.Durable()
	txn.Abort()
	u := `["uuid","` + u1Text + `"]`
	want := []string{
		`{"op":"insert","table":"Interface","uuid-name":"row0","row":{"name":"vx1","options":["map",[["key","flow"]]],"type":"vxlan"}}`,
		`{"op":"insert","table":"Port","uuid-name":"row1","row":{"interfaces":["named-uuid","row0"],"name":"vx1"}}`,
		`{"op":"mutate","table":"Bridge","where":[["_uuid","==",` + u + `]],"mutations":[["ports","insert",["named-uuid","row1"]],["flood_vlans","delete",["set",[1,2]]]]}`,
		`{"op":"mutate","table":"Bridge","where":[["_uuid","==",` + u + `]],"mutations":[["external_ids","delete","k"],["external_ids","insert",["map",[["k","v"]]]]]}`,
		`{"op":"update","table":"Bridge","where":[["name","==","br-int"]],"row":{"fail_mode":"secure","mirrors":["set",[]]}}`,
		`{"op":"delete","table":"QoS","where":[["external_ids","includes",["map",[["nagare","1"]]]]]}`,
		`{"op":"select","table":"Bridge","where":[],"columns":["name"]}`,
		`{"op":"select","table":"Port","where":[]}`,
		`{"op":"wait","table":"Bridge","where":[["_uuid","==",` + u + `]],"timeout":0,"columns":["name"],"until":"==","rows":[{"name":"br-int"}]}`,
		`{"op":"wait","table":"Bridge","where":[],"columns":["name"],"until":"!=","rows":[]}`,
		`{"op":"comment","comment":"why"}`,
		`{"op":"assert","lock":"l"}`,
		`{"op":"commit","durable":true}`,
		`{"op":"abort"}`,
	}
	if txn.Len() != len(want) {
		t.Fatalf("%d operations", txn.Len())
	}
	for i, op := range txn.Ops() {
		out, err := AppendOp(nil, &op)
		if err != nil || string(out) != want[i] {
			t.Errorf("operation %d: %v\n got %s\nwant %s", i, err, out, want[i])
		}
		again, err := ParseOp(out)
		if err != nil {
			t.Errorf("operation %d: %v", i, err)
			continue
		}
		if out2, err := AppendOp(nil, again); err != nil || !bytes.Equal(out, out2) {
			t.Errorf("operation %d read back as %s, %v", i, out2, err)
		}
	}
	all, err := appendTransact(nil, txn.DB, txn.Ops())
	if err != nil || !json.Valid(all) {
		t.Errorf("transact params %s, %v", all, err)
	}
	if _, err := appendTransact(nil, "db", []Op{{Op: "insert", Table: "T", Row: Fields{"c": String("\xff")}}}); err == nil {
		t.Error("invalid text written")
	} else if want := `operation insert T: column c: text "\xff" is not UTF-8 without NUL`; err.Error() != want {
		t.Errorf("error %q", err)
	}
}

func TestTransactResults(t *testing.T) {
	txn := NewTxn("db")
	ref := txn.Insert("Port", Fields{})
	txn.Mutate("Bridge", nil)
	sel := txn.Select("Bridge", nil)
	scan := func(text string) (*Result, error) { return scanResult(jsonscan.New([]byte(text), maxDepth), txn.Ops()) }

	res, err := scan(`[{"uuid":["uuid","` + u1Text + `"]},{"count":2},{"rows":[{"name":"a"},{"name":"b"}]}]`)
	if err != nil {
		t.Fatal(err)
	}
	if res.UUID(ref) != u1 || res.Count(1) != 2 || len(res.Rows(sel)) != 2 || res.Rows(sel)[1].String("name") != "b" {
		t.Errorf("result %+v", res.Ops())
	}
	if !res.UUID("other").IsZero() {
		t.Error("foreign reference has a row")
	}
	for _, c := range []struct {
		text  string
		index int
		code  Code
		says  string
	}{
		{`[{"uuid":["uuid","` + u1Text + `"]},{"error":"constraint violation","details":"d"},null]`, 1, ConstraintViolation,
			"ovsdb transaction, operation 1 (mutate Bridge): constraint violation: d"},
		{`[{"error":"timed out"},null,null]`, 0, TimedOut, "ovsdb transaction, operation 0 (insert Port): timed out"},
		{`[{},{},{},{"error":"referential integrity violation","details":"d"}]`, 3, ReferentialIntegrity,
			"ovsdb transaction, operation 3 (commit): referential integrity violation: d"},
		{`[{"error":"not owner"}]`, 0, NotOwner, "ovsdb transaction, operation 0 (insert Port): not owner"},
	} {
		_, err := scan(c.text)
		var oe *OpError
		if !errors.As(err, &oe) || oe.Index != c.index || !errors.Is(err, c.code) || err.Error() != c.says {
			t.Errorf("%s: %v", c.text, err)
		}
	}
	for _, text := range []string{`{}`, `[]`, `[{}]`, `[{},{},{},{},{}]`, `[1,2,3]`, `[{"count":"x"},{},{}]`} {
		_, err := scan(text)
		var syntax *SyntaxError
		if !errors.As(err, &syntax) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// FuzzParseOp: an accepted operation of a known kind survives writing and reading.
func FuzzParseOp(f *testing.F) {
	f.Add([]byte(`{"op":"mutate","table":"T","where":[["a","==",1]],"mutations":[["b","insert",["set",[1,2]]]]}`))
	f.Add([]byte(`{"op":"wait","table":"T","where":[],"timeout":5,"columns":["a"],"until":"==","rows":[{"a":1}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		op, err := ParseOp(text)
		if err != nil {
			return
		}
		out, err := AppendOp(nil, op)
		if err != nil {
			return
		}
		again, err := ParseOp(out)
		if err != nil {
			t.Fatalf("%s written as %s: %v", text, out, err)
		}
		if out2, _ := AppendOp(nil, again); !bytes.Equal(out, out2) {
			t.Fatalf("%s and %s", out, out2)
		}
	})
}
