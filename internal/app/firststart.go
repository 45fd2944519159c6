// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"nagare/internal/identity"
)

// passwordVariable holds the first administrator's password. It is no setting: flags and files of settings are read by others.
const passwordVariable = "NAGARE_ADMIN_PASSWORD"

// bootstrap makes the first users. Their password comes from the operator's file; or the variable has the administrator's, or one
// is generated and left in a file that only the server's user can read. In the latter two cases nobody knows demo's until an
// administrator sets it. There is no default password.
func (s *Server) bootstrap(ctx context.Context) error {
	if identity.Bootstrapped(s.store.Snapshot()) {
		return nil
	}
	if s.cfg.BootstrapPasswordFile != "" {
		b, err := os.ReadFile(s.cfg.BootstrapPasswordFile)
		if err != nil {
			return fmt.Errorf("bootstrap password: %w", err)
		}
		return identity.Bootstrap(ctx, s.store, strings.TrimSpace(string(b)))
	}
	unknown := identity.WithDemoPassword(rand.Text())
	if password := os.Getenv(passwordVariable); password != "" {
		return identity.Bootstrap(ctx, s.store, password, unknown)
	}
	password := rand.Text()
	file := filepath.Join(s.cfg.DataDir, "openrc")
	if s.cfg.DataDir == "" {
		return fmt.Errorf("no users yet, and no data-dir to write a generated password to: give --bootstrap-password-file FILE or %s", passwordVariable)
	}
	// The file comes first: a password that was set but not told would be lost.
	if err := writeSecret(file, s.openrc(password)); err != nil {
		return fmt.Errorf("first administrator's password: %w; give --bootstrap-password-file FILE or %s", err, passwordVariable)
	}
	if err := identity.Bootstrap(ctx, s.store, password, unknown); err != nil {
		return err
	}
	s.log.Info("first start: the administrator has a generated password; the file has it, with the variables that clients read", "user", "admin", "file", file)
	return nil
}

// openrc is a script for shells: the variables that the openstack client and nagare's commands read.
func (s *Server) openrc(password string) string {
	var b strings.Builder
	b.WriteString("# The first administrator, as generated at the first start. Read it by: . ./openrc\n" +
		"# After a change of the password this file is of no use; it may be deleted.\n")
	for _, v := range [][2]string{
		{"OS_AUTH_URL", s.url(s.cfg.IdentityPort) + "/v3"}, {"OS_IDENTITY_API_VERSION", "3"}, {"OS_USERNAME", "admin"}, {"OS_PASSWORD", password},
		{"OS_PROJECT_NAME", "admin"}, {"OS_USER_DOMAIN_NAME", "Default"}, {"OS_PROJECT_DOMAIN_NAME", "Default"}, {"NAGARE_SERVER", s.url(s.cfg.AdminPort)},
	} {
		fmt.Fprintf(&b, "export %s='%s'\n", v[0], strings.ReplaceAll(v[1], "'", `'\''`))
	}
	if s.secure != nil {
		b.WriteString("# If no public authority signed the certificate: export OS_CACERT=FILE with the authority that did.\n")
	}
	return b.String()
}

// writeSecret replaces a file that only its owner may read; after a crash it is there whole or not at all.
func writeSecret(path, content string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".openrc-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
