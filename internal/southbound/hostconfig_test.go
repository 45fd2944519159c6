// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// TestReadHostConfigs: which keys of a node are host configurations, and under which type.
func TestReadHostConfigs(t *testing.T) {
	const p = hostConfigPrefix
	long := strings.Repeat("x", maxHostConfigBytes+1)
	many := map[string]string{}
	for i := range maxHostConfigs + 2 {
		many[fmt.Sprintf("%sk%02d", p, i)] = "{}"
	}
	for _, tt := range []struct {
		name    string
		ext     map[string]string
		want    map[string]string
		refused []string
	}{
		{"none", map[string]string{"hostname": "h", "odl_os_hostconfig_hostid": "h", "odl_os_hostconfig_config_other": "{}"}, nil, nil},
		{"verbatim", map[string]string{p + "l2": ` {"a": 1}`, p + "l3": "{}"}, map[string]string{"ODL L2": ` {"a": 1}`, "ODL L3": "{}"}, nil},
		{"cut at eight, in upper case", map[string]string{p + "abcdefghij": "1", p + "Mixed": "2"}, map[string]string{"ODL ABCDEFGH": "1", "ODL MIXED": "2"}, nil},
		{"cut between characters", map[string]string{p + "äöüäöüäöü": "1"}, map[string]string{"ODL ÄÖÜÄÖÜÄÖ": "1"}, nil},
		{"empty suffix", map[string]string{p: "{}"}, nil, nil},
		{"the same after the cut", map[string]string{p + "abcdefghj": "2", p + "abcdefghi": "1"}, map[string]string{"ODL ABCDEFGH": "1"}, []string{p + "abcdefghj"}},
		{"too long", map[string]string{p + "l2": long, p + "l3": "{}"}, map[string]string{"ODL L3": "{}"}, []string{p + "l2"}},
		{"not UTF-8", map[string]string{p + "l2": "\xff"}, nil, []string{p + "l2"}},
		{"empty value", map[string]string{p + "l2": ""}, map[string]string{"ODL L2": ""}, nil},
	} {
		got, refused := readHostConfigs(tt.ext)
		if !maps.Equal(got, tt.want) || !slices.Equal(refused, tt.refused) {
			t.Errorf("%s: %v, refused %v; want %v, %v", tt.name, got, refused, tt.want, tt.refused)
		}
	}
	if got, refused := readHostConfigs(many); len(got) != maxHostConfigs || len(refused) != 2 {
		t.Errorf("of %d keys %d were taken and %d refused", len(many), len(got), len(refused))
	}
}

// warnings keeps the lines of a log that warn.
type warnings struct {
	mu   sync.Mutex
	text string
}

func (w *warnings) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text += string(b)
	return len(b), nil
}

func (w *warnings) count(s string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Count(w.text, s)
}

// TestHostConfigsOfRealSwitch is the southbound half of H4 to H6 and of section 3.1: what an operator writes into a node's
// database is in its record; a silent node keeps it for the grace time, one that took another name does not.
func TestHostConfigsOfRealSwitch(t *testing.T) {
	log := &warnings{}
	s := newSiteWith(t, store.New(tables.Schema, nil), 0, 0, func(c *Config) {
		c.Timings.Grace = 2 * time.Second
		c.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	})
	sw := s.node("n1", "192.168.0.10")
	node := func(id model.NodeID) model.Node { n, _ := tables.Nodes.Get(s.st.Snapshot(), id); return n }
	has := func(want map[string]string) func() bool {
		return func() bool { return node("n1").ID != "" && maps.Equal(node("n1").HostConfigs, want) }
	}
	s.until("a node without keys", has(nil))
	set := func(pairs ...string) {
		sw.Vsctl(append([]string{"set", "Open_vSwitch", "."}, pairs...)...)
	}
	set(`external_ids:odl_os_hostconfig_config_odl_l2="{\"a\": [1]}"`)
	s.until("a key", has(map[string]string{"ODL L2": `{"a": [1]}`}))
	set(`external_ids:odl_os_hostconfig_config_odl_l2="{'a'}"`, `external_ids:odl_os_hostconfig_config_odl_l3="{}"`)
	s.until("changed, and one more", has(map[string]string{"ODL L2": `{'a'}`, "ODL L3": "{}"}))
	s.until("a warning", func() bool { return log.count("is not JSON") == 1 })
	sw.Vsctl("remove", "Open_vSwitch", ".", "external_ids", "odl_os_hostconfig_config_odl_l3")
	s.until("removed", has(map[string]string{"ODL L2": `{'a'}`}))
	if n := log.count("is not JSON"); n != 1 {
		t.Errorf("%d warnings of one value", n)
	}

	sw.Vsctl("del-manager")
	s.until("no session", func() bool { return !s.hub.Connected("n1") })
	if n := node("n1"); !n.Lost.IsZero() || len(n.HostConfigs) == 0 {
		t.Errorf("within the grace time: %+v", n)
	}
	s.until("lost", func() bool { return !node("n1").Lost.IsZero() && len(node("n1").HostConfigs) == 1 })
	sw.Vsctl("set-manager", fmt.Sprintf("tcp:127.0.0.1:%d", s.ovsdbPort))
	s.until("back", func() bool { return s.hub.Connected("n1") && node("n1").Lost.IsZero() })

	set("external_ids:odl_os_hostconfig_hostid=n2")
	if s.hub.Connected("nosuch") {
		t.Error("a node that nobody knows is connected")
	}
	s.until("it has another name", func() bool { return node("n2").HostConfigs["ODL L2"] == "{'a'}" })
	if n := node("n1"); n.Lost.IsZero() {
		t.Errorf("the name that it left: %+v", n)
	}
}

// TestLostIsTakenBack: a node that came back while its loss was being recorded is not lost.
func TestLostIsTakenBack(t *testing.T) {
	s := newSite(t, store.New(tables.Schema, nil), 0, 0)
	s.fake("a")
	s.synced(1)
	s.hub.mu.Lock()
	s.hub.nodes["a"].lost = true // as if it had been found lost just before it came
	s.hub.mu.Unlock()
	if err := s.hub.recordLost(t.Context(), []model.NodeID{"a"}); err != nil {
		t.Fatal(err)
	}
	if n, _ := tables.Nodes.Get(s.st.Snapshot(), "a"); !n.Lost.IsZero() {
		t.Errorf("a node with a session counts as lost: %+v", n)
	}
}
