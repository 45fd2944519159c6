// SPDX-License-Identifier: Apache-2.0

package model

// Ids of objects of segments.
type (
	SegmentID      string
	SegmentRangeID string
)

// Wire is how the frames of a network travel on one of its segments.
type Wire struct {
	Type            NetworkType `json:"network_type"`
	PhysicalNetwork string      `json:"physical_network,omitempty"`
	SegmentationID  uint32      `json:"segmentation_id,omitempty"`
}

// Physical reports whether the segment is a physical network, or a VLAN of one.
func (w Wire) Physical() bool { return w.Type == VLAN || w.Type == Flat }

// Wires are the network's segments in order: all of Segments, else the one that it is described by; none if it has none.
func (n *NetworkPlane) Wires() []Wire {
	switch {
	case len(n.Segments) > 0:
		return n.Segments
	case n.Type == "":
		return nil
	}
	return []Wire{{n.Type, n.PhysicalNetwork, n.SegmentationID}}
}

// SetWires gives the network its segments. The first is what describes it where one must do.
func (n *NetworkPlane) SetWires(ws []Wire) {
	n.Type, n.PhysicalNetwork, n.SegmentationID, n.Segments = "", "", 0, nil
	if len(ws) > 0 {
		n.Type, n.PhysicalNetwork, n.SegmentationID = ws[0].Type, ws[0].PhysicalNetwork, ws[0].SegmentationID
	}
	if len(ws) > 1 {
		n.Segments = ws
	}
}

// Tunnel is the network's segment that goes through tunnels: the first, if it has several.
func (n *NetworkPlane) Tunnel() (Wire, bool) {
	for _, w := range n.Wires() {
		if w.Type.Tunnelled() {
			return w, true
		}
	}
	return Wire{}, false
}

// Reach is the index of the network's first segment whose physical network is among a node's mappings; ok is false if none is.
func (n *NetworkPlane) Reach(mappings map[string]string) (index int, ok bool) {
	for i, w := range n.Wires() {
		if w.Physical() && mappings[w.PhysicalNetwork] != "" {
			return i, true
		}
	}
	return 0, false
}

// Segment is a stretch of a network, as the API shows it. What packets need of it is in the network's record.
type Segment struct {
	ID SegmentID `json:"id"`
	Std
	Wire
	Network NetworkID `json:"network_id"`
	Index   int       `json:"segment_index"` // orders a network's segments
}

// SegmentRange is a range of segmentation ids set aside for a project's networks, or for everybody's. A default one shows what
// the server was configured with.
type SegmentRange struct {
	ID SegmentRangeID `json:"id"`
	Std
	Default         bool        `json:"default,omitempty"`
	Shared          bool        `json:"shared"`
	Type            NetworkType `json:"network_type"`
	PhysicalNetwork string      `json:"physical_network,omitempty"`
	Minimum         uint32      `json:"minimum"`
	Maximum         uint32      `json:"maximum"`
}
