// SPDX-License-Identifier: Apache-2.0

package punt

import (
	"encoding/binary"
	"runtime"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/repro"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// maxAnswer is a frame of the largest message that is ever sent.
const maxAnswer = 14 + 1500

// judge holds an answer to what every answer must keep to: it goes to the asking port or to all, from the server, and is
// bounded; nobody else's address is offered.
func judge(t *testing.T, in []byte, out [][]byte) {
	t.Helper()
	if len(out) > 1 {
		t.Fatalf("%d answers to one packet", len(out))
	}
	for _, f := range out {
		me := vm(3)
		dst := model.MAC(f[0:6])
		if len(f) > maxAnswer || model.MAC(f[6:12]) != serverMAC || dst != me.MAC && dst != (model.MAC{255, 255, 255, 255, 255, 255}) {
			t.Fatalf("bad answer %x to %x", f, in)
		}
		if ip := f[42+16 : 42+20]; binary.BigEndian.Uint32(ip) != 0 && string(ip) != string(me.FixedIPs[0].Addr.AsSlice()) {
			t.Fatalf("offered %v to %x", ip, in)
		}
		if string(f[42+28:42+34]) != string(me.MAC[:]) {
			t.Fatalf("chaddr %x in the answer", f[42+28:42+34])
		}
	}
}

// FuzzAnswer holds that no frame, key or kind panics and that every answer is for the port that asked.
func FuzzAnswer(f *testing.F) {
	st := cloud(f, 3, func(tx *store.Txn) {
		p, _ := tables.Ports.Get(tx, vm(3).ID)
		p.DHCPOpts = []model.DHCPOpt{{Name: "bootfile-name", Value: "x", Version: 4}, {Name: "domain-search", Value: "a.b", Version: 4}}
		put(tx, p)
	})
	snap := st.Snapshot()
	me := vm(3).MAC
	f.Add(uint32(3), pipeline.PuntDHCP, discover(3).Data)
	f.Add(uint32(3), pipeline.PuntDHCP, frame(me, me, dhcpv4.MessageTypeRequest, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress([]byte{10, 11, 0, 3}))))
	f.Add(uint32(3), pipeline.PuntDHCP, frame(me, me, dhcpv4.MessageTypeInform, dhcpv4.WithClientIP([]byte{10, 11, 0, 3}), dhcpv4.WithOption(dhcpv4.OptMaxMessageSize(65535))))
	f.Add(uint32(0), byte(0), []byte{})
	f.Fuzz(func(t *testing.T, key uint32, kind byte, data []byte) {
		judge(t, data, Answer(snap, Packet{Node: node, Kind: kind, Port: model.Key(key), Data: data}))
		// As the pipeline would have it: the frame's source is the port's, and the key is right.
		if len(data) >= 12 {
			copy(data[6:12], me[:])
		}
		judge(t, data, Answer(snap, Packet{Node: node, Kind: pipeline.PuntDHCP, Port: 3, Data: data}))
	})
}

// Starvation: addresses are reservations, so any number of made-up clients takes nothing and hears nothing.
func TestStarvation(t *testing.T) {
	snap := cloud(t, 2).Snapshot()
	r := repro.Rand(1, 2)
	me := vm(3).MAC
	for range 2000 {
		var chaddr model.MAC
		binary.BigEndian.PutUint32(chaddr[2:], r.Uint32())
		if chaddr == me {
			continue
		}
		for _, src := range []model.MAC{me, chaddr} {
			if out := Answer(snap, Packet{Node: node, Kind: pipeline.PuntDHCP, Port: 3, Data: frame(src, chaddr, dhcpv4.MessageTypeDiscover)}); out != nil {
				t.Fatalf("a client with chaddr %v from %v was answered", chaddr, src)
			}
		}
	}
	if len(Answer(snap, discover(4))) != 1 {
		t.Error("the neighbour is not served")
	}
}

// Giant and broken option lists cost a bounded amount of memory: no more than a few times the packet, and the answer.
func TestAllocationIsBounded(t *testing.T) {
	snap := cloud(t, 2).Snapshot()
	me := vm(3).MAC
	for name, options := range map[string][]byte{
		"one octet each":       repeat([]byte{43, 1, 7}, 3000),
		"all codes":            repeat([]byte{1, 1, 7, 2, 1, 7, 3, 1, 7, 250, 1, 7}, 700),
		"one giant option":     repeat(append([]byte{43, 255}, make([]byte, 255)...), 34),
		"pads":                 make([]byte, 9000),
		"beyond the end":       {53, 255, 1},
		"no length":            {53},
		"many types":           repeat([]byte{53, 1, 1}, 3000),
		"giant client id":      repeat(append([]byte{61, 255}, make([]byte, 255)...), 34),
		"giant parameter list": repeat(append([]byte{55, 255}, make([]byte, 255)...), 34),
	} {
		f := frame(me, me, dhcpv4.MessageTypeDiscover)
		head := f[:14+20+8+240+3] // to the end of the message type
		data := append(append(head[:len(head):len(head)], options...), 255)
		binary.BigEndian.PutUint16(data[16:], uint16(len(data)-14))
		binary.BigEndian.PutUint16(data[38:], uint16(len(data)-34))
		data[24], data[25] = 0, 0
		var sum uint32
		for i := 14; i < 34; i += 2 {
			sum += uint32(binary.BigEndian.Uint16(data[i:]))
		}
		binary.BigEndian.PutUint16(data[24:], ^uint16(sum>>16+sum&0xffff))
		p := Packet{Node: node, Kind: pipeline.PuntDHCP, Port: 3, Data: data}
		judge(t, data, Answer(snap, p))
		const runs = 50
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range runs {
			Answer(snap, p)
		}
		runtime.ReadMemStats(&after)
		if got, limit := int(after.TotalAlloc-before.TotalAlloc)/runs, 4*len(data)+8192; got > limit {
			t.Errorf("%s: %d octets for a packet of %d, want up to %d", name, got, len(data), limit)
		}
	}
}

func repeat(b []byte, n int) []byte {
	var out []byte
	for range n {
		out = append(out, b...)
	}
	return out
}
