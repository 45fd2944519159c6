// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"nagare/internal/alloc"
	"nagare/internal/api/admin"
	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/netvirt"
	"nagare/internal/pipeline"
	"nagare/internal/southbound"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// explained is a backend over a small cloud of two nodes, without switches: net01 (VXLAN) and phys (VLAN), each with a port
// plugged on both nodes, whose groups have a rule of each kind.
func explained(t *testing.T, rules *compile.Rulebook) backend {
	t.Helper()
	st := store.New(tables.Schema, nil)
	do := func(request string, f func(tx *store.Txn) error) store.Result {
		t.Helper()
		r, err := st.Commit(t.Context(), store.Origin{Request: request, User: "u-demo", Action: "POST " + request}, f)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	hosts := []model.NodeID{"controller", "compute"}
	do("enrol", func(tx *store.Txn) error {
		for i, id := range hosts {
			key, err := alloc.NextKey(tx, alloc.Node)
			if err != nil {
				return err
			}
			tables.Nodes.Put(tx, id, model.Node{ID: id, Approved: true, NodePlane: model.NodePlane{Key: key,
				LocalIP: netip.AddrFrom4([4]byte{192, 168, 0, byte(10 + i)}), Mappings: map[string]string{"physnet1": "br-ex"}}})
		}
		return nil
	})
	do("networks", func(tx *store.Txn) error {
		for i, id := range []model.NetworkID{"net01", "phys"} {
			key, err := alloc.NextKey(tx, alloc.Network)
			if err != nil {
				return err
			}
			n := model.Network{ID: id, Std: model.Std{Name: string(id)}, NetworkPlane: model.NetworkPlane{Key: key, Type: model.VXLAN, SegmentationID: 1077, MTU: 1450, AdminStateUp: true}}
			if id == "phys" {
				n.Type, n.PhysicalNetwork, n.SegmentationID = model.VLAN, "physnet1", 100
			}
			tables.Networks.Put(tx, id, n)
			sub, err := alloc.NextKey(tx, alloc.Subnet)
			if err != nil {
				return err
			}
			tables.Subnets.Put(tx, model.SubnetID("sub-"+id), model.Subnet{ID: model.SubnetID("sub-" + id), SubnetPlane: model.SubnetPlane{Key: sub, Network: id,
				CIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 24), EnableDHCP: true}})
		}
		return nil
	})
	do("address-groups", func(tx *store.Txn) error {
		tables.AddressGroups.Put(tx, "ag", model.AddressGroup{ID: "ag", Std: model.Std{Name: "offices"}, AddressGroupPlane: model.AddressGroupPlane{Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}})
		return nil
	})
	lo, hi := 8080, 8090
	do("groups", func(tx *store.Txn) error {
		for _, id := range []model.SecurityGroupID{"web", "db"} {
			tables.SecurityGroups.Put(tx, id, model.SecurityGroup{ID: id, Std: model.Std{Name: string(id)}, SecurityGroupPlane: model.SecurityGroupPlane{Stateful: true}})
		}
		return nil
	})
	for i, r := range []model.RulePlane{
		{Group: "web", Direction: model.Ingress, Ethertype: model.EtherIPv4, Protocol: "tcp", PortMin: &lo, PortMax: &hi},
		{Group: "web", Direction: model.Egress, Ethertype: model.EtherIPv6},
		{Group: "db", Direction: model.Ingress, Ethertype: model.EtherIPv4, RemoteGroup: "web"},
		{Group: "db", Direction: model.Ingress, Ethertype: model.EtherIPv4, Protocol: "tcp", RemoteAddressGroup: "ag"},
		{Group: "db", Direction: model.Ingress, Ethertype: model.EtherIPv4, Protocol: "tcp", PortMin: &lo, PortMax: &hi},
	} {
		id := model.SecurityGroupRuleID(fmt.Sprintf("rule%d", i))
		do(string(id), func(tx *store.Txn) (err error) {
			r.Key, err = alloc.NextKey(tx, alloc.Rule)
			tables.Rules.Put(tx, id, model.SecurityGroupRule{ID: id, RulePlane: r})
			return err
		})
	}
	var last store.Result
	n := byte(3)
	for _, net := range []model.NetworkID{"net01", "phys"} {
		for _, host := range hosts {
			id := model.PortID(fmt.Sprintf("%s-%s", net, host))
			last = do(string(id), func(tx *store.Txn) error {
				key, err := alloc.NextKey(tx, alloc.Port)
				if err != nil {
					return err
				}
				p := model.Port{ID: id, Std: model.Std{Name: string(id)}, PortPlane: model.PortPlane{Key: key, Network: net, MAC: model.MAC{0xfa, 0x16, 0x3e, 0, 0, n},
					AdminStateUp: true, DeviceOwner: "compute:nova", Host: host, PortSecurity: true, SecurityGroups: []model.SecurityGroupID{"db", "web"}}}
				p.FixedIPs = []model.FixedIP{{Subnet: model.SubnetID("sub-" + net), Addr: netip.AddrFrom4([4]byte{10, n / 8, 0, n})}}
				tables.Plugs.Put(tx, model.PlugKey(host, id), model.Plug{Node: host, Port: id})
				tables.Interfaces.Put(tx, model.InterfaceKey(host, "tap"+string(net)), model.Interface{Node: host, Name: "tap" + string(net), OFPort: uint32(n), IfaceID: id})
				return alloc.PutPort(tx, p)
			})
			n++
		}
	}
	hub := southbound.New(southbound.Config{Store: st, Rules: rules, Check: pipeline.Check, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = hub.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	patient, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	if err := hub.WaitCompiled(patient, last.Snapshot.Seq()); err != nil {
		t.Fatal(err)
	}
	return backend{&Server{store: st, hub: hub}}
}

var profiles = map[string]func() *compile.Rulebook{"classic": netvirt.Classic, "standard": func() *compile.Rulebook { return netvirt.Standard(netvirt.Options{}) }}

// TestEveryFlowHasAnAuthor: in both profiles each flow resolves to objects and to the changes behind them, in the listing and
// one by one.
func TestEveryFlowHasAnAuthor(t *testing.T) {
	for profile, rules := range profiles {
		b := explained(t, rules())
		kinds := map[string]int{}
		for _, node := range []string{"controller", "compute"} {
			flows, err := b.Flows(t.Context(), node, true)
			if err != nil || len(flows) < 20 {
				t.Fatalf("%s %s: %d flows, %v", profile, node, len(flows), err)
			}
			for _, f := range flows {
				if !f.Authored() {
					t.Errorf("%s %s: nobody answers for %s: %+v", profile, node, f.Text, f.Authors)
				}
				for _, a := range f.Authors {
					kinds[a.Kind]++
					if a.Commit != nil && (a.Commit.Request == "" || a.Commit.User == "" || a.Commit.Time.IsZero()) {
						t.Errorf("%s %s: %s: commit %+v of %s %s", profile, node, f.Text, a.Commit, a.Kind, a.Object)
					}
				}
				x, err := b.ExplainFlow(t.Context(), node, f.Text)
				if err != nil || x.Flow != f.Text || len(x.Reasons) < len(f.Authors) {
					t.Errorf("%s %s: %s: explained as %+v, %v; authors %+v", profile, node, f.Text, x, err, f.Authors)
				}
				for _, r := range x.Reasons {
					if r.Commit == nil || r.Doc == "" || !strings.HasPrefix(r.Source, "internal/netvirt/") {
						t.Errorf("%s %s: %s: reason %+v", profile, node, f.Text, r)
					}
					for _, c := range r.Because {
						if c.Commit == nil {
							t.Errorf("%s %s: %s: because of %s %s, whose commit is not known", profile, node, f.Text, c.Kind, c.Object)
						}
					}
				}
			}
		}
		want := []string{"node", "port"}
		if profile == "standard" {
			want = append(want, "security-group-rule", "group-set", "remote-set")
		}
		for _, kind := range want {
			if kinds[kind] == 0 {
				t.Errorf("%s: no author is a %s: %v", profile, kind, kinds)
			}
		}
	}
}

func TestExplainForms(t *testing.T) {
	b := explained(t, netvirt.Classic())
	named, err := b.ExplainFlow(t.Context(), "compute", ` cookie=0x8000000, duration=1.5s, table=0, n_packets=0, n_bytes=0, in_port="tapnet01",dl_src=fa:16:3e:00:00:04 actions=output:tap1`)
	number, err2 := b.ExplainFlow(t.Context(), "compute", `table=0,in_port=4,dl_src=fa:16:3e:00:00:04`)
	if err != nil || err2 != nil || named.Flow != number.Flow || len(named.Reasons) != 1 || named.Reasons[0].Object != "net01-compute" {
		t.Errorf("by name: %+v %v\nby number: %+v %v", named, err, number, err2)
	}
	for text, want := range map[string]error{"table=0,in_port=9": admin.ErrNotFound, "in_port=tapnone": admin.ErrBadInput, "nonsense": admin.ErrBadInput} {
		if _, err := b.ExplainFlow(t.Context(), "compute", text); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", text, err, want)
		}
	}
	if _, err := b.ExplainFlow(t.Context(), "nowhere", "table=0"); !errors.Is(err, admin.ErrNotFound) || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("unknown node: %v", err)
	}
	if _, err := b.Flows(t.Context(), "nowhere", true); !errors.Is(err, admin.ErrNotFound) {
		t.Errorf("unknown node: %v", err)
	}
	if _, err := b.ExplainCookie(t.Context(), "compute", 0x8000000); !errors.Is(err, admin.ErrBadInput) {
		t.Errorf("a cookie of the classic profile: %v", err)
	}
}

// TestExplainCookie: a cookie alone names its object, and the flows that carry it.
func TestExplainCookie(t *testing.T) {
	b := explained(t, netvirt.Standard(netvirt.Options{}))
	snap := b.s.store.Snapshot()
	port, _ := tables.Ports.Get(snap, "net01-compute")
	rule, _ := tables.Rules.Get(snap, "rule0")
	for _, c := range []struct {
		kind         pipeline.CookieKind
		key          model.Key
		what, object string
		name         string
	}{
		{pipeline.KindPort, port.Key, "port", "net01-compute", "net01-compute"},
		{pipeline.KindGroupRule, rule.Key, "security-group-rule", "rule0", "ingress IPv4 tcp 8080-8090 from 0.0.0.0/0"},
		{pipeline.KindGroupSet, port.GroupSet, "group-set", alloc.KeyText(port.GroupSet), "db, web"},
		{pipeline.KindBridge, 0, "node", "compute", ""},
		{pipeline.KindPeer, 1, "node", "controller", ""},
		{pipeline.KindNetwork, 1, "network", "net01", "net01"},
		{pipeline.KindSubnet, 2, "subnet", "sub-phys", ""},
	} {
		x, err := b.ExplainCookie(t.Context(), "compute", pipeline.Cookie{Kind: c.kind, Template: pipeline.Template(pipeline.L2Forward, 3), Key: uint32(c.key)}.Pack())
		if err != nil || x.Kind != c.what || x.Object != c.object || x.Name != c.name || x.Commit == nil || x.Number != 3 || x.Table != pipeline.L2Forward.String() {
			t.Errorf("%v %d: %+v, %v", c.kind, c.key, x, err)
		}
	}
	// Each flow of a node is found by its own cookie, and by a line as ovs-ofctl prints it.
	var held []flow.Flow
	if err := b.s.hub.Do(t.Context(), func(e *compile.Engine) {
		d, _ := e.Desired("compute")
		for _, f := range d.Flows {
			held = append(held, f)
		}
	}); err != nil || len(held) < 50 {
		t.Fatalf("%d flows, %v", len(held), err)
	}
	merged, bare := 0, 0
	for _, f := range held {
		if c, ours := pipeline.UnpackCookie(f.Cookie); !ours {
			bare++ // the spine's
		} else if x, err := b.ExplainCookie(t.Context(), "compute", f.Cookie); err != nil || !slices.ContainsFunc(x.Flows, func(y admin.Flow) bool { return y.Text == f.String() && y.Authored() }) {
			t.Errorf("%v with cookie %#x: %+v, %v", f, f.Cookie, x, err)
		} else if x.Merged {
			merged++
			if c.Template != pipeline.TemplateMerged || len(x.Flows[0].Authors) < 2 {
				t.Errorf("merged flow %+v", x)
			}
		}
		table, rest, _ := strings.Cut(f.String(), ",")
		line := fmt.Sprintf(" cookie=%#x, duration=12.345s, %s, n_packets=7, n_bytes=512, %s", f.Cookie, table, rest)
		if x, err := b.ExplainFlow(t.Context(), "compute", line); err != nil || x.Flow != f.String() {
			t.Errorf("%s: %+v, %v", line, x, err)
		}
	}
	if merged == 0 {
		t.Error("no flow is merged: two rules for the same ports must share their clause")
	}
	t.Logf("%d flows, %d merged, %d with a cookie that names nobody", len(held), merged, bare)
	gone := pipeline.Cookie{Kind: pipeline.KindPort, Key: 999}.Pack()
	if _, err := b.ExplainCookie(t.Context(), "compute", gone); !errors.Is(err, admin.ErrNotFound) {
		t.Errorf("a key that nobody has: %v", err)
	}
	if _, err := b.ExplainCookie(t.Context(), "nowhere", gone); !errors.Is(err, admin.ErrNotFound) || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("unknown node: %v", err)
	}
}

func TestDescribeRule(t *testing.T) {
	st := store.New(tables.Schema, nil)
	commit(t, st, func(tx *store.Txn) {
		tables.SecurityGroups.Put(tx, "g", model.SecurityGroup{ID: "g", Std: model.Std{Name: "web"}})
		tables.AddressGroups.Put(tx, "a", model.AddressGroup{ID: "a", Std: model.Std{Name: "offices"}})
	})
	n := func(i int) *int { return &i }
	for want, r := range map[string]model.RulePlane{
		"ingress IPv4 tcp 22 from 0.0.0.0/0":                    {Direction: model.Ingress, Ethertype: model.EtherIPv4, Protocol: "tcp", PortMin: n(22), PortMax: n(22)},
		"ingress IPv4 udp 10-20 from group web":                 {Direction: model.Ingress, Ethertype: model.EtherIPv4, Protocol: "udp", PortMin: n(10), PortMax: n(20), RemoteGroup: "g"},
		"egress IPv6 any protocol to ::/0":                      {Direction: model.Egress, Ethertype: model.EtherIPv6},
		"ingress IPv4 icmp type 8 from address group offices":   {Direction: model.Ingress, Ethertype: model.EtherIPv4, Protocol: "icmp", PortMin: n(8), RemoteAddressGroup: "a"},
		"ingress IPv6 ipv6-icmp type 128 code 0 from fd00::/64": {Direction: model.Ingress, Ethertype: model.EtherIPv6, Protocol: "ipv6-icmp", PortMin: n(128), PortMax: n(0), RemotePrefix: netip.MustParsePrefix("fd00::1/64")},
		"egress IPv4 112 to group gone":                         {Direction: model.Egress, Ethertype: model.EtherIPv4, Protocol: "112", RemoteGroup: "gone"},
	} {
		if got := describeRule(st.Snapshot(), &r); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
