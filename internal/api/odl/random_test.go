// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"fmt"
	"slices"
	"testing"

	"nagare/internal/compile"
	"nagare/internal/model"
	"nagare/internal/netvirt"
	"nagare/internal/pipeline"
	"nagare/internal/repro"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// said is what the client has said of ports and trunks, and nothing of what follows from it.
type said struct {
	hosts   map[string]string // of the ports that are there
	parents map[string]string // of the trunks that are there
	lists   map[string][]string
}

// place is where a port has to be.
func (s *said) place(port string) (parent string, tag int, host string) {
	for _, p := range s.parents {
		if p == port {
			return "", 0, s.hosts[port]
		}
	}
	for _, t := range []string{trunkA, trunkB} {
		if at := slices.Index(s.lists[t], port); at >= 0 {
			return s.parents[t], 100 + at, s.hosts[s.parents[t]] // a parent is where the client says
		}
	}
	return "", 0, s.hosts[port]
}

// TestRandomOrder: ports, trunks, policies and networks come, change and go in any order. Every port is where what was said last puts it,
// has slots there and nowhere else, and what follows for nodes does not depend on the way there.
func TestRandomOrder(t *testing.T) {
	for seed := range uint64(4) {
		rnd := repro.Rand(seed, 9)
		w := cloud(t)
		engine := compile.New(netvirt.Standard(netvirt.Options{NativeDHCP: true}), pipeline.Check)
		engine.AddNode("controller")
		engine.AddNode("compute")
		watch := w.st.Watch()
		engine.Update(w.st.Snapshot(), &store.Changes{All: true})
		ids := []string{portA, portB, gwPort, ifPort, fipPort}
		for _, id := range ids {
			w.plug("compute", model.PortID(id))
			w.plug("controller", model.PortID(id))
		}
		s := said{map[string]string{}, map[string]string{}, map[string][]string{}}
		some := func(of ...string) string { return of[rnd.IntN(len(of))] }
		carried := 0
		for i := range 400 {
			method, path, body, code := "POST", "", "", 201
			switch rnd.IntN(10) {
			case 0, 1, 2, 3:
				n := rnd.IntN(len(ids))
				if path = "/ports/" + ids[n]; rnd.IntN(4) == 0 && s.hosts[ids[n]] != "" {
					method, code = "DELETE", 204
					delete(s.hosts, ids[n])
					break
				}
				host := some("compute", "controller")
				s.hosts[ids[n]] = host
				path = "/ports"
				body = portBody(ids[n], fmt.Sprintf("fa:16:3e:00:00:%02x", n+1), fmt.Sprintf("10.0.0.%d", n+5),
					`,"device_owner":"compute:x","binding:host_id":"`+host+`","qos_policy_id":`+some("null", `"`+netA+`"`, `"`+netB+`"`))
			case 4, 5, 6, 7:
				id := some(trunkA, trunkB)
				if path = "/trunks/" + id; rnd.IntN(4) == 0 && s.parents[id] != "" {
					method, code = "DELETE", 204
					delete(s.parents, id)
					delete(s.lists, id)
					break
				}
				list := slices.Clone(ids)
				rnd.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
				parent := ids[rnd.IntN(2)]
				list = list[:rnd.IntN(4)]
				s.parents[id], s.lists[id] = parent, list
				path, body = "/trunks", trunkBody(id, parent, list...)
			case 8:
				id := some(netA, netB)
				path = "/qos/policies"
				body = fmt.Sprintf(`{"policy":{"id":%q,"bandwidth_limit_rules":[{"id":%q,"max_kbps":%d,"direction":%q}],"dscp_marking_rules":[{"id":%q,"dscp_mark":%d}]}}`,
					id, "4"+id[1:], rnd.IntN(3)*1000, some("egress", "ingress"), "5"+id[1:], rnd.IntN(64))
				if _, ok := tables.QosPolicies.Get(w.st.Snapshot(), model.QosPolicyID(id)); ok && rnd.IntN(3) == 0 {
					method, path, code = "DELETE", "/qos/policies/"+id, 204
				}
			default:
				path, body = "/networks", netBody(netA, "1077", `,"qos_policy_id":`+some("null", `"`+netA+`"`, `"`+netB+`"`))
			}
			w.do(method, path, body, code)
			if snap, ch, ok := watch.Take(); ok {
				engine.Update(snap, ch)
			}
			lately := method + " " + path + " " + body
			for _, id := range ids {
				p := w.port(id)
				parent, tag, host := s.place(id)
				if _, there := s.hosts[id]; !there {
					parent, tag, host = "", 0, ""
				}
				if string(p.Parent) != parent || int(p.VLAN) != tag || string(p.Host) != host {
					t.Fatalf("seed %d: port %s is carried by %q with tag %d on %q, want %q, %d, %q, after %s", seed, id, p.Parent, p.VLAN, p.Host, parent, tag, host, lately)
				}
				for _, n := range []model.NodeID{"compute", "controller"} {
					if _, has := tables.SlotsByPort.First(w.st.Snapshot(), model.PlugKey(n, model.PortID(id))); has != (string(n) == host) {
						t.Fatalf("seed %d: port %s on %q has a slot on %s: %v, after %s", seed, id, host, n, has, lately)
					}
				}
				if parent != "" && host != "" {
					carried++
				}
			}
			if i%8 == 7 {
				w.asFromScratch(engine, lately)
			}
		}
		watch.Close()
		if carried < 50 {
			t.Errorf("seed %d: only %d times a port was carried, which shows little", seed, carried)
		}
	}
}
