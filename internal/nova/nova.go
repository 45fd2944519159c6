// SPDX-License-Identifier: Apache-2.0

// Package nova tells Nova what happens to the ports of its instances, by its os-server-external-events: an instance that boots
// waits for the event that its port is plugged, and is resumed then.
//
// The events are derived from the store's log of commits, from the last one that Nova was told of, which is itself stored.
// Invariants: events are sent in the order of the commits, and the next only when Nova has taken those before; one that was due is
// not forgotten by a restart of either side (it may be repeated, which Nova tolerates); a restart of ours makes none; no request
// waits for Nova. A port's status is written when its node has confirmed its flows, so that none is told to be plugged earlier.
//
// Callers: internal/app, with the credentials of the operator's Nova.
package nova

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"nagare/internal/store"
	"nagare/internal/tables"
)

// Event is one event as Nova's API has it (os-server-external-events). Server is the instance's id, Tag the port's.
type Event struct {
	Name   string `json:"name"`
	Server string `json:"server_uuid"`
	Status string `json:"status,omitempty"`
	Tag    string `json:"tag,omitempty"`
}

// Names and statuses of events.
const (
	Plugged   = "network-vif-plugged"
	Unplugged = "network-vif-unplugged"
	Deleted   = "network-vif-deleted"
	Changed   = "network-changed"

	completed = "completed"
	failed    = "failed"
)

// Answer is what Nova said of one event.
type Answer struct {
	Event
	Code int `json:"code"` // 200; 404 no such instance; 400 not for this one; 422 it is on no host
}

// Client sends events. An error that is not a *Refusal means that Nova has not taken them, and is tried again.
type Client interface {
	Send(ctx context.Context, events []Event) ([]Answer, error)
}

// Refusal is an answer of Nova that another attempt would not better.
type Refusal struct {
	Code int
	Text string
}

func (r *Refusal) Error() string { return "Nova refuses the events: " + r.Text }

// Config is what a Notifier needs.
type Config struct {
	Store  *store.Store
	Client Client
	// Status and Data say which events are sent: of ports' statuses, and of changes of their data.
	Status, Data bool
	Log          *slog.Logger
	// After gives the time; nil: time.After. It is called with how long to wait before another attempt.
	After func(time.Duration) <-chan time.Time
}

// Notifier follows the store.
type Notifier struct{ cfg Config }

// New makes a Notifier that does nothing until Run.
func New(cfg Config) *Notifier {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.After == nil {
		cfg.After = time.After
	}
	return &Notifier{cfg: cfg}
}

// Told is the last commit that Nova has been told of.
type Told struct {
	Revision store.Revision `json:"revision"`
	Time     time.Time      `json:"time"` // of that commit
}

const toldKey = "nova"

var told = store.Declare[string, Told](tables.Schema, "nova-told", store.Observed)

// Bounds.
const (
	maxBatch = 100 // events in one request
	// Commits without an event are passed over without a note, but not so many that a restart reads long.
	rememberEvery = 1000
	firstWait     = time.Second
	maxWait       = 30 * time.Second
)

// Run sends events until ctx ends. A log of commits that cannot be read, like that of a store whose etcd is away, is read again later.
func (n *Notifier) Run(ctx context.Context) error {
	last, ok := told.Get(n.cfg.Store.Snapshot(), toldKey)
	if !ok { // Nova was never told of anything: what was before is not its affair
		last = Told{Revision: n.cfg.Store.Snapshot().Revision()}
		if n.remember(ctx, last) != nil {
			return nil // ctx ended
		}
	}
	for wait := firstWait; ; wait = min(2*wait, maxWait) {
		before := last.Revision
		err := n.follow(ctx, &last)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it is ctx's
		}
		if last.Revision != before {
			wait = firstWait
		}
		n.cfg.Log.Error("the log of commits cannot be read, so Nova is told nothing; it is tried again", "error", err, "in", wait.String())
		select {
		case <-ctx.Done():
			return nil
		case <-n.cfg.After(wait):
		}
	}
}

// follow sends the events of the commits after the last one that Nova was told of, and moves that on.
func (n *Notifier) follow(ctx context.Context, last *Told) error {
	return n.cfg.Store.Follow(ctx, last.Revision, func(rs []store.LogRecord, lost bool) error {
		var due []Event
		if lost {
			n.cfg.Log.Warn("the log of commits no longer reaches back to the last event that Nova was sent; it is told of every port that became ACTIVE since", "since", last.Time)
			due = activeSince(n.cfg.Store.Snapshot(), last.Time)
		}
		for _, r := range rs {
			due = append(due, n.derive(&r)...)
		}
		newest := *last
		if len(rs) > 0 {
			newest = Told{Revision: rs[len(rs)-1].Revision, Time: rs[len(rs)-1].Time}
		}
		if len(due) == 0 && newest.Revision < last.Revision+rememberEvery {
			return nil
		}
		for len(due) > 0 {
			k := min(len(due), maxBatch)
			if err := n.deliver(ctx, due[:k]); err != nil {
				return err
			}
			due = due[k:]
		}
		*last = newest
		return n.remember(ctx, *last)
	})
}

// remember stores how far Nova has been told. If the store cannot take it, the next time tells more than is needed.
func (n *Notifier) remember(ctx context.Context, t Told) error {
	_, err := n.cfg.Store.Commit(ctx, store.Origin{User: "nagare", Action: "nova was told"}, func(tx *store.Txn) error {
		told.Put(tx, toldKey, t)
		return nil
	})
	if err != nil && ctx.Err() == nil {
		n.cfg.Log.Error("how far Nova was told is not stored; after a restart it would be told again", "error", err)
		return nil
	}
	return err
}

// deliver sends events until Nova has taken them.
func (n *Notifier) deliver(ctx context.Context, events []Event) error {
	for wait := firstWait; ; wait = min(2*wait, maxWait) {
		answers, err := n.cfg.Client.Send(ctx, events)
		var refusal *Refusal
		switch {
		case err == nil:
			for _, a := range answers {
				if a.Code >= 300 {
					n.cfg.Log.Warn("Nova has no use for an event", "event", a.Name, "instance", a.Server, "port", a.Tag, "code", a.Code)
				}
			}
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &refusal):
			n.cfg.Log.Warn("events are dropped", "error", err, "events", len(events), "first", events[0].Name, "instance", events[0].Server, "port", events[0].Tag)
			return nil
		}
		n.cfg.Log.Warn("Nova cannot be told; it is tried again", "error", err, "events", len(events), "in", wait.String())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-n.cfg.After(wait):
		}
	}
}
