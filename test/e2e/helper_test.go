// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestConntrackHelpers: what FTP and TFTP agree on passes a router that has helpers for them: data connections from outside to an
// instance that is behind the gateway's address, and to one of which another address forwards the control port alone.
func TestConntrackHelpers(t *testing.T) {
	t.Parallel()
	x := newWorld(newSite(t), wiring{physical: "external", nodes: []string{compute, controller, compute}})
	const odd = 2121 // where no tracker looks for FTP unless it is told
	forwarded := x.unbound()
	for _, port := range []int{21, odd} {
		x.forward(forwarded, fields{"protocol": "tcp", "external_port": port, "internal_port": port}, x.a2)
	}
	x.wantFloating(x.demo, forwarded.ID, "ACTIVE")
	fip := x.float(x.demo, x.b2)
	// The first question of a transfer by TFTP is answered from another port: without a helper nobody knows whose answer it is.
	if err := x.tftp(x.a1, 69); err == nil {
		t.Error("TFTP passes without a helper")
	}
	if err := x.active(x.a1.name, far, farAddress, x.gw1, 21); err == nil || !strings.Contains(err.Error(), "PORT 10,1,0,11") {
		t.Errorf("active FTP without a helper: %v", err)
	}
	for _, h := range []fields{{"protocol": "tcp", "port": 21, "helper": "ftp"}, {"protocol": "tcp", "port": odd, "helper": "ftp"},
		{"protocol": "udp", "port": 69, "helper": "tftp"}, {"protocol": "udp", "port": 6969, "helper": "tftp"}} {
		if err := x.demo.ask(201, "POST", x.demo.neutron("/routers/"+x.r1+"/conntrack_helpers"), fields{"conntrack_helper": h}, nil); err != nil {
			t.Fatal(err)
		}
	}
	x.admin.confirmed()
	for _, port := range []uint16{69, 6969} {
		for _, g := range []*guest{x.a1, x.a2, x.b2} { // the last by its own address
			x.eventually(settleWithin, fmt.Sprintf("TFTP of %s with port %d", g.name, port), func() error { return x.tftp(g, port) })
		}
	}
	for _, port := range []uint16{21, odd} {
		for g, as := range map[*guest]string{x.a1: x.gw1, x.a2: x.gw1, x.b1: x.gw1, x.b2: fip.Address} {
			for range 3 { // by other ports of the instance, under the datapath's flows of the first
				x.eventually(settleWithin, fmt.Sprintf("active FTP of %s with port %d", g.name, port), func() error {
					return x.active(g.name, far, farAddress, as, port)
				})
			}
			x.eventually(settleWithin, fmt.Sprintf("passive FTP of %s with port %d", g.name, port), func() error {
				return x.passive(g.name, far, farAddress, farAddress, port)
			})
		}
		for g, at := range map[*guest]string{x.a2: forwarded.Address, x.b2: fip.Address} { // servers
			for range 3 {
				x.eventually(settleWithin, fmt.Sprintf("passive FTP to %s by %s port %d", g.name, at, port), func() error {
					return x.passive(far, g.name, at, at, port)
				})
			}
			x.eventually(settleWithin, fmt.Sprintf("active FTP to %s by %s port %d", g.name, at, port), func() error {
				return x.active(far, g.name, at, farAddress, port)
			})
		}
	}
	// What was not agreed on does not come in.
	x.refuses(far, x.gw1, 21)
	x.refuses(far, forwarded.Address, 4242)
}

// tftp has an instance ask a server outside, which answers from another port, as all of them do, and hears the acknowledgement there.
func (x *world) tftp(g *guest, port uint16) error {
	var asked, answers, client *net.UDPConn
	open := func(where string, port uint16, c **net.UDPConn) error {
		return within(x.namespace(where), func() (err error) {
			*c, err = net.ListenUDP("udp4", &net.UDPAddr{Port: int(port)})
			return err
		})
	}
	if err := errors.Join(open(far, port, &asked), open(far, 0, &answers), open(g.name, 0, &client)); err != nil {
		return err
	}
	defer asked.Close()
	defer answers.Close()
	defer client.Close()
	for _, c := range []*net.UDPConn{asked, answers, client} {
		if err := c.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
			return err
		}
	}
	b := make([]byte, 2000)
	if _, err := client.WriteToUDPAddrPort([]byte("\x00\x01name\x00octet\x00"), netip.AddrPortFrom(netip.MustParseAddr(farAddress), port)); err != nil {
		return err
	}
	_, who, err := asked.ReadFromUDPAddrPort(b)
	if err != nil {
		return fmt.Errorf("the question does not arrive: %w", err)
	}
	for block := range 3 {
		data := append([]byte{0, 3, 0, byte(block + 1)}, counted(500)...)
		if _, err := answers.WriteToUDPAddrPort(data, who); err != nil {
			return err
		}
		n, from, err := client.ReadFromUDPAddrPort(b)
		if err != nil || !bytes.Equal(b[:n], data) || from.Addr().Unmap().String() != farAddress {
			return fmt.Errorf("block %d does not arrive: %d octets from %v, %w", block+1, n, from, err)
		}
		if _, err := client.WriteToUDPAddrPort([]byte{0, 4, 0, byte(block + 1)}, from); err != nil {
			return err
		}
		if _, back, err := answers.ReadFromUDPAddrPort(b); err != nil || back != who {
			return fmt.Errorf("the acknowledgement comes from %v, not from %v: %w", back, who, err)
		}
	}
	return nil
}

// active has a client give a server the address and port of a data connection, which the server must hear as one that it can reach, and open.
func (x *world) active(client, server, address, seen string, port uint16) error {
	x.t.Helper()
	j := x.joinAt(client, server, address, port, port)
	defer j.close()
	own := netip.MustParseAddrPort(j.near.LocalAddr().String()).Addr().Unmap()
	l, err := x.listen(client)
	if err != nil {
		return err
	}
	defer l.Close()
	said := hostPort(own, l)
	if err := j.tell(j.near, j.end, "PORT "+said, "PORT "+strings.ReplaceAll(seen, ".", ",")+said[len(strings.ReplaceAll(own.String(), ".", ",")):]); err != nil {
		return err
	}
	if err := x.data(server, seen, l); err != nil {
		return fmt.Errorf("data connection: %w", err)
	}
	return j.goesOn()
}

// passive has the server give the address and port, and the client open the connection.
func (x *world) passive(client, server, address, seen string, port uint16) error {
	x.t.Helper()
	j := x.joinAt(client, server, address, port, port)
	defer j.close()
	own := netip.MustParseAddrPort(j.end.LocalAddr().String()).Addr().Unmap()
	l, err := x.listen(server)
	if err != nil {
		return err
	}
	defer l.Close()
	said := hostPort(own, l)
	heard := strings.ReplaceAll(seen, ".", ",") + said[len(strings.ReplaceAll(own.String(), ".", ",")):]
	if err := j.tell(j.end, j.near, "227 Entering Passive Mode ("+said+").", "227 Entering Passive Mode ("+heard+")."); err != nil {
		return err
	}
	if err := x.data(client, seen, l); err != nil {
		return fmt.Errorf("data connection: %w", err)
	}
	return j.goesOn()
}

func (j *joint) close() { j.near.Close(); j.end.Close() }

// tell sends a line and wants one to arrive.
func (j *joint) tell(out, in net.Conn, line, want string) error {
	if err := in.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := out.Write([]byte(line + "\r\n")); err != nil {
		return err
	}
	got, err := bufio.NewReader(in).ReadString('\n')
	if got = strings.TrimSpace(got); err != nil || got != want {
		return fmt.Errorf("%q arrives as %q, not as %q: %w", line, got, want, err)
	}
	return nil
}

// goesOn holds that a connection whose octets were changed on the way carries more, either way, and several times.
func (j *joint) goesOn() error {
	for range 2 {
		for _, way := range [][2]net.Conn{{j.near, j.end}, {j.end, j.near}} {
			if err := j.tell(way[0], way[1], "NOOP of any length", "NOOP of any length"); err != nil {
				return err
			}
		}
	}
	return nil
}

func (x *world) listen(where string) (l net.Listener, err error) {
	return l, within(x.namespace(where), func() (err error) {
		l, err = (&net.ListenConfig{}).Listen(x.t.Context(), "tcp4", ":0")
		return err
	})
}

// hostPort is an address and a listener's port as FTP says them (RFC 959 section 4.1.2).
func hostPort(a netip.Addr, l net.Listener) string {
	_, text, _ := net.SplitHostPort(l.Addr().String())
	port, _ := strconv.Atoi(text)
	return fmt.Sprintf("%s,%d,%d", strings.ReplaceAll(a.String(), ".", ","), port>>8, port&255)
}

// data opens a data connection to the port of a listener and sends through it, both ways.
func (x *world) data(from, address string, l net.Listener) error {
	_, port, _ := net.SplitHostPort(l.Addr().String())
	ctx, cancel := context.WithTimeout(x.t.Context(), 3*time.Second)
	defer cancel()
	d := &joint{}
	err := within(x.namespace(from), func() (err error) {
		d.near, err = (&net.Dialer{FallbackDelay: -1}).DialContext(ctx, "tcp", net.JoinHostPort(address, port))
		return err
	})
	if err != nil {
		return err
	}
	defer d.near.Close()
	if err := l.(*net.TCPListener).SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
		return err
	}
	if d.end, err = l.Accept(); err != nil {
		return err
	}
	defer d.end.Close()
	return d.goesOn()
}
