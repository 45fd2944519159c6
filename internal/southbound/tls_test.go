// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"

	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/openflow/oftest"
	"nagare/ovsdb"
	"nagare/ovsdb/ovsdbtest"
)

// authority signs certificates for a test.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{t: t, key: key}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, _ = x509.ParseCertificate(der)
	return a
}

func (a *authority) issue(name string) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// TestTLS shows that with certificates a node is who its certificate says, wherever it comes from, and nobody else.
func TestTLS(t *testing.T) {
	ca := newAuthority(t)
	s := newSiteWith(t, store.New(tables.Schema, nil), 0, 0, func(c *Config) { c.Timings.Request = 3 * time.Second })
	server := &tls.Config{Certificates: []tls.Certificate{ca.issue("nagare")}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool(), MinVersion: tls.VersionTLS12}
	open := func(serve func(context.Context, net.Conn) error) net.Listener {
		l, err := tls.Listen("tcp", "127.0.0.1:0", server)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); _ = s.hub.Serve(ctx, l, serve) }()
		t.Cleanup(func() { cancel(); <-done })
		return l
	}
	db, of := open(s.hub.ServeOVSDB), open(s.hub.ServeOpenFlow)
	client := func(ca *authority, name string) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{ca.issue(name)}, RootCAs: ca.pool(), ServerName: "127.0.0.1"}
	}
	dial := func(l net.Listener, cfg *tls.Config) net.Conn {
		nc, err := tls.Dial("tcp", l.Addr().String(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		return nc
	}
	node := func(name string) *ovsdbtest.Server {
		srv := ovsdbtest.New(ovsdbtest.Options{Root: ovsdb.Fields{"external_ids": ovsdb.StringMap(map[string]string{"hostname": name})}})
		t.Cleanup(srv.Close)
		return srv
	}

	good := node("a")
	good.Serve(dial(db, client(ca, "a")))
	s.until("recorded", func() bool { _, ok := tables.Nodes.Get(s.st.Snapshot(), "a"); return ok })
	rec, _ := tables.Nodes.Get(s.st.Snapshot(), "a")
	s.until("controller set over tls", func() bool {
		for _, r := range good.Rows("Controller") {
			return r.String("target")[:4] == "ssl:"
		}
		return false
	})

	// A certificate of another node may not claim a name, on either protocol.
	liar := node("a")
	liar.Serve(dial(db, client(ca, "b")))
	s.until("liar hung up on", func() bool { return liar.Conns() == 0 })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := oftest.New(oftest.Options{DatapathID: rec.DatapathID()}).Serve(ctx, dial(of, client(ca, "b"))); ctx.Err() != nil {
		t.Errorf("openflow with another node's certificate was served: %v", err)
	}
	// Nor one of a foreign authority.
	if nc, err := tls.Dial("tcp", db.Addr().String(), &tls.Config{Certificates: []tls.Certificate{newAuthority(t).issue("a")}, InsecureSkipVerify: true}); err == nil {
		closedBy(t, nc)
		nc.Close()
	}
	// Nor somebody without any, or without TLS at all.
	plain := node("c")
	if err := plain.Dial("tcp", db.Addr().String()); err == nil {
		s.until("plain tcp hung up on", func() bool { return plain.Conns() == 0 })
	}

	sw := oftest.New(oftest.Options{DatapathID: rec.DatapathID()})
	served, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = sw.Serve(served, dial(of, client(ca, "a"))) }()
	s.until("flows over tls", func() bool { return len(sw.Flows()) == 12 })
	stop()
	<-done
	if _, ok := tables.Nodes.Get(s.st.Snapshot(), "c"); ok {
		t.Error("a node without a certificate was recorded")
	}
}
