// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"nagare/internal/netvirt"
	"nagare/internal/ovstest"
	"nagare/test/bench/host"
)

const (
	inFlight  = 64               // requests at once, as for the peers
	plugging  = 32               // transactions at once on a node's database, as for the peers
	patience  = 10 * time.Minute // with a cloud that is to converge
	quietTime = time.Second      // without a change of the number of flows: nothing moves any more
)

// cloud is nagare, its nodes, and the workload's networks and groups.
type cloud struct {
	work
	h       *host.Host
	o       *options
	srv     *server
	nodes   []*node
	nets    []string // ids
	subnets []string
	groups  []string          // a tenant's
	routers []string          // a tenant's; none in the classic profile
	doors   map[string]string // MAC address of the router's interface, by network
	ports   map[int]string
	empty   float64 // nagare's resident memory before there was a port
}

// raise starts everything and makes networks, subnets, groups and, in the standard profile, routers. Ids of the ports from first on are known beforehand: those
// of ports that are plugged before they are created.
func raise(h *host.Host, o *options, w work, first, known int, serve ...string) *cloud {
	ids := ""
	if known > 0 {
		var b strings.Builder
		b.WriteString("ports:\n")
		for p := first; p < first+known; p++ {
			fmt.Fprintf(&b, "- {name: p%d, id: %s}\n", p, w.id(p))
		}
		ids = filepath.Join(h.Dir(), "ids.yaml")
		h.Must(os.WriteFile(ids, []byte(b.String()), 0o600))
	}
	c := &cloud{work: w, h: h, o: o, ports: map[int]string{}}
	c.srv = startServer(h, o, ids, serve...)
	for i := range w.nodes {
		c.nodes = append(c.nodes, startNode(h, i, c.srv.node))
	}
	h.Must(ovstest.Poll(time.Minute, func() error { return c.srv.inSync(h.Context(), w.nodes) }))
	for _, n := range c.nodes {
		n.open()
	}
	for t := range w.tenants() {
		limits := object{"network": -1, "subnet": -1, "port": -1, "security_group": -1, "security_group_rule": -1}
		if o.routed() {
			limits["router"] = -1
		}
		h.Must(c.srv.call(h.Context(), "PUT", c.srv.neutron, "/v2.0/quotas/"+project(t), object{"quota": limits}, nil))
		g := c.srv.mustCreate("security_group", object{"name": fmt.Sprint("tenant ", t), "project_id": project(t)})
		c.groups = append(c.groups, g) // which lets everything out, as every group of Neutron's
		for _, r := range []object{
			{"ethertype": "IPv4", "remote_group_id": g}, {"ethertype": "IPv6", "remote_group_id": g},
			{"ethertype": "IPv4", "protocol": "tcp", "port_range_min": 22, "port_range_max": 22, "remote_ip_prefix": "0.0.0.0/0"},
			{"ethertype": "IPv4", "protocol": "icmp", "remote_ip_prefix": "0.0.0.0/0"},
		} {
			r["direction"], r["security_group_id"], r["project_id"] = "ingress", g, project(t)
			c.srv.mustCreate("security_group_rule", r)
		}
	}
	for n := range w.nets {
		p := project(w.tenantOf(n))
		net := c.srv.mustCreate("network", object{"name": fmt.Sprint("net", n), "project_id": p})
		c.nets = append(c.nets, net)
		c.subnets = append(c.subnets, c.srv.mustCreate("subnet", object{"network_id": net, "project_id": p, "ip_version": 4,
			"cidr": w.cidr(n).String(), "gateway_ip": w.gateway(n)}))
		if o.routed() {
			r := c.routerOf(n)
			h.Must(c.srv.call(h.Context(), "PUT", c.srv.neutron, "/v2.0/routers/"+r+"/add_router_interface", object{"subnet_id": c.subnets[n]}, nil))
		}
	}
	if o.routed() {
		c.findDoors()
	}
	h.Must(c.settled())
	c.empty = resident(c.srv.cmd.Process.Pid)
	return c
}

// routed reports whether the work has routers, as the peers' has.
func (o *options) routed() bool { return o.profile != "classic" }

// routerOf is the router of the n-th network's tenant, which is made with the tenant's first network.
func (c *cloud) routerOf(n int) string {
	t := c.tenantOf(n)
	if t == len(c.routers) {
		c.routers = append(c.routers, c.srv.mustCreate("router", object{"name": fmt.Sprint("router", t), "project_id": project(t)}))
	}
	return c.routers[t]
}

// findDoors asks for the MAC addresses of the routers' interfaces.
func (c *cloud) findDoors() {
	var got struct {
		Ports []struct {
			Network string `json:"network_id"`
			MAC     string `json:"mac_address"`
		}
	}
	c.h.Must(c.srv.call(c.h.Context(), "GET", c.srv.neutron, "/v2.0/ports?device_owner=network:router_interface&fields=network_id&fields=mac_address", nil, &got))
	c.doors = map[string]string{}
	for _, p := range got.Ports {
		c.doors[p.Network] = p.MAC
	}
	if len(c.doors) != len(c.nets) {
		c.h.Fatalf("%d networks have a router's interface, want %d", len(c.doors), len(c.nets))
	}
}

// post creates a port of the workload.
func (c *cloud) post(ctx context.Context, p int) (string, error) {
	n := c.netOf(p)
	return c.srv.create(ctx, "port", object{"name": fmt.Sprint("p", p), "network_id": c.nets[n], "project_id": project(c.tenantOf(n)),
		"mac_address": c.mac(p), "fixed_ips": []object{{"subnet_id": c.subnets[n], "ip_address": c.ip(p)}},
		"device_owner": "compute:nova", "device_id": c.id(p), "binding:host_id": nodeName(c.nodeOf(p)),
		"security_groups": []string{c.groups[c.tenantOf(n)]}})
}

// filled is how long filling took, from its beginning: all created, all plugged, all ACTIVE and every node in sync by the
// server's word, and the last change of a number of flows that was seen.
type filled struct{ created, plugged, active, done time.Duration }

// fill creates and plugs ports as the peers' runner does, and waits until the cloud has converged.
func (c *cloud) fill(first, n int) (f filled) {
	start := time.Now()
	var mu sync.Mutex
	c.each(inFlight, n, func(i int) error {
		id, err := c.post(c.h.Context(), first+i)
		mu.Lock()
		c.ports[first+i] = id
		mu.Unlock()
		return err
	})
	f.created = time.Since(start)
	var wg sync.WaitGroup
	var fault atomic.Pointer[error]
	for _, node := range c.nodes {
		var mine []int
		for p := first; p < first+n; p++ {
			if c.nodeOf(p) == node.number {
				mine = append(mine, p)
			}
		}
		wg.Go(func() {
			if err := parallel(plugging, len(mine), func(i int) error {
				return node.plug(c.h.Context(), c.tap(mine[i]), c.ports[mine[i]], c.mac(mine[i]))
			}); err != nil {
				fault.Store(&err)
			}
		})
	}
	wg.Wait()
	if err := fault.Load(); err != nil {
		c.h.Fatal(*err)
	}
	f.plugged = time.Since(start)
	c.h.Must(c.poll(patience, func() error {
		if ok, err := c.srv.allActive(c.h.Context()); err != nil || !ok {
			return fmt.Errorf("ports are not ACTIVE yet: %w", err)
		}
		return c.srv.inSync(c.h.Context(), c.work.nodes)
	}))
	f.active = time.Since(start)
	last, err := c.quiet()
	c.h.Must(err)
	f.done = max(f.active, last.Sub(start))
	return f
}

// each calls do for 0..n-1, some at once, and fails on the first error.
func (c *cloud) each(atOnce, n int, do func(i int) error) {
	c.h.Must(parallel(atOnce, n, do))
}

func parallel(atOnce, n int, do func(i int) error) error {
	var next atomic.Int64
	var fault atomic.Pointer[error]
	var wg sync.WaitGroup
	for range min(atOnce, n) {
		wg.Go(func() {
			for fault.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := do(i); err != nil {
					fault.Store(&err)
				}
			}
		})
	}
	wg.Wait()
	if err := fault.Load(); err != nil {
		return *err
	}
	return nil
}

// poll asks every 50 ms: often enough for what lasts seconds, and cheap for those asked.
func (c *cloud) poll(limit time.Duration, check func() error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(limit)
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-deadline:
			return err
		case <-c.h.Context().Done():
			return fmt.Errorf("%w: %w", c.h.Context().Err(), err)
		}
	}
}

// quiet waits until no node's number of flows has changed for a second, and returns when the last change was seen.
func (c *cloud) quiet() (last time.Time, err error) {
	var have []int
	last = time.Now()
	err = c.poll(patience, func() error {
		now, err := c.flows()
		if err != nil {
			return err
		}
		if !slices.Equal(now, have) {
			have, last = now, time.Now()
		}
		if since := time.Since(last); since < quietTime {
			return fmt.Errorf("flows changed %s ago", span(since))
		}
		return nil
	})
	return last, err
}

// settled waits until the server says that every node is in sync and nothing moves.
func (c *cloud) settled() error {
	if err := c.poll(patience, func() error { return c.srv.inSync(c.h.Context(), c.work.nodes) }); err != nil {
		return err
	}
	_, err := c.quiet()
	return err
}

// flows counts the flows of each node.
func (c *cloud) flows() (out []int, err error) {
	for _, n := range c.nodes {
		f, err := n.flows(c.h.Context())
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

// spent is what all processes have used of the processors so far.
func (c *cloud) spent() bill {
	b := bill{controller: processorTime(c.srv.cmd.Process.Pid)}
	for _, n := range c.nodes {
		b[vswitchd] += processorTime(n.VswitchdPID())
		b[nodeDB] += processorTime(n.DBPID())
	}
	return b
}

// traced counts pairs of ports by whether a packet gets from one to the other.
type traced struct {
	delivered, lost int
	routed          int    // of those delivered, across a router
	fault           string // of the first that was lost
}

func (t traced) String() string {
	if t.delivered+t.lost == 0 {
		return "no pairs to trace"
	}
	text := fmt.Sprintf("%d of %d traced pairs delivered", t.delivered, t.delivered+t.lost)
	if t.routed > 0 {
		text += fmt.Sprintf(", %d of them routed", t.routed)
	}
	return text
}

// verify follows TCP/22 between pairs of ports through both of their switches, half of them across a router.
func (c *cloud) verify(w work) (t traced) {
	var numbers []map[string]uint32
	for _, n := range c.nodes {
		m, err := n.numbers(c.h.Context())
		c.h.Must(err)
		numbers = append(numbers, m)
	}
	for _, p := range w.pairs(c.o.pairs, c.o.routed()) {
		if err := c.reaches(numbers, p[0], p[1]); err != nil {
			if t.lost++; t.fault == "" {
				t.fault = err.Error()
			}
			continue
		}
		if t.delivered++; c.netOf(p[0]) != c.netOf(p[1]) {
			t.routed++
		}
	}
	return t
}

func (c *cloud) reaches(numbers []map[string]uint32, a, b int) error {
	na, nb := c.nodeOf(a), c.nodeOf(b)
	packet := func(src, dst string, ttl int) string {
		return fmt.Sprintf("tcp,dl_src=%s,dl_dst=%s,nw_src=%s,nw_dst=%s,nw_ttl=%d,tcp_src=4000,tcp_dst=22", src, dst, c.ip(a), c.ip(b), ttl)
	}
	sent, there := packet(c.mac(a), c.mac(b), 64), packet(c.mac(a), c.mac(b), 64)
	if la, lb := c.netOf(a), c.netOf(b); la != lb {
		sent, there = packet(c.mac(a), c.doors[c.nets[la]], 64), packet(c.doors[c.nets[lb]], c.mac(b), 63)
	}
	to := strconv.Itoa(int(numbers[nb][c.tap(b)]))
	out, network, text := c.nodes[na].trace(fmt.Sprintf("in_port=%d,%s", numbers[na][c.tap(a)], sent))
	if na != nb {
		tunnel := strconv.Itoa(int(numbers[na][netvirt.TunnelName(vtep(nb))]))
		if !slices.Contains(out, tunnel) || network == "" {
			return fmt.Errorf("port %d to %d: does not leave node %d by the tunnel to node %d:\n%s", a, b, na, nb, text)
		}
		out, _, text = c.nodes[nb].trace(fmt.Sprintf("in_port=%d,tun_id=%s,%s", numbers[nb][netvirt.TunnelName(vtep(na))], network, there))
	}
	if !slices.Contains(out, to) {
		return fmt.Errorf("port %d to %d: does not come out of %s on node %d:\n%s", a, b, c.tap(b), nb, text)
	}
	return nil
}
