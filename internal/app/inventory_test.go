// SPDX-License-Identifier: Apache-2.0

package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"nagare/internal/flow"
	"nagare/internal/ovstest"
)

// TestInventoryOfOpenVSwitch: what RESTCONF shows of a real switch is what its own tools show, flow for flow, and libyang finds it valid.
func TestInventoryOfOpenVSwitch(t *testing.T) {
	cfg := testConfig(t)
	r := startServer(t, cfg, nil)
	sw := ovstest.Start(t)
	sw.Vsctl("set", "Open_vSwitch", ".", "external_ids:hostname=h1", "external_ids:ovn-bridge-datapath-type=dummy", "other_config:local_ip=192.0.2.1")
	sw.Vsctl("set-manager", fmt.Sprintf("tcp:127.0.0.1:%d", cfg.OVSDBPort))
	const basic = "admin:" + password
	nodes := r.url(cfg.AdminPort) + "/rests/data/opendaylight-inventory:nodes"
	type entry struct {
		ID    string `json:"id"`
		Stats struct {
			Packets string `json:"packet-count"`
		} `json:"opendaylight-flow-statistics:flow-statistics"`
		Owner struct{ Rule, Text string } `json:"nagare-inventory:owner"`
	}
	type node struct {
		ID        string           `json:"id"`
		Software  string           `json:"flow-node-inventory:software"`
		Wanted    string           `json:"nagare-inventory:desired-revision"`
		Confirmed string           `json:"nagare-inventory:confirmed-revision"`
		Meters    []map[string]any `json:"flow-node-inventory:meter"`
		Ports     []struct {
			ID   string
			Name string `json:"flow-node-inventory:name"`
		} `json:"node-connector"`
		Tables []struct {
			ID    int
			Flow  []entry
			Stats struct {
				Active int `json:"active-flows"`
			} `json:"opendaylight-flow-table-statistics:flow-table-statistics"`
		} `json:"flow-node-inventory:table"`
	}
	var n node
	var body []byte
	if err := ovstest.Poll(time.Minute, func() error {
		code, _, b := r.try("GET", nodes, "", "basic", basic)
		var got struct {
			Nodes struct{ Node []node } `json:"opendaylight-inventory:nodes"`
		}
		if code != 200 || json.Unmarshal(b, &got) != nil || len(got.Nodes.Node) != 1 {
			return fmt.Errorf("%d %s", code, b)
		}
		n, body = got.Nodes.Node[0], b
		if n.Confirmed == "0" || n.Confirmed != n.Wanted || len(n.Tables) < 10 {
			return errors.New("the switch is not yet filled")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if n.ID != "openflow:"+strconv.FormatUint(0x00006e6100000001, 10) || n.Software != "3.1.0" || len(n.Meters) == 0 ||
		!slices.ContainsFunc(n.Ports, func(p struct {
			ID   string
			Name string `json:"flow-node-inventory:name"`
		}) bool {
			return p.ID == n.ID+":LOCAL" && p.Name == "br-int"
		}) {
		t.Errorf("node %s %s, %d meters, ports %v", n.ID, n.Software, len(n.Meters), n.Ports)
	}
	dump, err := flow.Normalise(sw.Ofctl("dump-flows", "br-int"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, table := range n.Tables {
		if table.Stats.Active != len(table.Flow) {
			t.Errorf("table %d has %d flows, and says %d", table.ID, len(table.Flow), table.Stats.Active)
		}
		for _, f := range table.Flow {
			got[f.Owner.Text] = true
			if f.Owner.Rule == "" || f.Stats.Packets == "" {
				t.Errorf("flow %+v", f)
			}
			one := r.want(200, "GET", fmt.Sprintf("%s/node=%s/flow-node-inventory:table=%d/flow=%s", nodes, n.ID, table.ID, strings.ReplaceAll(url.QueryEscape(f.ID), "+", "%20")), "", "basic", basic)
			if !strings.Contains(one, strconv.Quote(f.ID)) {
				t.Errorf("flow %s by itself: %s", f.ID, one)
			}
		}
	}
	if text := slices.Sorted(maps.Keys(got)); !slices.Equal(text, slices.Sorted(slices.Values(dump))) {
		t.Errorf("RESTCONF shows %d flows\n%s\nand the switch %d\n%s", len(text), strings.Join(text, "\n"), len(dump), strings.Join(dump, "\n"))
	}
	// What an operator writes is on the switch under the id that it was given.
	mine := fmt.Sprintf("%s/node=%s/flow-node-inventory:table=1/flow=mine", nodes, n.ID)
	r.want(201, "PUT", mine, `{"flow-node-inventory:flow":[{"id":"mine","priority":7,"match":{"ethernet-match":{"ethernet-type":{"type":2048}}}}]}`, "basic", basic,
		"Content-Type", "application/yang-data+json")
	if err := ovstest.Poll(time.Minute, func() error {
		code, _, b := r.try("GET", mine+"?content=nonconfig", "", "basic", basic)
		if code != 200 || !strings.Contains(string(b), `"packet-count":"0"`) || !strings.Contains(string(b), `"text":"table=1,priority=7,ip actions=drop"`) {
			return fmt.Errorf("%d %s", code, b)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	body = []byte(r.want(200, "GET", nodes, "", "basic", basic))
	modules, err := filepath.Glob("../yang/modules/*.yang")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "nodes.json")
	if err := os.WriteFile(file, body, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("yanglint", append([]string{"-p", "../yang/modules", "-t", "get"}, append(modules, file)...)...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
	sw.StopVswitchd()
	if err := ovstest.Poll(time.Minute, func() error {
		if code, _, b := r.try("GET", nodes+"?content=nonconfig", "", "basic", basic); code != 404 {
			return fmt.Errorf("without a switch: %d %.200s", code, b)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}
