// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestExtensions: check E1, and the round of every collection that is only kept.
func TestExtensions(t *testing.T) {
	w := newWorld(t)
	for path, x := range extensions {
		if x.wrapped {
			continue
		}
		t.Run(path, func(t *testing.T) {
			w.TB = t
			body := func(more string) string {
				return `{"` + x.kind + `":{"id":"` + netA + `","tenant_id":"` + tenant + `","name":"x","port_id":"` + portA + `","unheard":{"of":[1.5]}` + more + `}}`
			}
			if got := w.do("GET", "/"+path, "", 200).text; got != `{"`+x.plural+`":[]}` {
				t.Errorf("E1: %s", got)
			}
			w.do("GET", "/"+path+"/"+netA, "", 404)
			w.do("DELETE", "/"+path+"/"+netA, "", 404)
			w.do("POST", "/"+path, body(`,"revision_number":3`), 201)
			w.do("POST", "/"+path, body(`,"revision_number":3`), 201)
			w.do("POST", "/"+path, body(`,"revision_number":2`), 409)
			o := w.show(path, netA)
			if o["id"] != netA || o["tenant_id"] != tenant || o["project_id"] != tenant || o["name"] != "x" || fmt.Sprint(o["unheard"]) != "map[of:[1.5]]" || o["revision_number"] != 3.0 {
				t.Errorf("%v", o)
			}
			if got := w.ids(path, "?name=x&fields=id"); !slices.Equal(got, []string{netA}) {
				t.Errorf("list: %v", got)
			}
			if got := w.ids(path, "?id="+netB); len(got) != 0 {
				t.Errorf("list: %v", got)
			}
			if x.noPut {
				w.do("PUT", "/"+path+"/"+netA, body(""), 405)
			} else {
				put := replaced(body(`,"revision_number":4`), `"id":"`+netA+`","tenant_id":"`+tenant+`",`, "", `"x"`, `"y"`, `"unheard":{"of":[1.5]},`, "")
				w.do("PUT", "/"+path+"/"+netA, put, 200)
				w.do("PUT", "/"+path+"/"+netA, replaced(put, `"revision_number":4`, `"revision_number":3`, `"y"`, `"z"`), 200)
				if o := w.show(path, netA); o["name"] != "y" || o["unheard"] != nil || o["tenant_id"] != tenant {
					t.Errorf("after an update: %v", o)
				}
				w.do("PUT", "/"+path+"/"+netB, put, 404)
				w.do("PUT", "/"+path+"/"+netA, `{"`+x.plural+`":[]}`, 400)
			}
			w.do("POST", "/"+path, `{"`+x.plural+`":[{"id":"`+netB+`","port_id":"`+portA+`"},{"id":"x"}]}`, 400)
			w.do("POST", "/"+path, `{"`+x.plural+`":[{"id":"`+netB+`","port_id":"`+portA+`"}]}`, 201)
			w.do("POST", "/"+path, `{"`+x.kind+`":{"id":"`+netB+`","port_id":"`+portA+`","name":7}}`, 400)
			for _, id := range []string{netA, netB} {
				w.do("DELETE", "/"+path+"/"+id, "", 204)
			}
		})
	}
}

// TestGateways: check L1, and connections whose segment is a number.
func TestGateways(t *testing.T) {
	w := newWorld(t)
	for _, seg := range []string{`""`, `"100"`, `100`} {
		w.do("POST", "/l2gateway-connections", `{"l2gateway_connection":{"id":"`+netA+`","gateway_id":"`+netB+`","network_id":"`+extNet+`","segmentation_id":`+seg+`}}`, 201)
	}
	w.do("POST", "/l2gateway-connections", `{"l2gateway_connection":{"id":"`+netA+`","gateway_id":"`+netB+`","network_id":"`+extNet+`","segmentation_id":"x"}}`, 400)
	w.do("POST", "/l2-gateways", `{"l2_gateway":{"id":"`+netB+`","name":"gw","devices":[{"id":"`+netA+`","device_name":"d","interfaces":[{"name":"eth0","segmentation_id":["1","2"]}]}]}}`, 201)
	if got := fmt.Sprint(w.show("l2-gateways", netB)["devices"]); !strings.Contains(got, "segmentation_id:[1 2]") {
		t.Errorf("L1: %s", got)
	}
}

// TestInside: objects below one of another collection, and the two paths of associations.
func TestInside(t *testing.T) {
	w := newWorld(t)
	for _, base := range []string{"lbaas/pools/" + netA + "/members", "tap/flows/" + netA + "/flows"} {
		kind := map[bool]string{true: "member", false: "tap_flow"}[strings.HasPrefix(base, "lbaas")]
		w.do("POST", "/"+base, `{"`+kind+`":{"id":"`+portA+`","protocol_port":80}}`, 201)
		if o := w.show(base, portA); o["id"] != portA {
			t.Errorf("%v", o)
		}
		if got := w.ids(base, ""); !slices.Equal(got, []string{portA}) {
			t.Errorf("%s: %v", base, got)
		}
		if got := w.ids(strings.Replace(base, netA, netB, 1), ""); len(got) != 0 {
			t.Errorf("another's: %v", got)
		}
		w.do("PUT", "/"+base+"/"+portA, `{"`+kind+`":{"weight":2}}`, 200)
		w.do("DELETE", "/"+base+"/"+portA, "", 204)
		w.do("GET", "/"+base+"/"+portA, "", 404)
	}
	w.do("GET", "/lbaas/pools/x/members", "", 404)
	w.do("POST", "/bgpvpn-network-associations", `{"bgpvpn_network_association":{"id":"`+netA+`","bgpvpn_id":"`+netB+`","network_id":"`+extNet+`"}}`, 201)
	if o := w.show("bgpvpn/networkassociations", netA); o["network_id"] != extNet {
		t.Errorf("%v", o)
	}
	w.do("POST", "/bgpvpns", `{"bgpvpn":{"id":"`+netB+`","route_targets":["64512:1"],"networks":["`+extNet+`"]}}`, 201)
	if o := w.show("bgpvpns", netB); o["type"] != "l3" || o["auto_aggregate"] != false {
		t.Errorf("%v", o)
	}
}
