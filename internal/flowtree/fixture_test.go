// SPDX-License-Identifier: Apache-2.0

package flowtree

import (
	"bytes"
	"strings"
	"testing"

	"nagare/internal/api/jsonbody"
	"nagare/internal/flow"
	"nagare/internal/yang"
)

const node = "openflow:7"

// list makes an entry of a list of a node.
func list(t testing.TB, path ...string) *yang.Data {
	t.Helper()
	n, ok := yang.Served().Root("opendaylight-inventory:nodes")
	for _, name := range append([]string{"node"}, path...) {
		if ok {
			n, ok = n.Child(name)
		}
	}
	if !ok {
		t.Fatalf("the schema has no %v", path)
	}
	return &yang.Data{Node: n}
}

func entry(t testing.TB) *yang.Data {
	return list(t, "flow-node-inventory:table", "flow").Leaf("id", "f")
}

// wire sends data over JSON, validated, and gives what arrives.
func wire(t testing.TB, d *yang.Data, form yang.Form) *yang.Data {
	t.Helper()
	text := d.AppendJSON(nil)
	v, err := jsonbody.Decode(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	out := &yang.Data{Node: d.Node}
	if err := yang.Served().ReadJSON(out, v, form); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if err := yang.Served().Validate(out, true, nil); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return out
}

// body reads the JSON of an entry.
func body(t testing.TB, d *yang.Data, text string) *yang.Data {
	t.Helper()
	v, err := jsonbody.Decode(strings.NewReader(text))
	if err == nil {
		err = yang.Served().ReadJSON(d, v, yang.Draft02)
	}
	if err == nil {
		err = yang.Served().Validate(d, true, nil)
	}
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return d
}

// roundTrip says a flow and reads it back.
func roundTrip(t testing.TB, f flow.Flow) *yang.Data {
	t.Helper()
	d := entry(t)
	PutFlow(d, node, f)
	for _, form := range []yang.Form{yang.RFC7951, yang.Draft02} {
		back, err := ReadFlow(wire(t, d, form), node, f.Table)
		if err != nil {
			t.Fatalf("%s\n%s: %v", f, d.AppendJSON(nil), err)
		}
		if back != f {
			t.Fatalf("flow %s\ncame back as %s\nby %s", f, back, d.AppendJSON(nil))
		}
	}
	return d
}
