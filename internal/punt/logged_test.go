// SPDX-License-Identifier: Apache-2.0

package punt

import (
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// logFrames are frames to 10.0.0.9 or fd00::9, and what a record says of their headers.
var logFrames = []struct{ name, hex, want string }{
	{"tcp", "020000000009 020000000001 0800 45000028 00004000 40060000 0a000005 0a000009 1f90 0050 00000000 00000000 5002 0000 00000000",
		`"eth_type":2048,"src":"10.0.0.5","dst":"10.0.0.9","protocol":6,"src_port":8080,"dst_port":80,"tcp_flags":2,"length":40`},
	{"icmp", "020000000009 020000000001 0800 4500001c 00000000 40010000 0a000005 0a000009 0800 0000 00000000",
		`"eth_type":2048,"src":"10.0.0.5","dst":"10.0.0.9","protocol":1,"icmp_type":8,"icmp_code":0,"length":28`},
	{"later fragment", "020000000009 020000000001 0800 4500001c 00000001 40110000 0a000005 0a000009 0800 0000 00000000",
		`"eth_type":2048,"src":"10.0.0.5","dst":"10.0.0.9","protocol":17,"length":28`},
	{"udp6 behind options and a fragment header", "020000000009 020000000001 86dd 60000000 0018 00 40 fd000000000000000000000000000005 fd000000000000000000000000000009 2c00000000000000 1100000100000000 0035 0036 0008 0000",
		`"eth_type":34525,"src":"fd00::5","dst":"fd00::9","protocol":17,"src_port":53,"dst_port":54,"length":64`},
	{"arp", "ffffffffffff 020000000001 0806 0001 0800 06 04 0001 020000000001 0a000005 000000000000 0a000009",
		`"eth_type":2054,"src":"10.0.0.5","dst":"10.0.0.9"`},
	{"cut off", "020000000009 020000000001 0800 45", `"eth_type":2048`},
	{"other", "020000000009 020000000001 88cc 00", `"eth_type":35020`},
}

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// logged is a cloud whose port 1, on node a, has logs of each kind and a group with a rule.
func logged(t testing.TB) (*store.Store, model.Port) {
	p := vm(1)
	p.Key, p.PortSecurity, p.SecurityGroups, p.Project = 21, true, []model.SecurityGroupID{"g"}, "p"
	st := cloud(t, 0, func(tx *store.Txn) {
		put(tx, p)
		for id, g := range map[model.SecurityGroupRuleID]model.SecurityGroupID{"r-g": "g", "r-other": "other"} {
			tables.Rules.Put(tx, id, model.SecurityGroupRule{ID: id, RulePlane: model.RulePlane{Group: g, Direction: model.Ingress, Key: model.Key(len(g))}})
		}
		for id, l := range map[model.LogID]model.LogPlane{"all": {Event: model.LogAll, Port: p.ID}, "drop": {Event: model.LogDrop, Group: "g"}, "accept": {Event: model.LogAccept, Group: "g"},
			"off": {Event: model.LogAll, Port: p.ID}, "foreign": {Event: model.LogAll, Group: "other"}} {
			l.Enabled = id != "off"
			tables.Logs.Put(tx, id, model.Log{ID: id, LogPlane: l})
		}
	})
	return st, p
}

func TestLogged(t *testing.T) {
	st, p := logged(t)
	frame := unhex(t, logFrames[0].hex)
	for _, c := range []struct {
		name string
		in   Packet
		want string
		logs []model.LogID // nil: no record
	}{
		{"dropped", Packet{Node: p.Host, Kind: pipeline.PuntSentDropped, Port: 21, Data: frame}, `"action":"DROP","direction":"egress"`, []model.LogID{"all", "drop"}},
		{"dropped on the way in", Packet{Node: p.Host, Kind: pipeline.PuntReceivedDropped, Port: 99, DstPort: 21, Data: frame}, `"action":"DROP","direction":"ingress"`, []model.LogID{"all", "drop"}},
		{"accepted by a rule", Packet{Node: p.Host, Kind: pipeline.PuntReceivedAccepted, DstPort: 21, Rule: 1, Data: frame}, `"security_group_rule_id":"r-g","security_group_id":"g"`, []model.LogID{"accept", "all"}},
		{"accepted without one", Packet{Node: p.Host, Kind: pipeline.PuntSentAccepted, Port: 21, Data: frame}, `"port_id":"` + string(p.ID) + `","eth_src"`, []model.LogID{"all"}},
		{"a rule that does not filter the port", Packet{Node: p.Host, Kind: pipeline.PuntReceivedAccepted, DstPort: 21, Rule: 5, Data: frame}, `"port_id":"` + string(p.ID) + `","eth_src"`, []model.LogID{"all"}},
		{"a rule of the other direction", Packet{Node: p.Host, Kind: pipeline.PuntSentAccepted, Port: 21, Rule: 1, Data: frame}, `"port_id":"` + string(p.ID) + `","eth_src"`, []model.LogID{"all"}},
		{"another node", Packet{Node: "elsewhere", Kind: pipeline.PuntSentDropped, Port: 21, Data: frame}, "", nil},
		{"no port", Packet{Node: p.Host, Kind: pipeline.PuntSentDropped, Data: frame}, "", nil},
		{"no frame", Packet{Node: p.Host, Kind: pipeline.PuntSentDropped, Port: 21}, "", nil},
		{"no copy for logs", Packet{Node: p.Host, Kind: pipeline.PuntDHCP, Port: 21, Data: frame}, "", nil},
	} {
		rec, ok := Logged(st.Snapshot(), c.in)
		text, err := json.Marshal(rec)
		if err != nil || ok != (c.logs != nil) || ok && (!slices.Equal(rec.Logs, c.logs) || !strings.Contains(string(text), c.want) || rec.Project != "p") {
			t.Errorf("%s: %v %s, want logs %v and %s", c.name, ok, text, c.logs, c.want)
		}
	}
}

func TestLoggedHeaders(t *testing.T) {
	st, p := logged(t)
	for _, f := range logFrames {
		rec, _ := Logged(st.Snapshot(), Packet{Node: p.Host, Kind: pipeline.PuntSentDropped, Port: 21, Data: unhex(t, f.hex)})
		text, err := json.Marshal(rec)
		if _, got, _ := strings.Cut(string(text), `"eth_dst":"`); err != nil || strings.TrimSuffix(got[min(19, len(got)):], "}") != f.want {
			t.Errorf("%s: %s, want %s", f.name, text, f.want)
		}
	}
}

// FuzzLogged holds that no frame makes it panic, and that a record is one line of JSON.
func FuzzLogged(f *testing.F) {
	st, p := logged(f)
	for _, x := range logFrames {
		b := unhex(f, x.hex)
		for n := range len(b) + 1 {
			f.Add(b[:n])
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		rec, ok := Logged(st.Snapshot(), Packet{Node: p.Host, Kind: pipeline.PuntSentDropped, Port: 21, Data: b})
		if ok != (len(b) >= etherHeader) {
			t.Fatalf("a frame of %d octets: %v", len(b), ok)
		}
		if text, err := json.Marshal(rec); err != nil || strings.ContainsAny(string(text), "\r\n") {
			t.Fatalf("%q, %v", text, err)
		}
	})
}
