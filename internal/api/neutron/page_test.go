// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"nagare/internal/model"
	"nagare/internal/store"
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
		for _, path := range []string{"ports?fields=id", "ports?fields=id&admin_state_up=true", "networks?fields=id", "networks?fields=id&shared=true", "ports?fields=id&network_id=" + net, "ports?fields=id&admin_state_up=true&network_id=" + theirs,
			"ports?fields=id&network_id=" + net + "&network_id=none&network_id=" + theirs + "&network_id=" + net, "ports?fields=id&project_id=p-demo&project_id=p-other", "ports?fields=id&sort_key=id&sort_dir=desc",
			"ports?fields=id&sort_key=id&sort_dir=desc&sort_key=name&sort_dir=asc&network_id=" + theirs, "ports?fields=id&sort_key=admin_state_up&sort_dir=desc&network_id=" + theirs} {
			whole := w.names(who, path, "id")
			sorted := slices.Clone(whole)
			if slices.Sort(sorted); strings.Contains(path, "sort_key=id") {
				slices.Reverse(sorted)
			}
			if !slices.Equal(whole, sorted) && !strings.Contains(path, "admin_state_up&sort_dir") {
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
				got = nil
				for marker := ""; ; marker = got[0] { // backwards, from the end
					page := w.names(who, fmt.Sprintf("%s&limit=%d&page_reverse=true&marker=%s", path, limit, marker), "id")
					if len(page) > limit {
						t.Errorf("%s: %s backwards: a page of %d has %d", who, path, limit, len(page))
					}
					if got = slices.Concat(page, got); len(page) < limit || len(got) > len(whole) {
						break
					}
				}
				if !slices.Equal(got, whole) {
					t.Errorf("%s: %s backwards by %d: %d objects, the list has %d", who, path, limit, len(got), len(whole))
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

// counted is an index that counts the rows that are read of it.
type counted struct {
	index[model.Port]
	rows *int
}

func (c counted) count(seq iter.Seq[model.Port]) iter.Seq[model.Port] {
	return func(yield func(model.Port) bool) {
		for p := range seq {
			if *c.rows++; !yield(p) {
				return
			}
		}
	}
}

func (c counted) By(r store.Reader, value string) iter.Seq[model.Port] {
	return c.count(c.index.By(r, value))
}
func (c counted) From(r store.Reader, value, start string) iter.Seq[model.Port] {
	return c.count(c.index.From(r, value, start))
}
func (c counted) Before(r store.Reader, value, end string) iter.Seq[model.Port] {
	return c.count(c.index.Before(r, value, end))
}

// TestPageCost: a page in order of ids reads its own rows, from wherever, in both directions, with and without a filter that an index serves.
func TestPageCost(t *testing.T) {
	w := newWorld(t)
	net, more := w.network("demo", ""), w.network("demo", "")
	for i := range 400 {
		w.port("demo", []string{net, more}[i%2], "")
	}
	rows := 0
	keep, from, back := slices.Clone(ports.lookups), ports.from, ports.back
	t.Cleanup(func() { ports.lookups, ports.from, ports.back = keep, from, back })
	ports.lookups = slices.Clone(keep)
	for i := range ports.lookups {
		if l := &ports.lookups[i]; l.in != nil {
			l.in = counted{l.in, &rows}
			l.by = l.in.By
		}
	}
	all := counted{nil, &rows}
	ports.from = func(r store.Reader, id string) iter.Seq[model.Port] { return all.count(from(r, id)) }
	ports.back = func(r store.Reader, id string) iter.Seq[model.Port] { return all.count(back(r, id)) }
	for _, who := range []string{"demo", "admin"} {
		for _, c := range []struct {
			query string
			most  int
		}{
			{"", 10}, {"&page_reverse=true", 10}, {"&sort_key=id&sort_dir=desc", 10}, {"&sort_key=id&sort_dir=asc", 10}, {"&sort_key=id&sort_dir=desc&page_reverse=true", 10},
			{"&network_id=" + net, 10}, {"&network_id=" + net + "&page_reverse=true", 10}, {"&network_id=" + net + "&sort_key=id&sort_dir=desc", 10},
			{"&network_id=" + net + "&network_id=" + more, 20}, {"&network_id=" + net + "&network_id=none", 10}, {"&project_id=p-demo", 10},
			{"&network_id=" + net + "&sort_key=name&sort_dir=asc", 200}, // every one, to sort them
		} {
			whole := w.names(who, "ports?fields=id"+strings.ReplaceAll(c.query, "&page_reverse=true", ""), "id")
			for _, marker := range []string{"", whole[len(whole)/2]} {
				rows = 0
				got := w.names(who, "ports?fields=id&limit=10"+c.query+"&marker="+marker, "id")
				most := c.most
				if marker != "" && most < 200 {
					most += most / 10 // the marker itself, in each index group that it may be in
				}
				if rows > most || rows < 10 || len(got) != 10 {
					t.Errorf("%s: %s after %q: %d rows for %d ports, want %d at most", who, c.query, marker, rows, len(got), most)
				}
			}
		}
	}
}
