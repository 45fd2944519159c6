// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"slices"
	"testing"
)

// ranges lists the ranges that a query finds as type, physical network, bounds, and whose they are.
func (w *world) ranges(query string) (out []string) {
	w.t.Helper()
	for _, o := range w.do("admin", "GET", "/v2.0/network_segment_ranges"+query, "", 200)["network_segment_ranges"].([]any) {
		r := o.(map[string]any)
		out = append(out, fmt.Sprintf("%v %v %v-%v default=%v shared=%v %v", r["network_type"], r["physical_network"], r["minimum"], r["maximum"], r["default"], r["shared"], r["project_id"]))
	}
	slices.Sort(out)
	return out
}

func TestSegmentRanges(t *testing.T) {
	w := deployment(t)
	if got, want := w.ranges(""), []string{"geneve <nil> 1-1.6777215e+07 default=true shared=true <nil>", "gre <nil> 5-5 default=true shared=true <nil>",
		"vlan physnet1 100-100 default=true shared=true <nil>", "vlan physnet2 200-200 default=true shared=true <nil>",
		"vxlan <nil> 7-7 default=true shared=true <nil>", "vxlan <nil> 9-9 default=true shared=true <nil>"}; !slices.Equal(got, want) {
		t.Errorf("default ranges:\n%q\nwant\n%q", got, want)
	}
	const path = "/v2.0/network_segment_ranges"
	body := func(more string) string { return `{"network_segment_range":{` + more + `}}` }
	def := w.names("admin", "network_segment_ranges?network_type=gre", "id")[0]
	w.refuse("admin", "DELETE", path+"/"+def, "", 400, "NetworkSegmentRangeDefaultReadOnly",
		"Network Segment Range "+def+" is a default segment range which could not be updated or deleted.")
	w.refuse("admin", "PUT", path+"/"+def, body(`"name":"x"`), 400, "NetworkSegmentRangeDefaultReadOnly", "")
	w.refuse("demo", "POST", path, body(`"network_type":"gre","minimum":1,"maximum":2`), 403, "PolicyNotAuthorized", "")
	w.refuse("demo", "GET", path+"/"+def, "", 404, "NetworkSegmentRangeNotFound", "Network Segment Range "+def+" could not be found.")

	demos := w.make("admin", "network_segment_ranges", "network_segment_range",
		`"name":"d","shared":false,"project_id":"p-demo","network_type":"vlan","physical_network":"physnet1","minimum":300,"maximum":301`)
	for _, c := range []struct {
		more          string
		status        int
		kind, message string
	}{
		{`"network_type":"vlan","physical_network":"physnet1","minimum":301,"maximum":400`, 409, "NetworkSegmentRangeOverlaps", "Network segment range overlaps with range(s) with id " + demos},
		{`"network_type":"vlan","minimum":1,"maximum":2`, 400, "BadRequest",
			"Bad network_segment_range request: Network type vlan requires 'physical_network' to be specified while creating new range."},
		{`"network_type":"vlan","physical_network":"p","minimum":4000,"maximum":4095`, 400, "NetworkVlanRangeError", "Invalid network VLAN range: '4000:4095' - '4095 is not a valid VLAN tag'."},
		{`"network_type":"vxlan","minimum":5,"maximum":4`, 400, "NetworkTunnelRangeError", "Invalid network tunnel range: '5:4' - End of tunnel range is less than start of tunnel range."},
		{`"network_type":"vxlan","minimum":5,"maximum":16777216`, 400, "NetworkTunnelRangeError", ""},
		{`"network_type":"flat","minimum":1,"maximum":2`, 400, "HTTPBadRequest", ""},
		{`"network_type":"vxlan","minimum":0,"maximum":2`, 400, "HTTPBadRequest", ""},
		{`"network_type":"vxlan","minimum":1`, 400, "HTTPBadRequest", ""},
	} {
		w.refuse("admin", "POST", path, body(c.more), c.status, c.kind, c.message)
	}

	// Its project's networks come from it first, and nobody else's ever.
	for _, c := range []struct{ who, want string }{{"demo", "vlan physnet1 300 1500"}, {"other", "vlan physnet1 100 1500"}, {"demo", "vlan physnet1 301 1500"},
		{"other", "vlan physnet2 200 1400"}, {"other", "vxlan <nil> 7 1430"}} {
		if got := w.travels(c.who, ""); got != c.want {
			t.Errorf("a network of %s is %s, want %s", c.who, got, c.want)
		}
	}
	r := w.do("admin", "GET", path+"/"+demos, "", 200)["network_segment_range"]
	if got := fmt.Sprint(dig(r, "used"), dig(r, "available"), dig(r, "project_id")); got != "map[300:p-demo 301:p-demo] []p-demo" {
		t.Errorf("a range in use: %s", got)
	}
	if got := w.names("admin", "network_segment_ranges?network_type=vxlan&minimum=7", "available"); !slices.Equal(got, []string{"[]"}) {
		t.Errorf("a default range in use has available %v", got)
	}
	if got := w.do("admin", "GET", path+"?network_type=geneve", "", 200)["network_segment_ranges"]; len(dig(got, 0, "available").([]any)) != mostAvailable {
		t.Errorf("%d free ids of millions are listed", len(dig(got, 0, "available").([]any)))
	}
	inUse := "Network Segment Range " + demos + " is referenced by one or more tenant networks."
	w.refuse("admin", "DELETE", path+"/"+demos, "", 409, "NetworkSegmentRangeReferencedByProject", inUse)
	w.refuse("admin", "PUT", path+"/"+demos, body(`"minimum":301`), 409, "NetworkSegmentRangeReferencedByProject", inUse)
	w.refuse("admin", "PUT", path+"/"+demos, body(`"maximum":300`), 409, "NetworkSegmentRangeReferencedByProject", inUse)
	w.do("admin", "PUT", path+"/"+demos, body(`"maximum":310,"name":"wider"`), 200)
	w.do("admin", "PUT", path+"/"+demos, body(`"maximum":301`), 200)
	w.refuse("admin", "PUT", path+"/"+demos, body(`"network_type":"gre"`), 400, "HTTPBadRequest", "Cannot update read-only attribute network_type")
	for _, id := range w.names("demo", "networks", "id") {
		w.do("demo", "DELETE", "/v2.0/networks/"+id, "", 204)
	}
	w.do("admin", "DELETE", path+"/"+demos, "", 204)

	// One that is everybody's adds to what is configured.
	w.make("admin", "network_segment_ranges", "network_segment_range", `"network_type":"vxlan","minimum":50,"maximum":50`)
	last := ""
	for range 2 {
		last = w.travels("other", "")
	}
	if last != "vxlan <nil> 50 1430" {
		t.Errorf("the last network is %s", last)
	}
}

// TestSegmentRangesFollowConfiguration: default ranges are those of this start of the server.
func TestSegmentRangesFollowConfiguration(t *testing.T) {
	w := newWorld(t)
	w.ranges("")
	v := deployment(t)
	v.st, v.api.store = w.st, w.st
	if got := v.ranges("?network_type=vxlan"); len(got) != 2 {
		t.Errorf("after a change of the configuration: %q", got)
	}
	before := w.st.Snapshot().Revision()
	v.ranges("")
	if w.st.Snapshot().Revision() != before {
		t.Error("a list without news writes")
	}
}
