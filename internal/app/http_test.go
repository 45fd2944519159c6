// SPDX-License-Identifier: Apache-2.0

package app

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority makes a CA and a certificate of it for 127.0.0.1, and gives the files.
func authority(t *testing.T) (ca, cert, key string) {
	t.Helper()
	dir := t.TempDir()
	file := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	sign := func(c, parent *x509.Certificate, pub *ecdsa.PublicKey, with *ecdsa.PrivateKey) []byte {
		der, err := x509.CreateCertificate(rand.Reader, c, parent, pub, with)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	newKey := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	now := time.Now()
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	rootKey, leafKey := newKey(), newKey()
	ca = file("ca.pem", "CERTIFICATE", sign(root, root, &rootKey.PublicKey, rootKey))
	cert = file("cert.pem", "CERTIFICATE", sign(leaf, root, &leafKey.PublicKey, rootKey))
	der, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	return ca, cert, file("key.pem", "PRIVATE KEY", der)
}

// With a certificate every API is https, the catalog says so, and old protocols are refused.
func TestHTTPS(t *testing.T) {
	ca, cert, key := authority(t)
	cfg := testConfig(t)
	cfg.TLSCert, cfg.TLSKey = cert, key
	text, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	r := startServer(t, cfg, &tls.Config{RootCAs: pool})
	token := r.login("admin", password)
	b := r.want(200, "GET", r.url(cfg.IdentityPort)+"/v3/auth/catalog", "", "X-Auth-Token", token)
	for _, url := range []string{r.url(cfg.NeutronPort), r.url(cfg.IdentityPort) + "/v3"} {
		if !strings.Contains(b, `"url":"`+url+`"`) {
			t.Errorf("the catalog lacks %s: %s", url, b)
		}
	}
	r.want(200, "GET", r.neutron("networks"), "", "X-Auth-Token", token)
	r.want(200, "GET", r.nbi("networks"), "", "basic", basic)
	for _, port := range []int{cfg.NeutronPort, cfg.IdentityPort, cfg.AdminPort} {
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		old := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11} //nolint:gosec // to be refused
		if c, err := tls.Dial("tcp", addr, old); err == nil {
			c.Close()
			t.Errorf("port %d takes TLS 1.1", port)
		}
		c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: pool, NextProtos: []string{"h2", "http/1.1"}})
		if err != nil {
			t.Fatalf("port %d: %v", port, err)
		}
		if p := c.ConnectionState().NegotiatedProtocol; p != "http/1.1" {
			t.Errorf("port %d: protocol %q", port, p)
		}
		c.Close()
		if resp, err := http.Get("http://" + addr + "/"); err == nil {
			resp.Body.Close()
			if resp.StatusCode != 400 {
				t.Errorf("port %d answers plain http: %d", port, resp.StatusCode)
			}
		}
	}
	if strings.Contains(r.log(), "clients will refuse") {
		t.Error("the certificate is called unfit")
	}
}

func TestBadCertificate(t *testing.T) {
	_, cert, _ := authority(t)
	_, _, other := authority(t)
	cfg := testConfig(t)
	cfg.TLSCert, cfg.TLSKey = cert, other
	if err := Serve(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "tls-cert") {
		t.Errorf("somebody else's key: %v", err)
	}
	pair, err := tls.LoadX509KeyPair(cert, filepath.Join(filepath.Dir(cert), "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]int{"127.0.0.1": 0, "cloud.example": 1} {
		if why := unfit(pair.Leaf, host, time.Now()); len(why) != want {
			t.Errorf("%s: %q", host, why)
		}
	}
	if why := unfit(pair.Leaf, "127.0.0.1", time.Now().AddDate(1, 0, 0)); len(why) != 1 {
		t.Errorf("in a year: %q", why)
	}
}

// A body that does not come ends; a handler that takes its time after the body does not, nor does a connection that was taken over.
func TestSlowBodies(t *testing.T) {
	const within = time.Second // for three bytes that were sent before: a busy machine may think of something else meanwhile
	got := make(chan error, 1)
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = newServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			_, err := io.ReadAll(r.Body)
			got <- err
		case "/poll":
			if _, err := io.ReadAll(r.Body); err != nil {
				got <- err
				return
			}
			select {
			case <-r.Context().Done():
				got <- r.Context().Err()
			case <-time.After(within + within/4):
				got <- nil
			}
		case "/socket":
			c, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				got <- err
				return
			}
			defer c.Close()
			_, err = rw.ReadByte()
			got <- err
		}
	}), within)
	srv.Start()
	defer srv.Close()
	dial := func(head string) net.Conn {
		c, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(c, head)
		return c
	}
	c := dial("POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
	if err := <-got; err == nil {
		t.Error("a body that never came was read")
	}
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Errorf("its connection is not closed: %v", err)
	}
	c.Close()
	// Beyond the limit by far, header included.
	c = dial("GET /poll HTTP/1.1\r\nHost: x\r\nX-Long: " + strings.Repeat("a", 3*headerMost) + "\r\n\r\n")
	if b, _ := io.ReadAll(c); !strings.Contains(string(b), " 431 ") {
		t.Errorf("a header without end: %.100q", b)
	}
	c.Close()
	c = dial("POST /poll HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n{")
	if err := <-got; err != nil {
		t.Errorf("a long poll: %v", err)
	}
	c.Close()
	c = dial("GET /socket HTTP/1.1\r\nHost: x\r\n\r\n")
	<-time.After(within + within/4)
	fmt.Fprint(c, "x")
	if err := <-got; err != nil {
		t.Errorf("a web socket: %v", err)
	}
	c.Close()
}
