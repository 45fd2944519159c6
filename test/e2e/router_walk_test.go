// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"slices"
	"strings"
)

// walkOn leads through the rest of the scenario, and judges the login by the floating IP by itself.
func (s *site) walkOn() {
	t := s.t
	out := s.walk() // goes on from where it is
	if strings.Contains(out, "SKIP") {
		t.Errorf("statements were skipped:\n%s", out)
	}
	s.must(s.lab("status")...)
	demo := s.user("demo")
	ports, err := demo.ports("")
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, p := range ports {
		have = append(have, p.ID[:8]+" "+p.MAC+" "+p.FixedIPs[0].IP)
	}
	want := []string{
		"178a8b99 fa:16:3e:ef:85:07 10.11.12.2", "2756a09c fa:16:3e:53:88:56 10.11.12.4",
		"7adff632 fa:16:3e:9e:f5:70 10.11.12.3", "f72c630e fa:16:3e:bb:4f:57 10.11.12.1",
	}
	if !slices.Equal(have, want) {
		t.Errorf("demo's ports are %v, recorded are %v", have, want)
	}
	name, err := s.in(controller, "env", "DROPBEAR_PASSWORD=cubswin:)", "dbclient", "-y", "-y", "cirros@172.16.1.4", "hostname")
	if lines := strings.Fields(name); err != nil || len(lines) == 0 || lines[len(lines)-1] != "vm01" {
		t.Errorf("SSH to the floating IP: %v: %s", err, name)
	}
	again := s.walk()
	if strings.Contains(again, "$ openstack router create") {
		t.Errorf("a repeated run made a router anew:\n%s", again)
	}
	// The address outside and the SSH server are back after a crash of the switch and of the server.
	s.kill("ovs-vswitchd", s.daemon(controller, "ovs-vswitchd"))
	s.kill("the server", s.serverPID())
	s.mend()
	s.must(s.lab("status")...)
	s.eventually(settleWithin, "the floating IP answers", func() error {
		_, err := s.in(controller, "ping", "-c", "1", "-W", "1", "172.16.1.4")
		return err
	})
}
