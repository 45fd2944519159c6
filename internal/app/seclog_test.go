// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"nagare/internal/model"
	"nagare/internal/punt"
)

// secRun runs l on records and returns when they are written.
func secRun(t *testing.T, l *secLog, rs ...secRecord) {
	t.Helper()
	for _, r := range rs {
		l.queue <- r
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // what waits is written all the same
	if err := l.run(ctx); err != nil {
		t.Fatal(err)
	}
}

func secAt(second int, port string) secRecord {
	return secRecord{time.Unix(int64(second), 0).UTC(), punt.Record{Node: "a", Action: model.LogDrop, Port: model.PortID(port), Project: "x\n\"},{\"forged\":\"\u2028", Logs: []model.LogID{"l"}}}
}

// TestSecurityLogFile: a line of JSON for each record, whatever a project is called; the file may be moved away between runs; what
// cannot be written is counted, and not tried again for every record.
func TestSecurityLogFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "security.log")
	var said bytes.Buffer
	l := newSecLog(name, 10, slog.New(slog.NewTextHandler(&said, nil)))
	secRun(t, l, secAt(1, "one"), secAt(2, "two"))
	secRun(t, l, secAt(3, "three"))
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines:\n%s", len(lines), text)
	}
	for i, line := range lines {
		var r secRecord
		if err := json.Unmarshal([]byte(line), &r); err != nil || r.Port != model.PortID([]string{"one", "two", "three"}[i]) || r.Time.Unix() != int64(i+1) || r.Project != secAt(1, "").Project {
			t.Errorf("line %d: %s: %v", i, line, err)
		}
	}
	if st, _ := os.Stat(name); st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", st.Mode())
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(name, 0o700); err != nil {
		t.Fatal(err)
	}
	secRun(t, l, secAt(10, "x"), secAt(11, "x"), secAt(14, "x"), secAt(15, "x"))
	if l.written.Load() != 3 || l.lost.Load() != 4 || strings.Count(said.String(), "\n") != 2 {
		t.Errorf("%d written, %d lost, and said:\n%s", l.written.Load(), l.lost.Load(), said.String())
	}
	// A write that broke off leaves the next record a line of its own.
	name = filepath.Join(t.TempDir(), "torn")
	w := secFile{torn: true}
	if err := os.WriteFile(name, []byte(`{"time`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.write(name, []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	w.close()
	if text, _ := os.ReadFile(name); string(text) != "{\"time\n{}\n" {
		t.Errorf("after a torn line: %q", text)
	}
}

// TestSecurityLogMovedAway: a file that was renamed is written on until SIGHUP, which has the next line begin a new one; no line is lost.
func TestSecurityLogMovedAway(t *testing.T) {
	// Until the writer listens, and when it no longer does, a signal must not end the test.
	ignored := make(chan os.Signal, 1)
	signal.Notify(ignored, syscall.SIGHUP)
	defer signal.Stop(ignored)
	name := filepath.Join(t.TempDir(), "security.log")
	old := name + ".1"
	l := newSecLog(name, 10, slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.run(ctx) }()
	ended := false
	end := func() {
		if stop(); !ended {
			ended = true
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	defer end()
	deadline := time.Now().Add(time.Minute)
	sent := uint64(0)
	send := func() { // and wait until it is written
		l.queue <- secAt(int(sent), "one")
		for sent++; l.written.Load() < sent; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d of %d records written, %d lost", l.written.Load(), sent, l.lost.Load())
			}
		}
	}
	lines := func(name string) int {
		text, err := os.ReadFile(name)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return bytes.Count(text, []byte("\n"))
	}
	send()
	if err := os.Rename(name, old); err != nil {
		t.Fatal(err)
	}
	send()
	if lines(old) != 2 || lines(name) != 0 {
		t.Fatalf("before the signal: %d lines in the old file, %d in the new one", lines(old), lines(name))
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for lines(name) == 0 { // the signal comes when it comes
		send()
		if time.Now().After(deadline) {
			t.Fatal("the file was not opened anew")
		}
	}
	end()
	if had, has := lines(old), lines(name); has != 1 || uint64(had+has) != sent {
		t.Errorf("%d records are %d lines in the old file and %d in the new one", sent, had, has)
	}
}

// TestSecurityLogIntoTheServers: without a file a record is one entry of the server's log.
func TestSecurityLogIntoTheServers(t *testing.T) {
	for _, f := range []string{"text", "json"} {
		var said bytes.Buffer
		h := slog.Handler(slog.NewTextHandler(&said, nil))
		if f == "json" {
			h = slog.NewJSONHandler(&said, nil)
		}
		l := newSecLog("", 10, slog.New(h))
		secRun(t, l, secAt(1, "one"))
		if s := said.String(); strings.Count(s, "\n") != 1 || !strings.Contains(s, "one") || l.written.Load() != 1 {
			t.Errorf("%s: %q", f, s)
		}
		if f == "json" {
			var v struct{ Record secRecord }
			if err := json.Unmarshal(said.Bytes(), &v); err != nil || v.Record.Port != "one" {
				t.Errorf("%s: %v", said.String(), err)
			}
		}
	}
}

func TestBucket(t *testing.T) {
	b := bucket{rate: 10}
	now := time.Unix(1000, 0)
	take := func(n int) (took int) {
		for range n {
			if b.take(now) {
				took++
			}
		}
		return took
	}
	if n := take(100); n != 10 {
		t.Errorf("%d at once", n)
	}
	now = now.Add(500 * time.Millisecond)
	if n := take(100); n != 5 {
		t.Errorf("%d after half a second", n)
	}
	now = now.Add(-time.Hour) // the clock was put back
	if n := take(100); n != 0 {
		t.Errorf("%d of the past", n)
	}
	now = now.Add(time.Hour)
	if n := take(100); n != 10 {
		t.Errorf("%d after a long time", n)
	}
}
