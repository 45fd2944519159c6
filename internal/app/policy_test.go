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

// TestPolicyDirs: files of directories come after the policy file, by name; hidden ones and what lies deeper do not; and when all are gone
// the built-in rules hold.
func TestPolicyDirs(t *testing.T) {
	dir, second := t.TempDir(), t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "policy.yaml")
	s := &Server{cfg: Config{PolicyFile: file, PolicyDirs: []string{dir, second}}, log: slog.New(slog.DiscardHandler),
		api: neutron.New(neutron.Config{Store: store.New(tables.Schema, nil), Auth: identity.None{}})}
	expect := func(what string, allowed bool) {
		t.Helper()
		if err := s.loadPolicy(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		w := httptest.NewRecorder()
		if s.api.ServeHTTP(w, httptest.NewRequest("POST", "/v2.0/networks", strings.NewReader(`{"network":{}}`))); (w.Code == 201) != allowed {
			t.Errorf("%s: %d %s", what, w.Code, w.Body)
		}
	}
	write(file, `"create_network": "!"`)
	expect("the file", false)
	write(filepath.Join(dir, "10.yaml"), `"create_network": "rule:site"`)
	write(filepath.Join(dir, "20.json"), `{"site": "@"}`)
	expect("a fragment that refers to another", true)
	write(filepath.Join(dir, "30"), `"create_network": "!"`)
	expect("a later fragment", false)
	write(filepath.Join(second, "05.yaml"), `"create_network": "@"`)
	expect("a later directory", true)
	write(filepath.Join(second, ".99.yaml.swp"), "\x00")
	if err := os.Mkdir(filepath.Join(second, "99"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(filepath.Join(second, "99", "deep"), `"create_network": "!"`)
	expect("hidden and deep", true)
	bad := filepath.Join(dir, "40.yaml")
	write(bad, "\n\"create_netwrk\": \"!\"")
	if err := s.loadPolicy(); err == nil || !strings.Contains(err.Error(), bad+`: line 2: rule "create_netwrk": there is no rule`) {
		t.Errorf("a fault: %v", err)
	}
	for _, name := range []string{bad, filepath.Join(second, "05.yaml")} {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	expect("without the last", false)
	s.cfg.PolicyFile, s.cfg.PolicyDirs = "", []string{t.TempDir()}
	expect("nothing left", true)
	s.cfg.PolicyDirs = []string{filepath.Join(dir, "none")}
	if err := s.loadPolicy(); err == nil || !strings.HasPrefix(err.Error(), "policy-dir: ") {
		t.Errorf("no directory: %v", err)
	}
}

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
		for end := time.Now().Add(time.Minute); !until(); time.Sleep(time.Millisecond) {
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
