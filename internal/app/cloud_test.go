// SPDX-License-Identifier: Apache-2.0

package app

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestKeystone: a server that is part of a cloud believes the Keystone of that cloud, here another nagare's Identity, and has none of
// its own.
func TestKeystone(t *testing.T) {
	cloud := startServer(t, testConfig(t), nil)
	login := func(user string) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, cloud.url(cloud.cfg.IdentityPort)+"/v3/auth/tokens", strings.NewReader(
			`{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"`+user+`","domain":{"id":"default"},"password":"`+password+`"}}},
			"scope":{"project":{"name":"`+user+`","domain":{"id":"default"}}}}}`))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := cloud.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusCreated {
			t.Fatal(resp.Status)
		}
		return resp.Header.Get("X-Subject-Token")
	}
	cfg := testConfig(t)
	cfg.Auth, cfg.KeystoneURL, cfg.KeystoneUser, cfg.KeystoneProject = "keystone", cloud.url(cloud.cfg.IdentityPort)+"/v3", "admin", "admin"
	cfg.KeystonePasswordFile = filepath.Join(t.TempDir(), "keystone")
	if err := os.WriteFile(cfg.KeystonePasswordFile, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := startServer(t, cfg, nil)
	ask := func(port int, path, token string) (int, http.Header, map[string]any) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url(port)+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Auth-Token", token)
		resp, err := s.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var body map[string]any
		if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, resp.Header, body
	}
	demo, admin := login("demo"), login("admin")
	if code, _, body := ask(cfg.NeutronPort, "/v2.0/networks", demo); code != 200 {
		t.Errorf("networks: %d %v", code, body)
	}
	if code, _, body := ask(cfg.AdminPort, "/nagare/v1/status", admin); code != 200 {
		t.Errorf("status, as an administrator: %d %v", code, body)
	}
	if code, _, _ := ask(cfg.AdminPort, "/nagare/v1/status", demo); code != 403 {
		t.Errorf("status, as a member: %d", code)
	}
	code, h, _ := ask(cfg.NeutronPort, "/v2.0/networks", "nonsense")
	if want := `Keystone uri="` + cfg.KeystoneURL + `"`; code != 401 || h.Get("WWW-Authenticate") != want {
		t.Errorf("a wrong token: %d, WWW-Authenticate %q, want 401 and %q", code, h.Get("WWW-Authenticate"), want)
	}
	if resp, err := s.client.Get(s.url(cfg.IdentityPort) + "/v3"); err == nil {
		resp.Body.Close()
		t.Error("the server has an Identity of its own beside the cloud's")
	}
	cloud.stop() // Keystone goes away: who was known is, others are not called wrong
	if code, _, body := ask(cfg.NeutronPort, "/v2.0/networks", demo); code != 200 {
		t.Errorf("while Keystone is away, a known token: %d %v", code, body)
	}
	if code, _, body := ask(cfg.NeutronPort, "/v2.0/networks", "unknown"); code != 503 {
		t.Errorf("while Keystone is away, an unknown token: %d %v", code, body)
	}
	if code, _, body := ask(cfg.AdminPort, "/nagare/v1/status", "unknown"); code != 503 {
		t.Errorf("the same at the admin API: %d %v", code, body)
	}
}
