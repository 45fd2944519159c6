// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"nagare/internal/repro"
)

// run is one history on a server, with faults.
type run struct {
	*Drive
	h    *History
	wire *Wire
	kill func() // ends the server and starts it again from what is durable; nil: it does not die
	seed uint64
}

func newRun(seed uint64, server http.RoundTripper) *run {
	rnd := repro.Rand(seed, 1)
	r := &run{wire: &Wire{Next: server}, seed: seed}
	n := New("http://controller:8181", &http.Client{Transport: r.wire}, "neutron", "secret")
	r.Drive = NewDrive(n, 1+rnd.IntN(4), rnd)
	r.h = &History{N: n, Hosts: []string{"a", "b"}, Rnd: rnd}
	return r
}

// faults makes a share of requests, in thousandths, go wrong.
func (r *run) faults(share int) {
	r.wire.Choose = func(*http.Request) Fault {
		if r.Rnd.IntN(1000) >= share {
			return None
		}
		return Fault(1 + r.Rnd.IntN(int(Late)))
	}
}

func nobody(_, _, _ string) bool { return false }

// play makes changes while workers work, badly connected; both sides die now and then.
func (r *run) play(ctx context.Context, changes, share int) {
	r.h.Start()
	r.faults(share)
	for range changes {
		r.h.Step()
		for range r.Rnd.IntN(12) {
			r.Step(ctx)
		}
		switch r.Rnd.IntN(40) {
		case 0:
			r.Die()
		case 1, 6:
			if r.kill != nil {
				r.kill()
			}
		case 2, 7, 8:
			r.Pass(ctx, MaintenanceEvery)
			_ = r.N.Maintain(ctx) // errors are the faults'
		case 3:
			// Whoever gave a request up is long gone when it arrives.
			_, _ = r.wire.Arrive(nobody)
		case 4, 5:
			r.Pass(ctx, longestPause)
		}
	}
	r.wire.Choose = nil
}

// finish lets everything come to rest and judges.
func (r *run) finish(ctx context.Context) error {
	if err := r.Settle(ctx); err != nil {
		return err
	}
	if _, err := r.wire.Arrive(r.N.Overtaken); err != nil {
		return err
	}
	diff, err := r.N.Judge(ctx)
	if err == nil && len(diff) > 0 {
		err = fmt.Errorf("%d differences:\n%s", len(diff), strings.Join(diff[:min(len(diff), 12)], "\n"))
	}
	return err
}

// TestModel runs histories on a controller that keeps what it is told: the model and its judgement agree with the contract.
func TestModel(t *testing.T) {
	ctx := t.Context()
	var refused, syncs, sent int
	for seed := range uint64(60) {
		r := newRun(seed, Local{&toy{}})
		r.play(ctx, 40, 150)
		if err := r.finish(ctx); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		refused, syncs, sent = refused+r.N.Refused, syncs+r.N.Syncs, sent+r.N.Sent
	}
	if syncs < 60 || refused < 500 || sent < 5000 {
		t.Errorf("too little happened to prove much: %d attempts, %d refused, %d full synchronisations", sent, refused, syncs)
	}
	t.Logf("%d attempts, %d refused, %d full synchronisations", sent, refused, syncs)
}

// TestModelSeesFaults: each manner spoiled is found out by some history.
func TestModelSeesFaults(t *testing.T) {
	ctx := t.Context()
	for name, spoil := range map[string]func(*toy){
		"updates merge":              func(m *toy) { m.merges = true },
		"repeated creates refused":   func(m *toy) { m.refuses = true },
		"updates create":             func(m *toy) { m.upserts = true },
		"no canary seen missing":     func(m *toy) { m.forgetful = true },
		"older updates count":        func(m *toy) { m.stale = true },
		"late creates count":         func(m *toy) { m.late = true },
		"requests of the gone count": func(m *toy) { m.deaf = true },
	} {
		found := false
		for seed := range uint64(60) {
			server := &toy{}
			spoil(server)
			r := newRun(seed, Local{server})
			r.kill = func() { // all is lost
				server.mu.Lock()
				defer server.mu.Unlock()
				server.data = nil
			}
			r.play(ctx, 40, 200)
			if r.finish(ctx) != nil {
				found = true
				break
			}
		}
		if !found {
			t.Errorf("%s: no history noticed", name)
		}
	}
}
