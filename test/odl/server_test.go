// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"testing"

	nbi "nagare/internal/api/odl"
	"nagare/internal/compile"
	"nagare/internal/identity"
	"nagare/internal/model"
	"nagare/internal/netvirt"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// server is our northbound on a store whose log outlives it: a process that can be killed. One request is served at a time.
type server struct {
	t    testing.TB
	open func() store.Options // where the log is

	strict bool // answers as OpenDaylight did

	st      *store.Store
	handler http.Handler
	log     *mortal // of the living process; nil if its log cannot be watched
	deaths  int
}

// moment is when a process dies: before or after its write to the log took place.
type moment int

const (
	never moment = iota
	beforeWrite
	afterWrite
)

// mortal is the log of a process that dies at a write. Nothing more happens to it then.
type mortal struct {
	store.Log
	mu   sync.Mutex
	when moment
	dead bool
}

func (l *mortal) Append(ctx context.Context, b *store.Batch) error {
	l.mu.Lock()
	when, dead := l.when, l.dead
	l.dead = dead || when != never
	l.mu.Unlock()
	if dead || when == beforeWrite {
		return errCut
	}
	err := l.Log.Append(ctx, b)
	if when == afterWrite && err == nil {
		err = errCut
	}
	return err
}

func (l *mortal) Fence(ctx context.Context) (store.Head, uint64, error) {
	if l.ended() {
		return store.Head{}, 0, errCut
	}
	return l.Log.Fence(ctx)
}

func (l *mortal) ended() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.dead }

func allow(*http.Request) (identity.Principal, error) {
	return identity.Principal{UserID: "u-neutron", UserName: "neutron", ProjectID: "p-service", Roles: []string{identity.RoleAdmin}}, nil
}

// newServer starts a northbound. Two nodes are known, both with the external network.
func newServer(t testing.TB, open func() store.Options) *server {
	s := &server{t: t, open: open}
	s.start()
	t.Cleanup(func() { _ = s.st.Close() })
	s.putNodes()
	return s
}

// putNodes is what the nodes would report of themselves.
func (s *server) putNodes() {
	_, err := s.st.Commit(context.Background(), store.Origin{User: "test"}, func(tx *store.Txn) error {
		for i, name := range []model.NodeID{"a", "b"} {
			tables.Nodes.Put(tx, name, model.Node{ID: name, NodePlane: model.NodePlane{Key: model.Key(i + 1),
				LocalIP: netip.AddrFrom4([4]byte{192, 168, 0, byte(10 + i)}), Mappings: map[string]string{"physnet1": "br-ex"}}})
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// inMemory is a log that lasts as long as the test.
func inMemory() func() store.Options {
	mem := store.NewMemory(store.Limits{})
	return func() store.Options { return store.Options{Log: &mortal{Log: mem.Log()}} }
}

func (s *server) start() {
	o := s.open()
	s.log, _ = o.Log.(*mortal)
	o.Logger = slog.New(slog.DiscardHandler)
	st, err := store.Open(context.Background(), tables.Schema, o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.st, s.handler = st, nbi.New(nbi.Config{Store: st, Auth: allow, Writable: true, NativeDHCP: true, Strict: s.strict})
}

// kill ends the process without grace and starts it again.
func (s *server) kill() {
	if s.log != nil {
		s.log.mu.Lock()
		s.log.dead = true
		s.log.mu.Unlock()
	}
	_ = s.st.Close() // what it had not written is lost
	s.start()
	s.deaths++
}

// arm lets the process die at its next write.
func (s *server) arm(when moment) {
	s.log.mu.Lock()
	s.log.when = when
	s.log.mu.Unlock()
}

// wipe starts a process anew whose log is empty.
func (s *server) wipe() {
	_ = s.st.Close()
	s.open = inMemory()
	s.start()
	s.putNodes()
}

// RoundTrip has the process answer. If it died of it, nobody hears the answer, and a new process runs.
func (s *server) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := Local{s.handler}.RoundTrip(req)
	if s.log != nil && s.log.ended() {
		if err == nil {
			resp.Body.Close()
		}
		s.kill()
		return nil, errCut
	}
	return resp, err
}

// plug is what sessions with the nodes would report: each bound port has an interface where it is bound.
func (s *server) plug() {
	_, err := s.st.Commit(context.Background(), store.Origin{User: "nodes"}, func(tx *store.Txn) error {
		for _, p := range tables.Ports.All(tx) {
			if p.Host == "" || !p.IsCompute() {
				continue
			}
			tables.Plugs.Put(tx, model.PlugKey(p.Host, p.ID), model.Plug{Node: p.Host, Port: p.ID})
			tables.Interfaces.Put(tx, model.InterfaceKey(p.Host, p.ID.TapName()), model.Interface{Node: p.Host, Name: p.ID.TapName(),
				OFPort: uint32(p.Key) + 10, IfaceID: p.ID})
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func newEngine() *compile.Engine {
	e := compile.New(netvirt.Standard(netvirt.Options{}), pipeline.Standard.Check)
	e.AddNode("a")
	e.AddNode("b")
	return e
}

// compile gives what each node is to hold.
func (s *server) compile() map[string]compile.Desired {
	e := newEngine()
	e.Update(s.st.Snapshot(), &store.Changes{All: true})
	out := map[string]compile.Desired{}
	for _, n := range []string{"a", "b"} {
		out[n], _ = e.Desired(n)
	}
	return out
}

// differ tells how the models in the store differ from what Neutron wants, by the models' own fields.
func (s *server) differ(n *Neutron) []string {
	var diff []string
	r := s.st.Snapshot()
	count := func(what string, have, want int) {
		if have != want {
			diff = append(diff, fmt.Sprintf("%d %s in the store, wanted are %d", have, what, want))
		}
	}
	same := func(what, id, field string, have, want any) {
		if !reflect.DeepEqual(have, want) {
			diff = append(diff, fmt.Sprintf("%s %s: %s is %v in the store, wanted is %v", what, id, field, have, want))
		}
	}
	nets := 0
	for range tables.Networks.All(r) {
		nets++
	}
	if _, ok := tables.Networks.Get(r, Canary); ok {
		nets--
	}
	count("networks", nets, len(n.IDs(Network)))
	for _, id := range n.IDs(Network) {
		o := n.Object(Network, id)
		x, _ := tables.Networks.Get(r, model.NetworkID(id))
		segment, _ := o["provider:segmentation_id"].(int)
		same("network", id, "plane", []any{x.Type, x.PhysicalNetwork, int(x.SegmentationID), x.MTU, x.AdminStateUp, x.External},
			[]any{model.NetworkType(o.str("provider:network_type")), o.str("provider:physical_network"), segment, o["mtu"], o["admin_state_up"], o["router:external"]})
		same("network", id, "has a key", x.Key != 0, true)
		same("network", id, "QoS policy", string(x.QosPolicy), o.str("qos_policy_id"))
	}
	subnets := 0
	for range tables.Subnets.All(r) {
		subnets++
	}
	count("subnets", subnets, len(n.IDs(Subnet)))
	for _, id := range n.IDs(Subnet) {
		o := n.Object(Subnet, id)
		x, _ := tables.Subnets.Get(r, model.SubnetID(id))
		var dns []string
		for _, a := range x.DNSNameservers {
			dns = append(dns, a.String())
		}
		same("subnet", id, "plane", []any{string(x.Network), x.CIDR.String(), x.Gateway.String(), x.EnableDHCP, len(x.HostRoutes)},
			[]any{o.str("network_id"), o.str("cidr"), o.str("gateway_ip"), o["enable_dhcp"], len(o.list("host_routes"))})
		same("subnet", id, "name servers", dns, o.texts("dns_nameservers"))
	}
	carried := n.carried()
	ports := 0
	for range tables.Ports.All(r) {
		ports++
	}
	count("ports", ports, len(n.IDs(Port)))
	for _, id := range n.IDs(Port) {
		o := n.Object(Port, id)
		x, _ := tables.Ports.Get(r, model.PortID(id))
		var ips, want, groups, wantGroups []string
		for _, f := range x.FixedIPs {
			ips = append(ips, string(f.Subnet)+" "+f.Addr.String())
		}
		for _, f := range o.list("fixed_ips") {
			m := Object(f.(map[string]any))
			want = append(want, m.str("subnet_id")+" "+m.str("ip_address"))
		}
		for _, g := range x.SecurityGroups {
			groups = append(groups, string(g))
		}
		for _, g := range o.list("security_groups") {
			wantGroups = append(wantGroups, Object(g.(map[string]any)).id())
		}
		slices.Sort(groups)
		slices.Sort(wantGroups)
		router := ""
		if own := o.str("device_owner"); own == ownerInterface || own == ownerGateway {
			router = o.str("device_id")
		}
		same("port", id, "plane", []any{string(x.Network), x.MAC.String(), x.AdminStateUp, x.DeviceOwner, string(x.Router), x.PortSecurity, len(x.AllowedPairs)},
			[]any{o.str("network_id"), o.str("mac_address"), o["admin_state_up"], o.str("device_owner"), router, o["port_security_enabled"],
				len(o.list("allowed_address_pairs"))})
		host, parent, tag := o.str("binding:host_id"), "", 0
		if c, ok := carried[id]; ok { // whose place is its parent's
			host, parent, tag = n.Object(Port, c.parent).str("binding:host_id"), c.parent, c.tag
		}
		same("port", id, "place", []any{string(x.Host), string(x.Parent), int(x.VLAN)}, []any{host, parent, tag})
		same("port", id, "QoS policy", string(x.QosPolicy), o.str("qos_policy_id"))
		same("port", id, "addresses", ips, want)
		same("port", id, "groups", groups, wantGroups)
	}
	diff = append(diff, s.differMore(n, r, count, same)...)
	return diff
}

// place is where a trunk has a port.
type place struct {
	parent string
	tag    int
}

// carried are the ports that trunks list.
func (n *Neutron) carried() map[string]place {
	out := map[string]place{}
	for _, id := range n.IDs(Trunk) {
		t := n.Object(Trunk, id)
		for _, s := range t.list("sub_ports") {
			s := Object(s.(map[string]any))
			out[s.str("port_id")] = place{t.str("port_id"), s["segmentation_id"].(int)}
		}
	}
	return out
}

func (s *server) differMore(n *Neutron, r *store.Snapshot, count func(string, int, int), same func(what, id, field string, have, want any)) []string {
	groups, rules, routers, floats, policies, trunks := 0, 0, 0, 0, 0, 0
	for range tables.QosPolicies.All(r) {
		policies++
	}
	for range tables.Trunks.All(r) {
		trunks++
	}
	count("QoS policies", policies, len(n.IDs(Policy)))
	count("trunks", trunks, len(n.IDs(Trunk)))
	for _, id := range n.IDs(Policy) {
		x, _ := tables.QosPolicies.Get(r, model.QosPolicyID(id))
		var have, want []any
		for _, q := range x.Rules {
			have = append(have, []any{string(q.ID), string(q.Kind), q.Value, q.Burst, string(q.Direction)})
		}
		for _, q := range n.Object(Policy, id).list("rules") {
			q := Object(q.(map[string]any))
			want = append(want, []any{q.id(), q.str("type"), q["max_kbps"], q["max_burst_kbps"], q.str("direction")})
		}
		same("QoS policy", id, "rules", have, want)
	}
	for _, id := range n.IDs(Trunk) {
		x, _ := tables.Trunks.Get(r, model.TrunkID(id))
		same("trunk", id, "parent", string(x.Port), n.Object(Trunk, id).str("port_id"))
	}
	for range tables.SecurityGroups.All(r) {
		groups++
	}
	for range tables.Rules.All(r) {
		rules++
	}
	for range tables.Routers.All(r) {
		routers++
	}
	for range tables.FloatingIPs.All(r) {
		floats++
	}
	count("groups", groups, len(n.IDs(Group)))
	count("rules", rules, len(n.IDs(Rule)))
	count("routers", routers, len(n.IDs(Router)))
	count("floating IPs", floats, len(n.IDs(FloatingIP)))
	number := func(p *int) any {
		if p == nil {
			return nil
		}
		return *p
	}
	for _, id := range n.IDs(Rule) {
		o := n.Object(Rule, id)
		x, _ := tables.Rules.Get(r, model.SecurityGroupRuleID(id))
		prefix := ""
		if x.RemotePrefix.IsValid() {
			prefix = x.RemotePrefix.String()
		}
		same("rule", id, "plane", []any{string(x.Group), string(x.Direction), x.Ethertype, number(x.PortMin), number(x.PortMax), prefix, string(x.RemoteGroup)},
			[]any{o.str("security_group_id"), o.str("direction"), o.str("ethertype"), o["port_range_min"], o["port_range_max"], o.str("remote_ip_prefix"),
				o.str("remote_group_id")})
	}
	for _, id := range n.IDs(Router) {
		o := n.Object(Router, id)
		x, _ := tables.Routers.Get(r, model.RouterID(id))
		same("router", id, "plane", []any{x.AdminStateUp, string(x.GatewayPort), len(x.Routes)},
			[]any{o["admin_state_up"], o.str("gw_port_id"), len(o.list("routes"))})
		_, placed := tables.Gateways.Get(r, model.RouterID(id))
		same("router", id, "has a gateway node", placed, o.str("gw_port_id") != "")
	}
	for _, id := range n.IDs(FloatingIP) {
		o := n.Object(FloatingIP, id)
		x, _ := tables.FloatingIPs.Get(r, model.FloatingIPID(id))
		fixed := ""
		if x.Fixed.IsValid() {
			fixed = x.Fixed.String()
		}
		same("floating IP", id, "plane", []any{string(x.Network), x.Addr.String(), string(x.Port), fixed, string(x.Router)},
			[]any{o.str("floating_network_id"), o.str("floating_ip_address"), o.str("port_id"), o.str("fixed_ip_address"), o.str("router_id")})
		holder, ok := tables.Ports.Get(r, x.FloatPort)
		same("floating IP", id, "its port", ok && holder.DeviceID == id, true)
	}
	return nil
}
