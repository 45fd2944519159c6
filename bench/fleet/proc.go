// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"nagare/test/bench/board"
)

// kind is a kind of process that the work is charged to.
type kind string

const (
	controller kind = "nagare"
	vswitchd   kind = "vswitchd"
	nodeDB     kind = "ovsdb"
)

// bill is what each kind of process has used of the processors.
type bill map[kind]time.Duration

func (b bill) total() (sum time.Duration) {
	for _, d := range b {
		sum += d
	}
	return sum
}

func (b bill) minus(c bill) bill {
	out := bill{}
	for k, d := range b {
		out[k] = d - c[k]
	}
	return out
}

// String lists the kinds by name: "nagare 1.23 s, ovsdb 0.20 s".
func (b bill) String() string {
	var parts []string
	for k := range b {
		parts = append(parts, string(k))
	}
	slices.Sort(parts)
	for i, k := range parts {
		parts[i] = fmt.Sprintf("%s %s", k, span(b[kind(k)]))
	}
	return strings.Join(parts, ", ")
}

// processorTime is what the living threads of a process have used of the processors, to the nanosecond (schedstat; proc(5)).
// A thread that ends takes its time with it, which daemons' threads do not.
func processorTime(pid int) time.Duration {
	var sum time.Duration
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // ended just now
		}
		ns, _, _ := strings.Cut(string(b), " ")
		n, _ := strconv.ParseInt(ns, 10, 64)
		sum += time.Duration(n)
	}
	return sum
}

// resident is a process's resident memory in bytes.
func resident(pid int) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return n * 1024
		}
	}
	return 0
}

// load is the machine's load average of the last minute.
func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "?"
	}
	one, _, _ := strings.Cut(string(b), " ")
	return one
}

// span writes a duration with three digits.
func span(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%.0f µs", d.Seconds()*1e6)
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.2f ms", d.Seconds()*1e3)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", d.Seconds()*1e3)
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

// percentile of some durations; p from 0 to 1.
func percentile(ds []time.Duration, p float64) time.Duration {
	if len(ds) == 0 {
		return 0
	}
	ds = slices.Sorted(slices.Values(ds))
	return ds[min(len(ds)-1, int(float64(len(ds))*p))]
}

// count writes a number with its thousands apart.
func count(v float64) string { return board.Count(v) }
