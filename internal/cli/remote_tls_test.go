// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nagare/internal/api/admin"
)

// A server whose certificate no public authority signed is believed by --cacert or OS_CACERT and not without, for the admin API and
// for Identity.
func TestPrivateAuthority(t *testing.T) {
	s := newSite(t, newCloud(), true)
	authorize := func(r *http.Request, _ ...string) (string, error) {
		if r.Header.Get("X-Auth-Token") != "admin-token" {
			return "", admin.ErrUnauthorized
		}
		return "admin", nil
	}
	api := httptest.NewTLSServer(admin.Handler(newCloud(), authorize))
	t.Cleanup(api.Close)
	identity := httptest.NewTLSServer(http.HandlerFunc(serveIdentity))
	t.Cleanup(identity.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: api.Certificate().Raw}) // the same for every test server
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	s.as("admin", "secret")
	s.env["NAGARE_SERVER"], s.env["OS_AUTH_URL"] = api.URL, identity.URL+"/v3"
	if got := s.run("status"); got.code != exitFailed || !strings.Contains(got.stderr, "--cacert or OS_CACERT") {
		t.Errorf("without: %+v", got)
	}
	if got := s.run("status", "--cacert", ca); got.code != exitOK {
		t.Errorf("by the flag: %+v", got)
	}
	s.env["OS_CACERT"] = ca
	if got := s.run("status"); got.code != exitOK {
		t.Errorf("by the variable: %+v", got)
	}
	// An authority that signed nothing here is of no use.
	other := otherAuthority(t)
	if got := s.run("status", "--cacert", other); got.code != exitFailed || !strings.Contains(got.stderr, "--cacert") {
		t.Errorf("another authority: %+v", got)
	}
	for name, file := range map[string]string{"no file": ca + ".old", "no certificate": writeTemp(t, "hello")} {
		if got := s.run("status", "--cacert", file); got.code != exitUsage || !strings.Contains(got.stderr, "cacert") {
			t.Errorf("%s: %+v", name, got)
		}
		if got := s.run("node", "dhcp", "--cacert", file); got.code != exitUsage || !strings.Contains(got.stderr, "cacert") {
			t.Errorf("node dhcp, %s: %+v", name, got)
		}
	}
}

func writeTemp(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// otherAuthority makes a self-signed authority that nobody uses.
func otherAuthority(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "another"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return writeTemp(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
}
