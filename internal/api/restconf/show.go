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
	if len(path) == 0 {
		return unsupported("the whole data store is not given out at once; name a module, such as neutron:neutron")
	}
	if strings.HasPrefix(path[0], inventoryModule+":") && ch.want != config {
		select {
		case c.looks <- struct{}{}:
			defer func() { <-c.looks }()
		default:
			return errLooking
		}
	}
	v := &view{Config: &c.cfg, ctx: c.r.Context(), r: c.cfg.Store.Snapshot(), want: ch.want, base: c.base()}
	t, err := c.find(v, path)
	if err != nil {
		return err
	}
	w := &writer{call: c, view: v, media: media, xml: isXML(media)}
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
	view  *view
	media string
	xml   bool
	buf   bytes.Buffer
	held  []byte // opened, with nothing in it yet
	comma bool   // JSON: a sibling went before
	sent  bool
	some  bool // anything was there
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
		case !ok || src == nil && !w.tree.holds[x]:
		case src != nil && x.Kind == yang.Container:
			w.container(x, keys, inner)
		case src != nil && w.xml:
			w.entries(x, keys, inner)
		case src != nil:
			w.within(append(w.member(x.JSONName()), '['), []byte("]"), func() { w.entries(x, keys, inner) })
		case w.xml:
			w.within(element(x, n.Module), endElement(x), func() { w.children(x, keys, inner) })
		default:
			w.within(append(w.member(x.JSONName()), '{'), []byte("}"), func() { w.children(x, keys, inner) })
		}
	}
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
		w.entry(d, keys, ch, n.Parent.Module)
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
	var around *yang.Module
	if n.Parent != nil {
		around = n.Parent.Module
	}
	for d := range src.all(w.view, keys) {
		own, _ := d.Key()
		w.entry(d, append(slices.Clip(keys), own...), ch, around)
		if w.view.err != nil || w.r.Context().Err() != nil {
			return // it cannot be whole, or nobody is there to read the rest
		}
	}
}

// entry writes an instance, and what is below it from sources of its own.
func (w *writer) entry(d *yang.Data, keys []string, ch choice, around *yang.Module) {
	kept := ch.reduce(d)
	if kept == nil {
		return
	}
	var b []byte
	if w.xml {
		b = kept.AppendXML(b, around)
	} else {
		if w.comma {
			b = append(b, ',')
		}
		b = kept.AppendValue(b)
	}
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
