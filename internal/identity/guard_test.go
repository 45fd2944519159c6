// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"errors"
	"testing"
	"time"
)

// TestGuardOfTheKnown: who guesses from where the user was right lately is delayed, however long ago that was.
func TestGuardOfTheKnown(t *testing.T) {
	for _, ago := range []time.Duration{0, forgetAfter + time.Minute, knownFor - time.Minute} {
		g, now := newGuard(), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		a, elsewhere := g.attempt("neutron", "192.0.2.1:1000"), g.attempt("neutron", "192.0.2.2:1000")
		g.passed(a, now)
		now = now.Add(ago)
		var locked *LockedError
		free := 0
		for ; free < 10*freePerPair && !errors.As(g.check(a, now), &locked); free++ {
			g.failed(a, now)
			now = now.Add(time.Millisecond)
		}
		if free != freePerPair+1 {
			t.Errorf("%v after it was right, %d guesses are free, want %d", ago, free, freePerPair+1)
		}
		if err := g.check(elsewhere, now); err != nil {
			t.Errorf("%v after: elsewhere the user is locked out: %v", ago, err)
		}
		if g.passed(a, now.Add(time.Minute)); g.check(a, now.Add(time.Minute)) != nil {
			t.Errorf("%v after: the right password does not end it", ago)
		}
	}
}
