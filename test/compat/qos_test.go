// SPDX-License-Identifier: Apache-2.0

package compat

import (
	"fmt"
	"testing"
)

// TestOpenStackQoS does with the openstack command what an administrator does to limit traffic, and what users do with trunks.
func TestOpenStackQoS(t *testing.T) {
	needClient(t)
	c := start(t, nil)
	t.Run("as", func(t *testing.T) {
		t.Run("policies", func(t *testing.T) { t.Parallel(); qosPolicies(&client{t, c, "admin", "admin"}) })
		t.Run("trunks", func(t *testing.T) { t.Parallel(); trunks(&client{t, c, "demo", "demo"}) })
	})
}

func qosPolicies(o *client) {
	t := o.t
	p := o.show("network", "qos", "policy", "create", "gold", "--description", "d", "--share")
	o.want(p, map[string]any{"name": "gold", "description": "d", "shared": true, "is_default": false, "rules": "[]"})
	o.quiet("network", "qos", "policy", "set", "gold", "--name", "silver", "--default")
	o.refused("A default QoS policy exists", "network", "qos", "policy", "create", "other", "--default")
	if l := o.list("network", "qos", "policy", "list", "--share"); len(l) != 1 || l[0]["ID"] != p["id"] || l[0]["Name"] != "silver" || l[0]["Default"] != true {
		t.Errorf("policies %v", l)
	}
	limit := o.show("network", "qos", "rule", "create", "silver", "--type", "bandwidth-limit", "--max-kbps", "2000", "--max-burst-kbits", "400", "--egress")
	o.want(limit, map[string]any{"max_kbps": 2000, "max_burst_kbps": 400, "direction": "egress"})
	mark := o.show("network", "qos", "rule", "create", "silver", "--type", "dscp-marking", "--dscp-mark", "26")
	o.want(mark, map[string]any{"dscp_mark": 26})
	o.show("network", "qos", "rule", "create", "silver", "--type", "minimum-bandwidth", "--min-kbps", "1000", "--egress")
	o.show("network", "qos", "rule", "create", "silver", "--type", "minimum-packet-rate", "--min-kpps", "1", "--egress")
	o.refused("conflicts with rule", "network", "qos", "rule", "create", "silver", "--type", "dscp-marking", "--dscp-mark", "18")
	id := fmt.Sprint(limit["id"])
	o.quiet("network", "qos", "rule", "set", "silver", id, "--max-kbps", "3000")
	o.want(o.show("network", "qos", "rule", "show", "silver", id), map[string]any{"max_kbps": 3000, "max_burst_kbps": 400})
	if l := o.list("network", "qos", "rule", "list", "silver"); len(l) != 4 || l[0]["QoS Policy ID"] != p["id"] {
		t.Errorf("rules %v", l)
	}
	if l := o.list("network", "qos", "rule", "type", "list"); len(l) != 3 || l[0]["Type"] != "bandwidth_limit" {
		t.Errorf("rule types %v", l)
	}
	o.want(o.show("network", "qos", "rule", "type", "show", "dscp_marking"), map[string]any{"rule_type_name": "dscp_marking"})
	o.quiet("network", "qos", "rule", "delete", "silver", fmt.Sprint(mark["id"]))

	o.want(o.show("network", "create", "limited", "--qos-policy", "silver"), map[string]any{"qos_policy_id": p["id"]})
	o.show("port", "create", "vm", "--network", "limited", "--qos-policy", "silver")
	o.quiet("port", "unset", "vm", "--qos-policy")
	o.want(o.show("port", "show", "vm"), map[string]any{"qos_policy_id": nil, "qos_network_policy_id": p["id"]})
	o.quiet("port", "set", "vm", "--qos-policy", "silver")
	o.quiet("network", "set", "limited", "--no-qos-policy")
	o.want(o.show("port", "show", "vm"), map[string]any{"qos_policy_id": p["id"], "qos_network_policy_id": nil})
	o.refused("is used by port", "network", "qos", "policy", "delete", "silver")
	o.quiet("port", "unset", "vm", "--qos-policy")
	o.quiet("network", "qos", "policy", "delete", "silver")
}

func trunks(o *client) {
	t := o.t
	o.show("network", "create", "untagged")
	o.show("network", "create", "tagged")
	parent := o.show("port", "create", "parent", "--network", "untagged")
	one := o.show("port", "create", "one", "--network", "tagged")
	two := o.show("port", "create", "two", "--network", "tagged")
	trunk := o.show("network", "trunk", "create", "trunk", "--parent-port", "parent", "--subport", "port=one,segmentation-type=vlan,segmentation-id=10", "--description", "d")
	sub := func(p map[string]any, tag int) string {
		return fmt.Sprintf("map[port_id:%s segmentation_id:%d segmentation_type:vlan]", p["id"], tag)
	}
	o.want(trunk, map[string]any{"name": "trunk", "port_id": parent["id"], "status": "DOWN", "description": "d", "sub_ports": "[" + sub(one, 10) + "]"})
	o.refused("in use", "network", "trunk", "create", "again", "--parent-port", "parent")
	o.quiet("network", "trunk", "set", "trunk", "--name", "stem", "--subport", "port=two,segmentation-type=vlan,segmentation-id=20")
	o.refused("already in use on trunk", "network", "trunk", "set", "stem", "--subport", "port="+fmt.Sprint(o.show("port", "create", "three", "--network", "tagged")["id"])+",segmentation-type=vlan,segmentation-id=20")
	if l := o.list("network", "subport", "list", "--trunk", "stem"); len(l) != 2 || l[1]["Port"] != two["id"] || fmt.Sprint(l[1]["Segmentation ID"]) != "20" {
		t.Errorf("sub-ports %v", l)
	}
	details := fmt.Sprint(o.show("port", "show", "parent")["trunk_details"])
	if want := fmt.Sprintf("trunk_id:%s", trunk["id"]); len(details) < len(want) || details[len(details)-len(want)-1:len(details)-1] != want {
		t.Errorf("the parent's trunk_details %s", details)
	}
	o.want(o.show("port", "show", "one"), map[string]any{"device_owner": "trunk:subport"})
	o.refused("is currently a subport for trunk", "port", "delete", "one")
	o.refused("is currently a parent port for trunk", "port", "delete", "parent")
	if l := o.list("network", "trunk", "list"); len(l) != 1 || l[0]["Name"] != "stem" || l[0]["Parent Port"] != parent["id"] {
		t.Errorf("trunks %v", l)
	}
	o.quiet("network", "trunk", "unset", "stem", "--subport", "one")
	o.quiet("network", "trunk", "set", "stem", "--disable")
	o.refused("is currently disabled", "network", "trunk", "delete", "stem")
	o.quiet("network", "trunk", "set", "stem", "--enable")
	o.quiet("network", "trunk", "delete", "stem")
	o.quiet("port", "delete", "parent", "one", "two")
}
