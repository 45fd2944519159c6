// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"hash/fnv"
	"slices"

	"nagare/internal/flow"
	"nagare/openflow"
)

// actions runs a list of actions on p; false if the list was cut short and what
// follows it (goto-table) does not happen either.
func (w *walk) actions(p *Packet, as []openflow.Action) bool {
	for _, a := range as {
		if w.exit {
			return false
		}
		if !w.trace {
			if !w.action(p, a) {
				return false
			}
			continue
		}
		w.say("    %s", flow.ActionText(a))
		if !w.traced(p, a) {
			return false
		}
	}
	return true
}

// traced runs an action and notes what it did.
func (w *walk) traced(p *Packet, a openflow.Action) bool {
	step, outer := w.step, w.deed
	if step < 0 { // the action set, which no flow's list holds
		return w.action(p, a)
	}
	w.deed = len(w.r.Steps[step].Deeds)
	w.r.Steps[step].Deeds = append(w.r.Steps[step].Deeds, Deed{Action: flow.ActionText(a), Before: *p, After: *p})
	at := w.deed
	ok := w.action(p, a)
	if _, tracked := a.(openflow.CT); !tracked {
		w.r.Steps[step].Deeds[at].After = *p
	}
	w.deed = outer
	return ok
}

func (w *walk) action(p *Packet, a openflow.Action) bool {
	switch a := a.(type) {
	case openflow.Output:
		w.output(p, a.Port, a.MaxLen)
	case openflow.OutputReg:
		w.output(p, uint32(lowUint(bits(p.get(a.Src.Field), a.Src.Ofs, a.Src.Bits))), a.MaxLen)
	case openflow.Group:
		w.group(p, a.ID)
	case openflow.Controller:
		w.punt(p, a.Reason, a.MaxLen, nil)
	case openflow.Controller2:
		w.punt(p, a.Reason, a.MaxLen, a.Userdata)
	case openflow.SetField:
		w.write(p, a.Field, a.Value)
	case openflow.LoadMasked:
		v := slices.Clone(p.get(a.Field))
		for i := range v {
			m := byte(0xff)
			if a.Mask != nil {
				m = a.Mask[i]
			}
			v[i] = v[i]&^m | a.Value[i]&m
		}
		w.write(p, a.Field, v)
	case openflow.Load:
		var b [8]byte
		for i := range b {
			b[i] = byte(a.Value >> (56 - 8*i))
		}
		w.splice(p, a.Dst, b[:], 0)
	case openflow.Move:
		a.Dst.Bits = a.Src.Bits
		w.splice(p, a.Dst, slices.Clone(p.get(a.Src.Field)), a.Src.Ofs)
	case openflow.Push:
		w.stack = append(w.stack, bits(p.get(a.Sub.Field), a.Sub.Ofs, a.Sub.Bits))
	case openflow.Pop:
		if n := len(w.stack); n > 0 {
			w.splice(p, a.Sub, w.stack[n-1], 0)
			w.stack = w.stack[:n-1]
		}
	case openflow.PushVLAN:
		if !p.pushTag() {
			w.fail("third VLAN tag is not modelled")
			return false
		}
	case openflow.PopVLAN:
		p.popTag()
	case openflow.SetTTL:
		if p.isIP() {
			p.SetUint(openflow.FieldIPTTL, uint64(a.TTL))
		}
	case openflow.DecTTL:
		return w.decTTL(p)
	case openflow.Resubmit:
		w.resubmit(p, a)
	case openflow.Clone:
		q := *p
		w.nested(func() { w.actions(&q, a.Actions) })
	case openflow.CT:
		w.ct(p, a)
	case openflow.CTClear:
		clearCT(p)
		p.conn, p.state = nil, 0
	case openflow.CheckPktLarger:
		larger := byte(0)
		if p.octets() > int(a.Len) {
			larger = 1
		}
		w.splice(p, a.Dst, []byte{larger}, 0)
	case openflow.Exit:
		w.exit = true
		return false
	case openflow.Conjunction, openflow.SetQueue, openflow.Note, openflow.Sample:
	default:
		w.fail("action %s is not modelled", flow.ActionText(a))
		return false
	}
	return true
}

func (w *walk) output(p *Packet, port uint32, maxLen uint16) {
	switch port {
	case openflow.PortController:
		w.punt(p, openflow.ReasonAction, maxLen, nil)
		return
	case openflow.PortInPort:
		if p.InPort() != openflow.PortAny { // a packet that lost its port on the way has none to go back by
			w.emit(p, p.InPort())
		}
		return
	case openflow.PortAll, openflow.PortFlood:
		if w.s.Ports == nil {
			w.fail("output to all ports of a switch whose ports are not known")
			return
		}
		for _, n := range w.s.Ports {
			if n != p.InPort() && n != openflow.PortLocal {
				w.emit(p, n)
			}
		}
		return
	case openflow.PortNormal, openflow.PortTable:
		w.fail("output to reserved port %#x is not modelled", port)
		return
	case openflow.PortAny:
		return
	}
	if port == p.InPort() {
		w.say("        skipped: the packet came in there")
		w.note("skipped: the packet came in there")
		return
	}
	w.emit(p, port)
}

func (w *walk) emit(p *Packet, port uint32) {
	if w.s.Ports != nil && !slices.Contains(w.s.Ports, port) {
		w.say("        skipped: port %d does not exist", port)
		w.note("skipped: the port does not exist")
		return
	}
	w.r.Outputs = append(w.r.Outputs, Output{port, *p})
}

func (w *walk) punt(p *Packet, reason uint8, maxLen uint16, userdata []byte) {
	k := Punt{Reason: reason, MaxLen: maxLen, Userdata: userdata, Packet: *p}
	if w.cur != nil {
		k.Table, k.Cookie = w.cur.flow.Table, w.cur.flow.Cookie
	}
	w.r.Punts = append(w.r.Punts, k)
}

// write sets a whole field. A field that the packet does not have is left alone,
// as the switch's set actions do.
func (w *walk) write(p *Packet, f *openflow.Field, v []byte) {
	if !p.has(f) {
		return
	}
	if !p.put(f, v) {
		w.fail("write to %s is not modelled", f.Name)
	}
}

// splice writes bits of src, from bit ofs of it on, into dst.
func (w *walk) splice(p *Packet, dst openflow.Subfield, src []byte, ofs uint16) {
	v := slices.Clone(p.get(dst.Field))
	if v == nil || src == nil {
		w.fail("write to %s is not modelled", dst)
		return
	}
	for i := range dst.Bits {
		setBit(v, dst.Ofs+i, bit(src, ofs+i))
	}
	w.write(p, dst.Field, v)
}

// bit is bit n of a big-endian number, 0 the least significant.
func bit(v []byte, n uint16) byte {
	i := len(v) - 1 - int(n/8)
	if i < 0 {
		return 0
	}
	return v[i] >> (n % 8) & 1
}

func setBit(v []byte, n uint16, b byte) {
	if i := len(v) - 1 - int(n/8); i >= 0 {
		v[i] = v[i]&^(1<<(n%8)) | b<<(n%8)
	}
}

// bits is n bits of v from bit ofs on, as a number of their own.
func bits(v []byte, ofs, n uint16) []byte {
	out := make([]byte, (n+7)/8)
	for i := range n {
		setBit(out, i, bit(v, ofs+i))
	}
	return out
}

func lowUint(v []byte) (n uint64) {
	for _, c := range v {
		n = n<<8 | uint64(c)
	}
	return n
}

// decTTL decrements the TTL; at 1 the packet goes to the controller instead and
// the list of actions ends.
func (w *walk) decTTL(p *Packet) bool {
	if !p.isIP() {
		return true
	}
	ttl := p.Uint(openflow.FieldIPTTL)
	if ttl <= 1 {
		w.punt(p, openflow.ReasonInvalidTTL, openflow.MaxLenNoBuffer, nil)
		return false
	}
	p.SetUint(openflow.FieldIPTTL, ttl-1)
	return true
}

// nested runs f one level deeper, unless that is too deep.
func (w *walk) nested(f func()) {
	if w.depth >= maxDepth {
		w.fail("nested more than %d deep", maxDepth)
		return
	}
	w.depth++
	f()
	w.depth--
}

// resubmit looks p up again. Its changes stay; in_port does not.
func (w *walk) resubmit(p *Packet, a openflow.Resubmit) {
	in := p.InPort()
	if a.InPort != openflow.Port16InPort {
		var b [2]byte
		b[0], b[1] = byte(a.InPort>>8), byte(a.InPort)
		p.put(openflow.FieldInPort16, b[:])
	}
	id := int(a.Table)
	if a.Table == 255 && w.cur != nil {
		id = int(w.cur.flow.Table)
	}
	if a.CT {
		w.fail("resubmit with the original tuple is not modelled")
		return
	}
	w.nested(func() { w.table(p, id) })
	p.SetUint(openflow.FieldInPort, uint64(in))
}

func (w *walk) group(p *Packet, id uint32) {
	g, ok := w.s.groups[id]
	if !ok {
		w.fail("group %d does not exist", id)
		return
	}
	buckets := g.Decoded()
	switch g.Type {
	case flow.GroupAll:
	case flow.GroupIndirect, flow.GroupFastFailover: // every port is up here
		buckets = buckets[:min(1, len(buckets))]
	case flow.GroupSelect:
		buckets = choose(p, buckets)
	}
	for i := range buckets {
		as, err := openflow.DecodeActions(buckets[i].Actions)
		if err != nil {
			w.fail("group %d: %v", id, err)
			return
		}
		q := *p // each bucket has a copy of its own
		w.nested(func() { w.actions(&q, as) })
	}
}

// choose picks one bucket by a hash of addresses, protocol and ports, so that
// a connection stays with its bucket. The switch's hash is another one.
func choose(p *Packet, buckets []openflow.Bucket) []openflow.Bucket {
	total := uint32(0)
	for _, b := range buckets {
		total += uint32(b.Weight)
	}
	if total == 0 {
		return nil
	}
	h := fnv.New32a()
	for _, f := range headers {
		if f != openflow.FieldIPTTL && f != openflow.FieldTCPFlags {
			h.Write(p.bytes(f))
		}
	}
	n := h.Sum32() % total
	for i, b := range buckets {
		if n < uint32(b.Weight) {
			return buckets[i : i+1]
		}
		n -= uint32(b.Weight)
	}
	return nil
}
