// SPDX-License-Identifier: Apache-2.0

package sim_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"nagare/internal/flow"
	"nagare/internal/ovstest"
	"nagare/internal/pipeline"
	"nagare/internal/repro"
	"nagare/internal/sim"
)

// tracer asks a real switch what it would do with a packet.
type tracer struct {
	s *ovstest.Switch
}

// newTracer loads flows into a real switch with ports 1 to 9.
func newTracer(t *testing.T, groups []string, fs []flow.Flow) *tracer {
	t.Helper()
	s := ovstest.Start(t)
	s.AddBridge("br0")
	for i := 1; i <= 9; i++ {
		s.AddPort("br0", fmt.Sprintf("p%d", i), i)
	}
	for _, g := range groups {
		s.Ofctl("add-group", "br0", g)
	}
	var text []string
	for _, f := range fs {
		text = append(text, f.String())
	}
	file := filepath.Join(t.TempDir(), "flows")
	if err := os.WriteFile(file, []byte(strings.Join(text, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Ofctl("add-flows", "br0", file)
	return &tracer{s}
}

// verdict is what a switch does with a packet, in a form that compares.
type verdict struct {
	ports   []string // "controller" among them
	visited []string // flows that took it, "table priority"
}

func (v verdict) String() string {
	return fmt.Sprintf("ports %v, flows %v", v.ports, v.visited)
}

func (v verdict) equal(w verdict) bool {
	return slices.Equal(v.ports, w.ports) && slices.Equal(v.visited, w.visited)
}

var visit = regexp.MustCompile(`^\s*(\d+)\. (.*)$`)
var prio = regexp.MustCompile(`priority (\d+)`)

func (r *tracer) ask(p sim.Packet) (v verdict, text string) {
	text = r.s.Appctl("ofproto/trace", "br0", p.Traceable())
	for _, line := range strings.Split(text, "\n") {
		if m := visit.FindStringSubmatch(line); m != nil {
			if n := prio.FindStringSubmatch(m[2]); n != nil {
				v.visited = append(v.visited, m[1]+" "+n[1])
			}
		}
		if acts, ok := strings.CutPrefix(line, "Datapath actions: "); ok {
			v.ports = append(v.ports, datapathPorts(acts)...)
		}
	}
	slices.Sort(v.ports)
	slices.Sort(v.visited)
	return v, text
}

// datapathPorts finds the outputs among datapath actions, inside clones too. The
// simulated datapath numbers ports as OpenFlow does.
func datapathPorts(acts string) (out []string) {
	depth, start := 0, 0
	var items []string
	for i, c := range acts + "," {
		switch c {
		case '(':
			depth++
		case ')':
			depth--
		case ',':
			if depth == 0 {
				items = append(items, (acts + ",")[start:i])
				start = i + 1
			}
		}
	}
	for _, it := range items {
		if n, err := strconv.Atoi(it); err == nil {
			out = append(out, fmt.Sprint(n))
		}
		if in, ok := strings.CutPrefix(it, "clone("); ok {
			out = append(out, datapathPorts(strings.TrimSuffix(in, ")"))...)
		}
		if strings.HasPrefix(it, "userspace(") && strings.Contains(it, "controller(") {
			out = append(out, "controller")
		}
	}
	return out
}

func simulated(s *sim.Switch, p sim.Packet) (v verdict, r sim.Result) {
	r = s.Trace(p)
	for _, o := range r.Outputs {
		v.ports = append(v.ports, fmt.Sprint(o.Port))
	}
	for range r.Punts {
		v.ports = append(v.ports, "controller")
	}
	for _, l := range r.Trace {
		if f := strings.Fields(l); len(f) > 2 && f[1] == "priority" && strings.HasSuffix(f[0], ":") {
			v.visited = append(v.visited, strings.TrimSuffix(f[0], ":")+" "+f[2])
		}
	}
	for _, e := range r.Errors {
		v.ports = append(v.ports, "error: "+e)
	}
	slices.Sort(v.ports)
	slices.Sort(v.visited)
	return v, r
}

// pick is a random element.
func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// compare sends n random packets through the simulator and a real switch.
// It returns the flows, as "table priority", that took any.
func compare(t *testing.T, s *sim.Switch, real *tracer, n int, seed uint64, make func(*rand.Rand) sim.Packet) map[string]bool {
	t.Helper()
	seen := map[string]bool{}
	r := repro.Rand(seed, 1)
	delivered := 0
	for range n {
		p := make(r)
		got, res := simulated(s, p)
		want, text := real.ask(p)
		if len(want.ports) > 0 {
			delivered++
		}
		for _, v := range got.visited {
			seen[v] = true
		}
		if !got.equal(want) {
			t.Fatalf("seed %d: packet %s\nsimulated: %s\n%s\nreal:      %s\n%s", seed, p.Traceable(), got, res, want, text)
		}
	}
	t.Logf("%d packets agree, %d of them went somewhere", n, delivered)
	if delivered < n/10 {
		t.Errorf("only %d of %d packets went anywhere: the test shows little", delivered, n)
	}
	return seen
}

// In the recorded states the simulator and Open vSwitch send random packets the
// same ways, by the same flows.
func TestGoldenAgreesWithRealSwitch(t *testing.T) {
	for i, names := range [][]string{{"instances-compute"}, {"network-controller", "instances-controller"}, {"initial-compute"}} {
		t.Run(names[0], func(t *testing.T) {
			fs := recorded(t, names...)
			s := sim.NewSwitch("br0")
			if err := s.Put(fs...); err != nil {
				t.Fatal(err)
			}
			n := 250
			if names[0] == "initial-compute" {
				n = 60
			}
			compare(t, s, newTracer(t, nil, fs), n, uint64(i), goldenPacket)
		})
	}
}

func goldenPacket(r *rand.Rand) sim.Packet {
	macs := [][6]byte{vm01, vm02, dhcp, stranger}
	terms := []flow.Term{
		flow.InPort(pick(r, uint32(1), 2, 3, 2, 3, 9)),
		flow.EthSrc(pick(r, macs...)),
		flow.EthDst(pick(r, append(macs, everyone, mac("33:33:00:00:00:01"))...)),
		flow.TunID(pick(r, 0, vni, vni, vni+1)),
	}
	src := pick(r, cidr("10.11.12.3"), cidr("10.11.12.4"), cidr("10.11.12.9"))
	dst := pick(r, cidr("10.11.12.3"), cidr("10.11.12.4"), cidr("10.11.12.2"))
	switch r.IntN(6) {
	case 0:
		terms = append(terms, flow.ARPOp(1), flow.ARPSPA(src.Addr()), flow.ARPTPA(dst.Addr()))
	case 1:
		terms = append(terms, flow.EthType(pick(r, uint16(flow.EthLLDP), 0x8035, 0x86dd)))
	case 2:
		terms = append(terms, flow.TCP(), flow.IPSrc(src), flow.IPDst(dst), flow.TPSrc(1000), flow.TPDst(80))
	default:
		terms = append(terms, flow.UDP(), flow.IPSrc(src), flow.IPDst(dst),
			flow.TPSrc(pick(r, uint16(67), 68, 53)), flow.TPDst(pick(r, uint16(67), 68, 53)))
	}
	return sim.New(terms...)
}

// What the tests load is what the pipeline declares.
func TestFlowsAreDeclared(t *testing.T) {
	check := func(p pipeline.Profile, fs []flow.Flow) {
		for _, f := range fs {
			if err := p.Check(f); err != nil {
				t.Errorf("%s: %v", f, err)
			}
		}
	}
	check(pipeline.Classic, recorded(t, "initial-controller", "initial-compute", "network-controller", "network-compute", "instances-controller", "instances-compute"))
	check(pipeline.Standard, standardFlows(t))
}

func standardFlows(t *testing.T) (fs []flow.Flow) {
	t.Helper()
	text, err := os.ReadFile("testdata/standard.txt")
	if err != nil {
		t.Fatal(err)
	}
	ds, err := flow.ParseDump(string(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range ds {
		fs = append(fs, d.Flow)
	}
	return fs
}

// The same for every kind of flow of the standard profile. Connections are all
// new to ofproto/trace, and to the simulator when told so.
func TestStandardAgreesWithRealSwitch(t *testing.T) {
	fs := standardFlows(t)
	groups, err := os.ReadFile("testdata/standard-groups.txt")
	if err != nil {
		t.Fatal(err)
	}
	s := sim.NewSwitch("br0")
	s.Track.AssumeNew = true
	s.Ports = []uint32{1, 2, 3, 4, 5, 6, 7, 8, 9}
	if err := s.Put(fs...); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(groups)), "\n")
	for _, l := range lines {
		g, err := flow.ParseGroup(l)
		if err != nil {
			t.Fatal(err)
		}
		s.PutGroup(g)
	}
	seen := compare(t, s, newTracer(t, lines, fs), standardPackets, 7, standardPacket)
	for _, f := range fs {
		// Replies and invalid packets need a connection, which ofproto/trace has not.
		if at := fmt.Sprint(f.Table, " ", f.Priority); !seen[at] && at != "41 100" && at != "41 90" && at != "43 0" && at != "31 0" && at != "101 0" && at != "61 0" {
			t.Errorf("no packet met %s", f)
		}
	}
}

const standardPackets = 800

func standardPacket(r *rand.Rand) sim.Packet {
	m := func(n byte) [6]byte { return [6]byte{2, 0, 0, 0, 0, n} }
	in := pick(r, uint32(1), 2, 3, 4, 5)
	src := m(byte(in))
	if r.IntN(8) == 0 {
		src = m(9)
	}
	terms := []flow.Term{
		flow.InPort(in), flow.EthSrc(src),
		flow.EthDst(pick(r, m(1), m(2), m(3), m(0xaa), m(0xaa), m(0xaa), m(0x22), everyone, mac("01:00:5e:01:01:01"))),
	}
	if in == 5 {
		terms = append(terms, flow.TunID(pick(r, uint64(4), 5, 5, 5, 6)))
	}
	if in == 4 && r.IntN(4) > 0 || r.IntN(8) == 0 {
		terms = append(terms, flow.VLANVID(pick(r, uint16(5), 5, 7)))
	}
	own := map[uint32]string{1: "10.0.5.1", 2: "10.0.5.2", 3: "10.0.6.3", 4: "198.51.100.1", 5: "10.0.5.22"}[in]
	if r.IntN(8) == 0 {
		own = "10.0.9.9"
	}
	from := netip.MustParseAddr(own)
	to := netip.MustParseAddr(pick(r, "10.0.5.1", "10.0.5.2", "10.0.5.254", "10.0.6.3", "10.0.6.9", "192.0.2.9", "192.0.2.9", "203.0.113.5", "239.1.1.1"))
	ends := []flow.Term{flow.IPSrc(netip.PrefixFrom(from, 32)), flow.IPDst(netip.PrefixFrom(to, 32)), flow.IPTTL(pick(r, uint8(1), 2, 64, 64, 64))}
	switch r.IntN(10) {
	case 9: // the first instance pings a multicast group, or its router
		ping := []flow.Term{flow.InPort(1), flow.EthSrc(m(1)), flow.ICMP(), flow.ICMPType(8), flow.IPSrc(netip.MustParsePrefix("10.0.5.1/32"))}
		if r.IntN(2) == 0 {
			return sim.New(append(ping, flow.EthDst(mac("01:00:5e:01:01:01")), flow.IPDst(netip.MustParsePrefix("239.1.1.1/32")))...)
		}
		return sim.New(append(ping, flow.EthDst(m(0xaa)), flow.IPDst(netip.MustParsePrefix("10.0.5.254/32")))...)
	case 0, 1:
		return sim.New(append(terms, flow.ARPOp(pick(r, uint16(1), 2)), flow.ARPSPA(from), flow.ARPTPA(to), flow.ARPSHA(src))...)
	case 2:
		return sim.New(append(terms, flow.ICMPv6(), flow.ICMPType(135), flow.ICMPCode(0), flow.IPTTL(255),
			flow.NDTarget(netip.MustParseAddr(pick(r, "fe80::1", "fe80::2"))), flow.IPSrc(netip.MustParsePrefix("fe80::9/128")))...)
	case 3:
		return sim.New(append(terms, flow.EthType(pick(r, uint16(flow.EthLLDP), 0x8035)))...)
	case 4, 5:
		return sim.New(append(append(terms, flow.UDP(), flow.TPSrc(pick(r, uint16(67), 68, 53)), flow.TPDst(pick(r, uint16(67), 68, 53, 70, 200))), ends...)...)
	case 6:
		return sim.New(append(append(terms, flow.TCP(), flow.TPSrc(1000), flow.TPDst(pick(r, uint16(22), 80))), ends...)...)
	default:
		return sim.New(append(append(terms, flow.ICMP(), flow.ICMPType(pick(r, uint8(8), 8, 0)), flow.ICMPCode(0)), ends...)...)
	}
}
