// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// logged waits until the server's log has grown by a line that holds all the words, and returns it.
func (s *site) logged(from int, words ...string) (found string) {
	s.t.Helper()
	s.eventually(settleWithin, fmt.Sprintf("the log tells of %q", words), func() error {
		added := s.log()[from:]
		for line := range bytes.Lines(added) {
			all := true
			for _, w := range words {
				all = all && bytes.Contains(line, []byte(w))
			}
			if all {
				found = string(bytes.TrimSpace(line))
				return nil
			}
		}
		return fmt.Errorf("since then it says:\n%s", added)
	})
	return found
}

func (s *site) log() []byte {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir(), "log", "server.log"))
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// garbage: peers that speak nonsense to the listeners for switches are shown out; nothing changes and nobody else notices.
func garbage(s *site) {
	admin := s.user("admin")
	before := admin.settled(settleWithin, controller, compute)
	pid := s.serverPID()
	revision, err := admin.revision()
	if err != nil {
		s.t.Fatal(err)
	}
	noise := make([]byte, 256<<10)
	rng := rand.NewChaCha8([32]byte{1})
	rng.Read(noise)
	hello := []byte{4, 0, 0, 8, 0, 0, 0, 1} // OpenFlow 1.3, hello
	from, began := len(s.log()), time.Now()
	peers := map[string]string{} // address -> what it sends
	var all sync.WaitGroup
	for _, c := range []struct {
		what string
		port string
		send []byte
	}{
		{"noise for OpenFlow", "6653", noise},
		{"length below the header's", "6653", []byte{4, 0, 0, 3, 0, 0, 0, 1}},
		{"OpenFlow 1.0 and nothing else", "6653", []byte{1, 0, 0, 8, 0, 0, 0, 1}},
		{"hello, then noise", "6653", append(hello, noise...)},
		{"hello, then a huge features reply", "6653", append(append([]byte{}, hello...), append([]byte{4, 6, 0xff, 0xff, 0, 0, 0, 1}, noise...)...)},
		{"noise for OVSDB", "6640", noise},
		{"deeply nested JSON", "6640", bytes.Repeat([]byte("["), 1<<20)},
		{"endless string", "6640", append([]byte(`{"method":"`), bytes.Repeat([]byte("a"), 64<<20)...)},
		{"an answer to no question", "6640", []byte(`{"id":99,"result":[],"error":null}{"id":null,"method":7,"params":{}}`)},
		{"an HTTP request for OVSDB", "6640", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")},
	} {
		var conn net.Conn
		err := within(s.namespace(compute), func() (err error) {
			conn, err = (&net.Dialer{Timeout: 5 * time.Second}).Dial("tcp4", "192.168.0.10:"+c.port)
			return err
		})
		if err != nil {
			s.t.Fatalf("%s: %v", c.what, err)
		}
		peers[conn.LocalAddr().String()] = c.what
		all.Go(func() {
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(settleWithin))
			_, err := conn.Write(c.send) // may fail: the other side may have hung up
			if err == nil {
				_, err = io.Copy(io.Discard, conn)
			}
			if ne, ok := err.(net.Error); ok && ne.Timeout() {
				s.t.Errorf("%s: the server still listens to it after %v", c.what, settleWithin)
			}
			s.t.Logf("%s: shown out after %v", c.what, time.Since(began).Round(time.Millisecond))
		})
	}
	all.Wait()
	for peer, what := range peers {
		s.t.Logf("%s: %s", what, s.logged(from, "peer="+peer, "error"))
	}
	after := admin.settled(settleWithin, controller, compute)
	for _, node := range []string{controller, compute} {
		if after[node].Sent != before[node].Sent {
			s.t.Errorf("%s: sent was %+v and is %+v", node, before[node].Sent, after[node].Sent)
		}
		if after[node].Since != before[node].Since {
			s.t.Errorf("%s: its sessions were disturbed: their state is of %v, before of %v", node, after[node].Since, before[node].Since)
		}
	}
	if now, err := admin.revision(); err != nil || now != revision {
		s.t.Errorf("the store went from revision %d to %d (%v)", revision, now, err)
	}
	if s.serverPID() != pid || !alive(pid) {
		s.t.Error("the server is another one")
	}
}

// impostor: a switch that takes another node's name is refused by name and reason, and gains and changes nothing; when it calls
// itself by its own name again, it is served on.
func impostor(s *site) {
	demo, admin := s.user("demo"), s.user("admin")
	before := s.both()
	ages := s.ages(compute)
	states := admin.settled(settleWithin, controller, compute)
	from := len(s.log())
	s.ovs(compute, "ovs-vsctl", "set", "Open_vSwitch", ".", "external_ids:hostname="+controller)
	s.logged(from, "refused", "controller", "192.168.0.11", "pinned")
	nodes, err := admin.nodes()
	if err != nil {
		s.t.Fatal(err)
	}
	if n := nodes[controller]; !n.OVSDB || !n.OpenFlow || !n.InSync || n.Since != states[controller].Since || n.Sent != states[controller].Sent {
		s.t.Errorf("the real controller node is now %+v, before it was %+v", n, states[controller])
	}
	if n := nodes[compute]; n.OVSDB {
		s.t.Errorf("the impostor has a session: %+v", n)
	}
	for _, vm := range []string{"vm01", "vm02", "vm03"} { // its ports have not come to harm: it may be back soon
		if p, err := demo.port(s.instance(vm).PortID); err != nil || p.Status != "ACTIVE" {
			s.t.Errorf("port of %s: %v, %v", vm, p.Status, err)
		}
	}
	s.reaches("vm01", "vm02", "vm03")
	s.ovs(compute, "ovs-vsctl", "set", "Open_vSwitch", ".", "external_ids:hostname="+compute)
	s.all(before)
	after := admin.settled(settleWithin, controller, compute)
	for _, node := range []string{controller, compute} {
		if after[node].Sent.FlowMods != states[node].Sent.FlowMods {
			s.t.Errorf("%s: %d flow mods were sent", node, after[node].Sent.FlowMods-states[node].Sent.FlowMods)
		}
	}
	s.untouched(compute, ages)
	if len(after) != 2 {
		s.t.Errorf("there are %d nodes", len(after))
	}
}
