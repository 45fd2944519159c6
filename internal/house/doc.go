// SPDX-License-Identifier: Apache-2.0

// Package house holds the rules of the repository itself, as tests: which
// package may import which and why, that every package says what it is for, that
// files carry their licence and name no machine, and that README, Makefile and
// help agree.
//
// The tests read source text only; they run no tool and take well under a second.
// A failure names the file, the rule and its reason. Whoever adds a package adds
// its row to the table in imports_test.go.
package house
