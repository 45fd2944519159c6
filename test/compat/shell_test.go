// SPDX-License-Identifier: Apache-2.0

package compat

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// shellSource runs many commands of the client in one process.
//
//go:embed testdata/shell.py
var shellSource string

// shell is a Python process that has the openstack client loaded and runs one command at a time.
type shell struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

type shellRequest struct {
	Env    map[string]string `json:"env"`
	Args   []string          `json:"args,omitempty"`
	Groups []string          `json:"groups,omitempty"`
}

type shellAnswer struct {
	Code     int                 `json:"code"`
	Out, Err string              // as printed
	Commands map[string][]string `json:"commands"` // with their options
}

// shells are the processes, shared by all tests: loading the client takes a second, a command some hundredths of one.
var shells = struct {
	once sync.Once
	idle chan *shell // a nil is the right to start one
	all  []*shell
	mu   sync.Mutex
}{}

// closeShells ends the processes. No test runs any more.
func closeShells() {
	for _, s := range shells.all {
		s.in.Close()
		s.cmd.Process.Kill() //nolint:errcheck // it may have ended by itself
		s.cmd.Wait()         //nolint:errcheck // the same
	}
}

// interpreter is the Python that the openstack command itself runs in.
func interpreter() (string, error) {
	path, err := exec.LookPath("openstack")
	if err != nil {
		return "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	line, err := bufio.NewReader(f).ReadString('\n')
	words := strings.Fields(strings.TrimPrefix(line, "#!"))
	if err != nil || !strings.HasPrefix(line, "#!") || len(words) == 0 {
		return "", fmt.Errorf("%s: want a Python script with its interpreter in the first line, got %q", path, line)
	}
	return words[len(words)-1], nil // the last: `/usr/bin/env python3` too
}

func startShell() (*shell, error) {
	python, err := interpreter()
	if err != nil {
		return nil, err
	}
	s := &shell{cmd: exec.Command(python, "-c", shellSource)}
	s.cmd.Stderr = os.Stderr
	// The user's own clouds and credentials are none of the tests' business.
	s.cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "OS_") }), "OS_CLIENT_CONFIG_FILE=/nonexistent")
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.out = bufio.NewReader(out)
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	shells.mu.Lock()
	shells.all = append(shells.all, s)
	shells.mu.Unlock()
	return s, nil
}

// ask gives a request to an idle process and waits for the answer. A process that does not answer for minutes is killed.
func ask(r shellRequest) (shellAnswer, error) {
	shells.once.Do(func() {
		n := runtime.GOMAXPROCS(0)
		shells.idle = make(chan *shell, n)
		for range n {
			shells.idle <- nil
		}
	})
	s := <-shells.idle
	if s == nil {
		var err error
		if s, err = startShell(); err != nil {
			shells.idle <- nil
			return shellAnswer{}, err
		}
	}
	defer func() { shells.idle <- s }()
	req, err := json.Marshal(r)
	if err != nil {
		return shellAnswer{}, err
	}
	hung := time.AfterFunc(3*time.Minute, func() { s.cmd.Process.Kill() }) //nolint:errcheck // it may have ended by itself
	defer hung.Stop()
	_, werr := s.in.Write(append(req, '\n'))
	line, rerr := s.out.ReadBytes('\n')
	if err := errors.Join(werr, rerr); err != nil {
		s = nil // the next asker starts another
		return shellAnswer{}, fmt.Errorf("the client's process has ended: %w", err)
	}
	var a shellAnswer
	if err := json.Unmarshal(line, &a); err != nil {
		s.cmd.Process.Kill() //nolint:errcheck // what it says can no longer be told apart
		s = nil
		return a, fmt.Errorf("the client's process answers %.200q: %w", line, err)
	}
	return a, nil
}

// TestShell: the process that is asked for many commands answers as the command itself does.
func TestShell(t *testing.T) {
	needClient(t)
	c := start(t, nil)
	o := &client{t, c, "demo", "demo"}
	o.show("network", "create", "n")
	for _, args := range [][]string{{"network", "list", "-f", "value", "-c", "Name"}, {"network", "show", "none"}, {"network", "nonsense"}} {
		cmd := exec.Command("openstack", args...)
		cmd.Env = os.Environ()
		for k, v := range o.env() {
			cmd.Env = append(cmd.Env, k+"="+v)
		}
		var want strings.Builder
		cmd.Stderr = &want
		out, err := cmd.Output()
		got, errs, gotErr := o.run(args...)
		if string(got) != string(out) || errs != want.String() || (err == nil) != (gotErr == nil) {
			t.Errorf("%s: got %q, %q, %v; the command itself says %q, %q, %v", args, got, errs, gotErr, out, want.String(), err)
		}
	}
}
