// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"testing"

	"nagare/internal/model"
	"nagare/ovsdb"
)

// TestObservedOptions: where an interface leads is observed, and none of its other options, which may be secrets.
func TestObservedOptions(t *testing.T) {
	o := newObserver(nil, "h1")
	for name, options := range map[string]map[string]string{
		"tunnel": {"key": "flow", "local_ip": "192.0.2.1", "remote_ip": "192.0.2.2", "psk": "secret", "dst_port": "4790"},
		"patch":  {"peer": "patch2"},
		"plain":  nil,
	} {
		got := o.convert(ovsdb.NewRow(ovsdb.Fields{"name": ovsdb.String(name), "options": ovsdb.StringMap(options)}))
		want := map[string]model.InterfaceOptions{"tunnel": {Key: "flow", Local: "192.0.2.1", Remote: "192.0.2.2"}, "patch": {Peer: "patch2"}}[name]
		if got != (model.Interface{Node: "h1", Name: name, Options: want}) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
