// SPDX-License-Identifier: Apache-2.0

//go:build vm

package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// inside runs a command in an instance by an SSH login from a place of the laboratory.
func (s *site) inside(from, address, command string) (string, error) {
	argv := []string{"env", "DROPBEAR_PASSWORD=cubswin:)", "dbclient", "-y", "-y", "cirros@" + address, command}
	return s.try(s.t.Context(), append(s.lab("exec", from, "--"), argv...)...)
}

// TestVirtualMachines ends the walk-through with kernels of their own in the place of namespaces: vm01 on the compute node, vm02
// on the other one. It needs the image of scripts/guest.sh, so only `make e2e-vm` builds it.
func TestVirtualMachines(t *testing.T) {
	s := nameSite(t)
	s.walk()
	demo := s.user("demo")
	var floating struct {
		List []struct {
			ID      string `json:"id"`
			Address string `json:"floating_ip_address"`
			Port    string `json:"port_id"`
		} `json:"floatingips"`
	}
	if err := demo.ask(200, "GET", demo.neutron("/floatingips"), nil, &floating); err != nil || len(floating.List) != 1 {
		t.Fatalf("floating IPs: %+v, %v", floating, err)
	}
	fip := floating.List[0]
	for name, node := range map[string]string{"vm01": compute, "vm02": controller} {
		s.must(s.lab("instance", "rm", name)...)
		s.must(s.lab("instance", "add", name, "--network", "net01", "--node", node, "--vm")...)
		p, err := demo.port(s.instance(name).PortID)
		if err != nil {
			t.Fatal(err)
		}
		if have := s.told(name); len(p.FixedIPs) != 1 || have != p.FixedIPs[0].IP {
			t.Errorf("%s: its lease is for %s, its port has %+v", name, have, p.FixedIPs)
		}
	}
	if err := demo.ask(200, "PUT", demo.neutron("/floatingips/"+fip.ID), fields{"floatingip": fields{"port_id": s.instance("vm01").PortID}}, nil); err != nil {
		t.Fatal(err)
	}

	// Step 3: in by the floating IP. The processor that its kernel shows is one that only such a machine has.
	s.eventually(settleWithin, "SSH to "+fip.Address+" reaches vm01", func() error {
		out, err := s.inside(controller, fip.Address, "hostname; grep -m1 vendor_id /proc/cpuinfo")
		if err == nil && (!strings.Contains(out, "vm01\n") || !strings.Contains(out, "User Mode Linux")) {
			err = fmt.Errorf("it says %q", out)
		}
		return err
	})
	// Between the machines, across the tunnel; and out, by the floating IP and by the router's address.
	for _, to := range []string{s.told("vm02"), "172.16.1.1"} {
		if out, err := s.inside(controller, fip.Address, "ping -c 2 -W 3 "+to); err != nil {
			t.Errorf("vm01 to %s: %v\n%s", to, err, out)
		}
	}
	if out, err := s.inside(controller, fip.Address, "dd if=/dev/zero bs=64k count=64 2>/dev/null"); err != nil || strings.Count(out, "\x00") != 64*64<<10 {
		t.Errorf("of 4 MiB from vm01 %d octets came: %v", strings.Count(out, "\x00"), err)
	}
	s.must(s.lab("status")...)

	if out, err := s.try(t.Context(), s.lab("exec", "vm01", "--", "true")...); err == nil || !strings.Contains(out, "is a virtual machine") {
		t.Errorf("exec in a virtual machine: %v, %s", err, out)
	}
	if out, err := s.try(t.Context(), s.lab("instance", "move", "vm01", "--to", controller)...); err == nil || !strings.Contains(out, "is a virtual machine") {
		t.Errorf("move of a virtual machine: %v, %s", err, out)
	}
	// Without its power `lab up` brings it back, with its address.
	before := s.told("vm01")
	s.kill("vm01", s.vmPID("vm01"))
	if _, err := s.try(t.Context(), s.lab("status")...); err == nil {
		t.Error("status is fine with a machine that does not run")
	}
	s.mend()
	if after := s.told("vm01"); after != before {
		t.Errorf("after 'lab up' vm01 has %s, not %s", after, before)
	}
	s.eventually(settleWithin, "SSH reaches vm01 again", func() error {
		out, err := s.inside(controller, fip.Address, "hostname")
		if err == nil && !strings.Contains(out, "vm01\n") {
			err = fmt.Errorf("it says %q", out)
		}
		return err
	})
	if !t.Failed() {
		s.part("Down", down)
	}
}

// vmPID is the process that a virtual machine is.
func (s *site) vmPID(name string) (pid int) {
	s.t.Helper()
	b, err := os.ReadFile(s.dir() + "/guests/" + name + "/vm.pid")
	if err == nil {
		_, err = fmt.Sscan(string(b), &pid)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return pid
}

// told is the address that a virtual machine said it has.
func (s *site) told(name string) string {
	s.t.Helper()
	b, err := os.ReadFile(s.dir() + "/leases/" + name)
	if err != nil {
		s.t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	address, _, _ := strings.Cut(strings.TrimPrefix(line, "address="), "/")
	return address
}
