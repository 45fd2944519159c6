// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"bytes"
	"encoding/xml"
	"slices"
	"time"

	"nagare/internal/api/jsonbody"
	"nagare/internal/yang"
)

// scope says how far below what is subscribed a change may be.
type scope uint8

const (
	base    scope = iota // it came or went, or a leaf of its own changed
	one                  // or that of a direct child
	subtree              // or anything below
)

var scopeNames = []string{"BASE", "ONE", "SUBTREE"}

// delta is what became of a place in one of the stores; before and after are nil where there is nothing.
type delta struct {
	chain         []hop
	store         content
	before, after *yang.Data
}

// notice is one event: what is at a path now, nil if nothing.
type notice struct {
	path  []hop
	store content
	op    operation
	data  *yang.Data
}

// notices gives what a group is told of a change that it is concerned by.
func (d *delta) notices(h hit) []notice {
	path, before, after := d.chain, d.before, d.after
	if h.inside != nil {
		path = append(slices.Clip(path), h.inside...)
		before, after = descend(before, h.inside), descend(after, h.inside)
	}
	n := notice{path: path, store: d.store, data: after}
	switch {
	case before == nil && after == nil:
		return nil
	case before == nil:
		n.op = created
	case after == nil:
		n.op = deleted
	case before == after: // told again to somebody who may have it
		n.op = updated
	default:
		deep := depth(before, after)
		if deep == unchanged || h.scope != subtree && h.above+deep > int(h.scope) {
			return nil
		}
		n.op = updated
	}
	if h.scope != subtree && h.above > int(h.scope) {
		return nil
	}
	if !h.leaves {
		return []notice{n}
	}
	return leafNotices(path, d.store, before, after)
}

// descend goes down into an instance.
func descend(d *yang.Data, path []hop) *yang.Data {
	for _, h := range path {
		if d == nil {
			return nil
		}
		next := within(d, h)
		if len(next) == 0 {
			return nil
		}
		d = next[0]
	}
	return d
}

const unchanged = 1 << 20

// depth is how far below two instances the highest difference of theirs is: 0 for a leaf of their own.
func depth(a, b *yang.Data) int {
	if a.Node.Type != nil {
		if a.Value != b.Value {
			return 0
		}
		return unchanged
	}
	least := unchanged
	note := func(n *yang.Node, deep int) {
		if n.Type == nil {
			deep++
		}
		least = min(least, deep)
	}
	for _, x := range a.Children {
		switch y := twin(b, x); {
		case y == nil:
			note(x.Node, 0)
		default:
			note(x.Node, depth(x, y))
		}
	}
	for _, y := range b.Children {
		if twin(a, y) == nil {
			note(y.Node, 0)
		}
	}
	if least == unchanged && !bytes.Equal(a.AppendValue(nil), b.AppendValue(nil)) {
		return 1 // an order that counts
	}
	return least
}

// twin finds the instance that stands in d for x of another: of the same node, with the same keys or value where there are several.
func twin(d, x *yang.Data) *yang.Data {
	own := ownHop(x)
	if found := within(d, own); len(found) > 0 {
		return found[0]
	}
	return nil
}

// ownHop is the last hop of an instance's path.
func ownHop(x *yang.Data) hop {
	h := hop{node: x.Node}
	switch x.Node.Kind {
	case yang.List:
		h.keys, _ = x.Key()
	case yang.LeafList:
		h.keys = []string{x.Value}
	}
	return h
}

// leafNotices are the leaves that came, changed or went, each an event of its own (odl-leaf-nodes-only).
func leafNotices(path []hop, store content, before, after *yang.Data) (out []notice) {
	x := after
	if x == nil {
		x = before
	}
	switch {
	case x == nil:
		return nil
	case x.Node.Type != nil:
		n := notice{path: slices.Clone(path), store: store, op: updated, data: after}
		switch {
		case before == nil:
			n.op = created
		case after == nil:
			n.op = deleted
		case before.Value == after.Value:
			return nil
		}
		return []notice{n}
	}
	if after != nil {
		for _, y := range after.Children {
			var old *yang.Data
			if before != nil {
				old = twin(before, y)
			}
			out = append(out, leafNotices(append(slices.Clip(path), ownHop(y)), store, old, y)...)
		}
	}
	if before != nil {
		for _, old := range before.Children {
			if after == nil || twin(after, old) == nil {
				out = append(out, leafNotices(append(slices.Clip(path), ownHop(old)), store, old, nil)...)
			}
		}
	}
	return out
}

// shape is how notices are written: in which dialect's words, and in which form.
type shape struct{ older, xml bool }

// frame writes notices as one message. position goes into those of the older dialect, whose transport has no place for it.
func (s shape) frame(list []notice, at, position string) []byte {
	switch {
	case s.xml:
		return xmlNotices(list, at, s.older, position)
	case s.older:
		return oldJSONNotices(list, at, position)
	}
	return jsonNotices(list, at)
}

const nsPosition = "urn:nagare:restconf"

// oldJSONNotices is the form of jsonFrame: the XML form, converted element by element.
func oldJSONNotices(list []notice, at, position string) []byte {
	events := make([]any, len(list))
	for i, n := range list {
		m := map[string]any{"path": pathText(n.path, true), "operation": string(n.op)}
		if n.data != nil {
			m["data"] = map[string]any{n.data.Node.Name: converted(n.data, nil)}
		}
		events[i] = m
	}
	var what any = events
	if len(events) == 1 {
		what = events[0]
	}
	return jsonbody.Append(nil, map[string]any{"notification": map[string]any{
		"xmlns":     nsNotification,
		"eventTime": at,
		"position":  map[string]any{"xmlns": nsPosition, "content": position},
		"data-changed-notification": map[string]any{
			"xmlns":             nsRemote,
			"data-change-event": what,
		},
	}})
}

// converted is an element in JSON as converters make it: a namespace that is declared is "xmlns", a text beside it "content"; elements of
// one name are a list, and one alone is none.
func converted(d *yang.Data, around *yang.Module) any {
	body := map[string]any{}
	if d.Node.Module != around {
		body["xmlns"] = d.Node.Module.Namespace
	}
	if d.Node.Type != nil {
		if len(body) == 0 {
			return d.Value
		}
		body["content"] = d.Value
		return body
	}
	for _, c := range d.Children {
		v := converted(c, d.Node.Module)
		switch was := body[c.Node.Name].(type) {
		case nil:
			body[c.Node.Name] = v
		case []any:
			body[c.Node.Name] = append(was, v)
		default:
			body[c.Node.Name] = []any{was, v}
		}
	}
	return body
}

// jsonNotices is a notification of RFC 8040 section 6.4 whose data is as RFC 7951 has it.
func jsonNotices(list []notice, at string) []byte {
	b := append([]byte(`{"ietf-restconf:notification":{"eventTime":"`), at...)
	b = append(b, `","sal-remote:data-changed-notification":{"data-change-event":[`...)
	for i, n := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"path":`...)
		b = jsonbody.AppendString(b, pathText(n.path, false))
		if word := storeWords[n.store]; word != "" {
			b = append(b, `,"store":"`+word+`"`...)
		}
		b = append(b, `,"operation":"`+string(n.op)+`"`...)
		if n.data != nil {
			b = append(b, `,"data":{`...)
			b = append(jsonbody.AppendString(b, n.data.Node.QName()), ':')
			many := n.data.Node.Kind == yang.List || n.data.Node.Kind == yang.LeafList
			if many {
				b = append(b, '[')
			}
			if b = n.data.AppendValue(b); many {
				b = append(b, ']')
			}
			b = append(b, '}')
		}
		b = append(b, '}')
	}
	return append(b, `]}}}`...)
}

// storeWords name the stores in events; what is of both has no word.
var storeWords = map[content]string{config: "config", nonconfig: "operation"}

// xmlNotices is a notification of RFC 5277.
func xmlNotices(list []notice, at string, older bool, position string) []byte {
	b := append([]byte(`<?xml version="1.0" encoding="UTF-8"?><notification xmlns="`+nsNotification+`"><eventTime>`), at...)
	b = append(b, "</eventTime>"...)
	if position != "" {
		b = append(b, `<position xmlns="`+nsPosition+`">`+position+"</position>"...)
	}
	b = append(b, `<data-changed-notification xmlns="`+nsRemote+`">`...)
	for _, n := range list {
		b = append(b, "<data-change-event><path"...)
		var known []*yang.Module
		for _, h := range n.path {
			if m := h.node.Module; !slices.Contains(known, m) {
				known = append(known, m)
				b = append(b, ` xmlns:`+m.Name+`="`+m.Namespace+`"`...)
			}
		}
		var path bytes.Buffer
		xml.EscapeText(&path, []byte(pathText(n.path, true))) //nolint:errcheck // a buffer takes everything
		b = append(append(b, '>'), path.Bytes()...)
		b = append(b, "</path>"...)
		if word := storeWords[n.store]; word != "" && !older {
			b = append(b, "<store>"+word+"</store>"...)
		}
		b = append(b, "<operation>"+string(n.op)+"</operation>"...)
		if n.data != nil {
			b = append(n.data.AppendXML(append(b, "<data>"...), nil), "</data>"...)
		}
		b = append(b, "</data-change-event>"...)
	}
	return append(b, "</data-changed-notification></notification>"...)
}

// framed cuts notices into messages. The last is where a subscriber may go on from.
func framed(list []notice, s shape, now time.Time, position string) (out [][]byte) {
	at := now.UTC().Format(time.RFC3339Nano)
	if s.older {
		at = now.UTC().Format(time.RFC3339)
	}
	for len(list) > 0 {
		n := min(len(list), frameEvents)
		text := ""
		if s.older && n == len(list) {
			text = position
		}
		out = append(out, s.frame(list[:n], at, text))
		list = list[n:]
	}
	return out
}
