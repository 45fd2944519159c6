// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"context"
	"fmt"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"

	"github.com/google/uuid"

	"nagare/internal/api/neutron"
	"nagare/internal/store"
)

// A deed is a call and what came of it.
type deed struct {
	call
	answer
}

// A judge holds what clients were told against one serial order of their requests: that of the log, which names the request
// behind each commit. It makes the same calls again, one after another, on a fork of the store as it was before, and wants:
//
//   - of a request that committed: the same status and body, byte for byte, and the same records before and after, from the
//     state that the commits before it left; and that its commit lies between its call and its answer, so that the order is
//     that of time where requests did not overlap (linearisable, not only serialisable);
//   - of every other request (reads, refusals, changes that change nothing): the same status and body from one of the
//     states that were committed between its call and its answer, without changing it;
//   - that no request committed twice, and nothing was committed that nobody asked for.
//
// Ids and MAC addresses of the first run are given again in the order in which they were drawn; times that the allocators
// take from the clock are not compared. As both runs are of the same program, this shows that requests do not interfere,
// not that what they do alone is right: that is for the tests of internal/api/neutron.
type judge struct {
	s      *server
	states []*store.Snapshot // from the first on, by revision
	apis   []*neutron.API    // on forks of states, as far as needed
	forks  []*store.Store

	claimed map[string]bool // ids that were given to objects

	faults                                 []string
	committed, refused, read, still, asked int // requests by what became of them, and calls made to explain the last three
}

func (j *judge) fault(format string, args ...any) {
	j.faults = append(j.faults, fmt.Sprintf(format, args...))
}

// weigh judges all that was asked since a state. Nobody may use the server meanwhile.
func (s *server) weigh(base *store.Snapshot, deeds []deed) *judge {
	s.t.Helper()
	j := &judge{s: s, states: []*store.Snapshot{base}}
	byRequest := map[string]int{}
	for i, d := range deeds {
		byRequest[d.request] = i
	}
	replay := s.st.Fork(base)
	api := j.api(replay)
	done, claimed := map[int]bool{}, map[string]bool{}
	j.claimed = claimed
	for _, c := range s.log(0) {
		if c.Revision <= base.Revision() {
			draws(c, claimed) // else they would count as new when they are named again
			continue
		}
		i, ok := byRequest[c.Request]
		if !ok || done[i] {
			j.fault("commit %d, %s: its request %s asked for nothing, or has committed before", c.Revision, c.Action, c.Request)
			return j
		}
		done[i] = true
		d := deeds[i]
		if d.code >= 400 {
			j.fault("%v: answered %d, and committed as %d", d.call, d.code, c.Revision)
		}
		if c.Revision <= d.low || c.Revision > d.high {
			j.fault("%v: committed as %d, but asked after %d and answered before %d", d.call, c.Revision, d.low, d.high+1)
		}
		dice.feed(draws(c, claimed))
		code, text := play(api, d.call)
		dice.feed(nil)
		if code != d.code || text != d.text {
			j.fault("%v: answered\n%d %s\nand in the order of commits, as %d,\n%d %s", d.call, d.code, d.text, c.Revision, code, text)
		}
		if now := replay.Snapshot(); now.Revision() != c.Revision {
			j.fault("%v: committed as %d, but in the order of commits leaves the store at %d", d.call, c.Revision, now.Revision())
			return j // all that follows would differ
		}
		again, err := replay.LogTail(context.Background(), c.Revision, 1)
		if err != nil || len(again) != 1 {
			s.t.Fatalf("replay's commit %d: %v", c.Revision, err)
		}
		if a, b := effect(c), effect(again[0]); a != b {
			j.fault("%v: wrote\n%s\nand in the order of commits\n%s", d.call, a, b)
		}
		j.states = append(j.states, replay.Snapshot())
		j.committed++
	}
	j.apis, j.forks = make([]*neutron.API, len(j.states)), make([]*store.Store, len(j.states))
	for i, d := range deeds {
		if done[i] {
			continue
		}
		switch {
		case d.code >= 400:
			j.refused++
		case d.method == "GET":
			j.read++
		default:
			j.still++
		}
		if !j.explained(d) {
			j.fault("%v: answered\n%d %s\nwhich no state from %d to %d gives; the first gives\n%s", d.call, d.code, d.text, d.low, d.high, j.at(d, d.low))
		}
	}
	return j
}

// explained reports whether a state between call and answer gives the answer, unchanged by it.
func (j *judge) explained(d deed) bool {
	want := j.plain(d.code, d.text)
	for low, high := d.low, d.high; low <= high; low, high = low+1, high-1 { // most are explained by what was there before or after
		if j.at(d, low) == want || high > low && j.at(d, high) == want {
			return true
		}
	}
	return false
}

// plain is an answer as text. Ids that were drawn for objects that were not made in the end, and are told, are random again.
func (j *judge) plain(code int, text string) string {
	return fmt.Sprint(code, " ", idOrMAC.ReplaceAllStringFunc(text, func(id string) string {
		if _, drawn := dice.when(id); drawn && !j.claimed[id] {
			return "(new)"
		}
		return id
	}))
}

// at is what a state answers to a call.
func (j *judge) at(d deed, rev store.Revision) string {
	i := int(rev - j.states[0].Revision())
	if i < 0 || i >= len(j.states) {
		return "no such state"
	}
	if j.apis[i] == nil {
		j.forks[i] = j.s.st.Fork(j.states[i])
		j.apis[i] = j.api(j.forks[i])
	}
	j.asked++
	code, text := play(j.apis[i], d.call)
	if j.forks[i].Snapshot() != j.states[i] {
		j.apis[i] = nil
		return "a change: " + j.plain(code, text)
	}
	return j.plain(code, text)
}

func (j *judge) api(st *store.Store) *neutron.API {
	cfg := j.s.cfg
	cfg.Store = st
	return neutron.New(cfg)
}

func play(api *neutron.API, c call) (int, string) {
	r := httptest.NewRequest(c.method, "/v2.0/"+c.path, strings.NewReader(c.body))
	r.Header.Set("X-Auth-Token", c.who)
	rec := httptest.NewRecorder()
	api.ServeHTTP(rec, r)
	return rec.Code, rec.Body.String()
}

var (
	idOrMAC = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}|fa:16:3e(:[0-9a-f]{2}){3}`)
	clock   = regexp.MustCompile(`"(since|freed)":"[^"]*"`)
)

// draws is what a commit's transaction took from the dice, in order, the request's own id first. claimed are those of the commits
// before.
func draws(c store.LogRecord, claimed map[string]bool) [][]byte {
	type draw struct {
		when int
		raw  []byte
	}
	var ds []draw
	for _, k := range c.Keys {
		for _, text := range idOrMAC.FindAllString(k.Key+" "+string(k.After), -1) {
			when, ok := dice.when(text)
			if !ok || claimed[text] {
				continue
			}
			claimed[text] = true
			raw := []byte(nil)
			if u, err := uuid.Parse(text); err == nil {
				raw = u[:]
			} else {
				var m [3]byte
				fmt.Sscanf(text, "fa:16:3e:%02x:%02x:%02x", &m[0], &m[1], &m[2]) //nolint:errcheck // the pattern saw to it
				raw = m[:]
			}
			ds = append(ds, draw{when, raw})
		}
	}
	slices.SortFunc(ds, func(a, b draw) int { return a.when - b.when })
	own, _ := uuid.Parse(strings.TrimPrefix(c.Request, "req-"))
	out := [][]byte{own[:]}
	for _, d := range ds {
		out = append(out, d.raw)
	}
	return out
}

// effect is what a commit did, as text.
func effect(c store.LogRecord) string {
	var b bytes.Buffer
	for _, k := range c.Keys {
		fmt.Fprintf(&b, "%s %s (%d) %s -> %s\n", k.Table, k.Key, k.Previous, k.Before, k.After)
	}
	return clock.ReplaceAllString(b.String(), `"$1":""`)
}
