// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/openflow"
	"nagare/openflow/oftest"
)

// punt is a packet-in as Open vSwitch sends it for a punt of ours.
func punt(port, key uint32, data []byte) *openflow.PacketIn {
	m := openflow.AppendUint(nil, openflow.FieldInPort, uint64(port))
	m = openflow.AppendUint(m, openflow.FieldTunID, 77)
	m = openflow.AppendUint(m, openflow.Reg(pipeline.RegSrcPort), uint64(key))
	return &openflow.PacketIn{TotalLen: uint16(len(data)), Reason: openflow.ReasonAction, Table: 20, Cookie: 0x4e11000000000005,
		Match: m, Data: data, Userdata: pipeline.Userdata(pipeline.PuntDHCP), Extended: true}
}

func (s *site) info(node model.NodeID) NodeInfo {
	s.t.Helper()
	infos, err := s.hub.Nodes(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	for _, i := range infos {
		if i.ID == node {
			return i
		}
	}
	s.t.Fatalf("no node %s", node)
	return NodeInfo{}
}

// TestPuntsAreAnswered shows that what a node says of a packet reaches the answer, and the answer the port that the packet came
// by; that a panic costs its own packet alone; and that frames without our userdata are nobody's to answer.
func TestPuntsAreAnswered(t *testing.T) {
	got := make(chan Punted, 10)
	s := newSiteWith(t, store.New(tables.Schema, nil), 0, 0, func(c *Config) {
		c.Answer = func(snap *store.Snapshot, p Punted) [][]byte {
			if snap == nil || bytes.Equal(p.Data, []byte("boom")) {
				panic("boom")
			}
			got <- p
			if bytes.Equal(p.Data, []byte("none")) {
				return nil
			}
			return [][]byte{append([]byte("re:"), p.Data...), []byte("second")}
		}
	})
	n := s.fake("a")
	s.synced(1)
	foreign := punt(9, 9, []byte("foreign"))
	foreign.Userdata = []byte{1, 2, 3}
	plain := punt(9, 9, []byte("plain"))
	plain.Userdata = nil
	for _, m := range []*openflow.PacketIn{foreign, plain, punt(4, 5, []byte("boom")), punt(4, 5, []byte("none")), punt(7, 0xabcdef, []byte("hello"))} {
		if err := n.sw.PacketIn(m); err != nil {
			t.Fatal(err)
		}
	}
	if p := <-got; string(p.Data) != "none" {
		t.Errorf("first to be answered: %+v", p)
	}
	p := <-got
	want := Punted{Node: "a", InPort: 7, PortKey: 0xabcdef, TunID: 77, Kind: pipeline.PuntDHCP, Cookie: 0x4e11000000000005}
	if fmt.Sprintf("%+v", Punted{Node: p.Node, InPort: p.InPort, PortKey: p.PortKey, TunID: p.TunID, Kind: p.Kind, Cookie: p.Cookie}) != fmt.Sprintf("%+v", want) || string(p.Data) != "hello" {
		t.Errorf("asked %+v, want %+v", p, want)
	}
	var outs []*openflow.PacketOut
	for range 2 {
		outs = append(outs, <-n.outs)
	}
	for i, text := range []string{"re:hello", "second"} {
		as, err := openflow.DecodeActions(outs[i].Actions)
		if err != nil || len(as) != 1 || as[0].(openflow.Output).Port != 7 || outs[i].InPort != openflow.PortController || string(outs[i].Data) != text {
			t.Errorf("packet out %d: %+v %v %v", i, outs[i], as, err)
		}
	}
	s.until("counted", func() bool { return s.info("a").Punts == PuntCounts{Answered: 1, Unanswered: 1, Failed: 1} })
}

// TestPuntFlood shows that answers that do not come hold up neither the session nor memory: the rest is dropped and counted.
func TestPuntFlood(t *testing.T) {
	hold, began := make(chan struct{}), make(chan struct{}, 1)
	s := newSiteWith(t, store.New(tables.Schema, nil), 0, 0, func(c *Config) {
		c.Answer = func(*store.Snapshot, Punted) [][]byte {
			select {
			case began <- struct{}{}:
			default:
			}
			<-hold
			return nil
		}
	})
	n := s.fake("a")
	s.synced(1)
	if err := n.sw.PacketIn(punt(1, 1, []byte("x"))); err != nil {
		t.Fatal(err)
	}
	<-began
	const flood = 5 * maxPunts
	var b []byte
	for range flood {
		b = punt(1, 1, []byte("x")).AppendMessage(b, 0)
	}
	if err := n.sw.SendRaw(b); err != nil {
		t.Fatal(err)
	}
	s.until("dropped", func() bool { return s.info("a").Punts.Dropped == flood-maxPunts })
	// All the while the node is served.
	n.plug(t, "11111111-1111")
	s.commit(func(tx *store.Txn) { network(tx); put(t, tx, vm("11111111-1111", "a", 3)) })
	s.until("active", func() bool { return s.status("11111111-1111").Status == model.StatusActive })
	close(hold)
	s.until("the rest", func() bool { return s.info("a").Punts.Unanswered == maxPunts+1 })
}

// TestPuntBytes shows that large frames fill the queue sooner.
func TestPuntBytes(t *testing.T) {
	q := punts{kick: make(chan struct{}, 1)}
	n := 0
	for q.push(punt(1, 1, make([]byte, 9000)), true) {
		n++
	}
	if n != maxPuntBytes/9000 {
		t.Errorf("%d frames of 9000 bytes found room, want %d", n, maxPuntBytes/9000)
	}
	if got := len(q.take(nil)); got != n || !q.push(punt(1, 1, make([]byte, 9000)), true) {
		t.Errorf("took %d of %d, or there is no room after", got, n)
	}
}

// TestLogCopies: what is copied for security logs says of both ends and needs no way back; it leaves room for what somebody waits for.
func TestLogCopies(t *testing.T) {
	m := openflow.AppendUint(nil, openflow.Reg(pipeline.RegSrcPort), 5)
	m = openflow.AppendUint(m, openflow.Reg(pipeline.RegDstPort), 6)
	m = openflow.AppendUint(m, openflow.Reg(pipeline.RegRule), 7)
	in := &openflow.PacketIn{Match: m, Data: []byte("x"), Userdata: pipeline.Userdata(pipeline.PuntReceivedDropped), Extended: true}
	p, ok := readPunt(in)
	if !ok || p.PortKey != 5 || p.DstPort != 6 || p.Rule != 7 || p.Kind != pipeline.PuntReceivedDropped {
		t.Errorf("read %+v, %v", p, ok)
	}
	if in.Userdata = pipeline.Userdata(pipeline.PuntDHCP); true {
		if _, ok := readPunt(in); ok {
			t.Error("what is to be answered came by no port")
		}
	}
	q := punts{kick: make(chan struct{}, 1)}
	n := 0
	for q.push(in, false) {
		n++
	}
	if n != maxPunts/2 || !q.push(in, true) {
		t.Errorf("%d copies found room of %d, or nothing else did after them", n, maxPunts)
	}
}

// TestLogCopiesAreNoQuestions: copies for logs count among the punts neither as answered nor as unanswered.
func TestLogCopiesAreNoQuestions(t *testing.T) {
	s := newSiteWith(t, store.New(tables.Schema, nil), 0, 0, func(c *Config) {
		c.Answer = func(*store.Snapshot, Punted) [][]byte { return nil }
	})
	n := s.fake("a")
	s.synced(1)
	m := punt(1, 1, []byte("x"))
	m.Userdata = pipeline.Userdata(pipeline.PuntSentAccepted)
	for _, m := range []*openflow.PacketIn{m, punt(1, 1, []byte("x"))} { // in this order
		if err := n.sw.PacketIn(m); err != nil {
			t.Fatal(err)
		}
	}
	s.until("the second", func() bool { return s.info("a").Punts.Unanswered > 0 })
	if got := s.info("a").Punts; got != (PuntCounts{Unanswered: 1}) {
		t.Errorf("counted %+v", got)
	}
}

// BenchmarkPunts measures packets from the switch's write to the switch's reading of the answer, in writes of a hundred, over TCP on
// loopback. Both ends run in the process.
func BenchmarkPunts(b *testing.B) {
	frames := [][]byte{make([]byte, 342)}
	s := newSiteWith(b, store.New(tables.Schema, nil), 0, 0, func(c *Config) {
		c.Answer = func(*store.Snapshot, Punted) [][]byte { return frames }
		c.Timings.LLDP = time.Hour
	})
	n := s.fakeWith("a", nil)
	s.synced(1)
	const batch = 100
	var raw []byte
	for range batch {
		raw = punt(1, 1, make([]byte, 342)).AppendMessage(raw, 0)
	}
	first := n.sw.Counts().PacketOuts
	answered := func(want int) {
		if err := n.sw.Wait(b.Context(), func(c oftest.Counts) bool { return c.PacketOuts-first >= want }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	sent := 0
	for sent < b.N {
		if err := n.sw.SendRaw(raw); err != nil {
			b.Fatal(err)
		}
		sent += batch
		answered(sent - batch) // two writes in flight
	}
	answered(sent)
	b.ReportMetric(float64(sent)/b.Elapsed().Seconds(), "answers/s")
	if p := s.info("a").Punts; p.Dropped != 0 {
		b.Errorf("%d dropped", p.Dropped)
	}
}
