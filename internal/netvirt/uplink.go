// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"nagare/internal/model"
	"nagare/internal/store"
)

// Uplink is the OpenFlow number on br-int of a node's way to a physical network; 0: it has none, or none yet.
func Uplink(r store.Reader, node model.NodeID, physical string) uint32 {
	return patchOf(r, patchKey(string(node), physical)).Port
}

// LogicalNetwork is a network's number in tun_id, as packets that are sent up tell it; ok is false for a network that is not
// carried.
func LogicalNetwork(n *model.Network) (tag uint64, ok bool) { return logicalNetwork(n) }
