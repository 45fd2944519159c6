// SPDX-License-Identifier: Apache-2.0

package nodedhcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"

	"nagare/internal/nodedhcp/dhcpapi"
	"nagare/internal/responder"
	"nagare/internal/responder/dhcpopt"
)

const (
	retryFirst = 200 * time.Millisecond
	retryMost  = 5 * time.Second
	// answerWithin bounds one long poll: the server answers within 30 s.
	answerWithin = 90 * time.Second
	// maxConfig bounds what is read of an answer; ten thousand hosts are 1 MB.
	maxConfig = 256 << 20
)

// errNoNews is a long poll that ended without a newer configuration.
var errNoNews = errors.New("nothing newer")

// Auth is how the admin API is entered. With an empty URL requests carry no token.
type Auth struct {
	URL, Username, Password, Project, UserDomain, ProjectDomain string
}

// AuthFromEnv reads the OS_* variables that the openstack client reads.
func AuthFromEnv(getenv func(string) string) Auth {
	first := func(names ...string) string {
		for _, n := range names {
			if v := getenv(n); v != "" {
				return v
			}
		}
		return ""
	}
	return Auth{
		URL:           getenv("OS_AUTH_URL"),
		Username:      getenv("OS_USERNAME"),
		Password:      getenv("OS_PASSWORD"),
		Project:       first("OS_PROJECT_NAME", "OS_TENANT_NAME"),
		UserDomain:    first("OS_USER_DOMAIN_NAME", "OS_DEFAULT_DOMAIN"),
		ProjectDomain: first("OS_PROJECT_DOMAIN_NAME", "OS_DEFAULT_DOMAIN"),
	}
}

// poller follows the node's configuration by long polls.
type poller struct {
	base     *url.URL
	node     string
	auth     Auth
	log      *slog.Logger
	provider *gophercloud.ProviderClient // nil until authenticated, and without Auth
}

func newPoller(o Options) (*poller, error) {
	u, err := url.Parse(o.Server)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("server %q: not an http URL; name the admin API, like http://192.168.0.10:8181", o.Server)
	}
	return &poller{base: u.JoinPath(dhcpapi.Path), node: o.Node, auth: o.Auth, log: o.Log}, nil
}

// run sends each new configuration until ctx ends. Failures are retried with
// growing pauses; nothing is sent meanwhile, so the last configuration holds.
func (p *poller) run(ctx context.Context, out chan<- map[string]*responder.Network) {
	var revision uint64
	known, pause := false, retryFirst
	for ctx.Err() == nil {
		asked := time.Now()
		config, err := p.get(ctx, known, revision)
		if known && errors.Is(err, errNoNews) && time.Since(asked) > time.Second {
			continue // a poll that took its time; one that did not must not become a busy loop
		}
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			p.log.Warn("configuration not available, keeping the last one", "server", p.base.Host, "error", err, "retry", pause)
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
			pause = min(2*pause, retryMost)
			known = false // after an outage take whatever the server has, even an older revision
			continue
		}
		pause = retryFirst
		if known && config.Revision == revision {
			continue
		}
		known, revision = true, config.Revision
		networks, err := convert(config)
		if err != nil {
			p.log.Error("part of the configuration is unusable", "revision", revision, "error", err)
		}
		p.log.Info("configuration", "revision", revision, "taps", len(networks))
		select {
		case out <- networks:
		case <-ctx.Done():
		}
	}
}

// get asks once. Without known the answer is immediate.
func (p *poller) get(ctx context.Context, known bool, after uint64) (*dhcpapi.Config, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	q := url.Values{"node": {p.node}}
	if known {
		q.Set("after", strconv.FormatUint(after, 10))
	}
	u := *p.base
	u.RawQuery = q.Encode()
	body, err := p.fetch(ctx, u.String())
	if err != nil {
		return nil, err
	}
	defer body.Close()
	config := &dhcpapi.Config{}
	if err := json.NewDecoder(io.LimitReader(body, maxConfig)).Decode(config); err != nil {
		return nil, fmt.Errorf("answer of %s: %w", p.base.Host, err)
	}
	return config, nil
}

// fetch makes the request with a token, which is renewed once when the server
// answers 401.
func (p *poller) fetch(ctx context.Context, target string) (io.ReadCloser, error) {
	if p.auth.URL == "" {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
		if err != nil {
			return nil, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, err
		}
		switch resp.StatusCode {
		case http.StatusOK:
		case http.StatusGatewayTimeout:
			resp.Body.Close()
			return nil, errNoNews
		default:
			resp.Body.Close()
			return nil, fmt.Errorf("%s answered %s", target, resp.Status)
		}
		return resp.Body, nil
	}
	if p.provider == nil {
		provider, err := openstack.AuthenticatedClient(ctx, gophercloud.AuthOptions{
			IdentityEndpoint: p.auth.URL,
			Username:         p.auth.Username,
			Password:         p.auth.Password,
			DomainName:       p.auth.UserDomain,
			Scope:            &gophercloud.AuthScope{ProjectName: p.auth.Project, DomainName: p.auth.ProjectDomain},
			AllowReauth:      true,
		})
		if err != nil {
			return nil, fmt.Errorf("identity %s as %s: %w", p.auth.URL, p.auth.Username, err)
		}
		p.provider = provider
	}
	resp, err := p.provider.Request(ctx, http.MethodGet, target, &gophercloud.RequestOpts{
		OkCodes: []int{http.StatusOK}, KeepResponseBody: true,
	})
	if err != nil {
		if gophercloud.ResponseCodeIs(err, http.StatusGatewayTimeout) {
			return nil, errNoNews
		}
		if gophercloud.ResponseCodeIs(err, http.StatusUnauthorized) {
			p.provider = nil // the renewed token was refused too: start afresh
		}
		return nil, err
	}
	return resp.Body, nil
}

// convert turns the wire form into what the responder takes, by tap name. A
// fault in one port, address or host leaves that one out and is reported; all
// others are served.
func convert(c *dhcpapi.Config) (map[string]*responder.Network, error) {
	var faults []error
	out := map[string]*responder.Network{}
	for _, p := range c.Ports {
		mac, err := responder.ParseMAC(p.MAC)
		if err != nil || p.Tap == "" || strings.ContainsAny(p.Tap, "/ ") || len(p.Tap) > 15 {
			faults = append(faults, fmt.Errorf("port %s: tap %q, mac %q: unusable", p.PortID, p.Tap, p.MAC))
			continue
		}
		if out[p.Tap] != nil {
			faults = append(faults, fmt.Errorf("port %s: tap %q is named twice", p.PortID, p.Tap))
			continue
		}
		n := &responder.Network{MAC: mac, Domain: p.Domain, Hosts: map[responder.MAC][]responder.Host{}}
		if p.MTU > 0 && p.MTU <= math.MaxUint16 {
			n.MTU = uint16(p.MTU)
		}
		for _, a := range p.Addresses {
			if !a.IP.Is4() || !a.CIDR.IsValid() || !a.CIDR.Addr().Is4() {
				if a.IP.Is6() {
					continue // IPv6 is not this server's business
				}
				faults = append(faults, fmt.Errorf("port %s: address %v in %v: unusable", p.PortID, a.IP, a.CIDR))
				continue
			}
			s := responder.Subnet{
				Server: a.IP, Prefix: a.CIDR.Masked(), Gateway: a.Gateway, DNS: a.DNS,
				Lease: time.Duration(a.LeaseSeconds) * time.Second,
			}
			for _, r := range a.Routes {
				s.Routes = append(s.Routes, responder.Route{Destination: r.Destination, NextHop: r.NextHop})
			}
			n.Subnets = append(n.Subnets, s)
		}
		for _, h := range p.Hosts {
			mac, err := responder.ParseMAC(h.MAC)
			if err != nil || !h.IP.IsValid() {
				faults = append(faults, fmt.Errorf("port %s: host %q at %v: unusable", p.PortID, h.MAC, h.IP))
				continue
			}
			if h.IP.Is4() {
				n.Hosts[mac] = append(n.Hosts[mac], responder.Host{IP: h.IP, Name: h.Hostname, Options: options(h.Options)})
			}
		}
		out[p.Tap] = n
	}
	return out, errors.Join(faults...)
}

func options(in []dhcpapi.Option) []dhcpopt.Option {
	var out []dhcpopt.Option
	for _, o := range in {
		out = append(out, dhcpopt.Option(o))
	}
	return out
}
