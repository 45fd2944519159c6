// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"slices"
	"testing"
)

func TestClauses(t *testing.T) {
	want := []Clause{{7, 1, 2}, {9, 3, 3}}
	if got := Do(want[0].Act(), want[1].Act()).Clauses(); !slices.Equal(got, want) {
		t.Errorf("clauses %v, want %v", got, want)
	}
	if got := Do(LoadReg(1, 2), Goto(5)).Clauses(); got != nil {
		t.Errorf("clauses %v of a flow without", got)
	}
}
