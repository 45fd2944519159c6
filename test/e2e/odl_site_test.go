// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"nagare/test/odl"
)

// cloud is a site whose networks belong to another Neutron, with networking-odl: the model of one, over real connections.
type cloud struct {
	*site
	n     *odl.Neutron
	admin *client // of our own APIs, which only tell
}

// newCloud raises a laboratory with the northbound in OpenDaylight's place.
func newCloud(s *site, args ...string) *cloud {
	s.t.Helper()
	s.must(append(s.lab("up", "--host-ip", s.hostIP, "--northbound", "odl"), args...)...)
	password, err := os.ReadFile(filepath.Join(s.dir(), "password"))
	if err != nil {
		s.t.Fatal(err)
	}
	h := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}, Timeout: settleWithin}
	s.t.Cleanup(h.CloseIdleConnections)
	return &cloud{site: s, n: odl.New("http://"+s.hostIP+":8181", h, "admin", strings.TrimSpace(string(password))), admin: s.user("admin")}
}

// sent lets the journal drain: the server has taken everything.
func (c *cloud) sent() {
	c.t.Helper()
	err := c.n.Work(c.t.Context(), 4, func(_ context.Context, _ time.Duration) error {
		return fmt.Errorf("the server does not answer")
	})
	if err == nil && c.n.Rows(odl.Failed) > 0 {
		err = fmt.Errorf("%d rows failed: %v", c.n.Rows(odl.Failed), c.n.Open(odl.Failed))
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// judged holds that the server tells what Neutron wants.
func (c *cloud) judged() {
	c.t.Helper()
	diff, err := c.n.Judge(c.t.Context())
	if err != nil || len(diff) > 0 {
		c.t.Fatalf("%d differences, %v:\n%s", len(diff), err, strings.Join(diff[:min(len(diff), 10)], "\n"))
	}
}

// guest is the instance of a port that was bound by the other Neutron, with its namespace and link, but not plugged.
func (c *cloud) guest(name, id, node string) *guest {
	c.t.Helper()
	p, err := c.admin.port(id)
	if err != nil {
		c.t.Fatal(err)
	}
	g := &guest{s: c.site, name: name, node: node, port: p, mac: mac(c.site, p.MAC)}
	g.wire()
	return g
}

// lease lets a guest get its address by DHCP, as its only one, and tells the server's.
func (c *cloud) lease(g *guest) (server string) {
	c.t.Helper()
	hook := filepath.Join(c.base, "hook")
	const script = "#!/bin/sh\n[ \"$1\" = bound ] && ip addr replace $ip/$mask dev $interface && ip route replace default via $router && echo server $serverid\nexit 0\n"
	if err := os.WriteFile(hook, []byte(script), 0o755); err != nil {
		c.t.Fatal(err)
	}
	c.eventually(settleWithin, g.name+" gets its address by DHCP", func() error {
		out, err := c.in(g.name, "busybox", "udhcpc", "-f", "-q", "-n", "-i", "eth0", "-s", hook, "-t", "3", "-T", "1", "-A", "1")
		if _, rest, ok := strings.Cut(out, "server "); ok && err == nil {
			server = strings.Fields(rest)[0]
			return nil
		}
		return fmt.Errorf("%w: %s", err, out)
	})
	g.ip = netip.MustParseAddr(c.leased(g.name))
	g.announce()
	return server
}

// pings waits until an address answers.
func (c *cloud) pings(from, to string) {
	c.t.Helper()
	c.eventually(settleWithin, from+" reaches "+to, func() error {
		out, err := c.in(from, "ping", "-c", "1", "-W", "1", to)
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}
