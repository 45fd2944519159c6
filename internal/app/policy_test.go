// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"nagare/internal/api/neutron"
	"nagare/internal/identity"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// TestPolicyFile: the file is in force from the start, read again at SIGHUP, and a fault in it ends a start but changes nothing later.
func TestPolicyFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policy.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	st := store.New(tables.Schema, nil)
	var log strings.Builder
	s := &Server{cfg: Config{PolicyFile: file}, log: slog.New(slog.NewTextHandler(&log, nil)), api: neutron.New(neutron.Config{Store: st, Auth: identity.None{}})}
	allowed := func() bool {
		w := httptest.NewRecorder()
		s.api.ServeHTTP(w, httptest.NewRequest("POST", "/v2.0/networks", strings.NewReader(`{"network":{}}`)))
		return w.Code == 201
	}
	if err := s.loadPolicy(); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("no file: %v", err)
	}
	write("# comment\n\"create_networks\": \"!\"\n")
	if err := s.loadPolicy(); err == nil || !strings.Contains(err.Error(), file+`: line 2: rule "create_networks": there is no rule`) {
		t.Errorf("a fault: %v", err)
	}
	write(`"create_network": "!"`)
	if err := s.loadPolicy(); err != nil || allowed() {
		t.Errorf("the file is not in force: %v", err)
	}

	// Until the task listens, a signal must not end the test.
	ignored := make(chan os.Signal, 1)
	signal.Notify(ignored, syscall.SIGHUP)
	defer signal.Stop(ignored)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.followPolicy(ctx) }()
	hup := func(until func() bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); !until(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the file was not read again")
			}
			if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(`"delete_network": "!"`)
	hup(allowed)
	write(`"create_network": "!"`)
	hup(func() bool { return !allowed() })
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	write(`nonsense`)
	if err := s.loadPolicy(); err == nil || allowed() {
		t.Errorf("a fault takes rules back: %v", err)
	}
}
