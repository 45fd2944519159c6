// SPDX-License-Identifier: Apache-2.0

// Package host lets programs use code that wants a test: a private Open vSwitch, above all (internal/ovstest).
//
// Invariants: a failure ends the function that Run was given and becomes its error, never the program; what Cleanup was told
// runs at its end, last thing first, however it ends.
//
// Callers: the scoreboard (test/bench) and the fleet runner (bench/fleet).
package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"
)

// Host stands in for a test.
type Host struct {
	testing.TB // nil: only what is below may be called
	ctx        context.Context
	cleanups   []func()
	failed     bool
}

// ErrSkipped is Run's error when the function was skipped: Open vSwitch is not installed and NAGARE_NO_OVS=1.
var ErrSkipped = errors.New("skipped")

// failure is what Fatal panics with.
type failure struct{ error }

// Run calls f within a time limit and returns what it failed with.
func Run(parent context.Context, limit time.Duration, f func(*Host)) (err error) {
	ctx, cancel := context.WithTimeout(parent, limit)
	defer cancel()
	h := &Host{ctx: ctx}
	defer func() {
		cancel()
		for _, c := range slices.Backward(h.cleanups) {
			c()
		}
	}()
	defer func() {
		switch p := recover().(type) {
		case nil:
		case failure:
			h.failed, err = true, p.error
		default:
			panic(p)
		}
	}()
	f(h)
	return nil
}

func (h *Host) Helper()                           {}
func (h *Host) Name() string                      { return "bench" }
func (h *Host) TempDir() string                   { return h.Dir() }
func (h *Host) Cleanup(f func())                  { h.cleanups = append(h.cleanups, f) }
func (h *Host) Context() context.Context          { return h.ctx }
func (h *Host) Failed() bool                      { return h.failed }
func (h *Host) Log(args ...any)                   { fmt.Fprintln(os.Stderr, args...) }
func (h *Host) Logf(format string, args ...any)   { fmt.Fprintf(os.Stderr, format+"\n", args...) }
func (h *Host) Fatal(args ...any)                 { panic(failure{errors.New(fmt.Sprint(args...))}) }
func (h *Host) Fatalf(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }
func (h *Host) Error(args ...any)                 { h.Fatal(args...) }
func (h *Host) Errorf(format string, args ...any) { h.Fatalf(format, args...) }
func (h *Host) Skipf(string, ...any)              { panic(failure{ErrSkipped}) }

// Must ends the function if err is not nil.
func (h *Host) Must(err error) {
	if err != nil {
		panic(failure{err})
	}
}

// Dir makes a directory that goes when the function ends. Its path is short enough for sockets in it.
func (h *Host) Dir() string {
	d, err := os.MkdirTemp("", "nagare-bench")
	h.Must(err)
	h.Cleanup(func() { os.RemoveAll(d) })
	return d
}
