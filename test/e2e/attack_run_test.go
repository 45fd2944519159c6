// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"maps"
	"strings"
	"time"
)

// attack is one way to send what must not arrive.
type attack struct {
	id   string // of the class of attacks
	what string

	// stopped says why even classic does not let it through; empty: it does, and the test holds that it does, which proves
	// that the test would see it. Where classic stops it too, legal proves the sight: frames that differ only in what makes
	// the attack must arrive.
	stopped string
	grouped bool // it is the receiver's group that stops it: where everything is admitted, it may arrive
	punted  bool // classic sends it to the controller; standard never does with any of these

	// frames are what is sent to, or because of, one victim, each marked with the token.
	frames func(c *cast, to *guest, t token) [][]byte
	legal  func(c *cast, to *guest, t token) [][]byte
}

func (a attack) name() string {
	return a.id + "/" + strings.NewReplacer(" ", "_", "/", "_").Replace(a.what)
}

// attacks sends all there are and holds what of them arrives: nothing in standard; in classic, all that classic is known not
// to stop.
func (c *cast) attacks(list []attack) {
	var rows []string
	total, arrivedTotal := 0, 0
	began := time.Now()
	for _, a := range list {
		c.part(a.name(), func(c *cast) {
			x := newToken(forbidden)
			sent, arrived := 0, 0
			victims, places := []*guest{c.alice, c.bob}, maps.Clone(c.watch)
			if !a.grouped {
				victims = append(victims, c.walter, c.wanda)
				maps.Copy(places, c.wide)
			}
			for _, to := range victims {
				sent += c.shoot(c.rounds, a.frames(c, to, x)...)
			}
			for _, w := range places {
				if c.standard || a.stopped != "" {
					arrived += w.holdsNone(c.t, x, a.what)
				} else {
					arrived += w.arrived(x)
				}
			}
			if !c.standard && a.stopped == "" && arrived == 0 {
				c.t.Errorf("%s: not one of %d frames arrived in classic, which lets them through: the test is blind", a.what, sent)
			}
			punts := c.watch[controller].punted(x)
			if punts > 0 && (c.standard || !a.punted) {
				c.t.Errorf("%s: %d of %d frames were sent to the controller", a.what, punts, sent)
			} else if punts == 0 && a.punted && !c.standard {
				c.t.Errorf("%s: not one of %d frames was seen on its way to the controller, where classic sends them: the test is blind", a.what, sent)
			}
			if a.legal != nil {
				for _, to := range []*guest{c.alice, c.bob} {
					c.seen(a.what, to, func(o token) [][]byte { return a.legal(c, to, o) })
				}
			} else if a.stopped != "" {
				c.t.Errorf("%s: nothing shows that the test sees what classic stops", a.what)
			}
			rows = append(rows, fmt.Sprintf("%-6s %-62s %6d %6d %6d  %s", a.id, a.what, sent, arrived, punts, a.stopped))
			total, arrivedTotal = total+sent, arrivedTotal+arrived
		})
	}
	c.t.Logf("%d forbidden frames sent in %v, %d arrived\n%-6s %-62s %6s %6s %6s  %s\n%s", total, time.Since(began).Round(time.Millisecond), arrivedTotal,
		"class", "attack", "sent", "came", "punted", "why classic stops it too", strings.Join(rows, "\n"))
}

// seen holds that the control of an attack arrives.
func (c *cast) seen(what string, to *guest, frames func(token) [][]byte) {
	c.t.Helper()
	o := newToken(permitted)
	err := poll(c.t.Context(), settleWithin, func() error {
		c.attacker.send(frames(o)...)
		if !c.watch[to.name].wait(o, 200*time.Millisecond) {
			return fmt.Errorf("%s: the legal counterpart does not reach %s", what, to.name)
		}
		return nil
	})
	if err != nil {
		c.t.Error(err)
	}
}
