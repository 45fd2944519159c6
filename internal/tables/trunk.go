// SPDX-License-Identifier: Apache-2.0

package tables

import (
	"nagare/internal/model"
	"nagare/internal/store"
)

// Trunks join sub-ports to a parent. Flows depend on the ports, never on these records.
var Trunks = store.Declare[model.TrunkID, model.Trunk](Schema, "trunks", store.Intent).
	Plane(func(model.Trunk) any { return struct{}{} })

// Indices of trunks and sub-ports.
var (
	TrunksByProject = store.DeclareIndex(Schema, Trunks, "project", func(t model.Trunk) []string { return []string{string(t.Project)} })
	TrunksByName    = store.DeclareIndex(Schema, Trunks, "name", func(t model.Trunk) []string { return []string{t.Name} })
	// TrunksByPort finds the trunk whose parent a port is.
	TrunksByPort = store.DeclareIndex(Schema, Trunks, "port", func(t model.Trunk) []string { return []string{string(t.Port)} })
	// SubPortsByParent finds the ports that the trunk of a parent carries.
	SubPortsByParent = store.DeclareIndex(Schema, Ports, "trunk-parent", func(p model.Port) []string { return some(string(p.Parent)) })
	// SubPortsByVLAN finds the sub-port of a parent that has a tag: SubPortKey.
	SubPortsByVLAN = store.DeclareIndex(Schema, Ports, "trunk-vlan", func(p model.Port) []string {
		if p.Parent == "" {
			return nil
		}
		return []string{SubPortKey(p.Parent, p.VLAN)}
	})
)

// SubPortKey is the key of SubPortsByVLAN.
func SubPortKey(parent model.PortID, vlan uint16) string {
	return string(parent) + "|" + itoa(uint32(vlan))
}

// carriedBy are the subjects of derived tables over located ports that a plug decides about: the port that is plugged and those
// that its trunk carries.
func carriedBy(r store.Reader, p model.Plug) []string {
	ids := []string{string(p.Port)}
	for s := range SubPortsByParent.By(r, string(p.Port)) {
		ids = append(ids, string(s.ID))
	}
	return ids
}
