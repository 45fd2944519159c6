// SPDX-License-Identifier: Apache-2.0

package main

import (
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
	if got := median([]time.Duration{5, 1, 9}); got != 5 {
		t.Errorf("median %v", got)
	}
}
