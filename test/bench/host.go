// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"
)

// host lets code that wants a test run in a program: failing ends the section, cleaning up happens at its end.
type host struct {
	testing.TB // nil: only what is below may be called
	ctx        context.Context
	cleanups   []func()
	failed     bool
}

var errSkipped = errors.New("skipped")

// failure is what Fatal panics with.
type failure struct{ error }

// measure runs a section. Its rows up to a failure are lost, not those of other sections.
func measure(f func(*host) []row) (rows []row, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	h := &host{ctx: ctx}
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
	return f(h), nil
}

func (h *host) Helper()                           {}
func (h *host) Name() string                      { return "bench" }
func (h *host) TempDir() string                   { return h.dir() }
func (h *host) Cleanup(f func())                  { h.cleanups = append(h.cleanups, f) }
func (h *host) Context() context.Context          { return h.ctx }
func (h *host) Failed() bool                      { return h.failed }
func (h *host) Log(args ...any)                   { fmt.Fprintln(os.Stderr, args...) }
func (h *host) Logf(format string, args ...any)   { fmt.Fprintf(os.Stderr, format+"\n", args...) }
func (h *host) Fatal(args ...any)                 { panic(failure{errors.New(fmt.Sprint(args...))}) }
func (h *host) Fatalf(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }
func (h *host) Error(args ...any)                 { h.Fatal(args...) }
func (h *host) Errorf(format string, args ...any) { h.Fatalf(format, args...) }
func (h *host) Skipf(string, ...any)              { panic(failure{errSkipped}) }

// must ends the section if err is not nil.
func (h *host) must(err error) {
	if err != nil {
		h.Fatal(err)
	}
}

// dir makes a directory that goes with the section.
func (h *host) dir() string {
	d, err := os.MkdirTemp("", "nagare-bench")
	h.must(err)
	h.Cleanup(func() { os.RemoveAll(d) })
	return d
}

// median of some durations.
func median(ds []time.Duration) time.Duration {
	ds = slices.Sorted(slices.Values(ds))
	return ds[len(ds)/2]
}
