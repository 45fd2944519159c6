// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"nagare/internal/punt"
	"nagare/internal/store"
)

// secLog writes the records of security logs: as lines of JSON to a file of their own, or with everything else into the server's
// log. Nobody waits for it: a record that finds no room, or is beyond the rate of the whole server, is counted as lost.
type secLog struct {
	file  string // empty: the server's log
	log   *slog.Logger
	queue chan secRecord
	limit bucket

	written, limited, lost atomic.Uint64
}

// secRecord is a record with the time at which the server heard of it.
type secRecord struct {
	Time time.Time `json:"time"`
	punt.Record
}

// secQueue is how many records may wait to be written.
const secQueue = 4096

func newSecLog(file string, most int, log *slog.Logger) *secLog {
	return &secLog{file: file, log: log, queue: make(chan secRecord, secQueue), limit: bucket{rate: float64(most)}}
}

// note takes a packet that was copied for security logs.
func (l *secLog) note(snap *store.Snapshot, p punt.Packet) {
	rec, ok := punt.Logged(snap, p)
	if !ok {
		return
	}
	now := time.Now()
	if !l.limit.take(now) {
		l.limited.Add(1)
		return
	}
	select {
	case l.queue <- secRecord{now.UTC(), rec}:
	default:
		l.lost.Add(1)
	}
}

// bucket lets rate things a second pass, and as many at once.
type bucket struct {
	rate float64
	mu   sync.Mutex
	left float64
	last time.Time
}

func (b *bucket) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.last.IsZero() {
		b.left = b.rate
	} else if d := now.Sub(b.last).Seconds(); d > 0 {
		b.left = min(b.rate, b.left+d*b.rate)
	}
	b.last = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// run writes until ctx ends, and then what waits. A file is opened anew at SIGHUP, so that it can be moved away, and after an error.
func (l *secLog) run(ctx context.Context) error {
	hup := make(chan os.Signal, 1)
	if l.file != "" {
		signal.Notify(hup, syscall.SIGHUP)
		defer signal.Stop(hup)
	}
	var w secFile
	defer w.close()
	for {
		select {
		case <-ctx.Done():
			for {
				select {
				case r := <-l.queue:
					l.write(&w, &r)
				default:
					return nil
				}
			}
		case <-hup:
			w.close()
		case r := <-l.queue:
			l.write(&w, &r)
		}
	}
}

func (l *secLog) write(w *secFile, r *secRecord) {
	line, err := json.Marshal(r)
	switch {
	case err != nil: // no value of a record can fail to be encoded
	case l.file == "":
		l.log.Info("security group", "record", json.RawMessage(line))
	case r.Time.Before(w.rest):
		l.lost.Add(1)
		return
	default:
		if err = w.write(l.file, line); err != nil {
			w.rest = r.Time.Add(secRest)
		}
	}
	if err != nil {
		l.lost.Add(1)
		l.log.Error("security log not written; records are lost until it can be", "file", l.file, "error", err)
		return
	}
	l.written.Add(1)
}

// secRest is for how long of records' time a file is left alone that could not be written: a full disk shall not fill the server's
// log too.
const secRest = 5 * time.Second

// secFile is the file, open or not.
type secFile struct {
	f    *os.File
	torn bool // the last line may have no end
	rest time.Time
}

func (s *secFile) write(name string, line []byte) error {
	if s.f == nil {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		s.f = f
	}
	line = append(line, '\n')
	if s.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := s.f.Write(line)
	s.torn = err != nil && (n > 0 || s.torn)
	if err != nil {
		s.close()
	}
	return err
}

func (s *secFile) close() {
	if s.f != nil {
		s.f.Close()
		s.f = nil
	}
}
