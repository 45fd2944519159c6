// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"nagare/internal/store"
)

// hub is who listens. It is told of frames by Run and hands each subscriber its own form of them.
type hub struct {
	mu      sync.Mutex
	open    bool // Run is running
	members map[form]map[*subscriber]struct{}
	count   int
	frames  uint64
	stalled uint64
	told    uint64
	lately  lately
}

// Stats is what the server has done for subscribers since it was made.
type Stats struct {
	Subscribers int    // now
	Frames      uint64 // handed to them, each counted once for each
	Stalled     uint64 // subscribers that were given up because they did not read
	Lagged      uint64 // how often a subscriber was too slow and had to catch up
	Told        uint64 // the newest state (store.Snapshot.Seq) whose changes were handed to them
}

// Stats reports them.
func (s *Server) Stats() Stats {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	n := s.notifier
	n.mu.Lock()
	defer n.mu.Unlock()
	return Stats{Subscribers: h.count + n.members, Frames: h.frames + n.frames, Stalled: h.stalled, Lagged: n.lagged, Told: h.told}
}

func newHub() *hub { return &hub{members: map[form]map[*subscriber]struct{}{}} }

// form is what a subscriber gets; those of one form share the bytes of each frame.
type form struct {
	stream
	leaves bool
}

// subscriber is one web socket. Frames wait in it, bounded by their bytes, until its own goroutine has written them.
type subscriber struct {
	form
	limit int
	wake  chan struct{} // capacity 1

	mu      sync.Mutex
	frames  [][]byte
	pending int    // bytes in frames and in the one being written
	closed  string // why nothing more is sent, "" while something is
	abort   func() // ends the write that is under way, nil if none is
}

// join adds a subscriber, and begins with what it may have missed; it fails if there are too many or nobody would tell it anything.
// Others are the subscribers that this hub does not know of.
func (h *hub) join(f form, cfg *Config, others int) (*subscriber, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case !h.open:
		return nil, errNotReady
	case h.count+others >= cfg.MaxSubscribers:
		return nil, errBusy
	}
	s := &subscriber{form: f, limit: cfg.MaxPending, wake: make(chan struct{}, 1)}
	if h.members[f] == nil {
		h.members[f] = map[*subscriber]struct{}{}
	}
	h.members[f][s] = struct{}{}
	h.count++
	if f.path == portsStream.path {
		now := cfg.Now()
		for _, frame := range frames(h.lately.changes(cfg, cfg.Store.Snapshot(), now), f, now) {
			h.frames++
			s.offer(frame)
		}
	}
	return s, nil
}

// size is how many listen.
func (h *hub) size() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count
}

func (h *hub) leave(s *subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if delete(h.members[s.form], s); len(h.members[s.form]) == 0 {
		delete(h.members, s.form)
	}
	h.count--
}

// begin opens the hub at a state.
func (h *hub) begin(at *store.Snapshot, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open, h.told = true, at.Seq()
	h.lately.load(at, now)
}

// end closes the hub and ends every subscription.
func (h *hub) end(why string) {
	h.mu.Lock()
	h.open = false
	h.mu.Unlock()
	h.endAll(why)
}

// endAll ends every subscription, of which some may have missed something; clients come back and read anew.
func (h *hub) endAll(why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, members := range h.members {
		for s := range members {
			s.end(why)
		}
	}
}

// tell hands the frames of changes to all, made once for each form that somebody wants.
func (h *hub) tell(changes []change, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lately.add(changes, now)
	for f, members := range h.members {
		ready := frames(changes, f, now)
		for s := range members {
			for _, msg := range ready {
				h.frames++
				if !s.offer(msg) {
					h.stalled++
					break
				}
			}
		}
	}
}

// reached notes up to which state everything was told.
func (h *hub) reached(seq uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.told = seq
}

// offer queues a frame, or gives the subscriber up, and is false, if it has not taken the earlier ones.
func (s *subscriber) offer(frame []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != "" {
		return true
	}
	if s.pending > 0 && s.pending+len(frame) > s.limit {
		s.close("it does not read: more waits for it than may")
		return false
	}
	s.frames = append(s.frames, frame)
	s.pending += len(frame)
	s.poke()
	return true
}

// close ends the subscription. s.mu is held.
func (s *subscriber) close(why string) {
	if s.closed != "" {
		return
	}
	s.closed, s.frames = why, nil
	if s.abort != nil {
		s.abort()
	}
	s.poke()
}

func (s *subscriber) end(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.close(why)
}

func (s *subscriber) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// next gives what waits, to be written with abort at hand; written is how many bytes of the last were sent.
func (s *subscriber) next(written int, abort func()) (frames [][]byte, closed string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending -= written
	frames, s.frames = s.frames, nil
	if s.abort = nil; len(frames) > 0 {
		s.abort = abort
	}
	return frames, s.closed
}

// socket is the web socket of a stream (RFC 6455). The token in its location says who may open it, so the origin need not.
func (c *call) socket(path []string) error {
	if err := c.allow(http.MethodGet); err != nil {
		return err
	}
	name, err := url.PathUnescape(strings.Join(path, "/"))
	if err != nil {
		return malformed("stream name: %v", err)
	}
	if sub := c.streams.find(name); sub != nil {
		return c.dataSocket(sub)
	}
	st, ok := parseStream(name)
	if !ok {
		return errToken
	}
	leaves, ok := c.streams.redeem(st.name(), c.r.URL.Query().Get("token"), c.cfg.Now())
	if !ok {
		return errToken
	}
	// Before the client hears that the socket is open, so that it misses nothing that it does next.
	s, err := c.hub.join(form{st, leaves}, &c.cfg, c.notifier.size())
	if err != nil {
		return err
	}
	defer c.hub.leave(s)
	conn, err := websocket.Accept(c.w, c.r, &websocket.AcceptOptions{InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return nil //nolint:nilerr // Accept has answered
	}
	log := c.cfg.Log.With("stream", st.name(), "peer", c.r.RemoteAddr)
	log.Info("subscriber connected")
	why := c.write(conn, s)
	log.Info("subscriber gone", "why", why)
	return nil
}

// write sends frames until the client goes, stalls, or the server does. It closes the connection and says why.
func (c *call) write(conn *websocket.Conn, s *subscriber) string {
	ctx, abort := context.WithCancel(conn.CloseRead(context.WithoutCancel(c.r.Context()))) // ends when the client has closed; clients send nothing
	defer conn.CloseNow()                                                                  //nolint:errcheck // it is closed either way
	defer abort()
	done := 0
	for {
		frames, closed := s.next(done, abort)
		if closed != "" {
			conn.Close(websocket.StatusTryAgainLater, closed) //nolint:errcheck // a courtesy
			return closed
		}
		done = 0
		for _, f := range frames {
			limited, cancel := context.WithTimeout(ctx, c.cfg.WriteTimeout)
			err := conn.Write(limited, websocket.MessageText, f)
			cancel()
			if err != nil {
				_, closed = s.next(done, nil)
				return cmp.Or(closed, err.Error())
			}
			done += len(f)
		}
		if done > 0 {
			continue
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return "the client closed"
		}
	}
}
