// SPDX-License-Identifier: Apache-2.0

// Package repro says from which number tests draw their random histories.
//
// A run of the tests has to mean the same for two people and twice for one: what `make test` draws is fixed, so a red test is red
// for everybody and a green one was green on these very histories. New histories are the work of `make soak`, which gives another
// number each round and prints it; NAGARE_SEED=<that number> repeats the round.
//
// Only tests call it.
package repro

import (
	"flag"
	"fmt"
	"os"
	"strconv"
)

// Seed gives the number of this run: NAGARE_SEED, or 1.
func Seed() uint64 {
	text := os.Getenv("NAGARE_SEED")
	if text == "" {
		return 1
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 {
		panic(fmt.Sprintf("NAGARE_SEED=%s: give a whole number above 0", text))
	}
	return n
}

// Rapid lets the package's rapid.Check calls draw from Seed; -rapid.seed on the command line still counts more. To be called in an
// init function of a test, after rapid's own and before flags are read.
func Rapid() {
	if err := flag.Set("rapid.seed", strconv.FormatUint(Seed(), 10)); err != nil {
		panic(err)
	}
}
