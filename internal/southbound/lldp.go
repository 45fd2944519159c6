// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"time"

	"nagare/internal/model"
)

// LinkEnd is one side of a link.
type LinkEnd struct {
	Node   model.NodeID `json:"node"`
	OFPort uint32       `json:"ofport"`
}

// Link is a direction of a link that a frame of ours crossed.
type Link struct {
	From LinkEnd   `json:"from"`
	To   LinkEnd   `json:"to"`
	Seen time.Time `json:"seen"`
}

// linkTable holds the directions seen lately; guarded by Hub.mu.
type linkTable struct{ seen map[[2]LinkEnd]time.Time }

func newLinkTable() linkTable { return linkTable{map[[2]LinkEnd]time.Time{}} }

func (l *linkTable) saw(from, to LinkEnd, at time.Time) { l.seen[[2]LinkEnd{from, to}] = at }

// list returns the links seen since the given time, in order, and forgets the others.
func (l *linkTable) list(since time.Time) []Link {
	maps.DeleteFunc(l.seen, func(_ [2]LinkEnd, at time.Time) bool { return at.Before(since) })
	var out []Link
	for ends, at := range l.seen {
		out = append(out, Link{ends[0], ends[1], at})
	}
	slices.SortFunc(out, func(a, b Link) int {
		if c := strings.Compare(string(a.From.Node)+"|"+string(a.To.Node), string(b.From.Node)+"|"+string(b.To.Node)); c != 0 {
			return c
		}
		return int(a.From.OFPort) - int(b.From.OFPort)
	})
	return out
}

func newSecret() []byte {
	b := make([]byte, 32)
	rand.Read(b)
	return b
}

// LLDP (IEEE 802.1AB): chassis id and port id are locally assigned (subtypes 7), a private TLV (OUI 00:00:00 is nobody's,
// subtype 1) carries a keyed digest so that a tenant cannot invent links.
const (
	lldpEtherType = 0x88cc
	tlvChassis    = 1
	tlvPort       = 2
	tlvTTL        = 3
	tlvPrivate    = 127
	localSubtype  = 7
)

var lldpGroup = [6]byte{0x01, 0x80, 0xc2, 0, 0, 0x0e} // nearest bridge, IEEE 802.1AB section 7.1

// lldpFrame is the frame that leaves port of the switch dpid.
func (h *Hub) lldpFrame(dpid uint64, port uint32, ttl time.Duration) []byte {
	b := append([]byte{}, lldpGroup[:]...)
	// A source MAC that is surely nobody else's: locally administered, from the datapath id.
	b = append(b, 0x0e, 0x6e, byte(dpid>>24), byte(dpid>>16), byte(dpid>>8), byte(dpid))
	b = binary.BigEndian.AppendUint16(b, lldpEtherType)
	id := binary.BigEndian.AppendUint64([]byte{localSubtype}, dpid)
	no := binary.BigEndian.AppendUint32([]byte{localSubtype}, port)
	b = appendTLV(b, tlvChassis, id)
	b = appendTLV(b, tlvPort, no)
	b = appendTLV(b, tlvTTL, binary.BigEndian.AppendUint16(nil, uint16(max(1, ttl/time.Second))))
	b = appendTLV(b, tlvPrivate, append([]byte{0, 0, 0, 1}, h.lldpDigest(id, no)...))
	return appendTLV(b, 0, nil)
}

func (h *Hub) lldpDigest(id, port []byte) []byte {
	m := hmac.New(sha256.New, h.secret)
	m.Write(id)
	m.Write(port)
	return m.Sum(nil)[:16]
}

func appendTLV(b []byte, kind int, v []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(kind<<9|len(v)))
	return append(b, v...)
}

// parseLLDP reads a frame of ours; ok is false for anybody else's and for anything malformed.
func (h *Hub) parseLLDP(frame []byte) (dpid uint64, port uint32, ok bool) {
	if len(frame) < 14 || binary.BigEndian.Uint16(frame[12:]) != lldpEtherType {
		return 0, 0, false
	}
	var id, no, digest []byte
	for b := frame[14:]; len(b) >= 2; {
		head := binary.BigEndian.Uint16(b)
		kind, n := int(head>>9), int(head&0x1ff)
		if len(b) < 2+n || kind == 0 {
			break
		}
		switch v := b[2 : 2+n]; kind {
		case tlvChassis:
			id = v
		case tlvPort:
			no = v
		case tlvPrivate:
			if n == 20 && v[3] == 1 {
				digest = v[4:]
			}
		}
		b = b[2+n:]
	}
	if len(id) != 9 || len(no) != 5 || !hmac.Equal(digest, h.lldpDigest(id, no)) {
		return 0, 0, false
	}
	return binary.BigEndian.Uint64(id[1:]), binary.BigEndian.Uint32(no[1:]), true
}
