// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/ovstest"
	"nagare/internal/southbound"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// nativeSite is a server's southbound half with native DHCP, and one real switch whose ports are streams that the test holds.
type nativeSite struct {
	t   testing.TB
	st  *store.Store
	hub *southbound.Hub
	sw  *ovstest.Switch
}

func newNativeSite(t testing.TB, rate int) *nativeSite {
	t.Helper()
	cfg := Defaults()
	cfg.PuntRate, cfg.LLDP = rate, 3600
	if err := cfg.complete(); err != nil {
		t.Fatal(err)
	}
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	ovsdb, of := listen(), listen()
	cfg.OpenFlowPort = of.Addr().(*net.TCPAddr).Port
	s := &nativeSite{t: t, st: store.New(tables.Schema, nil)}
	srv := &Server{cfg: cfg, log: slog.New(slog.DiscardHandler), store: s.st}
	s.hub = southbound.New(srv.southbound(srv.log))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 3)
	go func() { ended <- s.hub.Run(ctx) }()
	go func() { ended <- s.hub.Serve(ctx, ovsdb, s.hub.ServeOVSDB) }()
	go func() { ended <- s.hub.Serve(ctx, of, s.hub.ServeOpenFlow) }()
	t.Cleanup(func() {
		cancel()
		for range 3 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
	s.sw = ovstest.Start(t)
	s.sw.Vsctl("set", "Open_vSwitch", ".", "external_ids:hostname=compute", "external_ids:ovn-bridge-datapath-type=dummy", "other_config:local_ip=192.0.2.1")
	s.sw.Vsctl("set-manager", "tcp:"+ovsdb.Addr().String())
	commit(t, s.st, func(tx *store.Txn) {
		tables.Networks.Put(tx, "net", model.Network{ID: "net", NetworkPlane: model.NetworkPlane{Key: 1, Type: model.VXLAN, SegmentationID: 77, MTU: 1450, AdminStateUp: true}})
		tables.Subnets.Put(tx, "sub", model.Subnet{ID: "sub", SubnetPlane: model.SubnetPlane{Key: 1, Network: "net", EnableDHCP: true,
			CIDR: netip.MustParsePrefix("10.0.0.0/24"), Gateway: netip.MustParseAddr("10.0.0.1")}})
		p := nativePort("dhcp", 2)
		p.Host, p.DeviceOwner, p.PortSecurity = "", model.OwnerDHCP, false
		if err := alloc.PutPort(tx, p); err != nil {
			t.Error(err)
		}
	})
	return s
}

func nativePort(id model.PortID, n byte) model.Port {
	return model.Port{ID: id, PortPlane: model.PortPlane{Key: model.Key(n), Network: "net", MAC: model.MAC{0xfa, 0x16, 0x3e, 0, 0, n}, Host: "compute", AdminStateUp: true,
		PortSecurity: true, DeviceOwner: "compute:nova", FixedIPs: []model.FixedIP{{Subnet: "sub", Addr: netip.AddrFrom4([4]byte{10, 0, 0, n})}}}}
}

// stream is an instance's end of a port: frames with their length before them, which is how Open vSwitch's dummy devices speak.
type stream struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

// plug makes a port with an interface that the test holds, and waits until it is ACTIVE.
func (s *nativeSite) plug(n byte) *stream {
	s.t.Helper()
	id := model.PortID(fmt.Sprintf("%08d-1111", n))
	commit(s.t, s.st, func(tx *store.Txn) {
		if err := alloc.PutPort(tx, nativePort(id, n)); err != nil {
			s.t.Error(err)
		}
	})
	path := filepath.Join(s.sw.Dir, string(id))
	l, err := net.Listen("unix", path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer l.Close()
	if err := ovstest.Poll(time.Minute, func() error { return s.bridge() }); err != nil {
		s.t.Fatal(err)
	}
	s.sw.Vsctl("add-port", "br-int", id.TapName(), "--", "set", "Interface", id.TapName(), "type=dummy", "external_ids:iface-id="+string(id), "options:stream=unix:"+path)
	c, err := l.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	if err := ovstest.Poll(time.Minute, func() error {
		if p, _ := tables.Statuses.Get(s.st.Snapshot(), id); p.Status != model.StatusActive {
			return fmt.Errorf("port %s is %q %s", id, p.Status, p.Reason)
		}
		return nil
	}); err != nil {
		s.t.Fatal(err)
	}
	return &stream{s.t, c, bufio.NewReader(c)}
}

// bridge tells whether the node's bridge is there and in step.
func (s *nativeSite) bridge() error {
	infos, err := s.hub.Nodes(s.t.Context())
	if err != nil || len(infos) != 1 || !infos[0].InSync {
		return fmt.Errorf("nodes %+v %v", infos, err)
	}
	return nil
}

func (c *stream) send(frames ...[]byte) {
	c.t.Helper()
	var b []byte
	for _, f := range frames {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(f))), f...)
	}
	if _, err := c.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// answer reads the next DHCP answer; nil if none comes in time.
func (c *stream) answer(wait time.Duration) []byte {
	c.t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
		c.t.Fatal(err)
	}
	for {
		var n [2]byte
		if _, err := io.ReadFull(c.r, n[:]); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return nil
			}
			c.t.Fatal(err)
		}
		f := make([]byte, binary.BigEndian.Uint16(n[:]))
		if _, err := io.ReadFull(c.r, f); err != nil {
			c.t.Fatal(err)
		}
		if len(f) > 300 && f[12] == 8 && f[13] == 0 && f[23] == 17 && f[37] == 68 {
			return f
		}
	}
}

// discover is a client's first message, with its transaction id.
func discover(src, chaddr byte, xid uint32) []byte {
	const vm = "\xfa\x16\x3e\x00\x00"
	f := append(bytes.Repeat([]byte{255}, 6), vm+string(rune(src))...)
	f = append(f, "\x08\x00\x45\x00\x01\x10\x00\x00\x00\x00\x40\x11\x79\xde\x00\x00\x00\x00\xff\xff\xff\xff\x00\x44\x00\x43\x00\xfc\x00\x00\x01\x01\x06\x00"...)
	f = binary.BigEndian.AppendUint32(f, xid)
	f = append(append(f, make([]byte, 20)...), vm+string(rune(chaddr))...)
	f = append(f, make([]byte, 10+192)...)
	return append(f, "\x63\x82\x53\x63\x35\x01\x01\xff"...)
}

func xidOf(f []byte) uint32 { return binary.BigEndian.Uint32(f[46:]) }

// TestNativeDHCPOnASwitch sends real requests through the real pipeline: the port's own is answered with its address; a made-up
// client's is not; a port that floods is cut to its rate, and its neighbour does not feel it.
func TestNativeDHCPOnASwitch(t *testing.T) {
	s := newNativeSite(t, 20)
	c := s.plug(3)
	c.send(discover(3, 9, 1), discover(9, 9, 2), discover(9, 3, 3), discover(3, 3, 4))
	f := c.answer(time.Minute)
	if f == nil || xidOf(f) != 4 || !bytes.Equal(f[58:62], []byte{10, 0, 0, 3}) || !bytes.Equal(f[6:12], []byte{0xfa, 0x16, 0x3e, 0, 0, 2}) {
		t.Fatalf("answer %x, want one to the port's own request", f)
	}
	neighbour := s.plug(4)
	const flood = 400
	frames := make([][]byte, flood)
	for i := range frames {
		frames[i] = discover(3, 3, uint32(100+i))
	}
	began := time.Now()
	c.send(frames...)
	neighbour.send(discover(4, 4, 7))
	if f := neighbour.answer(time.Minute); f == nil || xidOf(f) != 7 || !bytes.Equal(f[58:62], []byte{10, 0, 0, 4}) {
		t.Errorf("the neighbour of a flood got %x", f)
	}
	got := 0
	for patience := time.Minute; c.answer(patience) != nil; patience = time.Second {
		got++
	}
	// The bucket holds one second's worth, and fills while the flood lasts.
	if limit := 20 * (2 + int(time.Since(began)/time.Second)); got == 0 || got > limit {
		t.Errorf("%d of %d requests answered, want some and no more than %d", got, flood, limit)
	}
}

// BenchmarkNativeDHCP is a DISCOVER that comes in by a port of a real switch until its OFFER goes out there: the switch's slow path,
// its meter, two OpenFlow messages and the answer. Sixty-four are in flight.
func BenchmarkNativeDHCP(b *testing.B) {
	s := newNativeSite(b, maxPuntRate)
	c := s.plug(3)
	request := discover(3, 3, 1)
	c.send(request)
	if c.answer(time.Minute) == nil {
		b.Fatal("no answer")
	}
	b.ResetTimer()
	sent, got := 0, 0
	for got < b.N {
		for sent < b.N && sent-got < 64 {
			c.send(request)
			sent++
		}
		if c.answer(10*time.Second) == nil {
			b.Fatalf("%d sent, %d answered", sent, got)
		}
		got++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "answers/s")
}
