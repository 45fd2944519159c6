// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// odlURL is where another Neutron, on this host, finds the northbound.
func (l *Lab) odlURL(s *State) string {
	return fmt.Sprintf("http://%s:%d/controller/nb/v2/neutron", s.Config.HostIP, portAdmin)
}

// odlVariables are the settings of networking-odl's DevStack plugin that name the lab's server.
func (l *Lab) odlVariables(s *State) ([]string, error) {
	if s.Config.Northbound != northboundODL {
		return nil, fmt.Errorf("lab %s: its own Neutron owns the networks: bring up one with 'nagare lab up --northbound odl'", l.Name)
	}
	password, err := os.ReadFile(l.passwordPath())
	if err != nil {
		return nil, fmt.Errorf("lab %s: password: %w", l.Name, err)
	}
	return []string{
		"ODL_ENDPOINT=" + l.odlURL(s),
		"ODL_USERNAME=admin",
		"ODL_PASSWORD=" + strings.TrimSpace(string(password)),
		"ODL_MGR_HOST=" + serverIP,
		fmt.Sprintf("ODL_PORT=%d", portAdmin),
	}, nil
}

// publishHostConfig writes what neutron-odl-ovs-hostconfig writes on a node: by which the other Neutron binds ports there.
func (l *Lab) publishHostConfig(ctx context.Context, s *State, n Node) error {
	uuid, err := l.ovs(ctx, n.Name, "ovs-vsctl", "--no-wait", "get", "Open_vSwitch", ".", "_uuid")
	if err != nil {
		return err
	}
	mappings, err := l.ovs(ctx, n.Name, "ovs-vsctl", "--no-wait", "--if-exists", "get", "Open_vSwitch", ".", "other_config:provider_mappings")
	if err != nil {
		return err
	}
	text, err := hostConfig(n, strings.TrimSpace(uuid), s.Config.Profile, strings.Trim(strings.TrimSpace(mappings), `"`))
	if err != nil {
		return err
	}
	// As values of a map in ovs-vsctl's syntax, which is that of JSON strings.
	quoted, err := json.Marshal(text)
	if err != nil {
		return err
	}
	_, err = l.ovs(ctx, n.Name, "ovs-vsctl", "--no-wait", "set", "Open_vSwitch", ".",
		"external_ids:odl_os_hostconfig_hostid="+n.Name, "external_ids:odl_os_hostconfig_config_odl_l2="+string(quoted))
	return err
}

// hostConfig is the tool's JSON for a node with the userspace datapath and plain taps. Mappings are "physnet1:br-ex,...".
func hostConfig(n Node, uuid, profile, mappings string) (string, error) {
	bridges := map[string]string{}
	for _, m := range strings.Split(mappings, ",") {
		if network, bridge, ok := strings.Cut(m, ":"); ok {
			bridges[network] = bridge
		}
	}
	types := []string{"local", "flat", "vlan", "vxlan", "gre"}
	if profile == profileClassic { // its tables carry no other
		types = []string{"vxlan"}
	}
	b, err := json.Marshal(map[string]any{
		"allowed_network_types": types,
		"bridge_mappings":       bridges,
		"datapath_type":         "netdev",
		"supported_vnic_types": []any{map[string]any{"vnic_type": "normal", "vif_type": "ovs", "vif_details": map[string]any{
			"uuid": uuid, "host_addresses": []string{n.Address}, "has_datapath_type_netdev": false, "support_vhost_user": false}}},
	})
	return string(b), err
}
