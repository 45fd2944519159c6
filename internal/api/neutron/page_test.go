// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"slices"
	"testing"

	"nagare/internal/tables"
)

// Pages one after another are the list, whoever asks, however thinly the caller's objects lie among others', with and without
// filters that no index serves, and from a marker that the filter leaves out.
func TestPagesAreTheList(t *testing.T) {
	w := newWorld(t)
	net := w.network("demo", "")
	theirs := w.network("other", "")
	w.make("other", "rbac-policies", "rbac_policy", `"object_type":"network","object_id":"`+theirs+`","action":"access_as_shared","target_tenant":"p-demo"`)
	for i := range 60 {
		who, on := "demo", net
		if i%4 > 0 {
			who, on = "other", theirs
		}
		w.port(who, on, fmt.Sprintf(`,"admin_state_up":%v`, i%3 == 0))
		w.network(who, "")
	}
	w.port("other", theirs, "")
	w.make("demo", "ports", "port", `"network_id":"`+theirs+`"`)
	for _, who := range []string{"demo", "other", "admin", "reader"} {
		for _, path := range []string{"ports?fields=id", "ports?fields=id&admin_state_up=true", "networks?fields=id", "networks?fields=id&shared=true", "ports?fields=id&network_id=" + net} {
			whole := w.names(who, path, "id")
			if !slices.IsSorted(whole) {
				t.Fatalf("%s: %s is not in order of ids", who, path)
			}
			for _, limit := range []int{1, 3, 16, 100} {
				var got []string
				for marker := ""; ; marker = got[len(got)-1] {
					page := w.names(who, fmt.Sprintf("%s&limit=%d&marker=%s", path, limit, marker), "id")
					if len(page) > limit {
						t.Errorf("%s: %s: a page of %d has %d", who, path, limit, len(page))
					}
					if got = append(got, page...); len(page) < limit || len(got) > len(whole) {
						break
					}
				}
				if !slices.Equal(got, whole) {
					t.Errorf("%s: %s by %d: %d objects, the list has %d", who, path, limit, len(got), len(whole))
				}
			}
		}
		// A marker that the filter leaves out.
		on := w.names(who, "ports?fields=id&admin_state_up=true", "id")
		for id, p := range tables.Ports.All(w.st.Snapshot()) {
			if p.AdminStateUp || !slices.Contains(w.names(who, "ports?fields=id", "id"), string(id)) {
				continue
			}
			at, _ := slices.BinarySearch(on, string(id))
			want := on[at:min(at+2, len(on))]
			if got := w.names(who, "ports?fields=id&admin_state_up=true&limit=2&marker="+string(id), "id"); !slices.Equal(got, want) {
				t.Errorf("%s: after %s: %v, want %v", who, id, got, want)
			}
		}
	}
}
