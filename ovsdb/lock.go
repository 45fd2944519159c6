// SPDX-License-Identifier: Apache-2.0

package ovsdb

import (
	"context"

	"nagare/ovsdb/internal/jsonscan"
)

// Lock asks for a lock (RFC 7047 section 4.1.8) and tells whether the session owns
// it now; if not, it is queued for it, and AwaitLock waits. Names are identifiers.
func (s *Session) Lock(ctx context.Context, name string) (owned bool, err error) {
	return s.lock(ctx, "lock", name)
}

// Steal takes a lock from whoever owns it (RFC 7047 section 4.1.8).
func (s *Session) Steal(ctx context.Context, name string) error {
	_, err := s.lock(ctx, "steal", name)
	return err
}

// Unlock gives a lock, or the place in its queue, back.
func (s *Session) Unlock(ctx context.Context, name string) error {
	err := s.call(ctx, "unlock", nameParam(name), func(p *jsonscan.Scanner) error {
		s.setLock(name, false, true)
		return p.Skip()
	})
	return err
}

func (s *Session) lock(ctx context.Context, method, name string) (owned bool, err error) {
	s.mu.Lock()
	if _, known := s.locks[name]; !known {
		s.locks[name] = false // from now on: a notice may come even if ctx ends first
	}
	s.mu.Unlock()
	err = s.call(ctx, method, nameParam(name), func(p *jsonscan.Scanner) error {
		got := false
		err := p.Object(func(key []byte) (err error) {
			if string(key) == "locked" {
				got, err = p.Bool()
				return err
			}
			return p.Skip()
		})
		if err == nil {
			s.setLock(name, got, false)
		}
		return err
	})
	return err == nil && s.Owns(name), err
}

func nameParam(name string) func([]byte) ([]byte, error) {
	return func(b []byte) ([]byte, error) {
		b, err := appendText(append(b, '['), name)
		return append(b, ']'), err
	}
}

func (s *Session) setLock(name string, owned, drop bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if drop {
		delete(s.locks, name)
	} else {
		s.locks[name] = owned
	}
	close(s.lockMove)
	s.lockMove = make(chan struct{})
}

// lockNotice handles locked and stolen (RFC 7047 sections 4.1.9 and 4.1.10).
func (s *Session) lockNotice(p *jsonscan.Scanner, owned bool) error {
	names, err := scanNames(p)
	if err != nil {
		return err
	}
	for _, name := range names {
		s.mu.Lock()
		_, known := s.locks[name]
		s.mu.Unlock()
		if !known {
			return violation("notice of lock %.40q that was not asked for", name)
		}
		s.setLock(name, owned, false)
	}
	return nil
}

// Owns tells whether the session owns a lock, as far as the server has told.
func (s *Session) Owns(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.locks[name]
}

// AwaitLock returns when ownership of a lock is as wanted: true waits for the
// locked notice, false for stolen.
func (s *Session) AwaitLock(ctx context.Context, name string, owned bool) error {
	for {
		s.mu.Lock()
		now, move := s.locks[name], s.lockMove
		s.mu.Unlock()
		if now == owned {
			return nil
		}
		select {
		case <-move:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.done:
			return s.Err()
		}
	}
}
