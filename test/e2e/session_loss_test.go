// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// noLoss holds that traffic lost nothing. Open vSwitch's queues hold some 250 frames of a link, a quarter of a second of a stream;
// when the machine has no time for the switch for longer than that, the kernel counts what it could not queue, and that much
// may be missing: no flow of ours has seen it. full is the count of such frames at the start.
func (s *site) noLoss(t *testing.T, what string, lost, full int) {
	t.Helper()
	switch refused := s.queuesFull() - full; {
	case lost == 0:
	case lost <= refused:
		t.Logf("%s: %d were lost while the kernel refused %d frames for the switches' full queues: the machine is too busy", what, lost, refused)
	default:
		t.Errorf("%s: %d were lost, of which full queues explain %d; the switches dropped: %s", what, lost, refused, s.dropReasons())
	}
}

// queues are what was seen of the queues of the switches' links: frames refused, by socket. A link that is taken out takes its
// count with it.
type queues struct {
	mu      sync.Mutex
	refused map[string]int
}

var queueLine = regexp.MustCompile(`"ovs-vswitchd".* sk:(\w+)\s.*,d(\d+)\)`)

// queuesFull is how many frames the kernel has refused since the queues of the switches' links were full. It never falls.
func (s *site) queuesFull() (n int) {
	s.t.Helper()
	s.queues.mu.Lock()
	defer s.queues.mu.Unlock()
	for _, node := range []string{controller, compute} {
		out, err := s.in(node, "ss", "-0", "-e", "-m", "-n", "-p")
		if err != nil {
			s.t.Fatalf("%v: %s", err, out)
		}
		for _, m := range queueLine.FindAllStringSubmatch(out, -1) {
			if s.queues.refused == nil {
				s.queues.refused = map[string]int{}
			}
			s.queues.refused[m[1]], _ = strconv.Atoi(m[2])
		}
	}
	if len(s.queues.refused) == 0 {
		s.t.Fatal("the switches have no queues, or ss tells of them in another form")
	}
	for _, refused := range s.queues.refused {
		n += refused
	}
	return n
}

// dropReasons are what the switches' datapaths say that they dropped, and why.
func (s *site) dropReasons() string {
	var out []string
	for _, node := range []string{controller, compute} {
		text, err := s.tryOVS(bg, node, "ovs-appctl", "coverage/show")
		if err != nil {
			return err.Error()
		}
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "datapath_drop") || strings.HasPrefix(line, "drop_action") || strings.HasPrefix(line, "upcall") {
				f := strings.Fields(line)
				out = append(out, node+" "+f[0]+" "+f[len(f)-1])
			}
		}
	}
	return strings.Join(out, ", ")
}
