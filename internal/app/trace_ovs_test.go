// SPDX-License-Identifier: Apache-2.0

package app

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"nagare/internal/api/admin"
	"nagare/internal/compile"
	"nagare/internal/ovstest"
	"nagare/internal/repro"
)

// tracedPackets is how many random packets are compared with Open vSwitch.
const tracedPackets = 300

// TestTraceAgreesWithOpenVSwitch loads the desired state of the routed cloud's compute node into Open vSwitch, and lets trace and
// ofproto/trace follow the same packets: of instances, spoofed or not, to their networks, through the router, to and from outside
// by floating IPs and the gateway, from tunnels. Both must leave by the same ports, and meet the same flows.
func TestTraceAgreesWithOpenVSwitch(t *testing.T) {
	b := routed(t)
	s := ovstest.Start(t)
	const bridge = "br0"
	s.AddBridge(bridge)
	var d compile.Desired
	if err := b.s.hub.Do(t.Context(), func(e *compile.Engine) { d, _ = e.Desired("compute") }); err != nil {
		t.Fatal(err)
	}
	for _, port := range []int{4, 6, 9, 12, 20, 21, 22} { // as the fixture's interfaces are numbered
		s.AddPort(bridge, fmt.Sprintf("p%d", port), port)
	}
	load := func(name string, lines []string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var flows, groups []string
	for _, m := range d.Meters {
		s.Ofctl("add-meter", bridge, m.String())
	}
	for _, f := range d.Flows {
		flows = append(flows, f.String())
	}
	for _, g := range d.Groups {
		groups = append(groups, g.String())
	}
	s.Ofctl("--bundle", "add-groups", bridge, load("groups", groups))
	s.Ofctl("--bundle", "add-flows", bridge, load("flows", flows))
	r := repro.Rand(4, 22)
	results, tables := map[string]int{}, map[string]int{}
	for range tracedPackets {
		q := randomQuery(r)
		f, err := newFabric(t.Context(), b.s.hub)
		if err != nil {
			t.Fatal(err)
		}
		f.assumeNew = true
		tr, err := f.trace(&q)
		if err != nil || len(tr.Way) == 0 || tr.Verdict.Result == admin.TraceUnknown {
			t.Fatalf("%+v: %+v, %v", q, tr.Verdict, err)
		}
		ports, met := []string{}, []string{}
		for _, o := range tr.Way[0].Out {
			ports = append(ports, fmt.Sprint(o.Port))
		}
		for _, s := range tr.Way[0].Steps {
			if s.Flow != "" {
				n, _, _ := strings.Cut(s.Table, " ")
				met, tables[s.Table] = append(met, n+" "+priorityOf(s.Flow)), tables[s.Table]+1
			}
		}
		text := s.Appctl("ofproto/trace", bridge, tr.Packet)
		realPorts, realMet := readTrace(text)
		slices.Sort(ports)
		slices.Sort(met)
		if !slices.Equal(ports, realPorts) || !slices.Equal(met, realMet) {
			t.Fatalf("%+v\npacket %s\n%s\nsimulated: ports %v flows %v\nreal:      ports %v flows %v\n%s", q, tr.Packet, tr.Verdict.Text, ports, met, realPorts, realMet, text)
		}
		results[tr.Verdict.Result]++
	}
	t.Logf("%d packets agree: %v; flows met by table %v", tracedPackets, results, tables)
	for _, want := range []string{admin.TraceDelivered, admin.TraceDropped, admin.TraceLeft, admin.TraceAnswered, admin.TracePunted} {
		if results[want] < tracedPackets/50 {
			t.Errorf("only %d packets were %s: the test shows little", results[want], want)
		}
	}
	for _, table := range []string{"43 (egress-commit)", "61 (route-lookup)", "31 (inbound-nat-new)", "93 (ingress-commit)", "101 (outbound-nat-new)", "105 (hairpin)"} {
		if tables[table] == 0 {
			t.Errorf("no packet met a flow of table %s", table)
		}
	}
}

// randomQuery asks for a packet of an instance of the compute node, or one that comes by a wire or a tunnel.
func randomQuery(r *rand.Rand) admin.TraceQuery {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	proto := pick("tcp,tp_src=1000,tp_dst=8080", "tcp,tp_src=1000,tp_dst=22", "udp,tp_src=1000,tp_dst=53", "udp,tp_src=68,tp_dst=67", "icmp", "icmp", "tcp,tp_src=1000,tp_dst=8085,nw_ttl=1")
	if r.IntN(5) == 0 { // from outside
		flow := fmt.Sprintf("%s,dl_src=52:54:00:00:00:01,dl_dst=fa:16:3e:09:00:%02d,nw_src=198.51.100.%d,nw_dst=172.16.1.%s", proto, 3+r.IntN(3), 1+r.IntN(9), pick("4", "5", "9", "77"))
		return admin.TraceQuery{Node: "compute", InPort: "22", Flow: flow}
	}
	if r.IntN(8) == 0 { // from the other node
		flow := fmt.Sprintf("%s,tun_id=%s,dl_src=fa:16:3e:00:00:03,dl_dst=%s,nw_src=10.0.0.3,nw_dst=%s", proto, pick("1077", "1077", "1078", "99"),
			pick("fa:16:3e:00:00:04", "fa:16:3e:00:00:09", "fa:16:3e:02:00:04", "fa:16:3e:09:00:01", "ff:ff:ff:ff:ff:ff"), pick("10.0.0.4", "10.0.0.9", "10.2.0.4", "172.16.1.1"))
		return admin.TraceQuery{Node: "compute", InPort: "20", Flow: flow}
	}
	q := admin.TraceQuery{From: pick("net01-compute", "net01-compute", "near", "near", "alone", "phys-compute")}
	flow := proto
	switch r.IntN(12) {
	case 0:
		flow += ",nw_src=10.9.9.9"
	case 1:
		flow += ",dl_src=02:00:00:00:00:99"
	case 2:
		flow += ",dl_vlan=7"
	case 3:
		q.Flow = fmt.Sprintf("arp,arp_op=%d,dl_dst=ff:ff:ff:ff:ff:ff,arp_spa=10.0.0.4,arp_sha=fa:16:3e:00:00:04,arp_tpa=%s", 1+r.IntN(2), pick("10.0.0.1", "10.0.0.3", "10.0.0.77"))
		return q
	case 4:
		flow += ",dl_dst=ff:ff:ff:ff:ff:ff"
	}
	q.Flow = flow + ",nw_dst=" + pick("10.0.0.3", "10.0.0.4", "10.0.0.9", "10.0.0.1", "10.2.0.1", "10.2.0.3", "10.2.0.4", "10.2.0.99", "198.51.100.7", "172.16.1.1", "172.16.1.4", "172.16.1.5", "172.16.1.77", "10.1.0.5", "224.0.0.9")
	return q
}

var priorityText = regexp.MustCompile(`\bpriority=(\d+)`)

func priorityOf(flow string) string {
	if m := priorityText.FindStringSubmatch(flow); m != nil {
		return m[1]
	}
	return "32768"
}

var tableLine, priorityWord = regexp.MustCompile(`^\s*(\d+)\. (.*)$`), regexp.MustCompile(`\bpriority (\d+)`)

// readTrace finds in the output of ofproto/trace the ports by which a packet leaves and the flows that take it, as "table priority".
// A trace shows what follows check_pkt_larger twice: first, further in, for a packet that is larger. Ours never are.
func readTrace(text string) (ports, met []string) {
	ports, met = []string{}, []string{}
	const never = 1 << 30
	larger := never // where lines begin that are about a larger packet
	for line := range strings.Lines(text) {
		indent := len(line) - len(strings.TrimLeft(line, " "))
		if strings.Contains(line, "check_pkt_larger(") {
			larger = indent
		}
		if m := tableLine.FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil && indent < larger {
			larger = never
			if p := priorityWord.FindStringSubmatch(m[2]); p != nil {
				met = append(met, m[1]+" "+p[1])
			}
		}
		if acts, ok := strings.CutPrefix(strings.TrimSpace(line), "Datapath actions: "); ok {
			ports = append(ports, outputsOf(acts)...)
		}
	}
	slices.Sort(ports)
	slices.Sort(met)
	return ports, met
}

// outputsOf are the ports among datapath actions, inside clones too. The simulated datapath numbers a port as its name does.
func outputsOf(acts string) (out []string) {
	depth, start := 0, 0
	for i, c := range acts + "," {
		switch {
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth == 0:
			item := (acts + ",")[start:i]
			start = i + 1
			if _, err := strconv.Atoi(item); err == nil {
				out = append(out, item)
			} else if in, ok := strings.CutPrefix(item, "clone("); ok {
				out = append(out, outputsOf(strings.TrimSuffix(in, ")"))...)
			} else if _, in, ok := strings.Cut(item, ",le("); ok && strings.HasPrefix(item, "check_pkt_len(") {
				out = append(out, outputsOf(strings.TrimSuffix(in, "))"))...)
			}
		}
	}
	return out
}
