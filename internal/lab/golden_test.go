// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"slices"
	"strings"
	"testing"
)

func TestGoldenCounts(t *testing.T) {
	for state, want := range map[string]int{
		"initial-controller": 12, "initial-compute": 12, "network-controller": 20, "network-compute": 13,
		"instances-controller": 22, "instances-compute": 32, "initial-single": 12, "network-single": 19, "instances-single": 34,
	} {
		flows, err := goldenFlows(state, substitution{})
		if err != nil {
			t.Fatal(err)
		}
		if len(flows) != want {
			t.Errorf("%s has %d flows, want %d", state, len(flows), want)
		}
	}
}

func TestCanonicalFlows(t *testing.T) {
	const dump = `OFPST_FLOW reply (OF1.3) (xid=0x2):
 cookie=0x0, duration=12.3s, table=0, n_packets=3, n_bytes=4, dl_type=0x88cc actions=CONTROLLER:65535
 cookie=0x0, duration=12.3s, n_packets=3, n_bytes=4, idle_age=3, priority=8192,in_port=2 actions=drop
 cookie=0x1, duration=1s, table=110, n_packets=0, n_bytes=0, priority=16383,reg0=0x1,tun_id=0x435,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00 actions=output:12,output:2,output:1
 cookie=0x0, duration=12.3s, table=20, n_packets=3, n_bytes=4, priority=0 actions=goto_table:30
`
	want := []string{
		"table=0,priority=32768,dl_type=0x88cc actions=CONTROLLER:65535",
		"table=0,priority=8192,in_port=2 actions=drop",
		"table=20,priority=0 actions=goto_table:30",
		"table=110,priority=16383,reg0=0x1,tun_id=0x435,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00 actions=output:1,output:2,output:12",
	}
	got, err := canonicalFlows(dump)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if _, err := canonicalFlows("ovs-ofctl: br-int is not a bridge or a socket"); err == nil {
		t.Error("an error message passed as a dump")
	}
}

func TestSubstitution(t *testing.T) {
	s := substitution{
		text:  []string{"0x435", "0x7d1", "fa:16:3e:ef:85:07", "fa:16:3e:00:00:01", "tap178a8b99-70", "tap00000000-aa"},
		ports: map[int]int{1: 2, 2: 1, 3: 13},
	}
	got := s.flow("table=110,priority=1,tun_id=0x435,in_port=1,dl_src=fa:16:3e:ef:85:07 actions=output:2,output:3,output:4")
	want := "table=110,priority=1,tun_id=0x7d1,in_port=2,dl_src=fa:16:3e:00:00:01 actions=output:1,output:13,output:4"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	facts, err := goldenFacts(1, firstNode, false, false, s)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"interface tap00000000-aa ofport = 2", "interface vxlan-192.168.0.11 ofport = 1", "interface br-int ofport = 65534"} {
		if !slices.Contains(facts, want) {
			t.Errorf("no %q in\n%s", want, strings.Join(facts, "\n"))
		}
	}
}

func TestGoldenFactsByTopology(t *testing.T) {
	count := func(step int, node string, single, instances bool) int {
		facts, err := goldenFacts(step, node, single, instances, substitution{})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range facts {
			if single && strings.Contains(f, "vxlan") {
				t.Errorf("a single node expects %q", f)
			}
		}
		return len(facts)
	}
	if a, b := count(0, firstNode, false, false), count(0, "compute", false, false); a != 7 || b != 4 {
		t.Errorf("step 0: %d and %d facts", a, b)
	}
	if a, b := count(2, firstNode, false, false), count(2, "compute", false, true); a != 14 || b != 14 {
		t.Errorf("step 2: %d and %d facts", a, b)
	}
	if a := count(2, firstNode, true, true); a != 17 {
		t.Errorf("single node, step 2: %d facts", a)
	}
}

func TestDifference(t *testing.T) {
	got := difference([]string{"a", "b", "b", "c"}, []string{"b", "c", "c", "d"})
	want := []string{"- a", "- b", "+ c", "+ d"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if d := difference([]string{"a"}, []string{"a"}); d != nil {
		t.Errorf("equal lists differ: %v", d)
	}
}

func TestFactsOf(t *testing.T) {
	tables := map[string][]map[string]any{}
	for table, text := range map[string]string{
		"Open_vSwitch": `{"headings":["_uuid"],"data":[[["uuid","43cbe79e-8e51-4a5a-8638-03df224ad777"]]]}`,
		"Manager":      `{"headings":["target","is_connected"],"data":[["tcp:192.168.0.10:6640",true]]}`,
		"Bridge": `{"headings":["name","fail_mode","controller","ports"],"data":[
			["br-int","secure",["uuid","c1"],["set",[["uuid","p1"],["uuid","p2"]]]],
			["br-ex",["set",[]],["set",[]],["uuid","p3"]]]}`,
		"Controller": `{"headings":["_uuid","target","is_connected"],"data":[[["uuid","c1"],"tcp:192.168.0.10:6653",true]]}`,
		"Port": `{"headings":["_uuid","name","interfaces"],"data":[[["uuid","p1"],"br-int",["uuid","i1"]],
			[["uuid","p2"],"vxlan-192.168.0.11",["uuid","i2"]],[["uuid","p3"],"tapx",["uuid","i3"]]]}`,
		"Interface": `{"headings":["_uuid","name","type","ofport","options","external_ids"],"data":[
			[["uuid","i1"],"br-int","internal",65534,["map",[]],["map",[]]],
			[["uuid","i2"],"vxlan-192.168.0.11","vxlan",2,["map",[["remote_ip","192.168.0.11"],["key","flow"],["local_ip","192.168.0.10"]]],["map",[]]],
			[["uuid","i3"],"tapx","",["set",[]],["map",[]],["map",[["iface-id","abc"]]]]]}`,
	} {
		rows, err := parseRows(text)
		if err != nil {
			t.Fatal(err)
		}
		tables[table] = rows
	}
	facts := factsOf(tables)
	for k, want := range map[string]string{
		"Open_vSwitch uuid":                                                       "43cbe79e-8e51-4a5a-8638-03df224ad777",
		"manager tcp:192.168.0.10:6640 is_connected":                              "true",
		"bridge br-int controller tcp:192.168.0.10:6653 is_connected":             "true",
		"bridge br-int fail_mode":                                                 "secure",
		"bridge br-ex fail_mode":                                                  "unset",
		"bridge br-ex controller":                                                 "none",
		"bridge br-int port br-int interface br-int type":                         "internal",
		"bridge br-int port vxlan-192.168.0.11 interface vxlan-192.168.0.11 type": "vxlan",
		"interface vxlan-192.168.0.11 options":                                    `{key=flow, local_ip="192.168.0.10", remote_ip="192.168.0.11"}`,
		"interface vxlan-192.168.0.11 ofport":                                     "2",
		"bridge br-ex port tapx interface tapx type":                              `""`,
		"interface tapx external_ids:iface-id":                                    "abc",
	} {
		if facts[k] != want {
			t.Errorf("%s = %q, want %q", k, facts[k], want)
		}
	}
	if got := tunnels(facts); !slices.Equal(got, []string{"vxlan-192.168.0.11"}) {
		t.Errorf("tunnels %v", got)
	}
	if ofport(facts, "vxlan-192.168.0.11") != 2 || ofport(facts, "tapx") != 0 {
		t.Error("ofport")
	}
}
