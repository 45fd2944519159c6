// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// Segments of networks (extensions multi-provider and segment). A network's record says how it travels, on each of its segments in
// order; the records of this resource name them, so that subnets can be on one (segmentsubnet.go).

var segments = new(Resource[model.Segment])

// maxSegments bounds the segments of a network: they are one record.
const maxSegments = 100

// The attributes by which a network, or an element of its segments, says how it travels.
const (
	providerType     = "provider:network_type"
	providerPhysical = "provider:physical_network"
	providerID       = "provider:segmentation_id"
)

var (
	typeOfWire = oneOf("vxlan", "vlan", "flat", "geneve", "gre", "local")
	idOfWire   = orNull(integer(-1<<31, 1<<32-1))
)

func init() {
	declare(part{extensions: []extension{
		{"l2_adjacency", "L2 Adjacency", "Display L2 Adjacency for Neutron Networks.", "2016-04-12T16:00:00-00:00"},
		{"multi-provider", "Multi Provider Network", "Expose mapping of virtual networks to multiple physical networks", "2013-06-27T10:00:00-00:00"},
		{"segment", "Segment", "Segments extension.", "2016-02-24T17:00:00-00:00"},
		{"standard-attr-segment", "Standard attributes of segments", "Adds standard attributes to the segment resource", "2017-01-15T00:00:00-00:00"},
	}})
	networks.extend(Attr[model.Network]{Name: "segments", Get: func(_ *view, n *model.Network) any { return wiresBody(n) }, Parse: wireList, Post: true, Put: true,
		SetPost: adminOnly, SetPut: adminOnly, See: adminOrService, NoFilter: true, NoSort: true})

	id := func(s *model.Segment) string { return string(s.ID) }
	std := func(s *model.Segment) *model.Std { return &s.Std }
	d := plain(tables.Segments, tables.SegmentsByNetwork, func(s *model.Segment) model.SegmentID { return s.ID }, std)
	d.name, d.plural, d.path = "segment", "segments", "segments"
	d.gone = segmentNotFound
	d.sees = func(*view, *model.Segment) bool { return false } // only who sees all
	d.lookups = []lookup[model.Segment]{d.lookups[0], {attr: "network_id", in: tables.SegmentsByNetwork}, {attr: "name", in: tables.SegmentsByName},
		{attr: "physical_network", in: tables.SegmentsByPhysical}}
	d.create, d.change, d.remove = adminOnly, adminOnly, adminOnly
	d.missed = func(v *view) bool { p, _ := segmentProgress.Get(v.r, "networks"); return v.readsAll() && !p.Done }
	d.before = func(w *work, _ *view) error { w.nameOldSegments(); return nil }
	d.build, d.delete = buildSegment, deleteSegment
	d.update = func(_ *work, s model.Segment, in *values) (model.Segment, error) { takeStd(in, &s.Std); return s, nil }
	d.attrs = []Attr[model.Segment]{
		{Name: "id", Get: func(_ *view, s *model.Segment) any { return id(s) }},
		{Name: "tenant_id", Parse: text(255), Post: true}, // taken and not kept: a segment is of no project
		{Name: "project_id", Parse: text(255), Post: true},
		{Name: "network_id", Get: func(_ *view, s *model.Segment) any { return string(s.Network) }, Parse: uuidText, Post: true, Required: true},
		{Name: "physical_network", Get: func(_ *view, s *model.Segment) any { return nullText(s.PhysicalNetwork) }, Parse: orNull(text(64)), Post: true},
		{Name: "network_type", Get: func(_ *view, s *model.Segment) any { return string(s.Type) }, Parse: typeOfWire, Post: true, Required: true},
		{Name: "segmentation_id", Get: func(_ *view, s *model.Segment) any { return idOrNull(s.SegmentationID) }, Parse: idOfWire, Post: true},
		{Name: "name", Get: func(_ *view, s *model.Segment) any { return nullText(s.Name) }, Parse: textOrNull(255), Default: "", Post: true, Put: true},
		{Name: "description", Get: func(_ *view, s *model.Segment) any { return nullText(s.Description) }, Parse: textOrNull(255), Default: "", Post: true, Put: true},
		{Name: "created_at", Get: func(_ *view, s *model.Segment) any { return stamp(s.CreatedAt) }},
		{Name: "updated_at", Get: func(_ *view, s *model.Segment) any { return stamp(s.UpdatedAt) }},
		{Name: "revision_number", Get: func(_ *view, s *model.Segment) any { return s.RevisionNo }},
	}
	segments.declare(d)
}

func segmentNotFound(id string) *Error {
	return fail(http.StatusNotFound, "SegmentNotFound", "Segment %s could not be found.", id)
}

func idOrNull(id uint32) any {
	if id == 0 {
		return nil
	}
	return int(id)
}

// ofOne leaves out what describes a network with one segment only: another shows segments in its place.
func ofOne(get func(*model.Network) any) func(*view, *model.Network) any {
	return func(_ *view, n *model.Network) any {
		if len(n.Segments) > 0 {
			return omit
		}
		return get(n)
	}
}

func wiresBody(n *model.Network) any {
	if len(n.Segments) == 0 {
		return omit
	}
	out := make([]any, 0, len(n.Segments))
	for _, w := range n.Segments {
		out = append(out, map[string]any{providerType: string(w.Type), providerPhysical: nullText(w.PhysicalNetwork), providerID: idOrNull(w.SegmentationID)})
	}
	return out
}

// wireList takes [{provider attributes}].
func wireList(v any) (any, error) {
	if v == nil {
		return nil, nil
	}
	l, ok := v.([]any)
	if !ok {
		return nil, because("'%s' is not a list", show(v))
	}
	if len(l) > maxSegments {
		return nil, because("more than %d segments", maxSegments)
	}
	var out []map[string]any
	for _, e := range l {
		m, err := object(e, map[string]parser{providerType: orNull(typeOfWire), providerPhysical: orNull(text(64)), providerID: idOfWire})
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// takeWires settles how a new network travels.
func (w *work) takeWires(n *model.Network, in *values, recorded uint32) error {
	list := get[[]map[string]any](in, "segments")
	if len(list) == 0 {
		return w.provider(n, in, recorded)
	}
	if in.m[providerType] != nil || in.m[providerPhysical] != nil || in.m[providerID] != nil {
		return fail(http.StatusBadRequest, "SegmentsSetInConjunctionWithProviders", "Segments and provider values cannot both be set.")
	}
	var wires []model.Wire
	for _, m := range list {
		wire, err := w.newWire(n.Project, m)
		if err != nil {
			return err
		}
		if slices.Contains(wires, wire) {
			return fail(http.StatusBadRequest, "SegmentsContainDuplicateEntry", "Duplicate segment entry in request.")
		}
		wires = append(wires, wire)
	}
	n.SetWires(wires)
	return nil
}

// newWire settles how a network's segment travels, from its provider attributes.
func (w *work) newWire(project model.ProjectID, m map[string]any) (model.Wire, error) {
	if m[providerType] == nil {
		return model.Wire{}, invalidInput("network_type required")
	}
	one := model.Network{Std: model.Std{Project: project}}
	if err := w.provider(&one, &values{m: m}, 0); err != nil {
		return model.Wire{}, err
	}
	return one.Wires()[0], nil
}

// renumber gives a VLAN network another id. Its ports go on; the wire has to know the VLAN.
func (w *work) renumber(n *model.Network, in *values) error {
	switch {
	case len(n.Segments) > 0:
		return invalidInput("Provider network attributes can be updated only in provider networks with a single segment")
	case n.Type != model.VLAN:
		return invalidInput("Only VLAN type networks can be updated")
	case in.m[providerID] == nil:
		return invalidInput("Only segmentation_id field can be updated in VLAN type networks")
	}
	old := n.Wires()[0]
	now, err := w.newWire(n.Project, map[string]any{providerType: string(old.Type), providerPhysical: old.PhysicalNetwork, providerID: in.m[providerID]})
	if err != nil {
		return err
	}
	alloc.ReleaseVNI(w.tx, old)
	n.SetWires([]model.Wire{now})
	for s := range tables.SegmentsByNetwork.By(w.tx, string(n.ID)) {
		s.Wire = now
		w.touch(&s.Std)
		tables.Segments.Put(w.tx, s.ID, s)
	}
	return nil
}

// checkSameWires refuses other segments in an update: how a network travels changes by its segments.
func checkSameWires(n *model.Network, in *values) error {
	if !in.asked("segments") {
		return nil
	}
	same := func(m map[string]any, w model.Wire) bool {
		id, _ := m[providerID].(int)
		return show(m[providerType]) == string(w.Type) && fmt.Sprint(m[providerPhysical]) == fmt.Sprint(nullText(w.PhysicalNetwork)) && uint32(id) == w.SegmentationID
	}
	if !slices.EqualFunc(get[[]map[string]any](in, "segments"), n.Segments, same) {
		return invalidInput("Plugin does not support updating the following provider network attributes: segments")
	}
	return nil
}

// putSegments names the segments of a network.
func (w *work) putSegments(n *model.Network) {
	for i, wire := range n.Wires() {
		s := model.Segment{ID: model.SegmentID(alloc.NewUUID()), Std: model.Std{CreatedAt: w.now, UpdatedAt: w.now}, Wire: wire, Network: n.ID, Index: i}
		tables.Segments.Put(w.tx, s.ID, s)
	}
}

// nameSegments does so for a network of another writer, or of an older version.
func (w *work) nameSegments(n *model.Network) {
	if _, named := tables.SegmentsByNetwork.First(w.tx, string(n.ID)); !named {
		w.putSegments(n)
	}
}

// progress is how far nameOldSegments came.
type progress struct {
	Next model.NetworkID `json:"next"`
	Done bool            `json:"done"`
}

var segmentProgress = store.Declare[string, progress](tables.Schema, "segment-progress", store.Allocated).
	Plane(func(progress) any { return nil })

// nameOldSegments names the segments of networks that a version without them made; once, some of them with each list.
func (w *work) nameOldSegments() {
	p, _ := segmentProgress.Get(w.tx, "networks")
	var some []model.Network
	for _, n := range tables.Networks.From(w.tx, p.Next) {
		if some = append(some, n); len(some) > maxBulk {
			break
		}
	}
	if p.Done = len(some) <= maxBulk; !p.Done {
		p.Next, some = some[maxBulk].ID, some[:maxBulk]
	}
	for i := range some {
		w.nameSegments(&some[i])
	}
	segmentProgress.Put(w.tx, "networks", p)
}

func buildSegment(w *work, in *values) (model.Segment, error) {
	s := model.Segment{ID: model.SegmentID(alloc.NewUUID()), Std: model.Std{Name: get[string](in, "name"), Description: get[string](in, "description"), CreatedAt: w.now, UpdatedAt: w.now}}
	n, err := findNetwork(&w.view, get[string](in, "network_id"))
	if err != nil {
		return s, err
	}
	w.nameSegments(&n)
	have := n.Wires()
	if len(have) >= maxSegments {
		return s, conflict("SegmentLimit", "Network %s has %d segments; delete one first.", n.ID, len(have))
	}
	m := map[string]any{providerType: in.m["network_type"]}
	if in.m["physical_network"] != nil {
		m[providerPhysical] = in.m["physical_network"]
	}
	if in.m["segmentation_id"] != nil {
		m[providerID] = in.m["segmentation_id"]
	}
	if s.Wire, err = w.newWire(n.Project, m); err != nil {
		return s, err
	}
	if slices.Contains(have, s.Wire) { // else the id would be in use
		return s, invalidInput("Network %s has a %s segment", n.ID, s.Type)
	}
	for o := range tables.SegmentsByNetwork.By(w.tx, string(n.ID)) {
		s.Index = max(s.Index, o.Index+1)
	}
	s.Network = n.ID
	tables.Segments.Put(w.tx, s.ID, s)
	n.SetWires(append(slices.Clone(have), s.Wire))
	w.touch(&n.Std)
	tables.Networks.Put(w.tx, n.ID, n)
	return s, nil
}

// maxNamed is how many of those who use a segment a refusal names.
const maxNamed = 20

func deleteSegment(w *work, s model.Segment) error {
	inUse := func(reason string, ids []string) error {
		return conflict("SegmentInUse", "Segment '%s' cannot be deleted: %s %s.", s.ID, reason, strings.Join(ids, ", "))
	}
	var ids []string
	for sub := range tables.SubnetsBySegment.By(w.tx, string(s.ID)) {
		if ids = append(ids, string(sub.ID)); len(ids) == maxNamed {
			break
		}
	}
	if len(ids) > 0 {
		return inUse("The segment is still associated with subnet(s)", ids)
	}
	n, ok := tables.Networks.Get(w.tx, s.Network)
	if !ok {
		tables.Segments.Delete(w.tx, s.ID)
		return nil
	}
	for p := range tables.PortsByNetwork.By(w.tx, string(n.ID)) {
		if wire, bound := wireAt(w.tx, &n, p.Host); bound && wire == s.Wire {
			if ids = append(ids, string(p.ID)); len(ids) == maxNamed {
				break
			}
		}
	}
	if len(ids) > 0 {
		return inUse("The segment is still bound with port(s)", ids)
	}
	n.SetWires(slices.DeleteFunc(slices.Clone(n.Wires()), func(x model.Wire) bool { return x == s.Wire }))
	alloc.ReleaseVNI(w.tx, s.Wire)
	w.touch(&n.Std)
	tables.Networks.Put(w.tx, n.ID, n)
	tables.Segments.Delete(w.tx, s.ID)
	return nil
}

// wireAt is the segment by which a node's ports of a network are on it: one whose physical network it maps, else the one through
// tunnels, or a local one.
func wireAt(r store.Reader, n *model.Network, host model.NodeID) (model.Wire, bool) {
	if host == "" {
		return model.Wire{}, false
	}
	node, _ := tables.Nodes.Get(r, host)
	wires := n.Wires()
	if i, ok := n.Reach(node.Mappings); ok {
		return wires[i], true
	}
	if wire, ok := n.Tunnel(); ok {
		return wire, true
	}
	at := slices.IndexFunc(wires, func(x model.Wire) bool { return x.Type == model.Local })
	if at < 0 {
		return model.Wire{}, false
	}
	return wires[at], true
}
