// SPDX-License-Identifier: Apache-2.0

package nodedhcp

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"nagare/internal/responder"
)

// maxFrame is the largest frame that is read; a longer one is cut and then
// refused by the responder because its length does not fit.
const maxFrame = 65536

// tap is a raw socket on one interface and the goroutine that answers on it.
type tap struct {
	name    string
	index   int
	network atomic.Pointer[responder.Network]
	socket  *os.File
	stop    chan struct{} // closed by close
	done    chan struct{} // closed when serve has ended
}

// openTap opens a packet socket (packet(7)) bound to the interface. The socket
// is made with protocol 0, so it receives nothing before it is bound.
func openTap(name string, index int, network *responder.Network) (*tap, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("raw socket: %w", err)
	}
	fail := func(what string, err error) (*tap, error) {
		unix.Close(fd)
		return nil, fmt.Errorf("raw socket on %s: %s: %w", name, what, err)
	}
	if err := attachFilter(fd); err != nil {
		return fail("filter", err)
	}
	// What we send ourselves would be handed back to us. Kernels before 4.20 do
	// not know the option; the responder refuses frames of its own MAC anyway.
	_ = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
	addr := &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: index}
	if err := unix.Bind(fd, addr); err != nil {
		return fail("bind", err)
	}
	t := &tap{name: name, index: index, socket: os.NewFile(uintptr(fd), name), stop: make(chan struct{}), done: make(chan struct{})}
	t.network.Store(network)
	return t, nil
}

// serve answers until the socket is closed or fails; a failure is reported on
// exited.
func (t *tap) serve(exited chan<- *tap, log *slog.Logger) {
	defer close(t.done)
	err := t.answer(log)
	select {
	case <-t.stop:
	default:
		log.Warn("tap socket failed", "tap", t.name, "error", err)
		select {
		case exited <- t:
		case <-t.stop:
		}
	}
}

func (t *tap) answer(log *slog.Logger) error {
	buf := make([]byte, maxFrame)
	for {
		n, err := t.socket.Read(buf)
		switch {
		case errors.Is(err, unix.ENETDOWN), errors.Is(err, unix.EINTR):
			continue // reported once for each time the interface goes down
		case err != nil:
			return err
		}
		reply := t.network.Load().Frame(buf[:n])
		if reply == nil {
			continue
		}
		if _, err := t.socket.Write(reply); err != nil {
			// The client asks again; a full queue or a link going down is no
			// reason to stop.
			log.Debug("answer not sent", "tap", t.name, "error", err)
		}
	}
}

// close ends serve and waits for it.
func (t *tap) close() {
	close(t.stop)
	t.socket.Close()
	<-t.done
}

// attachFilter lets only untagged ARP, ICMP and UDP to port 67 pass, so that
// other broadcast of the tenant costs the kernel alone.
func attachFilter(fd int) error {
	program, err := bpf.Assemble([]bpf.Instruction{
		/*  0 */ bpf.LoadExtension{Num: bpf.ExtVLANTagPresent},
		/*  1 */ bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0, SkipTrue: 10},
		/*  2 */ bpf.LoadAbsolute{Off: 12, Size: 2},
		/*  3 */ bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.ETH_P_ARP, SkipTrue: 7},
		/*  4 */ bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.ETH_P_IP, SkipTrue: 7},
		/*  5 */ bpf.LoadAbsolute{Off: 23, Size: 1},
		/*  6 */ bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_ICMP, SkipTrue: 4},
		/*  7 */ bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_UDP, SkipTrue: 4},
		/*  8 */ bpf.LoadMemShift{Off: 14},
		/*  9 */ bpf.LoadIndirect{Off: 16, Size: 2},
		/* 10 */ bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 67, SkipTrue: 1},
		/* 11 */ bpf.RetConstant{Val: maxFrame},
		/* 12 */ bpf.RetConstant{Val: 0},
	})
	if err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(program))
	for i, op := range program {
		filter[i] = unix.SockFilter{Code: op.Op, Jt: op.Jt, Jf: op.Jf, K: op.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
}

// quiet keeps the kernel from taking part on the tap: Linux answers ARP for any
// local address on any interface and accepts packets to it, so a tenant could
// otherwise reach the node's own addresses. With arp_ignore 8 it answers no ARP;
// with a strict reverse path filter it drops every packet that comes in, because
// no route leads out of a tap.
func quiet(name string) error {
	var errs []error
	set := func(family, key, value string) {
		path := filepath.Join("/proc/sys/net", family, "conf", name, key)
		if err := os.WriteFile(path, []byte(value), 0); err != nil && !(family == "ipv6" && errors.Is(err, os.ErrNotExist)) {
			errs = append(errs, err)
		}
	}
	set("ipv4", "arp_ignore", "8")
	set("ipv4", "rp_filter", "1")
	set("ipv4", "forwarding", "0")
	set("ipv6", "disable_ipv6", "1")
	return errors.Join(errs...)
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }
