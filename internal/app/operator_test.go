// SPDX-License-Identifier: Apache-2.0

package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"nagare/internal/api/admin"
	"nagare/internal/ovstest"
)

// operated is a server with one switch, of which an operator writes the configuration.
type operated struct {
	*running
	sw   *ovstest.Switch
	base string // of the switch's configuration
}

const operator = "admin:" + password

// nodes gives the one node when it is in sync.
func (o *operated) synced() (n admin.Node) {
	o.t.Helper()
	token := o.login("admin", password)
	if err := ovstest.Poll(time.Minute, func() error {
		_, _, b := o.try("GET", o.url(o.cfg.AdminPort)+"/nagare/v1/nodes", "", "X-Auth-Token", token)
		var st admin.Status
		_, _, s := o.try("GET", o.url(o.cfg.AdminPort)+"/nagare/v1/status", "", "X-Auth-Token", token)
		var got struct{ Nodes []admin.Node }
		if json.Unmarshal(b, &got) != nil || json.Unmarshal(s, &st) != nil || len(got.Nodes) != 1 {
			return fmt.Errorf("%s", b)
		}
		if n = got.Nodes[0]; !n.InSync || n.Confirmed < st.Revision {
			return fmt.Errorf("not in sync: %+v", n)
		}
		return nil
	}); err != nil {
		o.t.Fatal(err)
	}
	return n
}

func (o *operated) put(code int, path, body string) string {
	o.t.Helper()
	return o.want(code, "PUT", o.base+path, body, "basic", operator)
}

// holds waits until the switch has, or has not, a flow, group or meter, and gives its line of the dump.
func (o *operated) holds(dump, text string, want bool) (line string) {
	o.t.Helper()
	if err := ovstest.Poll(time.Minute, func() error {
		line = ""
		out, err := o.sw.TryOfctl(dump, "br-int")
		if err != nil {
			return err
		}
		for l := range strings.SplitSeq(out, "\n") {
			if strings.Contains(l, text) {
				line = l
			}
		}
		if (line != "") != want {
			return errors.New("not yet")
		}
		return nil
	}); err != nil {
		o.t.Fatalf("%s: %q is there: %v, want %v", dump, text, !want, want)
	}
	return line
}

// TestOperatorFlowsOnASwitch: what an operator writes appears on a real switch beside ours, is explained, healed, kept over a restart that
// sends nothing, and goes when it is removed; in both profiles.
func TestOperatorFlowsOnASwitch(t *testing.T) {
	for _, profile := range []string{classic, "standard"} {
		t.Run(profile, func(t *testing.T) { operatorFlows(t, profile) })
	}
}

func operatorFlows(t *testing.T, profile string) {
	cfg := testConfig(t)
	cfg.Profile = profile
	o := &operated{running: startServer(t, cfg, nil), sw: ovstest.Start(t)}
	o.sw.Vsctl("set", "Open_vSwitch", ".", "external_ids:hostname=h1", "external_ids:ovn-bridge-datapath-type=dummy", "other_config:local_ip=192.0.2.1")
	o.sw.Vsctl("set-manager", fmt.Sprintf("tcp:127.0.0.1:%d", cfg.OVSDBPort))
	o.holds("dump-flows", "table=110", true)
	n := o.synced()
	node := fmt.Sprintf("openflow:%d", 0x00006e6100000001)
	o.base = o.url(cfg.AdminPort) + "/rests/data/opendaylight-inventory:nodes/node=" + node + "/flow-node-inventory:"
	before := o.sw.Ofctl("dump-groups", "br-int") + o.sw.Ofctl("dump-meters", "br-int")

	o.put(201, "group=7", `{"flow-node-inventory:group":[{"group-id":7,"group-type":"group-all","buckets":{"bucket":[{"bucket-id":1,"action":[{"order":0,"output-action":{"output-node-connector":"2"}}]}]}}]}`)
	limit := ""
	if profile != classic {
		o.put(201, "meter=258050", `{"flow-node-inventory:meter":[{"meter-id":258050,"flags":"meter-pktps","meter-band-headers":{"meter-band-header":[{"band-id":0,"band-rate":10,"meter-band-types":{"flags":"ofpmbt-drop"}}]}}]}`)
		limit = `,{"order":2,"meter":{"meter-id":258050}}`
	}
	web := `{"flow-node-inventory:flow":[{"id":"web 1","priority":40000,"match":{"in-port":"` + node + `:3","ethernet-match":{"ethernet-type":{"type":2048}},"ip-match":{"ip-protocol":6},"tcp-destination-port":80},` +
		`"instructions":{"instruction":[{"order":0,"apply-actions":{"action":[{"order":0,"group-action":{"group-id":7}},{"order":1,"dec-nw-ttl":{}}]}},{"order":1,"go-to-table":{"table_id":20}}` + limit + `]}}]}`
	o.put(201, "table=0/flow=web%201", web)
	const match = "priority=40000,tcp,in_port=3,tp_dst=80 actions="
	line := o.holds("dump-flows", match, true)
	for _, part := range []string{"group:7,dec_ttl,goto_table:20", "cookie=0x4eff0001"} {
		if !strings.Contains(line, part) {
			t.Errorf("%s has no %s", line, part)
		}
	}
	o.holds("dump-groups", "group_id=7,", true)
	if n = o.synced(); len(n.Faults) > 0 {
		t.Errorf("faults %v", n.Faults)
	}

	// Whose it is: by the flow, and by the cookie alone.
	cookie, _, _ := strings.Cut(line[strings.Index(line, "0x"):], ",")
	token := o.login("admin", password)
	explain := o.url(cfg.AdminPort) + "/nagare/v1/nodes/h1/explain?"
	for _, question := range []string{"flow=" + url.QueryEscape("table=0,"+match+"drop"), "cookie=" + cookie} {
		answer := o.want(200, "GET", explain+question, "", "X-Auth-Token", token)
		for _, part := range []string{`"operator-entry"`, `"openflow:121338035441665/table=0/flow=web%201"`, `"admin"`, `PUT /rests/data/opendaylight-inventory:nodes`} {
			if part = strings.Replace(part, "openflow:121338035441665", node, 1); !strings.Contains(answer, part) {
				t.Errorf("%s: %s has no %s", question, answer, part)
			}
		}
	}

	// A place of ours is not theirs.
	if got := o.want(409, "PUT", o.base+"table=20/flow=miss", `{"flow":[{"id":"miss","priority":0}]}`, "basic", operator); !strings.Contains(got, "node h1") {
		t.Errorf("it does not say whose the place is: %s", got)
	}

	// Healed when somebody takes it away, and when somebody changes it.
	o.sw.Ofctl("--strict", "del-flows", "br-int", "table=0,priority=40000,tcp,in_port=3,tp_dst=80")
	o.holds("dump-flows", match, true)
	o.sw.Ofctl("--strict", "mod-flows", "br-int", "table=0,priority=40000,tcp,in_port=3,tp_dst=80,actions=drop")
	o.holds("dump-flows", match+"meter:258050,group:7,dec_ttl,goto_table:20", profile != classic)
	o.holds("dump-flows", match+"group:7,dec_ttl,goto_table:20", profile == classic)
	o.synced()

	// Over a restart, which sends nothing.
	o.stop()
	o.running = startServer(t, cfg, nil)
	if n = o.synced(); n.Sent.FlowMods+n.Sent.GroupMods+n.Sent.MeterMods != 0 {
		t.Errorf("the restart sent %+v", n.Sent)
	}
	o.holds("dump-flows", match, true)
	if got := o.want(200, "GET", o.base+"table=0/flow=web%201?content=config", "", "basic", operator); !strings.Contains(got, `"in-port":"`+node+`:3"`) || !strings.Contains(got, `"priority":40000`) {
		t.Errorf("after the restart it is read as %s", got)
	}

	// What the switch will not have is in fault, with the switch's reason, and holds up nothing else.
	o.put(201, "table=0/flow=far", `{"flow":[{"id":"far","priority":39998,"instructions":{"instruction":[{"order":0,"apply-actions":{"action":[{"order":0,"output-action":{"output-node-connector":"70000"}}]}}]}}]}`)
	o.put(201, "table=0/flow=later", `{"flow":[{"id":"later","priority":39999}]}`)
	o.holds("dump-flows", "priority=39999 actions=drop", true)
	n = o.synced()
	faults := o.want(200, "GET", strings.TrimSuffix(o.base, "flow-node-inventory:")+"nagare-inventory:fault?content=nonconfig", "", "basic", operator)
	if len(n.Faults) != 1 || n.Faults[0].Object != node+"/table=0/flow=far" || !strings.Contains(faults, "flow=far") || strings.Contains(faults, "flow=later") {
		t.Errorf("faults %v, %s", n.Faults, faults)
	}
	for _, name := range []string{"far", "later"} {
		o.want(204, "DELETE", o.base+"table=0/flow="+name, "", "basic", operator)
	}
	if n = o.synced(); len(n.Faults) > 0 {
		t.Errorf("faults are left: %v", n.Faults)
	}

	for _, path := range []string{"table=0/flow=web%201", "group=7", "meter=258050"} {
		if path == "meter=258050" && profile == classic {
			continue
		}
		o.want(204, "DELETE", o.base+path, "", "basic", operator)
	}
	o.holds("dump-flows", "cookie=0x4eff", false)
	o.holds("dump-groups", "group_id=7,", false)
	o.synced()
	if after := o.sw.Ofctl("dump-groups", "br-int") + o.sw.Ofctl("dump-meters", "br-int"); after != before {
		t.Errorf("groups and meters were\n%s\nand are\n%s", before, after)
	}
}
