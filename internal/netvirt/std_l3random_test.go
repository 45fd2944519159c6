// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/ovstest"
	"nagare/internal/pipeline"
	"nagare/internal/repro"
	"nagare/internal/sim"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// TestRandomTopologiesOnRealSwitch loads one node of each of some random clouds with routers into Open vSwitch. Random packets
// must have the same fate there as in the simulator: the same ports, the controller, or nothing. Whoever sees a failure gets the
// seed, the cloud and both accounts.
func TestRandomTopologiesOnRealSwitch(t *testing.T) {
	const topologies, packets = 10, 50 // loading a node costs as much as tracing some twenty
	s := ovstest.Start(t)
	fates, kinds := map[string]int{}, map[string]int{}
	for seed := range uint64(topologies) {
		r := repro.Rand(seed, 4)
		c, told := randomCampus(t, r)
		node := campusNodes[seed%3]
		bridge := fmt.Sprintf("random%d", seed)
		push(t, s, bridge, c.f.e, node)
		sw, numbers := simulated(t, c.f.e, node), ofNumbers(s, bridge)
		sw.Track.AssumeNew = true
		for range packets {
			p, kind := c.anything(r, node)
			text := s.Appctl("ofproto/trace", bridge, p.Traceable())
			real := fate(traced(text, p.Length, numbers))
			res := sw.Trace(p)
			if got := fate(res.OutPorts(), len(res.Punts) > 0); got != real || len(res.Errors) > 0 && !circling(res) {
				t.Fatalf("seed %d, %s:\n%s\npacket %s\nsimulated: %s\n%v\nreal: %s\n%s", seed, node, strings.Join(told, "\n"), p, got, res, real, text)
			}
			word, _, _ := strings.Cut(real, " ")
			fates[word]++
			if word != "dropped" {
				kinds[kind]++
			}
			if word != "dropped" && strings.Contains(strings.Join(res.Trace, "\n"), "load:0x8") && strings.Contains(strings.Join(res.Trace, "\n"), "NXM_NX_CT_MARK") {
				kinds["begun by a forwarding"]++
			}
			if n := passes(res); n > 0 && word != "dropped" {
				kinds[fmt.Sprint("by routers ", min(n, 3))]++
			}
			if circling(res) {
				kinds["in circles"]++
			}
			for _, punt := range res.Punts {
				if k, _ := pipeline.ParseUserdata(punt.Userdata); k == pipeline.PuntTooLarge {
					kinds["too large"]++
				}
			}
		}
	}
	t.Logf("fates of %d packets: %v; by what went somewhere: %v", topologies*packets, fates, kinds)
	if fates["leaves"] < topologies*packets/6 || fates["punted"] == 0 || fates["dropped"] == 0 {
		t.Errorf("fates %v: the test shows little", fates)
	}
	for _, k := range []string{"routed", "echo", "arp", "floating", "outside", "extra", "too large", "by routers 1", "forwarded"} {
		if kinds[k] == 0 {
			t.Errorf("no packet of kind %q went anywhere: %v", k, kinds)
		}
	}
}

// passes is how often routers passed a packet on to other routers.
func passes(r sim.Result) (n int) {
	for _, l := range r.Trace {
		if strings.HasSuffix(l, "resubmit(,61)") {
			n++
		}
	}
	return n
}

// circling reports whether routes led a packet in circles, until the switch gave it up.
func circling(r sim.Result) bool {
	return passes(r) > 30 && slices.ContainsFunc(r.Errors, func(e string) bool { return strings.Contains(e, "nested more") })
}

// fate is the verdict on a packet, with its ports.
func fate(ports []uint32, punted bool) string {
	switch {
	case len(ports) > 0 && punted:
		return fmt.Sprintf("leaves by %v and is punted", ports)
	case len(ports) > 0:
		return fmt.Sprintf("leaves by %v", ports)
	case punted:
		return "punted"
	}
	return "dropped"
}

// randomCampus is a cloud of three nodes with up to five networks of tenants, of tunnels and of the wire, one or two subnets of
// each family, up to three routers, with or without gateways and translation, extra routes, floating IPs, and groups that are
// stateful or not. It tells what it made.
func randomCampus(t testing.TB, r *rand.Rand) (c *campus, told []string) {
	chance := func(n int) bool { return r.IntN(n) == 0 }
	c = newCampus(t, []model.NetworkType{model.Flat, model.VLAN}[r.IntN(2)], Options{})
	tell := func(format string, args ...any) { told = append(told, fmt.Sprintf(format, args...)) }
	nets := []model.NetworkID{"n1", "n2", "n3"}
	c.do(func(tx *store.Txn) {
		for i := range r.IntN(3) {
			id := model.NetworkID(fmt.Sprint("n", i+4))
			typ := []model.NetworkType{model.VXLAN, model.Geneve, model.VLAN}[r.IntN(3)]
			c.network(tx, id, typ, fmt.Sprintf("10.%d.0.0/24 fd%02d::/64", i+4, i+4))
			if n, _ := tables.Networks.Get(tx, id); typ == model.VLAN {
				n.SegmentationID = uint32(100 + i)
				tables.Networks.Put(tx, id, n)
			}
			nets = append(nets, id)
			tell("network %s of type %s", id, typ)
		}
		for _, id := range append([]model.NetworkID{"ext"}, nets...) {
			mtu := []int{1450, 1450, 1500, 1400, 0}[r.IntN(5)]
			c.takes(tx, map[model.NetworkID]int{id: mtu})
			tell("network %s takes %d octets", id, mtu)
		}
		for i := range 2 { // beside "g", which lets SSH and echo in
			g := model.SecurityGroupID(fmt.Sprint("g", i))
			putGroup(tx, g, chance(2))
			for j := range 3 {
				p := model.RulePlane{Direction: []model.Direction{model.Egress, model.Ingress, model.Ingress}[j], Ethertype: model.EtherIPv4, Group: g, Key: model.Key(20 + 4*i + j)}
				switch r.IntN(4) {
				case 0:
					p.Protocol, p.PortMin, p.PortMax = "udp", ptr(22), ptr(22+r.IntN(2))
				case 1:
					p.RemoteGroup = []model.SecurityGroupID{"g", "g0", "g1"}[r.IntN(3)]
				case 2:
					p.RemotePrefix = netip.MustParsePrefix([]string{"10.0.0.0/8", "8.0.0.0/8", "10.1.0.0/24"}[r.IntN(3)])
				}
				id := model.SecurityGroupRuleID(fmt.Sprintf("%s-%d", g, j))
				tables.Rules.Put(tx, id, model.SecurityGroupRule{ID: id, RulePlane: p})
				tell("rule %+v", p)
			}
		}
	})
	type leg struct {
		router model.RouterID
		net    model.NetworkID
	}
	var legs []leg
	c.do(func(tx *store.Txn) {
		routers := 1 + r.IntN(3)
		for i := range routers {
			id := model.RouterID(fmt.Sprint("r", i))
			tables.Routers.Put(tx, id, model.Router{ID: id, RouterPlane: model.RouterPlane{Key: c.nextKey(), AdminStateUp: !chance(12), EnableSNAT: !chance(4)}})
		}
		for _, n := range nets {
			if chance(8) {
				continue
			}
			id := model.RouterID(fmt.Sprint("r", r.IntN(routers)))
			if n == "n3" && slices.Contains(legs, leg{id, "n1"}) {
				continue // they overlap
			}
			ips := []string{}
			for _, s := range subnetsOf(tx, n) {
				if s.CIDR.Addr().Is4() || chance(2) {
					ips = append(ips, s.Gateway.String())
				}
			}
			c.join(tx, model.PortID(fmt.Sprintf("if-%s-%s", id, n)), id, n, model.OwnerRouterInterface, strings.Join(ips, " "))
			legs = append(legs, leg{id, n})
			tell("router %s joins %s as %v", id, n, ips)
			if chance(2) && n != "n1" && n != "n3" { // a second router on the network, that others may have routes by
				other := model.RouterID(fmt.Sprint("r", r.IntN(routers)))
				if other != id {
					c.join(tx, model.PortID(fmt.Sprintf("if-%s-%s", other, n)), other, n, model.OwnerRouterInterface, subnetsOf(tx, n)[0].CIDR.Addr().Next().Next().String())
					legs = append(legs, leg{other, n})
					tell("router %s joins %s too", other, n)
				}
			}
		}
		for i := range routers {
			id := model.RouterID(fmt.Sprint("r", i))
			if !chance(5) {
				ips := fmt.Sprintf("172.16.1.%d fd16::%d", 10+i, 10+i)
				if chance(3) {
					ips, _, _ = strings.Cut(ips, " ")
				}
				c.join(tx, model.PortID(fmt.Sprint("gw-", id)), id, "ext", model.OwnerRouterGateway, ips)
				if chance(2) {
					c.place(tx, id, "gw")
				}
				tell("router %s has the gateway %s", id, ips)
			}
		}
	})
	c.do(func(tx *store.Txn) {
		var vms []model.PortID
		for i := range 9 {
			id, n := model.PortID(fmt.Sprintf("v%d-00000000", i)), nets[r.IntN(len(nets))]
			ips := []string{}
			for _, s := range subnetsOf(tx, n) {
				if s.CIDR.Addr().Is4() || chance(2) {
					a := s.CIDR.Addr().As16()
					a[15] = byte(20 + i)
					if ip := netip.AddrFrom16(a).Unmap(); ip.Is4() {
						ips = append([]string{ip.String()}, ips...)
					} else {
						ips = append(ips, ip.String())
					}
				}
			}
			c.vm(tx, id, n, campusNodes[i%3], strings.Join(ips, " "))
			p, _ := tables.Ports.Get(tx, id)
			p.SecurityGroups = [][]model.SecurityGroupID{{"g"}, {"g"}, {"g"}, {"g", "g0"}, {"g", "g1"}, {"g1"}, {"g0", "g1"}, nil}[r.IntN(8)]
			if chance(8) {
				p.PortSecurity, p.SecurityGroups = false, nil
			}
			if err := alloc.PutPort(tx, p); err != nil {
				t.Fatal(err)
			}
			vms = append(vms, id)
			tell("%s on %s of %s has %v, groups %v", id, campusNodes[i%3], n, ips, p.SecurityGroups)
		}
		for i, vm := range vms {
			p, _ := tables.Ports.Get(tx, vm)
			for _, l := range legs {
				if gw, ok := tables.Routers.Get(tx, l.router); ok && l.net == p.Network && gw.GatewayPort != "" && !chance(3) {
					addr := fmt.Sprintf("172.16.1.%d", 30+i)
					id := model.FloatingIPID(fmt.Sprint("f", i))
					c.float(tx, id, addr, vm, l.router)
					tell("%s is %s by router %s", addr, vm, l.router)
					if f, _ := tables.FloatingIPs.Get(tx, id); chance(2) {
						fp, _ := tables.Ports.Get(tx, f.FloatPort)
						tables.Neighbours.Put(tx, model.NeighbourKey("ext", f.Addr), model.Neighbour{Network: "ext", Addr: f.Addr, MAC: fp.MAC})
					}
					break
				}
			}
		}
		for i, l := range legs { // a floating IP whose ports are forwarded, to instances of one network
			var to []model.PortID
			for _, vm := range vms {
				if p, _ := tables.Ports.Get(tx, vm); p.Network == l.net {
					to = append(to, vm)
				}
			}
			if gw, ok := tables.Routers.Get(tx, l.router); !ok || gw.GatewayPort == "" || len(to) == 0 || chance(4) {
				continue
			}
			proto := []string{"udp", "udp", "tcp"}[r.IntN(3)]
			var all []forwards
			for j, v := range [][2]model.PortRange{{ports(22, 22), ports(22, 22)}, {ports(23, 23), ports(22, 22)}, {ports(20, 27), ports(22, 22)}, {ports(18, 28), ports(18, 28)},
				{ports(21, 24), ports(20, 23)}} {
				if len(all) > 0 && (v[0].Size() > 1 || all[0].external.Overlaps(v[0])) || chance(3) {
					continue
				}
				all = append(all, forwards{model.PortForwardingID(fmt.Sprint("pf", i, "-", j)), proto, v[0], to[r.IntN(len(to))], v[1]})
			}
			addr := fmt.Sprintf("172.16.1.%d", 50+i)
			c.forward(tx, model.FloatingIPID(fmt.Sprint("ff", i)), addr, l.router, all...)
			tell("%s by router %s forwards %+v", addr, l.router, all)
		}
		for _, l := range legs { // extra routes into networks of others, by another router
			for rp := range tables.RouterPortsByNetwork.By(tx, string(l.net)) {
				router, _ := tables.Routers.Get(tx, l.router)
				to := subnetsOf(tx, nets[r.IntN(len(nets))])[0].CIDR
				if chance(4) {
					to = netip.MustParsePrefix("10.0.0.0/8")
				}
				if rp.Router != l.router && rp.FixedIPs[0].Addr.Is4() && !chance(4) {
					router.Routes = append(router.Routes, model.Route{Destination: to, NextHop: rp.FixedIPs[0].Addr})
					tables.Routers.Put(tx, router.ID, router)
					tell("router %s: %s by router %s, %s", l.router, to, rp.Router, rp.FixedIPs[0].Addr)
				}
			}
		}
		for _, l := range legs { // extra routes, by an instance or another router, or to nobody
			if !chance(2) {
				continue
			}
			router, _ := tables.Routers.Get(tx, l.router)
			s := subnetsOf(tx, l.net)[0]
			hop := s.CIDR.Addr().Next().Next()
			for _, vm := range vms {
				if p, _ := tables.Ports.Get(tx, vm); p.Network == l.net && !chance(4) {
					hop = p.FixedIPs[0].Addr
				}
			}
			dst := netip.MustParsePrefix([]string{"192.168.0.0/16", "192.168.7.0/24", "198.51.100.0/24", "10.9.0.0/16"}[r.IntN(4)])
			if slices.ContainsFunc(router.Routes, func(x model.Route) bool { return x.Destination == dst }) {
				continue
			}
			router.Routes = append(router.Routes, model.Route{Destination: dst, NextHop: hop})
			tables.Routers.Put(tx, router.ID, router)
			tell("router %s: %s by %s", l.router, dst, hop)
		}
		if !chance(5) {
			c.resolved(tx, outsideIP)
			c.resolved(tx, "fd16::1")
		}
	})
	return c, told
}

// subnetsOf are a network's subnets, those of IPv4 first.
func subnetsOf(r store.Reader, n model.NetworkID) (out []model.Subnet) {
	for _, v4 := range []bool{true, false} {
		if s, ok := tables.Subnets.Get(r, subnetOf(n, v4)); ok {
			out = append(out, s)
		}
	}
	return out
}

// anything is a packet that comes in to a node by an instance, a tunnel or the wire, mostly to somebody who might take it, and what
// kind of destination it has.
func (c *campus) anything(r *rand.Rand, node string) (sim.Packet, string) {
	any := func(from ...string) string { return from[r.IntN(len(from))] }
	snap := c.st.Snapshot()
	var doors []string
	for _, f := range c.f.flows(node) {
		if f.Table == 0 && f.Priority == pipeline.PrioPort {
			doors = append(doors, strings.ReplaceAll(f.Match.String(), ",vlan_tci=0x0000/0x1fff", ""))
		}
	}
	var own *model.Port
	door := any(doors...)
	macs, routers := []string{}, []string{} // of the door's network, and of its routers
	addr := map[string][]string{"extra": {"192.168.7.7", "192.168.1.1", "198.51.100.9", "10.9.9.9"}, "outside": {"8.8.8.8", "172.16.1.77", "2001:db8::8"}}
	ports := portsOf(snap)
	home := c.behind(door)
	for i, p := range ports {
		if strings.Contains(door, "dl_src="+p.MAC.String()) {
			own, home = &ports[i], p.Network
		}
	}
	for _, p := range ports {
		if p.Network == home && p.IsRouterPort() {
			routers = append(routers, p.MAC.String())
		} else if p.Network == home {
			macs = append(macs, p.MAC.String())
		}
		kind := "routed"
		if p.IsRouterPort() {
			kind = "echo"
		} else if p.DeviceOwner == model.OwnerFloatingIP {
			kind = "floating"
			if fip, _ := tables.FloatingIPsByAddress.First(snap, tables.AddressKey(p.Network, p.FixedIPs[0].Addr)); fip.Port == "" {
				kind = "forwarded"
			}
		}
		for _, f := range p.FixedIPs {
			addr[kind] = append(addr[kind], f.Addr.String())
		}
	}
	macs = append(macs, "fa:16:3e:ff:ff:01", "ff:ff:ff:ff:ff:ff")
	kinds := []string{"routed", "routed", "routed", "echo", "floating", "forwarded", "outside", "extra"}
	if home == "ext" {
		kinds = []string{"routed", "echo", "floating", "floating", "floating", "forwarded", "forwarded"}
	}
	kind := any(kinds...)
	for len(addr[kind]) == 0 {
		kind = any(kinds...)
	}
	dst := any(addr[kind]...)
	for range 4 { // of a family that the sender has, mostly
		if own != nil && !slices.ContainsFunc(own.FixedIPs, func(f model.FixedIP) bool { return f.Addr.Is4() == netip.MustParseAddr(dst).Is4() }) {
			dst = any(addr[kind]...)
		}
	}
	text, to := door, any(macs...)
	if len(routers) > 0 && r.IntN(6) > 0 {
		to = any(routers...)
	}
	for _, p := range ports { // on the wire a floating IP has a MAC address of its own
		if (kind == "floating" || kind == "forwarded") && home == "ext" && p.FixedIPs[0].Addr.String() == dst && r.IntN(6) > 0 {
			to = p.MAC.String()
		}
	}
	v4 := netip.MustParseAddr(dst).Is4()
	src := map[bool]string{true: "8.8.4.4", false: "2001:db8::4"}[v4]
	if own != nil {
		for _, f := range own.FixedIPs {
			if f.Addr.Is4() == v4 && r.IntN(10) > 0 {
				src = f.Addr.String()
			}
		}
	} else {
		from := any(append(macs, neighbour.String())...)
		if home != "ext" && len(routers) > 0 && r.IntN(2) == 0 {
			from = any(routers...)
		}
		text += ",dl_src=" + from
		if home != "ext" {
			if k := any("routed", "routed", "outside"); len(addr[k]) > 0 {
				if a := any(addr[k]...); netip.MustParseAddr(a).Is4() == v4 {
					src = a
				}
			}
			// To an instance of the network, as a frame that another node routed already.
			for _, p := range ports {
				if p.Network == home && !p.IsRouterPort() && r.IntN(3) == 0 && p.FixedIPs[0].Addr.Is4() == v4 {
					dst, to = p.FixedIPs[0].Addr.String(), p.MAC.String()
				}
			}
		}
	}
	text += ",dl_dst=" + to
	ttl := any("1", "2", "64", "64", "64", "64", "64", "64", "64", "64")
	family := map[bool]string{true: "nw", false: "ipv6"}[v4]
	switch n := r.IntN(10); {
	case n == 0 && v4:
		kind = "arp"
		text += fmt.Sprintf(",arp,arp_op=%s,arp_spa=%s,arp_tpa=%s", any("1", "1", "2"), src, dst)
	case n <= 2 || kind == "echo" && n < 8:
		proto, types := "icmp", []string{"8", "8", "0"}
		if !v4 {
			proto, types = "icmp6", []string{"128", "128", "129"}
		}
		text += fmt.Sprintf(",%s,icmp_type=%s,icmp_code=0,%s_src=%s,%s_dst=%s,nw_ttl=%s", proto, any(types...), family, src, family, dst, ttl)
	default:
		proto := map[bool]string{true: "", false: "6"}[v4]
		l4, port := any("udp", "udp", "tcp"), any("22", "22", "22", "22", "22", "23")
		if fip, ok := tables.FloatingIPsByAddress.First(snap, tables.AddressKey("ext", netip.MustParseAddr(dst))); ok && fip.Port == "" {
			for f := range tables.PortForwardingsByFloating.By(snap, string(fip.ID)) { // a port that is forwarded, or the one before
				if n := r.IntN(f.External.Size() + 1); r.IntN(2) == 0 {
					l4, port = f.Protocol, fmt.Sprint(int(f.External.To)-n)
				}
			}
		}
		text += fmt.Sprintf(",%s,%s_src=%s,%s_dst=%s,nw_ttl=%s,tp_src=1000,tp_dst=%s", l4+proto, family, src, family, dst, ttl, port)
	}
	p, err := sim.Parse(text)
	if err != nil {
		c.t.Fatalf("%s: %v", text, err)
	}
	p.Length = []int{100, 100, 1430, 1480, 1600}[r.IntN(5)]
	return p, kind
}

// behind is the network whose frames come in by a door of a tunnel or of the wire; "": by an instance.
func (c *campus) behind(door string) model.NetworkID {
	for id, n := range tables.Networks.All(c.st.Snapshot()) {
		tunnel := strings.Contains(door, "tun_id=")
		switch {
		case tunnel && strings.Contains(door+",", fmt.Sprintf("tun_id=%#x,", n.SegmentationID)) && n.Type != model.VLAN && n.Type != model.Flat,
			!tunnel && n.Type == model.VLAN && strings.Contains(door+",", fmt.Sprintf("dl_vlan=%d,", n.SegmentationID)),
			!tunnel && n.Type == model.Flat && !strings.Contains(door, "dl_vlan=") && !strings.Contains(door, "dl_src="):
			return model.NetworkID(id)
		}
	}
	return ""
}
