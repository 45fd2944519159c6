// SPDX-License-Identifier: Apache-2.0

package house

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// The layers: what a package of ours may know of the others, and why no more.
// Imports point downward only: as every row names only what stands above it or
// beside it in this table, the whole stays without circles and each package can
// be understood, tested and replaced with what stands below it.
//
// "x/..." means x and everything under it. A package may always import its own
// sub-packages and those may import it; a row of its own is needed for another
// right only. The most exact row holds.
type layer struct {
	pkg    string
	may    []string // packages of ours, as patterns
	std    bool     // nothing but the standard library and what may says
	reason string
}

var layers = []layer{
	{pkg: "openflow/...", std: true,
		reason: "a protocol library that others can import: bytes in, messages out, standard library only"},
	{pkg: "ovsdb/...", std: true,
		reason: "a protocol library that others can import: bytes in, messages out, standard library only"},
	{pkg: "internal/model", std: true,
		reason: "plain values that everybody shares; whatever they knew, everybody would know"},
	{pkg: "internal/store/...",
		reason: "keeps tables of any type; the tables of our models are declared in internal/tables"},
	{pkg: "internal/tables", may: []string{"internal/model", "internal/store"},
		reason: "declares which model lives in which table, and how derived tables follow; no logic of rules or wires"},
	{pkg: "internal/alloc", may: []string{"internal/model", "internal/store", "internal/tables"},
		reason: "hands out numbers and addresses inside a store transaction, whoever asked for them"},
	{pkg: "internal/flow/...", may: []string{"openflow"},
		reason: "flows as values; knows the wire's bytes, not who wants the flow or who sends it"},
	{pkg: "internal/pipeline/...", may: []string{"internal/flow", "openflow"},
		reason: "declares the OpenFlow tables; rules obey it, it knows no rule and no object"},
	{pkg: "internal/compile", may: []string{"internal/store", "internal/flow"},
		reason: "the engine runs any rules over any tables; naming a model or a rule here would fork it"},
	{pkg: "internal/netvirt", may: []string{"internal/model", "internal/tables", "internal/store", "internal/compile",
		"internal/flow", "internal/pipeline"},
		reason: "rules are pure: they read a snapshot and emit; a switch or a request within reach would tempt them"},
	{pkg: "internal/sim", may: []string{"internal/compile", "internal/flow", "internal/pipeline", "openflow"},
		reason: "walks compiled tables in memory; it must judge what rules made without asking them"},
	{pkg: "internal/responder/dhcpopt", std: true,
		reason: "how a named DHCP option is encoded; API adapters check options by it and must not get a responder with it"},
	{pkg: "internal/responder", std: false,
		reason: "packet services as a function of (configuration, packet); sockets and stores stay with its callers"},
	{pkg: "internal/punt", may: []string{"internal/model", "internal/store", "internal/tables", "internal/alloc", "internal/pipeline",
		"internal/responder", "internal/responder/dhcpopt", "internal/netvirt"},
		reason: "answers punted packets from the store; how they came and go is the sessions' matter; of the rules it knows how they number networks and name patches"},
	{pkg: "internal/edge", may: []string{"internal/model", "internal/store", "internal/tables", "internal/pipeline", "internal/punt"},
		reason: "when to speak on external networks; what is said is internal/punt's, by which session internal/southbound's"},
	{pkg: "internal/keystone", may: []string{"internal/model", "internal/identity"},
		reason: "a token's meaning comes from elsewhere; it knows the form of the answer and none of our objects"},
	{pkg: "internal/nova", may: []string{"internal/model", "internal/store", "internal/tables"},
		reason: "tells another service what the log of commits says; nothing of ours waits for it"},
	{pkg: "internal/nodedhcp/dhcpapi", std: true,
		reason: "the JSON between server and node; both ends share it and nothing else"},
	{pkg: "internal/nodedhcp", may: []string{"internal/nodedhcp/dhcpapi", "internal/responder", "internal/responder/dhcpopt"},
		reason: "runs on a node, far from the server: it knows the admin API's JSON and no part of the server"},
	{pkg: "internal/identity", may: []string{"internal/model", "internal/store", "internal/tables", "internal/api/jsonbody"},
		reason: "users, projects and tokens; who may do what, not what is done"},
	{pkg: "internal/southbound/...", may: []string{"internal/model", "internal/store", "internal/tables", "internal/alloc", "internal/flow",
		"internal/pipeline", "internal/compile", "internal/netvirt", "openflow", "ovsdb"},
		reason: "brings desired state to switches and facts back; a request handler within reach would make it imperative"},
	{pkg: "internal/policy", may: []string{},
		reason: "reads and evaluates check strings; whose rules they are, and of which objects, its callers say"},
	{pkg: "internal/api/jsonbody", std: true,
		reason: "reads and writes JSON bodies for every adapter; knows none of their objects"},
	{pkg: "internal/api/neutron", may: []string{"internal/model", "internal/store", "internal/tables", "internal/alloc",
		"internal/identity", "internal/policy", "internal/api/jsonbody", "internal/responder/dhcpopt"},
		reason: "an adapter turns a request into one store transaction; it never touches a switch, so it knows no switch protocol"},
	{pkg: "internal/api/neutron/gen", may: []string{"internal/api/neutron"},
		reason: "writes docs/api.md and docs/policy.md from the declarations"},
	{pkg: "internal/yang", may: []string{"internal/api/jsonbody"},
		reason: "knows the forms of data, none of our objects; what an instance stands for is an adapter's matter"},
	{pkg: "internal/flowtree", may: []string{"internal/flow", "internal/yang", "openflow"},
		reason: "says flows in a tree of data and reads them from it; whose flows they are, and on which switch, its callers say"},
	{pkg: "internal/api/restconf", may: []string{"internal/model", "internal/store", "internal/tables", "internal/identity", "internal/api/jsonbody", "internal/yang",
		"internal/flow", "internal/flowtree", "internal/pipeline", "internal/alloc", "openflow"},
		reason: "shows the store by YANG modules and tells of its changes; Neutron's objects, and whether a node is connected, come from whoever mounts it"},
	{pkg: "internal/api/restconf/gen", may: []string{"internal/api/restconf"},
		reason: "writes docs/model.md from the modules and sources"},
	{pkg: "internal/api/odl", may: []string{"internal/model", "internal/store", "internal/tables", "internal/alloc",
		"internal/identity", "internal/api/jsonbody"},
		reason: "another adapter: what another Neutron wants becomes the same objects; it knows neither our own Neutron API nor a switch"},
	{pkg: "internal/api/admin", may: []string{"internal/model", "internal/store", "internal/tables", "internal/identity",
		"internal/api/jsonbody", "internal/nodedhcp/dhcpapi", "internal/compile", "internal/flow", "internal/pipeline", "internal/sim"},
		reason: "shows state and explains flows from the engine's results; like every adapter it never touches a switch"},
	{pkg: "internal/repro", std: true,
		reason: "a number for tests to draw from"},
	{pkg: "internal/ovstest", std: false,
		reason: "starts a private Open vSwitch for tests; whatever it knew could not be tested with it"},
	{pkg: "internal/importodl", may: []string{"internal/model", "internal/store", "internal/tables", "internal/alloc", "internal/identity", "internal/compile",
		"internal/netvirt", "internal/pipeline", "internal/yang", "internal/api/jsonbody", "internal/api/odl", "internal/api/restconf"},
		reason: "asks a server in memory what a tree would become; the one that it writes to is reached by whoever calls"},
	{pkg: "internal/lab", may: []string{"internal/ovstest", "internal/model", "internal/flow"},
		reason: "an operator's view: the lab drives the server by its public interfaces and sees no insides"},
	{pkg: "internal/app", may: []string{"internal/model", "internal/store", "internal/tables", "internal/alloc", "internal/flow",
		"internal/pipeline", "internal/compile", "internal/netvirt", "internal/sim", "internal/responder", "internal/responder/dhcpopt", "internal/punt", "internal/edge", "internal/keystone", "internal/policy", "internal/nova", "internal/nodedhcp/dhcpapi",
		"internal/southbound", "internal/identity", "internal/api/...", "openflow", "ovsdb"},
		reason: "puts the server's parts together, the list of tasks; how it was called is the command line's matter"},
	{pkg: "internal/cli", may: []string{"internal/...", "openflow", "ovsdb"},
		reason: "commands call whatever they are about"},
	{pkg: "internal/house", std: true,
		reason: "reads the repository as text, so that it judges trees that do not build"},
	{pkg: "cmd/nagare", may: []string{"internal/cli"}, std: true,
		reason: "main hands over to the command line and holds nothing"},
	{pkg: "test/...", may: []string{"..."},
		reason: "tests and benchmarks of the whole"},
	{pkg: "bench/...", may: []string{"internal/netvirt", "internal/ovstest", "openflow", "ovsdb", "test/bench/..."},
		reason: "measures the program from outside; of the rules it knows only names of bridges and tunnels"},
}

// Packages that only tests and the laboratory may import: they start processes,
// listen, or fake a peer.
var testOnly = []string{"internal/ovstest", "internal/repro", "internal/house", "ovsdb/ovsdbtest", "openflow/oftest", "test/...", "bench/..."}

// Imports that belong to few packages, whatever the layer.
var reserved = []struct {
	path   string // import path pattern
	only   []string
	reason string
}{
	{"github.com/spf13/cobra", []string{"internal/cli"},
		"the command line's library; a package that needs flags takes a struct"},
	{"github.com/coder/websocket", []string{"internal/api/restconf"},
		"events of RESTCONF's streams; nothing else of the server pushes to clients"},
	{"github.com/openconfig/goyang/...", []string{"internal/yang"},
		"a parser of modules; everybody else sees the schema that is made of them"},
	{"go.etcd.io/...", []string{"internal/store/...", "internal/app", "test/..."},
		"one storage code path; nobody else may write beside the store"},
	{"github.com/vishvananda/...", []string{"internal/lab", "internal/nodedhcp", "internal/ovstest", "test/..."},
		"the server changes no interface of its host; nodes are changed through OVSDB and OpenFlow"},
	{"net/http", []string{"internal/api/...", "internal/identity", "internal/keystone", "internal/nova", "internal/nodedhcp", "internal/app", "internal/cli",
		"internal/importodl", "internal/lab", "test/...", "bench/..."},
		"nothing below the adapters knows HTTP"},
	{"os/exec", []string{"internal/lab", "internal/ovstest", "internal/cli", "internal/nodedhcp", "test/...", "bench/..."},
		"the server starts no programs; switches are reached by their protocols alone"},
}

// Rules, the pipeline and flows are pure (snapshot in, desired state out), so
// that from-scratch and incremental compilation agree.
var (
	pure    = []string{"internal/flow/...", "internal/pipeline", "internal/netvirt", "internal/tables", "internal/model", "internal/policy"}
	impure  = []string{"os", "os/...", "net", "net/http", "math/rand", "math/rand/v2", "crypto/rand", "log/slog", "log"}
	purpose = "pure packages have no randomness, I/O or logs (compile is a function of the snapshot)"
)

func TestImportsPointDownward(t *testing.T) {
	tree := load(t)
	for _, dir := range tree.dirs() {
		p := tree.pkgs[dir]
		l, ok := layerOf(dir)
		if !ok {
			t.Errorf("%s: has no row in the table of layers (internal/house/imports_test.go): add one with its reason", dir)
			continue
		}
		for _, imported := range sortedKeys(p.imports) {
			if err := l.allows(dir, imported); err != nil {
				t.Errorf("%s: %v", strings.Join(p.imports[imported], ", "), err)
			}
		}
	}
}

func TestImportsWithAnOwner(t *testing.T) {
	tree := load(t)
	for _, dir := range tree.dirs() {
		p := tree.pkgs[dir]
		for _, imported := range sortedKeys(p.imports) {
			for _, r := range reserved {
				if matches(r.path, imported) && !matchesAny(r.only, dir) {
					t.Errorf("%s: imports %s, which only %s may: %s",
						strings.Join(p.imports[imported], ", "), imported, strings.Join(r.only, ", "), r.reason)
				}
			}
			if matchesAny(pure, dir) && matchesAny(impure, imported) {
				t.Errorf("%s: imports %s: %s", strings.Join(p.imports[imported], ", "), imported, purpose)
			}
			ours, is := strings.CutPrefix(imported, module+"/")
			if is && matchesAny(testOnly, ours) && !matchesAny(append([]string{"internal/lab", "internal/cli"}, testOnly...), dir) {
				t.Errorf("%s: imports %s, which is for tests and the laboratory", strings.Join(p.imports[imported], ", "), imported)
			}
		}
	}
}

// layerOf gives the most exact row for a package directory.
func layerOf(dir string) (layer, bool) {
	best, found := layer{}, false
	for _, l := range layers {
		if matches(l.pkg, dir) && (!found || len(strings.TrimSuffix(l.pkg, "/...")) > len(strings.TrimSuffix(best.pkg, "/...")) || l.pkg == dir) {
			best, found = l, true
			if l.pkg == dir {
				break
			}
		}
	}
	return best, found
}

// allows tells why the package in dir may not import the path, or nil.
func (l layer) allows(dir, imported string) error {
	ours, is := strings.CutPrefix(imported, module+"/")
	if !is {
		first, _, _ := strings.Cut(imported, "/")
		if l.std && strings.Contains(first, ".") {
			return fmt.Errorf("imports %s, but %s has the standard library only: %s", imported, l.pkg, l.reason)
		}
		return nil
	}
	if matchesAny(l.may, ours) || within(dir, ours) || within(ours, dir) {
		return nil
	}
	if base, deep := strings.CutSuffix(l.pkg, "/..."); deep && within(ours, base) {
		return nil // a sibling under the same row
	}
	knows := "nothing of ours"
	if len(l.may) > 0 {
		knows = strings.Join(l.may, ", ")
	}
	return fmt.Errorf("imports %s, but %s knows %s: %s", ours, l.pkg, knows, l.reason)
}

// within tells whether p is dir or stands under it.
func within(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

func matches(pattern, p string) bool {
	if pattern == "..." {
		return true
	}
	if base, deep := strings.CutSuffix(pattern, "/..."); deep {
		return within(p, base)
	}
	return p == pattern
}

func matchesAny(patterns []string, p string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return matches(pattern, p) })
}

func sortedKeys(m map[string][]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// The design's own statements about who must not know whom, checked against the
// table, so that a careless new row cannot undo them.
func TestLayersForbid(t *testing.T) {
	tests := []struct{ from, to string }{
		{"openflow", "nagare/internal/flow"},
		{"openflow", "github.com/spf13/cobra"},
		{"ovsdb", "nagare/openflow"},
		{"ovsdb/internal/rpc", "golang.org/x/sync/errgroup"},
		{"internal/model", "nagare/internal/store"},
		{"internal/store", "nagare/internal/model"},
		{"internal/store/etcdlog", "nagare/internal/tables"},
		{"internal/flow", "nagare/internal/model"},
		{"internal/pipeline", "nagare/internal/netvirt"},
		{"internal/compile", "nagare/internal/model"},
		{"internal/compile", "nagare/internal/netvirt"},
		{"internal/compile", "nagare/internal/tables"},
		{"internal/netvirt", "nagare/internal/southbound"},
		{"internal/netvirt", "nagare/internal/api/neutron"},
		{"internal/southbound", "nagare/internal/api/neutron"},
		{"internal/netvirt", "nagare/openflow"},
		{"internal/api/neutron", "nagare/internal/southbound"},
		{"internal/api/neutron", "nagare/openflow"},
		{"internal/api/neutron", "nagare/ovsdb"},
		{"internal/api/neutron", "nagare/internal/api/admin"},
		{"internal/api/odl", "nagare/internal/southbound"},
		{"internal/api/odl", "nagare/internal/api/neutron"},
		{"internal/api/neutron", "nagare/internal/api/odl"},
		{"internal/api/admin", "nagare/internal/southbound"},
		{"internal/api/admin", "nagare/openflow"},
		{"internal/nodedhcp", "nagare/internal/store"},
		{"internal/lab", "nagare/internal/store"},
		{"cmd/nagare", "nagare/internal/app"},
		{"internal/tables", "nagare/internal/app"},
	}
	for _, tt := range tests {
		l, ok := layerOf(tt.from)
		if !ok || l.allows(tt.from, tt.to) == nil {
			t.Errorf("%s may import %s", tt.from, tt.to)
		}
	}
	for _, tt := range []struct{ from, to string }{
		{"openflow", "encoding/binary"},
		{"ovsdb", "nagare/ovsdb/internal/rpc"},
		{"internal/netvirt", "nagare/internal/compile"},
		{"internal/app", "nagare/internal/southbound"},
		{"internal/southbound", "nagare/openflow"},
	} {
		if l, ok := layerOf(tt.from); !ok || l.allows(tt.from, tt.to) != nil {
			t.Errorf("%s may not import %s", tt.from, tt.to)
		}
	}
}

// No row may let two packages import each other.
func TestLayersHaveNoCircle(t *testing.T) {
	tree := load(t)
	for _, a := range tree.dirs() {
		for _, b := range tree.dirs() {
			la, oka := layerOf(a)
			lb, okb := layerOf(b)
			free := la.pkg == lb.pkg || within(a, b) || within(b, a) || matches("test/...", a) || matches("test/...", b)
			if oka && okb && !free && la.allows(a, module+"/"+b) == nil && lb.allows(b, module+"/"+a) == nil {
				t.Errorf("the table lets %s and %s import each other", a, b)
			}
		}
	}
}
