// SPDX-License-Identifier: Apache-2.0

package compat

import (
	"fmt"
	"strings"
	"testing"
)

// TestOpenStackSegments does with the openstack command what an administrator of routed provider networks does.
func TestOpenStackSegments(t *testing.T) {
	needClient(t)
	c := start(t, nil)
	o := &client{t, c, "admin", "admin"}
	o.show("network", "create", "routed", "--provider-network-type", "vlan", "--provider-physical-network", "physnet1", "--provider-segment", "101")
	first := o.list("network", "segment", "list", "--network", "routed")
	if len(first) != 1 || first[0]["Network Type"] != "vlan" || fmt.Sprint(first[0]["Segment"]) != "101" {
		t.Fatalf("segments of a network with one: %v", first)
	}
	second := o.show("network", "segment", "create", "second", "--network", "routed", "--network-type", "vlan", "--physical-network", "physnet2", "--segment", "102", "--description", "d")
	o.want(second, map[string]any{"name": "second", "network_type": "vlan", "physical_network": "physnet2", "segmentation_id": 102, "description": "d"})
	o.quiet("network", "segment", "set", fmt.Sprint(first[0]["ID"]), "--name", "first")
	o.want(o.show("network", "segment", "show", "first"), map[string]any{"name": "first", "segmentation_id": 101})
	o.refused("in use", "network", "segment", "create", "again", "--network", "routed", "--network-type", "vlan", "--physical-network", "physnet2", "--segment", "102")
	for i, name := range []string{"first", "second"} {
		o.show("subnet", "create", name, "--network", "routed", "--network-segment", name, "--subnet-range", fmt.Sprintf("10.%d.0.0/24", i+1))
	}
	o.want(o.show("subnet", "show", "second"), map[string]any{"segment_id": second["id"]})
	o.refused("must either all be associated", "subnet", "create", "third", "--network", "routed", "--subnet-range", "10.3.0.0/24")
	o.refused("still associated with subnet", "network", "segment", "delete", "second")
	o.quiet("subnet", "delete", "second")
	o.quiet("network", "segment", "delete", "second")

	r := o.show("network", "segment", "range", "create", "demos", "--private", "--project", "demo", "--network-type", "vlan", "--physical-network", "physnet1", "--minimum", "300", "--maximum", "309")
	o.want(r, map[string]any{"name": "demos", "shared": false, "default": false, "network_type": "vlan", "physical_network": "physnet1", "minimum": 300, "maximum": 309})
	if got := fmt.Sprint(r["available"]); !strings.Contains(got, "300-309") {
		t.Errorf("available %s", got)
	}
	o.refused("overlaps", "network", "segment", "range", "create", "over", "--shared", "--network-type", "vlan", "--physical-network", "physnet1", "--minimum", "309", "--maximum", "320")
	o.quiet("network", "segment", "range", "set", "demos", "--minimum", "300", "--maximum", "319")
	found := false
	for _, x := range o.list("network", "segment", "range", "list") {
		found = found || x["Network Type"] == "vxlan" && x["Default"] == true
	}
	if !found {
		t.Error("the configured ranges are not listed")
	}
	o.want(o.show("network", "segment", "range", "show", "demos"), map[string]any{"maximum": 319})
	o.quiet("network", "segment", "range", "delete", "demos")
	o.quiet("network", "delete", "routed")
}
