// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestFilters(t *testing.T) {
	w := newWorld(t)
	n1 := w.network("demo", `"name":"a"`)
	n2 := w.network("demo", `"name":"","admin_state_up":false`)
	n3 := w.network("other", `"name":"a"`)
	ext := w.network("admin", `"name":"ext","router:external":true`)
	shared := w.network("admin", `"name":"shared","shared":true`)
	hidden := w.network("admin", `"name":"hidden"`)
	s1 := w.subnet("demo", n1, "10.0.0.0/24", "")
	w.subnet("demo", n1, "10.1.0.0/24", `,"enable_dhcp":false`)
	p1 := w.port("demo", n1, `,"name":"p1","device_id":"d1","fixed_ips":[{"ip_address":"10.0.0.77"}]`)
	p2 := w.port("demo", n1, `,"name":"p2","device_id":"d2","fixed_ips":[{"ip_address":"10.1.0.77"}],"admin_state_up":false`)
	sg := w.names("demo", "security-groups", "id")[0]
	for _, c := range []struct {
		who, path, attr string
		want            []string
	}{
		{"demo", "networks", "id", []string{n1, n2, ext, shared}},
		{"other", "networks", "id", []string{n3, ext, shared}},
		{"admin", "networks", "id", []string{n1, n2, n3, ext, shared, hidden}},
		{"demo", "networks?name=a", "id", []string{n1}},
		{"admin", "networks?name=a", "id", []string{n1, n3}},
		{"demo", "networks?name=", "id", []string{n2}},
		{"demo", "networks?name=a&name=shared", "id", []string{n1, shared}},
		{"demo", "networks?name=a&name=a", "id", []string{n1}},
		{"demo", "networks?name=hidden", "id", nil},
		{"demo", "networks?id=" + n1 + "&id=" + hidden + "&id=" + ext, "id", []string{n1, ext}},
		{"demo", "networks?admin_state_up=False", "id", []string{n2}},
		{"demo", "networks?admin_state_up=true&shared=0", "id", []string{n1, ext}},
		{"demo", "networks?router:external=true", "id", []string{ext}},
		{"demo", "networks?project_id=p-demo", "id", []string{n1, n2}},
		{"demo", "networks?tenant_id=p-other", "id", nil},
		{"admin", "networks?tenant_id=p-other", "id", []string{n3}},
		{"demo", "networks?mtu=1450&status=ACTIVE&name=a", "id", []string{n1}},
		{"demo", "networks?name=%00", "id", nil},
		{"admin", "networks?provider:network_type=vxlan&provider:segmentation_id=1", "id", []string{n1}},
		{"demo", "ports?name=p1", "id", []string{p1}},
		{"demo", "ports?device_id=d1&device_id=d2", "id", []string{p1, p2}},
		{"demo", "ports?fixed_ips=ip_address%3D10.0.0.77", "id", []string{p1}},
		{"demo", "ports?fixed_ips=ip_address%3D10.0.0.77&fixed_ips=ip_address%3D10.1.0.77", "id", []string{p1, p2}},
		{"demo", "ports?fixed_ips=subnet_id%3D" + s1 + "&name=p1&name=p2", "id", []string{p1}},
		{"demo", "ports?fixed_ips=subnet_id%3D" + s1 + "&fixed_ips=ip_address%3D10.1.0.77", "id", nil},
		{"demo", "ports?fixed_ips=ip_address_substr%3D.77", "id", []string{p1, p2}},
		{"demo", "ports?network_id=" + n1 + "&device_owner=network:dhcp", "device_owner", []string{"network:dhcp"}},
		{"demo", "ports?security_groups=" + sg, "id", []string{p1, p2}},
		{"demo", "ports?mac_address=nonsense", "id", nil},
		{"other", "ports", "id", nil},
		{"demo", "subnets?cidr=10.0.0.0/24", "id", []string{s1}},
		{"demo", "subnets?ip_version=6", "id", nil},
		{"demo", "subnets?enable_dhcp=true&network_id=" + n1, "id", []string{s1}},
		{"demo", "security-group-rules?direction=egress&ethertype=IPv6", "direction", []string{"egress"}},
		{"demo", "security-group-rules?remote_group_id=" + sg + "&ethertype=IPv4", "remote_group_id", []string{sg}},
	} {
		got := w.names(c.who, c.path, c.attr)
		want := slices.Clone(c.want)
		if slices.Sort(want); !slices.Equal(got, want) {
			t.Errorf("%s: GET %s: got %q, want %q", c.who, c.path, got, want)
		}
	}
	// Attributes that a member does not see are no filters or sort keys for him.
	for _, q := range []string{"networks?provider:segmentation_id=1", "ports?binding:host_id=x", "ports?binding:vif_type=ovs"} {
		name, _, _ := strings.Cut(q[strings.Index(q, "?")+1:], "=")
		w.refuse("demo", "GET", "/v2.0/"+q, "", 400, "HTTPBadRequest", "['"+name+"'] is invalid attribute for filtering")
	}
	w.refuse("demo", "GET", "/v2.0/networks?sort_key=provider:segmentation_id&sort_dir=asc", "", 400, "HTTPBadRequest", "")
}

func TestFields(t *testing.T) {
	w := newWorld(t)
	n := w.network("demo", `"name":"a"`)
	path := "/v2.0/networks/" + n
	for fields, want := range map[string]string{
		"?fields=id&fields=name":                    `{"network":{"id":"` + n + `","name":"a"}}`,
		"?fields=segments":                          `{"network":{}}`,
		"?fields=provider:physical_network":         `{"network":{}}`,
		"?fields=tenant_id&fields=project_id":       `{"network":{"tenant_id":"p-demo","project_id":"p-demo"}}`,
		"?fields=name&fields=nonsense&fields=admin": `{"network":{"name":"a"}}`,
	} {
		if a := w.send("demo", "GET", path+fields, ""); a.text != want {
			t.Errorf("%s: got %s, want %s", fields, a.text, want)
		}
	}
	if a := w.send("admin", "GET", path+"?fields=provider:physical_network&fields=provider:network_type", ""); a.text != `{"network":{"provider:network_type":"vxlan","provider:physical_network":null}}` {
		t.Errorf("nova's question: %s", a.text)
	}
	if a := w.send("demo", "GET", "/v2.0/networks?fields=name", ""); a.text != `{"networks":[{"name":"a"}]}` {
		t.Errorf("list: %s", a.text)
	}
}

// TestPaging walks every combination of who, order and direction, whole, page by page, forth and back.
func TestPaging(t *testing.T) {
	w := newWorld(t)
	for i := range 7 {
		w.network("demo", fmt.Sprintf(`"name":"n%d","description":"d"`, i/2))
	}
	for _, who := range []string{"demo", "admin"} {
		for _, sorting := range []string{"", "&sort_key=name&sort_dir=asc", "&sort_key=name&sort_dir=desc", "&sort_key=description&sort_dir=asc&sort_key=name&sort_dir=desc"} {
			all := w.names(who, "networks?limit=0"+sorting, "id")
			if len(all) != 7 {
				t.Fatalf("%d networks", len(all))
			}
			for limit := 1; limit <= 8; limit++ {
				var got []string
				next := fmt.Sprintf("/v2.0/networks?limit=%d%s", limit, sorting)
				var last string
				for pages := 0; next != "" && pages < 10; pages++ {
					m := w.do(who, "GET", next, "", 200)
					l, links := m["networks"].([]any), linksOf(m)
					for _, o := range l {
						got = append(got, dig(o, "id").(string))
					}
					if (links["next"] != "") != (len(l) == limit) || (links["previous"] != "") != (len(l) > 0) {
						t.Fatalf("%s limit %d%s: %d items, links %v", who, limit, sorting, len(l), links)
					}
					if len(l) > 0 {
						last = links["previous"]
					}
					next = links["next"]
				}
				if !slices.Equal(got, all) {
					t.Fatalf("%s limit %d%s: got %v, want %v", who, limit, sorting, got, all)
				}
				// Back from the last page that held anything.
				var back []string
				for pages := 0; last != "" && pages < 10; pages++ {
					m := w.do(who, "GET", last, "", 200)
					var page []string
					for _, o := range m["networks"].([]any) {
						page = append(page, dig(o, "id").(string))
					}
					back = append(page, back...)
					last = linksOf(m)["previous"]
				}
				rest := len(all) % limit
				if rest == 0 {
					rest = limit
				}
				if want := all[:len(all)-min(rest, len(all))]; !slices.Equal(back, want) {
					t.Fatalf("%s limit %d%s back: got %v, want %v", who, limit, sorting, back, want)
				}
			}
		}
	}
}

// TestShortPageBack: before the third of seven there are two, and only the way forth goes on.
func TestShortPageBack(t *testing.T) {
	w := newWorld(t)
	for range 7 {
		w.network("demo", "")
	}
	all := w.names("demo", "networks", "id")
	m := w.do("demo", "GET", "/v2.0/networks?limit=5&page_reverse=True&marker="+all[2], "", 200)
	links := linksOf(m)
	if len(m["networks"].([]any)) != 2 || dig(m, "networks", 0, "id") != all[0] || links["previous"] != "" {
		t.Errorf("page %v", m)
	}
	if m = w.do("demo", "GET", links["next"], "", 200); dig(m, "networks", 0, "id") != all[2] {
		t.Errorf("next page %v", m)
	}
}

func linksOf(m map[string]any) map[string]string {
	out := map[string]string{}
	l, _ := m["networks_links"].([]any)
	for _, x := range l {
		u, _ := url.Parse(dig(x, "href").(string))
		out[dig(x, "rel").(string)] = u.RequestURI()
	}
	return out
}

func TestTags(t *testing.T) {
	w := newWorld(t)
	a, b := w.network("demo", `"name":"a"`), w.network("demo", `"name":"b"`)
	path := "/v2.0/networks/" + a + "/tags"
	if m := w.do("demo", "PUT", path, `{"tags":["red","blue","red"]}`, 200); fmt.Sprint(m["tags"]) != "[blue red]" {
		t.Errorf("tags %v", m)
	}
	w.do("demo", "PUT", path+"/green", "", 201)
	w.do("demo", "GET", path+"/green", "", 204)
	w.do("demo", "DELETE", path+"/blue", "", 204)
	w.do("demo", "PUT", "/v2.0/networks/"+b+"/tags/red", "", 201)
	if m := w.do("demo", "GET", path, "", 200); fmt.Sprint(m["tags"]) != "[green red]" {
		t.Errorf("tags %v", m)
	}
	both := []string{a, b}
	slices.Sort(both)
	for q, want := range map[string][]string{
		"tags=red": both, "tags=red,green": {a}, "tags-any=green,blue": {a}, "not-tags=green": {b}, "not-tags-any=red,x": {}, "tags=blue": {},
	} {
		if got := w.names("demo", "networks?"+q, "id"); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", q, got, want)
		}
	}
	w.refuse("other", "PUT", path+"/x", "", 404, "NetworkNotFound", "")
	w.refuse("demo", "PUT", path, `{"tags":["`+strings.Repeat("x", 61)+`"]}`, 400, "HTTPBadRequest", "")
	if m := w.do("demo", "POST", path, `{"tags":["aqua","red"]}`, 201); fmt.Sprint(m["tags"]) != "[aqua green red]" {
		t.Errorf("tags %v", m)
	}
	w.do("demo", "DELETE", path, "", 204)
	if m := w.do("demo", "GET", "/v2.0/networks/"+a, "", 200); fmt.Sprint(dig(m, "network", "tags")) != "[]" || dig(m, "network", "revision_number") != 6.0 {
		t.Errorf("network %v", m)
	}
	if m := w.do("demo", "POST", "/v2.0/ports", `{"ports":[{"network_id":"`+a+`","tags":["t1"]},{"network_id":"`+a+`"}]}`, 201); fmt.Sprint(dig(m, "ports", 0, "tags")) != "[t1]" {
		t.Errorf("ports %v", m)
	}
}
