// SPDX-License-Identifier: Apache-2.0

//go:build vm

package e2e

import (
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// domain is what a test reads of what `virsh dumpxml` prints.
type domain struct {
	UUID       string `xml:"uuid"`
	Interfaces []struct {
		MAC struct {
			Address string `xml:"address,attr"`
		} `xml:"mac"`
		Source struct {
			Bridge string `xml:"bridge,attr"`
		} `xml:"source"`
		VirtualPort struct {
			Type       string `xml:"type,attr"`
			Parameters struct {
				InterfaceID string `xml:"interfaceid,attr"`
			} `xml:"parameters"`
		} `xml:"virtualport"`
		Target struct {
			Dev string `xml:"dev,attr"`
		} `xml:"target"`
		Model struct {
			Type string `xml:"type,attr"`
		} `xml:"model"`
	} `xml:"devices>interface"`
}

// virsh runs a command against the libvirt of the compute node.
func (s *site) virsh(args ...string) string {
	s.t.Helper()
	return s.must(append(s.lab("exec", compute, "--", "virsh", "-q"), args...)...)
}

// TestLibvirt: a hypervisor plugs the guest, not the laboratory. Libvirt reads the port's id in the domain, as in the recorded
// scenario, makes the tap and tells Open vSwitch whose it is; from that alone the server brings the port up, and the guest gets
// its address and is reached from the other node. It needs the image of `scripts/guest.sh libvirt`.
func TestLibvirt(t *testing.T) {
	s := newSite(t)
	demo := s.user("demo")
	demo.network("net01", "10.11.12.0/24")
	s.must(s.lab("instance", "add", "vm01", "--network", "net01", "--node", compute, "--vm=libvirt")...)
	other := s.boot("vm02", "net01", controller)
	inst := s.instance("vm01")

	var d domain
	if err := xml.Unmarshal([]byte(s.virsh("dumpxml", "vm01")), &d); err != nil || len(d.Interfaces) != 1 {
		t.Fatalf("dumpxml: %+v, %v", d, err)
	}
	nic := d.Interfaces[0]
	for what, have := range map[string][2]string{
		"uuid": {inst.DeviceID, d.UUID}, "bridge": {"br-int", nic.Source.Bridge}, "virtualport": {"openvswitch", nic.VirtualPort.Type},
		"interfaceid": {inst.PortID, nic.VirtualPort.Parameters.InterfaceID}, "tap": {inst.tap(), nic.Target.Dev},
		"MAC": {inst.MAC, nic.MAC.Address}, "model": {"virtio", nic.Model.Type},
	} {
		if have[0] != have[1] {
			t.Errorf("the domain's %s is %q, not %q", what, have[1], have[0])
		}
	}
	for key, want := range map[string]string{"iface-id": inst.PortID, "attached-mac": inst.MAC, "iface-status": "active", "vm-id": inst.DeviceID} {
		out := s.ovs(compute, "ovs-vsctl", "get", "Interface", inst.tap(), "external_ids:"+key)
		if have := strings.Trim(out, "\"\n"); have != want {
			t.Errorf("external_ids:%s is %q, not %q", key, have, want)
		}
	}
	// The database remembers which program's child changed it.
	log := s.must("ovsdb-tool", "-m", "show-log", filepath.Join(s.dir(), "nodes", compute, "db", "conf.db"))
	plugged := false
	for line := range strings.Lines(log) {
		plugged = plugged || strings.Contains(line, "add-port br-int "+inst.tap()) && strings.Contains(line, "invoked by libvirtd")
		if strings.Contains(line, "add-port br-int "+inst.tap()) && !strings.Contains(line, "invoked by libvirtd") {
			t.Errorf("somebody else plugged the guest: %s", line)
		}
	}
	if !plugged {
		t.Error("the database does not tell that libvirt plugged the guest")
	}

	demo.wantStatus(inst.PortID, "ACTIVE")
	p, err := demo.port(inst.PortID)
	if err != nil {
		t.Fatal(err)
	}
	address := s.told("vm01")
	if len(p.FixedIPs) != 1 || address != p.FixedIPs[0].IP {
		t.Errorf("its lease is for %s, its port has %+v", address, p.FixedIPs)
	}
	reach := func() {
		t.Helper()
		s.eventually(settleWithin, "vm02 reaches vm01", func() error {
			out, err := s.in("vm02", "ping", "-c", "2", "-W", "2", address)
			if err != nil {
				err = fmt.Errorf("%w\n%s", err, out)
			}
			return err
		})
	}
	reach()
	// TCP both ways, and it is the guest who answers.
	if out, err := s.inside("vm02", address, "hostname; grep -m1 'model name' /proc/cpuinfo; ping -c 2 -W 3 "+other); err != nil ||
		!strings.Contains(out, "vm01\n") || !strings.Contains(out, "QEMU") {
		t.Errorf("inside vm01: %v\n%s", err, out)
	}
	if out, err := s.inside("vm02", address, "dd if=/dev/zero bs=64k count=64 2>/dev/null"); err != nil || strings.Count(out, "\x00") != 64*64<<10 {
		t.Errorf("of 4 MiB from vm01 %d octets came: %v", strings.Count(out, "\x00"), err)
	}
	s.must(s.lab("status")...)

	// Power off at the hypervisor: libvirt unplugs, the port goes down. `lab up` brings the guest back.
	s.virsh("destroy", "vm01")
	demo.wantStatus(inst.PortID, "DOWN")
	if out := s.ovs(compute, "ovs-vsctl", "list-ports", "br-int"); strings.Contains(out, inst.tap()) {
		t.Errorf("after destroy br-int has the tap still:\n%s", out)
	}
	if _, err := s.try(t.Context(), s.lab("status")...); err == nil {
		t.Error("status is fine with a machine that does not run")
	}
	s.mend()
	demo.wantStatus(inst.PortID, "ACTIVE")
	if after := s.told("vm01"); after != address {
		t.Errorf("after 'lab up' vm01 has %s, not %s", after, address)
	}
	reach()

	// A libvirtd that is killed takes no guest with it, and the next one knows it again.
	s.kill("libvirtd", s.libvirtPID())
	reach()
	s.must(s.lab("instance", "rm", "vm01")...)
	if out := s.virsh("list", "--all", "--name"); strings.Contains(out, "vm01") {
		t.Errorf("after rm libvirt has the guest still: %s", out)
	}
	if out := s.ovs(compute, "ovs-vsctl", "list-ports", "br-int"); strings.Contains(out, inst.tap()) {
		t.Errorf("after rm br-int has the tap still:\n%s", out)
	}
	if code, _, err := demo.do(t.Context(), "GET", demo.neutron("/ports/"+inst.PortID), nil); err != nil || code != 404 {
		t.Errorf("after rm the port answers %d, %v", code, err)
	}
	if _, err := os.Stat(filepath.Join(s.dir(), "leases", "vm01")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after rm the lease is there still: %v", err)
	}
	if !t.Failed() {
		s.must(s.lab("instance", "add", "vm03", "--network", "net01", "--node", compute, "--vm=libvirt")...)
		s.part("Down", down) // with a guest that runs
	}
}

// libvirtPID is the compute node's libvirtd.
func (s *site) libvirtPID() (pid int) {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir(), "nodes", compute, "libvirt", "run", "libvirtd.pid"))
	if err == nil {
		_, err = fmt.Sscan(string(b), &pid)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return pid
}
