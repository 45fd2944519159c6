// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/ovstest"
	"nagare/internal/pipeline"
	"nagare/internal/repro"
	"nagare/internal/sim"
)

// packets tells how many packets each flow of a bridge met, by table, priority and match.
func packets(t *testing.T, s *ovstest.Switch, bridge string) map[string]uint64 {
	t.Helper()
	s.Appctl("revalidator/purge") // brings the datapath's counters to the flows
	ds, err := flow.ParseDump(s.Ofctl("--no-names", "dump-flows", bridge))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]uint64{}
	for _, d := range ds {
		out[strings.TrimSpace(fmt.Sprintf("%d %d %s", d.Table, d.Priority, d.Match))] += d.Packets
	}
	return out
}

// push loads a node's meters, groups and flows into a bridge of a real switch.
func push(t *testing.T, s *ovstest.Switch, bridge string, e *compile.Engine, node string) {
	t.Helper()
	s.AddBridge(bridge)
	for i := 1; i <= 9; i++ {
		s.AddPort(bridge, fmt.Sprintf("%s-p%d", bridge, i), i)
	}
	d, _ := e.Desired(node)
	for _, m := range d.Meters {
		s.Ofctl("add-meter", bridge, m.String())
	}
	file := func(name string, lines []string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	s.Ofctl("--bundle", "add-groups", bridge, file("groups", groupLines(e, node)))
	s.Ofctl("--bundle", "add-flows", bridge, file("flows", flowLines(e, node)))
	if got := strings.Count(s.Ofctl("dump-flows", bridge), "cookie="); got != len(d.Flows) {
		t.Errorf("%s: the switch holds %d flows, want %d", node, got, len(d.Flows))
	}
	if got := strings.Count(s.Ofctl("dump-groups", bridge), "group_id="); got != len(d.Groups) {
		t.Errorf("%s: the switch holds %d groups, want %d", node, got, len(d.Groups))
	}
}

// datapathOutputs are the ports among datapath actions, inside clones too.
func datapathOutputs(acts string) (out []uint32) {
	depth, word := 0, ""
	for _, c := range acts + "," {
		switch {
		case c == '(':
			if depth++; word == "clone" && depth == 1 {
				depth = 0 // what it holds counts as if it stood outside
			}
			word = ""
		case c == ')' || c == ',':
			if n, err := strconv.ParseUint(word, 10, 32); err == nil && depth == 0 {
				out = append(out, uint32(n))
			}
			if word = ""; c == ')' && depth > 0 {
				depth--
			}
		default:
			word += string(c)
		}
	}
	slices.Sort(out)
	return out
}

// traceable writes fields by the names that ofproto/trace knows, in a packet that has ICMP of version 6 only.
var traceable = strings.NewReplacer("icmp_type=", "icmpv6_type=", "icmp_code=", "icmpv6_code=")

// TestStandardOnRealSwitch loads the compiled tables, groups and meters of each golden file into Open vSwitch: the whole
// profile must be accepted, and layer 2 must send random packets the ways that the simulator says.
func TestStandardOnRealSwitch(t *testing.T) {
	files, _ := filepath.Glob("testdata/standard/*.txtar")
	s := ovstest.Start(t)
	went, agreed := 0, 0
	for i, path := range files {
		ar, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		st, e := loadStandard(t, ar)
		node := "compute"
		switch strings.TrimSuffix(filepath.Base(path), ".txtar") {
		case "provider": // there the other one has the wire
			node = "controller"
		case "bindings": // the one on which the port is not active
			node = "target"
		}
		push(t, s, fmt.Sprintf("all%d", i), compileBook(st, Standard(Options{}), pipeline.Standard, node), node)
		bridge := fmt.Sprintf("br%d", i)
		push(t, s, bridge, e, node)
		sw, numbers := simulated(t, e, node), ofNumbers(s, bridge)
		r := repro.Rand(uint64(i), 7)
		for range 50 {
			p := randomPacket(t, r, e, node)
			text := s.Appctl("ofproto/trace", bridge, traceable.Replace(p.String()))
			_, acts, _ := strings.Cut(text, "Datapath actions: ")
			acts, _, _ = strings.Cut(acts, "\n")
			res := sw.Trace(p)
			want := []uint32{}
			for _, dp := range datapathOutputs(acts) {
				want = append(want, numbers[dp])
			}
			slices.Sort(want)
			if got := res.OutPorts(); !slices.Equal(got, want) || len(res.Errors) > 0 {
				t.Fatalf("%s: packet %s\nsimulated %v:\n%s\nreal %v:\n%s", path, p, got, res, want, text)
			} else if agreed++; len(want) > 0 {
				went++
			}
		}
	}
	t.Logf("%d packets agree, %d of them went somewhere", agreed, went)
	if went < agreed/6 {
		t.Errorf("only %d of %d packets went anywhere: the test shows little", went, agreed)
	}
}

func simulated(t *testing.T, e *compile.Engine, node string) *sim.Switch {
	t.Helper()
	sw := sim.NewSwitch(node)
	if err := sw.Put(flowsOf(e, node)...); err != nil {
		t.Fatal(err)
	}
	d, _ := e.Desired(node)
	for _, g := range d.Groups {
		sw.PutGroup(g)
	}
	return sw
}

// randomPacket is a frame that mostly comes in as some flow of table 0 has it, to somebody of the golden files.
func randomPacket(t *testing.T, r *rand.Rand, e *compile.Engine, node string) sim.Packet {
	t.Helper()
	var doors []string
	for _, f := range flowsOf(e, node) {
		if f.Table == 0 && (f.Priority == pipeline.PrioPort || f.Priority == pipeline.PrioTrunk) {
			doors = append(doors, strings.ReplaceAll(f.Match.String(), ",vlan_tci=0x0000/0x1fff", ""))
		}
	}
	text := doors[r.IntN(len(doors))]
	if r.IntN(8) == 0 {
		text = fmt.Sprintf("in_port=%d,tun_id=0x435", 1+r.IntN(4)) // by nobody's door
	}
	if r.IntN(10) == 0 && !strings.Contains(text, "dl_vlan") {
		text += ",dl_vlan=42"
	}
	macs := []string{"ff:ff:ff:ff:ff:ff", "33:33:00:00:00:01", shared.String(), stranger.String(), "fa:16:3e:ef:85:07", "fa:16:3e:9e:f5:70", "fa:16:3e:53:88:56"}
	for i := range 5 {
		macs = append(macs, model.MAC{0xfa, 0x16, 0x3e, 0, 0, byte(i)}.String())
	}
	if !strings.Contains(text, "dl_src=") {
		text += ",dl_src=" + macs[2+r.IntN(len(macs)-2)]
	}
	text += ",dl_dst=" + macs[r.IntN(len(macs))]
	v4, v6 := []string{"10.0.0.%d", "10.11.12.%d"}[r.IntN(2)], []string{"::", "fd00::9"}[r.IntN(2)]
	switch n := 1 + r.IntN(4); r.IntN(4) {
	case 0:
		text += fmt.Sprintf(",arp,arp_op=%d,arp_tpa="+v4, 1+r.IntN(2), n)
	case 1:
		text += fmt.Sprintf(",icmp6,icmp_type=135,icmp_code=0,ipv6_src=%s,nd_target=fd00::%d", v6, n)
	default:
		text += fmt.Sprintf(",ip,nw_dst="+v4, n)
	}
	p, err := sim.Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p
}

// ofNumbers maps the datapath's numbers to a bridge's own: bridges share the datapath.
func ofNumbers(s *ovstest.Switch, bridge string) map[uint32]uint32 {
	of := map[uint32]uint32{}
	for _, l := range strings.Split(s.Appctl("dpif/show"), "\n") {
		var name string
		var n, dp uint32
		if _, err := fmt.Sscanf(strings.Replace(strings.TrimSpace(l), "/", " ", 1), "%s %d%d:", &name, &n, &dp); err == nil && strings.HasPrefix(name, bridge+"-p") {
			of[dp] = n
		}
	}
	return of
}
