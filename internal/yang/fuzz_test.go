// SPDX-License-Identifier: Apache-2.0

package yang

import (
	"errors"
	"strings"
	"testing"

	"nagare/internal/api/jsonbody"
)

// FuzzRead: whatever comes is refused with a tag, or comes back the same, by way of JSON and of XML.
func FuzzRead(f *testing.F) {
	s := house(f)
	root, _ := s.Root("house:house")
	f.Add(fine, true)
	f.Add(`<house xmlns="urn:test:house" xmlns:h="urn:test:house"><medium>h:glass</medium><room><name>a</name><floor>1</floor></room></house>`, false)
	f.Fuzz(func(t *testing.T, text string, asJSON bool) {
		d := &Data{Node: root}
		var err error
		if asJSON {
			v, broken := jsonbody.Decode(strings.NewReader(text))
			if broken != nil {
				return
			}
			err = s.ReadJSON(d, v, Draft02)
		} else {
			err = s.ReadXML(d, strings.NewReader(text))
		}
		if err == nil {
			err = s.Validate(d, true, nil)
		}
		if err != nil {
			var fault *Fault
			if !errors.As(err, &fault) || fault.Tag == "" || fault.Msg == "" {
				t.Fatalf("no fault: %v", err)
			}
			return
		}
		once := string(d.AppendJSON(nil))
		v, err := jsonbody.Decode(strings.NewReader(once))
		if err != nil {
			t.Fatalf("%v in %s", err, once)
		}
		again := &Data{Node: root}
		if err := s.ReadJSON(again, v, RFC7951); err != nil {
			t.Fatalf("%v in %s", err, once)
		}
		if err := s.Validate(again, true, nil); err != nil {
			t.Fatalf("what was valid is not when read again: %v", err)
		}
		if twice := string(again.AppendJSON(nil)); twice != once {
			t.Fatalf("%s\n%s", once, twice)
		}
		if strings.ContainsFunc(once, func(r rune) bool { return r == '\\' }) {
			return // XML has no way to say some of these
		}
		back := &Data{Node: root}
		doc := string(d.AppendXML(nil, nil))
		if err := s.ReadXML(back, strings.NewReader(doc)); err != nil {
			t.Fatalf("%v in %s", err, doc)
		}
		if through := string(back.AppendJSON(nil)); through != once {
			t.Fatalf("%s\n%s\n%s", once, doc, through)
		}
	})
}
