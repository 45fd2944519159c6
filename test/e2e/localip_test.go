// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

// anycast is a local IP.
type anycast struct {
	ID      string `json:"id"`
	Port    string `json:"local_port_id"`
	Address string `json:"local_ip_address"`
}

// TestLocalIP: an address is an instance's of the same node where one serves it, and elsewhere that of who has it, or nobody's.
func TestLocalIP(t *testing.T) {
	t.Parallel()
	x := newWorld(newSite(t), wiring{physical: "external", nodes: []string{compute, compute, controller}})
	nobodys := x.anycast(fields{"network_id": x.netA})
	x.silent(x.a1.name, nobodys.Address)
	x.serve(nobodys, x.a2, fields{})
	x.onCompute(nobodys)
	for range 2 {
		x.pings(x.a1.name, nobodys.Address)
		j := x.join(x.a1.name, x.a2.name, nobodys.Address)
		if j.seenAs() != x.a1.ip.String() || localOf(j) != x.a2.ip.String() {
			t.Errorf("a1 arrives as %s at %s", j.seenAs(), localOf(j))
		}
		j.carry(t, 1<<20)
	}
	x.answers(x.a1.name, x.a2.name, nobodys.Address, 5353, 5353)
	x.join(x.a1.name, x.a2.name, x.a2.ip.String()).carry(t, 1000) // by its own address as ever
	x.join(x.a2.name, x.a1.name, x.a1.ip.String()).carry(t, 1000)
	for _, from := range []*guest{x.a3, x.b1, x.c1, x.a2} { // another node, a router, another tenant, the server
		x.silent(from.name, nobodys.Address)
	}

	// IPv6.
	six := x.anycast(fields{"network_id": x.netA, "local_ip_address": "fd01::100"})
	x.serve(six, x.a2, fields{"fixed_ip": x.a2.ip6.String()})
	j := x.join(x.a1.name, x.a2.name, six.Address)
	if j.seenAs() != x.a1.ip6.String() || localOf(j) != x.a2.ip6.String() {
		t.Errorf("a1 arrives as %s at %s", j.seenAs(), localOf(j))
	}
	j.carry(t, 1<<20)
	x.silent(x.a3.name, six.Address)

	// What is disassociated is cut; the server's other connections go on.
	cut := x.join(x.a1.name, x.a2.name, nobodys.Address)
	cut.carry(t, 1000)
	x.release(nobodys, x.a2)
	x.cut(cut, "disassociated")
	j.carry(t, 1000)
	x.silent(x.a1.name, nobodys.Address)
	for _, node := range x.nodes() {
		if f := x.naming(node, nobodys.Address); len(f) > 0 {
			t.Errorf("%s holds flows of an address that nobody serves: %s", node, strings.Join(f, "\n"))
		}
	}

	// The address of an instance on another node: who has it is reached where nobody serves it, and is a client everywhere.
	held := x.anycast(fields{"local_port_id": x.a3.port.ID, "local_ip_address": x.a3.ip.String()})
	if held.Port != x.a3.port.ID || held.Address != x.a3.ip.String() {
		t.Fatalf("local IP %+v of %+v", held, x.a3.port)
	}
	x.join(x.a1.name, x.a3.name, held.Address).carry(t, 1000)
	x.serve(held, x.a2, fields{})
	x.answers(x.a1.name, x.a2.name, held.Address, 5353, 5353) // waits until what the switch has cached is gone
	x.join(x.a1.name, x.a2.name, held.Address).carry(t, 1000)
	x.join(x.a2.name, x.a3.name, held.Address).carry(t, 1000)
	x.join(x.b1.name, x.a3.name, held.Address).carry(t, 1000)
	if j := x.join(x.a3.name, x.a1.name, x.a1.ip.String()); j.seenAs() != held.Address {
		t.Errorf("a3 arrives as %s", j.seenAs())
	} else {
		j.carry(t, 1<<20)
	}
	x.release(held, x.a2)
	x.answers(x.a1.name, x.a3.name, held.Address, 5354, 5354)
	x.join(x.a1.name, x.a3.name, held.Address).carry(t, 1000)

	// The guest has the address itself.
	through := x.anycast(fields{"network_id": x.netA, "ip_mode": "passthrough"})
	x.batch(x.namespace(x.a2.name), "addr add "+through.Address+"/32 dev eth0")
	x.silent(x.a1.name, through.Address)
	x.serve(through, x.a2, fields{})
	x.pings(x.a1.name, through.Address)
	j = x.join(x.a1.name, x.a2.name, through.Address)
	if j.seenAs() != x.a1.ip.String() || localOf(j) != through.Address {
		t.Errorf("a1 arrives as %s at %s", j.seenAs(), localOf(j))
	}
	j.carry(t, 1<<20)
	x.silent(x.a3.name, through.Address)
	for _, to := range []string{x.a3.ip.String(), farAddress} {
		if out, err := x.in(x.a2.name, "ping", "-n", "-c", "3", "-i", "0.2", "-W", "1", "-I", through.Address, to); err == nil {
			t.Errorf("a2 reaches %s as an address that is its own on its node alone:\n%s", to, out)
		}
	}
	x.pings(x.a2.name, x.a3.ip.String())
}

// localOf is the address at which the other end of a connection was reached.
func localOf(j *joint) string {
	return netip.MustParseAddrPort(j.end.LocalAddr().String()).Addr().Unmap().String()
}

// anycast makes a local IP.
func (x *world) anycast(body fields) anycast {
	x.t.Helper()
	var made struct {
		L anycast `json:"local_ip"`
	}
	if err := x.demo.ask(201, "POST", x.demo.neutron("/local-ips"), fields{"local_ip": body}, &made); err != nil {
		x.t.Fatal(err)
	}
	return made.L
}

// serve has a guest serve a local IP.
func (x *world) serve(l anycast, g *guest, more fields) {
	x.t.Helper()
	if len(more) == 0 {
		more = fields{"fixed_ip": g.ip.String()}
	}
	more["fixed_port_id"] = g.port.ID
	var made struct {
		A struct{ Host string } `json:"port_association"`
	}
	err := x.demo.ask(201, "POST", x.demo.neutron("/local_ips/"+l.ID+"/port_associations"), fields{"port_association": more}, &made)
	if err == nil && made.A.Host != g.node {
		err = fmt.Errorf("it is said to be on %s", made.A.Host)
	}
	if err != nil {
		x.t.Fatal(err)
	}
	x.admin.confirmed()
}

// release ends that.
func (x *world) release(l anycast, g *guest) {
	x.t.Helper()
	if err := x.demo.ask(204, "DELETE", x.demo.neutron("/local_ips/"+l.ID+"/port_associations/"+g.port.ID), nil, nil); err != nil {
		x.t.Fatal(err)
	}
	x.admin.confirmed()
}

// onCompute holds that one node alone has flows of a local IP, and that they are explained by it.
func (x *world) onCompute(l anycast) {
	x.t.Helper()
	for _, node := range x.nodes() {
		flows := x.naming(node, l.Address)
		if node != compute {
			if len(flows) > 0 {
				x.t.Errorf("%s has nobody to serve %s, and flows: %s", node, l.Address, strings.Join(flows, "\n"))
			}
			continue
		}
		if len(flows) == 0 {
			x.t.Errorf("%s has no flow of %s", node, l.Address)
		}
		for _, f := range flows {
			var why struct {
				Reasons []struct{ Rule, Kind, Object string }
			}
			path := x.admin.admin("/nodes/" + node + "/explain?" + url.Values{"flow": {f}}.Encode())
			if err := x.admin.ask(200, "GET", path, nil, &why); err != nil || len(why.Reasons) != 1 || why.Reasons[0].Object != l.ID || why.Reasons[0].Kind != "local-ip" {
				x.t.Errorf("%s is explained by %+v, %v", f, why, err)
			}
		}
	}
}

// naming are the flows of a node that name an address.
func (x *world) naming(node, address string) (out []string) {
	x.t.Helper()
	for _, f := range x.mustFlows(node) {
		if strings.Contains(f, address) {
			out = append(out, f)
		}
	}
	return out
}
