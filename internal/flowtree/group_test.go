// SPDX-License-Identifier: Apache-2.0

package flowtree

import (
	"errors"
	"strings"
	"testing"

	"nagare/internal/flow"
	"nagare/internal/yang"
)

func TestGroups(t *testing.T) {
	for _, text := range []string{
		`group_id=1,type=all`,
		`group_id=2,type=all,bucket=actions=output:1,bucket=actions=load:0x1->NXM_NX_REG0[],resubmit(,90)`,
		`group_id=3,type=select,bucket=weight:5,actions=output:1,bucket=actions=drop`,
		`group_id=4,type=indirect,bucket=actions=set_field:00:00:00:00:00:01->eth_dst,IN_PORT`,
		`group_id=5,type=ff,bucket=watch_port:1,actions=output:1,bucket=watch_group:7,actions=group:7`,
	} {
		g, err := flow.ParseGroup(text)
		if err != nil {
			t.Fatal(err)
		}
		d := list(t, "flow-node-inventory:group")
		PutGroup(d, g)
		for _, form := range []yang.Form{yang.RFC7951, yang.Draft02} {
			back, err := ReadGroup(wire(t, d, form), node)
			if err != nil || back != g {
				t.Errorf("%s came back as %s, %v, by %s", text, back, err, d.AppendJSON(nil))
			}
		}
	}
}

func TestMeters(t *testing.T) {
	for _, m := range []flow.Meter{{ID: 1, Rate: 100}, {ID: 2, Packets: true, Rate: 10, Burst: 20}, {ID: 4294967295, Rate: 4294967295, Burst: 4294967295}} {
		d := list(t, "flow-node-inventory:meter")
		PutMeter(d, m)
		if back, err := ReadMeter(wire(t, d, yang.RFC7951)); err != nil || back != m {
			t.Errorf("%s came back as %s, %v", m, back, err)
		}
	}
	d := body(t, list(t, "flow-node-inventory:meter"), `{"meter-id": 3, "flags": "meter-burst meter-kbps", "meter-band-headers": {"meter-band-header":
		[{"band-id": 0, "drop-rate": 256, "drop-burst-size": 512, "meter-band-types": {"flags": "ofpmbt-drop"}}]}}`)
	if m, err := ReadMeter(d); err != nil || m != (flow.Meter{ID: 3, Rate: 256, Burst: 512}) {
		t.Error(m, err)
	}
}

func TestGroupsAndMetersRefused(t *testing.T) {
	band := func(b string) string {
		return `{"meter-id": 1, "flags": "meter-kbps", "meter-band-headers": {"meter-band-header": [` + b + `]}}`
	}
	for _, c := range []struct{ list, body, leaf string }{
		{"group", `{"group-id": 1, "group-type": "group-indirect"}`, "group"},
		{"group", `{"group-id": 1, "group-type": "group-ff", "buckets": {"bucket": [{"bucket-id": 3}]}}`, "bucket[bucket-id='3']/watch_port"},
		{"group", `{"group-id": 1, "group-type": "group-select", "buckets": {"bucket": [{"bucket-id": 3, "weight": 0}]}}`, "/weight"},
		{"group", `{"group-id": 1, "buckets": {"bucket": [{"bucket-id": 3, "action": [{"order": 0, "output-action": {"output-node-connector": "x"}}]}]}}`, "/output-node-connector"},
		{"meter", `{"meter-id": 1}`, "meter-band-headers"},
		{"meter", `{"meter-id": 1, "flags": "meter-kbps meter-pktps"}`, "/flags"},
		{"meter", band(`{"band-id": 0}`), "/band-rate"},
		{"meter", band(`{"band-id": 0, "band-rate": 5, "drop-rate": 6}`), "/drop-rate"},
		{"meter", band(`{"band-id": 0, "band-rate": 5, "band-burst-size": 6}`), "/band-burst-size"},
		{"meter", band(`{"band-id": 0, "band-rate": 5}, {"band-id": 1, "band-rate": 5}`), "/meter-band-headers"},
		{"meter", band(`{"band-id": 0, "band-rate": 5, "meter-band-types": {"flags": "ofpmbt-dscp-remark"}}`), "/meter-band-types/flags"},
	} {
		d := body(t, list(t, "flow-node-inventory:"+c.list), c.body)
		var err error
		if c.list == "group" {
			_, err = ReadGroup(d, node)
		} else {
			_, err = ReadMeter(d)
		}
		var fault *yang.Fault
		if !errors.As(err, &fault) || !strings.Contains(fault.Path, c.leaf) {
			t.Errorf("%s: got %v, want a fault of %s", c.body, err, c.leaf)
		}
	}
}
