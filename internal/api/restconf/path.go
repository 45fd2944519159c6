// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// dialect is how one of the two RESTCONFs names things.
type dialect struct {
	root     string // first segment of its paths
	inline   bool   // keys of a list entry are segments of their own (draft-02), not behind a '=' (RFC 8040 section 3.5.3)
	prefixed bool   // the name at the top of an answer has its module's
	errors   string // name at the top of an error
	media    []string
	routes   []route
}

var (
	draft02 = &dialect{root: "restconf", inline: true, errors: "errors",
		media: []string{"application/json", "application/yang.data+json", "application/yang.operation+json", "application/yang.api+json",
			"application/xml", "application/yang.data+xml", "application/yang.operation+xml", "application/yang.api+xml"},
		routes: []route{
			{"operational", readers, func(c *call, rest []string) error { return c.read(rest, nonconfig) }},
			{"config", writers, func(c *call, rest []string) error { return c.readOrWrite(rest, config) }},
			{"operations", []string{http.MethodPost}, (*call).operation},
			{"streams", readers, (*call).streamResource},
		}}
	rfc8040 = &dialect{root: "rests", prefixed: true, errors: "ietf-restconf:errors",
		media: []string{"application/yang-data+json", "application/json", "application/yang-data+xml", "application/xml"},
		routes: []route{
			{"data", writers, (*call).data},
			{"operations", []string{http.MethodPost}, (*call).operation},
		}}
	readers = []string{http.MethodGet}
	writers = []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete}
)

// dialectOf gives the dialect of a path; paths of neither get the older one's errors.
func dialectOf(path string) *dialect {
	if path == "/rests" || strings.HasPrefix(path, "/rests/") {
		return rfc8040
	}
	return draft02
}

// segments cuts the path as the client wrote it, so that an escaped slash stays within a key. A slash at the end means
// nothing. There is at least one segment.
func (c *call) segments() ([]string, error) {
	path := strings.TrimSuffix(strings.TrimPrefix(c.r.URL.EscapedPath(), "/"), "/")
	out := strings.Split(path, "/")
	for i, s := range out {
		plain, err := url.PathUnescape(s)
		switch {
		case err != nil:
			return nil, malformed("path segment %q: %v", s, err)
		case plain == "":
			return nil, malformed("path has an empty segment after %q", strings.Join(out[:i], "/"))
		}
		if !c.inline && strings.Contains(s, "=") {
			continue // keys are cut at commas before they are unescaped
		}
		out[i] = plain
	}
	return out, nil
}

// data serves /rests/data, where the store is a parameter (RFC 8040 section 4.8.1).
func (c *call) data(rest []string) error {
	if len(rest) > 1 && rest[0] == "ietf-restconf-monitoring:restconf-state" {
		return c.streamResource(rest[2:])
	}
	return c.readOrWrite(rest, all)
}

func (c *call) readOrWrite(rest []string, want content) error {
	if c.r.Method == http.MethodGet || c.r.Method == http.MethodHead {
		return c.read(rest, want)
	}
	return c.change(rest)
}

func isXML(media string) bool { return strings.HasSuffix(media, "xml") }

// accepted chooses the media type of an answer, the first of the client's that is known; ok is false if there is none.
func (c *call) accepted() (string, bool) {
	all := c.r.Header.Values("Accept")
	if len(all) == 0 {
		return c.media[0], true
	}
	for _, want := range strings.Split(strings.Join(all, ","), ",") {
		t, _, err := mime.ParseMediaType(want)
		switch {
		case err != nil:
		case t == "*/*", t == "application/*":
			return c.media[0], true
		case slices.Contains(c.media, t):
			return t, true
		}
	}
	return "", false
}
