// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"nagare/internal/compile"
	"nagare/internal/repro"
	"nagare/internal/store"
)

// histories is how many random histories a property sees.
var histories = repro.Rounds(80, 200)

// judge holds that the server has what Neutron wants, by its answers and in its store.
func (r *run) judge(ctx context.Context, s *server) error {
	if err := r.finish(ctx); err != nil {
		return err
	}
	if diff := s.differ(r.N); len(diff) > 0 {
		return fmt.Errorf("%d differences:\n%s", len(diff), strings.Join(diff[:min(len(diff), 12)], "\n"))
	}
	return nil
}

// TestConverges: after any history with faults of the way, deaths of both sides and losses of the whole store, at rest, nothing is failed and the server
// has exactly what Neutron wants.
func TestConverges(t *testing.T) {
	ctx := t.Context()
	var sent, refused, syncs, deaths, wipes int
	for seed := range uint64(histories) {
		s := newServer(t, inMemory())
		r := newRun(seed, s)
		r.kill = func() {
			switch dies := r.Rnd.IntN(8); {
			case dies == 0 && !r.N.canaryQueued():
				// In the middle of a full synchronisation it would be for good: the canary would come to the empty store.
				s.wipe()
				wipes++
			case dies == 1 && !r.N.canaryQueued():
				// As an operator does who wants everything sent again.
				_, _, _ = r.N.do(ctx, http.MethodDelete, "networks/"+Canary, nil)
			case dies < 4:
				s.kill()
			case dies < 6:
				s.arm(beforeWrite)
			default:
				s.arm(afterWrite)
			}
		}
		r.play(ctx, 40, 120)
		if err := r.judge(ctx, s); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		sent, refused, syncs, deaths = sent+r.N.Sent, refused+r.N.Refused, syncs+r.N.Syncs, deaths+s.deaths
		if err := s.st.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if refused < histories || deaths < histories/2 || wipes < histories/10 || syncs < histories*11/10 {
		t.Errorf("too little happened to prove much: %d attempts, %d refused, %d full synchronisations, %d deaths of the server, %d losses of all it had", sent, refused, syncs, deaths, wipes)
	}
	t.Logf("%d attempts, %d refused, %d full synchronisations, %d deaths of the server, %d losses of all it had", sent, refused, syncs, deaths, wipes)
}

// TestFullSync: a server that has lost everything gets it all back, the canary last; and one that has lost the canary alone gets
// everything again, which deletes nothing and changes nothing of what the nodes are to hold.
func TestFullSync(t *testing.T) {
	ctx := t.Context()
	flows := 0
	for seed := range uint64(histories / 4) {
		s := newServer(t, inMemory())
		r := newRun(seed, s)
		r.play(ctx, 60, 0)
		if err := r.judge(ctx, s); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		s.plug()
		before := s.compile()
		for _, d := range before {
			flows += len(d.Flows)
		}
		e := s.follow()
		if code, _, err := r.N.do(ctx, "DELETE", "networks/"+Canary, nil); err != nil || code != 204 {
			t.Fatalf("the canary's end: %d %v", code, err)
		}
		syncs := r.N.Syncs
		if err := r.judge(ctx, s); err != nil {
			t.Fatalf("seed %d, synchronised: %v", seed, err)
		}
		if r.N.Syncs != syncs+1 {
			t.Fatalf("seed %d: %d full synchronisations, wanted is one", seed, r.N.Syncs-syncs)
		}
		if delta := e(); delta != "" {
			t.Errorf("seed %d: a full synchronisation changes the data plane: %s", seed, delta)
		}
		if after := s.compile(); !equalDesired(before, after) {
			t.Errorf("seed %d: compiled anew, the data plane differs after a full synchronisation", seed)
		}

		s.wipe()
		var order []string
		r.Workers = r.Workers[:1] // several may overtake each other
		r.N.Told = func(row *Row, code int, _ []byte) { order = append(order, fmt.Sprintf("%s %d", row.ID, code)) }
		if err := r.judge(ctx, s); err != nil {
			t.Fatalf("seed %d, wiped: %v", seed, err)
		}
		if r.N.Syncs != syncs+2 || len(order) == 0 || order[len(order)-1] != Canary+" 201" {
			t.Errorf("seed %d: %d full synchronisations, the last of %d objects was %v", seed, r.N.Syncs-syncs, len(order), order[max(0, len(order)-1):])
		}
		if t.Failed() {
			return
		}
		if err := s.st.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if flows < 1000 {
		t.Errorf("%d flows in all: too few to prove much", flows)
	}
}

// follow starts an engine on what the store holds; the returned function lets it catch up and tells what has changed for nodes.
func (s *server) follow() func() string {
	e, w := newEngine(), s.st.Watch()
	w.Take()
	e.Update(s.st.Snapshot(), &store.Changes{All: true})
	return func() string {
		defer w.Close()
		snap, changes, ok := w.Take()
		if !ok {
			return "nothing was written"
		}
		var out []string
		for node, d := range e.Update(snap, changes) {
			if !d.Empty() {
				out = append(out, fmt.Sprintf("%s: %d flows, %d groups, %d meters, %d rows", node, len(d.Flows), len(d.Groups), len(d.Meters), len(d.Rows)))
				for k, c := range d.Flows {
					out = append(out, fmt.Sprint(k, c.Before, c.After))
				}
			}
		}
		return strings.Join(out[:min(len(out), 8)], "\n")
	}
}

func equalDesired(a, b map[string]compile.Desired) bool {
	return maps.EqualFunc(a, b, func(x, y compile.Desired) bool {
		return maps.Equal(x.Flows, y.Flows) && reflect.DeepEqual(x.Groups, y.Groups) && reflect.DeepEqual(x.Meters, y.Meters) && reflect.DeepEqual(x.Rows, y.Rows)
	})
}
