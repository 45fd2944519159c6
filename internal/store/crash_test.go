// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// The crash tests start this program again as a child, which writes from many goroutines, says on its output what was
// confirmed, and kills itself at a point (or is killed).
const (
	crashDir   = "NAGARE_STORE_CRASH_DIR"
	crashPoint = "NAGARE_STORE_CRASH_POINT"
	crashHits  = "NAGARE_STORE_CRASH_HITS" // how often the point is passed before
)

const crashWriters = 8

func crashChild(dir string) {
	var passed atomic.Int64
	hits, _ := strconv.ParseInt(os.Getenv(crashHits), 10, 64)
	w := newTestWorld()
	st, err := Open(context.Background(), w.schema, Options{DataDir: dir, LogBytes: 100000, Timeout: time.Minute, point: func(name string) {
		if name == os.Getenv(crashPoint) && passed.Add(1) > hits {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // nothing more may happen
		}
	}})
	if err != nil {
		fmt.Println("open:", err)
		os.Exit(1)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range crashWriters {
		wg.Go(func() {
			id := fmt.Sprint("w", i)
			for {
				var n int
				r, err := st.Commit(context.Background(), Origin{User: id}, func(tx *Txn) error {
					x, _ := w.a.Get(tx, id)
					n = x.N + 1
					w.a.Put(tx, id, thing{ID: id, N: n, Kind: "writer"})
					w.b.Put(tx, id, thing{ID: id, N: n})
					w.a.Put(tx, fmt.Sprintf("%s-%d", id, n), thing{ID: fmt.Sprintf("%s-%d", id, n), N: n, Kind: id})
					w.a.Delete(tx, fmt.Sprintf("%s-%d", id, n-20))
					return nil
				})
				if err != nil {
					fmt.Println("commit:", err)
					os.Exit(1)
				}
				mu.Lock()
				fmt.Println("ok", i, n, r.Revision)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// TestCrash kills the process at each point, and at any time, and opens its data again: what was confirmed is there, what is
// there is whole, and revisions go on.
func TestCrash(t *testing.T) {
	type run struct {
		point string
		hits  int
		after time.Duration // kill from outside; 0: at the point
	}
	var runs []run
	for _, p := range []string{pointAfterFence, pointBeforeAppend, pointAfterAppend, pointAfterPublish, pointBeforeTrim} {
		for _, hits := range []int{0, 3, 40} {
			if p != pointAfterFence || hits == 0 {
				runs = append(runs, run{point: p, hits: hits})
			}
		}
	}
	for range 5 {
		runs = append(runs, run{after: 100*time.Millisecond + rand.N(400*time.Millisecond)})
	}
	dir := t.TempDir()
	confirmed := [crashWriters]int{}
	var newest Revision
	for _, r := range runs {
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), crashDir+"="+dir, crashPoint+"="+r.point, crashHits+"="+strconv.Itoa(r.hits))
		if r.after > 0 {
			cmd.Env[len(cmd.Env)-2] = crashPoint + "=none"
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		limit := time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() })
		lines := 0
		for sc := bufio.NewScanner(out); sc.Scan(); lines++ {
			var i, n int
			var rev Revision
			if _, err := fmt.Sscanf(sc.Text(), "ok %d %d %d", &i, &n, &rev); err != nil {
				t.Fatalf("%+v: child says %q", r, sc.Text())
			}
			if lines == 0 && r.after > 0 {
				time.AfterFunc(r.after, func() { cmd.Process.Kill() })
			}
			if n != confirmed[i]+1 {
				t.Fatalf("%+v: writer %d confirmed %d after %d", r, i, n, confirmed[i])
			}
			confirmed[i], newest = n, max(newest, rev)
		}
		err = cmd.Wait()
		if !limit.Stop() {
			t.Fatalf("%+v: the point was not reached in two minutes", r)
		}
		if state, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || state.Signal() != syscall.SIGKILL {
			t.Fatalf("%+v: child ended with %v", r, err)
		}
		newest = checkCrashed(t, fmt.Sprintf("%+v", r), dir, &confirmed, newest)
	}
	t.Logf("%d crashes, %v commits confirmed, revision %d", len(runs), confirmed, newest)
}

// checkCrashed returns what is there as confirmed: it will not vanish any more.
func checkCrashed(t *testing.T, when, dir string, confirmed *[crashWriters]int, newest Revision) Revision {
	t.Helper()
	w := newTestWorld()
	st, err := Open(t.Context(), w.schema, Options{DataDir: dir})
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	defer st.Close()
	s := st.Snapshot()
	if s.Revision() < newest {
		t.Errorf("%s: revision %d, confirmed was %d", when, s.Revision(), newest)
	}
	total := 0
	for i, n := range confirmed {
		id := fmt.Sprint("w", i)
		a, _ := w.a.Get(s, id)
		b, _ := w.b.Get(s, id)
		if a.N != b.N {
			t.Errorf("%s: half a commit of %s: a %d, b %d", when, id, a.N, b.N)
		}
		if a.N < n || a.N > n+1 {
			t.Errorf("%s: %s is at %d, confirmed was %d", when, id, a.N, n)
		}
		total += a.N
		confirmed[i] = a.N
		var have, want []string
		for x := range w.byKind.By(s, id) {
			have = append(have, x.ID)
			if !w.derived.Has(s, id, x.ID) {
				t.Errorf("%s: %s is not in the derived table", when, x.ID)
			}
		}
		for k := max(1, a.N-19); k <= a.N; k++ {
			want = append(want, fmt.Sprintf("%s-%d", id, k))
			if _, ok := w.a.Get(s, want[len(want)-1]); !ok {
				t.Errorf("%s: %s is missing", when, want[len(want)-1])
			}
		}
		if len(have) != len(want) {
			t.Errorf("%s: %s has %d records, want %d: %s", when, id, len(have), len(want), strings.Join(have, " "))
		}
	}
	if Revision(total) != s.Revision() {
		t.Errorf("%s: %d commits are visible at revision %d", when, total, s.Revision())
	}
	rs, err := st.LogTail(t.Context(), 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range rs {
		if r.Revision != s.Revision()-Revision(len(rs)-1-i) {
			t.Fatalf("%s: entry %d of %d has revision %d, the head is at %d", when, i, len(rs), r.Revision, s.Revision())
		}
	}
	return s.Revision()
}
