// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"nagare/internal/api/jsonbody"
	"nagare/internal/model"
)

// maxText bounds a text that the model holds, in bytes.
const maxText = 4096

// body decodes the request's body, which is a JSON object.
func (rq *request) body() (map[string]any, error) {
	if enc := rq.r.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return nil, fail(http.StatusUnsupportedMediaType, "HTTPUnsupportedMediaType", "Content-Encoding %s is not understood; send the body as it is.", show(enc))
	}
	if ct := rq.r.Header.Get("Content-Type"); ct != "" {
		if t, _, err := mime.ParseMediaType(ct); err != nil || t != "application/json" && t != "text/json" {
			return nil, fail(http.StatusUnsupportedMediaType, "HTTPUnsupportedMediaType", "Content-Type %s is not understood; send application/json.", show(ct))
		}
	}
	tooLarge := fail(http.StatusRequestEntityTooLarge, "HTTPRequestEntityTooLarge", "The body is larger than %d bytes; split it.", MaxBody)
	if rq.r.ContentLength > MaxBody {
		return nil, tooLarge
	}
	var buf bytes.Buffer
	if n := rq.r.ContentLength; n > 0 {
		buf.Grow(int(n) + bytes.MinRead)
	}
	if _, err := buf.ReadFrom(io.LimitReader(rq.r.Body, MaxBody+1)); err != nil {
		return nil, badRequest("The body could not be read: it ended early, or the connection did")
	}
	switch b := buf.Bytes(); {
	case len(b) > MaxBody:
		return nil, tooLarge
	case !utf8.Valid(b):
		return nil, badRequest("The body is not valid UTF-8")
	}
	v, err := jsonbody.DecodeWithin(&buf, MaxBody, MaxDepth)
	var dup *jsonbody.DuplicateKeyError
	switch {
	case errors.Is(err, jsonbody.ErrEmpty):
		return nil, badRequest("A body is required")
	case errors.As(err, &dup):
		return nil, badRequest("The body has the key '%s' twice in one object", show(dup.Key))
	case errors.Is(err, jsonbody.ErrTooDeep):
		return nil, badRequest("The body is nested deeper than %d levels", MaxDepth)
	case err != nil:
		return nil, badRequest("The body is not valid JSON")
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, badRequest("The body is not a JSON object")
	}
	return m, nil
}

// input is one object of a body, being read. What a reader takes from it is gone from it; what is left in the end is what the model
// does not hold. The first thing that is wrong is kept.
type input struct {
	m     map[string]any
	put   bool     // of an existing object, which may lack what it has
	had   bool     // the object was there, as the transaction found it
	given []string // taken, and not null
	forms map[string]any
	id    string
	rev   *int
	host  model.NodeID // of a port
	err   error
}

// take gives a value and removes it; ok is false if it is absent or null.
func (in *input) take(name string) (v any, ok bool) {
	v, ok = in.m[name]
	if !ok {
		return nil, false
	}
	delete(in.m, name)
	if v == nil {
		return nil, false
	}
	in.given = append(in.given, name)
	return v, true
}

// has reports whether an attribute was taken and not null.
func (in *input) has(name string) bool { return slices.Contains(in.given, name) }

// form keeps the exact form of an attribute; nil says that it was not there.
func (in *input) form(name string, v any) {
	if in.forms == nil {
		in.forms = map[string]any{}
	}
	in.forms[name] = v
}

func (in *input) bad(name, format string, args ...any) {
	if in.err == nil {
		e := badRequest(format, args...)
		e.Message = "Invalid input for " + name + ": " + e.Message
		in.err = e
	}
}

// require refuses a new object that lacks an attribute.
func (in *input) require(name string, has bool) {
	if !in.put && !has {
		in.bad(name, "it is missing")
	}
}

// text reads a text; null and absent are "".
func (in *input) text(name string) string {
	v, ok := in.take(name)
	if !ok {
		return ""
	}
	return in.toText(name, v)
}

func (in *input) toText(name string, v any) string {
	s, ok := v.(string)
	switch {
	case !ok:
		in.bad(name, "'%s' is not a text", show(v))
	case len(s) > maxText:
		in.bad(name, "it is longer than %d bytes", maxText)
	case strings.ContainsRune(s, 0):
		in.bad(name, "'%s' contains the character NUL", show(s))
	default:
		return s
	}
	return ""
}

// part reads a text that becomes part of keys of several parts.
func (in *input) part(name string) string {
	s := in.text(name)
	if strings.Contains(s, "|") {
		in.bad(name, "'%s' contains '|'", show(s))
	}
	return s
}

// boolean reads true, false or their texts.
func (in *input) boolean(name string, def bool) bool {
	v, ok := in.take(name)
	if !ok {
		return def
	}
	b, ok := toBool(v)
	if !ok {
		in.bad(name, "'%s' is neither true nor false", show(v))
	}
	return b
}

func toBool(v any) (b, ok bool) {
	switch v := v.(type) {
	case bool:
		return v, true
	case string:
		switch strings.ToLower(v) {
		case "true":
			return true, true
		case "false":
			return false, true
		}
	}
	return false, false
}

// integer reads a number or its text; nil if it is absent, null or "".
func (in *input) integer(name string, lo, hi int) *int {
	v, ok := in.take(name)
	if !ok {
		return nil
	}
	return in.toInt(name, v, lo, hi)
}

func (in *input) toInt(name string, v any, lo, hi int) *int {
	if v == nil || v == "" {
		return nil
	}
	n, ok := toInt(v)
	if !ok || n < lo || n > hi {
		in.bad(name, "'%s' is not a number from %d to %d", show(v), lo, hi)
		return nil
	}
	return &n
}

func toInt(v any) (int, bool) {
	var s string
	switch v := v.(type) {
	case json.Number:
		s = v.String()
	case string:
		s = v
	default:
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}

// uuid reads an id, with or without dashes; null, absent and "" are "".
func (in *input) uuid(name string) string {
	v, ok := in.take(name)
	if !ok {
		return ""
	}
	return in.toUUID(name, v)
}

func (in *input) toUUID(name string, v any) string {
	if v == nil || v == "" {
		return ""
	}
	s, _ := v.(string)
	id, ok := canonical(s)
	if !ok {
		in.bad(name, "'%s' is not a UUID", show(v))
	}
	return id
}

// canonical gives the form that a UUID has as a key: lower case, with dashes (RFC 9562 section 4).
func canonical(s string) (string, bool) {
	switch len(s) {
	case 36:
		if lowerUUID(s) {
			return s, true
		}
	case 32:
	default:
		return "", false
	}
	u, err := uuid.Parse(s)
	return u.String(), err == nil
}

func lowerUUID(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch dash := i == 8 || i == 13 || i == 18 || i == 23; {
		case dash && c != '-', !dash && (c < '0' || c > '9') && (c < 'a' || c > 'f'):
			return false
		}
	}
	return true
}

// addr reads an address without a zone; null, absent and "" are the zero address.
func (in *input) addr(name string) netip.Addr {
	v, ok := in.take(name)
	if !ok {
		return netip.Addr{}
	}
	return in.toAddr(name, v)
}

func (in *input) toAddr(name string, v any) netip.Addr {
	if v == nil || v == "" {
		return netip.Addr{}
	}
	s, _ := v.(string)
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" || a.Is4In6() {
		in.bad(name, "'%s' is not an IP address", show(v))
		return netip.Addr{}
	}
	return a
}

// toPrefix reads a prefix, or an address, which stands for itself.
func (in *input) toPrefix(name string, v any) netip.Prefix {
	if v == nil || v == "" {
		return netip.Prefix{}
	}
	s, _ := v.(string)
	if p, err := netip.ParsePrefix(s); err == nil && !p.Addr().Is4In6() {
		return p
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" && !a.Is4In6() {
		return netip.PrefixFrom(a, a.BitLen())
	}
	in.bad(name, "'%s' is not a prefix such as 192.0.2.0/24", show(v))
	return netip.Prefix{}
}

// list reads a list; null and absent are none.
func (in *input) list(name string) []any {
	v, ok := in.take(name)
	if !ok {
		return nil
	}
	l, ok := v.([]any)
	if !ok {
		in.bad(name, "'%s' is not a list", show(v))
	}
	return l
}

// objects reads a list of objects; of each, f takes what it wants.
func (in *input) objects(name string, f func(e *input)) { in.objectsOf(name, in.list(name), f) }

func (in *input) objectsOf(name string, list []any, f func(e *input)) {
	for _, v := range list {
		m, ok := v.(map[string]any)
		if !ok {
			in.bad(name, "'%s' is not an object", show(v))
			return
		}
		e := &input{m: m}
		if f(e); e.err != nil {
			in.bad(name, "%s", strings.TrimPrefix(e.err.(*Error).Message, "Invalid input for "))
			return
		}
	}
}

// texts reads a list of texts.
func (in *input) texts(name string) (out []string) {
	for _, v := range in.list(name) {
		out = append(out, in.toText(name, v))
	}
	return out
}

// routes reads [{"destination","nexthop"}].
func (in *input) routes(name string) (out []model.Route) {
	in.objects(name, func(e *input) {
		var r model.Route
		v, _ := e.take("destination")
		r.Destination, r.NextHop = e.toPrefix("destination", v), e.addr("nexthop")
		switch {
		case e.err != nil:
		case !r.Destination.IsValid() || !r.NextHop.IsValid():
			e.bad("route", "it lacks destination or nexthop")
		case r.Destination.Addr().Is4() != r.NextHop.Is4():
			e.bad("nexthop", "%s is of another ip version than %s", r.NextHop, r.Destination)
		}
		r.Destination = r.Destination.Masked()
		out = append(out, r)
	})
	return out
}

// std reads what all objects have.
func (in *input) std() (s model.Std) {
	s.Name, s.Description, s.Tags = in.text("name"), in.text("description"), in.texts("tags")
	tenant, project := in.text("tenant_id"), in.text("project_id")
	if tenant == "" { // "" counts as absent
		tenant = project
	}
	if project != "" && project != tenant {
		in.form("project_id", project)
	}
	s.Project = model.ProjectID(tenant)
	s.CreatedAt, s.UpdatedAt = in.stamp("created_at"), in.stamp("updated_at")
	if in.rev = in.integer("revision_number", 0, 1<<53); in.rev != nil {
		s.RevisionNo = *in.rev
	}
	return s
}

// stamp reads a time; the zero time if it is absent or in no form that is known.
func (in *input) stamp(name string) time.Time {
	t, err := time.Parse(time.RFC3339, in.text(name))
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// foreign is the record of what is left of a body, and of forms; ok is false if that is nothing.
func (in *input) foreign(kind string) (f model.Foreign, ok bool) {
	for name, v := range in.m {
		if v == nil {
			delete(in.m, name)
		}
	}
	f = model.Foreign{Kind: kind, ID: in.id}
	if len(in.m) > 0 {
		f.Attrs = string(jsonbody.Append(nil, in.m))
	}
	if len(in.forms) > 0 {
		f.Forms = string(jsonbody.Append(nil, in.forms))
	}
	return f, len(in.m) > 0 || len(in.forms) > 0
}
