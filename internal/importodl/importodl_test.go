// SPDX-License-Identifier: Apache-2.0

package importodl

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"nagare/internal/yang"
)

func fixture(t *testing.T) *Tree {
	t.Helper()
	tree := NewTree()
	for _, f := range []string{"testdata/neutron.json", "testdata/topology.json", "testdata/inventory.json"} {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Add(text); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
	}
	return tree
}

func plan(t *testing.T, tree, there *Tree, replace bool) *Report {
	t.Helper()
	r, err := Plan(t.Context(), tree, there, "standard", replace)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// on writes to a server in memory.
func on(h *rehearsal) Put {
	return func(ctx context.Context, path string, body []byte) (int, []byte, error) {
		return h.do(ctx, http.MethodPut, path, body)
	}
}

// whole is what a server gives out of Neutron's objects.
func whole(t *testing.T, h *rehearsal) (*Tree, any) {
	t.Helper()
	code, body, err := h.do(t.Context(), http.MethodGet, "/restconf/config/neutron:neutron", nil)
	if err != nil || code != http.StatusOK {
		t.Fatalf("%d %s %v", code, body, err)
	}
	tree := NewTree()
	if err := tree.Add(body); err != nil {
		t.Fatal(err)
	}
	if u := tree.Unknown(); len(u) != 0 {
		t.Errorf("we do not understand ourselves: %v", u)
	}
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatal(err)
	}
	return tree, v
}

func count(r *Report, list string) Kind {
	for _, k := range r.Kinds {
		if k.List == list {
			return k
		}
	}
	return Kind{}
}

// TestPlan: what a tree of another's making would become, and what of it is left out, by path.
func TestPlan(t *testing.T) {
	r := plan(t, fixture(t), nil, false)
	for list, want := range map[string]int{"networks/network": 2, "subnets/subnet": 1, "ports/port": 3, "routers/router": 1, "security-groups/security-group": 1,
		"security-rules/security-rule": 2, "floatingips/floatingip": 1} {
		if k := count(r, list); k.Found != want || k.New != want-k.Refused {
			t.Errorf("%s: %+v, want %d", list, k, want)
		}
	}
	if len(r.Refused) != 2 || !strings.Contains(r.Refused[0].Object, "networks/network/10000000-0000-4000-8000-000000000002") || r.Refused[0].Why == "" ||
		!strings.Contains(r.Refused[1].Object, "ports/port/30000000-0000-4000-8000-000000000003") || !strings.Contains(r.Refused[1].Why, "not a mac") {
		t.Errorf("refused: %+v", r.Refused)
	}
	if r.Ready() {
		t.Error("it is ready though an object is refused")
	}
	if len(r.Nodes) != 2 || r.Nodes[0].ID != "compute1" || !r.Nodes[0].Told || r.Nodes[0].LocalIP != "192.0.2.11" || r.Nodes[0].Ports != 1 || r.Nodes[0].Flows == 0 ||
		!slices.Equal(r.Nodes[0].Mappings, []string{"physnet1:br-ex"}) || r.Nodes[1].ID != "compute2" || r.Nodes[1].Told || r.Nodes[1].Ports != 1 || r.Nodes[1].Flows == 0 {
		t.Errorf("nodes: %+v", r.Nodes)
	}
	if want := []OldFlows{{"openflow:1234", 2}}; !reflect.DeepEqual(r.OldFlows, want) {
		t.Errorf("old flows: %+v", r.OldFlows)
	}
	var paths []string
	for _, u := range r.Unknown {
		paths = append(paths, u.Path)
	}
	for _, want := range []string{"/neutron:neutron/networks/network/example-ext:colour", "/neutron:neutron/bgpvpns"} {
		if !slices.Contains(paths, want) {
			t.Errorf("%s is not told as left out: %v", want, r.Unknown)
		}
	}
}

// TestApply: what was reported is what comes of it; a second time there is nothing to do; what differs is in the way until it may be
// replaced; and what was cut short goes on.
func TestApply(t *testing.T) {
	tree := fixture(t)
	for path, end := range map[string]string{"networks/network": "2", "ports/port": "3"} { // without those that are refused
		for _, d := range tree.under("neutron:neutron/" + path) {
			if id, _ := d.Get("uuid"); strings.HasSuffix(id, end) {
				d.Parent.Children = slices.DeleteFunc(d.Parent.Children, func(x *yang.Data) bool { return x == d })
			}
		}
	}
	server := newRehearsal("standard")
	r := plan(t, tree, NewTree(), false)
	if !r.Ready() {
		t.Fatalf("%+v %+v", r.Refused, r.Conflicts)
	}
	cut := errors.New("cut")
	n := 0
	err := Apply(t.Context(), r, func(ctx context.Context, path string, body []byte) (int, []byte, error) {
		if n++; n == 4 {
			return 0, nil, cut
		}
		return on(server)(ctx, path, body)
	}, func(int, int) {})
	if !errors.Is(err, cut) || !strings.Contains(err.Error(), "3 of 9 objects") {
		t.Fatalf("%v", err)
	}
	there, _ := whole(t, server)
	r = plan(t, tree, there, false)
	if !r.Ready() || len(r.Changes()) != 6 {
		t.Fatalf("to go on: %d objects, %+v %+v", len(r.Changes()), r.Conflicts, r.Kinds)
	}
	done := 0
	if err := Apply(t.Context(), r, on(server), func(i, _ int) { done = i }); err != nil || done != 6 {
		t.Fatalf("%d: %v", done, err)
	}
	there, _ = whole(t, server)
	if r = plan(t, tree, there, false); !r.Ready() || len(r.Changes()) != 0 {
		t.Fatalf("a second time: %+v %+v", r.Changes(), r.Conflicts)
	}
	o := there.Objects()[0]
	body := strings.Replace(string(o.Body()), `"name":"tenant-net"`, `"name":"renamed"`, 1)
	if code, answer, err := on(server)(t.Context(), o.Path(), []byte(body)); err != nil || code >= 300 || body == string(o.Body()) {
		t.Fatalf("%d %s %v", code, answer, err)
	}
	there, _ = whole(t, server)
	r = plan(t, tree, there, false)
	if r.Ready() || len(r.Conflicts) != 1 || r.Conflicts[0].Object != o.Path() || !strings.Contains(r.Conflicts[0].Why, "name") {
		t.Errorf("conflicts: %+v", r.Conflicts)
	}
	if r = plan(t, tree, there, true); !r.Ready() || len(r.Changes()) != 1 {
		t.Errorf("with replace: %+v", r.Conflicts)
	}
	if err := Apply(t.Context(), r, func(context.Context, string, []byte) (int, []byte, error) {
		return http.StatusConflict, []byte(`{"errors":{"error":[{"error-message":"another owns the networks"}]}}`), nil
	}, func(int, int) {}); err == nil || !strings.Contains(err.Error(), "another owns the networks") {
		t.Errorf("%v", err)
	}
}

// TestRoundTrip: our own tree, given out and taken over by an empty server, is the same there.
func TestRoundTrip(t *testing.T) {
	one, two := newRehearsal("standard"), newRehearsal("standard")
	r := plan(t, fixture(t), NewTree(), false)
	if err := Apply(t.Context(), r, on(one), func(int, int) {}); err != nil {
		t.Fatal(err)
	}
	tree, want := whole(t, one)
	r = plan(t, tree, NewTree(), false)
	if !r.Ready() {
		t.Fatalf("%+v %+v", r.Refused, r.Conflicts)
	}
	if err := Apply(t.Context(), r, on(two), func(int, int) {}); err != nil {
		t.Fatal(err)
	}
	if _, got := whole(t, two); !reflect.DeepEqual(got, want) {
		a, _ := json.Marshal(want)
		b, _ := json.Marshal(got)
		t.Errorf("given out\n%s\ntaken over\n%s", a, b)
	}
}

// TestRead: what is no answer is told as that, and parts of an answer are taken as they come.
func TestRead(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "no JSON",
		"<neutron/>":              "no JSON",
		"[]":                      "want a JSON object",
		`{"errors":{"error":[]}}`: "an error of RESTCONF",
		`{"something":{}}`:        "its members are something",
		strings.Repeat(`{"neutron":`, 100) + "{}": "no JSON",
	} {
		if err := NewTree().Add([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %s", text, err, want)
		}
	}
	const net = `{"network":[{"uuid":"10000000-0000-4000-8000-000000000001","name":"n"}]}`
	for _, text := range []string{`{"neutron":{"networks":` + net + `}}`, `{"neutron:neutron":{"neutron:networks":` + net + `}}`, `{"networks":` + net + `}`, `{"neutron:networks":` + net + `}`} {
		tree := NewTree()
		if err := tree.Add([]byte(text)); err != nil || len(tree.Objects()) != 1 || len(tree.Unknown()) != 0 {
			t.Errorf("%s: %v %v", text, err, tree.Unknown())
		}
	}
	odd := NewTree()
	if err := odd.Add([]byte(`{"neutron":{"networks":7,"ports":{"port":8},"routers":{"router":[9,{"name":"keyless"}]},"subnets":{"subnet":{"uuid":"10000000-0000-4000-8000-000000000001","dns-nameservers":"192.0.2.1"}}},"more":1}`)); err != nil {
		t.Fatal(err)
	}
	if got := odd.Unknown(); len(got) != 5 || len(odd.Objects()) != 1 {
		t.Errorf("%v %v", got, odd.Objects())
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"neutron":{"networks":{"network":[{"uuid":"10000000-0000-4000-8000-000000000001"}]}}}`))
	f.Add([]byte(`{"network-topology":{"topology":[{"topology-id":"ovsdb:1","node":[{"node-id":"x"},{"node-id":"x"}]}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		tree := NewTree()
		if tree.Add(text) == nil {
			tree.nodes(tree.Objects())
			tree.oldFlows()
		}
	})
}
