// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"
)

// TestPortForwarding: ports of one address on the external network, which the controller node has, are ports of instances on
// both nodes.
func TestPortForwarding(t *testing.T) {
	t.Parallel()
	x := newWorld(newSite(t), wiring{physical: "external", nodes: []string{compute, controller, compute}})
	f := x.unbound()
	at := f.Address
	a1 := x.forward(f, fields{"protocol": "tcp", "external_port": 2201, "internal_port": 22}, x.a1)
	x.forward(f, fields{"protocol": "tcp", "external_port": 2202, "internal_port": 22}, x.b2)
	udp := x.forward(f, fields{"protocol": "udp", "external_port": 2201, "internal_port": 53}, x.a1)
	x.forward(f, fields{"protocol": "udp", "external_port_range": "5000:5003", "internal_port_range": "6000:6003"}, x.b2)
	x.wantFloating(x.demo, f.ID, "ACTIVE")
	x.pings(far, at)

	for _, c := range []struct {
		to                 *guest
		external, internal uint16
	}{{x.a1, 2201, 22}, {x.b2, 2202, 22}} {
		j := x.joinAt(far, c.to.name, at, c.external, c.internal)
		if j.seenAs() != farAddress {
			t.Errorf("far arrives at %s as %s", c.to.name, j.seenAs())
		}
		j.carry(t, 1<<20)
		// From inside: the instance itself, its neighbours, another network, another tenant.
		for from, as := range map[*guest]string{x.a1: x.gw1, x.a2: x.gw1, x.b1: x.gw1, x.c1: x.gw2} {
			j := x.joinAt(from.name, c.to.name, at, c.external, c.internal)
			if j.seenAs() != as {
				t.Errorf("%s arrives at %s as %s, not %s", from.name, c.to.name, j.seenAs(), as)
			}
			j.carry(t, 1000)
		}
	}
	for _, from := range []string{far, x.b1.name} {
		x.answers(from, x.a1.name, at, 2201, 53)
		x.answers(from, x.b2.name, at, 5002, 6002)
	}
	x.refuses(far, at, 2203)

	// What is taken away, or changed, is cut; the others' connections go on.
	cut, kept := x.joinAt(far, x.a1.name, at, 2201, 22), x.joinAt(far, x.b2.name, at, 2202, 22)
	cut.carry(t, 1000)
	kept.carry(t, 1000)
	x.changeForwarding("PUT", 200, f, a1, fields{"port_forwarding": fields{"external_port": 2211}})
	x.cut(cut, "moved to another port")
	kept.carry(t, 1000)
	x.refuses(far, at, 2201)
	again := x.joinAt(far, x.a1.name, at, 2211, 22)
	again.carry(t, 1000)
	x.changeForwarding("DELETE", 204, f, a1, nil)
	x.changeForwarding("DELETE", 204, f, udp, nil)
	x.cut(again, "removed")
	kept.carry(t, 1000)
	x.refuses(far, at, 2211)
	x.join(x.a1.name, far, farAddress).carry(t, 1000) // by the gateway's address, as ever
	x.limits(x.float(x.demo, x.a2))
}

// limits gives a floating IP, and the gateway, policies that leave a part of their pings.
func (x *world) limits(f floating) {
	x.t.Helper()
	const pings = 200 // of 1,242 octets: two megabits each way
	for _, direction := range []string{"egress", "ingress"} {
		var made struct{ Policy struct{ ID string } }
		err := x.admin.ask(201, "POST", x.admin.neutron("/qos/policies"), fields{"policy": fields{"name": direction}}, &made)
		if err == nil {
			err = x.admin.ask(201, "POST", x.admin.neutron("/qos/policies/"+made.Policy.ID+"/bandwidth_limit_rules"),
				fields{"bandwidth_limit_rule": fields{"max_kbps": 100, "max_burst_kbps": 100, "direction": direction}}, nil)
		}
		if err != nil {
			x.t.Fatal(err)
		}
		for _, c := range []struct {
			path     string
			set      func(policy any) fields
			from, to string
		}{
			{"/floatingips/" + f.ID, func(p any) fields { return fields{"floatingip": fields{"qos_policy_id": p}} }, far, f.Address},
			{"/routers/" + x.r1, func(p any) fields {
				return fields{"router": fields{"external_gateway_info": fields{"network_id": x.ext, "qos_policy_id": p}}}
			}, x.a1.name, farAddress},
		} {
			free := x.answered(c.from, c.to, pings)
			for _, p := range []any{made.Policy.ID, nil} {
				if err := x.admin.ask(200, "PUT", x.admin.neutron(c.path), c.set(p), nil); err != nil {
					x.t.Fatal(err)
				}
				x.admin.confirmed()
				if p == nil {
					break
				}
				x.eventually(settleWithin, "a limit of a twentieth on "+direction+" of "+c.path, func() error { // what the switch has cached goes a little later
					limited := x.answered(c.from, c.to, pings)
					if limited == 0 || limited > free/2 {
						return fmt.Errorf("%d of %d pings are answered, %d without it", limited, pings, free)
					}
					x.t.Logf("%s of %s: %d of %d pings answered, %d without a limit", direction, c.path, limited, pings, free)
					return nil
				})
			}
		}
	}
}

// unbound makes a floating IP that stands for nothing.
func (x *world) unbound() floating {
	x.t.Helper()
	var made struct {
		F floating `json:"floatingip"`
	}
	if err := x.demo.ask(201, "POST", x.demo.neutron("/floatingips"), fields{"floatingip": fields{"floating_network_id": x.ext}}, &made); err != nil {
		x.t.Fatal(err)
	}
	return made.F
}

// forward makes a port forwarding to a guest and returns its id.
func (x *world) forward(f floating, what fields, g *guest) string {
	x.t.Helper()
	what["internal_port_id"], what["internal_ip_address"] = g.port.ID, g.ip.String()
	var made struct {
		F struct{ ID string } `json:"port_forwarding"`
	}
	if err := x.demo.ask(201, "POST", x.demo.neutron("/floatingips/"+f.ID+"/port_forwardings"), fields{"port_forwarding": what}, &made); err != nil {
		x.t.Fatal(err)
	}
	return made.F.ID
}

// changeForwarding changes or deletes one and waits until the nodes know.
func (x *world) changeForwarding(method string, want int, f floating, id string, body any) {
	x.t.Helper()
	if err := x.demo.ask(want, method, x.demo.neutron("/floatingips/"+f.ID+"/port_forwardings/"+id), body, nil); err != nil {
		x.t.Fatal(err)
	}
	x.admin.confirmed()
}

// cut waits until a connection carries nothing more, since a barrier is not the datapath, and holds that it stays so.
func (x *world) cut(j *joint, why string) {
	x.t.Helper()
	x.eventually(settleWithin, "the connection from "+j.from+" is cut", func() error {
		for _, way := range []struct{ out, in net.Conn }{{j.near, j.end}, {j.end, j.near}} {
			_, _ = way.out.Write([]byte("still there?"))
			_ = way.in.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
			b := make([]byte, 1024)
			if n, _ := way.in.Read(b); n > 0 {
				return fmt.Errorf("%s, and it carries %q", why, b[:n])
			}
		}
		return nil
	})
	j.deaf(x.t, why)
}

// joinAt is join by a port that leads to another one.
func (x *world) joinAt(from, to, address string, external, internal uint16) *joint {
	x.t.Helper()
	var l net.Listener
	err := within(x.namespace(to), func() (err error) {
		l, err = (&net.ListenConfig{}).Listen(x.t.Context(), "tcp", fmt.Sprintf(":%d", internal))
		return err
	})
	if err != nil {
		x.t.Fatalf("%s: %v", to, err)
	}
	defer l.Close()
	j := &joint{from: from, to: to}
	ctx, cancel := context.WithTimeout(x.t.Context(), settleWithin)
	defer cancel()
	err = within(x.namespace(from), func() (err error) {
		j.near, err = (&net.Dialer{FallbackDelay: -1}).DialContext(ctx, "tcp", net.JoinHostPort(address, strconv.Itoa(int(external))))
		return err
	})
	if err == nil {
		x.t.Cleanup(func() { j.near.Close() })
		err = l.(*net.TCPListener).SetDeadline(time.Now().Add(settleWithin))
	}
	if err == nil {
		j.end, err = l.Accept()
	}
	if err != nil {
		x.t.Fatalf("TCP from %s to %s port %d (%s port %d): %v", from, address, external, to, internal, err)
	}
	x.t.Cleanup(func() { j.end.Close() })
	return j
}

// answers holds that a datagram to a port of an address arrives at another port, and the answer comes from where it was sent to; and
// that of the session which it opened large ones pass too, in fragments.
func (x *world) answers(from, to, address string, external, internal uint16) {
	x.t.Helper()
	var server, c *net.UDPConn
	err := within(x.namespace(to), func() (err error) {
		server, err = net.ListenUDP("udp", &net.UDPAddr{Port: int(internal)})
		return err
	})
	if err == nil {
		defer server.Close()
		err = within(x.namespace(from), func() (err error) {
			c, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(address), external)))
			return err
		})
	}
	if err != nil {
		x.t.Fatal(err)
	}
	defer c.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 1<<16)
		for {
			n, peer, err := server.ReadFromUDPAddrPort(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = server.WriteToUDPAddrPort(b[:n], peer)
			}
		}
	}()
	defer func() { server.Close(); <-done }()
	for _, size := range []int{1000, 4000} {
		x.eventually(settleWithin, fmt.Sprintf("a datagram of %d octets from %s to %s port %d and back", size, from, address, external), func() error {
			data := counted(size)
			if _, err := c.Write(data); err != nil {
				return err
			}
			return hears(c, data)
		})
	}
}

// refuses holds that nobody answers at a port.
func (x *world) refuses(from, address string, port uint16) {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x.t.Context(), 2*time.Second)
	defer cancel()
	var c net.Conn
	err := within(x.namespace(from), func() (err error) {
		c, err = (&net.Dialer{FallbackDelay: -1}).DialContext(ctx, "tcp", net.JoinHostPort(address, strconv.Itoa(int(port))))
		return err
	})
	if err == nil {
		c.Close()
		x.t.Errorf("%s reaches %s port %d, and must not", from, address, port)
	}
}
