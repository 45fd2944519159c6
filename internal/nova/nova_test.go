// SPDX-License-Identifier: Apache-2.0

package nova

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	server = "7b0c2d3e-0000-4000-8000-000000000001"
	portID = model.PortID("9c0c2d3e-0000-4000-8000-000000000002")
)

// fakeNova takes events, unless it is told to fail.
type fakeNova struct {
	mu    sync.Mutex
	got   []Event
	fails []error // of the next requests
	news  chan struct{}
}

func newFake() *fakeNova { return &fakeNova{news: make(chan struct{}, 1000)} }

func (f *fakeNova) Send(_ context.Context, events []Event) ([]Answer, error) {
	f.mu.Lock()
	defer func() { f.mu.Unlock(); f.news <- struct{}{} }()
	if len(f.fails) > 0 {
		err := f.fails[0]
		f.fails = f.fails[1:]
		if err != nil {
			return nil, err
		}
	}
	f.got = append(f.got, events...)
	return nil, nil
}

// failures is how many requests are still to fail.
func (f *fakeNova) failures() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.fails)
}

func (f *fakeNova) events() []Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.got)
}

// world is a store with a Notifier on it.
type world struct {
	t    *testing.T
	st   *store.Store
	fake *fakeNova
	end  func()
}

func begin(t *testing.T, log store.Log, fake *fakeNova) *world {
	t.Helper()
	st, err := store.Open(t.Context(), tables.Schema, store.Options{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, st: st, fake: fake}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	now := make(chan time.Time)
	close(now)
	n := New(Config{Store: st, Client: fake, Status: true, Data: true, After: func(time.Duration) <-chan time.Time { return now }})
	go func() { done <- n.Run(ctx) }()
	w.end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(w.end)
	// It has begun when it has noted from where.
	watch := st.Watch()
	defer watch.Close()
	for {
		snap, _, err := watch.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := told.Get(snap, toldKey); ok {
			return w
		}
	}
}

func (w *world) commit(f func(tx *store.Txn)) {
	w.t.Helper()
	_, err := w.st.Commit(w.t.Context(), store.Origin{}, func(tx *store.Txn) error { f(tx); return nil })
	if err != nil {
		w.t.Fatal(err)
	}
}

// expect waits until Nova has taken these events since the start, and holds that it took no others.
func (w *world) expect(want ...Event) {
	w.t.Helper()
	for len(w.fake.events()) < len(want) {
		select {
		case <-w.fake.news:
		case <-time.After(time.Minute):
			w.t.Fatalf("Nova has only been told %+v, want %+v", w.fake.events(), want)
		}
	}
	if got := w.fake.events(); !slices.Equal(got, want) {
		w.t.Errorf("Nova was told\n%+v, want\n%+v", got, want)
	}
}

func aPort(owner, device string) model.Port {
	p := model.Port{ID: portID, DeviceID: device}
	p.DeviceOwner, p.AdminStateUp, p.Network, p.Key = owner, true, "n", 7
	p.RevisionNo = 1
	return p
}

func put(p model.Port) func(tx *store.Txn) {
	return func(tx *store.Txn) {
		if err := alloc.PutPort(tx, p); err != nil {
			panic(err)
		}
	}
}

func status(s string) func(tx *store.Txn) {
	return func(tx *store.Txn) {
		tables.Statuses.Put(tx, portID, model.PortStatus{Port: portID, Status: s, Since: time.Now()})
	}
}

func event(name, st string) Event {
	return Event{Name: name, Server: server, Status: st, Tag: string(portID)}
}

// TestLife is a port from its binding to its deletion.
func TestLife(t *testing.T) {
	w := begin(t, store.NewMemory(store.Limits{}).Log(), newFake())
	p := aPort("compute:nova", server)
	w.commit(put(p))
	w.commit(status(model.StatusDown)) // as it begins
	w.commit(status(model.StatusActive))
	p.Name, p.RevisionNo = "renamed", 2
	w.commit(put(p))
	w.commit(func(tx *store.Txn) {
		f := model.FloatingIP{ID: "f"}
		f.Port = portID
		tables.FloatingIPs.Put(tx, f.ID, f)
	})
	w.commit(status(model.StatusDown))
	w.commit(status(model.StatusError))
	want := []Event{event(Plugged, completed), event(Changed, ""), event(Changed, ""), event(Unplugged, completed), event(Plugged, failed)}
	w.expect(want...)
	w.commit(func(tx *store.Txn) {
		alloc.DeletePort(tx, p.ID)
		tables.Statuses.Delete(tx, portID)
	})
	w.expect(append(want, event(Deleted, completed))...)
}

// TestOthersPorts: of ports that are no instance's, Nova hears nothing.
func TestOthersPorts(t *testing.T) {
	for _, p := range []model.Port{aPort("network:dhcp", server), aPort("", server), aPort("compute:nova", "lab-vm01")} {
		w := begin(t, store.NewMemory(store.Limits{}).Log(), newFake())
		w.commit(put(p))
		w.commit(status(model.StatusDown))
		w.commit(status(model.StatusActive))
		p.RevisionNo++
		w.commit(put(p))
		other := aPort("compute:nova", server)
		other.ID, other.Key = "another", 8
		w.commit(put(other))
		other.RevisionNo++
		w.commit(put(other))
		w.expect(Event{Name: Changed, Server: server, Tag: "another"})
		w.end()
	}
}

// TestAllocatorsAreNobody: what allocators write is no event.
func TestAllocatorsAreNobody(t *testing.T) {
	w := begin(t, store.NewMemory(store.Limits{}).Log(), newFake())
	p := aPort("compute:nova", server)
	w.commit(put(p))
	p.Key = 99
	w.commit(put(p))
	w.commit(status(model.StatusActive))
	w.expect(event(Plugged, completed))
}

// TestMigration: Nova hears once that the host is ready to which an instance goes, and nothing of the one that it leaves.
func TestMigration(t *testing.T) {
	w := begin(t, store.NewMemory(store.Limits{}).Log(), newFake())
	ready := func(hosts ...model.NodeID) func(tx *store.Txn) {
		return func(tx *store.Txn) {
			tables.Statuses.Put(tx, portID, model.PortStatus{Port: portID, Status: model.StatusActive, Ready: hosts, Since: time.Now()})
		}
	}
	p := aPort("compute:nova", server)
	p.Host = "a"
	w.commit(put(p))
	w.commit(ready())
	p.Bindings = []model.Binding{{Host: "b"}}
	w.commit(put(p))
	w.commit(ready("b"))
	p.RevisionNo, p.Host, p.Bindings = 2, "b", []model.Binding{{Host: "a", Former: true}}
	w.commit(func(tx *store.Txn) { put(p)(tx); ready("a")(tx) })
	w.commit(ready("a"))
	p.Bindings = nil
	w.commit(put(p))
	w.commit(ready())
	w.commit(status(model.StatusDown))
	w.expect(event(Plugged, completed), event(Plugged, completed), event(Changed, ""), event(Unplugged, completed))
}

// TestRestart: an event that was due when we ended is sent after the start, and one that was sent is not.
func TestRestart(t *testing.T) {
	disk := store.NewMemory(store.Limits{})
	fake := newFake()
	w := begin(t, disk.Log(), fake)
	w.commit(put(aPort("compute:nova", server)))
	w.commit(status(model.StatusActive))
	w.expect(event(Plugged, completed))
	w.end()

	st, err := store.Open(t.Context(), tables.Schema, store.Options{Log: disk.Log()})
	if err != nil {
		t.Fatal(err)
	}
	missed := &world{t: t, st: st}
	missed.commit(status(model.StatusDown)) // nobody listens
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}

	w = begin(t, disk.Log(), fake)
	w.expect(event(Plugged, completed), event(Unplugged, completed))
	w.commit(status(model.StatusActive))
	w.expect(event(Plugged, completed), event(Unplugged, completed), event(Plugged, completed))
}

// TestNovaIsAway: attempts go on, in order, until Nova takes the events; what it refuses for good is dropped.
func TestNovaIsAway(t *testing.T) {
	fake := newFake()
	fake.fails = []error{errors.New("connection refused"), errors.New("500"), nil, &Refusal{404, "nobody knows it"}}
	w := begin(t, store.NewMemory(store.Limits{}).Log(), fake)
	w.commit(put(aPort("compute:nova", server)))
	w.commit(status(model.StatusActive))
	w.expect(event(Plugged, completed))
	w.commit(status(model.StatusDown)) // refused
	for fake.failures() > 0 {
		<-fake.news
	}
	w.commit(status(model.StatusActive))
	w.expect(event(Plugged, completed), event(Plugged, completed))
}

// TestLogWasTrimmed: when the log no longer tells what was missed, the ports that became ACTIVE since are told.
func TestLogWasTrimmed(t *testing.T) {
	disk := store.NewMemory(store.Limits{})
	fake := newFake()
	w := begin(t, disk.Log(), fake)
	w.commit(put(aPort("compute:nova", server)))
	w.end()
	st, err := store.Open(t.Context(), tables.Schema, store.Options{Log: disk.Log()})
	if err != nil {
		t.Fatal(err)
	}
	(&world{t: t, st: st}).commit(status(model.StatusActive))
	newest := st.Snapshot().Revision()
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if err := disk.Log().Trim(t.Context(), newest+1); err != nil {
		t.Fatal(err)
	}
	w = begin(t, disk.Log(), fake)
	w.expect(event(Plugged, completed))
}

// TestLogIsAway: while the log of commits cannot be read nothing ends, and afterwards Nova is told what it missed, once.
func TestLogIsAway(t *testing.T) {
	log := &fickleLog{Log: store.NewMemory(store.Limits{}).Log()}
	w := begin(t, log, newFake())
	w.commit(put(aPort("compute:nova", server)))
	w.commit(status(model.StatusActive))
	w.expect(event(Plugged, completed))
	log.fails.Store(3)
	w.commit(status(model.StatusDown))
	w.expect(event(Plugged, completed), event(Unplugged, completed))
}

// TestNothingToTell: commits of which Nova hears nothing are not read again and again at each start.
func TestNothingToTell(t *testing.T) {
	w := begin(t, store.NewMemory(store.Limits{}).Log(), newFake())
	first, _ := told.Get(w.st.Snapshot(), toldKey)
	watch := w.st.Watch()
	defer watch.Close()
	for range rememberEvery {
		w.commit(func(tx *store.Txn) {
			n, _ := tables.Networks.Get(tx, "n")
			n.ID, n.RevisionNo = "n", n.RevisionNo+1
			tables.Networks.Put(tx, n.ID, n)
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		snap, _, err := watch.Next(ctx)
		if err != nil {
			t.Fatalf("after %d commits it is not noted that Nova need not hear of them: %v", rememberEvery, err)
		}
		if last, _ := told.Get(snap, toldKey); last.Revision >= first.Revision+rememberEvery {
			return
		}
	}
}

// fickleLog is a log whose entries cannot be read for some times.
type fickleLog struct {
	store.Log
	fails atomic.Int32
}

func (l *fickleLog) Entries(ctx context.Context, from store.Revision, limit int) ([]store.Entry, error) {
	if l.fails.Add(-1) >= 0 {
		return nil, errors.New("etcd is away")
	}
	return l.Log.Entries(ctx, from, limit)
}
