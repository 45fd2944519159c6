// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// ride is a trunk with real guests: its parent, and others on the networks that it reaches.
type ride struct {
	*site
	admin             *client
	parent, red, blue *guest // red on the parent's network and node, blue on the other
	trunk             string
	watch             map[string]*watcher // by guest
	offers            chan netip.Addr     // that the parent's guest has had
	shots             int
}

// TestTrunk: an instance speaks on several networks by one interface, each with its tag and as itself only; what policies of
// quality of service say holds on the wire.
func TestTrunk(t *testing.T) {
	t.Parallel()
	s := newSite(t, "--dhcp", "native")
	r := &ride{site: s, admin: s.user("admin"), watch: map[string]*watcher{}}
	red, _ := r.admin.network("red", "10.61.0.0/24")
	blue, _ := r.admin.network("blue", "10.62.0.0/24")
	r.parent = s.newGuest(r.admin, r.admin, "parent", red, compute, nil)
	r.red = s.newGuest(r.admin, r.admin, "red", red, compute, nil)
	r.blue = s.newGuest(r.admin, r.admin, "blue", blue, controller, nil)
	bare := s.newGuest(r.admin, r.admin, "bare", red, controller, fields{"port_security_enabled": false, "security_groups": []string{}})
	for _, g := range []*guest{r.parent, r.red, r.blue, bare} {
		r.watch[g.name] = s.watch(g.name, "eth0")
	}
	var made struct{ Trunk struct{ ID string } }
	if err := r.admin.ask(201, "POST", r.admin.neutron("/trunks"), fields{"trunk": fields{"port_id": r.parent.port.ID}}, &made); err != nil {
		t.Fatal(err)
	}
	r.trunk = made.Trunk.ID
	elsewhere := r.subPort("sub", blue, 10, nil)
	beside := r.subPort("beside", red, 20, nil)
	wide := r.subPort("wide", red, 30, fields{"port_security_enabled": false, "security_groups": []string{}})
	r.wantTrunk("ACTIVE")
	out := s.tap(r.parent.name, "eth0")
	r.offers = make(chan netip.Addr, 1)
	r.watch[r.parent.name].each(r.hear(out, map[int]*guest{10: elsewhere, 20: beside}))

	s.part("Reaches", func(s *site) {
		r.asks(s, out, elsewhere, 10, r.blue)
		r.asks(s, out, beside, 20, r.red)
		s.pings(r.blue.name, elsewhere.ip)
		s.pings(r.parent.name, r.red.ip)
		s.pings(r.red.name, r.parent.ip)
		s.pings(r.red.name, beside.ip)
	})
	s.part("DHCP", func(s *site) { r.leases(s, elsewhere) })
	s.part("Attacks", func(s *site) { r.attacks(s, elsewhere, wide) })
	s.part("Quality", func(s *site) { r.quality(s) })
	s.part("Unplugged", func(s *site) {
		r.parent.unplug()
		r.admin.wantStatus(elsewhere.port.ID, "DOWN")
		r.wantTrunk("DOWN")
		r.parent.plug()
		r.admin.wantStatus(elsewhere.port.ID, "ACTIVE")
		r.wantTrunk("ACTIVE")
		r.asks(s, out, elsewhere, 10, r.blue)
	})
	s.part("Removed", func(s *site) {
		if err := r.admin.ask(200, "PUT", r.admin.neutron("/trunks/"+r.trunk+"/remove_subports"),
			fields{"sub_ports": []fields{{"port_id": elsewhere.port.ID}}}, nil); err != nil {
			s.t.Fatal(err)
		}
		r.admin.confirmed()
		s.eventually(settleWithin, "a removed sub-port is cut off", func() error {
			if _, err := s.in(r.blue.name, "ping", "-c", "1", "-W", "1", elsewhere.ip.String()); err == nil {
				return errors.New("it still answers")
			}
			return nil
		})
		r.asks(s, out, beside, 20, r.red)
	})
}

// subPort makes a port and has the trunk carry it.
func (r *ride) subPort(name, network string, vid int, more fields) *guest {
	r.t.Helper()
	body := fields{"name": name, "network_id": network}
	for k, v := range more {
		body[k] = v
	}
	var made struct{ Port port }
	err := r.admin.ask(201, "POST", r.admin.neutron("/ports"), fields{"port": body}, &made)
	if err == nil {
		err = r.admin.ask(200, "PUT", r.admin.neutron("/trunks/"+r.trunk+"/add_subports"),
			fields{"sub_ports": []fields{{"port_id": made.Port.ID, "segmentation_type": "vlan", "segmentation_id": vid}}}, nil)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.admin.wantStatus(made.Port.ID, "ACTIVE")
	p, err := r.admin.port(made.Port.ID)
	if err != nil || p.HostID != r.parent.node || p.DeviceOwner != "trunk:subport" {
		r.t.Errorf("sub-port %s: %+v, %v; want it on its parent's node", name, p, err)
	}
	return &guest{s: r.site, name: r.parent.name, node: r.parent.node, port: p, mac: mac(r.site, p.MAC), ip: netip.MustParseAddr(p.FixedIPs[0].IP)}
}

// hear is the parent's guest as far as its sub-ports are concerned, since kernels may lack VLAN interfaces: it answers pings to
// them, with their tags, and takes note of offers.
func (r *ride) hear(out *wire, subs map[int]*guest) func(f []byte) {
	return func(f []byte) {
		if len(f) < 34 || f[12] != 8 || f[13] != 0 {
			return
		}
		switch {
		case f[23] == protoUDP && len(f) > 62 && f[37] == 68: // BOOTP's yiaddr
			select {
			case r.offers <- netip.AddrFrom4([4]byte(f[58:62])):
			default:
			}
		case f[23] == protoICMP && f[34] == 8:
			for vid, g := range subs {
				if !slices.Equal(f[:6], g.mac) {
					continue
				}
				data := slices.Clone(f[34:])
				data[0], data[2], data[3] = 0, 0, 0
				sum := checksum(data)
				data[2], data[3] = byte(sum>>8), byte(sum)
				answer := ip4{src: netip.AddrFrom4([4]byte(f[30:34])), dst: netip.AddrFrom4([4]byte(f[26:30])), proto: protoICMP, payload: data}
				out.send(tagged(slices.Clone(f[6:12]), g.mac, [][2]int{{etherVLAN, vid}}, etherIP4, answer.bytes()))
			}
		}
	}
}

// asks holds that a sub-port's ping of another guest is answered, with the sub-port's tag.
func (r *ride) asks(s *site, out *wire, sub *guest, vid int, to *guest) {
	s.t.Helper()
	s.eventually(settleWithin, fmt.Sprintf("tag %d reaches %s", vid, to.name), func() error {
		o := r.token(permitted)
		data := append([]byte{8, 0, 0, 0, 0, 1, 0, 1}, o...)
		sum := checksum(data)
		data[2], data[3] = byte(sum>>8), byte(sum)
		// Who is asked must know whom to answer.
		out.send(tagged(broadcast, sub.mac, [][2]int{{etherVLAN, vid}}, etherARP, arp(1, sub.mac, sub.ip, noMAC, to.ip, nil)),
			tagged(to.mac, sub.mac, [][2]int{{etherVLAN, vid}}, etherIP4, ip4{src: sub.ip, dst: to.ip, proto: protoICMP, payload: data}.bytes()))
		w := r.watch[r.parent.name]
		if !w.wait(o, time.Second) {
			return fmt.Errorf("no answer; the question has come %d times", r.watch[to.name].arrived(o))
		}
		if got := w.vlan(o); got != vid {
			s.t.Errorf("the answer to tag %d comes with tag %d", vid, got)
		}
		if got := r.watch[to.name].vlan(o); got != 0 {
			s.t.Errorf("%s sees tag %d", to.name, got)
		}
		return nil
	})
}

// pings holds that an address answers.
func (s *site) pings(from string, to netip.Addr) {
	s.t.Helper()
	s.eventually(settleWithin, from+" reaches "+to.String(), func() error {
		out, err := s.in(from, "ping", "-c", "1", "-W", "1", to.String())
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

func (r *ride) wantTrunk(status string) {
	r.t.Helper()
	r.eventually(settleWithin, "the trunk is "+status, func() error {
		var got struct{ Trunk struct{ Status string } }
		err := r.admin.ask(200, "GET", r.admin.neutron("/trunks/"+r.trunk), nil, &got)
		if err == nil && got.Trunk.Status != status {
			err = fmt.Errorf("it is %s", got.Trunk.Status)
		}
		return err
	})
}

// leases asks for a sub-port's address as its guest would; the answer comes with the tag.
func (r *ride) leases(s *site, sub *guest) {
	out := s.tap(r.parent.name, "eth0")
	any4 := netip.IPv4Unspecified()
	ask := tagged(broadcast, sub.mac, [][2]int{{etherVLAN, 10}}, etherIP4,
		udp4(any4, netip.MustParseAddr("255.255.255.255"), 68, 67, dhcp(1, dhcpDiscover, 7, sub.mac, netip.Addr{})))
	s.eventually(settleWithin, "a sub-port's request is answered", func() error {
		out.send(ask)
		wait := time.NewTimer(time.Second)
		defer wait.Stop()
		select {
		case ip := <-r.offers:
			if ip != sub.ip {
				s.t.Errorf("offered %v, want %v", ip, sub.ip)
			}
			return nil
		case <-wait.C:
			return errors.New("no offer")
		}
	})
}

func (r *ride) token(kind byte) token {
	r.shots++
	return token(fmt.Sprintf("%s%c%04x", tokenStart, kind, 0xf000+r.shots))
}

// attacks sends from the parent's interface what is nobody's, each in several ways; none of it arrives anywhere, and what differs
// only in what makes the attack does.
func (r *ride) attacks(s *site, sub, wide *guest) {
	out := s.tap(r.parent.name, "eth0")
	from := func(src netip.Addr, t token) []byte {
		return udp4(src, netip.MustParseAddr("255.255.255.255"), 1000, 2000, []byte(t))
	}
	send := func(t token, src net.HardwareAddr, ip netip.Addr, tags ...[2]int) {
		for _, dst := range []net.HardwareAddr{broadcast, r.red.mac, r.blue.mac, r.parent.mac, sub.mac} {
			if len(tags) == 0 {
				out.send(frame(dst, src, etherIP4, from(ip, t)))
			} else {
				out.send(tagged(dst, src, tags, etherIP4, from(ip, t)))
			}
		}
	}
	// The control: on the wide sub-port, which has no port security, anything goes that has one tag.
	legal := func(what string) {
		s.eventually(settleWithin, "the legal counterpart arrives "+what, func() error {
			o := r.token(permitted)
			send(o, wide.mac, wide.ip, [2]int{etherVLAN, 30})
			send(o, r.parent.mac, r.parent.ip)
			send(o, sub.mac, sub.ip, [2]int{etherVLAN, 10})
			for _, to := range []string{r.blue.name, r.red.name, "bare"} {
				if !r.watch[to].wait(o, time.Second) {
					return fmt.Errorf("%s has not got it", to)
				}
			}
			return nil
		})
	}
	// Everybody's groups admit everything, so that nothing else stops what is sent here.
	group := r.admin.group("open", nil, fields{"direction": "ingress", "ethertype": "IPv4"})
	for _, g := range []*guest{r.red, r.blue, r.parent, sub} {
		r.admin.change(g.port.ID, fields{"security_groups": []string{group}})
	}
	r.admin.confirmed()
	legal("before")
	vlan := func(vids ...int) (tags [][2]int) {
		for _, v := range vids {
			tags = append(tags, [2]int{etherVLAN, v})
		}
		return tags
	}
	for _, a := range []struct {
		what string
		src  net.HardwareAddr
		ip   netip.Addr
		tags [][2]int
	}{
		{"a tag that is no sub-port's", sub.mac, sub.ip, vlan(40)},
		{"tag 4095", sub.mac, sub.ip, vlan(4095)},
		{"a priority tag", sub.mac, sub.ip, vlan(0)},
		{"the sub-port's addresses, untagged", sub.mac, sub.ip, nil},
		{"the parent's addresses with the sub-port's tag", r.parent.mac, r.parent.ip, vlan(10)},
		{"the parent's IP address from the sub-port", sub.mac, r.parent.ip, vlan(10)},
		{"another's IP address from the sub-port", sub.mac, r.blue.ip, vlan(10)},
		{"another sub-port's tag", sub.mac, sub.ip, vlan(20)},
		{"two tags of sub-ports", sub.mac, sub.ip, vlan(10, 20)},
		{"two tags without port security", wide.mac, wide.ip, vlan(30, 10)},
		{"a tag that is none within", wide.mac, wide.ip, vlan(30, 40)},
		{"a service tag within", wide.mac, wide.ip, [][2]int{{etherVLAN, 30}, {etherQinQ, 10}}},
		{"a service tag without", wide.mac, wide.ip, [][2]int{{etherQinQ, 30}, {etherVLAN, 10}}},
		{"three tags", wide.mac, wide.ip, vlan(30, 10, 20)},
	} {
		x := r.token(forbidden)
		for range 3 {
			send(x, a.src, a.ip, a.tags...)
		}
		legal("after " + a.what) // sent later, on the same way
		for _, w := range r.watch {
			w.holdsNone(s.t, x, a.what)
		}
	}
	if n := len(s.flowsWith(compute, "dl_vlan=")); n != 3 {
		s.t.Errorf("%d flows take tagged frames in, want one of each sub-port's address", n)
	}
}

// flowsWith are the flows of a node that contain a text.
func (s *site) flowsWith(node, text string) (out []string) {
	for _, f := range s.mustFlows(node) {
		if strings.Contains(f, text) && strings.Contains(f, "table=0,") {
			out = append(out, f)
		}
	}
	return out
}
