// SPDX-License-Identifier: Apache-2.0

package app

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"nagare/internal/keystone"
	"nagare/internal/nova"
)

// withKeystone is the value of auth with which we are part of an OpenStack that has a Keystone.
const withKeystone = "keystone"

// completeKeystone checks what is needed to be part of a cloud.
func (c *Config) completeKeystone() (faults []error) {
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	for name, v := range map[string]string{"keystone-url": c.KeystoneURL, "keystone-user": c.KeystoneUser, "keystone-project": c.KeystoneProject,
		"keystone-domain": c.KeystoneDomain, "keystone-password-file": c.KeystonePasswordFile} {
		if v == "" {
			bad("auth keystone needs %s", name)
		}
	}
	for name, v := range map[string]string{"keystone-url": c.KeystoneURL, "nova-endpoint": c.NovaEndpoint} {
		if u, err := url.Parse(v); v != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
			bad("%s %q: want a URL, like http://keystone.example:5000/v3", name, v)
		}
	}
	if c.Northbound == odlMaster {
		bad("northbound odl with auth keystone: networking-odl comes with a name and a password, which auth builtin knows")
	}
	return faults
}

// openCloud makes what asks Keystone and what tells Nova. Neither needs to be there yet.
func (s *Server) openCloud(logs *logs) error {
	c := &s.cfg
	b, err := os.ReadFile(c.KeystonePasswordFile)
	if err != nil {
		return fmt.Errorf("keystone-password-file: %w", err)
	}
	password := strings.TrimSpace(string(b))
	client, err := cloudClient(c.KeystoneCA)
	if err != nil {
		return err
	}
	s.users = keystone.New(keystone.Config{AuthURL: c.KeystoneURL, User: c.KeystoneUser, UserDomain: c.KeystoneDomain, Password: password,
		Project: c.KeystoneProject, ProjectDomain: c.KeystoneDomain, HTTP: client, Log: logs.logger("keystone")})
	if c.NovaStatusEvents || c.NovaDataEvents {
		s.nova = nova.New(nova.Config{Store: s.store, Status: c.NovaStatusEvents, Data: c.NovaDataEvents, Log: logs.logger("nova"),
			Client: nova.Dial(nova.Access{AuthURL: c.KeystoneURL, User: c.KeystoneUser, UserDomain: c.KeystoneDomain, Password: password,
				Project: c.KeystoneProject, ProjectDomain: c.KeystoneDomain, Region: c.Region, Endpoint: c.NovaEndpoint, HTTP: client})})
	}
	return nil
}

// cloudClient is for requests to other services of the cloud.
func cloudClient(ca string) (*http.Client, error) {
	roots, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("the host's certificate authorities: %w", err)
	}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("keystone-ca: %w", err)
		}
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("keystone-ca %s: no certificate in it", ca)
		}
	}
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, IdleConnTimeout: time.Minute,
		MaxIdleConnsPerHost: 16, TLSHandshakeTimeout: 10 * time.Second, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}, nil
}

// identityURL is where callers without a token are sent.
func (s *Server) identityURL() string {
	if s.cfg.Auth == withKeystone {
		return s.cfg.KeystoneURL
	}
	return s.url(s.cfg.IdentityPort)
}
