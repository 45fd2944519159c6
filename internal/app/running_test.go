// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nagare/internal/ovstest"
)

const password = "correct horse"

// running is a server in this process and a client of it.
type running struct {
	t      *testing.T
	cfg    Config
	client *http.Client
	cancel context.CancelFunc
	ended  chan error
}

// testConfig is a configuration of free ports, a fresh data directory and the password.
func testConfig(t *testing.T) Config {
	t.Helper()
	cfg := Defaults()
	p := ovstest.Ports(t, 5)
	cfg.NeutronPort, cfg.IdentityPort, cfg.AdminPort, cfg.OVSDBPort, cfg.OpenFlowPort = p[0], p[1], p[2], p[3], p[4]
	dir := t.TempDir()
	cfg.DataDir, cfg.LogFile, cfg.ServerName = filepath.Join(dir, "data"), filepath.Join(dir, "log"), "controller"
	cfg.BootstrapPasswordFile = filepath.Join(dir, "password")
	if err := os.WriteFile(cfg.BootstrapPasswordFile, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// startServer runs a server and waits until it is ready. It ends with the test.
func startServer(t *testing.T, cfg Config, trust *tls.Config) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{t: t, cfg: cfg, cancel: cancel, ended: make(chan error, 1),
		client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: trust, DisableKeepAlives: true}}}
	go func() { r.ended <- Serve(ctx, cfg) }()
	t.Cleanup(r.stop)
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); {
		if code, _, _ := r.try("GET", r.url(cfg.AdminPort)+"/readyz", ""); code == 200 {
			return r
		}
		select {
		case err := <-r.ended:
			r.ended = nil
			t.Fatalf("server ended: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	t.Fatal("not ready in time")
	return nil
}

func (r *running) stop() {
	r.cancel()
	if r.ended == nil {
		return
	}
	if err := <-r.ended; err != nil {
		r.t.Errorf("end: %v", err)
	}
	r.ended = nil
}

func (r *running) url(port int) string {
	scheme := "http"
	if r.cfg.TLSCert != "" {
		scheme = "https"
	}
	return fmt.Sprintf("%s://127.0.0.1:%d", scheme, port)
}

// try makes one request; code 0 is no answer. Headers are names and values.
func (r *running) try(method, url, body string, header ...string) (int, http.Header, []byte) {
	req, err := http.NewRequestWithContext(r.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "basic" {
			user, pass, _ := strings.Cut(header[i+1], ":")
			req.SetBasicAuth(user, pass)
			continue
		}
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return 0, nil, []byte(err.Error())
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, b
}

// want makes a request, wants the status and gives the body.
func (r *running) want(code int, method, url, body string, header ...string) string {
	r.t.Helper()
	got, _, b := r.try(method, url, body, header...)
	if got != code {
		r.t.Fatalf("%s %s: %d %s, want %d", method, url, got, b, code)
	}
	return string(b)
}

func loginBody(user, password string) string {
	return fmt.Sprintf(`{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":%q,"domain":{"id":"default"},"password":%q}}},
		"scope":{"project":{"name":%q,"domain":{"id":"default"}}}}}`, user, password, user)
}

// login gives a token.
func (r *running) login(user, password string) string {
	r.t.Helper()
	code, head, body := r.try("POST", r.url(r.cfg.IdentityPort)+"/v3/auth/tokens", loginBody(user, password))
	if code != 201 {
		r.t.Fatalf("token for %s: %d %s", user, code, body)
	}
	return head.Get("X-Subject-Token")
}

func (r *running) neutron(path string) string { return r.url(r.cfg.NeutronPort) + "/v2.0/" + path }
func (r *running) nbi(path string) string {
	return r.url(r.cfg.AdminPort) + "/controller/nb/v2/neutron/" + path
}

// log is what the server wrote.
func (r *running) log() string {
	b, err := os.ReadFile(r.cfg.LogFile)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(bytes.TrimSpace(b))
}
