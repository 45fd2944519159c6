// SPDX-License-Identifier: Apache-2.0

package flowtree

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"nagare/internal/flow"
	"nagare/internal/yang"
)

// TestEveryFlow: what internal/flow is tested with, and all flows of the rules' golden tables, come back as they were.
func TestEveryFlow(t *testing.T) {
	corpus := regexp.MustCompile("(?m)^\t`(table=.*)`,$")
	golden := regexp.MustCompile(`(?m)^[a-z].*?: (table=\d+,.* actions=.*)$`)
	n := 0
	each := func(file string, re *regexp.Regexp) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range re.FindAllSubmatch(text, -1) {
			f, err := flow.ParseFlow(string(m[1]))
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			n++
			roundTrip(t, f)
		}
	}
	each("../flow/corpus_test.go", corpus)
	if n < 100 {
		t.Fatalf("%d flows in the corpus", n)
	}
	files, err := filepath.Glob("../netvirt/testdata/*/*.txtar")
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	n = 0
	for _, f := range files {
		each(f, golden)
	}
	if n < 500 {
		t.Fatalf("%d flows in the golden tables", n)
	}
}

// TestSaid: flows as OpenDaylight's clients write them, and the same in our own words where we would write otherwise.
func TestSaid(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{`{}`, `table=3,priority=32768 actions=drop`},
		{`{"priority": 10, "match": {"in-port": "openflow:7:2"}, "instructions": {"instruction": [{"order": 0, "apply-actions": {"action": [{"order": 0, "drop-action": {}}]}}]}}`,
			`table=3,priority=10,in_port=2 actions=drop`},
		{`{"match": {"in-port": "LOCAL"}, "instructions": {"instruction": [{"order": 0, "go-to-table": {"table_id": 9}}]}}`,
			`table=3,priority=32768,in_port=LOCAL actions=goto_table:9`},
		{`{"match": {"ethernet-match": {"ethernet-source": {"address": "00:00:00:00:00:01", "mask": "ff:ff:00:00:00:00"}, "ethernet-destination": {"address": "00:00:00:00:00:02"}, "ethernet-type": {"type": 2048}},
		   "ip-match": {"ip-protocol": 6, "ip-dscp": 8, "ip-ecn": 1}, "ipv4-source": "10.0.0.0/8", "ipv4-destination": "10.1.2.3/32", "tcp-source-port": 80, "tcp-destination-port": 1024, "tcp-destination-port-mask": 65024}}`,
			`table=3,priority=32768,tcp,dl_src=00:00:00:00:00:00/ff:ff:00:00:00:00,dl_dst=00:00:00:00:00:02,nw_src=10.0.0.0/8,nw_dst=10.1.2.3,nw_tos=32,nw_ecn=1,tp_src=80,tp_dst=0x400/0xfe00 actions=drop`},
		{`{"match": {"vlan-match": {"vlan-id": {"vlan-id": 5, "vlan-id-present": true}, "vlan-pcp": 3}}}`, `table=3,priority=32768,dl_vlan=5,dl_vlan_pcp=3 actions=drop`},
		{`{"match": {"vlan-match": {"vlan-id": {"vlan-id": 5}}}}`, `table=3,priority=32768,dl_vlan=5 actions=drop`},
		{`{"match": {"vlan-match": {"vlan-id": {"vlan-id": 0, "vlan-id-present": false}}}}`, `table=3,priority=32768,vlan_tci=0x0000/0x1fff actions=drop`},
		{`{"match": {"vlan-match": {"vlan-id": {"vlan-id": 0, "vlan-id-present": true}}}}`, `table=3,priority=32768,vlan_tci=0x1000/0x1000 actions=drop`},
		{`{"match": {"ethernet-match": {"ethernet-type": {"type": 34525}}, "ip-match": {"ip-protocol": 58}, "icmpv6-match": {"icmpv6-type": 135, "icmpv6-code": 0}, "ipv6-nd-target": "fe80:0:0::1", "ipv6-nd-sll": "00:00:00:00:00:01"}}`,
			`table=3,priority=32768,icmp6,icmp_type=135,icmp_code=0,nd_target=fe80::1,nd_sll=00:00:00:00:00:01 actions=drop`},
		{`{"match": {"ethernet-match": {"ethernet-type": {"type": 2054}}, "arp-op": 1, "arp-target-transport-address": "10.0.0.1/32", "arp-source-hardware-address": {"address": "00:00:00:00:00:01"}}}`,
			`table=3,priority=32768,arp,arp_tpa=10.0.0.1,arp_op=1,arp_sha=00:00:00:00:00:01 actions=drop`},
		{`{"match": {"metadata": {"metadata": "5", "metadata-mask": "255"}, "tunnel": {"tunnel-id": 1077}}}`, `table=3,priority=32768,tun_id=0x435,metadata=0x5/0xff actions=drop`},
		{`{"match": {"nagare-inventory:field": [{"name": "reg0", "value": "1"}, {"name": "ct_state", "value": "+est+trk"}, {"name": "tun_src", "value": "10.0.0.1"}]}}`,
			`table=3,priority=32768,ct_state=+est+trk,reg0=0x1,tun_src=10.0.0.1 actions=drop`},
		{`{"match": {"ethernet-match": {"ethernet-type": {"type": 2048}}, "nagare-inventory:field": [{"name": "nw_ttl", "value": "1"}, {"name": "nw_frag", "value": "later"}]}}`,
			`table=3,priority=32768,ip,nw_ttl=1,nw_frag=later actions=drop`},
		{`{"match": {"ethernet-match": {"ethernet-type": {"type": 34525}}}, "instructions": {"instruction": [{"order": 5, "go-to-table": {"table_id": 9}}, {"order": 2, "write-metadata": {"metadata": "1"}}, {"order": 1, "clear-actions": {}}, {"order": 3, "meter": {"meter-id": 4}},
		   {"order": 4, "write-actions": {"action": [{"order": 0, "group-action": {"group-id": 7}}]}}, {"order": 0, "apply-actions": {"action": [{"order": 1, "output-action": {"output-node-connector": "CONTROLLER", "max-length": 60}}, {"order": 0, "dec-nw-ttl": {}}]}}]}}`,
			`table=3,priority=32768,ipv6 actions=meter:4,dec_ttl,CONTROLLER:60,clear_actions,write_actions(group:7),write_metadata:0x1,goto_table:9`},
		{`{"instructions": {"instruction": [{"order": 0, "apply-actions": {"action": [{"order": 0, "output-action": {"output-node-connector": "openflow:7:3"}}, {"order": 1, "output-action": {"output-node-connector": "4", "max-length": 60}},
		   {"order": 2, "output-action": {"output-node-connector": "INPORT"}}, {"order": 3, "output-action": {"output-node-connector": "normal"}}, {"order": 4, "controller-action": {}}]}}]}}`,
			`table=3,priority=32768 actions=output:3,output:4,IN_PORT,NORMAL,CONTROLLER:65535`},
		{`{"match": {"ethernet-match": {"ethernet-type": {"type": 2048}}, "ip-match": {"ip-protocol": 17}}, "instructions": {"instruction": [{"order": 0, "apply-actions": {"action": [
		   {"order": 0, "push-vlan-action": {"ethernet-type": 33024}}, {"order": 1, "set-field": {"vlan-match": {"vlan-id": {"vlan-id": 7, "vlan-id-present": true}}}}, {"order": 2, "set-vlan-id-action": {"vlan-id": 8}},
		   {"order": 3, "strip-vlan-action": {}}, {"order": 4, "set-dl-src-action": {"address": "00:00:00:00:00:01"}}, {"order": 5, "set-nw-dst-action": {"ipv4-address": "10.0.0.1/32"}},
		   {"order": 6, "set-tp-dst-action": {"port": 53}}, {"order": 7, "set-nw-ttl-action": {"nw-ttl": 9}}, {"order": 8, "set-field": {"ipv4-source": "10.0.0.2/32"}}, {"order": 9, "set-nw-tos-action": {"tos": 32}},
		   {"order": 10, "nagare-inventory:ovs-action": "load:0x1->NXM_NX_REG0[]"}, {"order": 11, "set-queue-action": {"queue-id": 3}}]}}]}}`,
			`table=3,priority=32768,udp actions=push_vlan:0x8100,set_field:4103->vlan_vid,set_field:4104->vlan_vid,pop_vlan,set_field:00:00:00:00:00:01->eth_src,set_field:10.0.0.1->ip_dst,set_field:53->udp_dst,mod_nw_ttl:9,set_field:10.0.0.2->ip_src,set_field:8->ip_dscp,load:0x1->NXM_NX_REG0[],set_queue:3`},
	} {
		f, err := ReadFlow(body(t, entry(t), c.body), node, 3)
		if err != nil {
			t.Errorf("%s: %v", c.body, err)
		} else if f.String() != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.body, f, c.want)
		} else {
			roundTrip(t, f)
		}
	}
}

// TestRefused: faults name the leaf.
func TestRefused(t *testing.T) {
	apply := func(action string) string {
		return `{"instructions": {"instruction": [{"order": 0, "apply-actions": {"action": [` + action + `]}}]}}`
	}
	for _, c := range []struct{ body, leaf string }{
		{`{"table_id": 4}`, "/table_id"},
		{`{"match": {"ipv4-source": "10.0.0.0/8"}}`, "/match/ipv4-source"},
		{`{"match": {"ethernet-match": {"ethernet-type": {"type": 34525}}, "ipv4-source": "10.0.0.0/8"}}`, "/match/ipv4-source"},
		{`{"match": {"ip-match": {"ip-protocol": 6}}}`, "/ip-match/ip-protocol"},
		{`{"match": {"ethernet-match": {"ethernet-type": {"type": 2048}}, "ip-match": {"ip-protocol": 17}, "tcp-source-port": 5}}`, "/match/tcp-source-port"},
		{`{"match": {"udp-source-port-mask": 5}}`, "/match/udp-source-port-mask"},
		{`{"match": {"vlan-match": {"vlan-pcp": 5}}}`, "/vlan-match/vlan-pcp"},
		{`{"match": {"vlan-match": {"vlan-id": {"vlan-id": 5, "vlan-id-present": false}}}}`, "/vlan-id/vlan-id-present"},
		{`{"match": {"in-port": "openflow:8:1"}}`, "/match/in-port"},
		{`{"match": {"in-port": "port one"}}`, "/match/in-port"},
		{`{"match": {"nagare-inventory:field": [{"name": "reg0", "value": "1"}, {"name": "colour", "value": "2"}]}}`, "field[name='colour']"},
		{`{"match": {"nagare-inventory:field": [{"name": "reg0", "value": "1,ip"}]}}`, "field[name='reg0']"},
		{`{"match": {"nagare-inventory:field": [{"name": "nw_src", "value": "10.0.0.1"}]}}`, "field[name='nw_src']"},
		{`{"match": {"metadata": {"metadata": "5"}, "nagare-inventory:field": [{"name": "metadata", "value": "10"}]}}`, "field[name='metadata']"},
		{`{"match": {"nagare-inventory:field": [{"name": "reg0", "value": "1"}, {"name": "xreg0", "value": "1"}]}}`, "field[name="},
		{`{"instructions": {"instruction": [{"order": 0}]}}`, "/instruction[order='0']"},
		{`{"instructions": {"instruction": [{"order": 0, "go-to-table": {}}]}}`, "/go-to-table/table_id"},
		{`{"instructions": {"instruction": [{"order": 0, "go-to-table": {"table_id": 4}}, {"order": 1, "go-to-table": {"table_id": 5}}]}}`, "instruction[order='1']/go-to-table"},
		{apply(`{"order": 0}`), "/action[order='0']"},
		{apply(`{"order": 0, "drop-action": {}}, {"order": 1, "dec-nw-ttl": {}}`), "/action[order='0']"},
		{apply(`{"order": 0, "output-action": {}}`), "/output-action/output-node-connector"},
		{apply(`{"order": 0, "output-action": {"output-node-connector": "ANY"}}`), "/output-action/output-node-connector"},
		{apply(`{"order": 0, "output-action": {"output-node-connector": "openflow:9:1"}}`), "/output-action/output-node-connector"},
		{apply(`{"order": 0, "set-field": {}}`), "/set-field"},
		{apply(`{"order": 0, "set-field": {"ipv4-source": "10.0.0.0/8"}}`), "/set-field/ipv4-source"},
		{apply(`{"order": 0, "set-field": {"ethernet-match": {"ethernet-type": {"type": 5}}}}`), "/ethernet-type/type"},
		{apply(`{"order": 0, "set-tp-src-action": {"port": 5}}`), "/set-tp-src-action"},
		{apply(`{"order": 0, "nagare-inventory:ovs-action": "goto_table:5"}`), "ovs-action"},
		{apply(`{"order": 0, "nagare-inventory:ovs-action": "drop"}`), "ovs-action"},
		{apply(`{"order": 0, "nagare-inventory:ovs-action": "output:1,output:2"}`), "ovs-action"},
		{apply(`{"order": 0, "nagare-inventory:ovs-action": "make:tea"}`), "ovs-action"},
		{apply(`{"order": 0, "push-vlan-action": {"ethernet-type": 2048}}`), "/push-vlan-action/ethernet-type"},
		{apply(`{"order": 0, "push-vlan-action": {}}, {"order": 1, "pop-vlan-action": {}}, {"order": 2, "pop-vlan-action": {}}`), "/action[order='2']"},
		{apply(`{"order": 0, "dec-nw-ttl": {}}`), "/action[order='0']"},
		{apply(`{"order": 0, "set-nw-src-action": {"ipv4-address": "10.0.0.1/32"}}`), "/action[order='0']"},
		{apply(`{"order": 0, "nagare-inventory:ovs-action": "ct(commit,zone=1)"}`), "/action[order='0']"},
		{apply(`{"order": 0, "nagare-inventory:ovs-action": "clone(push_vlan:0x8100,set_field:5->vlan_vid,move:NXM_OF_IP_SRC[]->NXM_NX_REG0[])"}`), "/action[order='0']"},
	} {
		f, err := ReadFlow(body(t, entry(t), c.body), node, 3)
		var fault *yang.Fault
		if !errors.As(err, &fault) {
			t.Errorf("%s: got %v, %v; want a fault", c.body, f, err)
		} else if !strings.Contains(fault.Path, c.leaf) {
			t.Errorf("%s: the fault %v names no %s", c.body, fault, c.leaf)
		}
	}
}
