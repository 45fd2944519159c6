// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/tables"
)

// Ranges of segmentation ids (extension network-segment-range): an administrator sets some aside for a project or adds some for
// everybody, without a restart. Those of the server's configuration are shown among them, and are read-only.

var segmentRanges = new(Resource[model.SegmentRange])

// rangedTypes are the network types that have ranges, with their highest id.
var rangedTypes = map[model.NetworkType]int{model.VLAN: 4094, model.VXLAN: 1<<24 - 1, model.GRE: 1<<32 - 1, model.Geneve: 1<<24 - 1}

// mostAvailable bounds how many free ids of a range are listed: all of a VLAN range, the lowest of one of millions.
const mostAvailable = 4096

func init() {
	declare(part{extensions: []extension{
		{"network-segment-range", "Neutron Network Segment Range", "Provides support for the network segment range management", "2018-11-29T00:00:00-00:00"},
	}})
	std := func(r *model.SegmentRange) *model.Std { return &r.Std }
	d := plain(tables.SegmentRanges, tables.SegmentRangesByProject, func(r *model.SegmentRange) model.SegmentRangeID { return r.ID }, std)
	d.name, d.plural, d.path = "network_segment_range", "network_segment_ranges", "network_segment_ranges"
	d.gone = func(id string) *Error {
		return fail(http.StatusNotFound, "NetworkSegmentRangeNotFound", "Network Segment Range %s could not be found.", id)
	}
	d.sees = func(*view, *model.SegmentRange) bool { return false } // only who sees all
	d.create, d.change, d.remove = adminOnly, adminOnly, adminOnly
	d.missed = func(v *view) bool { return v.readsAll() && len(v.staleRanges()) > 0 }
	d.before = func(w *work, _ *view) error { w.syncRanges(); return nil }
	d.build, d.update, d.delete = buildRange, updateRange, deleteRange
	bound := func(name string, of func(*model.SegmentRange) uint32) Attr[model.SegmentRange] {
		return Attr[model.SegmentRange]{Name: name, Get: func(_ *view, r *model.SegmentRange) any { return int(of(r)) }, Parse: integer(1, 1<<32-1), Post: true, Put: true, Required: true}
	}
	types := make([]string, 0, len(rangedTypes))
	for _, t := range slices.Sorted(maps.Keys(rangedTypes)) {
		types = append(types, string(t))
	}
	d.attrs = append(stdAttrs(func(r *model.SegmentRange) string { return string(r.ID) }, std, true),
		Attr[model.SegmentRange]{Name: "default", Get: func(_ *view, r *model.SegmentRange) any { return r.Default }, Bool: true},
		Attr[model.SegmentRange]{Name: "shared", Get: func(_ *view, r *model.SegmentRange) any { return r.Shared }, Parse: boolean, Default: true, Post: true, Bool: true},
		Attr[model.SegmentRange]{Name: "network_type", Get: func(_ *view, r *model.SegmentRange) any { return string(r.Type) }, Parse: oneOf(types...), Post: true, Required: true},
		Attr[model.SegmentRange]{Name: "physical_network", Get: func(_ *view, r *model.SegmentRange) any { return nullText(r.PhysicalNetwork) }, Parse: orNull(text(64)), Post: true},
		bound("minimum", func(r *model.SegmentRange) uint32 { return r.Minimum }),
		bound("maximum", func(r *model.SegmentRange) uint32 { return r.Maximum }),
		Attr[model.SegmentRange]{Name: "used", Get: usedIDs, NoFilter: true, NoSort: true},
		Attr[model.SegmentRange]{Name: "available", Get: availableIDs, NoFilter: true, NoSort: true})
	for i := range d.attrs {
		if name := d.attrs[i].Name; name == "project_id" || name == "tenant_id" {
			d.attrs[i].Get = func(_ *view, r *model.SegmentRange) any { return nullText(string(r.Project)) }
		}
	}
	segmentRanges.declare(d)
}

// idsOf are the ids of a range.
func idsOf(r *model.SegmentRange) alloc.Range { return alloc.Range{First: r.Minimum, Last: r.Maximum} }

// usedIDs tells whose networks have ids of the range.
func usedIDs(v *view, r *model.SegmentRange) any {
	used := map[string]any{}
	for id, n := range alloc.UsedVNIs(v.r, r.Type, r.PhysicalNetwork, idsOf(r)) {
		used[strconv.FormatUint(uint64(id), 10)] = string(n.Project)
	}
	return used
}

func availableIDs(v *view, r *model.SegmentRange) any {
	free := []any{}
	for part := range alloc.FreeVNIs(v.r, r.Type, r.PhysicalNetwork, idsOf(r)) {
		for id := uint64(part.First); id <= uint64(part.Last); id++ {
			if free = append(free, int(id)); len(free) == mostAvailable {
				return free
			}
		}
	}
	return free
}

// configuredRanges are the ranges that show the server's configuration, by id.
func (a *API) configuredRanges() map[model.SegmentRangeID]model.SegmentRange {
	out := map[model.SegmentRangeID]model.SegmentRange{}
	add := func(t model.NetworkType, physnet string) {
		for _, r := range a.alloc.Configured(t, physnet) {
			s := model.SegmentRange{Default: true, Shared: true, Type: t, PhysicalNetwork: physnet, Minimum: r.First, Maximum: r.Last}
			s.ID = model.SegmentRangeID(uuid.NewSHA1(uuid.NameSpaceURL, []byte(fmt.Sprintf("nagare:segment-range:%s:%s:%d:%d", t, physnet, r.First, r.Last))).String())
			out[s.ID] = s
		}
	}
	for physnet := range a.alloc.Ranges.VLAN {
		add(model.VLAN, physnet)
	}
	for _, t := range []model.NetworkType{model.VXLAN, model.Geneve, model.GRE} {
		add(t, "")
	}
	return out
}

// staleRanges are the ids of default ranges that are shown but not configured, or the other way round.
func (v *view) staleRanges() (ids []model.SegmentRangeID) {
	left := v.api.configuredRanges()
	for r := range tables.DefaultSegmentRanges.By(v.r, tables.All) {
		if _, ok := left[r.ID]; ok {
			delete(left, r.ID)
		} else {
			ids = append(ids, r.ID)
		}
	}
	return slices.AppendSeq(ids, maps.Keys(left))
}

// syncRanges shows the configuration as it is.
func (w *work) syncRanges() {
	configured := w.api.configuredRanges()
	stale := w.staleRanges()
	slices.Sort(stale)
	for _, id := range stale {
		if r, ok := configured[id]; ok {
			r.CreatedAt, r.UpdatedAt = w.now, w.now
			tables.SegmentRanges.Put(w.tx, id, r)
		} else {
			tables.SegmentRanges.Delete(w.tx, id)
		}
	}
}

func buildRange(w *work, in *values) (model.SegmentRange, error) {
	r := model.SegmentRange{ID: model.SegmentRangeID(alloc.NewUUID()), Std: w.newStd(in, 0), Shared: get[bool](in, "shared"),
		Type: model.NetworkType(get[string](in, "network_type")), Minimum: uint32(get[int](in, "minimum")), Maximum: uint32(get[int](in, "maximum"))}
	if r.Shared {
		r.Project = ""
	}
	if r.Type == model.VLAN { // that of others is taken and not kept, as in Neutron
		if r.PhysicalNetwork = get[string](in, "physical_network"); r.PhysicalNetwork == "" {
			return r, fail(http.StatusBadRequest, "BadRequest",
				"Bad network_segment_range request: Network type vlan requires 'physical_network' to be specified while creating new range.")
		}
		if strings.Contains(r.PhysicalNetwork, "|") {
			return r, invalidInput("physical_network '%s' contains '|'", r.PhysicalNetwork)
		}
	}
	if err := w.checkRange(&r); err != nil {
		return r, err
	}
	tables.SegmentRanges.Put(w.tx, r.ID, r)
	return r, nil
}

// checkRange refuses a range that no id is in, or that shares one with another. It may share some with the configured ones.
func (w *work) checkRange(r *model.SegmentRange) error {
	limit := rangedTypes[r.Type]
	why := ""
	switch worst := max(r.Minimum, r.Maximum); {
	case int(worst) > limit && r.Type == model.VLAN:
		why = fmt.Sprintf("%d is not a valid VLAN tag", worst)
	case int(worst) > limit:
		why = fmt.Sprintf("%d is not a valid %s identifier", worst, r.Type)
	case r.Maximum < r.Minimum && r.Type == model.VLAN:
		why = "End of VLAN range is less than start of VLAN range"
	case r.Maximum < r.Minimum:
		why = "End of tunnel range is less than start of tunnel range"
	}
	switch {
	case why != "" && r.Type == model.VLAN:
		return fail(http.StatusBadRequest, "NetworkVlanRangeError", "Invalid network VLAN range: '%d:%d' - '%s'.", r.Minimum, r.Maximum, why)
	case why != "":
		return fail(http.StatusBadRequest, "NetworkTunnelRangeError", "Invalid network tunnel range: '%d:%d' - %s.", r.Minimum, r.Maximum, why)
	}
	var overlaps []string
	for o := range tables.SegmentRangesByWire.By(w.tx, tables.RangeKey(r.Type, r.PhysicalNetwork)) {
		if o.ID != r.ID && r.Minimum <= o.Maximum && r.Maximum >= o.Minimum {
			overlaps = append(overlaps, string(o.ID))
		}
	}
	if len(overlaps) > 0 {
		return conflict("NetworkSegmentRangeOverlaps", "Network segment range overlaps with range(s) with id %s", strings.Join(overlaps, ", "))
	}
	return nil
}

func updateRange(w *work, r model.SegmentRange, in *values) (model.SegmentRange, error) {
	if r.Default {
		return r, rangeReadOnly(&r)
	}
	had := r
	takeStd(in, &r.Std)
	if in.has("minimum") {
		r.Minimum = uint32(get[int](in, "minimum"))
	}
	if in.has("maximum") {
		r.Maximum = uint32(get[int](in, "maximum"))
	}
	if err := w.checkRange(&r); err != nil {
		return r, err
	}
	if r.Minimum > had.Minimum {
		if err := w.checkNoneHas(&had, alloc.Range{First: had.Minimum, Last: min(r.Minimum-1, had.Maximum)}); err != nil {
			return r, err
		}
	}
	if r.Maximum < had.Maximum {
		return r, w.checkNoneHas(&had, alloc.Range{First: max(r.Maximum+1, had.Minimum), Last: had.Maximum})
	}
	return r, nil
}

func deleteRange(w *work, r model.SegmentRange) error {
	if r.Default {
		return rangeReadOnly(&r)
	}
	if err := w.checkNoneHas(&r, idsOf(&r)); err != nil {
		return err
	}
	tables.SegmentRanges.Delete(w.tx, r.ID)
	return nil
}

func rangeReadOnly(r *model.SegmentRange) error {
	return fail(http.StatusBadRequest, "NetworkSegmentRangeDefaultReadOnly",
		"Network Segment Range %s is a default segment range which could not be updated or deleted.", r.ID)
}

// checkNoneHas refuses to take ids out of a range that networks have.
func (w *work) checkNoneHas(r *model.SegmentRange, ids alloc.Range) error {
	for range alloc.UsedVNIs(w.tx, r.Type, r.PhysicalNetwork, ids) {
		return conflict("NetworkSegmentRangeReferencedByProject", "Network Segment Range %s is referenced by one or more tenant networks.", r.ID)
	}
	return nil
}
