// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"nagare/internal/model"
)

// TestStalledSubscriber is W5: one that does not read is closed; nobody else notices.
func TestStalledSubscriber(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MaxPending = 256 << 10; c.WriteTimeout = time.Hour })
	stalled := w.subscribe(hostsPath, "JSON", "")
	reader := w.subscribe(hostsPath, "JSON", "")
	big := strings.Repeat("x", 32<<10)
	closed := func() bool { return strings.Contains(w.log.String(), "does not read") }
	for i := 0; !closed(); i++ { // the network's own buffers fill first
		if i > 10000 {
			t.Fatal("it is still connected")
		}
		w.commit(putHost(host("h1", map[string]string{"ODL L2": big + time.Duration(i).String()})))
		if got := w.happened(reader, 1); !strings.Contains(got[0], "x"+time.Duration(i).String()) {
			t.Fatalf("the other missed change %d", i)
		}
	}
	for { // what was sent before may be read, then it ends
		if _, _, err := stalled.Read(t.Context()); err != nil {
			break
		}
	}
	w.poll("one subscriber is left", func() bool { s := w.srv.Stats(); return s.Subscribers == 1 && s.Stalled == 1 })
}

// TestMissedActive: a client that was away is told of the ports that became ACTIVE meanwhile, and of no others; also by a server that
// was away itself.
func TestMissedActive(t *testing.T) {
	w := newWorld(t)
	w.now.Store(time.Now().UnixMilli())
	for _, id := range []model.PortID{"old", "p1", "p2", "p3"} {
		w.putPort(port(id))
	}
	w.setStatus("old", "ACTIVE")
	w.settle()
	w.now.Add((replayAge + time.Second).Milliseconds())
	for _, s := range []struct {
		id model.PortID
		to string
	}{{"p1", "ACTIVE"}, {"p2", "ACTIVE"}, {"p1", "DOWN"}, {"p1", "ACTIVE"}, {"p2", "DOWN"}, {"p3", "DOWN"}} {
		w.setStatus(s.id, s.to)
		w.settle()
	}
	active := func(id string) string {
		return `updated /neutron:neutron/neutron:ports/neutron:port[neutron:uuid='` + id + `']/neutron:status {"status":{"content":"ACTIVE","xmlns":"urn:opendaylight:neutron"}}`
	}
	c := w.subscribe(portsPath, "JSON", "?odl-leaf-nodes-only=true")
	w.setStatus("p3", "ACTIVE")
	w.expect(c, active("p1"), active("p3"))

	again := newWorldOn(t, w.st) // by the clock: all became ACTIVE just now
	c = again.subscribe(portsPath, "JSON", "?odl-leaf-nodes-only=true")
	again.expect(c, active("old"), active("p1"), active("p3"))

	var l lately
	for range 2 * replayMost {
		l.add([]change{{path: portsStream.path, op: updated, keys: []leaf{{"uuid", "x"}}, leaves: []leaf{{"status", "ACTIVE"}}}}, time.Now())
	}
	if len(l.ports) != replayMost {
		t.Errorf("%d are remembered, want %d", len(l.ports), replayMost)
	}
}

// TestTooManySubscribers: the bound holds, and a place that is left is free.
func TestTooManySubscribers(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MaxSubscribers = 1 })
	first := w.subscribe(portsPath, "JSON", "")
	location := w.get("/restconf/streams/stream/" + portsName).header.Get("Location")
	_, res, err := websocket.Dial(t.Context(), location, &websocket.DialOptions{HTTPClient: w.http.Client()})
	if err == nil || res == nil || res.StatusCode != 503 {
		t.Errorf("one too many: %v %v", res, err)
	}
	first.Close(websocket.StatusNormalClosure, "") //nolint:errcheck // over
	w.poll("its place is free", func() bool {
		c, _, err := websocket.Dial(t.Context(), location, &websocket.DialOptions{HTTPClient: w.http.Client()})
		if err == nil {
			c.CloseNow() //nolint:errcheck // over
		}
		return err == nil
	})
}

// TestEnd: when the loop ends the sockets do, and clients are told to come again.
func TestEnd(t *testing.T) {
	w := newWorld(t)
	c := w.subscribe(portsPath, "JSON", "")
	location := w.get("/restconf/streams/stream/" + portsName).header.Get("Location")
	w.stop()
	var end websocket.CloseError
	if _, _, err := c.Read(t.Context()); !errors.As(err, &end) || end.Code != websocket.StatusTryAgainLater {
		t.Errorf("socket: %v", err)
	}
	if _, res, err := websocket.Dial(t.Context(), location, &websocket.DialOptions{HTTPClient: w.http.Client()}); err == nil || res == nil || res.StatusCode != 503 {
		t.Errorf("without the loop: %v %v", res, err)
	}
}

// TestPlainRequestOfSocket: a location that is fetched, and not opened, does no harm.
func TestPlainRequestOfSocket(t *testing.T) {
	w := newWorld(t)
	location := w.get("/restconf/streams/stream/" + portsName).header.Get("Location")
	a := w.do("", http.MethodGet, strings.TrimPrefix(location, strings.Replace(w.http.URL, "http", "ws", 1)), "")
	if a.code != 426 {
		t.Errorf("%d %s", a.code, a.body)
	}
	if w.srv.Stats().Subscribers != 0 {
		t.Error("it is counted as a subscriber")
	}
}
