// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"fmt"
	"net/netip"
	"slices"

	"nagare/openflow"
)

// Fabric is switches joined by tunnels and wires, with endpoints at their ports.
type Fabric struct {
	switches []*Switch
	ends     map[plug]string // endpoints
	at       map[string]plug
	peers    map[plug]plug       // tunnels between two ports
	wires    map[plug]string     // segments that carry frames as they are
	members  map[string][]plug   // of a segment
	vteps    map[netip.Addr]plug // ports with remote_ip=flow, by tunnel address
	local    map[plug]netip.Addr

	// Beyond, if set, is asked where a port leads of which nothing was said: a fabric too large to be built whole grows where
	// packets go. What it says holds for this packet only.
	Beyond func(from *Switch, port uint32, p Packet) Exit
}

// Exit is where a packet gets that leaves a switch: to endpoints, into other switches, or nowhere.
type Exit struct {
	To   []string // endpoints
	Into []Entrance
	Lost string // why it gets nowhere, if so
}

// Entrance is a port by which a packet comes in, with the metadata that it has there.
type Entrance struct {
	Switch *Switch
	Port   uint32
	Packet Packet
}

// plug is one port of one switch.
type plug struct {
	sw   *Switch
	port uint32
}

func (p plug) String() string { return fmt.Sprintf("%s port %d", p.sw.Name, p.port) }

// NewFabric is a fabric without switches.
func NewFabric() *Fabric {
	return &Fabric{ends: map[plug]string{}, at: map[string]plug{}, peers: map[plug]plug{}, wires: map[plug]string{},
		members: map[string][]plug{}, vteps: map[netip.Addr]plug{}, local: map[plug]netip.Addr{}}
}

// Switch adds an empty switch.
func (f *Fabric) Switch(name string) *Switch {
	s := NewSwitch(name)
	f.switches = append(f.switches, s)
	return s
}

// Switches are the switches in the order in which they were added.
func (f *Fabric) Switches() []*Switch { return f.switches }

// Attach puts an endpoint (an instance, a DHCP server, a host) at a port.
func (f *Fabric) Attach(name string, s *Switch, port uint32) {
	f.ends[plug{s, port}], f.at[name] = name, plug{s, port}
}

// Detach removes an endpoint.
func (f *Fabric) Detach(name string) {
	delete(f.ends, f.at[name])
	delete(f.at, name)
}

// Tunnel joins a port of a with a port of b: what leaves one comes in by the
// other with the same tun_id and without other metadata.
func (f *Fabric) Tunnel(a *Switch, portA uint32, b *Switch, portB uint32) {
	f.peers[plug{a, portA}], f.peers[plug{b, portB}] = plug{b, portB}, plug{a, portA}
}

// FlowTunnel makes a port one with remote_ip=flow: tun_dst tells which switch
// gets what leaves it.
func (f *Fabric) FlowTunnel(s *Switch, port uint32, addr netip.Addr) {
	f.vteps[addr], f.local[plug{s, port}] = plug{s, port}, addr
}

// Wire joins a port to a segment, a plain Ethernet: what leaves the port comes
// in by all other ports of the segment, tags and all.
func (f *Fabric) Wire(segment string, s *Switch, port uint32) {
	p := plug{s, port}
	f.wires[p] = segment
	f.members[segment] = append(f.members[segment], p)
}

// Host puts an endpoint on a segment, such as a host on an external network.
func (f *Fabric) Host(name, segment string) {
	p := plug{host, uint32(len(f.members[segment]))}
	for f.ends[p] != "" {
		p.port++
	}
	f.Attach(name, host, p.port)
	f.Wire(segment, host, p.port)
}

// host stands for the switch of endpoints that are on a segment.
var host = &Switch{Name: "segment"}

// Delivery is a frame that reached an endpoint.
type Delivery struct {
	To    string
	Frame Packet
}

// Arrival is a packet that came to the controller.
type Arrival struct {
	Switch string
	Punt
}

// Outcome is what became of a frame in the whole fabric.
type Outcome struct {
	Deliveries []Delivery
	Arrivals   []Arrival
	Lost       []string // ports that lead nowhere, by which a copy left
	Errors     []string
	Trace      []string // of Trace only
	Visits     []Visit  // of Trace only: the same for programs
}

// Receivers are the endpoints that got a copy, sorted; one that got two is there
// twice.
func (o Outcome) Receivers() []string {
	out := make([]string, len(o.Deliveries))
	for i, d := range o.Deliveries {
		out[i] = d.To
	}
	slices.Sort(out)
	return out
}

// maxHops bounds the switches that one frame and its copies pass; more is a loop.
const maxHops = 1000

// Send lets an endpoint send a frame and returns who receives it. An unknown
// endpoint is an error in the outcome.
func (f *Fabric) Send(from string, frame Packet) Outcome { return f.send(from, frame, false) }

// Trace is Send with an account of every step.
func (f *Fabric) Trace(from string, frame Packet) Outcome { return f.send(from, frame, true) }

func (f *Fabric) send(from string, frame Packet, trace bool) (o Outcome) {
	start, ok := f.at[from]
	if !ok {
		o.Errors = append(o.Errors, "endpoint "+from+" is not attached")
		return o
	}
	if start.sw != host {
		f.Inject(&o, start.sw, start.port, frame.Frame(), trace)
		return o
	}
	for _, to := range f.members[f.wires[start]] {
		if to == start {
			continue
		}
		if name, ok := f.ends[to]; ok {
			o.Deliveries = append(o.Deliveries, Delivery{name, frame.Frame()})
			continue
		}
		f.Inject(&o, to.sw, to.port, frame.Frame(), trace)
	}
	return o
}

// Inject lets a packet come in by a port and adds what becomes of it to o. The
// packet's metadata, such as tun_id, stays.
func (f *Fabric) Inject(o *Outcome, s *Switch, port uint32, p Packet, trace bool) {
	p.SetUint(openflow.FieldInPort, uint64(port))
	type arriving struct {
		sw     *Switch
		p      Packet
		parent int
	}
	queue := []arriving{{s, p, -1}}
	for hops := 0; len(queue) > 0; hops++ {
		if hops == maxHops {
			o.Errors = append(o.Errors, fmt.Sprintf("frame passed %d switches: loop", maxHops))
			return
		}
		at := queue[0]
		queue = queue[1:]
		r := at.sw.run(at.p, trace)
		o.Trace = append(o.Trace, r.Trace...)
		if trace {
			o.Visits = append(o.Visits, Visit{at.sw.Name, at.parent, at.p, r})
		}
		for _, e := range r.Errors {
			o.Errors = append(o.Errors, at.sw.Name+": "+e)
		}
		for _, k := range r.Punts {
			o.Arrivals = append(o.Arrivals, Arrival{at.sw.Name, k})
		}
		for _, out := range r.Outputs {
			from := plug{at.sw, out.Port}
			next, err := f.leave(from, out.Packet, o)
			if err != "" {
				o.Lost = append(o.Lost, err)
			}
			for _, n := range next {
				queue = append(queue, arriving{n.to.sw, n.p, len(o.Visits) - 1})
			}
		}
	}
}

type hop struct {
	to plug
	p  Packet
}

// leave takes a packet out of a port: to an endpoint, or to where it comes in next.
func (f *Fabric) leave(from plug, p Packet, o *Outcome) (next []hop, lost string) {
	enter := func(to plug, frame Packet) {
		frame.SetUint(openflow.FieldInPort, uint64(to.port))
		next = append(next, hop{to, frame})
	}
	tunnelled := func(to plug) {
		frame := p.Frame()
		frame.SetUint(openflow.FieldTunID, p.Uint(openflow.FieldTunID)&0xffffff) // VXLAN, Geneve: 24 bits
		enter(to, frame)
	}
	if name, ok := f.ends[from]; ok {
		o.Deliveries = append(o.Deliveries, Delivery{name, p.Frame()})
		return nil, ""
	}
	if to, ok := f.peers[from]; ok {
		tunnelled(to)
		return next, ""
	}
	if addr, ok := f.local[from]; ok {
		to, ok := f.vteps[p.Addr(openflow.FieldTunDst)]
		if !ok {
			return nil, fmt.Sprintf("%s: no tunnel end %s", from, p.Addr(openflow.FieldTunDst))
		}
		tunnelled(to)
		last := &next[len(next)-1].p
		last.put(openflow.FieldTunSrc, addr.AsSlice())
		last.put(openflow.FieldTunDst, p.bytes(openflow.FieldTunDst))
		return next, ""
	}
	if seg, ok := f.wires[from]; ok {
		for _, to := range f.members[seg] {
			if to == from {
				continue
			}
			if name, ok := f.ends[to]; ok {
				o.Deliveries = append(o.Deliveries, Delivery{name, p.Frame()})
				continue
			}
			enter(to, p.Frame())
		}
		return next, ""
	}
	if f.Beyond == nil {
		return nil, from.String() + " leads nowhere"
	}
	x := f.Beyond(from.sw, from.port, p)
	for _, name := range x.To {
		o.Deliveries = append(o.Deliveries, Delivery{name, p.Frame()})
	}
	for _, in := range x.Into {
		enter(plug{in.Switch, in.Port}, in.Packet)
	}
	return next, x.Lost
}
