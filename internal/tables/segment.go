// SPDX-License-Identifier: Apache-2.0

package tables

import (
	"nagare/internal/model"
	"nagare/internal/store"
)

// Segments are what the API shows of networks' segments. Flows depend on the networks, which hold how they travel, never on these
// records. Only the Neutron API writes them; a network of another writer may have none.
var Segments = store.Declare[model.SegmentID, model.Segment](Schema, "segments", store.Intent).
	Plane(func(model.Segment) any { return struct{}{} })

// SegmentRanges are ranges of segmentation ids for tenants' networks.
var SegmentRanges = store.Declare[model.SegmentRangeID, model.SegmentRange](Schema, "segment-ranges", store.Intent).
	Plane(func(model.SegmentRange) any { return struct{}{} })

// Indices of segments, of their ranges and of those who name them.
var (
	SegmentsByNetwork  = store.DeclareIndex(Schema, Segments, "network", func(s model.Segment) []string { return []string{string(s.Network)} })
	SegmentsByName     = store.DeclareIndex(Schema, Segments, "name", func(s model.Segment) []string { return []string{s.Name} })
	SegmentsByPhysical = store.DeclareIndex(Schema, Segments, "physical", func(s model.Segment) []string { return some(s.PhysicalNetwork) })
	SubnetsBySegment   = store.DeclareIndex(Schema, Subnets, "segment", func(s model.Subnet) []string { return some(string(s.Segment)) })
	// SegmentRangesByWire finds the ranges that were made for a type and, of VLANs, a physical network: RangeKey.
	SegmentRangesByWire = store.DeclareIndex(Schema, SegmentRanges, "wire", func(r model.SegmentRange) []string {
		if r.Default {
			return nil
		}
		return []string{RangeKey(r.Type, r.PhysicalNetwork)}
	})
	SegmentRangesByProject = store.DeclareIndex(Schema, SegmentRanges, "project", func(r model.SegmentRange) []string { return some(string(r.Project)) })
	// DefaultSegmentRanges finds those that show the configuration: All.
	DefaultSegmentRanges = store.DeclareIndex(Schema, SegmentRanges, "default", func(r model.SegmentRange) []string {
		if !r.Default {
			return nil
		}
		return []string{All}
	})
	// NodesByPhysical finds the nodes that map a physical network.
	NodesByPhysical = store.DeclareIndex(Schema, Nodes, "physical", func(n model.Node) (names []string) {
		for name := range n.Mappings {
			names = append(names, name)
		}
		return names
	})
)

// RangeKey is the key of SegmentRangesByWire.
func RangeKey(t model.NetworkType, physnet string) string { return string(t) + "|" + physnet }
