// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
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
			{first: "operational", methods: readers, serve: func(c *call, rest []string) error { return c.read(rest, nonconfig) }},
			{first: "config", methods: writers, writes: true, serve: func(c *call, rest []string) error { return c.readOrWrite(rest, config) }},
			{first: "operations", methods: callers, serve: (*call).operations},
			{first: "streams", methods: readers, serve: (*call).streamResource},
			{first: "modules", methods: readers, serve: (*call).moduleList},
		}}
	rfc8040 = &dialect{root: "rests", prefixed: true, errors: "ietf-restconf:errors",
		media: []string{"application/yang-data+json", "application/json", "application/yang-data+xml", "application/xml"},
		routes: []route{
			{first: "data", methods: writers, writes: true, serve: (*call).data},
			{first: "operations", methods: callers, serve: (*call).operations},
			{first: "streams", methods: readers, serve: (*call).eventStream},
			{first: "yang-library-version", methods: readers, serve: (*call).version},
			{first: "yang", methods: readers, serve: (*call).module},
		}}
	readers = []string{http.MethodGet}
	callers = []string{http.MethodGet, http.MethodPost}
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
	if len(rest) > 3 && rest[0] == "ietf-restconf-monitoring:restconf-state" && rest[1] == "streams" && rest[2] == "stream" {
		return c.streamResource(rest[2:]) // as OpenDaylight has it: the stream's name is not a key
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

// accepted chooses the media type of an answer: of those that are known the one that the client likes best (RFC 9110 section 12.5.1), the
// first of equals; ok is false if there is none.
func (c *call) accepted() (media string, ok bool) {
	all := c.r.Header.Values("Accept")
	if len(all) == 0 {
		return c.media[0], true
	}
	best := 0.0
	for want := range strings.SplitSeq(strings.Join(all, ","), ",") {
		t, params, err := mime.ParseMediaType(want)
		if err != nil {
			continue
		}
		liked := 1.0
		if q, has := params["q"]; has {
			if liked, err = strconv.ParseFloat(q, 64); err != nil {
				continue
			}
		}
		if t == "*/*" || t == "application/*" {
			t = c.media[0]
		}
		if liked > best && slices.Contains(c.media, t) {
			media, best = t, liked
		}
	}
	return media, best > 0
}

// base is where the client reached us, by what it says itself; empty if that names no host.
func (c *call) base() string {
	scheme := "http"
	if c.r.TLS != nil {
		scheme = "https"
	}
	u, err := url.Parse(scheme + "://" + c.r.Host + "/")
	if err != nil || c.r.Host == "" || u.Host != c.r.Host || u.Path != "/" {
		return ""
	}
	return scheme + "://" + c.r.Host
}
