// SPDX-License-Identifier: Apache-2.0

package sim_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"nagare/internal/flow"
	"nagare/internal/sim"
	"nagare/openflow"
)

// A trace's steps are its lookups in order, each with the flow that took the packet and what its actions did.
func TestSteps(t *testing.T) {
	s := load(t, "table=0,in_port=1,ip actions=load:0x7->NXM_NX_REG1[],ct(table=5,zone=9)",
		"table=5,ct_state=+trk+new actions=ct(commit,zone=9,nat(src=10.0.0.9)),clone(load:0x8->NXM_NX_REG2[],resubmit(,6)),output:1,output:2",
		"table=6 actions=output:3")
	r := s.Trace(packet(t, "tcp,in_port=1,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=5,tp_dst=6"))
	var got []string
	for _, step := range r.Steps {
		line := fmt.Sprintf("%d:%d", step.Depth, step.Table)
		for _, d := range step.Deeds {
			var changed []string
			for _, f := range d.Before.Differences(d.After) {
				changed = append(changed, f.Field.Name)
			}
			line += " [" + strings.TrimSpace(strings.Join(changed, " ")+" "+d.Note) + "]"
		}
		got = append(got, line)
	}
	if len(got) != 3 || !strings.HasPrefix(got[0], "0:0 [reg1] [") || !strings.Contains(got[0], "ct_state") || !strings.Contains(got[1], "ip_src") ||
		!strings.Contains(got[1], "[reg2]") || !strings.Contains(got[1], "[skipped: the packet came in there]") || got[2] != "3:6 []" {
		t.Errorf("steps %q", got)
	}
	if quiet := s.Run(packet(t, "tcp,in_port=1")); quiet.Steps != nil {
		t.Errorf("steps without a trace: %v", quiet.Steps)
	}
	if miss := s.Trace(packet(t, "arp,in_port=1")); len(miss.Steps) != 1 || !miss.Steps[0].Miss {
		t.Errorf("a miss: %+v", miss.Steps)
	}
}

// A fabric that grows: what is not known of a port is asked for, and visits tell by whose output they came.
func TestBeyond(t *testing.T) {
	f := sim.NewFabric()
	a := f.Switch("a")
	if err := a.Put(parsed(t, "in_port=1 actions=output:2,output:3,output:4")); err != nil {
		t.Fatal(err)
	}
	var b *sim.Switch
	f.Beyond = func(from *sim.Switch, port uint32, p sim.Packet) sim.Exit {
		switch {
		case from.Name == "b", port == 2:
			return sim.Exit{To: []string{fmt.Sprintf("%s%d", from.Name, port)}}
		case port == 3:
			b = f.Switch("b")
			if err := b.Put(parsed(t, "in_port=7,tun_id=5 actions=output:1")); err != nil {
				t.Fatal(err)
			}
			p.SetUint(openflow.FieldTunID, 5)
			return sim.Exit{Into: []sim.Entrance{{Switch: b, Port: 7, Packet: p}}}
		}
		return sim.Exit{Lost: "nothing there"}
	}
	var o sim.Outcome
	f.Inject(&o, a, 1, sim.New(flow.ARP()), true)
	if got := o.Receivers(); !slices.Equal(got, []string{"a2", "b1"}) || !slices.Equal(o.Lost, []string{"nothing there"}) {
		t.Errorf("receivers %v, lost %v", got, o.Lost)
	}
	if len(o.Visits) != 2 || o.Visits[0].Parent != -1 || o.Visits[1].Parent != 0 || o.Visits[1].Switch != "b" || o.Visits[1].Packet.InPort() != 7 {
		t.Errorf("visits %+v", o.Visits)
	}
}

func parsed(t *testing.T, text string) flow.Flow {
	t.Helper()
	f, err := flow.ParseFlow(text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
