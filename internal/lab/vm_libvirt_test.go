// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/xml"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestDomain: what libvirt is told is well-formed whatever the lab's directory is called, and names the port.
func TestDomain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a&b <c>")
	l := &Lab{Name: "x", Dir: dir, Binary: filepath.Join(dir, "nagare")}
	inst := Instance{Name: "vm01", Node: "compute", DeviceID: "8d373fbd-6134-47d1-aff6-86ee1ae7c8d1", PortID: "7adff632-ccf9-4d43-8f5d-7db454313f44", MAC: "fa:16:3e:9e:f5:70", VM: true, Libvirt: true}
	if _, err := l.domain(inst); err == nil || !strings.Contains(err.Error(), "scripts/guest.sh libvirt") {
		t.Fatalf("without an image: %v", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "guest"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{libvirtKernel, libvirtImage} {
		if err := os.WriteFile(filepath.Join(dir, "guest", name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := l.domain(inst)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Kernel  string `xml:"os>kernel"`
		Console struct {
			Path string `xml:"path,attr"`
		} `xml:"devices>serial>source"`
		Port struct {
			ID string `xml:"interfaceid,attr"`
		} `xml:"devices>interface>virtualport>parameters"`
		Tap struct {
			Dev string `xml:"dev,attr"`
		} `xml:"devices>interface>target"`
	}
	if err := xml.Unmarshal(text, &d); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	have := []string{d.Kernel, d.Console.Path, d.Port.ID, d.Tap.Dev}
	want := []string{filepath.Join(dir, "guest", libvirtKernel), l.vmConsole("vm01"), inst.PortID, "tap7adff632-cc"}
	if !slices.Equal(have, want) {
		t.Errorf("the domain has %q, want %q", have, want)
	}
}

func TestWithAccount(t *testing.T) {
	const line = "libvirt-qemu:x:64055:64055::/:/usr/sbin/nologin\n"
	for _, c := range []struct{ name, file, want string }{
		{"absent", "root:x:0:0::/:/bin/sh\n", "root:x:0:0::/:/bin/sh\n" + line},
		{"no end of line", "root:x:0:0::/:/bin/sh", "root:x:0:0::/:/bin/sh\n" + line},
		{"there", "a:x:1\nlibvirt-qemu:x:7\n", "a:x:1\nlibvirt-qemu:x:7\n"},
		{"there first", "libvirt-qemu:x:7\n", "libvirt-qemu:x:7\n"},
		{"another's end", "not-libvirt-qemu:x:7\n", "not-libvirt-qemu:x:7\n" + line},
	} {
		if have := string(withAccount([]byte(c.file), line)); have != c.want {
			t.Errorf("%s: %q, want %q", c.name, have, c.want)
		}
	}
}

// TestKinds: an unknown kind of virtual machine is refused with the known ones, and each kind stays what it is.
func TestKinds(t *testing.T) {
	l := &Lab{Name: "x", Dir: t.TempDir(), Binary: "/nowhere/nagare"}
	if err := l.vmReady("xen"); err == nil || !strings.Contains(err.Error(), "use uml or libvirt") {
		t.Errorf("vmReady(xen): %v", err)
	}
	if err := l.vmReady(""); err != nil {
		t.Errorf("a namespace needs %v", err)
	}
	for kind, inst := range map[string]Instance{"": {}, VMUserMode: {VM: true}, VMLibvirt: {VM: true, Libvirt: true}} {
		if have := vmKind(inst); have != kind {
			t.Errorf("%+v: %q, want %q", inst, have, kind)
		}
	}
}

// TestLibvirtEnv: virsh addresses the node's own libvirt by a path that may hold anything.
func TestLibvirtEnv(t *testing.T) {
	l := &Lab{Name: "x", Dir: "/var/lib/a b&c+d"}
	const want = "LIBVIRT_DEFAULT_URI=qemu:///system?socket=%2Fvar%2Flib%2Fa%20b%26c%2Bd%2Fnodes%2Fcompute%2Flibvirt%2Frun%2Flibvirt-sock"
	if have := l.libvirtEnv("compute"); have != want {
		t.Errorf("%s, want %s", have, want)
	}
}
