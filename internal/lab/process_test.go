// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// withoutFirst ends its first thread and goes on in another: its main thread is a zombie, the process is not.
const withoutFirst = `
import ctypes, threading, time
libc = ctypes.CDLL(None)
threading.Thread(target=time.sleep, args=(600,)).start()
libc.syscall(%d, 0)  # exit(2), of this thread alone
`

func TestProcessWithoutItsFirstThread(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Fatal("python3 is missing, of which the openstack client is made: run make setup")
	}
	cmd := exec.Command(python, "-c", fmt.Sprintf(withoutFirst, unix.SYS_EXIT))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	p, err := processOf(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	err = until(t.Context(), 20*time.Second, "its first thread ends", func(context.Context) error {
		if _, state, err := procStat(p.PID); err != nil || state != 'Z' {
			return errors.Join(err, errors.New("it runs"))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if !p.Alive() {
		t.Error("a process whose other threads run is taken for dead")
	}
	// Asked about while it ends, it is dead: what follows a kill must not find it alive.
	asked := make(chan bool, 1)
	go func() { asked <- p.Alive() }()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-ended
	if <-asked {
		t.Error("a process that was killed meanwhile is taken for alive")
	}
	if p.Alive() {
		t.Error("a process that was waited for is taken for alive")
	}
}
