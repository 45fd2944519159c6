// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Process is a process and the moment that it started, in the kernel's clock
// ticks since boot: together they name one process for ever, although pids are
// used again.
type Process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"`
}

// processOf describes a running process.
func processOf(pid int) (Process, error) {
	start, _, err := procStat(pid)
	return Process{PID: pid, Start: start}, err
}

// Alive reports whether the very process still runs. One that has ended but was
// not yet waited for (a zombie) does not.
//
// A process whose first thread has ended looks like a zombie while it has others. For a moment that means either of two things:
// another thread executes a program (execve(2)), and it lives; or it was killed and its threads end one after the other, and
// it does not. Alive waits until it is known which; if that takes longer than a moment, the process runs without its first thread.
func (p Process) Alive() bool {
	if p.PID <= 0 {
		return false
	}
	for deadline := time.Now().Add(leaderless); ; time.Sleep(leaderless / 500) {
		start, state, err := procStat(p.PID)
		switch {
		case err != nil || start != p.Start:
			return false
		case state != 'Z' && state != 'X':
			return true
		case len(tasks(p.PID)) <= 1:
			return false
		case time.Now().After(deadline):
			return true
		}
	}
}

// leaderless is how long the threads of a killed process may take to end, on a busy machine.
const leaderless = time.Second

// tasks are the folders of a process's threads.
func tasks(pid int) []string {
	found, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/[0-9]*", pid))
	return found
}

// procStat reads fields 3 and 22 of /proc/PID/stat (proc(5)). The name in field
// 2 may hold anything, parentheses and spaces too, so the search is for its end.
func procStat(pid int) (start uint64, state byte, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	end := bytes.LastIndexByte(b, ')')
	fields := strings.Fields(string(b[end+1:]))
	if end < 0 || len(fields) < 20 {
		return 0, 0, fmt.Errorf("/proc/%d/stat: unexpected form", pid)
	}
	start, err = strconv.ParseUint(fields[19], 10, 64)
	return start, fields[0][0], err
}

// stop ends the process: SIGTERM, and SIGKILL when it has not ended within
// grace. It returns when the process is gone.
func (p Process) stop(ctx context.Context, grace time.Duration) error {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if !p.Alive() {
			return nil
		}
		if err := syscall.Kill(p.PID, s); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("process %d: %v: %w", p.PID, s, err)
		}
		err := until(ctx, grace, fmt.Sprintf("process %d ends", p.PID), func(context.Context) error {
			if p.Alive() {
				return errors.New("it still runs")
			}
			return nil
		})
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return fmt.Errorf("process %d: does not end", p.PID)
}

// spawn starts a program that outlives this one: in its own session, its output
// appended to the log file.
func spawn(env []string, logFile string, argv ...string) (Process, error) {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return Process{}, err
	}
	defer log.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return Process{}, err
	}
	p, err := processOf(cmd.Process.Pid)
	go cmd.Wait() // so that it is no zombie while this program lives
	return p, err
}

// fromPidFile returns the process of a daemon that wrote its own pid file, if it
// runs and still is what it should be: a program of that name.
func fromPidFile(path, program string) (Process, bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Process{}, false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return Process{}, false
	}
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil || strings.TrimSpace(string(name)) != program {
		return Process{}, false
	}
	p, err := processOf(pid)
	return p, err == nil && p.Alive()
}

// inhabitants lists the processes whose network namespace is the named one.
func inhabitants(ns string) ([]Process, error) {
	want, err := os.Stat(netnsPath(ns))
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	self, err := os.Stat("/proc/self/ns/net")
	if err != nil {
		return nil, err
	}
	if os.SameFile(want, self) {
		return nil, fmt.Errorf("namespace %s: this process runs in it", ns)
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var out []Process
	for _, d := range dirs {
		pid, err := strconv.Atoi(filepath.Base(d))
		if err != nil {
			continue
		}
		have, err := os.Stat(filepath.Join(d, "ns/net"))
		for _, t := range tasks(pid) {
			if err == nil {
				break
			}
			have, err = os.Stat(filepath.Join(t, "ns/net"))
		}
		if err != nil || !os.SameFile(have, want) {
			continue // gone meanwhile, or elsewhere
		}
		if p, err := processOf(pid); err == nil {
			out = append(out, p)
		}
	}
	return out, nil
}

// tail returns the last lines of a log file, for error messages.
func tail(path string, lines int) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
