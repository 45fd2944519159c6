// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"

	"nagare/internal/api/jsonbody"
	"nagare/internal/yang"
)

// message is the body of a request, read once.
type message struct {
	raw  []byte
	xml  bool
	name string         // of what it is about, with its module's where it has one
	json map[string]any // nil for XML
}

// message reads the body: a JSON object with one member, or one XML element.
func (c *call) message() (m message, err error) {
	media := c.media[0]
	if t := c.r.Header.Get("Content-Type"); t != "" {
		if media, _, err = mime.ParseMediaType(t); err != nil || !slices.Contains(c.media, media) {
			return m, &fault{http.StatusUnsupportedMediaType, "protocol", "invalid-value", "content type " + t + " is not understood; send " + c.media[0]}
		}
	}
	if m.raw, err = io.ReadAll(io.LimitReader(c.r.Body, jsonbody.MaxBytes+1)); err != nil {
		return m, malformed("body: it could not be read: %v", err)
	}
	if len(m.raw) > jsonbody.MaxBytes {
		return m, &fault{http.StatusRequestEntityTooLarge, "protocol", "too-big", "the body is too large; split it"}
	}
	if m.xml = isXML(media); m.xml {
		m.name, err = c.tree.schema.XMLName(bytes.NewReader(m.raw))
		return m, modelFault(err)
	}
	v, err := jsonbody.Decode(bytes.NewReader(m.raw))
	if err != nil {
		return m, malformed("%v", err)
	}
	m.json, _ = v.(map[string]any)
	if len(m.json) != 1 {
		return m, malformed("body: want an object with one member")
	}
	for m.name = range m.json {
	}
	return m, nil
}

// fill reads a message into an instance of the node that it has to be about. A list is one entry, in JSON perhaps in a list.
func (c *call) fill(d *yang.Data, m message) error {
	if m.name != d.Node.QName() && m.name != d.Node.Name {
		return malformed("body: it is about %q; want %s", m.name, d.Node.QName())
	}
	if m.xml {
		return modelFault(c.tree.schema.ReadXML(d, bytes.NewReader(m.raw)))
	}
	inner := m.json[m.name]
	if list, is := inner.([]any); is && (d.Node.Kind == yang.List || d.Node.Kind == yang.LeafList) {
		if len(list) != 1 {
			return malformed("body: want one entry of %s, not %d", d.Node.Name, len(list))
		}
		inner = list[0]
	}
	if d.Node.Type != nil {
		return modelFault(c.tree.schema.ReadValue(d, inner, yang.Draft02))
	}
	return modelFault(c.tree.schema.ReadJSON(d, inner, yang.Draft02))
}

// body reads the message of a request into an instance.
func (c *call) body(d *yang.Data) error {
	m, err := c.message()
	if err != nil {
		return err
	}
	return c.fill(d, m)
}

// modelFault tells an error of the schema in RESTCONF's words.
func modelFault(err error) error {
	var f *yang.Fault
	if errors.As(err, &f) {
		status := http.StatusBadRequest
		if f.Tag == yang.TagFailed { // a constraint between values that are each right (RFC 7950 section 15)
			status = http.StatusPreconditionFailed
		}
		return &fault{status, "application", f.Tag, f.Error()}
	}
	return err
}

// tell answers with one instance.
func (c *call) tell(status int, d *yang.Data) error {
	media, ok := c.accepted()
	if !ok {
		return errNotAcceptable(c)
	}
	var b []byte
	if isXML(media) {
		b = d.AppendXML(nil, nil)
	} else {
		name := d.Node.Name
		if c.prefixed {
			name = d.Node.QName()
		}
		b = d.AppendValue(append(jsonbody.AppendString([]byte("{"), name), ':'))
		b = append(b, '}')
	}
	c.w.Header().Set("Content-Type", media)
	c.send(status, b)
	return nil
}

func errNotAcceptable(c *call) error {
	return &fault{http.StatusNotAcceptable, "protocol", "invalid-value", "answers are " + c.media[0] + " and the like; accept one"}
}
