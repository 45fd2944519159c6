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

// PlaceDHCP says on which node a network's DHCP port lives: of the nodes with a provider mapping the one with the lowest
// name; ok is false if no node has one.
func PlaceDHCP(r store.Reader) (id model.NodeID, ok bool) {
	n, ok := networkNodes.First(r, tables.All)
	return n.ID, ok
}
