// SPDX-License-Identifier: Apache-2.0

// Command bench prints the scoreboard: what nagare does, beside the limit under it or the peer next to it.
//
// Each figure whose peer can be run is a ratio formed in one run on one machine; figures of peers that were measured earlier
// say so. A busy machine blurs wall-clock times, not counts, bytes and processor time. It writes nothing.
//
//	go run ./test/bench [-only REGEXP]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	"nagare/test/bench/board"
	"nagare/test/bench/host"
)

// row is one line of the scoreboard.
type row struct{ figure, ours, limit, ratio, how string }

// section measures some figures that share their set-up.
type section struct {
	name string
	run  func(*host.Host) []row
}

var sections = []section{
	{"encode", encode},
	{"load", load},
	{"refill", refill},
	{"compile", compileAll},
	{"change", changes},
	{"commit", commits},
	{"api", apiCreates},
}

func main() {
	testing.Init() // for testing.Benchmark
	only := flag.String("only", "", "run the sections that match the regular expression: encode, load, refill, compile, change, commit, api")
	flag.Parse()
	want, err := regexp.Compile(*only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: -only:", err)
		os.Exit(2)
	}
	os.Exit(run(want))
}

func run(want *regexp.Regexp) (code int) {
	rows := []row{{"figure", "ours", "limit or peer", "ratio", "how"}}
	for _, s := range sections {
		if !want.MatchString(s.name) {
			continue
		}
		start := time.Now()
		fmt.Fprintf(os.Stderr, "bench: %s ...", s.name)
		got, err := measure(s.run)
		fmt.Fprintf(os.Stderr, " %.0f s\n", time.Since(start).Seconds())
		switch {
		case err == host.ErrSkipped:
			got = []row{{figure: s.name, ours: "not measured", how: "Open vSwitch is not installed and NAGARE_NO_OVS=1"}}
		case err != nil:
			got = append(got, row{figure: s.name, ours: "failed", how: err.Error()})
			code = 1
		}
		rows = append(rows, got...)
	}
	fmt.Print(table(rows))
	return code
}

// table aligns the rows as a Markdown table.
func table(rows []row) string {
	var cells [][]string
	for _, r := range rows {
		cells = append(cells, []string{r.figure, r.ours, r.limit, r.ratio, r.how})
	}
	return board.Table(cells)
}

// ratio is ours to the limit or peer, as the table shows it; count writes a number.
func ratio(ours, limit float64) string { return board.Ratio(ours, limit) }
func count(v float64) string           { return board.Count(v) }

// micros writes a duration in microseconds.
func micros(d time.Duration) string { return fmt.Sprintf("%.0f µs", float64(d.Nanoseconds())/1000) }

// measure runs a section. Its rows up to a failure are lost, not those of other sections.
func measure(f func(*host.Host) []row) (rows []row, err error) {
	err = host.Run(context.Background(), 3*time.Minute, func(h *host.Host) { rows = f(h) })
	return rows, err
}

// median of some durations.
func median(ds []time.Duration) time.Duration {
	ds = slices.Sorted(slices.Values(ds))
	return ds[len(ds)/2]
}
