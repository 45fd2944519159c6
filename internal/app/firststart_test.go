// SPDX-License-Identifier: Apache-2.0

package app

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Without a password from the operator one is generated, told in a file that only the server's user can read, and never again.
func TestGeneratedPassword(t *testing.T) {
	cfg := testConfig(t)
	cfg.BootstrapPasswordFile = ""
	t.Setenv(passwordVariable, "")
	file := filepath.Join(cfg.DataDir, "openrc")
	r := startServer(t, cfg, nil)
	st, err := os.Stat(file)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("openrc: %v, mode %v", err, st.Mode())
	}
	text, _ := os.ReadFile(file)
	vars := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^export (\w+)='(.*)'$`).FindAllStringSubmatch(string(text), -1) {
		vars[m[1]] = m[2]
	}
	secret := vars["OS_PASSWORD"]
	if len(secret) < 20 || vars["OS_AUTH_URL"] != r.url(cfg.IdentityPort)+"/v3" || vars["NAGARE_SERVER"] != r.url(cfg.AdminPort) || vars["OS_USERNAME"] != "admin" {
		t.Fatalf("openrc:\n%s", text)
	}
	r.login(vars["OS_USERNAME"], secret)
	if log := r.log(); strings.Contains(log, secret) || !strings.Contains(log, file) {
		t.Error("the log has the password, or not the file")
	}
	for _, guess := range []string{"admin", "", "password", secret} {
		if code, _, _ := r.try("POST", r.url(cfg.IdentityPort)+"/v3/auth/tokens", loginBody("demo", guess)); code != 401 {
			t.Errorf("demo with %q: %d", guess, code)
		}
	}
	r.stop()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	r = startServer(t, cfg, nil)
	r.login("admin", secret)
	if _, err := os.Stat(file); err == nil {
		t.Error("openrc written again by a start that was not the first")
	}
}

// The variable is the administrator's password, and nobody else's. The file comes first, as it stands in the settings.
func TestGivenPassword(t *testing.T) {
	cfg := testConfig(t)
	t.Setenv(passwordVariable, "from the variable")
	r := startServer(t, cfg, nil)
	r.login("demo", password)
	r.stop()

	cfg = testConfig(t)
	cfg.BootstrapPasswordFile = ""
	r = startServer(t, cfg, nil)
	r.login("admin", "from the variable")
	if code, _, _ := r.try("POST", r.url(cfg.IdentityPort)+"/v3/auth/tokens", loginBody("demo", "from the variable")); code != 401 {
		t.Errorf("demo has the administrator's password: %d", code)
	}
	if _, err := os.Stat(filepath.Join(cfg.DataDir, "openrc")); err == nil || strings.Contains(r.log(), "from the variable") {
		t.Error("a given password was written somewhere")
	}
}

// A file that cannot be written ends the start, before there are users whose password nobody knows.
func TestPasswordThatCannotBeTold(t *testing.T) {
	cfg := testConfig(t)
	cfg.BootstrapPasswordFile = ""
	if err := os.MkdirAll(filepath.Join(cfg.DataDir, "openrc", "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Serve(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), passwordVariable) {
		t.Fatalf("error %v", err)
	}
	if err := os.RemoveAll(filepath.Join(cfg.DataDir, "openrc")); err != nil {
		t.Fatal(err)
	}
	startServer(t, cfg, nil)
	if _, err := os.Stat(filepath.Join(cfg.DataDir, "openrc")); err != nil {
		t.Errorf("the next start: %v", err)
	}
}
