// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"fmt"
	"strings"
	"testing"

	"nagare/internal/flow"
	"nagare/internal/flowtree"
	"nagare/internal/model"
	"nagare/internal/ovstest"
	"nagare/internal/repro"
	"nagare/internal/yang"
)

// TestSwitchTakesWhatIsAccepted: flows put together at random, of which many make no sense. What is accepted, a real switch takes; and
// enough is.
func TestSwitchTakesWhatIsAccepted(t *testing.T) {
	matches := []string{"", "ip", "ipv6", "arp", "tcp", "udp6", "icmp", "icmp6,icmp_type=135", "dl_vlan=5", "vlan_tci=0x1000/0x1000", "mpls", "ip,ct_state=+trk", "tcp,dl_vlan=7"}
	actions := []string{"output:1", "IN_PORT", "NORMAL", "pop_vlan", "push_vlan:0x8100", "set_field:4100->vlan_vid", "set_field:3->vlan_pcp", "dec_ttl", "mod_nw_ttl:3",
		"set_field:10.0.0.1->ip_src", "set_field:fe80::1->ipv6_dst", "set_field:80->tcp_dst", "set_field:80->udp_dst", "set_field:1->icmp_type", "set_field:2->arp_op", "set_field:10.0.0.9->arp_spa",
		"set_field:00:00:00:00:00:05->nd_sll", "set_field:8->ip_dscp", "load:0x5->NXM_NX_REG3[0..7]", "load:0x5->NXM_OF_IP_DST[]", "move:NXM_OF_IP_SRC[]->NXM_NX_REG4[]", "move:NXM_NX_REG1[]->NXM_NX_REG2[]",
		"push_mpls:0x8847", "pop_mpls:0x0800", "set_field:5->mpls_label", "ct(commit,zone=3)", "ct(table=210,zone=NXM_NX_REG5[0..15])", "ct_clear", "resubmit(,211)", "set_queue:3", "set_field:0x5->tun_id",
		"set_field:9->pkt_mark", "clone(output:1,dec_ttl)", "exit", "check_pkt_larger(1400)->NXM_NX_REG0[0]", "output:NXM_NX_REG2[]", "note:01.02.03.04.05.06"}
	ends := []string{"", "", ",goto_table:205", ",write_metadata:0x5/0xff", ",clear_actions", ",write_actions(output:1)", ",write_actions(set_field:10.0.0.1->ip_src,output:2)", ",write_actions(pop_vlan)"}
	sw := ovstest.Start(t)
	sw.AddBridge("br0", "datapath_type=dummy")
	w, node := operatorWorld(t, &wanted{}, "standard")
	dp, _ := datapathOf(node)
	r := repro.Rand(7, 11)
	taken := 0
	for i := range repro.Rounds(250, 1000) {
		text := "table=200,priority=" + fmt.Sprint(i+1) + "," + matches[r.IntN(len(matches))] + " actions="
		for n := range 1 + r.IntN(3) {
			if n > 0 {
				text += ","
			}
			text += actions[r.IntN(len(actions))]
		}
		f, err := flow.ParseFlow(text + ends[r.IntN(len(ends))])
		if err != nil {
			continue // not even words
		}
		d := (&yang.Data{Node: w.srv.tree.node(flowPath)}).Leaf("id", "f")
		flowtree.PutFlow(d, node, f)
		a := w.do("admin", "PUT", "/rests/data/opendaylight-inventory:nodes/node="+node+"/flow-node-inventory:table=200/flow=f", `{"flow":[`+string(d.AppendJSON(nil))+`]}`)
		if a.code == 400 {
			continue
		}
		wanted := w.entryText(model.OperatorFlowID(dp, 200, "f"))
		if a.code != 201 && a.code != 204 || wanted != f.String() {
			t.Fatalf("%s: %d %s, wanted %s", f, a.code, a.body, wanted)
		}
		taken++
		if out, err := sw.TryOfctl("add-flow", "br0", f.String()); err != nil {
			t.Errorf("%s is accepted, and the switch says %v %s", f, err, strings.TrimSpace(out))
		}
	}
	if taken < 50 {
		t.Errorf("only %d flows were accepted", taken)
	}
}
