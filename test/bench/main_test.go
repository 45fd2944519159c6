// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"testing"
	"time"
)

func TestTable(t *testing.T) {
	got := table([]row{{"figure", "ours", "limit", "ratio", "how"}, {"one", "3 µs", "2 µs", ratio(3, 2), "once"}})
	want := `| figure | ours | limit | ratio | how  |
| ------ | ---- | ----- | ----- | ---- |
| one    | 3 µs | 2 µs  | 1.50  | once |
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	for v, want := range map[float64]string{0: "0", 999: "999", 1000: "1,000", 1234567.4: "1,234,567"} {
		if got := count(v); got != want {
			t.Errorf("count(%v) = %q, want %q", v, got, want)
		}
	}
	if got := median([]time.Duration{5, 1, 9}); got != 5 {
		t.Errorf("median %v", got)
	}
}

// TestMeasure cleans up, last thing first, however a section ends.
func TestMeasure(t *testing.T) {
	var order []int
	fault := errors.New("broken")
	_, err := measure(func(h *host) []row {
		h.Cleanup(func() { order = append(order, 1) })
		h.Cleanup(func() {
			if order = append(order, 2); !h.Failed() {
				t.Error("the cleaning up does not know of the failure")
			}
		})
		h.must(fault)
		t.Error("went on after a failure")
		return nil
	})
	if err == nil || err.Error() != "broken" {
		t.Errorf("error %v", err)
	}
	if len(order) != 2 || order[0] != 2 {
		t.Errorf("cleaned up in order %v", order)
	}
	if _, err := measure(func(h *host) []row { h.Skipf("no switch"); return nil }); err != errSkipped {
		t.Errorf("skipped: %v", err)
	}
	rows, err := measure(func(*host) []row { return []row{{figure: "x"}} })
	if err != nil || len(rows) != 1 {
		t.Errorf("rows %v, error %v", rows, err)
	}
}
