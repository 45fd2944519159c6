// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"strings"
	"testing"

	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/ovstest"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/ovsdb"
)

// patched asks for the pair of patches that provider networks need, to the bridge that the node maps the physical network to.
func patched(c *compile.Context, _ string) {
	n, _ := tables.Nodes.Get(c, model.NodeID(c.Node))
	bridge := n.Mappings["external"]
	if bridge == "" {
		return
	}
	c.Row(compile.Row{Bridge: "br-int", Name: "patch-external", Type: "patch", Options: "peer=phy-external"})
	c.Row(compile.Row{Bridge: bridge, Name: "phy-external", Type: "patch", Options: "peer=patch-external"})
	i, _ := tables.Interfaces.Get(c, model.InterfaceKey(model.NodeID(c.Node), "patch-external"))
	if i.OFPort != 0 {
		c.Flow(uses(i.OFPort, flow.Output(1)))
	}
}

// node is what the tests of patches do to a node, in memory or real.
type patchNode struct {
	addBridge, delBridge, mapTo func(name string)
	delPort                     func(bridge, port string)
	addPort                     func(bridge, port string) // of somebody else's
	setPeer                     func(port, peer string)
	port                        func(bridge, port string) (peer string, ok bool)
	redial                      func(*site)
}

func fakePatchNode(t *testing.T, n *fakeNode) patchNode {
	do := func(f func(tx *ovsdb.Txn)) {
		tx := ovsdb.NewTxn(database)
		f(tx)
		if _, err := n.db.Transact(tx.Ops()...); err != nil {
			t.Fatal(err)
		}
	}
	find := func(table, name string) ovsdb.UUID {
		u, _ := n.db.Find(table, "name", ovsdb.String(name))
		return u
	}
	add := func(tx *ovsdb.Txn, name, typ string) ovsdb.Ref {
		i := tx.Insert("Interface", ovsdb.Fields{"name": ovsdb.String(name), "type": ovsdb.String(typ)})
		return tx.Insert("Port", ovsdb.Fields{"name": ovsdb.String(name), "interfaces": i})
	}
	return patchNode{
		addBridge: func(name string) {
			do(func(tx *ovsdb.Txn) {
				b := tx.Insert("Bridge", ovsdb.Fields{"name": ovsdb.String(name), "ports": add(tx, name, "internal")})
				tx.Mutate("Open_vSwitch", ovsdb.ByUUID(n.db.Root()), ovsdb.Add("bridges", b))
			})
		},
		delBridge: func(name string) {
			do(func(tx *ovsdb.Txn) {
				tx.Mutate("Open_vSwitch", ovsdb.ByUUID(n.db.Root()), ovsdb.Remove("bridges", find("Bridge", name)))
			})
		},
		mapTo: func(name string) {
			do(func(tx *ovsdb.Txn) {
				tx.Mutate("Open_vSwitch", ovsdb.ByUUID(n.db.Root()), ovsdb.Put("other_config", "provider_mappings", "external:"+name)...)
			})
		},
		delPort: func(bridge, port string) {
			do(func(tx *ovsdb.Txn) {
				tx.Mutate("Bridge", ovsdb.ByUUID(find("Bridge", bridge)), ovsdb.Remove("ports", find("Port", port)))
			})
		},
		addPort: func(bridge, port string) {
			do(func(tx *ovsdb.Txn) {
				tx.Mutate("Bridge", ovsdb.ByUUID(find("Bridge", bridge)), ovsdb.Add("ports", add(tx, port, "internal")))
			})
		},
		setPeer: func(port, peer string) {
			do(func(tx *ovsdb.Txn) {
				tx.Update("Interface", ovsdb.ByUUID(find("Interface", port)), ovsdb.Fields{"options": ovsdb.StringMap(map[string]string{"peer": peer})})
			})
		},
		port: func(bridge, port string) (string, bool) {
			_, br := n.db.Find("Bridge", "name", ovsdb.String(bridge))
			u := find("Port", port)
			if u.IsZero() || !br.Set("ports").Contains(u) {
				return "", false
			}
			_, i := n.db.Find("Interface", "name", ovsdb.String(port))
			peer, _ := i.Map("options").Get("peer")
			return peer, true
		},
		redial: func(s *site) {
			if err := n.db.Dial("tcp", s.ovsdb.Addr().String()); err != nil {
				t.Fatal(err)
			}
		},
	}
}

func realPatchNode(t *testing.T, sw *ovstest.Switch) patchNode {
	return patchNode{
		addBridge: func(name string) { sw.AddBridge(name) },
		delBridge: func(name string) { sw.Vsctl("del-br", name) },
		mapTo: func(name string) {
			sw.Vsctl("set", "Open_vSwitch", ".", "other_config:provider_mappings=\"external:"+name+"\"")
		},
		delPort: func(bridge, port string) { sw.Vsctl("del-port", bridge, port) },
		addPort: func(bridge, port string) {
			sw.Vsctl("add-port", bridge, port, "--", "set", "Interface", port, "type=internal")
		},
		setPeer: func(port, peer string) { sw.Vsctl("set", "Interface", port, "options:peer="+peer) },
		port: func(bridge, port string) (string, bool) {
			if !strings.Contains(" "+sw.Vsctl("list-br")+" ", bridge) {
				return "", false
			}
			if !strings.Contains("\n"+sw.Vsctl("list-ports", bridge)+"\n", "\n"+port+"\n") {
				return "", false
			}
			return strings.Trim(sw.Vsctl("--if-exists", "get", "Interface", port, "options:peer"), `"`), true
		},
		redial: func(*site) {},
	}
}

// TestRowsOnOtherBridges follows a pair of patches: it waits for its bridge and holds up nothing, is put right when somebody
// spoils it, moves with the mapping, goes with it, and leaves everybody else's ports alone.
func TestRowsOnOtherBridges(t *testing.T) {
	for _, real := range []bool{false, true} {
		t.Run(map[bool]string{false: "memory", true: "Open vSwitch"}[real], func(t *testing.T) {
			s := newSiteWith(t, store.New(tables.Schema, nil), 0, 0, rules(book(patched)))
			var n patchNode
			if real {
				n = realPatchNode(t, s.node("a", "192.168.0.10"))
			} else {
				n = fakePatchNode(t, s.fake("a"))
			}
			s.commit(network)
			s.synced(1)
			n.mapTo("br-ex")
			s.until("told what is missing", func() bool {
				p := s.info("a").Problem
				return strings.Contains(p, "bridge br-ex") && strings.Contains(p, "physical network external") && strings.Contains(p, "create it")
			})
			number := func() uint32 {
				i, _ := tables.Interfaces.Get(s.st.Snapshot(), model.InterfaceKey("a", "patch-external"))
				return i.OFPort
			}
			s.until("our own end made, and its flow: nothing else is held up", func() bool { return number() != 0 && s.info("a").Flows == 2 })
			s.synced(1)

			n.addBridge("br-ex")
			there := func(bridge string) func() bool {
				return func() bool {
					out, ok := n.port(bridge, "phy-external")
					in, ok2 := n.port("br-int", "patch-external")
					return ok && ok2 && out == "patch-external" && in == "phy-external"
				}
			}
			s.until("made once the bridge is there", there("br-ex"))
			s.until("our end has a number, and a flow", func() bool { return number() != 0 && s.info("a").Flows == 2 })
			s.synced(1)
			s.until("no complaint is left", func() bool { return s.info("a").Problem == "" })
			n.addPort("br-ex", "foreign")

			n.delPort("br-ex", "phy-external")
			s.until("made again", there("br-ex"))
			n.setPeer("phy-external", "nobody")
			s.until("corrected", there("br-ex"))
			n.delBridge("br-ex")
			s.until("waits again", func() bool { return strings.Contains(s.info("a").Problem, "bridge br-ex") })
			n.addBridge("br-ex")
			n.addPort("br-ex", "foreign")
			s.until("made on the new one", there("br-ex"))

			n.addBridge("br-two")
			n.mapTo("br-two")
			s.until("moved with the mapping", there("br-two"))
			if _, ok := n.port("br-ex", "phy-external"); ok {
				t.Error("it is still on the bridge that it left")
			}
			s.synced(1)
			if !there("br-two")() {
				t.Error("it was removed after it had moved")
			}

			// What is ours and not wanted goes, wherever it is; a server that starts finds it by its mark.
			s.stop()
			again := newSiteWith(t, reopen(t, s.st), s.ovsdbPort, s.ofPort, rules(book(func(*compile.Context, string) {})))
			n.redial(again)
			again.until("strays removed", func() bool {
				_, out := n.port("br-two", "phy-external")
				_, in := n.port("br-int", "patch-external")
				return !out && !in
			})
			if _, ok := n.port("br-ex", "foreign"); !ok {
				t.Error("a port of somebody else's was removed")
			}
		})
	}
}
