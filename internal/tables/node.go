// SPDX-License-Identifier: Apache-2.0

package tables

import (
	"nagare/internal/model"
	"nagare/internal/store"
)

// ForgetNode removes a node and what was observed there, so that a reinstalled one may take its name. Ports stay bound to it. Call it
// for nodes that are not connected only. It reports whether the node was known.
func ForgetNode(tx *store.Txn, id model.NodeID) bool {
	if !Nodes.Delete(tx, id) {
		return false
	}
	for p := range PlugsByNode.By(tx, string(id)) {
		Plugs.Delete(tx, model.PlugKey(p.Node, p.Port))
	}
	for i := range InterfacesByNode.By(tx, string(id)) {
		Interfaces.Delete(tx, model.InterfaceKey(i.Node, i.Name))
	}
	return true
}
