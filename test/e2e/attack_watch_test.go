// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// token marks a frame, so that it is known again wherever it arrives, in whatever it was packed: 8 octets, of which the
// first three are always the same.
type token string

const tokenStart = "NG!"

// Kinds of tokens.
const (
	forbidden = 'x' // must not arrive
	permitted = 'o' // must arrive
)

var tokens uint16

func newToken(kind byte) token {
	tokens++
	return token(fmt.Sprintf("%s%c%04x", tokenStart, kind, tokens))
}

// listener is a raw socket on a link that reads whatever arrives there.
func (s *site) listener(where, link string) *os.File {
	s.t.Helper()
	var fd int
	err := within(s.namespace(where), func() error {
		l, err := net.InterfaceByName(link)
		if err != nil {
			return err
		}
		all := binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL}) // in network order
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(all)); err != nil {
			return err
		}
		// What the watched host itself says, such as an error that quotes a frame, is no arrival.
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
			return err
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
			return err
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: l.Index})
	})
	if err != nil {
		s.t.Fatalf("link %s of %s: %v", link, where, err)
	}
	return os.NewFile(uintptr(fd), link)
}

// watcher counts the marked frames that arrive at a link.
type watcher struct {
	where string
	f     *os.File
	done  sync.WaitGroup

	mu    sync.Mutex
	seen  map[token]int
	first map[token][]byte // of each, whole
	tags  map[token]int    // VLAN of the first of each; 0: untagged
	punts map[token]int    // seen on their way to the controller, inside of OpenFlow messages
	all   func(frame []byte)
	poke  chan struct{} // holds one when something came
}

// watch begins; it ends with the test.
func (s *site) watch(where, link string) *watcher {
	s.t.Helper()
	w := &watcher{where: where, f: s.listener(where, link), seen: map[token]int{}, first: map[token][]byte{}, tags: map[token]int{}, punts: map[token]int{}, poke: make(chan struct{}, 1)}
	w.done.Go(w.read)
	s.t.Cleanup(w.close)
	return w
}

func (w *watcher) close() {
	w.f.Close()
	w.done.Wait()
}

func (w *watcher) read() {
	raw, err := w.f.SyscallConn()
	if err != nil {
		return
	}
	b, oob := make([]byte, 65536), make([]byte, 256)
	for {
		var n, on int
		var got error
		if err := raw.Read(func(fd uintptr) bool {
			n, on, _, _, got = unix.Recvmsg(int(fd), b, oob, 0)
			return got != unix.EAGAIN
		}); err != nil {
			return // closed
		}
		switch got {
		case nil:
			w.count(b[:n], vlanOf(oob[:on]))
		case unix.ENETDOWN, unix.EINTR: // the link was taken down; the socket stays
		default:
			return
		}
	}
}

// vlanOf is the tag that the kernel took off a frame on its way to the socket, as packet(7) tells it in struct tpacket_auxdata.
func vlanOf(oob []byte) int {
	const valid = 1 << 4 // TP_STATUS_VLAN_VALID
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_PACKET && m.Header.Type == unix.PACKET_AUXDATA && len(m.Data) >= 18 && binary.NativeEndian.Uint32(m.Data)&valid != 0 {
			return int(binary.NativeEndian.Uint16(m.Data[16:]) & 0xfff)
		}
	}
	return 0
}

func (w *watcher) count(frame []byte, vlan int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all != nil {
		w.all(frame)
	}
	last := token("")
	for rest := frame; ; {
		i := bytes.Index(rest, []byte(tokenStart))
		if i < 0 || len(rest) < i+8 {
			return
		}
		t := token(rest[i : i+8])
		rest = rest[i+8:]
		if t == last {
			continue // data filled with it
		}
		last = t
		if toController(frame) {
			w.punts[t]++
		} else if w.seen[t]++; w.seen[t] == 1 {
			w.first[t], w.tags[t] = bytes.Clone(frame), vlan
		}
		select {
		case w.poke <- struct{}{}:
		default:
		}
	}
}

// toController tells whether a frame belongs to a switch's OpenFlow session, which on a node is on the same link.
func toController(frame []byte) bool {
	return len(frame) > 38 && binary.BigEndian.Uint16(frame[12:]) == etherIP4 && frame[23] == protoTCP && binary.BigEndian.Uint16(frame[36:]) == 6653
}

// punted is how often a token went to the controller.
func (w *watcher) punted(t token) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.punts[t]
}

// each has every further frame shown to f, which must not keep it.
func (w *watcher) each(f func(frame []byte)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = f
}

func (w *watcher) arrived(t token) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[t]
}

// vlan is the tag with which a token arrived first.
func (w *watcher) vlan(t token) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tags[t]
}

// wait waits until a token arrived.
func (w *watcher) wait(t token, within time.Duration) bool {
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	for w.arrived(t) == 0 {
		select {
		case <-w.poke:
		case <-deadline.C:
			return w.arrived(t) > 0
		}
	}
	return true
}

// holdsNone reports a forbidden token that arrived, with the first frame.
func (w *watcher) holdsNone(t *testing.T, x token, what string) int {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen[x] > 0 {
		t.Errorf("%s: %d forbidden frames reached %s, the first: % x", what, w.seen[x], w.where, w.first[x])
	}
	return w.seen[x]
}
