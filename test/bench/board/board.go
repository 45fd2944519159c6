// SPDX-License-Identifier: Apache-2.0

// Package board writes figures as a table that reads well in a terminal and is Markdown.
//
// Callers: the scoreboard (test/bench) and the fleet runner (bench/fleet).
package board

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Table aligns rows; the first is the heading and says how many columns there are.
func Table(rows [][]string) string {
	width := make([]int, len(rows[0]))
	for _, r := range rows {
		for i, c := range r {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	line := func(cells []string, fill string) {
		for i, w := range width {
			c := ""
			if i < len(cells) {
				c = cells[i]
			}
			b.WriteString("| " + c + strings.Repeat(fill, w-utf8.RuneCountInString(c)) + " ")
		}
		b.WriteString("|\n")
	}
	for i, r := range rows {
		line(r, " ")
		if i == 0 {
			line(nil, "-")
		}
	}
	return b.String()
}

// Ratio is ours to the limit or peer.
func Ratio(ours, limit float64) string { return fmt.Sprintf("%.2f", ours/limit) }

// Count writes a number with its thousands apart.
func Count(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
