// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"nagare/internal/repro"
)

// storm changes ports from several clients at once and keeps book of every answer.
type storm struct {
	demo, admin     *client
	network, subnet string
	toggled         string // port of an instance, whose admin state goes up and down

	workers []*stormWorker
	toggle  outcome
}

// stormWorker owns some ports; nobody else changes them.
type stormWorker struct {
	no      int
	serial  int
	rng     *rand.Rand
	ports   []*stormPort
	made    []string // ids of acknowledged creations, those of before too
	deleted []string // ids whose deletion was acknowledged
}

// stormPort is one port as its owner knows it. What has no answer may have happened or not.
type stormPort struct {
	by      *client // its owner
	id      string  // "" if the creation had no answer
	birth   string  // name at its creation
	name    outcome // candidates of the present name
	dying   bool    // a deletion had no answer
	created port    // as the creation's answer had it
}

// outcome is a value of which the last acknowledged one is known, and perhaps one more that may have been set.
type outcome struct {
	value string
	maybe []string
}

func (o outcome) allows(v string) bool { return v == o.value || slices.Contains(o.maybe, v) }

const stormWorkers = 8

func newStorm(s *site, demo, admin *client, network, subnet, toggled string) *storm {
	st := &storm{demo: demo, admin: admin, network: network, subnet: subnet, toggled: toggled, toggle: outcome{value: "true"}}
	seed := repro.Seed()
	s.t.Logf("seed of the storm: %d", seed)
	for i := range stormWorkers {
		st.workers = append(st.workers, &stormWorker{no: i, rng: rand.New(rand.NewPCG(seed, uint64(i)))})
	}
	return st
}

// blow changes ports until so many changes were acknowledged, then strikes in the middle of those that are under way. It
// returns the number that were acknowledged.
func (st *storm) blow(s *site, changes int, strike func()) int {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	var acked atomic.Int64
	enough := make(chan struct{})
	var once sync.Once
	acknowledge := func() {
		if acked.Add(1) >= int64(changes) {
			once.Do(func() { close(enough) })
		}
	}
	faults := make(chan error, stormWorkers+1)
	var done sync.WaitGroup
	for _, w := range st.workers {
		done.Go(func() {
			for ctx.Err() == nil {
				answered, err := st.change(ctx, w)
				if err != nil {
					faults <- err
					return
				}
				if !answered {
					return // the server is gone: the rest is for after the restart
				}
				acknowledge()
			}
		})
	}
	done.Go(func() {
		for ctx.Err() == nil {
			answered, err := st.flip(ctx)
			if err != nil {
				faults <- err
				return
			}
			if !answered {
				return
			}
			acknowledge()
		}
	})
	select {
	case <-enough:
		strike()
	case err := <-faults:
		s.t.Error(err)
	case <-s.t.Context().Done():
	}
	cancel()
	done.Wait()
	close(faults)
	for err := range faults {
		s.t.Error(err)
	}
	if s.t.Failed() {
		s.t.FailNow()
	}
	return int(acked.Load())
}

// send does one request. answered is false if nobody knows whether it was carried out; any answer but the wanted is an error.
func send(ctx context.Context, c *client, want int, method, target string, body, into any) (answered bool, err error) {
	code, answer, err := c.do(ctx, method, target, body)
	switch {
	case err != nil, code == 503:
		return false, nil
	case code != want:
		return true, fmt.Errorf("%s %s: answer %d, want %d: %s", method, target, code, want, answer)
	case into == nil:
		return true, nil
	}
	return true, json.Unmarshal(answer, into)
}

// change makes one change: more creations while there are few ports, fewer when there are many.
func (st *storm) change(ctx context.Context, w *stormWorker) (answered bool, err error) {
	kind := w.rng.IntN(4)
	switch n := len(w.ports); {
	case n < 3 || kind == 0 && n < 25:
		return st.create(ctx, w)
	case kind == 1 || n >= 25:
		i := w.rng.IntN(n)
		p := w.ports[i]
		if answered, err = send(ctx, p.by, 204, "DELETE", p.by.neutron("/ports/"+p.id), nil, nil); err != nil {
			return answered, err
		}
		if answered {
			w.deleted = append(w.deleted, p.id)
			w.ports = slices.Delete(w.ports, i, i+1)
		} else {
			p.dying = true
		}
		return answered, nil
	}
	p := w.ports[w.rng.IntN(len(w.ports))]
	w.serial++
	name := fmt.Sprintf("renamed-%d-%d", w.no, w.serial)
	answered, err = send(ctx, p.by, 200, "PUT", p.by.neutron("/ports/"+p.id), map[string]any{"port": map[string]any{"name": name}}, nil)
	if err == nil && answered {
		p.name = outcome{value: name}
	} else if err == nil {
		p.name.maybe = append(p.name.maybe, name)
	}
	return answered, err
}

// create makes a port, every other one bound to a node, as an instance's would be.
func (st *storm) create(ctx context.Context, w *stormWorker) (answered bool, err error) {
	w.serial++
	name := fmt.Sprintf("made-%d-%d", w.no, w.serial)
	c, fields := st.demo, map[string]any{"name": name, "network_id": st.network}
	if w.serial%2 == 0 {
		c = st.admin
		fields["binding:host_id"], fields["device_owner"] = compute, "compute:storm"
	}
	p := &stormPort{by: c, birth: name, name: outcome{value: name}}
	var body struct{ Port port }
	answered, err = send(ctx, c, 201, "POST", c.neutron("/ports"), map[string]any{"port": fields}, &body)
	if err != nil {
		return answered, err
	}
	if answered {
		p.id, p.created = body.Port.ID, body.Port
		w.made = append(w.made, p.id)
	}
	w.ports = append(w.ports, p)
	return answered, nil
}

// flip turns the instance's port off or on, so that flows come and go.
func (st *storm) flip(ctx context.Context) (answered bool, err error) {
	up := st.toggle.value != "true"
	answered, err = send(ctx, st.demo, 200, "PUT", st.demo.neutron("/ports/"+st.toggled), map[string]any{"port": map[string]any{"admin_state_up": up}}, nil)
	if err == nil && answered {
		st.toggle = outcome{value: fmt.Sprint(up)}
	} else if err == nil {
		st.toggle.maybe = []string{fmt.Sprint(up)}
	}
	return answered, err
}

// verify compares everything that is stored with the book, and then takes as known what was not.
func (st *storm) verify(s *site) {
	s.t.Helper()
	all, err := st.admin.ports("network_id=" + st.network)
	if err != nil {
		s.t.Fatal(err)
	}
	byID, byName := map[string]port{}, map[string]port{}
	addresses, macs := map[string]string{}, map[string]string{}
	for _, p := range all {
		if old, twice := byID[p.ID]; twice {
			s.t.Errorf("id %s is listed twice, as %q and %q", p.ID, old.Name, p.Name)
		}
		byID[p.ID] = p
		if old, twice := macs[p.MAC]; twice {
			s.t.Errorf("MAC %s belongs to the ports %s and %s", p.MAC, old, p.ID)
		}
		macs[p.MAC] = p.ID
		for _, f := range p.FixedIPs {
			if old, twice := addresses[f.IP]; twice {
				s.t.Errorf("address %s belongs to the ports %s and %s", f.IP, old, p.ID)
			}
			addresses[f.IP] = p.ID
		}
		if p.DeviceOwner == "network:dhcp" {
			continue
		}
		if _, twice := byName[p.Name]; twice {
			s.t.Errorf("name %q is stored twice", p.Name)
		}
		byName[p.Name] = p
		st.whole(s, p)
	}
	known := map[string]bool{}
	acked, open := 0, 0
	for _, w := range st.workers {
		for _, id := range w.deleted {
			if p, there := byID[id]; there {
				s.t.Errorf("the deletion of port %s (%q) was acknowledged, and it is there", id, p.Name)
			}
		}
		var keep []*stormPort
		for _, p := range w.ports {
			have, there := byID[p.id]
			if p.id == "" { // its creation had no answer
				open++
				if have, there = byName[p.birth]; !there {
					continue
				}
				p.id, p.created = have.ID, have
				w.made = append(w.made, p.id)
			} else {
				acked++
			}
			if !there {
				if !p.dying {
					s.t.Errorf("port %s (%q) was acknowledged, and it is not there", p.id, p.name.value)
				}
				continue
			}
			known[p.id] = true
			if !p.name.allows(have.Name) {
				s.t.Errorf("port %s is named %q, acknowledged is %q (perhaps %v)", p.id, have.Name, p.name.value, p.name.maybe)
			}
			if have.MAC != p.created.MAC || fmt.Sprint(have.FixedIPs) != fmt.Sprint(p.created.FixedIPs) || have.HostID != p.created.HostID && p.created.HostID != "" {
				s.t.Errorf("port %s was created as %+v and is now %+v", p.id, p.created, have)
			}
			p.name, p.dying = outcome{value: have.Name}, false
			keep = append(keep, p)
		}
		w.ports = keep
	}
	handedOut := map[string]bool{}
	for _, w := range st.workers {
		for _, id := range w.made {
			if handedOut[id] {
				s.t.Errorf("id %s was handed out twice", id)
			}
			handedOut[id] = true
		}
	}
	for id, p := range byID {
		if !known[id] && p.DeviceOwner != "network:dhcp" {
			s.t.Errorf("port %s (%q) is there, and nobody made it or it was deleted", id, p.Name)
		}
	}
	p, err := st.demo.port(st.toggled)
	if err != nil {
		s.t.Fatal(err)
	}
	if !st.toggle.allows(fmt.Sprint(p.AdminUp)) {
		s.t.Errorf("the toggled port's admin state is %v, acknowledged is %v", p.AdminUp, st.toggle.value)
	}
	st.toggle = outcome{value: fmt.Sprint(p.AdminUp)}
	s.t.Logf("%d ports are stored; %d acknowledged ones and %d of unknown outcome were looked for", len(all), acked, open)
}

// whole holds that a stored port has everything that a port has.
func (st *storm) whole(s *site, p port) {
	s.t.Helper()
	if p.MAC == "" || p.NetworkID != st.network || len(p.FixedIPs) != 1 || p.FixedIPs[0].SubnetID != st.subnet ||
		!strings.HasPrefix(p.FixedIPs[0].IP, "10.20.") || len(p.SecurityGroups) != 1 || !p.AdminUp || p.Status != "DOWN" {
		s.t.Errorf("port is there by half: %+v", p)
	}
}
