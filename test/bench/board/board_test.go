// SPDX-License-Identifier: Apache-2.0

package board

import "testing"

func TestTable(t *testing.T) {
	got := Table([][]string{{"figure", "ours", "limit"}, {"one", "3 µs"}, {"two", "3 µs", Ratio(3, 2)}})
	want := `| figure | ours | limit |
| ------ | ---- | ----- |
| one    | 3 µs |       |
| two    | 3 µs | 1.50  |
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	for v, want := range map[float64]string{0: "0", 999: "999", 1000: "1,000", 1234567.4: "1,234,567"} {
		if got := Count(v); got != want {
			t.Errorf("Count(%v) = %q, want %q", v, got, want)
		}
	}
}
