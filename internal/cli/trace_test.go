// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"nagare/internal/api/admin"
)

// What trace prints, and the exit codes on which scripts rely: 0 arrived, 1 not, 2 usage, 3 no answer.
func TestTrace(t *testing.T) {
	newSite(t, newCloud(), false).golden("trace", words(
		"trace vm01 icmp to vm02",
		"trace vm01 icmp to vm02 --full",
		"trace vm01 icmp to vm02 --brief",
		"trace vm01 tcp/22 to vm02 --established",
		"trace --node compute --in-port 3 --flow arp --brief",
		"trace nobody icmp to vm02",
		"trace vm01 tcp/99999 to vm02",
		"trace",
		"trace vm01",
		"trace vm01 icmp to vm02 --flow icmp",
		"trace vm01 icmp to vm02 --established --reply",
		"trace --node compute --flow icmp",
		"trace vm01 icmp to vm02 -o yaml",
	)...)
}

// A packet in quotes is the same, and -o json is what the server said.
func TestTraceJSON(t *testing.T) {
	c := newCloud()
	s := newSite(t, c, false)
	got := s.run("trace", "vm01", "icmp to vm02", "-o", "json")
	var tr admin.Trace
	if err := json.Unmarshal([]byte(got.stdout), &tr); err != nil || got.code != 0 || !reflect.DeepEqual(tr.Verdict, c.traces["vm01 icmp to vm02"].Verdict) {
		t.Errorf("%+v %v", got, err)
	}
	if got := s.run("trace", "vm01", "tcp/22 to vm02", "--established", "-o", "json"); got.code != exitFailed {
		t.Errorf("a dropped packet: exit %d", got.code)
	}
	if seen := strings.Join(s.seen(), " "); !strings.Contains(seen, "word=icmp&word=to&word=vm02") {
		t.Errorf("asked %s", seen)
	}
	down := newSite(t, newCloud(), false)
	down.server.Close()
	if got := down.run("trace", "vm01", "icmp", "to", "vm02"); got.code != exitNoAnswer || !strings.Contains(got.stderr, "nagare serve") {
		t.Errorf("no server: %+v", got)
	}
}
