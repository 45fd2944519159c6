// SPDX-License-Identifier: Apache-2.0

// Package repro says from which number tests draw their random histories.
//
// A run of the tests has to mean the same for two people and twice for one: what `make test` draws is fixed, so a red test is red
// for everybody and a green one was green on these very histories. New histories are the work of `make soak`, which gives another
// number each round and prints it; NAGARE_SEED=<that number> repeats the round. All of a history has to come
// of the number: a draw inside a loop over a map, or an id of crypto/rand by which objects are sorted, makes two histories of one.
//
// Only tests call it.
package repro

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"testing/cryptotest"
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

// Rand is source b of history a, another one for each number of the run. Number 1 is rand.NewPCG(a, b).
func Rand(a, b uint64) *rand.Rand { return rand.New(rand.NewPCG(a+(Seed()-1)<<20, b)) }

// Crypto fixes until the end of t what crypto/rand gives, ids of objects above all, whose order is drawn from.
func Crypto(t *testing.T) { cryptotest.SetGlobalRandom(t, Seed()) }

// Rounds is how much of something random is done: usual in `make test`, where it is the same each time, and more where each round
// is another.
func Rounds(usual, more int) int {
	if os.Getenv("NAGARE_SEED") == "" {
		return usual
	}
	return more
}

// Again calls f n times, each time with another number for rapid.Check, which would draw the same again. A number that was given on
// the command line is kept, and f then called once.
func Again(n int, f func()) {
	at := flag.Lookup("rapid.seed").Value
	if at.String() != strconv.FormatUint(Seed(), 10) {
		f()
		return
	}
	defer Rapid()
	for i := range uint64(n) {
		if err := at.Set(strconv.FormatUint(Seed()+i<<32, 10)); err != nil {
			panic(err)
		}
		f()
	}
}
