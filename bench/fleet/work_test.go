// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestWork holds the arithmetic to what the peers' runner computes.
func TestWork(t *testing.T) {
	type place struct {
		net, node, tenant           int
		ip, mac, tap, cidr, gateway string
		id                          string
	}
	for _, c := range []struct {
		w    work
		p    int
		want place
	}{
		{work{10, 1000, 4}, 17, place{7, 0, 1, "10.0.112.11", "fa:16:3e:00:00:11", "tap000011", "10.0.112.0/20", "10.0.112.1", "7adff632-0000-0000-0000-000000000011"}},
		{work{10, 1000, 4}, 999, place{9, 0, 1, "10.0.144.109", "fa:16:3e:00:03:e7", "tap0003e7", "10.0.144.0/20", "10.0.144.1", "7adff632-0000-0000-0000-0000000003e7"}},
		{work{100, 5000, 4}, 17, place{17, 1, 3, "10.1.16.10", "fa:16:3e:00:00:11", "tap000011", "10.1.16.0/20", "10.1.16.1", "7adff632-0000-0000-0000-000000000011"}},
		{work{100, 5000, 4}, 4999, place{99, 0, 19, "10.6.48.59", "fa:16:3e:00:13:87", "tap001387", "10.6.48.0/20", "10.6.48.1", "7adff632-0000-0000-0000-000000001387"}},
		{work{1, 40, 2}, 39, place{0, 1, 0, "10.0.0.49", "fa:16:3e:00:00:27", "tap000027", "10.0.0.0/20", "10.0.0.1", "7adff632-0000-0000-0000-000000000027"}},
	} {
		n := c.w.netOf(c.p)
		got := place{n, c.w.nodeOf(c.p), c.w.tenantOf(n), c.w.ip(c.p), c.w.mac(c.p), c.w.tap(c.p), c.w.cidr(n).String(), c.w.gateway(n), c.w.id(c.p)}
		if got != c.want {
			t.Errorf("%v, port %d: %+v, want %+v", c.w, c.p, got, c.want)
		}
	}
	w := work{10, 1000, 4}
	if got := w.tenants(); got != 2 {
		t.Errorf("%v: %d tenants", w, got)
	}
	for _, routed := range []bool{false, true} {
		pairs, across := w.pairs(24, routed), 0
		for _, p := range pairs {
			if w.netOf(p[0]) != w.netOf(p[1]) {
				across++
			}
			if w.tenantOf(w.netOf(p[0])) != w.tenantOf(w.netOf(p[1])) || p[0] == p[1] || p[1] >= w.ports {
				t.Errorf("%v: pair %v", w, p)
			}
		}
		if want := map[bool]int{true: 12}[routed]; len(pairs) != 24 || across != want {
			t.Errorf("%v: %d pairs, %d of them across a router, want 24 and %d", w, len(pairs), across, want)
		}
	}
	if got := (work{1, 40, 2}).pairs(24, true); len(got) != 24 {
		t.Errorf("one network: %d pairs", len(got))
	}
	if got := (work{10, 10, 4}).pairs(24, false); got != nil {
		t.Errorf("pairs of networks with one port: %v", got)
	}
}

func TestVTEP(t *testing.T) {
	for i, want := range map[int]string{0: "172.31.0.1", 249: "172.31.0.250", 250: "172.31.1.1"} {
		if got := vtep(i).String(); got != want {
			t.Errorf("vtep(%d) = %s, want %s", i, got, want)
		}
	}
}

func TestParse(t *testing.T) {
	o, err := parse([]string{"-nodes", "2, 4", "-rows", "3,9"}, io.Discard)
	if err != nil || !slices.Equal(o.nodes, []int{2, 4}) || !o.wants("9") || o.wants("1", "2") {
		t.Errorf("%+v, %v", o, err)
	}
	for _, bad := range [][]string{{"-nodes", "0"}, {"-base", "many"}, {"something"}, {"-colour"}} {
		if _, err := parse(bad, io.Discard); err == nil {
			t.Errorf("%v: no error", bad)
		}
	}
}

// TestDiscover holds what no reader of the frame would forgive: lengths and the checksum.
func TestDiscover(t *testing.T) {
	f := discover("fa:16:3e:00:00:01", 0x01020304)
	src, _ := net.ParseMAC("fa:16:3e:00:00:01")
	if !bytes.Equal(f[6:12], src) || !bytes.Equal(f[14+20+8+28:][:6], src) {
		t.Errorf("addresses: % x", f[:80])
	}
	ip := f[14:]
	if n := int(ip[2])<<8 | int(ip[3]); n != len(ip) {
		t.Errorf("IP length %d of %d", n, len(ip))
	}
	if n := int(ip[24])<<8 | int(ip[25]); n != len(ip)-20 {
		t.Errorf("UDP length %d of %d", n, len(ip)-20)
	}
	sum := 0
	for i := 0; i < 20; i += 2 {
		sum += int(ip[i])<<8 | int(ip[i+1])
	}
	if sum = sum>>16 + sum&0xffff; sum != 0xffff {
		t.Errorf("IP checksum: sum %x", sum)
	}
}

func TestMedianBy(t *testing.T) {
	if got := medianBy([]time.Duration{5, 1, 9}, func(d time.Duration) time.Duration { return d }); got != 5 {
		t.Errorf("median %d", got)
	}
	if got := percentile([]time.Duration{5, 1, 9, 2}, .99); got != 9 {
		t.Errorf("p99 %d", got)
	}
}
