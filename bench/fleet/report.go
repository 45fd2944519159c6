// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"nagare/test/bench/board"
	"nagare/test/bench/host"
)

// report gathers the table.
type report struct {
	o    *options
	rows [][]string
	flat map[string]latencyFigures // what flatness is relative to
}

// add appends a line: the row of the scoreboard, the figure, ours, the peer's or the limit, their ratio, what it should be, remarks.
func (r *report) add(row, figure, ours, peer, ratio, bar, how string) {
	if r.o.wants(row) {
		r.rows = append(r.rows, []string{row, figure, ours, peer, ratio, bar, how})
	}
}

func (r *report) failed(name string, err error) {
	first, _, _ := strings.Cut(err.Error(), "\n")
	r.rows = append(r.rows, []string{"", name, "failed", "", "", "", first})
}

// medianBy picks the run in the middle by a figure.
func medianBy[T any](runs []T, by func(T) time.Duration) T {
	runs = slices.SortedFunc(slices.Values(runs), func(a, b T) int { return int(by(a) - by(b)) })
	return runs[len(runs)/2]
}

// turns measures ours and, if there is one, the peer's by turns.
func turns[T any](r *report, h *host.Host, ours func(*host.Host) T, theirs func() (T, error)) (our, their []T) {
	for range r.o.rounds {
		h.Must(host.Run(h.Context(), time.Hour, func(h *host.Host) { our = append(our, ours(h)) }))
		if r.o.peer != "" {
			p, err := theirs()
			h.Must(err)
			their = append(their, p)
		}
	}
	return our, their
}

func mb(bytes float64) string { return fmt.Sprintf("%.0f MB", bytes/mib) }

func (r *report) bulk(h *host.Host, w work, first bool) {
	type run struct {
		b bulkFigures
		l limit
		f refillFigures
	}
	withLimit := first && r.o.wants("4", "8")
	our, their := turns(r, h, func(h *host.Host) (x run) {
		x.b, x.l, x.f = bulk(h, r.o, w, withLimit)
		return x
	}, func() (x run, err error) {
		text, err := runPeer(h.Context(), r.o, "bulk", w, 0)
		if err != nil {
			return x, err
		}
		x.b, err = readBulk(w, text)
		return x, err
	})
	cpu := func(x run) time.Duration { return x.b.cpu }
	x := medianBy(our, cpu)
	b := x.b
	p, known := recordedBulk(w)
	mark := " (recorded)"
	if len(their) > 0 {
		p, known, mark = medianBy(their, cpu).b, true, ""
	}
	peer := func(text string) string {
		if !known {
			return "-"
		}
		return "OVN " + text + mark
	}
	against := func(ours, theirs float64) string {
		if !known {
			return ""
		}
		return board.Ratio(ours, theirs)
	}
	per := time.Duration(1000 * float64(b.cpu) / float64(w.ports))
	peerPer := time.Duration(1000 * float64(p.cpu) / float64(w.ports))
	how := fmt.Sprintf("%v; %s; load %s", w, b.traces, b.load)
	peerHow := ""
	if len(their) > 0 {
		peerHow = fmt.Sprintf("; OVN: %s, load %s", p.traces, p.load)
	}
	r.add("3", "bulk, ports/s", fmt.Sprintf("%.0f", b.perSecond), peer(fmt.Sprintf("%.0f", p.perSecond)), against(b.perSecond, p.perSecond), "≥ 5",
		fmt.Sprintf("%s%s; all created %s, plugged %s, ACTIVE %s, last flow %s", how, peerHow, span(b.took.created), span(b.took.plugged), span(b.took.active), span(b.took.done)))
	r.add("3", "bulk, CPU per 1,000 ports", span(per), peer(span(peerPer)+" without any API"), against(per.Seconds(), peerPer.Seconds()), "≤ 0.2", b.bill.String())
	r.add("3", "  the same with the peer's API", span(per), peer(span(peerPer+305*time.Second)), against(per.Seconds(), peerPer.Seconds()+305), "≤ 0.05", "Neutron 21 and its database: 305 s (recorded)")
	r.add("5", "flows per node and port present", fmt.Sprintf("%.1f", (b.flows-b.base)/float64(w.ports)), peer(fmt.Sprintf("%.1f", (p.flows-p.base)/float64(w.ports))),
		against(b.flows-b.base, p.flows-p.base), "≤ 0.5", fmt.Sprintf("%s flows a node on %d nodes; %s include those of routers", count(b.flows), w.nodes, map[bool]string{true: "both", false: "OVN's"}[r.o.routed()]))
	r.add("6", "memory with the ports, central", mb(b.central), peer(mb(p.central)), against(b.central, p.central), "≤ 0.3", fmt.Sprintf("resident memory of nagare, %s of it before there was a port; of OVN's two databases and northd", mb(b.empty)))
	r.add("6", "  on each node", "0", peer(mb(p.perNode)), "", "0", "ovn-controller; Open vSwitch itself is not counted")
	if !withLimit {
		return
	}
	nodes := float64(w.nodes)
	raw := b.switchCPU.Seconds() / ((b.flows - b.base) * nodes)
	net := (b.switchCPU.Seconds() - x.l.plug.Seconds()*nodes) / ((b.flows - b.base) * nodes)
	peerRaw := p.switchCPU.Seconds() / ((p.flows - p.base) * nodes)
	lim := x.l.perFlow.Seconds()
	micro := func(s float64) string { return fmt.Sprintf("%.1f µs", s*1e6) }
	r.add("4", "switch's CPU per flow, bulk", micro(net), micro(lim)+" (limit)", board.Ratio(net, lim), "≤ 1.5",
		fmt.Sprintf("without the %s for adding a node's ports; limit: the same flows pushed ready to an equal switch in the same run, %s flows/s", span(x.l.plug), count(x.l.rate)))
	r.add("4", "  adding ports included", micro(raw), peer(micro(peerRaw)), against(raw, peerRaw), "", "")
	f := x.f
	due := time.Duration(float64(f.flows) / x.l.rate * float64(time.Second))
	each := f.cpu.Seconds() / float64(f.flows)
	r.add("8", "switch killed: refill", span(f.refill), span(due)+" (limit)", board.Ratio(f.refill.Seconds(), due.Seconds()), "≤ 3",
		fmt.Sprintf("%s flows, from the new session to the last flow; %.3f flow-mods per flow; %s", count(float64(f.flows)), f.mods, f.traces))
	wall := f.start + f.refill
	peerWall, peerFlows := recordedRefill, float64(recordedRefillFlows)
	if r.o.peer != "" {
		text, err := runPeer(h.Context(), r.o, "restart", w, 0)
		h.Must(err)
		peerWall, peerFlows, err = readRefill(text)
		h.Must(err)
	}
	r.add("8", "  from the kill on", span(wall), fmt.Sprintf("OVN %s%s", span(peerWall), mark), board.Ratio(wall.Seconds(), peerWall.Seconds()), "",
		fmt.Sprintf("the switch's own start and its way back to us: %s; OVN's node has %s flows", span(f.start), count(peerFlows)))
	r.add("4", "switch's CPU per flow, refill", micro(each), micro(lim)+" (limit)", board.Ratio(each, lim), "≤ 2", "all that the new ovs-vswitchd used: its start and its ports too")
}

func (r *report) latency(h *host.Host, w work) {
	our, their := turns(r, h, func(h *host.Host) latencyFigures { return latency(h, r.o, w, r.o.n) }, func() (l latencyFigures, err error) {
		text, err := runPeer(h.Context(), r.o, "latency", w, r.o.n)
		if err != nil {
			return l, err
		}
		return readLatency(w, text)
	})
	cpu := func(l latencyFigures) time.Duration { return l.cpu }
	l := medianBy(our, cpu)
	p, known := recordedLatency(w)
	mark := " (recorded)"
	if len(their) > 0 {
		p, known, mark = medianBy(their, cpu), true, ""
	}
	peer := func(text string) string {
		if !known {
			return "-"
		}
		return "OVN " + text + mark
	}
	against := func(ours, theirs time.Duration) string {
		if !known {
			return ""
		}
		return board.Ratio(ours.Seconds(), theirs.Seconds())
	}
	empty := w.ports == 0
	row, bar := "1", "≤ 1.0"
	if !empty {
		row, bar = "2", ""
	}
	how := fmt.Sprintf("on top of %v; %d ports; %s; load %s", w, l.n, l.traces, l.load)
	if len(their) > 0 {
		how += fmt.Sprintf("; OVN: %s, load %s", p.traces, p.load)
	}
	r.add(row, "one port → ACTIVE, p50", span(l.up50), peer(span(p.up50)), against(l.up50, p.up50), bar, how)
	r.add(row, "  p99", span(l.up99), peer(span(p.up99)), against(l.up99, p.up99), bar, "from the first byte of POST, API and durable store included; OVN without any API")
	r.add(row, "one port → every node's flows, p50", span(l.done50), peer(span(p.done50)), against(l.done50, p.done50), bar, fmt.Sprintf("%s flows a node in the end", count(l.flows)))
	r.add(row, "  p99", span(l.done99), peer(span(p.done99)), against(l.done99, p.done99), bar, "OVN: the longest")
	request := l.bill.minus(l.plugBill)
	r.add(row, "one port, CPU of everything", span(l.cpu), peer(span(p.cpu)), against(l.cpu, p.cpu), "", l.bill.String()+"; the switches tell each change to the observer")
	r.add(row, "  of it from the request on", span(request.total()), "-", "", "", request.String()+"; the rest is for plugging, mostly the simulated datapath's, which visits all of its ports")
	if empty && w.nodes == r.o.nodes[0] {
		r.flat = map[string]latencyFigures{"ours": l, "theirs": p}
	}
	if zero, ok := r.flat["ours"]; ok && !empty {
		peerZero := r.flat["theirs"]
		theirs := func(a, b time.Duration) string {
			if !known || b == 0 {
				return "-"
			}
			return peer("× " + board.Ratio(a.Seconds(), b.Seconds()))
		}
		r.add("2", "flatness, time", "× "+board.Ratio(l.done50.Seconds(), zero.done50.Seconds()), theirs(p.done50, peerZero.done50), "", "≤ 1.3", "of one port → every node's flows, p50, to that on top of 0 ports")
		r.add("2", "flatness, CPU", "× "+board.Ratio(l.cpu.Seconds(), zero.cpu.Seconds()), theirs(p.cpu, peerZero.cpu), "", "≤ 1.3", "of everything, plugging included")
		now, then := request[controller].Seconds(), zero.bill.minus(zero.plugBill)[controller].Seconds()
		r.add("2", "  of nagare alone, from the request on", "× "+board.Ratio(now, then), "-", "", "≤ 1.3", "")
	}
	if empty {
		return
	}
	r.add("9", "one rule in a group of 250 ports, wall", span(l.ruleWall), peer(span(p.ruleWall)), against(l.ruleWall, p.ruleWall), "≤ 20 ms", fmt.Sprintf("on top of %v; %.1f flows changed per node; the last rule lets in, one not given does not (traced)", w, l.ruleFlows))
	r.add("9", "  CPU", span(l.ruleCPU), peer(span(p.ruleCPU)), against(l.ruleCPU, p.ruleCPU), "≤ 10 ms", l.ruleBill.String())
	r.add("9", "idle", fmt.Sprintf("%.2f %% of a core", 100*l.idle), peer(fmt.Sprintf("%.2f %%", 100*p.idle)), "", "", "everything together, over 5 s")
}

func (r *report) dhcp(h *host.Host) {
	peers, mark := map[int]dhcpFigures{}, " (recorded)"
	for n, rate := range recordedDHCP {
		peers[n] = dhcpFigures{outstanding: n, perSecond: rate, central: 6 * time.Microsecond, node: 36 * time.Microsecond}
	}
	var ours []dhcpFigures
	h.Must(host.Run(h.Context(), time.Hour, func(h *host.Host) { ours = dhcp(h, r.o, r.o.dhcpFor) }))
	if r.o.peer != "" {
		text, err := runPeerDHCP(h.Context(), r.o)
		h.Must(err)
		theirs, err := readDHCP(text)
		h.Must(err)
		for _, f := range theirs {
			peers[f.outstanding] = f
		}
		mark = ""
	}
	for _, f := range ours {
		p := peers[f.outstanding]
		r.add("dhcp", fmt.Sprintf("offers/s, %d outstanding", f.outstanding), count(f.perSecond), fmt.Sprintf("OVN %s%s", count(p.perSecond), mark), board.Ratio(f.perSecond, p.perSecond),
			"≥ 20,000, ≤ 50 µs", fmt.Sprintf("CPU each: nagare %s, vswitchd %s (OVN: %s, %s); %d lost; load %s", span(f.central), span(f.node), span(p.central), span(p.node), f.lost, load()))
	}
}

// text is the table and what is to be known about it.
func (r *report) text() string {
	version := "Open vSwitch"
	if out, err := exec.Command("ovs-vswitchd", "--version").Output(); err == nil {
		first, _, _ := strings.Cut(string(out), "\n")
		version = "Open vSwitch " + first[strings.LastIndex(first, " ")+1:]
	}
	peer := "OVN 23.03 as recorded earlier on a comparable machine"
	if r.o.peer != "" {
		peer = "OVN as installed here, run by turns with nagare"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "nagare, profile %s, on %d cores (%s), %s with simulated devices; %d round(s). Peer: %s.\n", r.o.profile, runtime.NumCPU(), runtime.GOARCH, version, r.o.rounds, peer)
	if !r.o.routed() {
		b.WriteString("Not in our work: routers (the classic profile runs without them here). ")
	}
	b.WriteString("Not in OVN's: an API server. CPU is of all processes of a system; wall-clock times depend on the load.\n\n")
	b.WriteString(board.Table(append([][]string{{"row", "figure", "nagare", "peer or limit", "ratio", "bar", "how"}}, r.rows...)))
	return b.String()
}
