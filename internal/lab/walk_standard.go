// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// checkStandard is checkNode in standard: what the node needs is there and nothing else, the switch holds what the server
// wants, and each flow has an author.
func (w *walk) checkStandard(ctx context.Context, node string) error {
	p, err := w.ports(ctx)
	if err != nil {
		return err
	}
	var facts map[string]string
	var v *view
	var wantFacts []string
	// Bringing a switch there takes a moment; what is still missing at the end of it is reported below, fact by fact.
	waited := until(ctx, settleWithin, "node "+node+" shows the step's state", func(ctx context.Context) (err error) {
		if facts, err = w.l.facts(ctx, node); err != nil {
			return err
		}
		if wantFacts, err = w.standardFacts(node, p); err != nil {
			return finalError{err}
		}
		if v, err = w.look(ctx, node); err != nil {
			return err
		}
		for _, f := range wantFacts {
			if err := factHolds(facts, f); err != nil {
				return fmt.Errorf("%s: %w", f, err)
			}
		}
		if err := w.tunnelled(node, p, facts); err != nil {
			return err
		}
		return errors.Join(v.agrees(), v.groupsNamed())
	})
	if facts == nil || v == nil {
		return waited
	}
	if _, err := w.on(ctx, node, "ovs-vsctl", "show"); err != nil {
		return err
	}
	for _, f := range wantFacts {
		w.hold(factHolds(facts, f), "%s: %s", node, f)
	}
	w.extraFacts(node, facts)
	w.hold(w.tunnelled(node, p, facts), "%s: has a tunnel to each node that shares a network with it, and no other", node)
	if w.native {
		w.hold(w.alone(node), "%s: runs Open vSwitch and nothing else%s", node, map[bool]string{true: ", the server aside"}[node == firstNode])
	}
	if _, err := w.on(ctx, node, "ovs-ofctl", "-O", "OpenFlow13", "dump-aggregate", "br-int"); err != nil {
		return err
	}
	w.hold(v.agrees(), "%s: br-int holds exactly the %d flows that the server wants", node, len(v.want))
	w.hold(v.marks(), "%s: each flow bears a cookie of the server's", node)
	w.hold(w.authors(ctx, node, v), "%s: each flow has an author: the rule and its source, and the user whose change asked for it", node)
	w.hold(v.groupsNamed(), "%s: br-int holds the %d groups that its flows name, and no other", node, len(v.named))
	if !w.hosts(node, p) {
		w.hold(v.others(), "%s: hosts nothing of %s, so no flow of it is there", node, walkNetwork)
	}
	return nil
}

// hosts reports whether a port of the scenario's network is on the node.
func (w *walk) hosts(node string, p walkPorts) bool { return len(w.tapsOn(node, p)) > 0 }

// tapsOn are the ports of the scenario that are plugged into the node.
func (w *walk) tapsOn(node string, p walkPorts) []*apiPort {
	var on []*apiPort
	if p.dhcp != nil && p.dhcp.HostID == node {
		on = append(on, p.dhcp)
	}
	for _, inst := range w.s.Instances {
		if vm := p.vm[inst.Name]; vm != nil && inst.Node == node {
			on = append(on, vm)
		}
	}
	return on
}

// standardFacts are the recorded facts of a fresh stack, and a port of br-int for each port of the network that is here.
func (w *walk) standardFacts(node string, p walkPorts) ([]string, error) {
	facts, err := goldenFacts(0, node, w.single, false, substitution{})
	if err != nil {
		return nil, err
	}
	for _, port := range w.tapsOn(node, p) {
		tap, kind := tapName(port.ID), `""`
		if port == p.dhcp {
			kind = "internal"
		}
		facts = append(facts,
			fmt.Sprintf("bridge br-int port %s interface %s type = %s", tap, tap, kind),
			fmt.Sprintf("interface %s external_ids:iface-id = %s", tap, port.ID))
	}
	return facts, nil
}

// tunnelled reports tunnel ports that should be there and are not, or the other way round.
func (w *walk) tunnelled(node string, p walkPorts, facts map[string]string) error {
	var want []string
	if !w.single && w.hosts(firstNode, p) && w.hosts("compute", p) {
		peer := "192.168.0.11"
		if node != firstNode {
			peer = serverIP
		}
		want = []string{"vxlan-" + peer}
	}
	have := tunnels(facts)
	if !slices.Equal(have, want) {
		return fmt.Errorf("it has %v, not %v", have, want)
	}
	for _, t := range want {
		if ofport(facts, t) == 0 {
			return fmt.Errorf("%s has no OpenFlow port", t)
		}
	}
	return nil
}

// alone reports programs that run in a node's namespace beside Open vSwitch and, on the first node, the server.
func (w *walk) alone(node string) error {
	all, err := inhabitants(w.l.namespace(node))
	if err != nil {
		return err
	}
	var strangers []string
	for _, p := range all {
		name, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.PID), "comm"))
		if err != nil {
			continue // it has ended
		}
		switch program := strings.TrimSpace(string(name)); {
		case program == "ovsdb-server", program == "ovs-vswitchd", program == vmKernel, p == w.s.Processes[roleServer]:
		default:
			strangers = append(strangers, program)
		}
	}
	if strangers != nil {
		return fmt.Errorf("there run %s too", strings.Join(strangers, ", "))
	}
	return nil
}

// explainOne shows one flow's reason in the program's own words, by its cookie: the flow by which vm01 may send.
func (w *walk) explainOne(ctx context.Context, p walkPorts) error {
	vm := p.vm["vm01"]
	if vm == nil {
		return nil
	}
	dump, err := w.l.ovs(ctx, w.host, "ovs-ofctl", "--no-names", "-O", "OpenFlow13", "dump-flows", "br-int", "table=0")
	if err != nil {
		return err
	}
	var line string
	for l := range strings.Lines(dump) {
		if strings.Contains(l, "dl_src="+vm.MAC) {
			line = strings.TrimSpace(l)
			break
		}
	}
	if line == "" {
		w.hold(errors.New("table 0 has none"), "%s: a flow admits vm01's frames by its MAC", w.host)
		return nil
	}
	w.print("\n%s$ ovs-ofctl --no-names -O OpenFlow13 dump-flows br-int table=0 | grep -m1 dl_src=%s\n%s\n", w.host, vm.MAC, line)
	cookie, _, _ := strings.Cut(line, ",")
	if _, err := w.nagare(ctx, "explain", w.host, cookie); err != nil {
		return err
	}
	found, err := w.reasons(ctx, w.host, line)
	if err == nil && (found[0].Kind != "port" || found[0].Object != vm.ID || found[0].author() == "") {
		err = fmt.Errorf("its reason is %+v", found[0])
	}
	w.hold(err, "the flow leads to vm01's port and to the request and the user that bound it")
	return nil
}

// nagare runs a command of this program against the lab's server, as the administrator, and shows it.
func (w *walk) nagare(ctx context.Context, args ...string) (string, error) {
	bin, err := w.l.binary()
	if err != nil {
		return "", err
	}
	credentials, err := w.l.OpenRC("admin")
	if err != nil {
		return "", err
	}
	quoted := slices.Clone(args)
	for i, a := range quoted {
		if strings.ContainsAny(a, " ,") {
			quoted[i] = "'" + a + "'"
		}
	}
	env := slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "OS_") || strings.HasPrefix(e, "NAGARE_SERVER=") })
	return w.show(ctx, "", "nagare "+strings.Join(quoted, " "), append(env, credentials...), append([]string{bin}, args...))
}
