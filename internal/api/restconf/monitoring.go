// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"iter"

	"nagare/internal/yang"
)

// capabilities are the optional parts of the protocol that are offered (RFC 8040 section 9.1).
var capabilities = []string{
	"urn:ietf:params:restconf:capability:defaults:1.0?basic-mode=explicit",
	"urn:ietf:params:restconf:capability:depth:1.0",
	"urn:ietf:params:restconf:capability:fields:1.0",
	"urn:ietf:params:restconf:capability:with-defaults:1.0",
}

const streamListPath = "ietf-restconf-monitoring:restconf-state/streams/stream"

// addMonitoring adds what the server says of itself (RFC 8040 section 9). Streams may be nil: there are none then.
func (t *tree) addMonitoring(streams func(v *view) iter.Seq[*yang.Data]) {
	const path = "ietf-restconf-monitoring:restconf-state/capabilities"
	t.add(path, source{has: nonconfig, one: func(*view, []string) *yang.Data {
		d := t.entry(path)
		for _, c := range capabilities {
			d.Leaf("capability", c)
		}
		return d
	}})
	if streams == nil {
		return
	}
	t.add(streamListPath, source{has: nonconfig,
		all: func(v *view, _ []string) iter.Seq[*yang.Data] { return streams(v) },
		one: func(v *view, keys []string) *yang.Data {
			for d := range streams(v) {
				if name, _ := d.Get("name"); name == keys[0] {
					return d
				}
			}
			return nil
		}})
}
