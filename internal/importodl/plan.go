// SPDX-License-Identifier: Apache-2.0

package importodl

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"nagare/internal/alloc"
	"nagare/internal/api/odl"
	"nagare/internal/api/restconf"
	"nagare/internal/compile"
	"nagare/internal/identity"
	"nagare/internal/model"
	"nagare/internal/netvirt"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/internal/yang"
)

// Kind counts the objects of one list.
type Kind struct {
	List    string `json:"list"`
	Found   int    `json:"found"`
	New     int    `json:"new"`     // not there yet
	Same    int    `json:"same"`    // there, and alike
	Differs int    `json:"differs"` // there, and otherwise
	Refused int    `json:"refused"` // not taken, see Problems
}

// Problem is an object that stands in the way.
type Problem struct {
	Object string `json:"object"` // its path
	Why    string `json:"why"`
}

// Node is a switch that the old controller had, and what it would get.
type Node struct {
	ID       string   `json:"id"`
	LocalIP  string   `json:"local_ip,omitempty"`
	Mappings []string `json:"mappings,omitempty"`
	Told     bool     `json:"told"` // the topology tells of it; otherwise it is known by ports that are bound to it
	Ports    int      `json:"ports"`
	Flows    int      `json:"flows"`
	Groups   int      `json:"groups"`
	Meters   int      `json:"meters"`
}

// OldFlows are the flows in the old controller's inventory.
type OldFlows struct {
	Node  string `json:"node"`
	Flows int    `json:"flows"`
}

// Report says what a tree would become.
type Report struct {
	Kinds     []Kind     `json:"objects"`
	Conflicts []Problem  `json:"conflicts"` // with what is there
	Refused   []Problem  `json:"refused"`
	Nodes     []Node     `json:"nodes"`
	OldFlows  []OldFlows `json:"old_flows"`
	Unknown   []Unknown  `json:"not_understood"`

	todo []Object
}

// Ready reports whether the tree can be applied as it is.
func (r *Report) Ready() bool { return len(r.Conflicts) == 0 && len(r.Refused) == 0 }

// Changes are the objects that applying would write, in order: those that are not there, and those that differ.
func (r *Report) Changes() []Object { return r.todo }

// rehearsal is a server in memory that is asked for what a real one would be.
type rehearsal struct {
	st   *store.Store
	rest http.Handler
}

var operator = identity.Principal{UserID: "import", UserName: "import", ProjectID: "import", Roles: []string{identity.RoleAdmin}}

func newRehearsal(profile string) *rehearsal {
	st := store.New(tables.Schema, nil)
	objects := odl.NewObjects(odl.Config{Store: st, Alloc: &alloc.Allocator{}, Writable: true, Profile: profile, NativeDHCP: profile != "classic"})
	return &rehearsal{st, restconf.New(restconf.Config{Store: st, Objects: objects, Profile: profile,
		Auth: func(*http.Request) (identity.Principal, error) { return operator, nil }})}
}

// answer keeps what a handler answers.
type answer struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }
func (a *answer) WriteHeader(code int) {
	if a.code == 0 {
		a.code = code
	}
}

func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

func (h *rehearsal) do(ctx context.Context, method, path string, body []byte) (int, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://rehearsal"+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	a := &answer{header: http.Header{}}
	h.rest.ServeHTTP(a, r)
	return a.code, a.body.Bytes(), nil
}

// Plan says what the tree would become on a server that has what is in there (nil: nothing is known of one). With replace, objects that
// are there and differ are no conflicts.
func Plan(ctx context.Context, t *Tree, there *Tree, profile string, replace bool) (*Report, error) {
	r := &Report{Kinds: []Kind{}, Conflicts: []Problem{}, Refused: []Problem{}, Nodes: []Node{}, OldFlows: t.oldFlows(), Unknown: []Unknown{}}
	h := newRehearsal(profile)
	objects := t.Objects()
	nodes := t.nodes(objects)
	if err := h.putNodes(ctx, nodes); err != nil {
		return nil, err
	}
	counts := map[string]*Kind{}
	for _, list := range lists {
		counts[list] = &Kind{List: list}
	}
	had := map[string]map[string]any{}
	if there != nil {
		for _, o := range there.Objects() {
			had[o.Path()] = o.plain()
		}
	}
	for _, o := range objects {
		k := counts[o.List]
		k.Found++
		if o.Bad != "" {
			k.Refused++
			r.Refused = append(r.Refused, Problem{o.Path(), o.Bad})
			continue
		}
		code, body, err := h.do(ctx, http.MethodPut, o.Path(), o.Body())
		if err != nil {
			return nil, err
		}
		if code >= 300 {
			k.Refused++
			r.Refused = append(r.Refused, Problem{o.Path(), Message(body)})
			continue
		}
		old, is := had[o.Path()]
		if !is {
			k.New++
			r.todo = append(r.todo, o)
			continue
		}
		same, err := h.same(ctx, &o, old)
		switch {
		case err != nil:
			return nil, err
		case len(same) == 0:
			k.Same++
			continue
		}
		k.Differs++
		r.todo = append(r.todo, o)
		if !replace {
			r.Conflicts = append(r.Conflicts, Problem{o.Path(), "it is there with another " + strings.Join(same, ", ")})
		}
	}
	for _, list := range lists {
		if counts[list].Found > 0 {
			r.Kinds = append(r.Kinds, *counts[list])
		}
	}
	if err := h.compile(ctx, nodes, profile); err != nil {
		return nil, err
	}
	r.Nodes = append(r.Nodes, nodes...)
	r.Unknown = append(r.Unknown, t.Unknown()...)
	return r, nil
}

// plain is an object as comparable JSON, without what counts its changes.
func (o *Object) plain() map[string]any {
	var out map[string]any
	_ = json.Unmarshal(o.Data.AppendJSON(nil), &out)
	delete(out, "revision-number")
	return out
}

// same gives the names in which the object, as the rehearsal has it, differs from one that is there.
func (h *rehearsal) same(ctx context.Context, o *Object, old map[string]any) (differ []string, err error) {
	code, body, err := h.do(ctx, http.MethodGet, o.Path(), nil)
	if err != nil || code != http.StatusOK {
		return nil, fmt.Errorf("%s: it was written and cannot be read: %d %s", o.Path(), code, Message(body))
	}
	t := NewTree()
	var top map[string][]any
	if err := json.Unmarshal(body, &top); err != nil {
		return nil, err
	}
	container, list, _ := strings.Cut(o.List, "/")
	wrapped, err := json.Marshal(map[string]any{"neutron:neutron": map[string]any{container: map[string]any{list: top[list]}}})
	if err != nil {
		return nil, err
	}
	if err := t.Add(wrapped); err != nil {
		return nil, err
	}
	now := t.Objects()[0].plain()
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if fmt.Sprint(now[name]) != fmt.Sprint(old[name]) {
			differ = append(differ, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(old)) {
		if _, ok := now[name]; !ok {
			differ = append(differ, name)
		}
	}
	return differ, nil
}

// Message is the text of an error of RESTCONF.
func Message(body []byte) string {
	var e map[string]struct {
		Error []struct {
			Message string `json:"error-message"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &e) == nil {
		for _, x := range e {
			if len(x.Error) > 0 {
				return x.Error[0].Message
			}
		}
	}
	return strings.TrimSpace(string(body[:min(len(body), 200)]))
}

// oldFlows counts the flows of the old inventory.
func (t *Tree) oldFlows() []OldFlows {
	out := []OldFlows{}
	for _, n := range t.under("opendaylight-inventory:nodes/node") {
		id, _ := n.Get("id")
		flows := 0
		for _, table := range n.All("flow-node-inventory:table") {
			flows += len(table.All("flow"))
		}
		out = append(out, OldFlows{id, flows})
	}
	return out
}

// nodes are the switches of the topology, and hosts that ports are bound to and that it does not have.
func (t *Tree) nodes(objects []Object) (out []Node) {
	known := map[string]bool{}
	add := func(n Node) {
		if n.ID != "" && !known[n.ID] {
			known[n.ID] = true
			out = append(out, n)
		}
	}
	for _, topology := range t.under("network-topology:network-topology/topology") {
		if id, _ := topology.Get("topology-id"); id != "ovsdb:1" {
			continue
		}
		for _, d := range topology.All("node") {
			ids := pairs(d, "ovsdb:openvswitch-external-ids", "external-id-key", "external-id-value")
			others := pairs(d, "ovsdb:openvswitch-other-configs", "other-config-key", "other-config-value")
			n := Node{Told: true, LocalIP: others["local_ip"]}
			for _, name := range []string{"odl_os_hostconfig_hostid", "hostname", "system-id"} {
				if n.ID == "" {
					n.ID = ids[name]
				}
			}
			for m := range strings.SplitSeq(others["provider_mappings"], ",") {
				if strings.Contains(m, ":") {
					n.Mappings = append(n.Mappings, strings.TrimSpace(m))
				}
			}
			add(n)
		}
	}
	for _, o := range objects {
		if o.List != "ports/port" {
			continue
		}
		if host, _ := o.Data.Get("neutron-binding:host-id"); host != "" {
			add(Node{ID: host})
		}
	}
	slices.SortFunc(out, func(a, b Node) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// pairs reads a list of keys and values.
func pairs(d *yang.Data, list, key, value string) map[string]string {
	out := map[string]string{}
	for _, e := range d.All(list) {
		k, _ := e.Get(key)
		out[k], _ = e.Get(value)
	}
	return out
}

func (h *rehearsal) commit(ctx context.Context, f func(*store.Txn) error) error {
	_, err := h.st.Commit(ctx, store.Origin{User: operator.UserID}, f)
	return err
}

// putNodes has the nodes known before objects come, as they are when they call. One whose address nobody told gets one for the rehearsal.
func (h *rehearsal) putNodes(ctx context.Context, nodes []Node) error {
	return h.commit(ctx, func(tx *store.Txn) error {
		for i, n := range nodes {
			addr, err := netip.ParseAddr(n.LocalIP)
			if err != nil {
				addr = netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})
			}
			m := map[string]string{}
			for _, pair := range n.Mappings {
				physnet, bridge, _ := strings.Cut(pair, ":")
				m[physnet] = bridge
			}
			id := model.NodeID(n.ID)
			tables.Nodes.Put(tx, id, model.Node{ID: id, NodePlane: model.NodePlane{Key: model.Key(i + 1), LocalIP: addr, Mappings: m}, Hostname: n.ID, Approved: true})
		}
		return nil
	})
}

// compile plugs every port that is bound and counts what each node is to hold.
func (h *rehearsal) compile(ctx context.Context, nodes []Node, profile string) error {
	ports := map[model.NodeID]int{}
	err := h.commit(ctx, func(tx *store.Txn) error {
		for _, p := range tables.Ports.All(tx) {
			if p.Host == "" || p.Parent != "" || p.Router != "" {
				continue
			}
			ports[p.Host]++
			tables.Plugs.Put(tx, model.PlugKey(p.Host, p.ID), model.Plug{Node: p.Host, Port: p.ID})
			tables.Interfaces.Put(tx, model.InterfaceKey(p.Host, p.ID.TapName()), model.Interface{Node: p.Host, Name: p.ID.TapName(),
				OFPort: uint32(p.Key) + 100, IfaceID: p.ID})
		}
		return nil
	})
	if err != nil {
		return err
	}
	rules, check := netvirt.Standard(netvirt.Options{NativeDHCP: true}), pipeline.Standard.Check
	if profile == "classic" {
		rules, check = netvirt.Classic(), pipeline.Classic.Check
	}
	e := compile.New(rules, check)
	for _, n := range nodes {
		e.AddNode(n.ID)
	}
	e.Update(h.st.Snapshot(), &store.Changes{All: true})
	for i := range nodes {
		n := &nodes[i]
		d, _ := e.Desired(n.ID)
		n.Ports, n.Flows, n.Groups, n.Meters = ports[model.NodeID(n.ID)], len(d.Flows), len(d.Groups), len(d.Meters)
	}
	return nil
}
