// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Store holds the state of a schema.
type Store struct {
	schema *Schema
	o      Options
	log    Log
	limits Limits
	inline bool // the log answers at once: who commits also flushes, and no goroutine is needed

	head atomic.Pointer[Snapshot] // what readers see
	term atomic.Uint64

	writer  chan struct{} // full while somebody runs a transaction or settles a failure
	waiting atomic.Int64  // callers of Commit that have no answer yet

	mu       sync.Mutex // guards what follows; held shortly
	moved    *sync.Cond // next was taken, or flushing ended
	spec     *Snapshot  // what the next transaction starts from: the committed head and everything on its way
	specHead Head       // the log's head once all that has landed
	next     *batch     // gathers
	flying   *batch     // is being appended or published
	flushing bool       // somebody will take next
	drops    uint64     // how often states under way were dropped
	down     error      // why no commit is possible; nil if one is
	closed   bool
	recent   recent
	stop     chan struct{} // closed by Close

	trimmed struct { // touched by the flusher only
		offset uint64
		at     time.Time
	}
	stats statistics

	watch sync.Mutex
	subs  map[*Watch]struct{}
}

// Options say where a store keeps its log. One of DataDir, Endpoints and Log is set.
type Options struct {
	DataDir   string   // directory of an etcd server inside this process; one process at a time
	Endpoints []string // addresses of an etcd cluster
	Log       Log      // any other log, e.g. a Memory's

	TLS                *tls.Config // towards Endpoints
	Username, Password string      // towards Endpoints
	Prefix             string      // of all keys in etcd; default "/nagare/"
	MaxOps, MaxBytes   int         // of one transaction; 0: what the log takes (of Endpoints: probed, and etcd's default of bytes)

	Timeout  time.Duration // of one request to the log; default 5 s
	MaxQueue int           // callers of Commit that may wait; more get ErrUnavailable at once; default 8192
	LogAge   time.Duration // how long entries of commits are kept at most; default 7 days
	LogBytes int64         // how many bytes of them are kept at most; default 256 MiB

	Now    func() time.Time // clock of commit times; default time.Now
	Logger *slog.Logger     // default slog.Default()

	quota int64             // of the embedded server, for tests
	point func(name string) // called at the places where a crash must do no harm, for tests
}

func (o Options) withDefaults() Options {
	or := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	or(&o.Timeout, 5*time.Second)
	or(&o.LogAge, 7*24*time.Hour)
	if o.Prefix == "" {
		o.Prefix = "/nagare/"
	}
	if o.MaxQueue == 0 {
		o.MaxQueue = 8192
	}
	if o.LogBytes == 0 {
		o.LogBytes = 256 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.point == nil {
		o.point = func(string) {}
	}
	return o
}

// New returns an empty store in memory. now gives commit times; nil means time.Now. It starts no goroutine and need not be
// closed.
func New(s *Schema, now func() time.Time) *Store {
	st, err := Open(context.Background(), s, Options{Log: NewMemory(Limits{}).Log(), Now: now})
	if err != nil {
		panic("store: empty memory log: " + err.Error()) // it has nothing that could be wrong
	}
	return st
}

// Open returns a store with what the log holds, and takes the log over: any other process that had it can write no more
// (ErrFenced). A data directory in use is refused with a *LockedError, an unreadable record with a *CorruptError. The caller
// closes the store. ctx bounds the opening only.
func Open(ctx context.Context, s *Schema, o Options) (*Store, error) {
	o = o.withDefaults()
	for _, reserved := range []string{logDir, metaDir} {
		if _, bad := s.byName[reserved]; bad {
			return nil, fmt.Errorf("table %s: the name is reserved for the log", reserved)
		}
	}
	var log Log
	var err error
	switch {
	case o.Log != nil:
		log = o.Log
	case len(o.Endpoints) > 0:
		log, err = openExternal(ctx, &o)
	case o.DataDir != "":
		log, err = openEmbedded(ctx, &o)
	default:
		err = errors.New("store: no place for the log: set a data directory or etcd endpoints")
	}
	if err != nil {
		return nil, err
	}
	st := newStore(s, o, log)
	if err := st.start(ctx); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return st, nil
}

// newStore returns a store that has no state yet.
func newStore(s *Schema, o Options, log Log) *Store {
	st := &Store{schema: s, o: o, log: log, writer: make(chan struct{}, 1), stop: make(chan struct{}), subs: map[*Watch]struct{}{}}
	_, st.inline = log.(*memoryLog)
	st.limits = log.Limits()
	if o.MaxOps > 0 {
		st.limits.Ops = min(st.limits.Ops, o.MaxOps)
	}
	if o.MaxBytes > 0 {
		st.limits.Bytes = min(st.limits.Bytes, o.MaxBytes)
	}
	st.moved = sync.NewCond(&st.mu)
	st.recent.init()
	st.stats.init()
	return st
}

func (st *Store) start(ctx context.Context) error {
	h, term, err := st.log.Fence(ctx)
	if err != nil {
		return fmt.Errorf("take over the log: %w", err)
	}
	st.o.point(pointAfterFence)
	snap, err := st.load(ctx, h, nil)
	if err != nil {
		return err
	}
	if err := st.loadRecent(ctx, h); err != nil {
		return err
	}
	st.term.Store(term)
	st.head.Store(snap)
	st.spec, st.specHead = snap, h
	st.trimmed.at = st.o.Now()
	st.trimmed.offset = h.Offset
	return nil
}

// Close waits for the commits under way, refuses others and ends the use of the log. Snapshots stay readable.
func (st *Store) Close() error {
	st.writer <- struct{}{}
	st.mu.Lock()
	first := !st.closed
	st.closed, st.down = true, ErrClosed
	st.mu.Unlock()
	<-st.writer
	if !first {
		return nil
	}
	close(st.stop)
	st.mu.Lock()
	for st.flushing {
		st.moved.Wait()
	}
	st.mu.Unlock()
	return st.log.Close()
}

// Snapshot returns the newest committed state.
func (st *Store) Snapshot() *Snapshot { return st.head.Load() }

// Term is the number of this ownership of the log: above that of every earlier one, of any process. It rises when a failure
// was settled.
func (st *Store) Term() uint64 { return st.term.Load() }
