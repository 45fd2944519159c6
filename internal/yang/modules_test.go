// SPDX-License-Identifier: Apache-2.0

package yang

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestServed: what clients of OpenDaylight call its parts, by a few names of each kind.
func TestServed(t *testing.T) {
	s := Served()
	for path, kind := range map[string]Kind{
		"neutron:neutron/networks/network/uuid":                                                                         Leaf,
		"neutron:neutron/networks/network/neutron-provider-ext:segmentation-id":                                         Leaf,
		"neutron:neutron/networks/network/neutron-provider-ext:segments":                                                List,
		"neutron:neutron/networks/network/neutron-L3-ext:external":                                                      Leaf,
		"neutron:neutron/subnets/subnet/dns-nameservers":                                                                LeafList,
		"neutron:neutron/subnets/subnet/allocation-pools/start":                                                         Leaf,
		"neutron:neutron/ports/port/fixed-ips/ip-address":                                                               Leaf,
		"neutron:neutron/ports/port/neutron-binding:vif-details/details-key":                                            Leaf,
		"neutron:neutron/ports/port/neutron-portsecurity:port-security-enabled":                                         Leaf,
		"neutron:neutron/routers/router/external_gateway_info":                                                          Container,
		"neutron:neutron/floatingips/floatingip/floating-ip-address":                                                    Leaf,
		"neutron:neutron/security-groups/security-group/name":                                                           Leaf,
		"neutron:neutron/security-rules/security-rule/protocol":                                                         Leaf,
		"neutron:neutron/qos-policies/qos-policy/dscpmarking-rules/dscp-mark":                                           Leaf,
		"neutron:neutron/trunks/trunk/sub-ports/segmentation-id":                                                        Leaf,
		"neutron:neutron/hostconfigs/hostconfig/host-type":                                                              Leaf,
		"neutron:neutron/features/feature/service-provider-feature":                                                     Leaf,
		"network-topology:network-topology/topology/node/termination-point":                                             List,
		"network-topology:network-topology/topology/link/source/source-node":                                            Leaf,
		"network-topology:network-topology/topology/node/ovsdb:openvswitch-external-ids":                                List,
		"network-topology:network-topology/topology/node/termination-point/ovsdb:ofport":                                Leaf,
		"opendaylight-inventory:nodes/node/node-connector/flow-node-inventory:state/link-down":                          Leaf,
		"opendaylight-inventory:nodes/node/flow-node-inventory:table/flow/match/ethernet-match/ethernet-type":           Container,
		"opendaylight-inventory:nodes/node/flow-node-inventory:table/flow/instructions/instruction/apply-actions":       Container,
		"opendaylight-inventory:nodes/node/flow-node-inventory:group/buckets/bucket/action":                             List,
		"opendaylight-inventory:nodes/node/flow-node-inventory:table/flow/opendaylight-flow-statistics:flow-statistics": Container,
	} {
		n := s.Top
		for part := range strings.SplitSeq(path, "/") {
			next, ok := n.child(part, false)
			if !ok {
				t.Errorf("%s: no %s", path, part)
				break
			}
			n = next
		}
		if n.Kind != kind {
			t.Errorf("%s is a %s, want a %s", path, n.Kind, kind)
		}
	}
	for _, m := range s.Modules {
		if m.Revision == "" || m.Namespace == "" || m.Prefix == "" {
			t.Errorf("module %s: revision %q, namespace %q, prefix %q", m.Name, m.Revision, m.Namespace, m.Prefix)
		}
	}
}

// TestYanglint: libyang, which nobody here wrote, understands the modules as well.
func TestYanglint(t *testing.T) {
	files, err := filepath.Glob("modules/*.yang")
	if err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	out, err := exec.Command("yanglint", append([]string{"-p", "modules"}, files...)...).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("yanglint: %v\n%s", err, out)
	}
}
