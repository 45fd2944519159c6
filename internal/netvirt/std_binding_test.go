// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"fmt"
	"slices"
	"testing"

	"nagare/internal/alloc"
	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/sim"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// migration is a cloud of three nodes in the simulator with an instance that goes from a to b, and others on each node. The
// instance's interfaces are "guest@a" and "guest@b".
type migration struct {
	*streets
	guest model.Port
	peers map[string]model.Port
}

// apply lets one node follow.
func (m *migration) apply(node string, d *compile.Delta) {
	m.t.Helper()
	if d == nil {
		return
	}
	sw := m.switches[node]
	for k, c := range d.Flows {
		if c.After == nil {
			sw.Delete(k)
		} else {
			m.must(sw.Put(*c.After))
		}
	}
	for id, c := range d.Groups {
		if c.After == nil {
			sw.DeleteGroup(id)
		} else {
			sw.PutGroup(*c.After)
		}
	}
}

func newMigration(t *testing.T) *migration {
	m := &migration{streets: newStreets(t, "a", "b", "c"), guest: trunkPort(9, "n1", "a"), peers: map[string]model.Port{}}
	m.guest.AllowedPairs = []model.AddressPair{{MAC: shared}}
	m.change(func(tx *store.Txn) error {
		s := []model.Port{m.guest}
		for i, n := range []string{"a", "b", "c"} {
			m.peers[n] = trunkPort(i+1, "n1", n)
			s = append(s, m.peers[n])
		}
		for i, p := range s {
			m.must(putPlugged(tx, p, uint32(i+1), true))
		}
		return nil
	})
	for i, n := range []string{"a", "b", "c"} {
		m.fabric.Attach(n, m.switches[n], uint32(i+2))
	}
	m.fabric.Attach("guest@a", m.switches["a"], 1)
	m.fabric.Attach("guest@b", m.switches["b"], 1)
	return m
}

// prepare binds the guest to b, inactively, and plugs it there.
func (m *migration) prepare() {
	m.t.Helper()
	m.guest.Bindings = []model.Binding{{Host: "b"}}
	m.change(func(tx *store.Txn) error {
		m.must(alloc.PutPort(tx, m.guest))
		i := model.Interface{Node: "b", Name: m.guest.ID.TapName(), OFPort: 1, IfaceID: m.guest.ID}
		tables.Interfaces.Put(tx, model.InterfaceKey("b", i.Name), i)
		tables.Plugs.Put(tx, model.PlugKey("b", m.guest.ID), model.Plug{Node: "b", Port: m.guest.ID})
		return nil
	})
}

// activate makes b the active host and gives what the nodes are to be sent.
func (m *migration) activate() map[string]*compile.Delta {
	m.t.Helper()
	m.guest.Host, m.guest.Bindings = "b", []model.Binding{{Host: "a", Former: true}}
	d, _ := m.commit(func(tx *store.Txn) error { return alloc.PutPort(tx, m.guest) })
	return d
}

func (m *migration) send(from string, src, dst model.MAC) []string {
	m.t.Helper()
	out := m.fabric.Send(from, sim.New(flow.EthSrc(src), flow.EthDst(dst), flow.EthType(0x0800)))
	if len(out.Errors) > 0 {
		m.t.Errorf("from %s: %v", from, out.Errors)
	}
	return out.Receivers()
}

// hears checks who receives what is sent to the guest, and what the guest sends from either host.
func (m *migration) hears(when, active string) {
	m.t.Helper()
	at := "guest@" + active
	for _, n := range []string{"a", "b", "c"} {
		for what, dst := range map[string]model.MAC{"its address": m.guest.MAC, "an address of a pair": shared} {
			if got := m.send(n, m.peers[n].MAC, dst); !slices.Equal(got, []string{at}) {
				m.t.Errorf("%s, from %s to %s: received by %v, want %s alone", when, n, what, got, at)
			}
		}
		want := []string{"a", "b", "c", at}
		want = slices.DeleteFunc(want, func(s string) bool { return s == n })
		if got := m.send(n, m.peers[n].MAC, broadcast); !slices.Equal(got, want) {
			m.t.Errorf("%s, broadcast of %s: received by %v, want %v", when, n, got, want)
		}
		for _, from := range []string{"guest@a", "guest@b"} {
			if got := m.send(from, m.guest.MAC, m.peers[n].MAC); !slices.Equal(got, []string{n}) {
				m.t.Errorf("%s, from %s to %s: received by %v", when, from, n, got)
			}
		}
	}
	if got := m.send(at, m.guest.MAC, broadcast); !slices.Equal(got, []string{"a", "b", "c"}) {
		m.t.Errorf("%s, broadcast of the guest on %s: received by %v", when, active, got)
	}
}

// TestBindingDelivery sends frames to and from a port that is bound to two hosts: each is delivered once, at the active one; the
// port sends from both. Nodes carry a change of the active host out in any order.
func TestBindingDelivery(t *testing.T) {
	m := newMigration(t)
	m.prepare()
	m.hears("prepared", "a")
	for _, order := range [][]string{{"a", "b", "c"}, {"a", "c", "b"}, {"b", "a", "c"}, {"b", "c", "a"}, {"c", "a", "b"}, {"c", "b", "a"}} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			m := newMigration(t)
			m.prepare()
			d := m.activate()
			for i, n := range order {
				m.apply(n, d[n])
				for _, from := range order {
					// Either host is right while they differ, but it is one of them, once.
					got := m.send(from, m.peers[from].MAC, m.guest.MAC)
					if len(got) != 1 || got[0] != "guest@a" && got[0] != "guest@b" {
						t.Errorf("after %v, from %s: received by %v, want the guest once", order[:i+1], from, got)
					}
				}
			}
			m.hears("activated", "b")
			if got := m.send("c", m.peers["c"].MAC, m.peers["a"].MAC); !slices.Equal(got, []string{"a"}) {
				t.Errorf("to another port of the host that it left: %v", got)
			}
			m.guest.Bindings = nil
			m.change(func(tx *store.Txn) error { return alloc.PutPort(tx, m.guest) })
			if got := m.send("guest@a", m.guest.MAC, m.peers["c"].MAC); len(got) > 0 {
				t.Errorf("without a binding it sends still: received by %v", got)
			}
			for _, f := range m.flows("a") {
				if f.Cookie>>32&0xff == uint64(m.guest.Key) && f.Table == 0 {
					t.Errorf("flow of the port on the host without a binding: %v", f)
				}
			}
		})
	}
}

// TestBindingCost holds that making, activating and deleting a binding cost the same however many ports the network has on the
// other nodes, and that a port without one reads and costs what it did.
func TestBindingCost(t *testing.T) {
	var rounds [][]int
	for _, others := range []int{1, 60} {
		m := newMigration(t)
		m.change(func(tx *store.Txn) error {
			for i := range others {
				m.must(putPlugged(tx, trunkPort(100+i, "n1", "c"), uint32(200+i), true))
			}
			return nil
		})
		var cost []int
		step := func(change func()) {
			_, stats := m.commit(func(tx *store.Txn) error { change(); return alloc.PutPort(tx, m.guest) })
			cost = append(cost, int(stats.UnitRuns))
		}
		m.prepare()
		step(func() { m.guest.Host, m.guest.Bindings = "b", []model.Binding{{Host: "a", Former: true}} })
		step(func() { m.guest.Host, m.guest.Bindings = "a", []model.Binding{{Host: "b", Former: true}} })
		step(func() { m.guest.Bindings = nil })
		rounds = append(rounds, cost)
	}
	t.Logf("units of an activation, its return and a deletion, beside 1 and 60 others: %v", rounds)
	if !slices.Equal(rounds[0], rounds[1]) {
		t.Errorf("the cost grows with the network: %v", rounds)
	}
}
