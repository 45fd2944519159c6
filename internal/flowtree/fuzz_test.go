// SPDX-License-Identifier: Apache-2.0

package flowtree

import (
	"strings"
	"testing"

	"nagare/internal/api/jsonbody"
	"nagare/internal/flow"
	"nagare/internal/yang"
)

// FuzzRead: whatever is said, reading ends in a flow or a fault, and a flow that was read can be said and is read again as the same.
func FuzzRead(f *testing.F) {
	for _, s := range []string{
		`{"match": {"ethernet-match": {"ethernet-type": {"type": 2048}}, "ipv4-source": "10.0.0.0/8", "nagare-inventory:field": [{"name": "reg0", "value": "1/3"}]}}`,
		`{"instructions": {"instruction": [{"order": 0, "apply-actions": {"action": [{"order": 0, "nagare-inventory:ovs-action": "resubmit(,5)"}, {"order": 1, "set-field": {"arp-op": 2}}]}}]}}`,
		`{"match": {"vlan-match": {"vlan-id": {"vlan-id": 0}, "vlan-pcp": 1}, "nagare-inventory:field": [{"name": "vlan_tci", "value": "0x1000/0x1000"}]}}`,
		`{"match": {"nagare-inventory:field": [{"name": "oxm", "value": "00000000"}, {"name": "dl_vlan_pcp", "value": "3"}]}}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := jsonbody.Decode(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, name := range []string{"flow", "group", "meter"} {
			var d *yang.Data
			if name == "flow" {
				d = entry(t)
			} else {
				d = list(t, "flow-node-inventory:"+name)
			}
			if yang.Served().ReadJSON(d, v, yang.Draft02) != nil {
				continue
			}
			switch name {
			case "flow":
				if got, err := ReadFlow(d, node, 3); err == nil && textual(got) {
					roundTrip(t, got)
				}
			case "group":
				_, _ = ReadGroup(d, node)
			case "meter":
				_, _ = ReadMeter(d)
			}
		}
	})
}

// FuzzText: a flow that can be written as text, and has what its conditions need, is said and read back.
func FuzzText(f *testing.F) {
	f.Add("table=1,tcp,tp_src=80,reg3=5/7 actions=load:1->NXM_NX_REG0[],ct(commit,zone=3),goto_table:4")
	f.Add("dl_vlan_pcp=3,dl_vlan=0 actions=write_actions(output:3),meter:3,write_metadata:3/3")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := flow.ParseFlow(text)
		if err != nil || !textual(got) {
			return
		}
		d := entry(t)
		PutFlow(d, node, got)
		back, err := ReadFlow(d, node, got.Table)
		if err == nil && back != got {
			t.Fatalf("flow %s\ncame back as %s\nby %s", got, back, d.AppendJSON(nil))
		}
	})
}

// textual reports whether the text of a flow is read as that flow, which it is not of what internal/flow writes as bytes.
func textual(f flow.Flow) bool {
	again, err := flow.ParseFlow(f.String())
	again.Cookie = f.Cookie
	return err == nil && again == f
}
