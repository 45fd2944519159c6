// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
)

// recordedPorts are the ids and MACs of the recording.
var recordedPorts = map[string][2]string{
	"":         {"178a8b99-700f-4d2f-be35-f34d420f66a3", "fa:16:3e:ef:85:07"}, // the DHCP port
	walkRouter: {"f72c630e-7389-4b91-bbda-5c27e768ad7b", "fa:16:3e:bb:4f:57"}, // its interface
	"vm01":     {"7adff632-ccf9-4d43-8f5d-7db454313f44", "fa:16:3e:9e:f5:70"},
	"vm02":     {"2756a09c-125a-4fe8-9a26-2bde05857062", "fa:16:3e:53:88:56"},
}

// substitution puts this run's ids, MACs, VNI and OpenFlow ports of a node in
// the place of the recorded ones. With recorded ids nothing is replaced, so that
// everything has to be as recorded.
func (w *walk) substitution(p walkPorts, node string, facts map[string]string) substitution {
	var s substitution
	if w.recorded {
		return s
	}
	s.ports = map[int]int{}
	put := func(recordedOFPort int, name string) {
		if n := ofport(facts, name); n != 0 {
			s.ports[recordedOFPort] = n
		}
	}
	port := func(key string, p *apiPort, recordedOFPort int, here bool) {
		if p == nil {
			return
		}
		r := recordedPorts[key]
		s.text = append(s.text, tapName(r[0]), tapName(p.ID), r[0], p.ID, r[1], p.MAC)
		if here {
			put(recordedOFPort, tapName(p.ID))
		}
	}
	if p.segment != 0 {
		s.text = append(s.text, "tun_id=0x435", fmt.Sprintf("tun_id=0x%x", p.segment), "set_field:0x435->", fmt.Sprintf("set_field:0x%x->", p.segment))
	}
	port("", p.dhcp, 1, node == firstNode)
	port("vm01", p.vm["vm01"], 2, node == w.host)
	port("vm02", p.vm["vm02"], 3, node == w.host)
	if !w.single {
		if node == firstNode {
			put(2, "vxlan-192.168.0.11")
		} else {
			put(1, "vxlan-192.168.0.10")
		}
	}
	return s
}

// checkRecorded is checkNode in classic: what was recorded, line by line.
func (w *walk) checkRecorded(ctx context.Context, node, state string) error {
	suffix := node
	if w.single {
		suffix = "single"
	}
	golden := state + "-" + suffix
	var wantFlows, haveFlows, wantFacts []string
	var facts map[string]string
	// Bringing a switch there takes a moment; what is still missing at the end
	// of it is reported below, fact by fact.
	waited := until(ctx, settleWithin, "node "+node+" shows the step's state", func(ctx context.Context) error {
		p, err := w.ports(ctx)
		if err != nil {
			return err
		}
		seen, err := w.l.facts(ctx, node)
		if err != nil {
			return err
		}
		facts = seen
		sub := w.substitution(p, node, facts)
		if wantFlows, err = goldenFlows(golden, sub); err != nil {
			return finalError{err}
		}
		if wantFacts, err = goldenFacts(w.step, node, w.single, node == w.host && w.step >= 2, sub); err != nil {
			return finalError{err}
		}
		dump, err := w.l.ovs(ctx, node, "ovs-ofctl", "dump-flows", "br-int", "-O", "OpenFlow13")
		if err != nil {
			return err
		}
		if haveFlows, err = canonicalFlows(dump); err != nil {
			return err
		}
		if d := difference(wantFlows, haveFlows); d != nil {
			return fmt.Errorf("%d flows differ", len(d))
		}
		for _, f := range wantFacts {
			if err := factHolds(facts, f); err != nil {
				return err
			}
		}
		return nil
	})
	if facts == nil {
		return waited
	}
	if _, err := w.on(ctx, node, "ovs-vsctl", "show"); err != nil {
		return err
	}
	for _, f := range wantFacts {
		w.hold(factHolds(facts, f), "%s: %s", node, f)
	}
	w.extraFacts(node, facts)
	if w.step > 0 {
		if _, err := w.on(ctx, node, "ovs-vsctl", "--columns=name,ofport", "list", "Interface"); err != nil {
			return err
		}
	}
	if _, err := w.on(ctx, node, "ovs-ofctl", "dump-flows", "br-int", "-O", "OpenFlow13"); err != nil {
		return err
	}
	w.hold(flowsEqual(wantFlows, haveFlows), "%s: br-int holds exactly the %d expected flows (%s)", node, len(wantFlows), golden)
	return nil
}

// extraFacts are statements that are not lines of the expected state.
func (w *walk) extraFacts(node string, facts map[string]string) {
	if w.recorded {
		if id := rowUUID(idsRecorded, node); id != "" {
			w.equal(facts["Open_vSwitch uuid"], id, "%s: its Open_vSwitch row is %s", node, id)
		}
	}
	if found := tunnels(facts); w.step == 0 {
		w.equal(len(found), 0, "%s: there are no tunnel ports yet", node)
	} else if w.single {
		w.equal(len(found), 0, "%s: alone, it has no tunnel ports at all", node)
	}
	if node != firstNode && w.step == 0 {
		_, has := facts["bridge br-ex fail_mode"]
		w.equal(has, false, "%s: has no br-ex", node)
	}
}

// backToRecorded waits until a node's flows are those of a recorded state again.
func (w *walk) backToRecorded(ctx context.Context, node, state string) error {
	suffix := node
	if w.single {
		suffix = "single"
	}
	return until(ctx, settleWithin, "the flows are as before", func(ctx context.Context) error {
		p, err := w.ports(ctx)
		if err != nil {
			return err
		}
		facts, err := w.l.facts(ctx, node)
		if err != nil {
			return err
		}
		want, err := goldenFlows(state+"-"+suffix, w.substitution(p, node, facts))
		if err != nil {
			return finalError{err}
		}
		dump, err := w.l.ovs(ctx, node, "ovs-ofctl", "dump-flows", "br-int", "-O", "OpenFlow13")
		if err != nil {
			return err
		}
		have, err := canonicalFlows(dump)
		if err != nil {
			return err
		}
		return flowsEqual(want, have)
	})
}
