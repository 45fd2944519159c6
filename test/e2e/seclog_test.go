// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"nagare/internal/model"
	"nagare/internal/punt"
)

// TestSecurityLog: a connection that a port's group accepts is one record, a packet that it refuses is one, with what was in them; a flood of
// refused packets is cut by a meter and takes no record from what is accepted.
func TestSecurityLog(t *testing.T) {
	t.Parallel()
	s := newSite(t, "--dhcp", "native")
	admin := s.user("admin")
	net, _ := admin.network("told", "10.71.0.0/24")
	group := admin.group("echo", nil)
	rule := admin.rule(group, fields{"ethertype": "IPv4", "protocol": "tcp", "port_range_min": 7, "port_range_max": 7})
	from := s.newGuest(admin, admin, "from", net, compute, fields{"security_groups": []string{group}})
	to := s.newGuest(admin, admin, "to", net, controller, fields{"security_groups": []string{group}})
	var made struct{ Log struct{ ID model.LogID } }
	if err := admin.ask(201, "POST", admin.neutron("/log/logs"), fields{"log": fields{"resource_type": "security_group", "resource_id": group, "target_id": to.port.ID}}, &made); err != nil {
		t.Fatal(err)
	}
	admin.confirmed()
	records := func(action model.LogEvent, dport uint16) (out []punt.Record) {
		t.Helper()
		rs, err := s.securityRecords()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rs {
			if r.Action == action && r.DstPort != nil && *r.DstPort == dport {
				out = append(out, r)
			}
		}
		return out
	}
	told := func(action model.LogEvent, dport uint16, n int) punt.Record {
		t.Helper()
		s.eventually(settleWithin, fmt.Sprintf("%d records of %s at port %d", n, action, dport), func() error {
			if got := len(records(action, dport)); got < n {
				return fmt.Errorf("there are %d", got)
			}
			return nil
		})
		return records(action, dport)[n-1]
	}
	check := func(r punt.Record, action model.LogEvent, rule, group string) {
		t.Helper()
		if len(r.Logs) != 1 || r.Logs[0] != made.Log.ID || string(r.Node) != controller || string(r.Port) != to.port.ID || r.Direction != model.Ingress || r.Action != action ||
			r.Src != from.ip || r.Dst != to.ip || string(r.Rule) != rule || string(r.Group) != group || r.SrcMAC.String() != from.mac.String() ||
			r.SrcPort == nil || r.Protocol == nil || *r.Protocol != model.ProtoTCP || r.TCPFlags == nil || *r.TCPFlags&0x12 != 2 || r.Project == "" {
			t.Errorf("record %+v", r)
		}
	}
	talk := s.connect(from.name, to.name, to.ip.String())
	check(told(model.LogAccept, 7, 1), model.LogAccept, rule, group)
	talk.echo(s, "after it was told")

	out := s.tap(from.name, "eth0")
	syn := func(port int) []byte {
		return frame(to.mac, from.mac, etherIP4, ip4{src: from.ip, dst: to.ip, proto: protoTCP, payload: tcp(from.ip, to.ip, 40000, port, 1, 0, 2, nil)}.bytes())
	}
	out.send(syn(9))
	check(told(model.LogDrop, 9, 1), model.LogDrop, "", "")
	out.send(syn(10)) // when this has come, more of the others would have
	told(model.LogDrop, 10, 1)
	if a, d := len(records(model.LogAccept, 7)), len(records(model.LogDrop, 9)); a != 1 || d != 1 {
		t.Errorf("%d records of one connection, %d of one refused packet", a, d)
	}

	flood := syn(11)
	s.eventually(settleWithin, "a meter keeps copies back", func() error {
		for range 500 {
			out.send(flood)
		}
		if dropped := s.keptBack(controller); dropped < 200 {
			return fmt.Errorf("it has kept %d back", dropped)
		}
		return nil
	})
	talk.echo(s, "under a flood of what is refused")
	second := s.connect(to.name, from.name, from.ip.String()) // whose packets the group lets out
	second.echo(s, "at its beginning")
	told(model.LogAccept, 7, 2)
}

// securityRecords are the records in the server's log.
func (s *site) securityRecords() (out []punt.Record, err error) {
	b, err := os.ReadFile(filepath.Join(s.dir(), "log", "server.log"))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(b)) {
		_, quoted, ok := strings.Cut(line, " record=")
		if !ok || !strings.HasSuffix(line, "\n") {
			continue
		}
		text, err := strconv.Unquote(strings.TrimSpace(quoted))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", line, err)
		}
		var r punt.Record
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			return nil, fmt.Errorf("%s: %w", text, err)
		}
		out = append(out, r)
	}
	return out, nil
}

// keptBack is how many copies the meters of security logs of a node have dropped.
func (s *site) keptBack(node string) (n int) {
	s.t.Helper()
	text := s.ovs(node, "ovs-ofctl", "-O", "OpenFlow13", "meter-stats", "br-int")
	for _, m := range regexp.MustCompile(`(?s)meter:(\d+) .*?\n0: packet_count:(\d+)`).FindAllStringSubmatch(text, -1) {
		if id, _ := strconv.ParseUint(m[1], 10, 32); model.IsLogMeter(uint32(id)) {
			dropped, _ := strconv.Atoi(m[2])
			n += dropped
		}
	}
	return n
}
