// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// wanted is a Desired with a few answers.
type wanted struct {
	owners map[string]string // flow's place -> object
	faults map[model.OperatorEntryID]string
}

func (d *wanted) Owner(_ context.Context, node model.NodeID, k flow.Key) (kind, object string, ok bool, err error) {
	object, ok = d.owners[fmt.Sprintf("%s %s", node, k.Flow(0, ""))]
	return "port", object, ok, nil
}

func (d *wanted) Faults(context.Context, model.NodeID) (map[model.OperatorEntryID]string, error) {
	return d.faults, nil
}

// operatorWorld is a server with one node, whose switch is openflow:<sw>.
func operatorWorld(t testing.TB, d *wanted, profile string) (w *world, node string) {
	t.Helper()
	w = newWorldOn(t, store.New(tables.Schema, nil), func(c *Config) { c.Desired, c.Profile = d, profile })
	n := model.Node{ID: "compute", NodePlane: model.NodePlane{Key: 7}}
	if _, err := w.st.Commit(t.Context(), store.Origin{}, func(tx *store.Txn) error {
		tables.Nodes.Put(tx, n.ID, n)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return w, model.SwitchID(n.DatapathID())
}

func (w *world) entryText(id model.OperatorEntryID) string {
	e, ok := tables.OperatorEntries.Get(w.st.Snapshot(), id)
	if !ok {
		return ""
	}
	return e.Text
}

const dropWeb = `{"id":"web","table_id":0,"priority":40000,"cookie":"77","flow-name":"no web","match":{"in-port":"3","ethernet-match":{"ethernet-type":{"type":2048}},"ip-match":{"ip-protocol":6},"tcp-destination-port":80},` +
	`"instructions":{"instruction":[{"order":0,"apply-actions":{"action":[{"order":0,"drop-action":{}}]}}]}}`

// TestOperatorFlow: a flow is written in both dialects by all methods, is read as it was written, and becomes what is wanted.
func TestOperatorFlow(t *testing.T) {
	for _, d := range []struct {
		old                              bool
		made, replaced, posted, gone     int
		base, table, flow, group, prefix string
	}{
		{true, 201, 200, 204, 200, "/restconf/config/opendaylight-inventory:nodes/node/", "/flow-node-inventory:table/0", "/flow/", "/flow-node-inventory:group/", ""},
		{false, 201, 204, 201, 204, "/rests/data/opendaylight-inventory:nodes/node=", "/flow-node-inventory:table=0", "/flow=", "/flow-node-inventory:group=", "flow-node-inventory:"},
	} {
		w, node := operatorWorld(t, &wanted{}, "standard")
		dp, _ := datapathOf(node)
		key := node
		if !d.old {
			key = strings.ReplaceAll(node, ":", "%3A")
		}
		table := d.base + key + d.table
		at := table + d.flow + "web"
		id := model.OperatorFlowID(dp, 0, "web")
		w.refused(w.get(at+query(d.old)), 404, "data-missing")
		w.send("PUT", at, `{"flow-node-inventory:flow":[`+dropWeb+`]}`, d.made)
		const text = "table=0,priority=40000,tcp,in_port=3,tp_dst=80 actions=drop"
		if got := w.entryText(id); got != text {
			t.Errorf("wanted %q, not %q", got, text)
		}
		var got map[string][]json.RawMessage
		if a := w.get(at + query(d.old)); json.Unmarshal([]byte(a.body), &got) != nil || len(got[d.prefix+"flow"]) != 1 || !sameJSON(t, string(got[d.prefix+"flow"][0]), dropWeb) {
			t.Errorf("it is read as %s", a.body)
		}
		w.send("PUT", at, `{"flow":[`+strings.Replace(dropWeb, "40000", "40001", 1)+`]}`, d.replaced)
		w.send("PATCH", at, `{"flow":{"id":"web","priority":39999}}`, d.replaced)
		if got := w.entryText(id); !strings.Contains(got, "priority=39999,tcp") {
			t.Errorf("after PATCH: %s", got)
		}
		w.send("PUT", at+"/priority", `{"`+d.prefix+`priority":39998}`, d.replaced)
		w.send("DELETE", at+"/match/in-port", "", d.gone)
		if got := w.entryText(id); got != "table=0,priority=39998,tcp,tp_dst=80 actions=drop" {
			t.Errorf("after changes within: %s", got)
		}
		w.send("POST", table, `{"flow":[`+strings.Replace(dropWeb, `"web"`, `"web/2"`, 1)+`]}`, d.posted)
		if got := w.entryText(model.OperatorFlowID(dp, 0, "web/2")); got != text {
			t.Errorf("after POST: %q", got)
		}
		w.refused(w.do("admin", "POST", table, `{"flow":[`+dropWeb+`]}`), 409, "data-exists")
		for path, want := range map[string]int{d.base[:len(d.base)-len("/node=")]: 2, d.base + key: 2, table: 2} {
			if a := w.get(path + query(d.old)); a.code != 200 || strings.Count(a.body, `"flow-name":"no web"`) != want {
				t.Errorf("%s: %d %s", path, a.code, a.body)
			}
		}
		w.send("DELETE", at, "", d.gone)
		w.refused(w.do("admin", "DELETE", at, ""), 404, "data-missing")
		w.refused(w.get(at+query(d.old)), 404, "data-missing")
		w.send("DELETE", table+d.flow+"web%2F2", "", d.gone)
		if n := tables.OperatorEntries.Len(w.st.Snapshot()); n != 0 {
			t.Errorf("%d entries are left", n)
		}
		w.refused(w.get(table+query(d.old)), 404, "data-missing")
	}
}

func query(old bool) string {
	if old {
		return ""
	}
	return "?content=config"
}

// TestOperatorGroupsAndMeters: a flow names groups and meters that are there, and these stay while it does.
func TestOperatorGroupsAndMeters(t *testing.T) {
	w, node := operatorWorld(t, &wanted{}, "standard")
	dp, _ := datapathOf(node)
	base := "/rests/data/opendaylight-inventory:nodes/node=" + node + "/flow-node-inventory:"
	group := `{"group":[{"group-id":5,"group-type":"group-all","buckets":{"bucket":[{"bucket-id":0,"action":[{"order":0,"output-action":{"output-node-connector":"1"}}]}]}}]}`
	meter := `{"meter":[{"meter-id":258050,"flags":"meter-pktps","meter-band-headers":{"meter-band-header":[{"band-id":0,"band-rate":10,"meter-band-types":{"flags":"ofpmbt-drop"}}]}}]}`
	user := `{"flow":[{"id":"1","instructions":{"instruction":[{"order":0,"apply-actions":{"action":[{"order":0,"group-action":{"group-id":5}},{"order":1,"output-action":{"output-node-connector":"CONTROLLER"}}]}},{"order":1,"meter":{"meter-id":258050}}]}}]}`
	at := base + "table=1/flow=1"
	for range 2 {
		a := w.do("admin", "PUT", at, user)
		if w.refused(a, 400, "invalid-value"); !strings.Contains(a.body, "group-id") && !strings.Contains(a.body, "meter-id") {
			t.Errorf("no leaf is named: %s", a.body)
		}
		w.send("PUT", base+"group=5", group, 201)
		w.send("PUT", base+"meter=258050", meter, 201)
		w.send("PUT", at, user, 201)
		if got := w.entryText(model.OperatorFlowID(dp, 1, "1")); got != "table=1,priority=32768 actions=meter:258050,group:5,CONTROLLER:65535" {
			t.Errorf("wanted %s", got)
		}
		w.refused(w.do("admin", "DELETE", base+"group=5", ""), 409, "in-use")
		w.refused(w.do("admin", "DELETE", base+"meter=258050", ""), 409, "in-use")
		w.send("DELETE", at, "", 204)
		w.send("DELETE", base+"group=5", "", 204)
		w.send("DELETE", base+"meter=258050", "", 204)
	}
}

// TestOperatorRefused: what no switch could hold, or takes part in what is ours, is refused by its leaf, and nothing changes.
func TestOperatorRefused(t *testing.T) {
	d := &wanted{owners: map[string]string{"compute table=0,priority=32768,in_port=2 actions=drop": "aaaa-port"}}
	w, node := operatorWorld(t, d, "standard")
	base := "/rests/data/opendaylight-inventory:nodes/node=" + node + "/flow-node-inventory:"
	apply := func(actions string) string {
		return `"instructions":{"instruction":[{"order":0,"apply-actions":{"action":[` + actions + `]}}]}`
	}
	ovs := func(text string) string { return apply(`{"order":0,"nagare-inventory:ovs-action":"` + text + `"}`) }
	w.send("PUT", base+"table=0/flow=there", `{"flow":[{"id":"there","priority":5}]}`, 201)
	before := w.st.Snapshot()
	for _, c := range []struct {
		path, body string
		status     int
		tag, leaf  string
	}{
		{"table=0/flow=x", `{"id":"y"}`, 400, "invalid-value", "keys"},
		{"table=0/flow=x", `{"id":"x","table_id":4}`, 400, "invalid-value", "table_id"},
		{"table=0/flow=x", `{"id":"x","priority":70000}`, 400, "invalid-value", "priority"},
		{"table=0/flow=x", `{"id":"x","speed":1}`, 400, "unknown-element", "speed"},
		{"table=199/flow=x", `{"id":"x"}`, 400, "invalid-value", "table 199"},
		{"table=300/flow=x", `{"id":"x"}`, 400, "invalid-value", "table"},
		{"table=0/flow=x", `{"id":"x","idle-timeout":5}`, 400, "invalid-value", "idle-timeout"},
		{"table=0/flow=x", `{"id":"x","hard-timeout":5}`, 400, "invalid-value", "hard-timeout"},
		{"table=0/flow=x", `{"id":"x","flags":"SEND_FLOW_REM"}`, 400, "invalid-value", "flags"},
		{"table=0/flow=x", `{"id":"x","match":{"ipv4-source":"10.0.0.0/8"}}`, 400, "invalid-value", "match/ipv4-source"},
		{"table=0/flow=x", `{"id":"x","match":{"in-port":"NORMAL"}}`, 400, "invalid-value", "match/in-port"},
		{"table=0/flow=x", `{"id":"x","match":{"nagare-inventory:field":[{"name":"conj_id","value":"5"}]}}`, 400, "invalid-value", "conj_id"},
		{"table=0/flow=x", `{"id":"x","instructions":{"instruction":[{"order":0,"go-to-table":{"table_id":0}}]}}`, 400, "invalid-value", "go-to-table/table_id"},
		{"table=20/flow=x", `{"id":"x","instructions":{"instruction":[{"order":0,"go-to-table":{"table_id":1}}]}}`, 400, "invalid-value", "go-to-table/table_id"},
		{"table=0/flow=x", `{"id":"x","instructions":{"instruction":[{"order":0,"go-to-table":{"table_id":150}}]}}`, 400, "invalid-value", "go-to-table/table_id"},
		{"table=0/flow=x", `{"id":"x","instructions":{"instruction":[{"order":0,"meter":{"meter-id":5}}]}}`, 400, "invalid-value", "meter/meter-id"},
		{"table=0/flow=x", `{"id":"x",` + apply(`{"order":0,"group-action":{"group-id":5}}`) + `}`, 400, "invalid-value", "group-action/group-id"},
		{"table=0/flow=x", `{"id":"x",` + apply(`{"order":0,"output-action":{"output-node-connector":"TABLE"}}`) + `}`, 400, "invalid-value", "output-node-connector"},
		{"table=0/flow=x", `{"id":"x",` + apply(`{"order":0,"output-action":{"output-node-connector":"CONTROLLER"}}`) + `}`, 400, "invalid-value", "output-node-connector"},
		{"table=0/flow=x", `{"id":"x",` + ovs("conjunction(1,1/2)") + `}`, 400, "invalid-value", "ovs-action"},
		{"table=20/flow=x", `{"id":"x",` + ovs("resubmit(,1)") + `}`, 400, "invalid-value", "ovs-action"},
		{"table=20/flow=x", `{"id":"x",` + ovs("clone(resubmit(,20))") + `}`, 400, "invalid-value", "ovs-action"},
		{"table=20/flow=x", `{"id":"x",` + ovs("controller(userdata=00)") + `}`, 400, "invalid-value", "ovs-action"},
		{"table=20/flow=x", `{"id":"x","match":{"ethernet-match":{"ethernet-type":{"type":2048}}},` + ovs("ct(table=5)") + `}`, 400, "invalid-value", "ovs-action"},
		{"table=0/flow=x", `{"id":"x","instructions":{"instruction":[{"order":0,"write-actions":{"action":[{"order":0,"nagare-inventory:ovs-action":"exit"}]}}]}}`, 400, "invalid-value", "write-actions"},
		{"table=0/flow=x", `{"id":"x","match":{"in-port":"2"}}`, 409, "in-use", "aaaa-port"},
		{"table=0/flow=x", `{"id":"x","priority":5}`, 409, "in-use", "table=0/flow=there"},
		{"group=0", `{"group-id":0}`, 400, "invalid-value", "group-id"},
		{"group=16777217", `{"group-id":16777217}`, 400, "invalid-value", "group-id"},
		{"group=5", `{"group-id":5,"group-type":"group-indirect"}`, 400, "invalid-value", "group=5"},
		{"group=5", `{"group-id":5,"buckets":{"bucket":[{"bucket-id":0,"action":[{"order":0,"group-action":{"group-id":6}}]}]}}`, 400, "invalid-value", "group-action"},
		{"group=5", `{"group-id":5,"buckets":{"bucket":[{"bucket-id":0,"action":[{"order":0,"nagare-inventory:ovs-action":"resubmit(,20)"}]}]}}`, 400, "invalid-value", "ovs-action"},
		{"meter=5", `{"meter-id":5,"meter-band-headers":{"meter-band-header":[{"band-id":0,"band-rate":5}]}}`, 400, "invalid-value", "meter-id"},
		{"meter=258050", `{"meter-id":258050,"meter-band-headers":{"meter-band-header":[{"band-id":0,"band-rate":0}]}}`, 400, "invalid-value", "band-rate"},
	} {
		list, _, _ := strings.Cut(c.path, "=")
		if list == "table" {
			list = "flow"
		}
		a := w.do("admin", "PUT", base+c.path, `{"`+list+`":[`+c.body+`]}`)
		w.refused(a, c.status, c.tag)
		if leaf := strings.Replace(c.leaf, "group=5", "group", 1); !strings.Contains(a.body, leaf) {
			t.Errorf("%s %s: %s does not name %s", c.path, c.body, a.body, c.leaf)
		}
	}
	w.refused(w.do("admin", "PUT", "/rests/data/opendaylight-inventory:nodes/node=openflow:5/flow-node-inventory:table=0/flow=x", `{"flow":[{"id":"x"}]}`), 404, "data-missing")
	w.refused(w.do("admin", "PUT", "/rests/data/opendaylight-inventory:nodes/node=compute/flow-node-inventory:table=0/flow=x", `{"flow":[{"id":"x"}]}`), 400, "invalid-value")
	if now := w.st.Snapshot(); now.Revision() != before.Revision() {
		t.Errorf("revision %d became %d", before.Revision(), now.Revision())
	}
	// In classic there is neither a table 1 nor a limit on packets for the controller.
	w, node = operatorWorld(t, &wanted{}, "classic")
	base = "/rests/data/opendaylight-inventory:nodes/node=" + node + "/flow-node-inventory:"
	w.refused(w.do("admin", "PUT", base+"table=1/flow=x", `{"flow":[{"id":"x"}]}`), 400, "invalid-value")
	w.send("PUT", base+"table=0/flow=x", `{"flow":[{"id":"x",`+apply(`{"order":0,"output-action":{"output-node-connector":"CONTROLLER"}}`)+`}]}`, 201)
}

// TestOperatorAccess: administrators write, and nobody else.
func TestOperatorAccess(t *testing.T) {
	w, node := operatorWorld(t, &wanted{}, "standard")
	at := "/rests/data/opendaylight-inventory:nodes/node=" + node + "/flow-node-inventory:table=0/flow=x"
	for _, who := range []string{"nova", "viewer", "tenant"} {
		w.refused(w.do(who, "PUT", at, `{"flow":[{"id":"x","priority":5}]}`), 403, "access-denied")
	}
	w.send("PUT", at, `{"flow":[{"id":"x","priority":5}]}`, 201)
	for _, who := range []string{"nova", "viewer", "tenant"} {
		w.refused(w.do(who, "DELETE", at, ""), 403, "access-denied")
	}
	if a := w.do("viewer", "GET", at+"?content=config", ""); a.code != 200 {
		t.Errorf("a reader of the whole system gets %d", a.code)
	}
}

// TestOperatorWriters: two who write one entry by If-Match; the second must read it anew.
func TestOperatorWriters(t *testing.T) {
	w, node := operatorWorld(t, &wanted{}, "standard")
	at := "/rests/data/opendaylight-inventory:nodes/node=" + node + "/flow-node-inventory:table=0/flow=x"
	w.send("PUT", at, `{"flow":[{"id":"x","priority":5}]}`, 201, "If-None-Match", "*")
	w.refused(w.do("admin", "PUT", at, `{"flow":[{"id":"x","priority":6}]}`, "If-None-Match", "*"), 412, "operation-failed")
	tag := w.get(at + "?content=config").header.Get("ETag")
	if tag == "" {
		t.Fatal("no ETag")
	}
	w.send("PUT", at, `{"flow":[{"id":"x","priority":6}]}`, 204, "If-Match", tag)
	w.refused(w.do("admin", "PUT", at, `{"flow":[{"id":"x","priority":7}]}`, "If-Match", tag), 412, "operation-failed")
	dp, _ := datapathOf(node)
	if got := w.entryText(model.OperatorFlowID(dp, 0, "x")); got != "table=0,priority=6 actions=drop" {
		t.Error(got)
	}
}

// TestOperatorFaults: what is not carried out is in the operational data, with the reason.
func TestOperatorFaults(t *testing.T) {
	d := &wanted{}
	w, node := operatorWorld(t, d, "standard")
	dp, _ := datapathOf(node)
	at := "/rests/data/opendaylight-inventory:nodes/node=" + node + "/nagare-inventory:fault"
	w.refused(w.get(at+"?content=nonconfig"), 404, "data-missing")
	d.faults = map[model.OperatorEntryID]string{model.OperatorFlowID(dp, 0, "x"): "the place is taken"}
	if a := w.get(at + "?content=nonconfig"); a.code != 200 || !strings.Contains(a.body, "the place is taken") || !strings.Contains(a.body, "table=0/flow=x") {
		t.Errorf("%d %s", a.code, a.body)
	}
	w.refused(w.do("admin", "DELETE", at, ""), 405, "operation-not-supported")
}

// TestOperatorXML: the form in which OpenDaylight's own tests write flows.
func TestOperatorXML(t *testing.T) {
	w, node := operatorWorld(t, &wanted{}, "classic")
	dp, _ := datapathOf(node)
	at := "/restconf/config/opendaylight-inventory:nodes/node/" + node + "/table/0/flow/1"
	w.send("PUT", at, `<?xml version="1.0" encoding="UTF-8" standalone="no"?><flow xmlns="urn:opendaylight:flow:inventory"><strict>false</strict>
		<instructions><instruction><order>0</order><apply-actions><action><order>0</order><output-action><output-node-connector>2</output-node-connector><max-length>60</max-length></output-action></action></apply-actions></instruction></instructions>
		<table_id>0</table_id><id>1</id><cookie_mask>255</cookie_mask><installHw>false</installHw><match><ethernet-match><ethernet-type><type>2048</type></ethernet-type></ethernet-match>
		<ipv4-destination>10.0.10.2/24</ipv4-destination></match><hard-timeout>0</hard-timeout><cookie>1</cookie><idle-timeout>0</idle-timeout><flow-name>f</flow-name><priority>2</priority><barrier>false</barrier></flow>`,
		201, "Content-Type", "application/xml")
	if got := w.entryText(model.OperatorFlowID(dp, 0, "1")); got != "table=0,priority=2,ip,nw_dst=10.0.10.0/24 actions=output:2" {
		t.Errorf("wanted %s", got)
	}
	if a := w.do("admin", "GET", at, "", "Accept", "application/xml"); a.code != 200 || !strings.Contains(a.body, "<ipv4-destination>10.0.10.2/24</ipv4-destination>") {
		t.Errorf("%d %s", a.code, a.body)
	}
}
