// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/netvirt"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/openflow"
)

// What the standard profile asks of a switch, made by rules of the test's own: a group for each network, whose buckets hand
// copies to a table and to another group, a meter for each port, and flows that name them.

const (
	listGroup  = 0x0100_0001 // names leafGroup, which has the higher id
	leafGroup  = 0x0200_0001
	spareGroup = 0x0200_0002
)

// book is a rulebook whose answer for every node is whatever want says; the network's description chooses.
func book(want func(c *compile.Context, choice string)) *compile.Rulebook {
	b := &compile.Rulebook{}
	net := b.Add(compile.Rule{Name: "net", Kind: "network", Run: func(c *compile.Context) {
		n, _ := tables.Networks.Get(c, model.NetworkID(c.Subject))
		want(c, fmt.Sprint(n.SegmentationID))
	}})
	b.Root(compile.Rule{Name: "root", Kind: "node", Run: func(c *compile.Context) {
		c.Flow(flow.Flow{Table: 0, Actions: flow.Do()})
		c.Need(net, "net")
	}})
	return b
}

func uses(in uint32, acts ...flow.Act) flow.Flow {
	return flow.Flow{Table: 0, Priority: 100, Match: flow.M(flow.InPort(in)), Actions: flow.Do(acts...)}
}

func groups() []flow.Group {
	leaf := []flow.Bucket{
		{Acts: []flow.Act{flow.LoadReg(2, 0x1234), flow.LoadReg(6, 4096), flow.Load(openflow.Reg(7).Range(4, 1), 1), flow.Resubmit(90)}},
		{Acts: []flow.Act{flow.LoadReg(2, 7), flow.LoadReg(6, 0), flow.Load(openflow.Reg(7).Range(4, 1), 0), flow.Resubmit(90)}},
		{Acts: []flow.Act{flow.PushVLAN(), flow.SetVLANVID(101), flow.Output(3)}},
		{Acts: []flow.Act{flow.SetTunID(77), flow.SetTunDst(netip.MustParseAddr("192.168.0.11")), flow.Output(4)}},
	}
	return []flow.Group{
		flow.NewGroup(listGroup, flow.GroupAll, flow.Bucket{Acts: []flow.Act{flow.ToGroup(leafGroup)}},
			flow.Bucket{Acts: []flow.Act{flow.Output(1), flow.Output(2)}}),
		flow.NewGroup(leafGroup, flow.GroupAll, leaf...),
		flow.NewGroup(spareGroup, flow.GroupAll),
	}
}

func meters() []flow.Meter {
	return []flow.Meter{{ID: 1, Packets: true, Rate: 20, Burst: 40}, {ID: 4, Packets: true, Rate: 20}, {ID: 5, Rate: 2000, Burst: 200},
		{ID: 6, Rate: 3000}}
}

// secure asks for all of them.
func secure(c *compile.Context, choice string) {
	for _, g := range groups() {
		c.Group(g)
	}
	for _, m := range meters() {
		c.Meter(m)
	}
	c.Flow(uses(1, flow.ToGroup(listGroup)))
	c.Flow(uses(2, flow.Metered(5), flow.Output(1)))
	c.Flow(uses(3, flow.Punt(pipeline.Userdata(pipeline.PuntDHCP), 4)))
	c.Flow(flow.Flow{Table: 7, Priority: 1, Match: flow.M(flow.TCP(), flow.TPDst(22)), Actions: flow.Do(flow.LoadReg(0, uint32(len(choice)))),
		Cookie: 0x4e02000000000001})
}

func rules(b *compile.Rulebook) func(*Config) { return func(c *Config) { c.Rules, c.Check = b, nil } }

// TestRestartWithGroups shows that a real switch dumps groups and meters in the form in which they were sent, as far as we
// compare: a restart with unchanged intent sends none of them, nor does an audit.
func TestRestartWithGroups(t *testing.T) {
	s := newSiteWith(t, store.New(tables.Schema, nil), 0, 0, rules(book(secure)))
	sw := s.node("controller", "192.168.0.10")
	s.commit(network)
	s.synced(1)
	if i := s.info("controller"); len(i.Faults) != 0 || i.Sent.GroupMods != 3 || i.Sent.MeterMods != 4 || i.Sent.Bundles < 1 {
		t.Fatalf("first fill: %+v", i)
	}
	if got := strings.Count(sw.Ofctl("dump-groups", "br-int"), "group_id="); got != 3 {
		t.Errorf("%d groups on the switch", got)
	}
	s.hub.Audit("controller")
	s.until("audited", func() bool { return s.info("controller").Sent.Audits == 1 })
	if i := s.info("controller").Sent; i.GroupMods != 3 || i.MeterMods != 4 || i.Drift != 0 {
		t.Errorf("an audit sent something: %+v", i)
	}
	s.stop()
	again := newSiteWith(t, reopen(t, s.st), s.ovsdbPort, s.ofPort, rules(book(secure)))
	again.synced(1)
	if i := again.info("controller").Sent; i != (Counters{}) {
		t.Errorf("restart with unchanged intent sent %+v\n%s\n%s", i, sw.Ofctl("dump-groups", "br-int"), sw.Ofctl("dump-meters", "br-int"))
	}
	// Somebody else's hand on them is put right.
	sw.Ofctl("mod-group", "br-int", fmt.Sprintf("group_id=%d,type=all,bucket=actions=drop", leafGroup))
	sw.Ofctl("mod-meter", "br-int", "meter=1,pktps,bands=type=drop,rate=9")
	sw.Ofctl("del-meter", "br-int", "meter=4")
	again.hub.Audit("controller")
	again.until("healed", func() bool { i := again.info("controller").Sent; return i.GroupMods == 1 && i.MeterMods == 2 })
	again.synced(1)
	if got := sw.Ofctl("dump-flows", "br-int", "in_port=3"); !strings.Contains(got, "meter_id=4") {
		t.Errorf("the flow that went with its meter is not back: %s", got)
	}
	// Everything goes: groups and meters after the flows that used them.
	again.stop()
	last := newSiteWith(t, reopen(t, again.st), s.ovsdbPort, s.ofPort, rules(book(func(*compile.Context, string) {})))
	last.synced(1)
	if g, m := sw.Ofctl("dump-groups", "br-int"), sw.Ofctl("dump-meters", "br-int"); strings.Contains(g, "group_id=") || strings.Contains(m, "meter=") {
		t.Errorf("left:\n%s\n%s", g, m)
	}
}

// TestReconnect has a real switch call again and again, once in the middle of a request: nothing that it has is sent again, the
// meters least of all, which no bundle makes harmless.
func TestReconnect(t *testing.T) {
	s := newSiteWith(t, store.New(tables.Schema, nil), 0, 0, rules(book(secure)))
	sw := s.node("controller", "192.168.0.10")
	s.commit(network)
	s.synced(1)
	first := s.info("controller").Sent
	for range 3 {
		s.hub.mu.Lock()
		old := s.hub.nodes["controller"].of
		s.hub.mu.Unlock()
		old.c.Abort(errors.New("cut"))
		s.until("another session", func() bool {
			s.hub.mu.Lock()
			defer s.hub.mu.Unlock()
			of := s.hub.nodes["controller"].of
			return of != nil && of != old
		})
		s.synced(1)
	}
	if got := s.info("controller").Sent; got != first {
		t.Errorf("sent %+v, after the first session %+v", got, first)
	}
	log, err := os.ReadFile(filepath.Join(sw.Dir, "ovs-vswitchd.log"))
	if err != nil || strings.Contains(string(log), "METER") {
		t.Errorf("the switch was sent a meter that it has (%v):\n%s", err, log)
	}
}

// TestRefusedWithGroupsInUse has a real switch refuse a flow in the same round in which a group loses its users: were the group
// removed in the bundle, the roll-back would end Open vSwitch 3.1.
func TestRefusedWithGroupsInUse(t *testing.T) {
	b := book(func(c *compile.Context, choice string) {
		if choice == "77" {
			c.Group(flow.NewGroup(spareGroup, flow.GroupAll, flow.Bucket{Acts: []flow.Act{flow.Output(1)}}))
			c.Flow(uses(1, flow.ToGroup(spareGroup)))
			c.Flow(uses(2, flow.ToGroup(spareGroup)))
			return
		}
		c.Flow(uses(1, flow.Output(2)))
		c.Flow(uses(2, flow.ToGroup(0x999))) // there is no such group
	})
	s := newSiteWith(t, store.New(tables.Schema, nil), 0, 0, rules(b))
	sw := s.node("controller", "192.168.0.10")
	s.commit(network)
	s.synced(1)
	pid := sw.VswitchdPID()
	s.commit(func(tx *store.Txn) {
		tables.Networks.Put(tx, "net", model.Network{ID: "net", NetworkPlane: model.NetworkPlane{Type: model.VXLAN, SegmentationID: 78, AdminStateUp: true}})
	})
	s.synced(1)
	i := s.info("controller")
	if len(i.Faults) != 1 || i.Faults[0].Object != "net" || !strings.Contains(i.Faults[0].Reason, "refuses") {
		t.Errorf("faults %+v", i.Faults)
	}
	flows := sw.Ofctl("dump-flows", "br-int")
	if !strings.Contains(flows, "in_port=1 actions=output:2") || strings.Contains(flows, "in_port=2") || sw.VswitchdPID() != pid {
		t.Errorf("the refused flow stays in its old form, or the other was held up:\n%s", flows)
	}
	if got := sw.Ofctl("dump-groups", "br-int"); strings.Contains(got, "group_id") {
		t.Errorf("groups: %s", got)
	}
}

// TestRefusedGroup shows that a group and a meter that a switch will not take put their objects in fault, take along what names
// them in a single bundle, and hold up nobody; and that all is tried again when they change.
func TestRefusedGroup(t *testing.T) {
	for what, refuse := range map[string]func(openflow.Message) bool{
		"group": func(m openflow.Message) bool {
			g, ok := m.(*openflow.GroupMod)
			return ok && g.ID == leafGroup && len(g.Buckets) == 4
		},
		"meter": func(m openflow.Message) bool {
			x, ok := m.(*openflow.MeterMod)
			return ok && x.ID == 5 && x.Bands[0].Rate == 2000
		},
	} {
		t.Run(what, func(t *testing.T) {
			b := book(func(c *compile.Context, choice string) {
				gs, ms := groups(), meters()
				if choice != "77" {
					gs[1] = flow.NewGroup(leafGroup, flow.GroupAll)
					ms[2].Rate = 1000
				}
				for _, g := range gs {
					c.Group(g)
				}
				for _, m := range ms {
					c.Meter(m)
				}
				for in := uint32(1); in <= 40; in++ {
					c.Flow(uses(in, flow.Metered(5), flow.ToGroup(listGroup)))
				}
				c.Flow(uses(50, flow.Output(1)))
			})
			s := newSiteWith(t, store.New(tables.Schema, nil), 0, 0, rules(b))
			s.commit(network)
			n := s.fakeRefusing("a", func(m openflow.Message) *openflow.Error {
				if refuse(m) {
					return &openflow.Error{Type: 6, Code: 3}
				}
				return nil
			})
			s.synced(1)
			fault := func() string {
				for _, f := range s.info("a").Faults {
					if f.Object == "net" {
						return f.Reason
					}
				}
				return ""
			}
			if got := fault(); !strings.Contains(got, what) || !strings.Contains(got, "refuses") {
				t.Errorf("fault %q", got)
			}
			if got := len(n.sw.Flows()); got != 2 {
				t.Errorf("%d flows, want the two that need nothing refused", got)
			}
			if c := n.sw.Counts(); c.BundlesRefused > 1 || c.GroupsDeletedInUse != 0 {
				t.Errorf("%d bundles refused", c.BundlesRefused)
			}
			mods := n.sw.Counts()
			s.hub.Audit("a")
			s.until("audited", func() bool { return s.info("a").Sent.Audits == 1 })
			s.synced(1)
			if c := n.sw.Counts(); c.FlowMods != mods.FlowMods || c.GroupMods != mods.GroupMods || c.MeterMods != mods.MeterMods {
				t.Errorf("an audit sends again what was refused: %+v after %+v", c, mods)
			}
			s.commit(func(tx *store.Txn) {
				tables.Networks.Put(tx, "net", model.Network{ID: "net", NetworkPlane: model.NetworkPlane{Type: model.VXLAN, SegmentationID: 78, AdminStateUp: true}})
			})
			s.synced(1)
			if got := len(n.sw.Flows()); got != 42 || fault() != "" {
				t.Errorf("once it is acceptable: %d flows, fault %q", got, fault())
			}
		})
	}
}

// TestTooLongForAMessage shows that a group which no message can hold is its own object's trouble.
func TestTooLongForAMessage(t *testing.T) {
	b := book(func(c *compile.Context, _ string) {
		var bs []flow.Bucket
		for i := range 3000 {
			bs = append(bs, flow.Bucket{Acts: []flow.Act{flow.Output(uint32(i + 1))}})
		}
		c.Group(flow.NewGroup(leafGroup, flow.GroupAll, bs...))
		c.Flow(uses(1, flow.ToGroup(leafGroup)))
		c.Flow(uses(2, flow.Output(1)))
	})
	s := newSiteWith(t, store.New(tables.Schema, nil), 0, 0, rules(b))
	n := s.fake("a")
	s.commit(network)
	s.synced(1)
	if f := s.info("a").Faults; len(f) != 1 || !strings.Contains(f[0].Reason, "65535") {
		t.Errorf("faults %+v", f)
	}
	if got := len(n.sw.Flows()); got != 2 {
		t.Errorf("%d flows, want 2", got)
	}
}

// TestProfileSwitch shows that a node changes its profile by meters, then one bundle that was accepted whole: there is no state
// in between. Nothing but what the bundle replaced is removed after it.
func TestProfileSwitch(t *testing.T) {
	s := newSiteWith(t, store.New(tables.Schema, nil), 0, 0, func(*Config) {})
	n := s.fake("a")
	n.plug(t, one)
	s.commit(func(tx *store.Txn) { network(tx); put(t, tx, vm(one, "a", 3)) })
	s.until("active", func() bool { return s.status(one).Status == model.StatusActive })
	s.synced(1)
	st := s.st
	orders := [][]string{{"MeterMod", "GroupMod", "FlowMod"}, {"FlowMod", "GroupMod", "MeterMod"}}
	for i, next := range []*compile.Rulebook{book(secure), netvirt.Classic()} {
		s.stop()
		st = reopen(t, st)
		before := n.sw.Counts()
		var order []string
		n.sw.Refuse(func(m openflow.Message) *openflow.Error { // sees, and refuses nothing
			if k := fmt.Sprintf("%T", m)[len("*openflow."):]; k != "PacketOut" && (len(order) == 0 || order[len(order)-1] != k) {
				order = append(order, k)
			}
			return nil
		})
		s = newSiteWith(t, st, s.ovsdbPort, s.ofPort, rules(next))
		if err := n.db.Dial("tcp", s.ovsdb.Addr().String()); err != nil {
			t.Fatal(err)
		}
		s.until("the node is back", func() bool { i, _ := s.hub.Nodes(t.Context()); return len(i) == 1 && i[0].InSync })
		s.synced(1)
		n.sw.Refuse(nil)
		after := n.sw.Counts()
		if after.BundlesRefused != before.BundlesRefused || after.BundlesCommitted == before.BundlesCommitted {
			t.Errorf("bundles: %+v after %+v", after, before)
		}
		if want := orders[i]; !slices.Equal(order, want) {
			t.Errorf("order of changes %v, want %v", order, want)
		}
		if got, want := len(n.sw.Flows()), s.info("a").Flows; got != want {
			t.Errorf("%d flows, want %d", got, want)
		}
	}
}

// TestNoBlink shows that a flow whose actions change is overwritten and never removed first.
func TestNoBlink(t *testing.T) {
	s := newSiteWith(t, store.New(tables.Schema, nil), 0, 0, rules(book(func(c *compile.Context, choice string) {
		c.Flow(uses(1, flow.Output(uint32(len(choice)))))
		c.Flow(flow.Flow{Table: 0, Priority: 100, Match: flow.M(flow.InPort(2)), Cookie: uint64(len(choice)), Actions: flow.Do(flow.Output(1))})
	})))
	n := s.fake("a")
	s.commit(network)
	s.synced(1)
	change := func(vni uint32) {
		s.commit(func(tx *store.Txn) {
			tables.Networks.Put(tx, "net", model.Network{ID: "net", NetworkPlane: model.NetworkPlane{Type: model.VXLAN, SegmentationID: vni, AdminStateUp: true}})
		})
	}
	before := n.sw.Counts()
	change(1000)
	s.synced(1)
	after := n.sw.Counts()
	if after.FlowDeletes != before.FlowDeletes || after.FlowAdds != before.FlowAdds+2 || after.BundlesCommitted != before.BundlesCommitted+1 {
		t.Errorf("as a change: %d deletes, %d adds, %d bundles", after.FlowDeletes-before.FlowDeletes, after.FlowAdds-before.FlowAdds,
			after.BundlesCommitted-before.BundlesCommitted)
	}
	// The same by comparison: the switch holds the old form when the session begins.
	n.sw.Silence(true)
	change(77)
	s.until("compiled", func() bool { return s.hub.Processed() >= s.st.Snapshot().Revision() })
	n.sw.Silence(false)
	before = n.sw.Counts()
	n.sw.Drop()
	s.synced(1)
	if after = n.sw.Counts(); after.FlowDeletes != before.FlowDeletes || after.FlowAdds != before.FlowAdds+2 {
		t.Errorf("as a comparison: %d deletes, %d adds", after.FlowDeletes-before.FlowDeletes, after.FlowAdds-before.FlowAdds)
	}
}

// TestFabricLLDP shows that in the standard profile only tunnels and patches see LLDP, and that it is believed from them alone.
func TestFabricLLDP(t *testing.T) {
	for _, only := range []bool{false, true} {
		t.Run(fmt.Sprint(only), func(t *testing.T) {
			s := newSiteWith(t, store.New(tables.Schema, nil), 0, 0, func(c *Config) { c.FabricLLDP = only })
			n := s.fake("a")
			s.fake("b")
			s.synced(2)
			n.plug(t, one)
			s.commit(func(tx *store.Txn) { network(tx); put(t, tx, vm(one, "a", 3)) })
			number := func(name string) uint32 {
				i, _ := tables.Interfaces.Get(s.st.Snapshot(), model.InterfaceKey("a", name))
				return i.OFPort
			}
			tap, tunnel := model.PortID(one).TapName(), "vxlan-192.168.0.11"
			s.until("numbered", func() bool { return number(tap) != 0 && number(tunnel) != 0 })
			toTap, toTunnel := 0, 0
			for toTunnel < 3 {
				m := <-n.outs
				as, _ := openflow.DecodeActions(m.Actions)
				switch as[0].(openflow.Output).Port {
				case number(tap):
					toTap++
				case number(tunnel):
					toTunnel++
				}
			}
			if (toTap == 0) != only {
				t.Errorf("%d frames went to the instance", toTap)
			}
			other, _ := tables.Nodes.Get(s.st.Snapshot(), "b")
			in := func(port uint32) {
				m := punt(port, 0, s.hub.lldpFrame(other.DatapathID(), port, 15))
				m.Userdata = nil
				if err := n.sw.PacketIn(m); err != nil {
					t.Fatal(err)
				}
			}
			in(number(tap))
			in(number(tunnel)) // frames are handled in order
			from := func(port uint32) bool {
				return slices.ContainsFunc(s.hub.Links(), func(l Link) bool { return l.To == LinkEnd{"a", port} })
			}
			s.until("link by the tunnel", func() bool { return from(number(tunnel)) })
			if from(number(tap)) == only {
				t.Errorf("believed from an instance: %v", !only)
			}
		})
	}
}

// TestNativeDHCPStatus shows that a DHCP port that we serve is ACTIVE as soon as it is committed, and at once when a server
// starts that serves it, or ceases to.
func TestNativeDHCPStatus(t *testing.T) {
	dhcp := vm(one, "", 3)
	dhcp.DeviceOwner = "network:dhcp"
	native := func(on bool) func(*Config) { return func(c *Config) { c.NativeDHCP = on } }
	s := newSiteWith(t, store.New(tables.Schema, nil), 0, 0, native(true))
	other := vm(two, "", 4) // no DHCP port
	s.commit(func(tx *store.Txn) { network(tx); put(t, tx, dhcp); put(t, tx, other) })
	s.until("active", func() bool { return s.status(one).Status == model.StatusActive })
	dhcp.AdminStateUp = false
	s.commit(func(tx *store.Txn) { put(t, tx, dhcp) })
	s.until("down by its owner", func() bool { return s.status(one).Status == model.StatusDown })
	dhcp.AdminStateUp = true
	s.commit(func(tx *store.Txn) { put(t, tx, dhcp) })
	s.until("up again", func() bool { return s.status(one).Status == model.StatusActive })
	dhcp.Host = "a"
	s.commit(func(tx *store.Txn) { put(t, tx, dhcp) })
	s.until("placed and not plugged", func() bool { return s.status(one).Status == model.StatusDown })
	dhcp.Host = ""
	s.commit(func(tx *store.Txn) { put(t, tx, dhcp) })
	s.until("ours again", func() bool { return s.status(one).Status == model.StatusActive })
	if got := s.status(two).Status; got == model.StatusActive {
		t.Errorf("a port of an instance without a node is %s", got)
	}
	for _, on := range []bool{false, true, false} {
		s.stop()
		s = newSiteWith(t, reopen(t, s.st), 0, 0, native(on))
		want := map[bool]string{true: model.StatusActive, false: model.StatusDown}[on]
		s.until("status after a start", func() bool { return s.status(one).Status == want })
	}
}

// TestRefusedChange shows that a flow which the switch will not take in its new form is not left there in its old one, which may
// allow what must not be allowed any more.
func TestRefusedChange(t *testing.T) {
	s := newSiteWith(t, store.New(tables.Schema, nil), 0, 0, rules(book(func(c *compile.Context, choice string) {
		c.Flow(uses(1, flow.Output(uint32(len(choice)))))
	})))
	s.commit(network)
	n := s.fake("a")
	s.synced(1)
	n.sw.Refuse(func(m openflow.Message) *openflow.Error {
		if f, ok := m.(*openflow.FlowMod); ok && f.Command == openflow.FlowAdd && f.Priority == 100 {
			return &openflow.Error{Type: 5, Code: 1}
		}
		return nil
	})
	s.commit(func(tx *store.Txn) {
		tables.Networks.Put(tx, "net", model.Network{ID: "net", NetworkPlane: model.NetworkPlane{Type: model.VXLAN, SegmentationID: 1000, AdminStateUp: true}})
	})
	s.synced(1)
	if got := len(n.sw.Flows()); got != 1 || len(s.info("a").Faults) != 1 {
		t.Errorf("%d flows, want the one that was not refused; faults %+v", got, s.info("a").Faults)
	}
}

// TestAskedMeanwhile shows that a comparison answers only what was asked for before it began.
func TestAskedMeanwhile(t *testing.T) {
	s := newSiteWith(t, store.New(tables.Schema, nil), 0, 0, rules(book(secure)))
	s.commit(network)
	s.fake("a")
	s.synced(1)
	s.hub.mu.Lock()
	n := s.hub.nodes["a"] // its loop sleeps, since nothing wakes it
	db, of, asked := n.db, n.of, n.asked
	n.ask("meanwhile")
	s.hub.mu.Unlock()
	for i, left := range []bool{true, false} {
		if again, err := n.compare(t.Context(), db, of, "test", asked+uint64(i)); again != left || err != nil {
			t.Errorf("asked %d of 1 before: more waits %v, want %v; %v", i, again, left, err)
		}
	}
}
