// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"nagare/internal/flow"
	"nagare/internal/ovstest"
	"nagare/openflow"
)

// session is the least that speaks OpenFlow 1.3 with a switch: it sends
// messages and reads answers until a barrier.
type session struct {
	t testing.TB
	c net.Conn
}

func dial(t testing.TB, s *ovstest.Switch, bridge string) *session {
	t.Helper()
	c := s.Dial(bridge)
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := c.Write((&openflow.Hello{}).AppendMessage(nil, 1)); err != nil {
		t.Fatal(err)
	}
	return &session{t, c}
}

// exchange sends messages and a barrier, and returns what comes before its reply.
func (s *session) exchange(ms ...openflow.Message) []openflow.Message {
	s.t.Helper()
	var b []byte
	for i, m := range ms {
		b = m.AppendMessage(b, uint32(100+i))
	}
	b = (&openflow.BarrierRequest{}).AppendMessage(b, 99)
	if _, err := s.c.Write(b); err != nil {
		s.t.Fatal(err)
	}
	var out []openflow.Message
	for {
		h := make([]byte, 8)
		if _, err := io.ReadFull(s.c, h); err != nil {
			s.t.Fatal(err)
		}
		body := make([]byte, binary.BigEndian.Uint16(h[2:]))
		copy(body, h)
		if _, err := io.ReadFull(s.c, body[8:]); err != nil {
			s.t.Fatal(err)
		}
		_, m, err := openflow.Decode(body)
		if err != nil {
			s.t.Fatal(err)
		}
		switch m := m.(type) {
		case *openflow.BarrierReply:
			return out
		case *openflow.Error:
			s.t.Errorf("switch refuses: %v", m)
		default:
			out = append(out, m)
		}
	}
}

// dump reads every flow of the switch in canonical form.
func (s *session) dump() (out []flow.Flow) {
	s.t.Helper()
	for _, m := range s.exchange(openflow.FlowRequest(openflow.MPFlow, openflow.AllFlows)) {
		r, ok := m.(*openflow.MultipartReply)
		if !ok {
			continue
		}
		err := openflow.ReadFlowStats(r.Body, func(st *openflow.FlowStats) error {
			m, err := flow.Wire(st.Match)
			if err != nil {
				return err
			}
			a, err := flow.WireActions(st.Instructions)
			out = append(out, flow.Flow{Table: st.Table, Priority: st.Priority, Cookie: st.Cookie, Match: m, Actions: a})
			return err
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
	return out
}

func flowMod(f flow.Flow) *openflow.FlowMod {
	return &openflow.FlowMod{Cookie: f.Cookie, Table: f.Table, Priority: f.Priority, Match: []byte(f.Match), Instructions: []byte(f.Actions)}
}

func startSwitch(t *testing.T) *ovstest.Switch {
	s := ovstest.Start(t)
	s.AddBridge("br0")
	s.Ofctl("add-meter", "br0", "meter=5,kbps,burst,band=type=drop,rate=1000,burst_size=100")
	s.Ofctl("add-group", "br0", "group_id=5,type=all,bucket=output:1")
	s.Ofctl("add-group", "br0", "group_id=16777217,type=all,bucket=output:1")
	return s
}

// What an operator types reaches a real switch as the bytes that we would send
// for the same text, is dumped as the text that we print, and what we send is
// dumped as the bytes that we sent.
func TestSwitchAgrees(t *testing.T) {
	s := startSwitch(t)
	of := dial(t, s, "br0")
	var want []flow.Flow
	var mods []openflow.Message
	for _, line := range corpus {
		f, err := flow.ParseFlow(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		want = append(want, f)
		mods = append(mods, flowMod(f))
	}
	slices.SortFunc(want, flow.Compare)
	check := func(how string) {
		t.Helper()
		got := of.dump()
		slices.SortFunc(got, flow.Compare)
		for _, f := range missing(want, got) {
			t.Errorf("%s, switch lacks %s\n  %x\n  %x", how, f, string(f.Match), string(f.Actions))
		}
		for _, f := range missing(got, want) {
			t.Errorf("%s, switch has %s\n  %x\n  %x", how, f, string(f.Match), string(f.Actions))
		}
		var printed, printing []string
		for _, line := range strings.Split(s.Ofctl("--no-names", "--no-stats", "dump-flows", "br0"), "\n") {
			if strings.Contains(line, "actions=") {
				printed = append(printed, plain(line))
			}
		}
		for _, f := range want {
			printing = append(printing, f.String())
		}
		for _, l := range missing(printing, printed) {
			t.Errorf("%s, we print\n%s", how, l)
		}
		for _, l := range missing(printed, printing) {
			t.Errorf("%s, switch prints\n%s", how, l)
		}
	}
	file := filepath.Join(t.TempDir(), "flows")
	if err := os.WriteFile(file, []byte(strings.Join(corpus, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Ofctl("add-flows", "br0", file)
	check("typed")
	s.Ofctl("del-flows", "br0")
	of.exchange(mods...)
	check("sent")
}

// missing is what of a is not in b.
func missing[T comparable](a, b []T) (out []T) {
	for _, x := range a {
		if !slices.Contains(b, x) {
			out = append(out, x)
		}
	}
	return out
}

// plain brings one dumped line to the normal form by cutting text only.
func plain(line string) string {
	head, actions, _ := strings.Cut(line, "actions=")
	table, prio := "0", "32768"
	var match []string
	for _, f := range strings.FieldsFunc(head, func(r rune) bool { return r == ',' || r == ' ' }) {
		switch k, v, _ := strings.Cut(f, "="); k {
		case "table":
			table = v
		case "priority":
			prio = v
		case "cookie":
		default:
			match = append(match, f)
		}
	}
	out := "table=" + table + ",priority=" + prio
	if len(match) > 0 {
		out += "," + strings.Join(match, ",")
	}
	return out + " actions=" + actions
}

// The recorded states survive a real switch flow for flow.
func TestSwitchHoldsGolden(t *testing.T) {
	s := startSwitch(t)
	of := dial(t, s, "br0")
	for name, text := range golden(t) {
		var want []flow.Flow
		var mods []openflow.Message
		for _, line := range lines(text) {
			f, err := flow.ParseFlow(line)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, f)
			mods = append(mods, flowMod(f))
		}
		of.exchange(mods...)
		got := of.dump()
		slices.SortFunc(got, flow.Compare)
		if !slices.Equal(got, want) {
			t.Errorf("%s: switch has\n%v", name, got)
		}
		dumped, err := flow.Normalise(s.Ofctl("--no-names", "dump-flows", "br0"))
		if err != nil || !slices.Equal(dumped, flow.Lines(want)) {
			t.Errorf("%s: switch prints %v\n%s", name, err, strings.Join(dumped, "\n"))
		}
		s.Ofctl("del-flows", "br0")
	}
}

// Groups come back as they were sent.
func TestSwitchHoldsGroups(t *testing.T) {
	s := startSwitch(t)
	of := dial(t, s, "br0")
	want := []flow.Group{
		flow.NewGroup(flow.GroupID(1, 7), flow.GroupAll,
			flow.Bucket{Acts: []flow.Act{flow.LoadReg(2, 5), flow.Load(flow.RegBits(7, 4, 1), 1), flow.Resubmit(90)}},
			flow.Bucket{Acts: []flow.Act{flow.Output(3)}}, flow.Bucket{}),
		flow.NewGroup(flow.GroupID(3, 7), flow.GroupSelect,
			flow.Bucket{Weight: 5, Acts: []flow.Act{flow.Output(3)}}, flow.Bucket{Acts: []flow.Act{flow.Output(4)}}),
		flow.NewGroup(9, flow.GroupIndirect, flow.Bucket{Acts: []flow.Act{flow.Output(1)}}),
		flow.NewGroup(10, flow.GroupFastFailover, flow.Bucket{WatchPort: 1, Acts: []flow.Act{flow.Output(1)}}),
	}
	var mods []openflow.Message
	for _, g := range want {
		mods = append(mods, &openflow.GroupMod{Command: openflow.GroupAdd, Type: uint8(g.Type), ID: g.ID, Buckets: g.Decoded()})
	}
	s.Ofctl("del-groups", "br0")
	of.exchange(mods...)
	var got []flow.Group
	for _, m := range of.exchange(&openflow.MultipartRequest{Type: openflow.MPGroupDesc}) {
		r, ok := m.(*openflow.MultipartReply)
		if !ok {
			continue
		}
		ds, err := openflow.DecodeGroupDescs(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range ds {
			g, err := flow.WireGroup(d)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, g)
		}
	}
	byID := func(a, b flow.Group) int { return int(int64(a.ID) - int64(b.ID)) }
	slices.SortFunc(got, byID)
	slices.SortFunc(want, byID)
	if !slices.Equal(got, want) {
		t.Errorf("switch has\n%v\nwant\n%v", got, want)
	}
	text := s.Ofctl("--no-names", "dump-groups", "br0")
	for _, g := range want {
		if !strings.Contains(text, g.String()+"\n") && !strings.HasSuffix(text, g.String()) {
			t.Errorf("we print %s\nswitch prints\n%s", g, text)
		}
	}
}
