// SPDX-License-Identifier: Apache-2.0

package ovsdb

import (
	"crypto/tls"
	"net"
	"time"

	"nagare/ovsdb/internal/jsonscan"
)

// Clock is the time that probing runs on; the zero Options use the system's.
type Clock interface {
	Now() time.Time
	// AfterFunc calls f once after d, in a goroutine of its own, unless stopped.
	AfterFunc(d time.Duration, f func()) (stop func())
}

type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }
func (systemClock) AfterFunc(d time.Duration, f func()) func() {
	t := time.AfterFunc(d, f)
	return func() { t.Stop() }
}

// Options tune a Session. The zero value of each field means its default.
type Options struct {
	Clock Clock

	// A peer that sends no byte for ProbeInterval (5 s) is sent an echo request; if
	// nothing at all comes for ProbeTimeout (10 s) more, the session ends with
	// ErrInactive. A peer that is slow but alive gets longer: eight times its
	// recent round trip, and BusyTimeout (60 s) while it owes an answer to a
	// request other than a probe. Negative ProbeInterval: no probes.
	ProbeInterval time.Duration
	ProbeTimeout  time.Duration
	BusyTimeout   time.Duration

	// On TCP the kernel also finds a vanished machine within about ProbeInterval +
	// ProbeTimeout, busy or not (keep-alives, and TCP_USER_TIMEOUT where the system
	// has it).

	// WriteTimeout (60 s) bounds the writing of every 16 KiB.
	WriteTimeout time.Duration

	// MaxMessage (16 MiB, the dump of some 15,000 ports) bounds an incoming message
	// once Monitor or a select asked for much; before that the bound is 512 KiB.
	MaxMessage int
	// MaxString (256 KiB) bounds one string in a message.
	MaxString int
	// MaxQueue (16 MiB) bounds what waits because the peer does not read.
	MaxQueue int
	// MaxCalls (64) bounds our requests in flight; further ones wait.
	MaxCalls int
}

const smallMessage = 512 << 10

func (o Options) withDefaults() Options {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	num := func(n *int, v int) {
		if *n <= 0 {
			*n = v
		}
	}
	if o.Clock == nil {
		o.Clock = systemClock{}
	}
	def(&o.ProbeInterval, 5*time.Second)
	def(&o.ProbeTimeout, 10*time.Second)
	def(&o.BusyTimeout, 60*time.Second)
	def(&o.WriteTimeout, 60*time.Second)
	num(&o.MaxMessage, 16<<20)
	num(&o.MaxString, 256<<10)
	num(&o.MaxQueue, 16<<20)
	num(&o.MaxCalls, 64)
	return o
}

func (o Options) limits() jsonscan.Limits {
	return jsonscan.Limits{Message: min(smallMessage, o.MaxMessage), Text: o.MaxString, Depth: maxDepth}
}

// tune makes the kernel notice a machine that vanished.
func tune(nc net.Conn, o Options) {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	tcp, ok := nc.(*net.TCPConn)
	if !ok || o.ProbeInterval < 0 {
		return
	}
	const count = 3
	idle := max(o.ProbeInterval, time.Second)
	each := max(o.ProbeTimeout/count, time.Second)
	_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: idle, Interval: each, Count: count})
	setUserTimeout(tcp, max(o.ProbeInterval+o.ProbeTimeout-time.Second, time.Second)) // it overshoots a little
}
