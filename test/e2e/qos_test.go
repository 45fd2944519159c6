// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// quality gives the red guest policies, one after another, and looks at what becomes of its traffic with the parent of the trunk:
// how many of equal pings come back, what a meter has dropped, which code point arrives.
func (r *ride) quality(s *site) {
	group := r.admin.group("anything", nil, fields{"direction": "ingress", "ethertype": "IPv4"})
	for _, g := range []*guest{r.red, r.parent} {
		r.admin.change(g.port.ID, fields{"security_groups": []string{group}})
	}
	policy := func(kind string, rule fields) string {
		var made struct{ Policy struct{ ID string } }
		err := r.admin.ask(201, "POST", r.admin.neutron("/qos/policies"), fields{"policy": fields{"name": kind}}, &made)
		if err == nil {
			err = r.admin.ask(201, "POST", r.admin.neutron("/qos/policies/"+made.Policy.ID+"/"+kind+"_rules"), fields{kind + "_rule": rule}, nil)
		}
		if err != nil {
			s.t.Fatal(err)
		}
		return made.Policy.ID
	}
	attach := func(id any) {
		r.admin.change(r.red.port.ID, fields{"qos_policy_id": id})
		r.admin.confirmed()
	}
	s.pings(r.red.name, r.parent.ip)

	const pings = 200 // of 1,242 octets: two megabits each way
	free := s.answered(r.red.name, r.parent.ip.String(), pings)
	slow := fields{"max_kbps": 100, "max_burst_kbps": 100}
	for _, direction := range []string{"egress", "ingress"} {
		slow["direction"] = direction
		attach(policy("bandwidth_limit", slow))
		s.eventually(settleWithin, "a limit of a twentieth on "+direction, func() error { // what the switch has cached goes a little later
			limited := s.answered(r.red.name, r.parent.ip.String(), pings)
			if limited == 0 || limited > free/2 {
				return fmt.Errorf("%d of %d pings are answered, %d without it", limited, pings, free)
			}
			s.t.Logf("%s: %d of %d pings answered, %d without a limit", direction, limited, pings, free)
			return nil
		})
	}
	// Packets: as many as it takes until the meter has dropped more than it let through.
	attach(policy("packet_rate_limit", fields{"max_kpps": 1, "max_burst_kpps": 1}))
	out, small := s.tap(r.red.name, "eth0"), frame(r.parent.mac, r.red.mac, etherIP4, udp4(r.red.ip, r.parent.ip, 1, 2, nil))
	s.eventually(settleWithin, "a meter drops packets", func() error {
		for range 500 {
			out.send(small)
		}
		if got, dropped := s.metered(compute, "pktps"); dropped < 200 {
			return fmt.Errorf("of %d packets it has dropped %d", got, dropped)
		}
		return nil
	})
	attach(policy("dscp_marking", fields{"dscp_mark": 26}))
	w := r.watch[r.parent.name]
	s.eventually(settleWithin, "packets arrive with the mark", func() error { // what the switch has cached goes a little later
		o := r.token(permitted)
		out.send(frame(r.parent.mac, r.red.mac, etherIP4, udp4(r.red.ip, r.parent.ip, 3, 4, []byte(o))))
		if !w.wait(o, time.Second) {
			return fmt.Errorf("none has come")
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if tos := w.first[o][15]; tos != 26<<2 {
			return fmt.Errorf("one has type of service %#x, want that of code point 26", tos)
		}
		return nil
	})
	attach(nil)
	if _, dropped := s.metered(compute, "pktps"); dropped != 0 || strings.Contains(strings.Join(s.mustFlows(compute), "\n"), "meter:12") {
		s.t.Errorf("without a policy there are meters still")
	}
}

// answered is how many of some large pings, 2 ms apart, are answered.
func (s *site) answered(from, to string, count int) int {
	s.t.Helper()
	out, err := s.in(from, "ping", "-q", "-c", strconv.Itoa(count), "-i", "0.002", "-s", "1200", "-W", "1", to)
	m := regexp.MustCompile(`(\d+) received`).FindStringSubmatch(out)
	if m == nil {
		s.t.Fatalf("ping %s: %v: %s", to, err, out)
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

// metered sums up what the meters of ports' policies with a unit have seen and dropped.
func (s *site) metered(node, unit string) (seen, dropped int) {
	s.t.Helper()
	units := map[string]bool{}
	for _, m := range regexp.MustCompile(`meter=(\d+) (\w+)`).FindAllStringSubmatch(s.ovs(node, "ovs-ofctl", "-O", "OpenFlow13", "dump-meters", "br-int"), -1) {
		if n, _ := strconv.Atoi(m[1]); n > 120000 && m[2] == unit {
			units[m[1]] = true
		}
	}
	text := s.ovs(node, "ovs-ofctl", "-O", "OpenFlow13", "meter-stats", "br-int")
	for _, m := range regexp.MustCompile(`(?s)meter:(\d+) .*?packet_in_count:(\d+).*?\n0: packet_count:(\d+)`).FindAllStringSubmatch(text, -1) {
		if units[m[1]] {
			a, _ := strconv.Atoi(m[2])
			b, _ := strconv.Atoi(m[3])
			seen, dropped = seen+a, dropped+b
		}
	}
	return seen, dropped
}
