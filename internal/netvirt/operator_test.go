// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"nagare/internal/alloc"
	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/repro"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// operatorNode is a node of which an operator writes entries.
func operatorNode(t testing.TB, st *store.Store) uint64 {
	t.Helper()
	n := model.Node{ID: "a", NodePlane: model.NodePlane{Key: 5}}
	mustCommit(t, st, func(tx *store.Txn) { tables.Nodes.Put(tx, n.ID, n) })
	return n.DatapathID()
}

func operatorFlowEntry(datapath uint64, table uint8, name, text string) model.OperatorEntry {
	return model.OperatorEntry{OperatorEntryPlane: model.OperatorEntryPlane{ID: model.OperatorFlowID(datapath, table, name),
		Datapath: datapath, Kind: model.OperatorFlow, Text: text}, Table: table, Name: name}
}

func putEntries(t testing.TB, st *store.Store, es ...model.OperatorEntry) {
	t.Helper()
	mustCommit(t, st, func(tx *store.Txn) {
		for _, e := range es {
			if err := alloc.PutOperatorEntry(tx, e); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestOperatorEntries: what an operator wrote of a switch is wanted there as it was written and nowhere else, by a cookie that leads
// back to the entry; until it is removed.
func TestOperatorEntries(t *testing.T) {
	for _, b := range []struct {
		of   pipeline.Profile
		book func() *compile.Rulebook
	}{{pipeline.Classic, Classic}, {pipeline.Standard, func() *compile.Rulebook { return Standard(Options{}) }}} {
		st := store.New(tables.Schema, nil)
		dp := operatorNode(t, st)
		mustCommit(t, st, func(tx *store.Txn) {
			tables.Nodes.Put(tx, "b", model.Node{ID: "b", NodePlane: model.NodePlane{Key: 6}})
		})
		web := operatorFlowEntry(dp, 0, "a|b/c", "table=0,priority=40000,tcp,in_port=3,tp_dst=80 actions=meter:258050,group:7,goto_table:200")
		own := operatorFlowEntry(dp, 200, "1", "table=200,priority=0 actions=resubmit(,201),goto_table:253")
		group := model.OperatorEntry{OperatorEntryPlane: model.OperatorEntryPlane{ID: model.OperatorGroupID(dp, 7), Datapath: dp, Kind: model.OperatorGroup,
			Text: "group_id=7,type=all,bucket=actions=output:1,bucket=actions=output:2"}, Name: "7"}
		meter := model.OperatorEntry{OperatorEntryPlane: model.OperatorEntryPlane{ID: model.OperatorMeterID(dp, 258050), Datapath: dp, Kind: model.OperatorMeter,
			Text: "meter=258050,pktps,burst,bands=type=drop,rate=10,burst_size=20"}, Name: "258050"}
		putEntries(t, st, web, own, group, meter)
		e := compileBook(st, b.book(), b.of, "a", "b")
		bare := compileBook(store.New(tables.Schema, nil), b.book(), b.of, "a")
		want, _ := bare.Desired("a")
		for _, n := range []model.OperatorEntry{web, own} {
			f, err := flow.ParseFlow(n.Text)
			if err != nil {
				t.Fatal(err)
			}
			kept, _ := tables.OperatorEntries.Get(st.Snapshot(), n.ID)
			f.Cookie = pipeline.Cookie{Kind: pipeline.KindOperator, Template: uint16(f.Table)<<8 | 1, Key: uint32(kept.Key)}.Pack()
			want.Flows[f.Key()] = f
			if o, _ := e.Owner("a", f.Key()); o != (compile.Owner{Rule: "operator/entry", Kind: "operator-entry", Object: string(n.ID)}) {
				t.Errorf("%s: owner %v", n.ID, o)
			}
			if byKey, ok := alloc.OperatorsByKey.First(st.Snapshot(), alloc.KeyText(kept.Key)); !ok || byKey.ID != n.ID {
				t.Errorf("the key of %s leads to %s", n.ID, byKey.ID)
			}
		}
		got, _ := e.Desired("a")
		if !maps.Equal(got.Flows, want.Flows) {
			t.Errorf("%s: %s", b.of, gocmp.Diff(slices.Sorted(maps.Keys(texts(want.Flows))), slices.Sorted(maps.Keys(texts(got.Flows)))))
		}
		if len(got.Groups) != 1 || got.Groups[7].String() != group.Text || got.Meters[258050].String() != meter.Text {
			t.Errorf("%s: groups %v, meters %v", b.of, got.Groups, got.Meters)
		}
		if d, _ := e.Desired("b"); slices.ContainsFunc(flowLines(e, "b"), func(l string) bool { return strings.Contains(l, "operator") }) || len(d.Groups) > 0 {
			t.Errorf("%s: another node has them too: %v", b.of, flowLines(e, "b"))
		}
		if fs := e.Faults("a"); len(fs) > 0 {
			t.Errorf("%s: %v", b.of, fs)
		}
	}
}

// texts are flows with their cookies, as text.
func texts(fs map[flow.Key]flow.Flow) map[string]bool {
	out := map[string]bool{}
	for _, f := range fs {
		out[fmt.Sprintf("%s cookie %#x", f, f.Cookie)] = true
	}
	return out
}

// TestOperatorYields: where a flow of ours wants the place of an operator's, ours is there whatever the ids, the entry is in fault and
// comes back when ours goes.
func TestOperatorYields(t *testing.T) {
	st := store.New(tables.Schema, nil)
	dp := operatorNode(t, st)
	// A node's name, and so the object of the spine, sorts behind "openflow:" here.
	n := model.Node{ID: "zebra", NodePlane: model.NodePlane{Key: 9}}
	mustCommit(t, st, func(tx *store.Txn) { tables.Nodes.Put(tx, n.ID, n) })
	for _, c := range []struct {
		node string
		dp   uint64
	}{{"a", dp}, {"zebra", n.DatapathID()}} {
		e := operatorFlowEntry(c.dp, 20, "miss", "table=20,priority=0 actions=drop")
		putEntries(t, st, e)
		engine := compileBook(st, Standard(Options{}), pipeline.Standard, c.node)
		key := flow.Key{Table: 20}
		if f, ok := engine.Flow(c.node, key); !ok || f.Actions != flow.Do(flow.Goto(30)) {
			t.Errorf("%s: the miss of table 20 is %v", c.node, f)
		}
		fs := engine.Faults(c.node)
		if len(fs) != 1 || fs[0].Object != string(e.ID) || !strings.Contains(fs[0].Reason, c.node) {
			t.Errorf("%s: faults %v", c.node, fs)
		}
	}
}

// operatorStep is one random operation on operators' entries, some of which want places of flows of ours.
func operatorStep(t *rapid.T, tx *store.Txn, ours [][]string) {
	node := rapid.IntRange(0, len(worldNodes)-1).Draw(t, "node")
	dp := (&model.NodePlane{Key: model.Key(node + 1)}).DatapathID()
	name := rapid.SampledFrom([]string{"f1", "f2", "f3"}).Draw(t, "name")
	text := "table=0,priority=40000,in_port=9 actions=output:1"
	switch rapid.IntRange(0, 3).Draw(t, "what") {
	case 0:
		tables.OperatorEntries.Delete(tx, model.OperatorFlowID(dp, 0, name))
		return
	case 1:
		text = fmt.Sprintf("table=0,priority=%d actions=drop", rapid.IntRange(1, 3).Draw(t, "priority"))
	case 2:
		if len(ours[node]) > 0 {
			text = rapid.SampledFrom(ours[node]).Draw(t, "ours")
		}
	}
	if err := alloc.PutOperatorEntry(tx, operatorFlowEntry(dp, 0, name, text)); err != nil {
		t.Fatal(err)
	}
}

// TestOperatorHistories: with operators' entries among what happens, incremental is as from scratch, and ours always win.
func TestOperatorHistories(t *testing.T) {
	lost := 0
	for _, b := range []struct {
		of   pipeline.Profile
		book func() *compile.Rulebook
	}{{pipeline.Classic, Classic}, {pipeline.Standard, func() *compile.Rulebook { return Standard(Options{}) }}} {
		repro.Again(repro.Rounds(3, 6), func() {
			rapid.Check(t, func(t *rapid.T) {
				w := newWorldOf(b.book, b.of)
				w.follow(t)
				for range rapid.IntRange(1, 20).Draw(t, "commits") {
					ours := make([][]string, len(worldNodes))
					for i, n := range worldNodes {
						for _, f := range w.mirror[n] {
							if c, _ := pipeline.UnpackCookie(f.Cookie); f.Table == 0 && c.Kind != pipeline.KindOperator {
								ours[i] = append(ours[i], f.String())
							}
						}
						slices.Sort(ours[i])
					}
					mustCommitRapid(t, w.st, func(tx *store.Txn) {
						for range rapid.IntRange(1, 4).Draw(t, "operations") {
							if rapid.Bool().Draw(t, "operator") {
								operatorStep(t, tx, ours)
							} else {
								step(t, tx)
							}
						}
					})
					w.follow(t)
					w.check(t)
					for _, n := range worldNodes {
						for _, f := range w.e.Faults(n) {
							if f.Kind != "operator-entry" && strings.Contains(f.Reason, "operator-entry") {
								t.Fatalf("%s: %v lost to an operator", n, f)
							}
							if f.Kind == "operator-entry" {
								lost++
							}
						}
					}
				}
			})
		})
	}
	if lost == 0 {
		t.Error("no entry ever wanted a place of ours")
	}
}
