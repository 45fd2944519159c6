// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"nagare/internal/api/jsonbody"
	"nagare/internal/store"
	"nagare/internal/yang"
)

// eventStreams are the streams of RFC 8040 section 6. Each tells of all changes of the data that a GET with the same content shows; a filter
// says of which.
var eventStreams = []struct {
	name, description string
	store             content
}{
	{"data-changes", "Changes of all data that has a source, as GET shows it.", all},
	{"config-changes", "Changes of configuration, as GET with content=config shows it.", config},
	{"operational-changes", "Changes of operational data, as GET with content=nonconfig shows it.", nonconfig},
}

var encodings = []string{"json", "xml"}

// addStreams adds the list of streams, where RFC 8040 section 9.3 has it.
func (t *tree) addStreams(oldest func(v *view) time.Time) func(v *view) iter.Seq[*yang.Data] {
	return func(v *view) iter.Seq[*yang.Data] {
		return func(yield func(*yang.Data) bool) {
			since := oldest(v)
			for _, s := range eventStreams {
				d := t.entry(streamListPath).Leaf("name", s.name).Leaf("description", s.description).Leaf("replay-support", "true")
				if !since.IsZero() {
					d.Leaf("replay-log-creation-time", since.UTC().Format(time.RFC3339))
				}
				for _, e := range encodings {
					d.Put("access").Leaf("encoding", e).Leaf("location", v.base+"/rests/streams/"+s.name+"/"+e)
				}
				if !yield(d) {
					return
				}
			}
		}
	}
}

// oldestLogged is since when the log has every commit; zero if it has none.
func oldestLogged(v *view) time.Time {
	rs, err := v.Store.LogTail(v.ctx, 0, 1)
	if err != nil || len(rs) == 0 {
		return time.Time{}
	}
	return rs[0].Time
}

// eventStream serves a stream as server-sent events (RFC 8040 section 6.4; the HTML standard, section 9.2). An event's id is the position
// with which a client that was cut off goes on, by Last-Event-ID.
func (c *call) eventStream(rest []string) error {
	i := -1
	if len(rest) == 2 {
		i = slices.IndexFunc(eventStreams, func(s struct {
			name, description string
			store             content
		}) bool {
			return s.name == rest[0]
		})
	}
	if i < 0 || !slices.Contains(encodings, rest[1]) {
		return unknown("stream", strings.Join(rest, "/"))
	}
	if !c.acceptsEvents() {
		return &fault{http.StatusNotAcceptable, "protocol", "invalid-value", "a stream's answers are text/event-stream; accept that"}
	}
	g := &group{store: eventStreams[i].store, scope: subtree, shape: shape{xml: rest[1] == "xml"}}
	from, until, err := c.eventParameters(g)
	if err != nil {
		return err
	}
	if c.r.Method == http.MethodHead {
		c.w.Header().Set("Content-Type", eventsMedia)
		c.w.WriteHeader(http.StatusOK)
		return nil
	}
	l, err := c.notifier.join(g, from, c.hub.size())
	if err != nil {
		return err
	}
	defer c.notifier.leave(l)
	ctx, cancel := context.WithCancel(c.r.Context())
	defer cancel()
	if !until.IsZero() {
		ctx, cancel = context.WithTimeout(ctx, until.Sub(c.cfg.Now()))
		defer cancel()
	}
	out := &eventSink{w: c.w, rc: http.NewResponseController(c.w), limit: c.cfg.WriteTimeout}
	c.w.Header().Set("Content-Type", eventsMedia)
	c.w.WriteHeader(http.StatusOK)
	start := c.notifier.reached().String()
	if from != nil {
		start = "" // it is where it was until it has caught up
	}
	if out.write("", start, nil) != nil {
		return nil
	}
	log := c.cfg.Log.With("stream", rest[0], "filter", g.id, "peer", c.r.RemoteAddr)
	log.Info("subscriber connected")
	why := c.notifier.pump(ctx, l, out, beatEvery, c.still)
	if c.r.Context().Err() == nil {
		b, _ := jsonReason(why)
		_ = out.write("end", "", b) // a courtesy
	}
	log.Info("subscriber gone", "why", why)
	return nil
}

const eventsMedia = "text/event-stream"

func jsonReason(why string) ([]byte, error) {
	return append(jsonbody.AppendString([]byte(`{"reason":`), why), '}'), nil
}

// still reports whether who opened a stream may still be told: users are removed, and tokens end.
func (c *call) still() error {
	who, err := c.cfg.Auth(c.r)
	if err != nil {
		return errors.New("your credentials are no longer valid; authenticate anew")
	}
	if !c.cfg.May(who) {
		return errors.New("you may no longer read this")
	}
	return nil
}

func (c *call) acceptsEvents() bool {
	values := c.r.Header.Values("Accept")
	if len(values) == 0 {
		return true
	}
	for want := range strings.SplitSeq(strings.Join(values, ","), ",") {
		if t, _, err := mime.ParseMediaType(want); err == nil && (t == "*/*" || t == "text/*" || t == eventsMedia) {
			return true
		}
	}
	return false
}

// maxFilter bounds how many paths one filter has.
const maxFilter = 64

// eventParameters reads filter, start-time and stop-time (RFC 8040 section 4.8), and where to go on.
func (c *call) eventParameters(g *group) (from *position, until time.Time, err error) {
	q, err := parameters(c.r.URL.RawQuery)
	if err != nil {
		return nil, until, err
	}
	for name, values := range q {
		if !slices.Contains([]string{"filter", "start-time", "stop-time", "since"}, name) {
			return nil, until, invalid("parameter %q is not known here; there are filter, since, start-time and stop-time", name)
		}
		if len(values) > 1 {
			return nil, until, invalid("parameter %s is given twice", name)
		}
	}
	if err := c.filter(g, q.Get("filter"), q.Has("filter")); err != nil {
		return nil, until, err
	}
	when := func(name string) (t time.Time, err error) {
		if q.Has(name) {
			if t, err = time.Parse(time.RFC3339, q.Get(name)); err != nil {
				return t, invalid("%s %q: want a time such as 2026-01-02T15:04:05Z", name, q.Get(name))
			}
		}
		return t, nil
	}
	start, err := when("start-time")
	if err != nil {
		return nil, until, err
	}
	if until, err = when("stop-time"); err != nil {
		return nil, until, err
	}
	now := c.cfg.Now()
	switch {
	case q.Has("start-time") && start.After(now):
		return nil, until, invalid("start-time %s is in the future", q.Get("start-time"))
	case q.Has("stop-time") && !q.Has("start-time"):
		return nil, until, invalid("stop-time needs start-time")
	case q.Has("stop-time") && !until.After(now):
		return nil, until, invalid("stop-time %s is in the past: what has changed is told as it is now, so that a replay has no end before now", q.Get("stop-time"))
	case q.Has("start-time") && q.Has("since"):
		return nil, until, invalid("start-time and since both say where to begin; send one")
	}
	if id := c.r.Header.Get("Last-Event-ID"); id != "" {
		from, err = readPosition("Last-Event-ID", id)
		return from, until, err
	}
	if q.Has("start-time") {
		rev, err := revisionAt(c.r.Context(), c.cfg.Store, start)
		if err != nil {
			return nil, until, &fault{http.StatusServiceUnavailable, "transport", "resource-denied", "the log cannot be read at present; try again"}
		}
		return &position{rev: rev}, until, nil
	}
	from, err = readPosition("since", q.Get("since"))
	return from, until, err
}

// filter reads what is subscribed: paths with | between them, the subset of XPath that is understood. None means all.
func (c *call) filter(g *group, text string, given bool) error {
	var paths []string
	if given {
		paths = cutUnion(text)
	} else {
		for _, n := range c.tree.schema.Roots {
			if c.tree.holds[n] && c.tree.subscribable([]hop{{node: n}}, g.store) == nil {
				paths = append(paths, "/"+n.QName())
			}
		}
	}
	if len(paths) > maxFilter {
		return invalid("filter: %d paths are too many; want at most %d", len(paths), maxFilter)
	}
	var ids []string
	for _, p := range paths {
		hops, err := c.tree.location(p)
		if err != nil {
			return err
		}
		if err := c.tree.subscribable(hops, g.store); err != nil {
			return err
		}
		id := pathText(hops, false)
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
			g.paths = append(g.paths, hops)
		}
	}
	g.paths = outermost(g.paths)
	slices.Sort(ids)
	g.id = "sse " + [...]string{"all", "config", "nonconfig"}[g.store] + " " + map[bool]string{false: "json", true: "xml"}[g.shape.xml] + " " + strings.Join(ids, " | ")
	return nil
}

// outermost leaves out the paths that are below another: what is there is told already.
func outermost(paths [][]hop) (out [][]hop) {
	for i, p := range paths {
		covered := slices.ContainsFunc(paths, func(q []hop) bool {
			if len(q) > len(p) || &q[0] == &p[0] {
				return false
			}
			for j := range q {
				if q[j].node != p[j].node || q[j].keys != nil && !slices.Equal(q[j].keys, p[j].keys) {
					return false
				}
			}
			return true
		})
		if !covered {
			out = append(out, paths[i])
		}
	}
	return out
}

// cutUnion cuts at each | that is not in a literal.
func cutUnion(text string) (out []string) {
	var quote rune
	from := 0
	for i, r := range text {
		switch {
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '\'' || r == '"':
			quote = r
		case r == '|':
			out = append(out, text[from:i])
			from = i + 1
		}
	}
	return append(out, text[from:])
}

// revisionAt finds the last commit before a time, by bisection of the log. The log's first, if that is later, has nothing before it.
func revisionAt(ctx context.Context, st *store.Store, t time.Time) (store.Revision, error) {
	first, err := st.LogTail(ctx, 0, 1)
	if err != nil || len(first) == 0 {
		return st.Snapshot().Revision(), err
	}
	low, high := first[0].Revision, st.Snapshot().Revision()+1 // the first commit at or after t is in [low, high]
	for low < high {
		mid := low + (high-low)/2
		rs, err := st.LogTail(ctx, mid, 1)
		if err != nil {
			return 0, err
		}
		if len(rs) == 0 || !rs[0].Time.Before(t) {
			high = mid
		} else {
			low = rs[0].Revision + 1
		}
	}
	return low - 1, nil
}

// eventSink is a stream of server-sent events.
type eventSink struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	limit time.Duration
}

func (s *eventSink) message(msg []byte, pos string) error { return s.write("", pos, msg) }

func (s *eventSink) lost(pos string) error {
	return s.write("lost", pos, []byte(`{"reason":"what has changed before this cannot be told; read anew"}`))
}

// beat is an id without data: no event comes of it, and the client is at the position.
func (s *eventSink) beat(pos string) error { return s.write("", pos, nil) }

func (s *eventSink) write(event, id string, data []byte) error {
	if err := s.rc.SetWriteDeadline(time.Now().Add(s.limit)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	var b bytes.Buffer
	if event != "" {
		b.WriteString("event: " + event + "\n")
	}
	switch {
	case id != "":
		b.WriteString("id: " + id + "\n")
	case data == nil:
		b.WriteString(":\n")
	}
	if data != nil {
		for line := range bytes.SplitSeq(data, []byte("\n")) {
			b.WriteString("data: ")
			b.Write(bytes.ReplaceAll(line, []byte("\r"), nil))
			b.WriteByte('\n')
		}
	}
	b.WriteByte('\n')
	if _, err := io.Copy(s.w, &b); err != nil {
		return err
	}
	return s.rc.Flush()
}
