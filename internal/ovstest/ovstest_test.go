// SPDX-License-Identifier: Apache-2.0

package ovstest

import (
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStart(t *testing.T) {
	var dir string
	t.Run("use", func(t *testing.T) {
		s := Start(t)
		dir = s.Dir
		s.AddBridge("br0")
		s.AddPort("br0", "p1", 1)
		l := s.Controller("br0")
		c := s.Accept(l)
		var hello [8]byte
		if _, err := c.Read(hello[:]); err != nil || hello[1] != 0 {
			t.Errorf("first message %x, %v", hello, err)
		}
		c.Close()
		s.Ofctl("add-flow", "br0", "in_port=1,actions=drop")
		if out := s.Ofctl("dump-flows", "br0"); !strings.Contains(out, "actions=drop") {
			t.Errorf("dump: %s", out)
		}
		s.StopVswitchd()
		s.StartVswitchd()
		if got := s.Vsctl("list-br"); got != "br0" {
			t.Errorf("bridges after a restart: %q", got)
		}
		if _, err := s.TryOfctl("dump-flows", "nosuch"); err == nil {
			t.Error("a failing command gave no error")
		}
	})
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s still there: %v", dir, err)
	}
}
