// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// fakeSwitches are switches that answer at once, and count how often they are asked for flows.
type fakeSwitches struct {
	connected map[model.NodeID]bool
	flows     []SwitchFlow
	links     []Link
	fail      error // of everything that is asked
	whole     int   // dumps of tables
	single    int   // of one flow
	broken    int   // after how many parts a dump fails; 0: it does not
}

func (s *fakeSwitches) NodeOf(r store.Reader, dpid uint64) (model.Node, bool) {
	for _, n := range tables.Nodes.All(r) {
		if n.DatapathID() == dpid {
			return n, true
		}
	}
	return model.Node{}, false
}

func (s *fakeSwitches) Standing(id model.NodeID) Standing {
	return Standing{Connected: s.connected[id], Wanted: 9, Confirmed: 8}
}
func (s *fakeSwitches) Links() []Link { return s.links }

func (s *fakeSwitches) Describe(context.Context, model.NodeID) (Description, error) {
	return Description{Manufacturer: "Nicira, Inc.", Hardware: "Open vSwitch", Software: "3.1.0", Serial: "None", Datapath: "None"}, s.fail
}

// only gives the entries that are asked for.
func only[T any](all []T, which *uint32, id func(T) uint32) []T {
	return slices.DeleteFunc(slices.Clone(all), func(x T) bool { return which != nil && id(x) != *which })
}

func (s *fakeSwitches) Ports(_ context.Context, _ model.NodeID, which *uint32) ([]SwitchPort, error) {
	return only([]SwitchPort{{No: 3, Name: "tap1", MAC: "fa:16:3e:00:00:01", Speed: 10000000, Live: true, RxPackets: 5, RxBytes: 1 << 40},
		{No: flow.PortLocal, Name: "br-int", MAC: "02:00:00:00:00:01", Down: true}}, which, func(p SwitchPort) uint32 { return p.No }), s.fail
}

func (s *fakeSwitches) Groups(_ context.Context, _ model.NodeID, which *uint32) ([]SwitchGroup, error) {
	g := flow.NewGroup(7, flow.GroupAll, flow.Bucket{Acts: []flow.Act{flow.Output(3)}}, flow.Bucket{Acts: []flow.Act{flow.PopVLAN(), flow.Output(4)}})
	return only([]SwitchGroup{{Group: g, Count: Count{1, 2, 3*time.Second + 4}, Users: 2, Buckets: []Count{{Packets: 1}, {Bytes: 2}}}}, which,
		func(g SwitchGroup) uint32 { return g.ID }), s.fail
}

func (s *fakeSwitches) Meters(_ context.Context, _ model.NodeID, which *uint32) ([]SwitchMeter, error) {
	return only([]SwitchMeter{{Meter: flow.Meter{ID: 4, Rate: 100, Burst: 10}, Count: Count{5, 6, time.Minute}, Users: 1, Bands: []Count{{7, 8, 0}}}}, which,
		func(m SwitchMeter) uint32 { return m.ID }), s.fail
}

func (s *fakeSwitches) Tables(context.Context, model.NodeID) (out []SwitchTable, err error) {
	for _, f := range s.flows {
		if i := slices.IndexFunc(out, func(t SwitchTable) bool { return t.ID == f.Table }); i >= 0 {
			out[i].Flows++
		} else {
			out = append(out, SwitchTable{ID: f.Table, Flows: 1, Lookups: 100, Matched: 99})
		}
	}
	return out, s.fail
}

func (s *fakeSwitches) Flows(_ context.Context, _ model.NodeID, table uint8, part func([]SwitchFlow) error) error {
	if s.whole++; s.fail != nil {
		return s.fail
	}
	parts := 0
	for _, f := range s.flows {
		if parts++; s.broken > 0 && parts > s.broken {
			return Unavailable(errors.New("node h1: cut"))
		}
		if f.Table == table {
			if err := part([]SwitchFlow{f}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *fakeSwitches) Flow(_ context.Context, _ model.NodeID, key flow.Key) (SwitchFlow, bool, error) {
	s.single++
	for _, f := range s.flows {
		if f.Key() == key && s.fail == nil {
			return f, true, nil
		}
	}
	return SwitchFlow{}, false, s.fail
}

// someFlows are of many forms.
func someFlows() (out []SwitchFlow) {
	for i, line := range []string{
		"table=0,priority=0 actions=drop",
		"table=0,priority=100,in_port=3,vlan_tci=0x0000/0x1fff actions=set_field:0x3->reg1,resubmit(,20)",
		"table=17,priority=50,ip,metadata=0x1/0xff,nw_dst=10.0.0.0/24 actions=dec_ttl,set_field:fa:16:3e:00:00:01->eth_dst,group:7",
		"table=17,priority=50,tcp6,reg5=0x7,ipv6_dst=2001:db8::1,tp_dst=0x50/0xfffe actions=ct(commit,table=21,zone=NXM_NX_REG6[0..15])",
		"table=220,priority=9,ct_state=+trk+est,conj_id=5,ip actions=meter:4,output:3",
	} {
		f, err := flow.ParseFlow(line)
		if err != nil {
			panic(err)
		}
		f.Cookie = 0x4e00000000000000 + uint64(i)
		out = append(out, SwitchFlow{Flow: f, Count: Count{uint64(i), 1 << 50, time.Duration(i)*time.Second + 5}, Rule: "r", Kind: "port", Object: portID})
	}
	out[0].Rule, out[0].Kind, out[0].Object, out[0].Idle, out[0].Hard = "", "", "", 3, 4
	return out
}

func withSwitches(s *fakeSwitches) func(*Config) { return func(c *Config) { c.Switches = s } }

const nodesURL = "/rests/data/opendaylight-inventory:nodes"

// switchWorld has one node with a switch and one without, and the id of the first.
func switchWorld(t testing.TB) (w *world, s *fakeSwitches, id string) {
	s = &fakeSwitches{connected: map[model.NodeID]bool{"h1": true}, flows: someFlows()}
	w = newWorld(t, withSwitches(s))
	n, absent := host("h1", nil), host("h2", nil)
	absent.Key, absent.OVSUUID = 2, "x"
	w.commit(func(tx *store.Txn) {
		putHost(n)(tx)
		putHost(absent)(tx)
		tables.Interfaces.Put(tx, model.InterfaceKey("h1", "tap1"), model.Interface{Node: "h1", Name: "tap1", OFPort: 3, Type: "tap"})
		tables.Interfaces.Put(tx, model.InterfaceKey("h1", "tap2"), model.Interface{Node: "h1", Name: "tap2", Type: "tap"})
	})
	return w, s, fmt.Sprintf("openflow:%d", n.DatapathID())
}

// TestInventory: what a switch holds, by OpenDaylight's names, and each thing by itself.
func TestInventory(t *testing.T) {
	w, s, id := switchWorld(t)
	node := nodesURL + "/node=" + url.PathEscape(id)
	var got struct {
		Nodes struct {
			Node []struct {
				ID        string `json:"id"`
				Software  string `json:"flow-node-inventory:software"`
				Name      string `json:"nagare-inventory:node"`
				Confirmed string `json:"nagare-inventory:confirmed-revision"`
				Ports     []struct {
					ID string `json:"id"`
				} `json:"node-connector"`
				Tables []struct {
					ID    int `json:"id"`
					Flows []struct {
						ID    string `json:"id"`
						Owner struct {
							Object string `json:"object"`
							Text   string `json:"text"`
						} `json:"nagare-inventory:owner"`
					} `json:"flow"`
				} `json:"flow-node-inventory:table"`
				Groups []any `json:"flow-node-inventory:group"`
				Meters []any `json:"flow-node-inventory:meter"`
			} `json:"node"`
		} `json:"opendaylight-inventory:nodes"`
	}
	a := w.get(nodesURL)
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.code != 200 || len(got.Nodes.Node) != 1 {
		t.Fatalf("%v %d %s", err, a.code, a.body)
	}
	n := got.Nodes.Node[0]
	if n.ID != id || n.Software != "3.1.0" || n.Name != "h1" || n.Confirmed != "8" || len(n.Groups) != 1 || len(n.Meters) != 1 || len(n.Tables) != 3 ||
		len(n.Ports) != 2 || n.Ports[0].ID != id+":3" || n.Ports[1].ID != id+":LOCAL" {
		t.Errorf("%s", a.body)
	}
	seen := 0
	for _, table := range n.Tables {
		for _, f := range table.Flows {
			if f.Owner.Text != s.flows[seen].String() || f.Owner.Object != s.flows[seen].Object {
				t.Errorf("flow %+v, want %v", f, s.flows[seen])
			}
			// The flow by its id alone: one flow is asked for, no table.
			before := s.whole
			one := w.get(fmt.Sprintf("%s/flow-node-inventory:table=%d/flow=%s", node, table.ID, strings.ReplaceAll(url.QueryEscape(f.ID), "+", "%20")))
			if list, _ := one.json["flow-node-inventory:flow"].([]any); one.code != 200 || len(list) != 1 || list[0].(map[string]any)["id"] != f.ID || s.whole != before {
				t.Errorf("flow %s: %d %s, %d dumps", f.ID, one.code, one.body, s.whole-before)
			}
			seen++
		}
	}
	if seen != len(s.flows) || s.single != seen {
		t.Errorf("%d flows, %d asked for, want %d", seen, s.single, len(s.flows))
	}
	w.want(node+"/node-connector="+url.PathEscape(id)+"%3A3/flow-node-inventory:name", 200, `{"flow-node-inventory:name":"tap1"}`)
	w.want(node+"/node-connector="+url.PathEscape(id)+"%3A3/opendaylight-port-statistics:flow-capable-node-connector-statistics/bytes", 200,
		`{"opendaylight-port-statistics:bytes":{"received":"1099511627776","transmitted":"0"}}`)
	w.want(node+"/flow-node-inventory:table=17?depth=2&fields=opendaylight-flow-table-statistics:flow-table-statistics/active-flows", 200,
		`{"flow-node-inventory:table":[{"id":17,"opendaylight-flow-table-statistics:flow-table-statistics":{}}]}`)
	w.want(node+"/flow-node-inventory:group=7/opendaylight-group-statistics:group-statistics/duration", 200, `{"opendaylight-group-statistics:duration":{"second":3,"nanosecond":4}}`)
	w.want(node+"/flow-node-inventory:meter=4/opendaylight-meter-statistics:meter-statistics/flow-count", 200, `{"opendaylight-meter-statistics:flow-count":1}`)
	w.want("/restconf/operational/opendaylight-inventory:nodes/node/"+id+"/table/17/flow/priority=50,ip,metadata=0x1%2F0xff,nw_dst=10.0.0.0%2F24/priority", 200, `{"priority":50}`)
	whole := s.whole
	w.want(nodesURL+"?fields=node/id", 200, `{"opendaylight-inventory:nodes":{"node":[{"id":"`+id+`"}]}}`)
	if s.whole != whole {
		t.Error("flows were asked for that nobody wants")
	}
	for _, path := range []string{"/node=openflow:99", "/node=openflow:0" + strings.TrimPrefix(id, "openflow:"), "/node=h1", "/node=openflow:%20",
		"/node=" + id + "/node-connector=" + id + ":4", "/node=" + id + "/node-connector=" + id + ":03", "/node=" + id + "/node-connector=openflow:1:3",
		"/node=" + id + "/flow-node-inventory:group=8", "/node=" + id + "/flow-node-inventory:meter=8", "/node=" + id + "/flow-node-inventory:table=9",
		"/node=" + id + "/flow-node-inventory:table=17/flow=priority%3D51", "/node=" + id + "/flow-node-inventory:table=0/flow=priority%3D0%20actions%3Ddrop",
		"/node=" + id + "/flow-node-inventory:table=0/flow=priority%3D00", "/node=" + id + "/flow-node-inventory:table=0/flow=%24"} {
		w.refused(w.get(nodesURL+path), 404, "data-missing")
	}
	w.refused(w.get(nodesURL+"?content=config"), 404, "data-missing")
	w.refused(w.get("/restconf/config/opendaylight-inventory:nodes"), 404, "data-missing")
}

// TestSwitchFailures: a switch that gives no answer is an error and never half an answer; one that is gone has nothing.
func TestSwitchFailures(t *testing.T) {
	w, s, id := switchWorld(t)
	node := nodesURL + "/node=" + id
	flowOne := node + "/flow-node-inventory:table=0/flow=priority%3D0"
	s.fail = Unavailable(errors.New("node h1: no answer"))
	for _, path := range []string{nodesURL, node, node + "/flow-node-inventory:table=17", node + "/flow-node-inventory:group=7", flowOne} {
		w.refused(w.get(path), 503, "resource-denied")
	}
	s.fail = TooMuch(errors.New("too many flows"))
	w.refused(w.get(node+"/flow-node-inventory:table=17/flow"), 413, "too-big")
	s.fail = ErrGone
	for _, path := range []string{nodesURL, node, flowOne} {
		w.refused(w.get(path), 404, "data-missing")
	}
	s.fail = nil

	// An answer that has begun is broken off, so that nobody takes it for whole.
	f := s.flows[1]
	for i := range 400 {
		f.Priority = uint16(1000 + i)
		s.flows = append(s.flows, f)
	}
	s.broken = 390
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.http.URL+node+"/flow-node-inventory:table=0", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("admin", "pw")
	res, err := w.http.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := jsonOf(res); err == nil {
		t.Error("half a table was given for a whole one")
	}
	s.broken = 10 // nothing has been sent yet: an error can still be told
	w.refused(w.get(node+"/flow-node-inventory:table=0"), 503, "resource-denied")
}

// TestLooks: only so many may read what switches hold at once, whatever they do with it.
func TestLooks(t *testing.T) {
	w, _, _ := switchWorld(t)
	for range maxLooks {
		w.srv.looks <- struct{}{}
	}
	a := w.get(nodesURL)
	w.refused(a, 503, "resource-denied")
	if a.header.Get("Retry-After") == "" {
		t.Errorf("%v", a.header)
	}
	w.want("/rests/data/network-topology:network-topology/topology=flow%3A1/topology-id", 200, `{"network-topology:topology-id":"flow:1"}`)
	<-w.srv.looks
	for range 2 {
		if a := w.get(nodesURL); a.code != 200 {
			t.Errorf("%d %s", a.code, a.body)
		}
	}
}

func jsonOf(res *http.Response) (v any, err error) {
	return v, json.NewDecoder(res.Body).Decode(&v)
}

// TestFlowTopology: connected switches, their ports, and the links between them.
func TestFlowTopology(t *testing.T) {
	w, s, id := switchWorld(t)
	far := host("h3", nil)
	far.Key, far.OVSUUID = 3, "y"
	w.commit(putHost(far))
	other := fmt.Sprintf("openflow:%d", far.DatapathID())
	s.links = []Link{{"h1", "h3", 3, 5}, {"h3", "h1", 5, 3}, {"h1", "h2", 4, 1}, {"h1", "gone", 4, 1}}
	const base = "/rests/data/network-topology:network-topology/topology=flow%3A1"
	w.refused(w.get(base+"/link"), 404, "data-missing")
	s.connected["h3"] = true
	link := func(from, to, out, in string) string {
		return `{"link-id":"` + out + `/` + in + `","source":{"source-node":"` + from + `","source-tp":"` + out + `"},"destination":{"dest-node":"` + to + `","dest-tp":"` + in + `"}}`
	}
	there, back := link(id, other, id+":3", other+":5"), link(other, id, other+":5", id+":3")
	w.want(base+"/link", 200, `{"network-topology:link":[`+there+`,`+back+`]}`)
	w.want(base+"/link="+url.PathEscape(other+":5/"+id+":3"), 200, `{"network-topology:link":[`+back+`]}`)
	w.want(base+"/node="+id+"/termination-point?fields=tp-id", 200, `{"network-topology:termination-point":[{"tp-id":"`+id+`:LOCAL"},{"tp-id":"`+id+`:3"}]}`)
	w.want(base+"/node="+id+"/termination-point="+id+":3", 200, `{"network-topology:termination-point":[{"tp-id":"`+id+`:3",`+
		`"opendaylight-topology-inventory:inventory-node-connector-ref":"/opendaylight-inventory:nodes/node[id='`+id+`']/node-connector[id='`+id+`:3']"}]}`)
	w.want(base+"/node="+id+"/opendaylight-topology-inventory:inventory-node-ref", 200,
		`{"opendaylight-topology-inventory:inventory-node-ref":"/opendaylight-inventory:nodes/node[id='`+id+`']"}`)
	for _, path := range []string{"/node=openflow:1", "/node=" + id + "/termination-point=" + id + ":4", "/link=x", "/node=openflow:1/termination-point"} {
		w.refused(w.get(base+path), 404, "data-missing")
	}
	w.refused(w.get("/rests/data/network-topology:network-topology/topology=ovsdb%3A1/link"), 404, "data-missing")
}

// TestFlowOfOperator: what an operator wrote is under one id in all that is shown, configured and held, and its tag is of what was written.
func TestFlowOfOperator(t *testing.T) {
	s := &fakeSwitches{connected: map[model.NodeID]bool{"compute": true}, flows: someFlows()}
	w, node := operatorWorld(t, &wanted{}, "standard")
	w.srv.cfg.Switches = s
	w.commit(func(tx *store.Txn) {
		n, _ := tables.Nodes.Get(tx, "compute")
		n.Approved = true
		tables.Nodes.Put(tx, n.ID, n)
	})
	at := nodesURL + "/node=" + node + "/flow-node-inventory:table=0/flow="
	w.send("PUT", at+"web", `{"flow-node-inventory:flow":[`+dropWeb+`]}`, 201)
	made := w.get(at + "web?content=config").header.Get("ETag")
	w.refused(w.get(at+"web?content=nonconfig"), 404, "data-missing")
	dp, _ := datapathOf(node)
	f, err := flow.ParseFlow(w.entryText(model.OperatorFlowID(dp, 0, "web")))
	if err != nil {
		t.Fatal(err)
	}
	s.flows = append(s.flows, SwitchFlow{Flow: f, Count: Count{Packets: 7}, Kind: operatorKind, Object: string(model.OperatorFlowID(dp, 0, "web")), Rule: "operator/entry"})
	const counted = "/opendaylight-flow-statistics:flow-statistics/packet-count"
	for _, content := range []string{"all", "nonconfig"} {
		w.want(at+"web"+counted+"?content="+content, 200, `{"opendaylight-flow-statistics:packet-count":"7"}`)
		list := w.get(strings.TrimSuffix(at, "=") + "?content=" + content)
		if strings.Count(list.body, `"id":"web"`) != 1 || strings.Count(list.body, `"id":"priority=0"`) != 1 || strings.Contains(list.body, `"id":"priority=40000`) {
			t.Errorf("content=%s: %s", content, list.body)
		}
	}
	w.refused(w.get(at+url.PathEscape(flowID(f.Key()))), 404, "data-missing") // one name for one flow
	a := w.get(at + "web")
	if tag := a.header.Get("ETag"); tag == "" || tag != made {
		t.Errorf("tag %q of what is configured and held, %q of what is configured", tag, made)
	}
	if a := w.do("admin", "GET", at+"web", "", "If-None-Match", made); a.code != 200 { // counters may have changed
		t.Errorf("%d", a.code)
	}
	if a := w.do("admin", "GET", at+"web?content=config", "", "If-None-Match", made); a.code != 304 {
		t.Errorf("%d", a.code)
	}
	w.send("PUT", at+"web", `{"flow-node-inventory:flow":[`+dropWeb+`]}`, 204, "If-Match", made)
	w.refused(w.do("admin", "PUT", at+"priority%3D0", `{"flow-node-inventory:flow":[`+strings.Replace(dropWeb, `"web"`, `"priority=0"`, 1)+`]}`), 400, "invalid-value")
}

// TestFlowIDs: an id finds the flow that it was made of, and no other spelling does.
func TestFlowIDs(t *testing.T) {
	for _, f := range someFlows() {
		if k, ok := parseFlowID(num(f.Table), flowID(f.Key())); !ok || k != f.Key() {
			t.Errorf("%v: %q gives %v %v", f, flowID(f.Key()), k, ok)
		}
	}
	for _, id := range []string{"", "priority=1,in_port=01", "in_port=1", "priority=1,table=3", "priority=1,,in_port=1", "priority=1 actions=drop", "cookie=1,priority=1", "priority=1,in_port=1,"} {
		if k, ok := parseFlowID("0", id); ok {
			t.Errorf("%q gives %v", id, k)
		}
	}
}
