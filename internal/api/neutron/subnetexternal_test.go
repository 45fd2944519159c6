// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"slices"
	"testing"
)

// TestSubnetsOfExternal: who sees an external network sees its subnets, by which he finds them, and has no addresses of them.
func TestSubnetsOfExternal(t *testing.T) {
	w := newWorld(t, withRouters)
	own, ext, hidden := w.network("demo", ""), w.network("admin", `"router:external":true`), w.network("admin", "")
	a, b := w.subnet("demo", own, "10.0.0.0/24", ""), w.subnet("admin", ext, "172.16.0.0/24", "")
	w.subnet("admin", hidden, "10.1.0.0/24", "")
	for query, want := range map[string][]string{"": {a, b}, "?router:external=true": {b}, "?router:external=false": {a}, "?network_id=" + ext: {b}, "?router:external=false&network_id=" + ext: {}} {
		got := w.names("demo", "subnets"+query, "id")
		if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
			t.Errorf("subnets%s: %v, want %v", query, got, want)
		}
	}
	if m := w.do("demo", "GET", "/v2.0/subnets/"+b, "", 200); dig(m, "subnet", "router:external") != true {
		t.Errorf("shown %v", m)
	}
	w.refuse("demo", "PUT", "/v2.0/subnets/"+b, `{"subnet":{"name":"x"}}`, 403, "PolicyNotAuthorized", "")
	w.refuse("admin", "PUT", "/v2.0/subnets/"+b, `{"subnet":{"router:external":false}}`, 400, "HTTPBadRequest", "Cannot update read-only attribute router:external")
	w.do("admin", "PUT", "/v2.0/networks/"+ext, `{"network":{"router:external":false}}`, 200)
	if got := w.names("demo", "subnets", "id"); !slices.Equal(got, []string{a}) {
		t.Errorf("of a network that is internal now: %v", got)
	}
}

// TestPublishDNS: no service has the names, so that publishing them is for tests of clients alone.
func TestPublishDNS(t *testing.T) {
	off, on := newWorld(t), newWorld(t, withStored)
	for _, w := range []*world{off, on} {
		n := w.network("demo", "")
		s := w.subnet("demo", n, "10.0.0.0/24", `,"dns_publish_fixed_ip":false`)
		at, body := "/v2.0/subnets/"+s, `{"subnet":{"dns_publish_fixed_ip":true}}`
		if w == off {
			w.refuse("demo", "PUT", at, body, 400, "HTTPBadRequest", "Addresses of subnet "+s+" cannot be published: there is no external DNS service here")
		} else if m := w.do("demo", "PUT", at, body, 200); dig(m, "subnet", "dns_publish_fixed_ip") != true {
			t.Errorf("stored %v", m)
		}
	}
	on.subnet("demo", on.network("demo", ""), "10.0.0.0/24", `,"dns_publish_fixed_ip":true`)
	if got := on.names("demo", "subnets?dns_publish_fixed_ip=true", "id"); len(got) != 2 {
		t.Errorf("published %v", got)
	}
}
