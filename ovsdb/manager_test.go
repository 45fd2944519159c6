// SPDX-License-Identifier: Apache-2.0

package ovsdb_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"nagare/ovsdb"
	"nagare/ovsdb/ovsdbtest"
)

// accept waits for one connection.
func accept(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	if d, ok := l.(interface{ SetDeadline(time.Time) error }); ok {
		if err := d.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return nc
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// follow mirrors a switch, has ovs-vsctl change something and sees it.
func follow(t *testing.T, r *realServer, s *ovsdb.Session, bridge string) {
	t.Helper()
	m := ovsdb.NewMirror(db, ovsdb.SwitchTables())
	if err := s.Monitor(deadline(t), m); err != nil {
		t.Fatal(err)
	}
	r.vsctl("add-br", bridge)
	for {
		if _, err := m.Next(deadline(t)); err != nil {
			t.Fatal(err)
		}
		if u, _ := m.Find("Bridge", "name", ovsdb.String(bridge)); !u.IsZero() {
			return
		}
	}
}

func TestRealManagerTCP(t *testing.T) {
	t.Parallel()
	r := startReal(t)
	l := listen(t)
	target := "tcp:" + l.Addr().String()
	r.vsctl("set-manager", target, "--", "set", "manager", target, "inactivity_probe=60000")
	s := session(t, accept(t, l))
	follow(t, r, s, "br1")
	r.vsctl("wait-until", "manager", target, "is_connected=true") // told every 2.5 s
	// The switch dials again after we hang up, and a mirror gets differences only.
	m := ovsdb.NewMirror(db, ovsdb.SwitchTables())
	if err := s.Monitor(deadline(t), m); err != nil {
		t.Fatal(err)
	}
	if b, ok := m.Take(); !ok || !b.Initial || len(b.Changes) != 4 {
		t.Errorf("first dump %s", render(b))
	}
	s.Close()
	r.vsctl("add-br", "br2", "--", "set", "bridge", "br1", "external_ids:x=y")
	s = session(t, accept(t, l))
	if err := s.Monitor(deadline(t), m); err != nil {
		t.Fatal(err)
	}
	b, _ := m.Take()
	var tables []string
	for _, c := range b.Changes {
		tables = append(tables, c.Table)
	}
	if !b.Initial || len(b.Changes) != 5 { // br2's three rows, br1, the root
		t.Errorf("second dump changes %v", tables)
	}
}

// TestRealProbe: with a probe of 1 s ovsdb-server hangs up unless echo is answered.
func TestRealProbe(t *testing.T) {
	t.Parallel()
	r := startReal(t)
	l := listen(t)
	target := "tcp:" + l.Addr().String()
	r.vsctl("set-manager", target, "--", "set", "manager", target, "inactivity_probe=1000")
	s := session(t, accept(t, l))
	select { // the peer is silent but for its echoes
	case <-s.Done():
		t.Fatal(s.Err())
	case <-time.After(3500 * time.Millisecond):
	}
	if err := s.Echo(deadline(t)); err != nil {
		t.Fatal(err)
	}
}

// TestRealServerRestart: the database process goes and comes back, then comes back
// with an empty database.
func TestRealServerRestart(t *testing.T) {
	t.Parallel()
	r := startReal(t)
	m := ovsdb.NewMirror(db, ovsdb.SwitchTables())
	connect := func() *ovsdb.Session {
		s := session(t, dial(t, "unix:"+r.socket))
		if err := s.Monitor(deadline(t), m); err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := connect()
	addBridge(t, s, rootOf(t, s), "br0")
	m.Take()
	r.stop()
	if err := ended(t, s); err == nil {
		t.Error("session has no reason")
	}
	if m.Len("Bridge") != 1 {
		t.Error("content went with the session")
	}
	r.start()
	connect()
	if b, ok := m.Take(); !ok || !b.Initial || len(b.Changes) != 0 {
		t.Errorf("same database gives %s", render(b))
	}
	r.stop()
	if err := os.Remove(filepath.Join(r.dir, "conf.db")); err != nil {
		t.Fatal(err)
	}
	r.run("ovsdb-tool", "create", filepath.Join(r.dir, "conf.db"), vswitchSchema)
	r.start()
	r.vsctl("init")
	connect()
	b, _ := m.Take()
	gone, came := 0, 0
	for _, c := range b.Changes {
		if c.After == nil {
			gone++
		} else if c.Before == nil {
			came++
		}
	}
	if gone != 4 || came != 1 || m.Len("Bridge") != 0 {
		t.Errorf("empty database gives %s", render(b))
	}
}

// authority is a certificate authority and what it signed, as files and in memory.
type authority struct {
	dir  string
	pool *x509.CertPool
	ca   string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir(), pool: x509.NewCertPool()}
	_, a.cert, a.key = a.issue(t, "ca", nil)
	a.pool.AddCert(a.cert)
	a.ca = filepath.Join(a.dir, "ca.pem")
	return a
}

// issue makes NAME.pem and NAME.key; a nil issuer makes a self-signed authority.
func (a *authority) issue(t *testing.T, name string, issuer *authority) (tls.Certificate, *x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.cert, issuer.key
	} else {
		template.IsCA, template.KeyUsage = true, x509.KeyUsageCertSign
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(file, kind string, der []byte) {
		text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
		if err := os.WriteFile(filepath.Join(a.dir, file), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(name+".pem", "CERTIFICATE", der)
	write(name+".key", "PRIVATE KEY", raw)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, cert, key
}

func (a *authority) config(t *testing.T, name string) *tls.Config {
	cert, _, _ := a.issue(t, name, a)
	return &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: a.pool, ClientCAs: a.pool, ClientAuth: tls.RequireAndVerifyClientCert}
}

func (a *authority) serverArgs(t *testing.T, name string) []string {
	a.issue(t, name, a)
	return []string{"--private-key=" + filepath.Join(a.dir, name+".key"), "--certificate=" + filepath.Join(a.dir, name+".pem"), "--ca-cert=" + a.ca}
}

// TestRealTLS: ssl: (the switch dials us) and pssl: (we dial it), with certificates
// checked on both sides.
func TestRealTLS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	r := startReal(t, append(a.serverArgs(t, "node"), "--remote=pssl:0:127.0.0.1")...)
	ours := a.config(t, "controller")

	t.Run("ssl", func(t *testing.T) {
		l := listen(t)
		r.vsctl("set-manager", "ssl:"+l.Addr().String())
		nc := tls.Server(accept(t, l), ours)
		s := session(t, nc)
		follow(t, r, s, "br1")
		state := nc.ConnectionState()
		if len(state.PeerCertificates) == 0 || state.PeerCertificates[0].Subject.CommonName != "node" {
			t.Errorf("peer has %d certificates", len(state.PeerCertificates))
		}
		r.vsctl("del-manager")
	})
	t.Run("pssl", func(t *testing.T) {
		nc, err := ovsdb.Dial(deadline(t), "ssl:127.0.0.1:"+r.sslPort(), ours)
		if err != nil {
			t.Fatal(err)
		}
		follow(t, r, session(t, nc), "br2")
	})
	t.Run("stranger", func(t *testing.T) {
		stranger := newAuthority(t).config(t, "controller")
		stranger.RootCAs = a.pool // trusts the node, is not trusted by it
		nc, err := ovsdb.Dial(deadline(t), "ssl:127.0.0.1:"+r.sslPort(), stranger)
		if err != nil {
			return // refused in the handshake
		}
		s := session(t, nc)
		if _, err := s.ListDbs(deadline(t)); err == nil {
			t.Error("the node talks to a stranger")
		}
	})
	t.Run("plain to ssl", func(t *testing.T) { // a switch that dials without TLS
		l := listen(t)
		target := "tcp:" + l.Addr().String()
		r.vsctl("set-manager", target, "--", "set", "manager", target, "inactivity_probe=1000") // it talks after 1 s
		s := session(t, tls.Server(accept(t, l), ours))
		go func() { _ = s.Echo(context.Background()) }() // makes both sides talk
		var header tls.RecordHeaderError
		if err := ended(t, s); !errors.As(err, &header) && !strings.Contains(err.Error(), "EOF") {
			t.Errorf("session ended: %v", err)
		}
	})
}

// sslPort reads from the log where pssl:0 listens.
func (r *realServer) sslPort() string {
	r.t.Helper()
	log, err := os.ReadFile(filepath.Join(r.dir, "log"))
	if err != nil {
		r.t.Fatal(err)
	}
	m := regexp.MustCompile(`0:127.0.0.1: listening on port (\d+)`).FindSubmatch(log)
	if m == nil {
		r.t.Fatalf("no port in the log:\n%s", log)
	}
	return string(m[1])
}

// TestVsctlOnOurServer: Open vSwitch's own tool finds nothing wrong with the
// in-memory server, and shows the same as with the real one.
func TestVsctlOnOurServer(t *testing.T) {
	t.Parallel()
	r := startReal(t)
	srv := ovsdbtest.New(ovsdbtest.Options{NoVswitchd: true})
	defer srv.Close()
	l := listen(t)
	srv.Listen(l)
	memory := func(args ...string) string {
		return r.run("ovs-vsctl", append([]string{"--no-wait", "-vconsole:off", "--db=tcp:" + l.Addr().String()}, args...)...)
	}
	uuid := regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}`)
	for _, cmd := range []string{
		"add-br br-int -- set-fail-mode br-int secure -- set bridge br-int protocols=OpenFlow13,OpenFlow14",
		"set-controller br-int tcp:127.0.0.1:6653",
		"add-port br-int vx1 -- set interface vx1 type=vxlan options:remote_ip=1.2.3.4 options:key=flow",
		"add-port br-int tap1 tag=5 -- set interface tap1 external_ids:iface-id=x",
		"add-br br-ex", "add-bond br-ex bond0 e1 e2",
		"-- --id=@m create mirror name=m select_all=true -- set bridge br-int mirrors=@m",
		"-- --id=@q create qos type=linux-htb queues:1=@r -- --id=@r create queue dscp=3 -- set port tap1 qos=@q",
		"set-manager tcp:10.0.0.1:6640",
		"show", "list-ports br-int", "get-fail-mode br-int", "list-ifaces br-ex",
		"--columns=name,tag,external_ids list port tap1", "--columns=name,type,options,external_ids,ofport list interface",
		"--columns=type,queues list qos", "--columns=dscp list queue",
		"del-port br-int vx1", "remove interface tap1 external_ids iface-id", "clear port tap1 tag",
		"show", "del-br br-ex", "--columns=name list interface", "show",
	} {
		want := uuid.ReplaceAllString(r.vsctl(strings.Fields(cmd)...), "UUID")
		got := uuid.ReplaceAllString(memory(strings.Fields(cmd)...), "UUID")
		if sorted(got) != sorted(want) {
			t.Errorf("%s:\n%s\nwith ovsdb-server:\n%s", cmd, got, want)
		}
	}
}

// sorted orders the paragraphs and the lines of unordered output.
func sorted(text string) string {
	lines := strings.Split(text, "\n")
	out := make(map[string]int)
	for _, line := range lines {
		out[line]++
	}
	return fmt.Sprint(out)
}
