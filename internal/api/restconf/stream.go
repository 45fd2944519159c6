// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"container/list"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"nagare/internal/yang"
)

// streamPrefix begins the name of every stream of data-change events, and the path of its web socket.
const streamPrefix = "data-change-event-subscription"

// stream is what can be subscribed: the changes below a path of the operational data, in JSON or XML. In OpenDaylight the first
// subscriber of a name decides for all what form they get; here the form is part of the name, and a name without means JSON.
type stream struct {
	path string // canonical, a key of watched
	xml  bool
}

// watched are the paths that streams are of, in their canonical spelling.
var watched = []string{"/neutron:neutron/neutron:ports", "/neutron:neutron/neutron:hostconfigs"}

var portsStream = stream{path: "/neutron:neutron/neutron:ports"}

const streamSuffix = "/datastore=OPERATIONAL/scope=SUBTREE"

func (s stream) name() string {
	if s.xml {
		return streamPrefix + s.path + streamSuffix + "/XML"
	}
	return streamPrefix + s.path + streamSuffix + "/JSON"
}

// parseStream reads a stream's name.
func parseStream(name string) (s stream, ok bool) {
	name = strings.TrimSuffix(name, "/")
	path, ok := strings.CutPrefix(name, streamPrefix)
	if !ok {
		return s, false
	}
	if path, s.xml = strings.CutSuffix(path, "/XML"); !s.xml {
		path = strings.TrimSuffix(path, "/JSON")
	}
	if path, ok = strings.CutSuffix(path, streamSuffix); !ok {
		return s, false
	}
	s.path, ok = canonical(path)
	return s, ok
}

// canonical spells a path with every module's prefix; ok is false for a path that nothing is known of.
func canonical(path string) (string, bool) {
	names := strings.Split(strings.Trim(path, "/"), "/")
	for i, n := range names {
		if i > 0 && !strings.Contains(n, ":") {
			names[i] = "neutron:" + n
		}
	}
	path = "/" + strings.Join(names, "/")
	return path, slices.Contains(watched, path)
}

// streams are those that were created, and the key of locations' tokens. That of ports is there from the start. Those of other data
// (registry.go) are more than a few, and forgotten if nobody uses them.
type streams struct {
	mu      sync.Mutex
	created map[stream]bool
	key     [32]byte
	data    map[string]*list.Element // *subscribed by the stream's name
	used    *list.List               // the one that was unused for longest first
}

func newStreams() *streams {
	s := &streams{created: map[stream]bool{portsStream: true}, data: map[string]*list.Element{}, used: list.New()}
	rand.Read(s.key[:]) //nolint:errcheck // it never fails (crypto/rand)
	return s
}

func (s *streams) create(st stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.created[st] = true
}

func (s *streams) has(st stream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.created[st]
}

// token lets its bearer open a stream until a time; leaves is odl-leaf-nodes-only. Web sockets of this client carry no
// Authorization.
func (s *streams) token(name string, leaves bool, until time.Time) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(until.UnixMilli()))
	if b = append(b, 0); leaves {
		b[8] = 1
	}
	return base64.RawURLEncoding.EncodeToString(append(b, s.mac(name, b)...))
}

func (s *streams) mac(name string, head []byte) []byte {
	m := hmac.New(sha256.New, s.key[:])
	m.Write(head)
	m.Write([]byte(name))
	return m.Sum(nil)
}

func (s *streams) redeem(name, token string, now time.Time) (leaves, ok bool) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) != 9+sha256.Size || !hmac.Equal(b[9:], s.mac(name, b[:9])) {
		return false, false
	}
	return b[8] == 1, now.UnixMilli() < int64(binary.BigEndian.Uint64(b))
}

// operation calls an RPC.
func (c *call) operation(rest []string) error {
	if len(rest) != 1 || rest[0] != "sal-remote:create-data-change-event-subscription" {
		return unknown("rpc", strings.Join(rest, "/"))
	}
	rpc, _ := c.tree.schema.RPC(rest[0])
	in := &yang.Data{Node: rpc.Input}
	if err := c.body(in); err != nil {
		return err
	}
	if err := modelFault(c.tree.schema.Validate(in, true, nil)); err != nil {
		return err
	}
	name, err := c.subscription(in)
	if err != nil {
		return err
	}
	return c.tell(http.StatusOK, (&yang.Data{Node: rpc.Output}).Leaf("stream-name", name))
}

// subscription reads what a client wants to be told of, and gives the stream's name.
func (c *call) subscription(in *yang.Data) (name string, err error) {
	path, _ := in.Get("path")
	datastore, scope := in.OrDefault("datastore"), in.OrDefault("scope")
	st := stream{xml: in.OrDefault("notification-output-type") == "XML"}
	var ok bool
	if st.path, ok = canonical(path); ok && datastore == "OPERATIONAL" && scope == scopeNames[subtree] {
		c.streams.create(st)
		return st.name(), nil
	}
	return c.subscribeTo(path, datastore, scope, st.xml)
}

// streamResource serves the streams below /restconf, and where RFC 8040 has them (section 6.2): the list, and a stream's location.
func (c *call) streamResource(rest []string) error {
	if c.prefixed && len(rest) > 0 && rest[0] == "streams" {
		rest = rest[1:]
	}
	if len(rest) < 2 || rest[0] != "stream" {
		return unknown("resource", strings.Join(rest, "/"))
	}
	name, err := url.PathUnescape(strings.Join(rest[1:], "/")) // the names of streams have '=', which leaves escapes as they are
	if err != nil {
		return malformed("stream name: %v", err)
	}
	if sub := c.streams.find(name); sub != nil {
		name = sub.name
	} else if st, ok := parseStream(name); ok && c.streams.has(st) {
		name = st.name()
	} else {
		return unknown("stream", name)
	}
	leaves := false
	switch v := c.r.URL.Query().Get("odl-leaf-nodes-only"); v {
	case "", "false":
	case "true":
		leaves = true
	default:
		return invalid("odl-leaf-nodes-only %q: want true or false", v)
	}
	location, err := c.location(name, leaves)
	if err != nil {
		return err
	}
	c.w.Header().Set("Location", location)
	top := "location"
	if c.prefixed {
		top = "subscribe-to-notification:location"
	}
	return c.answer(http.StatusOK, map[string]any{top: location})
}

// location is where the stream's web socket is: on the host that the client reached us by, which we need not know ourselves.
func (c *call) location(name string, leaves bool) (string, error) {
	scheme := "ws"
	if c.r.TLS != nil {
		scheme = "wss"
	}
	u, err := url.Parse(scheme + "://" + c.r.Host + "/")
	if err != nil || c.r.Host == "" || u.Host != c.r.Host || u.Path != "/" {
		return "", malformed("header Host %q names no host", c.r.Host)
	}
	token := c.streams.token(name, leaves, c.cfg.Now().Add(c.cfg.TokenLifetime))
	return scheme + "://" + c.r.Host + "/" + name + "?token=" + token, nil
}
