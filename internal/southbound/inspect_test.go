// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/openflow"
)

// TestInspect asks a real switch what it holds: everything, in parts however small, and one flow by itself.
func TestInspect(t *testing.T) {
	s := newSite(t, store.New(tables.Schema, nil), 0, 0)
	sw := s.node("h1", "192.168.0.10")
	s.synced(1)
	s.commit(func(tx *store.Txn) {
		tables.Networks.Put(tx, "net", model.Network{ID: "net", NetworkPlane: model.NetworkPlane{Type: model.VXLAN, SegmentationID: 77, AdminStateUp: true}})
		tables.Subnets.Put(tx, "sub", model.Subnet{ID: "sub", SubnetPlane: model.SubnetPlane{Network: "net", CIDR: netip.MustParsePrefix("10.0.0.0/24")}})
		for i := range byte(5) {
			id := model.PortID([]byte{'p', 'o', 'r', 't', '0' + i})
			tables.Ports.Put(tx, id, vm(id, "h1", 3+i))
		}
	})
	for i := range byte(5) {
		plug(sw, model.PortID([]byte{'p', 'o', 'r', 't', '0' + i}))
	}
	s.until("all active", func() bool {
		for i := range byte(5) {
			if v, _ := tables.Statuses.Get(s.st.Snapshot(), model.PortID([]byte{'p', 'o', 'r', 't', '0' + i})); v.Status != model.StatusActive {
				return false
			}
		}
		return true
	})
	s.synced(1)
	want := s.desired("h1")
	for _, part := range []uint32{partFlows, 5, 3} {
		s.hub.part = part
		var got []flow.Flow
		for table := range 254 { // the last is the switch's own
			if err := s.hub.SwitchFlows(t.Context(), "h1", uint8(table), func(fs []CountedFlow) error {
				for _, f := range fs {
					got = append(got, f.Flow)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		slices.SortFunc(got, flow.Compare)
		if d := cmp.Diff(want, flow.Lines(got)); d != "" {
			t.Errorf("parts of %d flows (-want +got):\n%s", part, d)
		}
		for _, f := range got {
			for _, cookie := range []*uint64{nil, &f.Cookie} {
				if one, ok, err := s.hub.SwitchFlow(t.Context(), "h1", f.Key(), cookie); err != nil || !ok || one.Flow != f {
					t.Errorf("%v: %v %v %v", f, one, ok, err)
				}
			}
			other := f.Key()
			other.Priority++
			if _, ok, err := s.hub.SwitchFlow(t.Context(), "h1", other, nil); err != nil || ok && !slices.ContainsFunc(got, func(g flow.Flow) bool { return g.Key() == other }) {
				t.Errorf("%v with another priority: %v %v", f, ok, err)
			}
		}
	}
	if st := s.hub.Standing("h1"); !st.OpenFlow || st.Wanted != uint64(s.st.Snapshot().Revision()) || st.Confirmed != st.Wanted {
		t.Errorf("standing %+v at revision %d", st, s.st.Snapshot().Revision())
	}

	// Bounds: a question waits for the one before it and then gives up; what cannot be told apart is not gathered without end.
	s.hub.part = 1
	if err := s.hub.SwitchFlows(t.Context(), "h1", 0, func([]CountedFlow) error { return nil }); !errors.Is(err, ErrTooMany) {
		t.Errorf("more flows with one cookie than may be held: %v", err)
	}
	s.hub.part = partFlows
	busy, cancel := context.WithCancel(t.Context())
	err := s.hub.Inspect(t.Context(), "h1", func(context.Context, *openflow.Conn) error {
		cancel()
		return s.hub.Inspect(busy, "h1", func(context.Context, *openflow.Conn) error { t.Error("two at a time"); return nil })
	})
	if !errors.Is(err, ErrBusy) {
		t.Errorf("two questions at a time: %v", err)
	}
	stop := errors.New("stop")
	if err := s.hub.SwitchFlows(t.Context(), "h1", 0, func([]CountedFlow) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("a part that is refused: %v", err)
	}
	if err := s.hub.SwitchFlows(t.Context(), "nobody", 0, nil); !errors.Is(err, ErrNoSession) || s.hub.Standing("nobody") != (Standing{}) {
		t.Errorf("of nobody: %v", err)
	}
	sw.StopVswitchd()
	s.until("gone", func() bool { return !s.hub.Standing("h1").OpenFlow })
	if err := s.hub.SwitchFlows(t.Context(), "h1", 0, nil); !errors.Is(err, ErrNoSession) {
		t.Errorf("of a switch that is gone: %v", err)
	}
}
