// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"nagare/internal/pipeline"
)

// marker is an Ethernet type for local experiments (IEEE 802, clause 9.2.3): nobody else's frames have it.
const marker = 0x88b5

var broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// frame is an Ethernet frame, padded to the least length.
func frame(dst, src net.HardwareAddr, kind uint16, payload []byte) []byte {
	b := slices.Concat(dst, src, binary.BigEndian.AppendUint16(nil, kind), payload)
	return append(b, make([]byte, max(0, 60-len(b)))...)
}

// datagram is an IPv4 broadcast by UDP (RFC 791, 768), without UDP checksum.
func datagram(src string, from, to uint16, data string) []byte {
	udp := binary.BigEndian.AppendUint16(nil, from)
	udp = binary.BigEndian.AppendUint16(udp, to)
	udp = binary.BigEndian.AppendUint16(udp, uint16(8+len(data)))
	udp = append(append(udp, 0, 0), data...)
	ip := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0}
	ip = append(append(ip, net.ParseIP(src).To4()...), 255, 255, 255, 255)
	binary.BigEndian.PutUint16(ip[2:], uint16(20+len(udp)))
	binary.BigEndian.PutUint16(ip[10:], checksum(ip))
	return append(ip, udp...)
}

func mac(s *site, text string) net.HardwareAddr {
	s.t.Helper()
	m, err := net.ParseMAC(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

// spoofing: what an instance must not send is dropped where it should be and reaches nobody, on neither node. A frame that it
// may send follows, and when that has arrived, the others would have.
func spoofing(s *site) {
	vm01, vm02 := s.instance("vm01"), s.instance("vm02")
	own := mac(s, vm01.MAC)
	address := s.leased("vm01")
	for _, c := range []struct {
		what  string
		table uint8 // that drops it
		frame []byte
	}{
		{"another source MAC", 0, frame(broadcast, net.HardwareAddr{0xfa, 0x16, 0x3e, 0, 0, 1}, 0x0800, datagram(address, 9, 9, "spoofed"))},
		{"another instance's MAC", 0, frame(broadcast, mac(s, vm02.MAC), 0x0800, datagram(address, 9, 9, "spoofed"))},
		{"a DHCP server's answer", 40, frame(broadcast, own, 0x0800, datagram(address, 67, 68, "spoofed"))},
		{"another source address", 40, frame(broadcast, own, 0x0800, datagram("10.11.12.99", 9, 9, "spoofed"))},
		{"another instance's address", 40, frame(broadcast, own, 0x0800, datagram(s.leased("vm02"), 9, 9, "spoofed"))},
		{"a type that is neither ARP nor IP", 40, frame(broadcast, own, marker, []byte("spoofed"))},
	} {
		before := s.countedDrops(compute, c.table)
		from := s.tap("vm01", "eth0")
		near, far := s.tap("vm02", "eth0"), s.tap("vm03", "eth0")
		const n = 20
		for range n {
			from.send(c.frame)
		}
		good := frame(broadcast, own, 0x0800, datagram(address, 9, 9, "the last one, "+c.what))
		from.send(good)
		for where, w := range map[string]*wire{"vm02 on the same node": near, "vm03 on the other node": far} {
			for _, f := range w.until(settleWithin, func(f []byte) bool { return bytes.Equal(f, good) }) {
				if bytes.Contains(f, []byte("spoofed")) {
					s.t.Errorf("%s from vm01 reached %s: % x", c.what, where, f)
				}
			}
		}
		s.eventually(settleWithin, fmt.Sprintf("%s is counted by a flow of table %d that drops", c.what, c.table), func() error {
			if got := s.countedDrops(compute, c.table) - before; got < n {
				return fmt.Errorf("they counted %d more packets, want %d", got, n)
			}
			return nil
		})
	}
}

// countedDrops is how many packets the dropping flows of a table have counted.
func (s *site) countedDrops(node string, table uint8) (n uint64) {
	s.t.Helper()
	fs, err := s.dump(node)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range fs {
		if f.Table == table && pipeline.Drops(f.Actions) {
			n += f.Packets
		}
	}
	return n
}

// leased is an instance's address.
func (s *site) leased(name string) string {
	s.t.Helper()
	out, err := s.in(name, "ip", "-4", "-brief", "address", "show", "dev", "eth0")
	fields := strings.Fields(out)
	if err != nil || len(fields) < 3 {
		s.t.Fatalf("%s: %v: %s", name, err, out)
	}
	address, _, _ := strings.Cut(fields[2], "/")
	return address
}

// deletion: with an instance goes every flow that names its MAC, its address or its port, on both nodes, and nothing else.
func deletion(s *site) {
	before := map[string][]string{controller: s.mustFlows(controller), compute: s.mustFlows(compute)}
	address := s.boot("vm09", "net01", compute)
	i := s.instance("vm09")
	port := s.mustInterfaces(compute)[i.tap()].OFPort
	traces := func(node string) (found []string, err error) {
		fs, err := s.flows(node)
		for _, f := range fs {
			words := strings.FieldsFunc(f, func(r rune) bool { return strings.ContainsRune(" ,=", r) })
			named := slices.Contains(words, i.MAC) || slices.Contains(words, address)
			if node == compute {
				named = named || strings.Contains(f+",", "in_port="+port+",") || slices.Contains(words, "output:"+port)
			}
			if named {
				found = append(found, f)
			}
		}
		return found, err
	}
	for node, least := range map[string]int{controller: 1, compute: 7} {
		found, err := traces(node)
		if err != nil || len(found) < least {
			s.t.Fatalf("%s: while vm09 is there, %d flows name it, want at least %d (%v)", node, len(found), least, err)
		}
	}
	s.must(s.lab("instance", "rm", "vm09")...)
	for _, node := range []string{controller, compute} {
		s.eventually(settleWithin, "no flow of "+node+" names the deleted instance", func() error {
			found, err := traces(node)
			if err == nil && len(found) > 0 {
				err = fmt.Errorf("%d do:\n%s", len(found), strings.Join(found, "\n"))
			}
			return err
		})
		s.wantFlows(settleWithin, node, before[node])
	}
}

// plug joins an interface to a node's br-int under a port's id.
func (s *site) plug(node, link, portID, mac string) {
	s.t.Helper()
	s.ovs(node, "ovs-vsctl", "--may-exist", "add-port", "br-int", link, "--", "set", "Interface", link,
		"external_ids:iface-id="+portID, `external_ids:attached-mac="`+mac+`"`, "external_ids:iface-status=active")
}

// unplugging: a port whose interface goes is DOWN, and ACTIVE again with all its flows when the interface is back.
func unplugging(s *site) {
	demo := s.user("demo")
	vm02 := s.instance("vm02")
	before := s.mustFlows(controller)
	s.ovs(compute, "ovs-vsctl", "del-port", "br-int", vm02.tap())
	demo.wantStatus(vm02.PortID, "DOWN")
	s.eventually(settleWithin, "no flow of compute names the unplugged port", func() error {
		fs, err := s.flows(compute)
		for _, f := range fs {
			if strings.Contains(f, "dl_src="+vm02.MAC) {
				return fmt.Errorf("this one does: %s", f)
			}
		}
		return err
	})
	s.plug(compute, vm02.tap(), vm02.PortID, vm02.MAC)
	demo.wantStatus(vm02.PortID, "ACTIVE")
	s.wantFlows(settleWithin, controller, before)
	s.reaches("vm02", "vm01", "vm03")
}

// wrongHost: a port that is bound to one node and plugged into another is DOWN, has no flows, and is reported.
func wrongHost(s *site) {
	demo, admin := s.user("demo"), s.user("admin")
	before := map[string][]string{controller: s.mustFlows(controller), compute: s.mustFlows(compute)}
	var nets struct{ Networks []struct{ ID string } }
	var body struct{ Port port }
	err := demo.ask(200, "GET", demo.neutron("/networks?name=net01"), nil, &nets)
	if err == nil {
		err = admin.ask(201, "POST", admin.neutron("/ports"), map[string]any{"port": map[string]any{"network_id": nets.Networks[0].ID, "name": "astray",
			"device_owner": "compute:nova", "binding:host_id": controller}}, &body)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	p := body.Port
	s.ovs(compute, "ovs-vsctl", "add-port", "br-int", "astray", "--", "set", "Interface", "astray", "type=internal",
		"external_ids:iface-id="+p.ID, `external_ids:attached-mac="`+p.MAC+`"`)
	s.eventually(settleWithin, "the conflict is reported", func() error {
		nodes, err := admin.nodes()
		if err == nil && !strings.Contains(strings.Join(nodes[compute].Conflicts, "\n"), p.ID) {
			err = fmt.Errorf("node compute reports the conflicts %v", nodes[compute].Conflicts)
		}
		return err
	})
	if n := admin.settled(settleWithin, controller, compute)[controller]; len(n.Conflicts) != 0 {
		s.t.Errorf("the controller node reports conflicts too: %v", n.Conflicts)
	}
	have, err := admin.port(p.ID)
	if err != nil || have.Status != "DOWN" {
		s.t.Errorf("the port is %q (%v), want DOWN", have.Status, err)
	}
	for _, node := range []string{controller, compute} {
		s.wantFlows(settleWithin, node, before[node])
	}
	s.ovs(compute, "ovs-vsctl", "del-port", "br-int", "astray")
	if err := admin.ask(204, "DELETE", admin.neutron("/ports/"+p.ID), nil, nil); err != nil {
		s.t.Error(err)
	}
	s.eventually(settleWithin, "the conflict is gone", func() error {
		nodes, err := admin.nodes()
		if err == nil && len(nodes[compute].Conflicts) != 0 {
			err = fmt.Errorf("node compute reports the conflicts %v", nodes[compute].Conflicts)
		}
		return err
	})
}

// reaches waits until one instance pings others.
func (s *site) reaches(from string, others ...string) {
	s.t.Helper()
	for _, to := range others {
		address := s.leased(to)
		s.eventually(settleWithin, from+" reaches "+to, func() error {
			out, err := s.in(from, "ping", "-c", "1", "-W", "1", address)
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
	}
}

// leases lets an instance ask for its address once more and throws the answer away.
func (s *site) leases(name string) {
	s.t.Helper()
	began := time.Now()
	s.eventually(settleWithin, name+" gets an answer by DHCP", func() error {
		out, err := s.in(name, "busybox", "udhcpc", "-f", "-q", "-n", "-i", "eth0", "-s", "/bin/true", "-t", "3", "-T", "1", "-A", "1")
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	s.t.Logf("%s got an answer by DHCP after %v", name, time.Since(began).Round(time.Millisecond))
}
