// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nagare/internal/flow"
)

// golden is the recorded dumps of the two-node scenario, by file name.
func golden(t testing.TB) map[string]string {
	t.Helper()
	files, err := filepath.Glob("testdata/golden/*.txt")
	if err != nil || len(files) != 6 {
		t.Fatalf("recorded dumps: %v, %v", files, err)
	}
	out := map[string]string{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(f)] = string(b)
	}
	return out
}

func lines(text string) (out []string) {
	for _, l := range strings.Split(text, "\n") {
		if l != "" && l[0] != '#' {
			out = append(out, l)
		}
	}
	return out
}

// Every recorded flow reads and prints as itself, and normalising changes
// nothing but the order of ports in a flood.
func TestGoldenRoundTrip(t *testing.T) {
	for name, text := range golden(t) {
		want := lines(text)
		for _, line := range want {
			f, err := flow.ParseFlow(line)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else if got := f.String(); got != line {
				t.Errorf("%s:\n got %s\nwant %s", name, got, line)
			}
		}
		got, err := flow.Normalise(text)
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			want[i] = strings.Replace(want[i], "output:2,output:1,output:3", "output:1,output:2,output:3", 1)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s normalised:\n%s", name, strings.Join(got, "\n"))
		}
	}
}

func TestNormaliseDump(t *testing.T) {
	got, err := flow.Normalise(`OFPST_FLOW reply (OF1.3) (xid=0x2):
 cookie=0x0, duration=80.553s, table=110, n_packets=3, n_bytes=270, priority=16383,reg0=0x1,tun_id=0x435 actions=output:2,output:1
 cookie=0x0, duration=80.553s, n_packets=3, n_bytes=270, idle_age=5, dl_type=0x88cc actions=CONTROLLER:65535
 cookie=0x4e, duration=1s, table=0, n_packets=0, n_bytes=0, priority=0 actions=goto_table:20
 table=20, priority=5,udp,tp_src=68 actions=output:2,goto_table:30

# comment
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"table=0,priority=32768,dl_type=0x88cc actions=CONTROLLER:65535",
		"table=0,priority=0 actions=goto_table:20",
		"table=20,priority=5,udp,tp_src=68 actions=output:2,goto_table:30",
		"table=110,priority=16383,reg0=0x1,tun_id=0x435 actions=output:1,output:2",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

func TestParseDumpKeepsCounters(t *testing.T) {
	ds, err := flow.ParseDump(" cookie=0x4e03000700000001, duration=80.5s, table=110, n_packets=3, n_bytes=270, priority=1 actions=drop")
	if err != nil || len(ds) != 1 {
		t.Fatal(ds, err)
	}
	d := ds[0]
	if d.Cookie != 0x4e03000700000001 || d.Packets != 3 || d.Bytes != 270 || d.Duration.Seconds() != 80.5 || d.Table != 110 || d.Priority != 1 {
		t.Errorf("read %+v", d)
	}
}

// Other names and spellings read as the same flow.
func TestParseAliases(t *testing.T) {
	for in, want := range map[string]string{
		"actions=drop": "table=0,priority=32768 actions=drop",
		"eth_src=FA:16:3e:00:00:01,eth_type=0x800,ip_proto=17,udp_dst=53,ip_dst=10.0.0.0/255.0.0.0 actions=1": "table=0,priority=32768,udp,dl_src=fa:16:3e:00:00:01,nw_dst=10.0.0.0/8,tp_dst=53 actions=output:1",
		"dl_type=0x0800,nw_proto=6,tcp_src=80 actions=goto_table:2":                                           "table=0,priority=32768,tcp,tp_src=80 actions=goto_table:2",
		"nw_proto=1,arp,nw_src=1.2.3.4 actions=in_port":                                                       "table=0,priority=32768,arp,arp_spa=1.2.3.4,arp_op=1 actions=IN_PORT",
		"ip,nw_tos=128 actions=controller":                                                                    "table=0,priority=32768,ip,nw_tos=128 actions=CONTROLLER:65535",
		"ip,ip_dscp=32 actions=controller:128":                                                                "table=0,priority=32768,ip,nw_tos=128 actions=CONTROLLER:128",
		"vlan_tci=0x0000 actions=pop_vlan":                                                                    "table=0,priority=32768,vlan_tci=0x0000/0x1fff actions=pop_vlan",
		"vlan_vid=0x1005/0x1fff actions=strip_vlan":                                                           "table=0,priority=32768,dl_vlan=5 actions=pop_vlan",
		"dl_vlan_pcp=3 actions=drop":                                                                          "table=0,priority=32768,dl_vlan_pcp=3 actions=drop",
		"dl_vlan=0xffff actions=drop":                                                                         "table=0,priority=32768,vlan_tci=0x0000/0x1fff actions=drop",
		"tunnel_id=5,xxreg0=1 actions=set_tunnel:7":                                                           "table=0,priority=32768,reg0=0,reg1=0,reg2=0,reg3=0x1,tun_id=0x5 actions=set_field:0x7->tun_id",
		"xreg1=0x500000000/0xff00000000 actions=drop":                                                         "table=0,priority=32768,reg2=0x5/0xff actions=drop",
		"ct_state=+trk+new,ct_mark=0x1/0x1 actions=drop":                                                      "table=0,priority=32768,ct_state=+new+trk,ct_mark=0x1/0x1 actions=drop",
		"ct_state=new|trk actions=drop":                                                                       "table=0,priority=32768,ct_state=new|trk actions=drop",
		"ct_state=0x21/0x21 actions=drop":                                                                     "table=0,priority=32768,ct_state=+new+trk actions=drop",
		"tcp,tcp_flags=syn|ack actions=drop":                                                                  "table=0,priority=32768,tcp,tcp_flags=syn|ack actions=drop",
		"in_port=local actions=local":                                                                         "table=0,priority=32768,in_port=LOCAL actions=LOCAL",
		"udp actions=load:1->reg0[],load:0x5->NXM_NX_REG7[0..3],mod_tp_dst:5":                                 "table=0,priority=32768,udp actions=load:0x1->NXM_NX_REG0[],load:0x5->NXM_NX_REG7[0..3],set_field:5->udp_dst",
		"actions=mod_dl_dst:00:00:00:00:00:01,set_field:0x5/0xff->reg1,set_field:7/0xffffffff->reg2":          "table=0,priority=32768 actions=set_field:00:00:00:00:00:01->eth_dst,set_field:0x5/0xff->reg1,set_field:0x7->reg2",
		"actions=resubmit(,90),resubmit(5,6),resubmit:7,resubmit(,9,ct),resubmit(in_port,3)":                  "table=0,priority=32768 actions=resubmit(,90),resubmit(5,6),resubmit:7,resubmit(,9,ct),resubmit(,3)",
		"actions=goto_table:5,output:1,meter:3":                                                               "table=0,priority=32768 actions=meter:3,output:1,goto_table:5",
		"ip actions=ct(exec(load:1->NXM_NX_CT_MARK[0]),commit,zone=5)":                                        "table=0,priority=32768,ip actions=ct(commit,zone=5,exec(load:0x1->NXM_NX_CT_MARK[0]))",
		"priority=1 send_flow_rem idle_timeout=10 cookie=0x5 actions=NORMAL":                                  "table=0,priority=1 actions=NORMAL",
		"actions=controller(max_len=100,reason=no_match,id=5)":                                                "table=0,priority=32768 actions=controller(reason=no_match,max_len=100,id=5)",
		"actions=controller(max_len=100)":                                                                     "table=0,priority=32768 actions=CONTROLLER:100",
	} {
		f, err := flow.ParseFlow(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
		} else if got := f.String(); got != want {
			t.Errorf("%s:\n got %s\nwant %s", in, got, want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for in, want := range map[string]string{
		"":                                           "no actions",
		"priority=1":                                 "no actions",
		"priority=99999 actions=drop":                "16 bits",
		"table=300 actions=drop":                     "8 bits",
		"bogus=1 actions=drop":                       "unknown field",
		"bogus actions=drop":                         "keyword",
		"tp_dst=5 actions=drop":                      "protocol",
		"ip,arp actions=drop":                        "two ethernet types",
		"tcp,nw_proto=17 actions=drop":               "two IP protocols",
		"reg0=1,reg0=2 actions=drop":                 "two terms",
		"ip,nw_src=fe80::1 actions=drop":             "family",
		"ip,nw_src=1.2.3.4/33 actions=x":             "prefix length",
		"dl_src=1:2:3 actions=drop":                  "MAC",
		"ct_state=+new+new actions=drop":             "twice",
		"actions=frobnicate":                         "unknown action",
		"actions=ct(commit":                          "not closed",
		"actions=ct(bogus)":                          "unknown option",
		"actions=goto_table:1,goto_table:2":          "twice",
		"actions=clone(goto_table:1)":                "inside an action",
		"actions=load:5->NXM_NX_REG0[0]":             "1 bits",
		"actions=load:5->NXM_NX_REG0[30..40]":        "no bits",
		"actions=load:1->NXM_OF_ETH_TYPE[]":          "cannot be set",
		"actions=move:NXM_NX_REG0[]->NXM_NX_REG1[0]": "source has 32 bits",
		"actions=set_field:5->bogus":                 "unknown field",
		"actions=conjunction(1,3/2)":                 "k of n",
		"actions=conjunction(1)":                     "takes id",
		"actions=ct(nat(src=1.2.3.4:0))":             "port",
		"actions=" + strings.Repeat("clone(", 20) + strings.Repeat(")", 20): "deep",
	} {
		if f, err := flow.ParseFlow(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, %v; want an error on %q", in, f, err, want)
		}
	}
}

// Text that parses prints as text that parses to the same flow.
func FuzzParseFlow(f *testing.F) {
	for _, text := range golden(f) {
		for _, l := range lines(text) {
			f.Add(l)
		}
	}
	for _, l := range corpus {
		f.Add(l)
	}
	f.Fuzz(func(t *testing.T, line string) {
		a, err := flow.ParseFlow(line)
		if err != nil {
			return
		}
		text := a.String()
		b, err := flow.ParseFlow(text)
		if err != nil {
			t.Fatalf("%q prints as %q, which does not parse: %v", line, text, err)
		}
		a.Cookie = 0
		if a != b {
			t.Fatalf("%q prints as %q, which is %x %x instead of %x %x", line, text, b.Match, b.Actions, a.Match, a.Actions)
		}
		if m, err := flow.Wire([]byte(a.Match)); err != nil || m != a.Match {
			t.Fatalf("%q: match %x is not canonical: %x, %v", line, a.Match, m, err)
		}
		if c, err := flow.WireActions([]byte(a.Actions)); err != nil || c != a.Actions {
			t.Fatalf("%q: actions %x are not canonical: %x, %v", line, a.Actions, c, err)
		}
	})
}
