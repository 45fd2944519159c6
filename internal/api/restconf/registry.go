// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"context"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// subscribed is a stream that a client created for some data (create-data-change-event-subscription). Its name cannot be guessed, and tells
// nothing of keys, which a URL might spell in many ways.
type subscribed struct {
	name  string
	group group // as a pattern: members and leaves are of those who open it
	users int   // sockets that are open
	last  time.Time
}

// subscribeTo creates a stream of the changes of a path. Asking again for the same gives the same.
func (c *call) subscribeTo(path, datastore, scopeName string, xml bool) (name string, err error) {
	hops, err := c.tree.location(path)
	if err != nil {
		return "", err
	}
	g := group{paths: [][]hop{hops}, store: config, shape: shape{older: true, xml: xml}}
	if datastore == "OPERATIONAL" {
		g.store = nonconfig
	}
	for i, s := range scopeNames {
		if s == scopeName {
			g.scope = scope(i)
		}
	}
	if err := c.tree.subscribable(hops, g.store); err != nil {
		return "", err
	}
	form := "JSON"
	if xml {
		form = "XML"
	}
	g.id = strings.Join([]string{pathText(hops, true), datastore, scopeName, form}, " ")
	plain := make([]hop, len(hops))
	for i, h := range hops {
		plain[i].node = h.node
	}
	name = streamPrefix + pathText(plain, true) + "/datastore=" + datastore + "/scope=" + scopeName + "/" +
		hex.EncodeToString(c.streams.mac(g.id, []byte("stream"))[:16]) + "/" + form
	return name, c.streams.add(&subscribed{name: name, group: g}, c.cfg.MaxStreams, c.cfg.Now(), c.cfg.StreamLifetime)
}

// add keeps a stream. Those that nobody has open and nobody asked for in their lifetime are forgotten first.
func (s *streams) add(sub *subscribed, most int, now time.Time, lifetime time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub.last = now
	if e := s.data[sub.name]; e != nil {
		e.Value.(*subscribed).last = now //nolint:forcetypeassert // nothing else is in it
		s.used.MoveToBack(e)
		return nil
	}
	for e := s.used.Front(); e != nil; e = s.used.Front() {
		old := e.Value.(*subscribed) //nolint:forcetypeassert // nothing else is in it
		if now.Sub(old.last) < lifetime {
			break
		}
		if old.users > 0 { // it is looked at again when it has been idle
			old.last = now
			s.used.MoveToBack(e)
			continue
		}
		s.used.Remove(e)
		delete(s.data, old.name)
	}
	if len(s.data) >= most {
		return errStreams
	}
	s.data[sub.name] = s.used.PushBack(sub)
	return nil
}

// find gives a stream that was created, by its name; nil if there is none.
func (s *streams) find(name string) *subscribed {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.data[strings.TrimSuffix(name, "/")]; e != nil {
		return e.Value.(*subscribed) //nolint:forcetypeassert // nothing else is in it
	}
	return nil
}

// opened and closed count the sockets of a stream.
func (s *streams) opened(sub *subscribed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub.users++
}

func (s *streams) closed(sub *subscribed, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub.users--
	sub.last = now
	if e := s.data[sub.name]; e != nil {
		s.used.MoveToBack(e)
	}
}

// dataSocket is the web socket of a stream that was created. With ?since=POSITION it begins with what has changed since; a position is in
// every message.
func (c *call) dataSocket(sub *subscribed) error {
	q := c.r.URL.Query()
	leaves, ok := c.streams.redeem(sub.name, q.Get("token"), c.cfg.Now())
	if !ok {
		return errToken
	}
	from, err := readPosition("since", q.Get("since"))
	if err != nil {
		return err
	}
	g := sub.group
	if g.leaves = leaves; leaves {
		g.id += " leaves"
		if from != nil {
			return invalid("since: with odl-leaf-nodes-only a stream begins with what comes; leave out one of them")
		}
	}
	l, err := c.notifier.join(&g, from, c.hub.size())
	if err != nil {
		return err
	}
	defer c.notifier.leave(l)
	c.streams.opened(sub)
	defer func() { c.streams.closed(sub, c.cfg.Now()) }()
	conn, err := websocket.Accept(c.w, c.r, &websocket.AcceptOptions{InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return nil //nolint:nilerr // Accept has answered
	}
	defer conn.CloseNow() //nolint:errcheck // it is closed either way
	log := c.cfg.Log.With("stream", sub.name, "peer", c.r.RemoteAddr)
	log.Info("subscriber connected")
	ctx := conn.CloseRead(context.WithoutCancel(c.r.Context())) // ends when the client has closed; clients send nothing
	why := c.notifier.pump(ctx, l, &socketSink{conn, c.cfg.WriteTimeout}, beatEvery, nil)
	conn.Close(websocket.StatusTryAgainLater, clipped(why)) //nolint:errcheck // a courtesy
	log.Info("subscriber gone", "why", why)
	return nil
}

// clipped is a reason that fits into a frame that closes (RFC 6455 section 5.5).
func clipped(why string) string {
	if len(why) > 120 {
		why = strings.ToValidUTF8(why[:120], "")
	}
	return why
}

// readPosition reads where a subscriber wants to go on; nil: from now.
func readPosition(what, text string) (*position, error) {
	if text == "" {
		return nil, nil
	}
	p, ok := parsePosition(text)
	if !ok {
		return nil, invalid("%s %q: want the position or id of an event, or a revision", what, text)
	}
	return &p, nil
}

// beatEvery is how often a stream on which nothing comes shows that it lives, and is asked whether its client does.
const beatEvery = 15 * time.Second

// socketSink is a web socket.
type socketSink struct {
	conn  *websocket.Conn
	limit time.Duration
}

func (s *socketSink) message(msg []byte, _ string) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.limit)
	defer cancel()
	return s.conn.Write(ctx, websocket.MessageText, msg)
}

// lost closes the socket: there is no message for it that old clients know.
func (s *socketSink) lost(string) error {
	return errors.New("what has changed cannot be told; read anew and subscribe without since")
}

func (s *socketSink) beat(string) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.limit)
	defer cancel()
	return s.conn.Ping(ctx)
}

var errStreams = &fault{http.StatusServiceUnavailable, "transport", "resource-denied", "too many streams were created; use one that is there, or try again when others have been idle for their lifetime"}
