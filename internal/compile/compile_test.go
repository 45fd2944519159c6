// SPDX-License-Identifier: Apache-2.0

package compile_test

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/store"
	"nagare/openflow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A thing asks for one flow on its node: TCP port In goes to port Out.
type thing struct {
	ID     string
	Name   string // no rule reads it
	Node   string
	In     uint16
	Out    uint32
	Shared bool
	Merged bool     // contributes to the flow
	Twice  bool     // a second flow for the same match
	Boom   bool     // the rule panics
	Ask    string   // take Out from the query with this key
	Needs  []string // rows that the thing needs besides
}

// A link is what a node listens to: things of another group.
type link struct{ Node, Group string }

// world is a tiny schema with rules, a store and an engine that follows it.
type world struct {
	t       testing.TB
	things  *store.Table[string, thing]
	links   *store.Table[string, link]
	st      *store.Store
	watch   *store.Watch
	e       *compile.Engine
	book    *compile.Rulebook
	mu      sync.Mutex     // guards what follows: nodes are compiled at the same time
	ran     map[string]int // how often: units by subject, "query"
	emitted int            // line of the emission
}

func newWorld(t testing.TB, nodes ...string) *world {
	s := store.NewSchema()
	w := &world{t: t, ran: map[string]int{}}
	w.things = store.Declare[string, thing](s, "things", store.Intent).Plane(func(x thing) any { x.Name = ""; return x })
	w.links = store.Declare[string, link](s, "links", store.Intent)
	on := store.DeclareDerived(s, "on-node", func(r store.Reader, id string) []store.Member {
		x, ok := w.things.Get(r, id)
		if !ok {
			return nil
		}
		return []store.Member{{Group: x.Node, Name: id}}
	})
	store.From(on, w.things, func(_ store.Reader, x thing) []string { return []string{x.ID} })

	w.book = &compile.Rulebook{Merge: together}
	out := compile.DeclareQuery(w.book, "out", func(r store.Reader, key string) uint32 {
		w.count("query")
		x, _ := w.things.Get(r, key)
		if x.Boom {
			panic("query boom")
		}
		return x.Out / 10
	})
	row := w.book.Add(compile.Rule{Name: "row", Kind: "row", Run: func(c *compile.Context) {
		w.count("row " + c.Subject)
		id := uint32(len(c.Subject))
		c.Row(compile.Row{Bridge: "br", Name: c.Subject})
		c.Group(flow.NewGroup(id, flow.GroupAll))
		c.Meter(flow.Meter{ID: id, Rate: 1000})
	}})
	emit := w.book.Add(compile.Rule{Name: "emit", Kind: "thing", Doc: "one flow", Run: func(c *compile.Context) {
		w.count(c.Subject)
		x, ok := w.things.Get(c, c.Subject)
		if !ok {
			return
		}
		for _, n := range x.Needs {
			c.Need(row, n)
		}
		if x.Ask != "" {
			x.Out = compile.Ask(c, out, x.Ask)
		}
		if x.Boom {
			panic("boom")
		}
		if x.Merged {
			c.Merge(x.flow(), compile.Because{Kind: "part", ID: x.ID})
			return
		}
		if x.Shared {
			c.Shared(x.flow())
			return
		}
		_, _, line, _ := runtime.Caller(0)
		w.mu.Lock()
		w.emitted = line + 4
		w.mu.Unlock()
		c.Flow(x.flow(), compile.Because{Kind: "reason", ID: "why"})
		if x.Twice {
			x.Out++
			c.Flow(x.flow())
		}
	}})
	w.book.Root(compile.Rule{Name: "root", Kind: "node", Run: func(c *compile.Context) {
		w.count("root " + c.Node)
		c.Each(on, c.Node, emit)
		if l, ok := w.links.Get(c, c.Node); ok {
			c.Each(on, l.Group, emit)
		}
	}})
	w.st = store.New(s, nil)
	w.watch = w.st.Watch()
	w.e = compile.New(w.book, nil)
	for _, n := range nodes {
		w.e.AddNode(n)
	}
	w.update()
	return w
}

func (w *world) count(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ran[what]++
}

func (x thing) flow() flow.Flow {
	return flow.Flow{Match: flow.M(flow.TCP(), flow.TPDst(x.In)), Actions: flow.Do(flow.Output(x.Out))}
}

// together outputs to every port that a contribution names, ascending.
func together(parts []flow.Flow) flow.Flow {
	var ports []uint32
	for _, p := range parts {
		for _, in := range p.Actions.Instructions() {
			for _, a := range in.(openflow.ApplyActions).Actions {
				ports = append(ports, a.(openflow.Output).Port)
			}
		}
	}
	slices.Sort(ports)
	f := parts[0]
	f.Actions = flow.Do(flow.Output(slices.Compact(ports)...))
	return f
}

func (w *world) update() map[string]*compile.Delta {
	w.t.Helper()
	snap, ch, ok := w.watch.Take()
	if !ok {
		w.t.Fatal("nothing was committed")
	}
	defer w.audit()
	return w.e.Update(snap, ch)
}

func (w *world) audit() {
	w.t.Helper()
	if err := w.e.Audit(); err != nil {
		w.t.Error(err)
	}
}

// commit puts things and compiles; things without a node are deleted.
func (w *world) commit(xs ...thing) map[string]*compile.Delta {
	w.t.Helper()
	w.put(xs...)
	return w.update()
}

func (w *world) put(xs ...thing) {
	w.t.Helper()
	w.write(func(tx *store.Txn) {
		for _, x := range xs {
			if x.Node == "" {
				w.things.Delete(tx, x.ID)
			} else {
				w.things.Put(tx, x.ID, x)
			}
		}
	})
}

func (w *world) write(f func(*store.Txn)) {
	w.t.Helper()
	if _, err := w.st.Commit(context.Background(), store.Origin{}, func(tx *store.Txn) error { f(tx); return nil }); err != nil {
		w.t.Fatal(err)
	}
}

// ports are the desired flows of a node as "in>out", in order.
func (w *world) ports(node string) string {
	d, _ := w.e.Desired(node)
	var fs []flow.Flow
	for _, f := range d.Flows {
		fs = append(fs, f)
	}
	return brief(fs)
}

func brief(fs []flow.Flow) string {
	var out []string
	for _, f := range fs {
		s := f.String()
		_, in, _ := strings.Cut(s, "tp_dst=")
		in, _, _ = strings.Cut(in, " ")
		_, to, _ := strings.Cut(s, "output:")
		out = append(out, in+">"+to)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// told is a node's delta as "-in>out" and "+in>out".
func told(d *compile.Delta) string {
	if d == nil {
		return ""
	}
	var minus, plus []flow.Flow
	for _, c := range d.Flows {
		if c.Before != nil {
			minus = append(minus, *c.Before)
		}
		if c.After != nil {
			plus = append(plus, *c.After)
		}
	}
	return "-" + brief(minus) + " +" + brief(plus)
}

func want(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func (w *world) faults(node string) string {
	var out []string
	for _, f := range w.e.Faults(node) {
		reason, _, _ := strings.Cut(f.Reason, "\n")
		out = append(out, f.Object+": "+reason)
	}
	return strings.Join(out, "; ")
}

func TestEarlyCutOff(t *testing.T) {
	w := newWorld(t, "a")
	w.commit(thing{ID: "x", Node: "a", In: 1, Out: 1})
	before := w.e.Stats()
	// What no rule reads runs nothing.
	if d := w.commit(thing{ID: "x", Node: "a", In: 1, Out: 1, Name: "new"}); len(d) != 0 || w.e.Stats().UnitRuns != before.UnitRuns {
		t.Errorf("rename: delta %v, %d units ran", d, w.e.Stats().UnitRuns-before.UnitRuns)
	}
	// What is read and does not matter runs the unit, and stops there.
	if d := w.commit(thing{ID: "x", Node: "a", In: 1, Out: 1, Needs: nil, Ask: ""}); len(d) != 0 {
		t.Errorf("equal record: delta %v", d)
	}
	if d := w.commit(thing{ID: "x", Node: "a", In: 1, Out: 9, Ask: "y"}, thing{ID: "y", Node: "b", Out: 10}); len(d) != 0 {
		t.Errorf("equal output: delta %v", d)
	}
	after := w.e.Stats()
	if after.UnitRuns != before.UnitRuns+1 || after.CutOffs != before.CutOffs+1 {
		t.Errorf("%d runs and %d cut off, want 1 and 1", after.UnitRuns-before.UnitRuns, after.CutOffs-before.CutOffs)
	}
}

func TestQueryCutsOff(t *testing.T) {
	w := newWorld(t, "a", "b")
	w.commit(thing{ID: "x", Node: "a", In: 1, Ask: "q"}, thing{ID: "y", Node: "b", In: 1, Ask: "q"}, thing{ID: "q", Node: "c", Out: 10})
	want(t, "a", w.ports("a"), "1>1")
	if w.ran["query"] != 1 {
		t.Errorf("query ran %d times for two nodes, want 1", w.ran["query"])
	}
	w.commit(thing{ID: "q", Node: "c", Out: 11}) // 11/10 is 1 as well
	if w.ran["query"] != 2 || w.ran["x"] != 1 {
		t.Errorf("query ran %d times, its asker %d, want 2 and 1", w.ran["query"], w.ran["x"])
	}
	d := w.commit(thing{ID: "q", Node: "c", Out: 20})
	want(t, "a", told(d["a"]), "-1>1 +1>2")
	want(t, "b", told(d["b"]), "-1>1 +1>2")
	// Nobody asks any more: it is forgotten, and not evaluated for nothing.
	w.commit(thing{ID: "x"}, thing{ID: "y"})
	asked := w.ran["query"]
	w.commit(thing{ID: "q", Node: "c", Out: 30})
	if w.ran["query"] != asked {
		t.Error("a query that nobody asks was evaluated")
	}
}

// TestOwnershipMoves moves a match from one unit to another within one commit, in both orders of their ids.
func TestOwnershipMoves(t *testing.T) {
	for _, ids := range [][2]string{{"a", "b"}, {"b", "a"}} {
		w := newWorld(t, "n")
		w.commit(thing{ID: ids[0], Node: "n", In: 1, Out: 1})
		d := w.commit(thing{ID: ids[0]}, thing{ID: ids[1], Node: "n", In: 1, Out: 2})
		want(t, "moved with another action", told(d["n"]), "-1>1 +1>2")
		if o, _ := w.e.Owner("n", (thing{In: 1, Out: 2}).flow().Key()); o.Object != ids[1] {
			t.Errorf("owner is %v", o)
		}
		d = w.commit(thing{ID: ids[1]}, thing{ID: ids[0], Node: "n", In: 1, Out: 2})
		if len(d) != 0 {
			t.Errorf("moved unchanged: delta %q", told(d["n"]))
		}
		// Two units swap their matches.
		w.commit(thing{ID: ids[0], Node: "n", In: 1, Out: 1}, thing{ID: ids[1], Node: "n", In: 2, Out: 2})
		d = w.commit(thing{ID: ids[0], Node: "n", In: 2, Out: 1}, thing{ID: ids[1], Node: "n", In: 1, Out: 2})
		want(t, "swapped", told(d["n"]), "-1>1 2>2 +1>2 2>1")
		want(t, "faults", w.faults("n"), "")
	}
}

func TestTwoOwners(t *testing.T) {
	w := newWorld(t, "n")
	w.commit(thing{ID: "b", Node: "n", In: 1, Out: 2})
	d := w.commit(thing{ID: "a", Node: "n", In: 1, Out: 1})
	want(t, "lowest id wins", told(d["n"]), "-1>2 +1>1")
	if f := w.faults("n"); !strings.HasPrefix(f, "b: flow ") || !strings.HasSuffix(f, "is already owned by thing a (emit)") {
		t.Errorf("faults: %q", f)
	}
	if d = w.commit(thing{ID: "c", Node: "n", In: 1, Out: 1}); len(d) != 0 {
		t.Errorf("a third one changed %q", told(d["n"]))
	}
	// An equal flow of two owners is a conflict as well, unless both declare the merge.
	if n := len(w.e.Faults("n")); n != 2 {
		t.Errorf("%d faults, want 2", n)
	}
	d = w.commit(thing{ID: "a"})
	want(t, "winner gone", told(d["n"]), "-1>1 +1>2")
	w.commit(thing{ID: "c"})
	want(t, "faults when alone", w.faults("n"), "")
	want(t, "flows", w.ports("n"), "1>2")
}

func TestSharedMerges(t *testing.T) {
	w := newWorld(t, "n")
	w.commit(thing{ID: "a", Node: "n", In: 1, Out: 1, Shared: true}, thing{ID: "b", Node: "n", In: 1, Out: 1, Shared: true})
	want(t, "faults", w.faults("n"), "")
	if got := authors(w.e, "n"); got != "a b" {
		t.Errorf("authors %q", got)
	}
	if why := w.e.Explain("n", (thing{In: 1, Out: 1}).flow().Key()); len(why) != 2 || why[0].Object != "a" || why[1].Object != "b" || !why[0].Shared {
		t.Errorf("reasons: %+v", why)
	}
	if d := w.commit(thing{ID: "a"}); len(d) != 0 {
		t.Errorf("one of two owners went: %q", told(d["n"]))
	}
	// A merge is of equal content only.
	w.commit(thing{ID: "c", Node: "n", In: 1, Out: 3, Shared: true})
	if f := w.faults("n"); !strings.HasPrefix(f, "c: ") {
		t.Errorf("faults: %q", f)
	}
	if got := authors(w.e, "n"); got != "b" {
		t.Errorf("authors %q, want those of the flow as it is", got)
	}
	w.commit(thing{ID: "c"})
	d := w.commit(thing{ID: "b"})
	want(t, "last owner gone", told(d["n"]), "-1>1 +")
}

// authors are the objects behind the one flow that matches port 1.
func authors(e *compile.Engine, node string) string {
	var out []string
	for _, o := range e.Authors(node)[thing{In: 1}.flow().Key()] {
		out = append(out, o.Object)
	}
	return strings.Join(out, " ")
}

// TestContributionsMerge joins what several units say for one match, and takes apart again what one of them takes back.
func TestContributionsMerge(t *testing.T) {
	w := newWorld(t, "n")
	part := func(id string, out uint32) thing { return thing{ID: id, Node: "n", In: 1, Out: out, Merged: true} }
	desired := func() string {
		d, _ := w.e.Desired("n")
		var s []string
		for _, f := range d.Flows {
			s = append(s, f.String())
		}
		slices.Sort(s)
		return strings.Join(s, "; ")
	}
	w.commit(part("a", 1))
	want(t, "one", desired(), thing{In: 1, Out: 1}.flow().String())
	if d := w.commit(part("b", 2)); len(d["n"].Flows) != 1 {
		t.Errorf("a second contribution: %q", told(d["n"]))
	}
	want(t, "two", desired(), flow.Flow{Match: thing{In: 1}.flow().Match, Actions: flow.Do(flow.Output(1, 2))}.String())
	want(t, "faults", w.faults("n"), "")
	if d := w.commit(part("c", 2)); len(d) != 0 {
		t.Errorf("a third that adds nothing: %q", told(d["n"]))
	}
	why := w.e.Explain("n", thing{In: 1}.flow().Key())
	if len(why) != 3 || why[2].Object != "c" || len(why[2].Because) != 1 {
		t.Errorf("reasons: %+v", why)
	}
	if got := w.e.OwnedBy("n", "c"); len(got) != 1 || got[0].String() != desired() {
		t.Errorf("owned by c: %v, want what the switch holds: %s", got, desired())
	}
	// Somebody who wants the match alone does not get it, and is told.
	w.commit(thing{ID: "d", Node: "n", In: 1, Out: 9})
	if f := w.faults("n"); !strings.HasPrefix(f, "d: ") {
		t.Errorf("faults: %q", f)
	}
	if got := authors(w.e, "n"); got != "a b c" {
		t.Errorf("authors %q, want those who contributed and not the loser", got)
	}
	if f, ok := w.e.Flow("n", thing{In: 1}.flow().Key()); !ok || f.String() != desired() {
		t.Errorf("flow %v %v, want %s", f, ok, desired())
	}
	if _, ok := w.e.Flow("n", thing{In: 2}.flow().Key()); ok {
		t.Error("a flow that is not desired was found")
	}
	want(t, "with a loser", desired(), flow.Flow{Match: thing{In: 1}.flow().Match, Actions: flow.Do(flow.Output(1, 2))}.String())
	w.commit(thing{ID: "d"}, thing{ID: "a"})
	// The same flow claimed in another way is a change, though the unit emits what it did.
	w.commit(part("a", 1))
	want(t, "a, b and c", desired(), flow.Flow{Match: thing{In: 1}.flow().Match, Actions: flow.Do(flow.Output(1, 2))}.String())
	w.commit(thing{ID: "c"}, part("a", 2), part("b", 1))
	if d := w.commit(thing{ID: "a", Node: "n", In: 1, Out: 2, Shared: true}); told(d["n"]) == "" || desired() != (thing{In: 1, Out: 2}).flow().String() {
		t.Errorf("a wants it for itself: told %q, desired %s", told(d["n"]), desired())
	}
	w.commit(thing{ID: "a"}, part("b", 2), part("c", 2))
	want(t, "without a", desired(), thing{In: 1, Out: 2}.flow().String())
	d := w.commit(thing{ID: "b"}, thing{ID: "c"})
	want(t, "nobody", told(d["n"]), "-1>2 +")
	if err := w.e.Audit(); err != nil {
		t.Error(err)
	}
}

func TestContradiction(t *testing.T) {
	w := newWorld(t, "n")
	w.commit(thing{ID: "a", Node: "n", In: 1, Out: 1, Twice: true})
	want(t, "first word counts", w.ports("n"), "1>1")
	if f := w.faults("n"); !strings.HasPrefix(f, "a: two different flows for one match") {
		t.Errorf("faults: %q", f)
	}
	d := w.commit(thing{ID: "a", Node: "n", In: 1, Out: 1})
	if len(d) != 0 || w.faults("n") != "" {
		t.Errorf("healed: delta %q, faults %q", told(d["n"]), w.faults("n"))
	}
}

func TestPanicQuarantines(t *testing.T) {
	w := newWorld(t, "n")
	w.commit(thing{ID: "a", Node: "n", In: 1, Out: 1}, thing{ID: "b", Node: "n", In: 2, Out: 2})
	d := w.commit(thing{ID: "a", Node: "n", In: 1, Out: 1, Boom: true}, thing{ID: "b", Node: "n", In: 2, Out: 3})
	want(t, "only the panicking unit stops", told(d["n"]), "-1>1 2>2 +2>3")
	want(t, "faults", w.faults("n"), "a: rule emit panicked: boom")
	if r := w.e.Faults("n")[0].Reason; !strings.Contains(r, "compile_test.go:") {
		t.Errorf("reason does not say where: %q", r)
	}
	d = w.commit(thing{ID: "a", Node: "n", In: 1, Out: 1})
	want(t, "well again", told(d["n"]), "- +1>1")
	want(t, "faults", w.faults("n"), "")
}

func TestQueryPanicQuarantinesAskers(t *testing.T) {
	w := newWorld(t, "n")
	w.commit(thing{ID: "a", Node: "n", In: 1, Ask: "q"}, thing{ID: "b", Node: "n", In: 2, Out: 2}, thing{ID: "q", Node: "c", Out: 10})
	d := w.commit(thing{ID: "q", Node: "c", Out: 10, Boom: true})
	want(t, "asker stops", told(d["n"]), "-1>1 +")
	if f := w.faults("n"); f != "a: rule emit panicked: query out panicked: query boom" {
		t.Errorf("faults: %q", f)
	}
	w.commit(thing{ID: "d", Node: "n", In: 3, Ask: "q"}) // asks while it is ill
	d = w.commit(thing{ID: "q", Node: "c", Out: 20})
	want(t, "well again", told(d["n"]), "- +1>2 3>2")
	want(t, "faults", w.faults("n"), "")
}

func TestNeedsAreCounted(t *testing.T) {
	w := newWorld(t, "n")
	w.commit(thing{ID: "a", Node: "n", In: 1, Out: 1, Needs: []string{"r", "r"}}, thing{ID: "b", Node: "n", In: 2, Out: 2, Needs: []string{"r"}})
	if d, _ := w.e.Desired("n"); len(d.Rows) != 1 || len(d.Groups) != 1 || len(d.Meters) != 1 || w.ran["row r"] != 1 {
		t.Fatalf("rows %v groups %v meters %v, ran %d times", d.Rows, d.Groups, d.Meters, w.ran["row r"])
	}
	if d := w.commit(thing{ID: "a", Node: "n", In: 1, Out: 1}); len(d) != 0 {
		t.Errorf("one of two needs went: %+v", d["n"])
	}
	// The need moves from b to c: nothing is dropped in between, nothing runs again.
	if d := w.commit(thing{ID: "b"}, thing{ID: "c", Node: "n", In: 2, Out: 2, Needs: []string{"r"}}); len(d) != 0 || w.ran["row r"] != 1 {
		t.Errorf("the need moved: %+v, ran %d times", d["n"], w.ran["row r"])
	}
	d := w.commit(thing{ID: "c"})["n"]
	if len(d.Rows) != 1 || len(d.Groups) != 1 || len(d.Meters) != 1 {
		t.Errorf("last need gone: %+v", d)
	}
	if n := w.e.UnitCount(); n != 2 { // root and a
		t.Errorf("%d units left, want 2", n)
	}
}

// TestEachFollows lets members come and go without running the unit that subscribed to them.
func TestEachFollows(t *testing.T) {
	w := newWorld(t, "a", "b")
	w.commit(thing{ID: "x", Node: "a", In: 1, Out: 1})
	d := w.commit(thing{ID: "x", Node: "b", In: 1, Out: 1})
	want(t, "left", told(d["a"]), "-1>1 +")
	want(t, "joined", told(d["b"]), "- +1>1")
	if w.ran["root a"] != 1 || w.ran["root b"] != 1 {
		t.Errorf("the subscribers ran %d and %d times", w.ran["root a"], w.ran["root b"])
	}
	// A unit that two subscriptions ask for stays until both let go.
	w.write(func(tx *store.Txn) { w.links.Put(tx, "a", link{"a", "b"}) })
	d = w.update()
	want(t, "subscribed to another group", told(d["a"]), "- +1>1")
	w.put(thing{ID: "y", Node: "b", In: 2, Out: 2})
	w.write(func(tx *store.Txn) { w.links.Put(tx, "a", link{"a", "c"}) })
	d = w.update() // the group changed and the subscription with it, in one step
	want(t, "changed subscription", told(d["a"]), "-1>1 +")
	d = w.commit(thing{ID: "y", Node: "c", In: 2, Out: 2})
	want(t, "follows the new group", told(d["a"]), "- +2>2")
	d = w.commit(thing{ID: "y", Node: "a", In: 2, Out: 2})
	if d["a"] != nil {
		t.Errorf("moved from one subscription to the other: %q", told(d["a"]))
	}
}

func TestExplain(t *testing.T) {
	w := newWorld(t, "n")
	w.commit(thing{ID: "x", Node: "n", In: 1, Ask: "q"})
	why := w.e.Explain("n", (thing{In: 1}).flow().Key())
	if len(why) != 1 {
		t.Fatalf("reasons: %+v", why)
	}
	r := why[0]
	if r.Rule != "emit" || r.Doc != "one flow" || r.Kind != "thing" || r.Object != "x" || r.Shared {
		t.Errorf("reason: %+v", r)
	}
	if !strings.HasSuffix(r.File, "/compile_test.go") || r.Line != w.emitted {
		t.Errorf("emitted at %s:%d, want line %d", r.File, r.Line, w.emitted)
	}
	if !slices.Equal(r.Because, []compile.Because{{Kind: "reason", ID: "why"}}) {
		t.Errorf("because %v", r.Because)
	}
	if len(r.Reads) != 2 || r.Reads[0].Key != "x" || r.Reads[1].Key != "q" {
		t.Errorf("reads %v, want the thing and the query", r.Reads)
	}
	if why := w.e.Explain("n", (thing{In: 7}).flow().Key()); why != nil {
		t.Errorf("reasons of a flow that is not desired: %v", why)
	}
	if fs := w.e.OwnedBy("n", "x"); len(fs) != 1 || fs[0] != (thing{In: 1}).flow() {
		t.Errorf("owned by x: %v", fs)
	}
}

// TestAllRecomputes compiles everything anew and still tells the truth about what changed.
func TestAllRecomputes(t *testing.T) {
	w := newWorld(t, "a", "b")
	w.commit(thing{ID: "x", Node: "a", In: 1, Out: 1, Needs: []string{"r"}}, thing{ID: "y", Node: "b", In: 2, Ask: "q"})
	all := &store.Changes{All: true}
	if d := w.e.Update(w.st.Snapshot(), all); len(d) != 0 {
		t.Errorf("nothing changed, delta %v", d)
	}
	w.put(thing{ID: "x", Node: "a", In: 1, Out: 5}, thing{ID: "z", Node: "a", In: 3, Out: 3})
	w.watch.Take()
	d := w.e.Update(w.st.Snapshot(), all)
	w.audit()
	want(t, "delta", told(d["a"]), "-1>1 +1>5 3>3")
	if len(d["a"].Rows) != 1 || d["b"] != nil {
		t.Errorf("rows %v, b %v", d["a"].Rows, d["b"])
	}
	// What was recomputed is followed on.
	d = w.commit(thing{ID: "x"}, thing{ID: "q", Node: "c", Out: 70})
	want(t, "a", told(d["a"]), "-1>5 +")
	want(t, "b", told(d["b"]), "-2>0 +2>7")
}

func TestNodesComeAndGo(t *testing.T) {
	w := newWorld(t, "a")
	w.commit(thing{ID: "x", Node: "a", In: 1, Out: 1}, thing{ID: "y", Node: "b", In: 2, Out: 2})
	w.e.AddNode("b")
	w.e.AddNode("gone")
	w.e.RemoveNode("gone")
	d := w.commit(thing{ID: "z", Node: "a", In: 3, Out: 3})
	want(t, "new node", told(d["b"]), "- +2>2")
	w.e.RemoveNode("b")
	if d := w.commit(thing{ID: "y", Node: "b", In: 2, Out: 3}); len(d) != 0 {
		t.Errorf("a removed node got %v", d)
	}
	w.audit()
	if _, ok := w.e.Desired("b"); ok {
		t.Error("a removed node is still desired")
	}
}

func TestCheckRefuses(t *testing.T) {
	w := newWorld(t)
	e := compile.New(w.book, func(f flow.Flow) error {
		if strings.Contains(f.String(), "tp_dst=1 ") {
			return fmt.Errorf("undeclared")
		}
		return nil
	})
	w.commit(thing{ID: "x", Node: "n", In: 1, Out: 1}, thing{ID: "y", Node: "n", In: 2, Out: 2})
	e.AddNode("n")
	e.Update(w.st.Snapshot(), &store.Changes{All: true})
	w.e = e
	want(t, "flows", w.ports("n"), "2>2")
	if f := w.faults("n"); !strings.HasPrefix(f, "x: flow ") || !strings.HasSuffix(f, "breaks the pipeline: undeclared") {
		t.Errorf("faults: %q", f)
	}
}

// TestMerge holds the laws of adding deltas: the sum of two tells what both did, and what came back disappears.
func TestMerge(t *testing.T) {
	w := newWorld(t, "n")
	steps := [][]thing{
		{{ID: "a", Node: "n", In: 1, Out: 1, Needs: []string{"r"}}},
		{{ID: "a", Node: "n", In: 1, Out: 2}, {ID: "b", Node: "n", In: 2, Out: 2}},
		{{ID: "a"}, {ID: "b", Node: "n", In: 2, Out: 3}},
		{{ID: "b", Node: "n", In: 2, Out: 2}, {ID: "a", Node: "n", In: 1, Out: 1, Needs: []string{"rr"}}},
		{{ID: "a"}, {ID: "b"}},
	}
	var deltas []*compile.Delta
	for _, s := range steps {
		deltas = append(deltas, w.commit(s...)["n"])
	}
	sum := func(from, to int) *compile.Delta {
		d := &compile.Delta{}
		for _, x := range deltas[from:to] {
			d.Merge(x)
		}
		return d
	}
	want(t, "two steps", told(sum(0, 2)), "- +1>2 2>2")
	want(t, "before of the first, after of the last", told(sum(1, 3)), "-1>1 +2>3")
	want(t, "a value that came back", told(sum(1, 4)), "- +2>2")
	if !sum(0, 5).Empty() {
		t.Errorf("back at the start: %+v", sum(0, 5))
	}
	for split := 0; split <= 5; split++ { // (a+b)+(c+d+e) = a+(b+(c+(d+e)))
		left, right := sum(0, split), sum(split, 5)
		left.Merge(right)
		if !left.Empty() {
			t.Errorf("split at %d: %+v", split, left)
		}
	}
	d := &compile.Delta{}
	d.Merge(deltas[0])
	d.Merge(deltas[1])
	want(t, "merging leaves the later delta alone", told(deltas[1]), "-1>1 +1>2 2>2")
	want(t, "and the one that was merged first", told(deltas[0]), "- +1>1")
	if !(*compile.Delta)(nil).Empty() {
		t.Error("a nil delta is not empty")
	}
}

// TestHistories follows random histories, with everything that units can do, and compares with an engine that starts anew.
func TestHistories(t *testing.T) {
	nodes := []string{"a", "b", "c"}
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, nodes...)
		pick := func(what string, n int) int { return rapid.IntRange(0, n).Draw(rt, what) }
		mirror := map[string]map[flow.Key]flow.Flow{"a": {}, "b": {}, "c": {}}
		for range 1 + pick("commits", 12) {
			var xs []thing
			for range 1 + pick("things", 4) {
				x := thing{ID: string(rune('p' + pick("id", 5))), In: uint16(1 + pick("in", 3)), Out: uint32(1 + pick("out", 2)),
					Node: []string{"", "a", "b", "c"}[pick("node", 3)], Shared: pick("shared", 2) == 0, Merged: pick("merged", 2) == 0, Twice: pick("twice", 5) == 0,
					Boom: pick("boom", 5) == 0}
				if pick("asks", 2) == 0 {
					x.Ask = string(rune('p' + pick("ask", 5)))
				}
				for i := range pick("needs", 2) {
					x.Needs = append(x.Needs, []string{"r", "rr"}[i])
				}
				xs = append(xs, x)
			}
			w.put(xs...)
			if n := nodes[pick("listener", 2)]; pick("link", 3) == 0 {
				w.write(func(tx *store.Txn) { w.links.Put(tx, n, link{n, nodes[pick("group", 2)]}) })
			}
			snap, ch, ok := w.watch.Take()
			if !ok {
				continue
			}
			ch.All = pick("all", 5) == 0
			for n, d := range w.e.Update(snap, ch) {
				for k, c := range d.Flows {
					if have, ok := mirror[n][k]; ok != (c.Before != nil) || ok && have != *c.Before {
						rt.Fatalf("%s: delta says %v was there before, mirror has %v %v", n, c.Before, have, ok)
					}
					if delete(mirror[n], k); c.After != nil {
						mirror[n][k] = *c.After
					}
				}
			}
			if err := w.e.Audit(); err != nil {
				rt.Fatal(err)
			}
			fresh := compile.New(w.book, nil)
			for _, n := range nodes {
				fresh.AddNode(n)
			}
			fresh.Update(snap, &store.Changes{All: true})
			for _, n := range nodes {
				got, _ := w.e.Desired(n)
				want, _ := fresh.Desired(n)
				if !maps.Equal(got.Flows, want.Flows) || !maps.Equal(got.Rows, want.Rows) || !maps.Equal(got.Groups, want.Groups) ||
					!maps.Equal(got.Meters, want.Meters) || !maps.Equal(got.Flows, mirror[n]) {
					rt.Fatalf("%s: got %v, from scratch %v, deltas add up to %v", n, got, want, mirror[n])
				}
				if !slices.Equal(w.e.Faults(n), fresh.Faults(n)) {
					rt.Fatalf("%s: faults %v, from scratch %v", n, w.e.Faults(n), fresh.Faults(n))
				}
			}
			if got, want := w.e.UnitCount(), fresh.UnitCount(); got != want {
				rt.Fatalf("%d units, from scratch %d", got, want)
			}
		}
	})
}
