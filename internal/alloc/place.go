// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// networkNodes finds the nodes that reach physical networks, under one index key.
var networkNodes = store.DeclareIndex(tables.Schema, tables.Nodes, "network-node", func(n model.Node) []string {
	if len(n.Mappings) == 0 {
		return nil
	}
	return []string{tables.All}
})

// PlaceDHCP says on which node a network's DHCP port lives: the chosen one if it has a provider mapping, else of the nodes that have
// one, without one that it was removed from, that with the lowest name; ok is false if there is none. Either may be "".
func PlaceDHCP(r store.Reader, chosen, removed model.NodeID) (id model.NodeID, ok bool) {
	if n, _ := tables.Nodes.Get(r, chosen); len(n.Mappings) > 0 && chosen != removed {
		return chosen, true
	}
	for n := range networkNodes.By(r, tables.All) {
		if n.ID != removed {
			return n.ID, true
		}
	}
	return "", false
}
