// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// recordVersion is the version of the stored form. New fields do not raise it: a reader that does not know a field keeps it.
// A form that older readers would misread raises it, and older readers refuse it.
const recordVersion = 1

// stored is the stored form of a record. The value comes last.
type stored struct {
	V        int             `json:"v"`
	Created  Revision        `json:"created"`
	Modified Revision        `json:"modified"`
	Plane    json.RawMessage `json:"plane"`
	Value    json.RawMessage `json:"value"`
}

// encodeValue gives a record's value as JSON, with the fields that this version does not know.
func encodeValue(k *kind, rec *record) ([]byte, error) {
	b, err := k.encode(rec.val)
	if err != nil {
		return nil, err
	}
	if rec.extra == "" || len(b) < 2 || b[0] != '{' {
		return b, nil
	}
	b = b[:len(b)-1]
	if len(b) > 1 {
		b = append(b, ',')
	}
	return append(b, rec.extra[1:]...), nil
}

// appendStored gives the stored form; value and plane are JSON already.
func appendStored(b []byte, rec *record, plane, value []byte) []byte {
	b = append(b, `{"v":`...)
	b = strconv.AppendInt(b, recordVersion, 10)
	b = append(b, `,"created":`...)
	b = strconv.AppendUint(b, uint64(rec.created), 10)
	b = append(b, `,"modified":`...)
	b = strconv.AppendUint(b, uint64(rec.modified), 10)
	b = append(b, `,"plane":`...)
	b = append(b, plane...)
	b = append(b, `,"value":`...)
	b = append(b, value...)
	return append(b, '}')
}

// decoder reads stored records. Records that one commit wrote share its CommitInfo. It is safe for concurrent use.
type decoder struct {
	mu     sync.Mutex
	planes map[string]*CommitInfo
}

func newDecoder() *decoder { return &decoder{planes: map[string]*CommitInfo{}} }

func (d *decoder) plane(raw []byte) (*CommitInfo, error) {
	d.mu.Lock()
	ci := d.planes[string(raw)]
	d.mu.Unlock()
	if ci != nil {
		return ci, nil
	}
	ci = new(CommitInfo)
	if err := json.Unmarshal(raw, ci); err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.planes[string(raw)] = ci
	d.mu.Unlock()
	return ci, nil
}

func (d *decoder) record(k *kind, b []byte) (*record, error) {
	s, ok := splitStored(b)
	if !ok {
		if err := json.Unmarshal(b, &s); err != nil {
			return nil, err
		}
	}
	if s.V != recordVersion {
		return nil, fmt.Errorf("version %d of the stored form: this program reads version %d; use the program that wrote it", s.V, recordVersion)
	}
	if len(s.Value) == 0 || len(s.Plane) == 0 {
		return nil, errors.New("value or plane is missing")
	}
	rec := &record{created: s.Created, modified: s.Modified}
	var err error
	if rec.plane, err = d.plane(s.Plane); err != nil {
		return nil, err
	}
	rec.val, rec.extra, err = k.decode(s.Value)
	return rec, err
}

// splitStored takes apart what appendStored wrote without reading the value; ok is false if it looks otherwise.
func splitStored(b []byte) (s stored, ok bool) {
	number := func(prefix string) (n uint64) {
		if ok = ok && bytes.HasPrefix(b, []byte(prefix)); !ok {
			return 0
		}
		b = b[len(prefix):]
		end := bytes.IndexByte(b, ',')
		if end < 0 {
			ok = false
			return 0
		}
		n, err := strconv.ParseUint(string(b[:end]), 10, 64)
		ok = err == nil
		b = b[end:]
		return n
	}
	ok = true
	s.V = int(number(`{"v":`))
	s.Created = Revision(number(`,"created":`))
	s.Modified = Revision(number(`,"modified":`))
	if !ok || !bytes.HasPrefix(b, []byte(`,"plane":`)) {
		return s, false
	}
	b = b[len(`,"plane":`):]
	// The plane holds strings and numbers, so that it ends at the first brace outside a string.
	inString := false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case !inString && c == '}':
			s.Plane, b = b[:i+1], b[i+1:]
			if !bytes.HasPrefix(b, []byte(`,"value":`)) || b[len(b)-1] != '}' {
				return s, false
			}
			s.Value = b[len(`,"value":`) : len(b)-1]
			return s, true
		}
	}
	return s, false
}

// decodeValue reads JSON into a T and returns the object fields that T does not know, as a JSON object.
func decodeValue[T any](b []byte) (any, string, error) {
	var v T
	strict := json.NewDecoder(bytes.NewReader(b))
	strict.DisallowUnknownFields()
	err := strict.Decode(&v)
	if err == nil {
		if len(bytes.TrimSpace(b[strict.InputOffset():])) > 0 {
			return nil, "", errors.New("text after the value")
		}
		return v, "", nil
	}
	if !strings.Contains(err.Error(), "unknown field") {
		return nil, "", err
	}
	var loose T
	if err := json.Unmarshal(b, &loose); err != nil {
		return nil, "", err
	}
	extra, err := unknownFields(b, loose)
	return loose, extra, err
}

// unknownFields returns the fields of the JSON object b that v's type does not read.
func unknownFields(b []byte, v any) (string, error) {
	var have map[string]json.RawMessage
	if err := json.Unmarshal(b, &have); err != nil {
		return "", err
	}
	known := knownFields(v)
	for name := range have {
		if known[strings.ToLower(name)] {
			delete(have, name)
		}
	}
	if len(have) == 0 {
		return "", nil // inside a field that is known; such are not kept
	}
	out, err := json.Marshal(have)
	return string(out), err
}
