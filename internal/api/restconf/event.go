// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"bytes"
	"encoding/xml"
	"strings"
	"time"

	"nagare/internal/api/jsonbody"
)

// Namespaces of a frame.
const (
	nsNotification = "urn:ietf:params:xml:ns:netconf:notification:1.0"
	nsRemote       = "urn:opendaylight:params:xml:ns:yang:controller:md:sal:remote"
	nsNeutron      = "urn:opendaylight:neutron"
)

// operation is what happened to an entry.
type operation string

const (
	created operation = "created"
	updated operation = "updated"
	deleted operation = "deleted"
)

// leaf is a name and a value.
type leaf struct{ name, value string }

// change is an entry of a watched list that came, changed or went.
type change struct {
	path   string // of the watched container
	list   string
	keys   []leaf
	op     operation
	leaves []leaf // beside the keys: after the change, nil if it went
}

// entryPath is the instance identifier of the entry.
func (c *change) entryPath() string {
	var b strings.Builder
	b.WriteString(c.path + "/neutron:" + c.list)
	for _, k := range c.keys {
		quote := "'"
		if strings.Contains(k.value, quote) {
			quote = `"`
		}
		b.WriteString("[neutron:" + k.name + "=" + quote + k.value + quote + "]")
	}
	return b.String()
}

// event is what a frame tells: data is a leaf's value if it has no inner leaves.
type event struct {
	path  string
	op    operation
	name  string
	text  string
	inner []leaf
}

// events of a change: one for the entry or, with leaves only, one for each leaf that came, changed or went. A key never changes.
func (c *change) events(leavesOnly bool) (out []event) {
	path := c.entryPath()
	if !leavesOnly {
		return []event{{path: path, op: c.op, name: c.list, inner: append(append([]leaf{}, c.keys...), c.leaves...)}}
	}
	leaves := c.leaves
	if c.op != updated {
		leaves = append(append([]leaf{}, c.keys...), leaves...)
	}
	for _, l := range leaves {
		out = append(out, event{path: path + "/neutron:" + l.name, op: c.op, name: l.name, text: l.value})
	}
	return out
}

// frameEvents is how many events one frame has at most: a commit may change thousands of ports.
const frameEvents = 200

// frames are the frames of changes for a form, in order.
func frames(changes []change, f form, now time.Time) (out [][]byte) {
	var all []event
	for i := range changes {
		if changes[i].path == f.path {
			all = append(all, changes[i].events(f.leaves)...)
		}
	}
	encode := jsonFrame
	if f.xml {
		encode = xmlFrame
	}
	at := now.UTC().Format(time.RFC3339)
	for len(all) > 0 {
		n := min(len(all), frameEvents)
		out = append(out, encode(all[:n], at))
		all = all[n:]
	}
	return out
}

// jsonFrame is the form that clients were written against: the XML form, converted element by element. One event is an
// object and several are a list; a text with a namespace is its "content".
func jsonFrame(events []event, at string) []byte {
	list := make([]any, len(events))
	for i, e := range events {
		m := map[string]any{"path": e.path, "operation": string(e.op)}
		if e.op != deleted {
			body := map[string]any{"xmlns": nsNeutron}
			if e.inner == nil {
				body["content"] = e.text
			}
			for _, l := range e.inner {
				body[l.name] = l.value
			}
			m["data"] = map[string]any{e.name: body}
		}
		list[i] = m
	}
	var what any = list
	if len(list) == 1 {
		what = list[0]
	}
	return jsonbody.Append(nil, map[string]any{"notification": map[string]any{
		"xmlns":     nsNotification,
		"eventTime": at,
		"data-changed-notification": map[string]any{
			"xmlns":             nsRemote,
			"data-change-event": what,
		},
	}})
}

// xmlFrame is a notification of RFC 5277 with the same tree.
func xmlFrame(events []event, at string) []byte {
	var b bytes.Buffer
	text := func(s string) string {
		var t bytes.Buffer
		xml.EscapeText(&t, []byte(s)) //nolint:errcheck // a buffer takes everything
		return t.String()
	}
	element := func(name, value string) { b.WriteString("<" + name + ">" + text(value) + "</" + name + ">") }
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?><notification xmlns="` + nsNotification + `">`)
	element("eventTime", at)
	b.WriteString(`<data-changed-notification xmlns="` + nsRemote + `">`)
	for _, e := range events {
		b.WriteString("<data-change-event>")
		b.WriteString(`<path xmlns:neutron="` + nsNeutron + `">` + text(e.path) + "</path>")
		element("operation", string(e.op))
		if e.op != deleted {
			b.WriteString("<data><" + e.name + ` xmlns="` + nsNeutron + `">`)
			if e.inner == nil {
				b.WriteString(text(e.text))
			}
			for _, l := range e.inner {
				element(l.name, l.value)
			}
			b.WriteString("</" + e.name + "></data>")
		}
		b.WriteString("</data-change-event>")
	}
	b.WriteString("</data-changed-notification></notification>")
	return b.Bytes()
}
