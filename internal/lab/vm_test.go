// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadConsole(t *testing.T) {
	const lease = "guest: lease address=10.0.0.4/24\r\nguest: lease router=10.0.0.1\r\n"
	for _, c := range []struct {
		name, said, address string
		ready               bool
	}{
		{"nothing", "", "", false},
		{"kernel only", "Linux version 6\nnot guest: ssh\n", "", false},
		{"ssh only", "guest: ssh\r\n", "", false},
		{"half a lease", "guest: ssh\r\n" + lease, "", false},
		{"lease without ssh", lease + "guest: leased\r\n", "10.0.0.4/24", false},
		{"both", "boot\nguest: ssh\r\nudhcpc: x\n" + lease + "guest: leased\r\n", "10.0.0.4/24", true},
		{"a second lease", "guest: ssh\n" + lease + "guest: leased\nguest: lease address=10.0.0.5/24\nguest: leased\n", "10.0.0.5/24", true},
	} {
		text, ready := readConsole(c.said)
		if got := parseLease(text).Address; got != c.address || ready != c.ready {
			t.Errorf("%s: address %q, ready %v; want %q, %v", c.name, got, ready, c.address, c.ready)
		}
	}
}

// TestNoImage: without the image the error says where it belongs and how it is made.
func TestNoImage(t *testing.T) {
	dir := t.TempDir()
	l := &Lab{Name: "x", Dir: dir, Binary: filepath.Join(dir, "nagare")}
	_, _, err := l.vmFiles()
	if err == nil || !strings.Contains(err.Error(), "scripts/guest.sh") || !strings.Contains(err.Error(), filepath.Join(dir, "guest")) {
		t.Errorf("without an image: %v", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "guest"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "guest", vmKernel), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.vmFiles(); err == nil {
		t.Error("with a kernel alone: no error")
	}
	if err := os.WriteFile(filepath.Join(dir, "guest", vmImage), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.vmFiles(); err != nil {
		t.Errorf("with both: %v", err)
	}
}
