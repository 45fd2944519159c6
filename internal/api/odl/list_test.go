// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"fmt"
	"net/url"
	"slices"
	"testing"

	"nagare/internal/store"
)

// portN is the id of the n-th port of a list, in order.
func portN(n int) string { return fmt.Sprintf("cccccccc-0000-4000-8000-%012d", n) }

// listed is a world with ports 1 to 5: odd ones on netA, even ones on netB.
func listed(t testing.TB) *world {
	w := newWorld(t)
	for i := 1; i <= 5; i++ {
		net := netA
		if i%2 == 0 {
			net = netB
		}
		w.do("POST", "/ports", fmt.Sprintf(`{"port":{"id":%q,"network_id":%q,"name":"p%d","tenant_id":"t%d","mac_address":"fa:16:3e:00:00:0%d","device_id":"d%d","device_owner":"o",
"admin_state_up":%v,"binding:host_id":"h%d","qos_policy_id":%q,"fixed_ips":[]}}`, portN(i), net, i, i%2, i, i, i > 2, i%2, unknown), 201)
	}
	return w
}

func TestFilters(t *testing.T) {
	w := listed(t)
	all := []int{1, 2, 3, 4, 5}
	for query, want := range map[string][]int{
		"": all, "?name=p2": {2}, "?name=p2&name=p4": {2, 4}, "?network_id=" + netB: {2, 4}, "?network_id=" + url.QueryEscape("AAAAAAAA00004000800000000000000"+"2"): {2, 4},
		"?device_id=d3": {3}, "?id=" + portN(4): {4}, "?id=" + portN(4) + "&name=p1": nil, "?admin_state_up=false": {1, 2}, "?admin_state_up=True": {3, 4, 5},
		"?tenant_id=t1": {1, 3, 5}, "?project_id=t1&network_id=" + netB: nil, "?mac_address=fa:16:3e:00:00:05": {5}, "?binding_host_id=h0": {2, 4}, "?status=DOWN": all, "?status=ACTIVE": nil,
		"?unheard_of=1": all, "?qos_policy_id=" + unknown: all, "?qos_policy_id=" + netA: nil, "?name=%00": nil, "?device_owner=o": all, "?device_owner=": nil,
	} {
		var ids []string
		for _, n := range want {
			ids = append(ids, portN(n))
		}
		if got := w.ids("ports", query); !slices.Equal(got, ids) && len(got)+len(ids) > 0 {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
	out := w.do("GET", "/ports?fields=id&fields=qos_policy_id&fields=unheard&id="+portN(1), "", 200)
	if want := `{"ports":[{"id":"` + portN(1) + `","qos_policy_id":"` + unknown + `"}]}`; out.text != want {
		t.Errorf("fields: %s", out.text)
	}
	if out := w.do("GET", "/ports/"+portN(1)+"?fields=name", "", 200); out.text != `{"port":{"name":"p1"}}` {
		t.Errorf("fields: %s", out.text)
	}
	w.do("POST", "/networks", netBody(netA, "5", ""), 201)
	for query, want := range map[string]int{"?router_external=false": 1, "?router_external=true": 0, "?provider_network_type=flat": 1, "?shared=false": 1} {
		if got := len(w.ids("networks", query)); got != want {
			t.Errorf("%s: %d, want %d", query, got, want)
		}
	}
}

// TestPages walks through a list forwards and backwards by the links that it gives.
func TestPages(t *testing.T) {
	w := listed(t)
	page := func(query string) (ids []string, links map[string]string) {
		t.Helper()
		out := w.do("GET", "/ports"+query, "", 200)
		links = map[string]string{}
		for _, l := range out.body["ports_links"].([]any) {
			u, err := url.Parse(l.(map[string]any)["href"].(string))
			if err != nil || u.Path != Base+"/ports" {
				t.Fatalf("link %v", l)
			}
			links[l.(map[string]any)["ref"].(string)] = "?" + u.RawQuery
		}
		for _, p := range out.body["ports"].([]any) {
			ids = append(ids, p.(map[string]any)["id"].(string))
		}
		return ids, links
	}
	for _, filter := range []string{"", "&device_owner=o"} {
		var pages [][]string
		next, last := "?limit=2"+filter, ""
		for next != "" {
			ids, links := page(next)
			pages = append(pages, ids)
			last, next = next, links["next"]
		}
		want := [][]string{{portN(1), portN(2)}, {portN(3), portN(4)}, {portN(5)}}
		if fmt.Sprint(pages) != fmt.Sprint(want) {
			t.Errorf("forwards: %v", pages)
		}
		_, links := page(last)
		ids, links := page(links["previous"])
		if !slices.Equal(ids, want[1]) {
			t.Errorf("backwards: %v", ids)
		}
		if ids, links = page(links["previous"]); !slices.Equal(ids, want[0]) || links["previous"] != "" || links["next"] == "" {
			t.Errorf("backwards: %v with %v", ids, links)
		}
	}
	for query, want := range map[string]int{"?marker=" + unknown: 404, "?marker=x": 404, "?limit=-1": 400, "?limit=x": 400, "?page_reverse=x": 400, "?limit=99999999999999999999": 400, "?limit=0": 200} {
		w.do("GET", "/ports"+query, "", want)
	}
	w.do("GET", "/routers?limit=x&marker=y", "", 200) // accepted and ignored
}

// TestCostOfAList: who asks by an indexed attribute does not pay for the rest, and neither does who asks for a page.
func TestCostOfAList(t *testing.T) {
	cost := func(n int, query string) float64 {
		w := newWorld(t)
		w.commit(func(tx *store.Txn) {
			for i := range n {
				putPortN(tx, i)
			}
		})
		return testing.AllocsPerRun(5, func() { w.do("GET", "/ports"+query, "", 200) })
	}
	for _, query := range []string{"?id=" + portN(3), "?device_id=d3", "?name=p3", "?limit=2", "?limit=2&marker=" + portN(2)} {
		if few, many := cost(20, query), cost(500, query); many > few*1.2 {
			t.Errorf("%s: %.0f allocations among 20 ports, %.0f among 500", query, few, many)
		}
	}
}
