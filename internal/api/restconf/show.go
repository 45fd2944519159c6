// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"nagare/internal/api/jsonbody"
	"nagare/internal/yang"
)

// read answers GET: what the path leads to, made from one snapshot and written as it is made, so that a large answer is never in
// memory as a whole.
func (c *call) read(path []string, want content) error {
	media, ok := c.accepted()
	if !ok {
		return errNotAcceptable(c)
	}
	ch, err := c.choose()
	if err != nil {
		return err
	}
	if c.inline { // the older dialect has the store in its path
		ch.want = want
	}
	if ch.want != config && c.asks(path, ch) {
		select {
		case c.looks <- struct{}{}:
			defer func() { <-c.looks }()
		default:
			return errLooking
		}
	}
	now := c.cfg.Store.Snapshot()
	v := &view{Config: &c.cfg, ctx: c.r.Context(), r: now, want: ch.want, base: c.base()}
	w := &writer{call: c, view: v, media: media, xml: isXML(media)}
	if len(path) == 0 {
		// The tag is of the configuration (RFC 8040 section 3.4.1.2): of what is written to the store, and the modules that it is shown by.
		tag := `"` + contentID()[:8] + "-" + strconv.FormatUint(uint64(now.Revision()), 10) + `"`
		c.w.Header().Set("ETag", tag)
		if n := c.r.Header.Get("If-None-Match"); ch.want == config && (n == "*" || tagged(n, tag)) {
			c.w.WriteHeader(http.StatusNotModified)
			return nil
		}
		w.store(ch)
		return w.end()
	}
	t, err := c.find(v, path)
	if err != nil {
		return err
	}
	if w.xml && t.whole {
		return invalid("several entries are no XML document; name what is around the list, or one entry")
	}
	if t.entry != nil && c.tree.sources[t.entry.Node].edit != nil && ch.want != nonconfig {
		if d := c.tree.configured(v, t); d != nil {
			tag := etag(d)
			c.w.Header().Set("ETag", tag)
			plain := ch.want == config || !c.tree.sources[t.entry.Node].laid // else counters change, and the tag does not
			if n := c.r.Header.Get("If-None-Match"); plain && (n == "*" || tagged(n, tag)) {
				c.w.WriteHeader(http.StatusNotModified)
				return nil
			}
		}
	}
	w.target(t, ch)
	return w.end()
}

// asks reports whether switches are asked for what is in the answer.
func (c *call) asks(path []string, ch choice) bool {
	if len(path) > 0 {
		return strings.HasPrefix(path[0], inventoryModule+":")
	}
	_, ok := ch.below(c.tree.node(inventoryModule + ":nodes"))
	return ok
}

// configured is the configuration of the entry that a target has reached: what its entity tag is of.
func (t *tree) configured(v *view, at *target) *yang.Data {
	src := t.sources[at.entry.Node]
	if !src.laid || v.want == config {
		return at.entry
	}
	alone := *v
	alone.want = config
	return src.one(&alone, at.keys)
}

// chunk is how much of an answer is gathered before it is sent. Shorter answers go with their length, and errors can still be told.
const chunk = 64 << 10

// writer writes an answer as JSON or XML. What opens a container is held back until there is something in it: empty ones are not
// there (RFC 8040 section 3.5).
type writer struct {
	*call
	view    *view
	media   string
	xml     bool
	buf     bytes.Buffer
	held    []byte // opened, with nothing in it yet
	scratch []byte // an entry, until it is in buf
	comma   bool   // JSON: a sibling went before
	sent    bool
	some    bool // anything was there
}

func (w *writer) put(b []byte) {
	w.buf.Write(w.held)
	w.held = w.held[:0]
	w.buf.Write(b)
	w.some = true
	if w.buf.Len() >= chunk {
		w.flush()
	}
}

func (w *writer) flush() {
	if !w.sent {
		w.w.Header().Set("Content-Type", w.media)
		if w.r.Method != http.MethodHead {
			w.w.WriteHeader(http.StatusOK)
		}
		w.sent = true
	}
	w.w.Write(w.buf.Bytes()) //nolint:errcheck // the client is gone, nobody to tell
	w.buf.Reset()
}

// end sends what is left. An answer in which nothing was is none. One that cannot be whole is an error, and when it has begun its
// connection is broken off, which clients notice.
func (w *writer) end() error {
	switch {
	case w.view.err != nil && w.sent:
		panic(http.ErrAbortHandler)
	case w.view.err != nil:
		w.w.Header().Del("ETag")
		return w.view.err
	case !w.some:
		return errMissing
	}
	if !w.sent {
		w.w.Header().Set("Content-Length", strconv.Itoa(w.buf.Len()))
	}
	w.flush()
	return nil
}

// within writes what f writes between an opening and an end, or nothing if f writes nothing.
func (w *writer) within(open, end []byte, f func()) {
	mark, comma := len(w.held), w.comma
	w.held = append(w.held, open...)
	w.comma = false
	before := w.some
	w.some = false
	f()
	if w.some {
		w.put(end)
		w.comma = true
		return
	}
	w.held, w.comma, w.some = w.held[:mark], comma, before
}

// member is a name in JSON, with the comma that goes before it.
func (w *writer) member(name string) []byte {
	var b []byte
	if w.comma {
		b = append(b, ',')
	}
	return append(jsonbody.AppendString(b, name), ':')
}

// target writes a whole answer.
func (w *writer) target(t *target, ch choice) {
	if w.xml {
		switch {
		case t.data == nil:
			w.within(element(t.node, nil), endElement(t.node), func() { w.inner(t, ch) })
		default:
			w.entry(t.data[0], t.keys, ch, nil)
		}
		return
	}
	name := t.node.Name
	if w.prefixed {
		name = t.node.QName()
	}
	w.within(append([]byte("{"), w.member(name)...), []byte("}"), func() {
		switch {
		case t.node.Kind == yang.List || t.node.Kind == yang.LeafList:
			w.within([]byte("["), []byte("]"), func() {
				if t.data == nil {
					w.entries(t.node, t.keys, ch)
				}
				for _, d := range t.data {
					w.entry(d, t.keys, ch, nil)
				}
			})
		case t.data != nil:
			if d := ch.reduce(t.data[0]); d != nil {
				w.put(d.AppendValue(nil))
			}
		default:
			w.within([]byte("{"), []byte("}"), func() { w.inner(t, ch) })
		}
	})
}

// store writes the whole data store (RFC 8040 section 3.3.1), one container at the top after another. It is there even if nothing is in it.
func (w *writer) store(ch choice) {
	const name = "data"
	open, end := []byte("<"+name+` xmlns="`+nsRESTCONF+`">`), []byte("</"+name+">")
	switch {
	case w.xml:
	case w.prefixed:
		open, end = append([]byte("{"), w.member("ietf-restconf:"+name)...), []byte("}}")
	default:
		open, end = append([]byte("{"), w.member(name)...), []byte("}}")
	}
	if !w.xml {
		open = append(open, '{')
	}
	w.put(open)
	w.children(w.tree.schema.Top, nil, ch)
	w.put(end)
}

// inner writes what is in a container above lists.
func (w *writer) inner(t *target, ch choice) {
	if ch.depth == 1 {
		w.put(nil)
		return
	}
	w.children(t.node, t.keys, ch)
}

// children writes the lists and containers with sources, and the containers around such, below a node.
func (w *writer) children(n *yang.Node, keys []string, ch choice) {
	for _, x := range n.Children {
		src := w.tree.sources[x]
		inner, ok := ch.below(x)
		switch {
		case w.view.err != nil || w.r.Context().Err() != nil:
			return // it cannot be whole, or nobody is there to read the rest
		case !ok || src == nil && !w.tree.holds[x]:
		case src != nil && x.Kind == yang.Container:
			w.container(x, keys, inner)
		case src != nil && w.xml:
			w.entries(x, keys, inner)
		case src != nil:
			w.within(append(w.member(x.JSONName()), '['), []byte("]"), func() { w.entries(x, keys, inner) })
		case w.xml:
			w.within(element(x, n.Module), endElement(x), func() { w.below(x, keys, inner) })
		default:
			w.within(append(w.member(x.JSONName()), '{'), []byte("}"), func() { w.below(x, keys, inner) })
		}
	}
}

// below writes what is in a container without a source. Of one at the depth that was asked for only that it is there is told.
func (w *writer) below(n *yang.Node, keys []string, ch choice) {
	switch {
	case ch.depth != 1:
		w.children(n, keys, ch)
	case w.any(n, keys):
		w.put(nil)
	}
}

// any reports whether there is anything in a container above lists. It looks no further than the first that it finds.
func (w *writer) any(n *yang.Node, keys []string) bool {
	for _, x := range n.Children {
		switch src := w.tree.sources[x]; {
		case src == nil:
			if w.tree.holds[x] && w.any(x, keys) {
				return true
			}
		case !src.fits(w.view.want):
		case x.Kind == yang.Container:
			if src.one(w.view, keys) != nil {
				return true
			}
		default:
			for range src.all(w.view, keys) {
				return true
			}
		}
	}
	return false
}

// container writes a container that has a source, if it is there.
func (w *writer) container(n *yang.Node, keys []string, ch choice) {
	src := w.tree.sources[n]
	if !src.fits(w.view.want) {
		return
	}
	d := src.one(w.view, keys)
	switch {
	case d == nil:
	case w.xml:
		w.entry(d, keys, ch, around(n))
	default:
		w.within(w.member(n.JSONName()), nil, func() { w.entry(d, keys, ch, nil) })
	}
}

// entries writes all entries of a list.
func (w *writer) entries(n *yang.Node, keys []string, ch choice) {
	src := w.tree.sources[n]
	if !src.fits(w.view.want) {
		return
	}
	for d := range src.all(w.view, keys) {
		own, _ := d.Key()
		w.entry(d, append(slices.Clip(keys), own...), ch, around(n))
		if w.view.err != nil || w.r.Context().Err() != nil {
			return // it cannot be whole, or nobody is there to read the rest
		}
	}
}

// around is the module of what is around a node; nil at the top.
func around(n *yang.Node) *yang.Module {
	if n.Parent == nil {
		return nil
	}
	return n.Parent.Module
}

// entry writes an instance, and what is below it from sources of its own.
func (w *writer) entry(d *yang.Data, keys []string, ch choice, around *yang.Module) {
	kept := ch.reduce(d)
	if kept == nil {
		return
	}
	b := w.scratch[:0]
	if w.xml {
		b = kept.AppendXML(b, around)
	} else {
		if w.comma {
			b = append(b, ',')
		}
		b = kept.AppendValue(b)
	}
	w.scratch = b
	if !w.tree.holds[d.Node] {
		w.put(b)
		w.comma = true
		return
	}
	end := []byte("}")
	if w.xml {
		end = endElement(d.Node)
	}
	w.put(b[:len(b)-len(end)])
	w.comma = len(kept.Children) > 0
	w.children(d.Node, keys, ch)
	w.put(end)
	w.comma = true
}

func element(n *yang.Node, around *yang.Module) []byte {
	b := append([]byte("<"), n.Name...)
	if n.Module != around {
		b = append(b, ` xmlns="`+n.Module.Namespace+`"`...)
	}
	return append(b, '>')
}

func endElement(n *yang.Node) []byte { return []byte("</" + n.Name + ">") }
