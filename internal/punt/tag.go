// SPDX-License-Identifier: Apache-2.0

package punt

import (
	"encoding/binary"

	"nagare/internal/alloc"
	"nagare/internal/pipeline"
	"nagare/internal/store"
)

// tagged gives a frame that goes back to the port that sent a packet the tag (IEEE 802.1Q) that the port's frames have at its
// interface, if a trunk carries it: the pipeline took it off before it sent the packet up.
func tagged(r store.Reader, p *Packet, frame []byte) []byte {
	if p.Origin == pipeline.FromProvider || len(frame) < etherHeader {
		return frame
	}
	port, ok := alloc.PortsByKey.First(r, alloc.KeyText(p.Port))
	if !ok || !port.IsSubPort() {
		return frame
	}
	b := make([]byte, 0, len(frame)+4)
	b = append(b, frame[:12]...)
	b = binary.BigEndian.AppendUint16(b, etherVLAN)
	b = binary.BigEndian.AppendUint16(b, port.VLAN)
	return append(b, frame[12:]...)
}
