// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// fresh is step 0: both nodes are under control, and nothing is asked for yet.
func (w *walk) fresh(ctx context.Context) error {
	w.title("a fresh stack; each node's manager is the controller node")
	for _, node := range w.nodes() {
		if err := w.checkNode(ctx, node, "initial"); err != nil {
			return err
		}
	}
	return nil
}

// network is step 1: a network and a subnet bring a DHCP port and, in classic,
// the tunnels.
func (w *walk) network(ctx context.Context) error {
	w.title("a network and a subnet")
	if err := w.makeNetwork(ctx); err != nil {
		return err
	}
	var p walkPorts
	err := until(ctx, settleWithin, "the DHCP port is ACTIVE", func(ctx context.Context) (err error) {
		p, err = w.ports(ctx)
		switch {
		case err != nil:
			return err
		case p.dhcp == nil:
			return errors.New("the network has none yet")
		case p.dhcp.Status != "ACTIVE":
			return fmt.Errorf("its status is %s", p.dhcp.Status)
		}
		return nil
	})
	w.hold(err, "the network has a DHCP port, and it is ACTIVE")
	if p.dhcp == nil {
		return err
	}
	if w.recorded {
		w.equal(p.segment, 1077, "%s has segmentation id 1077", walkNetwork)
	} else {
		var err error
		if p.segment <= 0 {
			err = fmt.Errorf("it is %d", p.segment)
		}
		w.hold(err, "%s has a segmentation id", walkNetwork)
	}
	if err := w.checkDHCPPort(ctx, p); err != nil {
		return err
	}
	for _, node := range w.nodes() {
		if err := w.checkNode(ctx, node, "network"); err != nil {
			return err
		}
	}
	if !w.classic { // its tunnels come with two nodes that need them
		return nil
	}
	return w.checkLink(ctx)
}

// makeNetwork creates the network and the subnet, or shows those that exist.
func (w *walk) makeNetwork(ctx context.Context) error {
	network, err := one[apiNetwork](ctx, w.demo, "networks", walkNetwork)
	if err != nil {
		return err
	}
	verb := []string{"network", "create", walkNetwork}
	if network != nil {
		verb = []string{"network", "show", walkNetwork}
	}
	if _, err := w.openstack(ctx, verb...); err != nil {
		return err
	}
	subnet, err := one[apiSubnet](ctx, w.demo, "subnets", walkSubnet)
	if err != nil {
		return err
	}
	verb = []string{"subnet", "create", "--network", walkNetwork, "--subnet-range", walkCIDR, walkSubnet}
	if subnet != nil {
		verb = []string{"subnet", "show", walkSubnet}
	}
	if _, err := w.openstack(ctx, verb...); err != nil {
		return err
	}
	if network, err = one[apiNetwork](ctx, w.admin, "networks", walkNetwork); err != nil {
		return err
	}
	if subnet, err = one[apiSubnet](ctx, w.demo, "subnets", walkSubnet); err != nil {
		return err
	}
	if network == nil || subnet == nil {
		return errors.New("the network or the subnet was created and is not listed")
	}
	w.equal(network.Type, "vxlan", "%s is a VXLAN network", walkNetwork)
	w.equal(subnet.Gateway, "10.11.12.1", "the subnet's gateway is 10.11.12.1")
	w.equal(subnet.DHCP, true, "the subnet has DHCP on")
	return nil
}

// checkDHCPPort compares the port with the recorded one, field by field.
func (w *walk) checkDHCPPort(ctx context.Context, p walkPorts) error {
	listed, err := list[apiPort](ctx, w.demo, "ports", url.Values{"network_id": {p.dhcp.NetworkID}})
	if err != nil {
		return err
	}
	if _, err := w.openstack(ctx, "port", "list"); err != nil {
		return err
	}
	w.equal(len(listed), 1, "demo sees one port on the network")
	if _, err := w.openstack(ctx, "port", "show", p.dhcp.ID); err != nil {
		return err
	}
	port, err := w.admin.port(ctx, p.dhcp.ID)
	if err != nil {
		return err
	}
	if w.recorded {
		w.equal(port.ID+" "+port.MAC, recordedPorts[""][0]+" "+recordedPorts[""][1], "the DHCP port has the recorded id and MAC")
	}
	var mac error
	if !strings.HasPrefix(port.MAC, "fa:16:3e:") {
		mac = fmt.Errorf("it is %s", port.MAC)
	}
	w.hold(mac, "the DHCP port's MAC begins with fa:16:3e")
	subnets := []string{}
	for _, f := range port.FixedIPs {
		subnets = append(subnets, f.IP)
	}
	w.equal(strings.Join(subnets, " "), dhcpAddress, "the DHCP port's one fixed address is the lowest free one, %s", dhcpAddress)
	// The server's host id is uuid5 of its node's name.
	const host = "d3377d3c-a0d1-5d71-9947-f17125c357bb"
	w.equal(port.DeviceID, "dhcp"+host+"-"+port.NetworkID, "the DHCP port's device_id is dhcp, the host's id and the network's")
	if w.native {
		w.equal(port.HostID, "", "the DHCP port is on no node: the server answers in its name")
	}
	for _, f := range []struct {
		field string
		want  any
	}{
		{"admin_state_up", true}, {"status", "ACTIVE"}, {"binding:vnic_type", "normal"}, {"port_security_enabled", false},
		{"security_groups", "[]"}, {"allowed_address_pairs", "[]"}, {"extra_dhcp_opts", "[]"}, {"name", ""}, {"dns_name", ""},
	} {
		w.equal(port.raw[f.field], f.want, "the DHCP port's %s is %q", f.field, fmt.Sprint(f.want))
	}
	w.hold(dnsAssignment(port.raw["dns_assignment"]), "the DHCP port's dns_assignment is host-10-11-12-2, %s, host-10-11-12-2.openstacklocal.", dhcpAddress)
	return nil
}

func dnsAssignment(v any) error {
	entries, _ := v.([]any)
	if len(entries) != 1 {
		return fmt.Errorf("it is %v", v)
	}
	entry, _ := entries[0].(map[string]any)
	for k, want := range map[string]string{"hostname": "host-10-11-12-2", "ip_address": dhcpAddress, "fqdn": "host-10-11-12-2.openstacklocal."} {
		if entry[k] != want {
			return fmt.Errorf("it is %v", v)
		}
	}
	return nil
}

// checkLink waits for the tunnel link in the topology, learnt by LLDP.
func (w *walk) checkLink(ctx context.Context) error {
	if w.single {
		return nil
	}
	type link struct{ From, To string }
	err := until(ctx, 10*time.Second, "both directions of the link are known", func(ctx context.Context) error {
		var topology struct{ Links []link }
		if err := w.admin.get(ctx, "/nagare/v1/topology", &topology); err != nil {
			return err
		}
		for _, want := range []link{{firstNode, "compute"}, {"compute", firstNode}} {
			if !slices.Contains(topology.Links, want) {
				return fmt.Errorf("%s to %s is missing", want.From, want.To)
			}
		}
		return nil
	})
	w.hold(err, "the topology shows the tunnel link in both directions within 10 s (LLDP)")
	return nil
}

// instances is step 2: two instances on the compute node, and what they can do
// and cannot.
func (w *walk) instances(ctx context.Context) error {
	w.title(fmt.Sprintf("two instances on the node %s", w.host))
	if err := w.forget(ctx, thirdInstance); err != nil {
		return err
	}
	if err := w.dropOutsider(ctx); err != nil {
		return err
	}
	for _, name := range walkInstances {
		if err := w.boot(ctx, AddOptions{Name: name, Network: walkNetwork, Node: w.host}); err != nil {
			return err
		}
	}
	if _, err := w.openstack(ctx, "port", "list"); err != nil {
		return err
	}
	p, err := w.ports(ctx)
	if err != nil {
		return err
	}
	for _, name := range walkInstances {
		w.checkInstancePort(name, p.vm[name])
	}
	for _, node := range w.nodes() {
		if err := w.checkNode(ctx, node, "instances"); err != nil {
			return err
		}
	}
	w.ping(ctx, "vm01", "10.11.12.4", "on the same node")
	w.ping(ctx, "vm02", "10.11.12.3", "on the same node")
	if !w.native { // which is an address of the server's, and answers DHCP only
		where := "on the other node"
		if w.single {
			where = "on the same node"
		}
		w.ping(ctx, "vm01", dhcpAddress, where)
		w.ping(ctx, "vm02", dhcpAddress, where)
	}
	if err := w.checkSpoofing(ctx, p); err != nil {
		return err
	}
	if !w.classic {
		if err := w.explainOne(ctx, p); err != nil {
			return err
		}
		if err := w.checkGroups(ctx); err != nil {
			return err
		}
	}
	return w.comeAndGo(ctx)
}

// boot adds an instance and checks its lease.
func (w *walk) boot(ctx context.Context, o AddOptions) error {
	name, more := o.Name, ""
	if o.SecurityGroups != nil {
		more = " --security-group " + strings.Join(o.SecurityGroups, ",")
	}
	w.print("\n$ nagare lab instance add %s --network %s --node %s%s\n", name, o.Network, o.Node, more)
	added, err := w.l.AddInstance(ctx, o)
	if err != nil {
		return err
	}
	if w.s, err = w.l.load(); err != nil {
		return err
	}
	w.print("%s  %s  %s  port %s\n", name, added.Lease.Address, added.Instance.MAC, added.Instance.PortID)
	var late error
	if added.LeaseTook > 5*time.Second {
		late = fmt.Errorf("it took %v", added.LeaseTook)
	}
	w.hold(late, "%s got its address by DHCP within 5 s", name)
	if want := walkAddresses[name]; want != "" {
		w.equal(added.Lease.Address, want+"/24", "its lease is %s/24", want)
		w.equal(added.Lease.Router, "10.11.12.1", "its router is 10.11.12.1")
		w.equal(added.Lease.Server, dhcpAddress, "the DHCP server is %s", dhcpAddress)
	}
	return nil
}

func (w *walk) checkInstancePort(name string, p *apiPort) {
	if p == nil {
		w.hold(errors.New("there is none"), "%s has a port", name)
		return
	}
	if w.recorded {
		r := recordedPorts[name]
		w.equal(p.ID+" "+p.MAC, r[0]+" "+r[1], "%s's port has the recorded id and MAC", name)
	}
	w.equal(p.ip(), walkAddresses[name], "%s's port has the address %s", name, walkAddresses[name])
	w.equal(p.Status, "ACTIVE", "%s's port is ACTIVE", name)
	w.equal(p.HostID+" "+p.VIFType, w.host+" ovs", "%s's port is bound to %s with vif_type ovs", name, w.host)
	w.equal(fmt.Sprint(len(p.SecurityGroups), " ", p.PortSecurity), "1 true", "%s's port has the default security group and port security on", name)
}

func (w *walk) ping(ctx context.Context, from, to, where string) {
	_, err := w.on(ctx, from, "ping", "-c", "3", "-i", "0.2", "-W", "2", to)
	w.hold(err, "%s reaches %s %s", from, to, where)
}

// thirdInstance comes and goes within step 2.
const thirdInstance = "vm03"

// comeAndGo adds an instance on the controller node, so that two instances talk
// through the tunnel, and removes it: then no flow may name it any more.
func (w *walk) comeAndGo(ctx context.Context) error {
	before, err := w.flowsNow(ctx)
	if err != nil {
		return err
	}
	if err := w.boot(ctx, AddOptions{Name: thirdInstance, Network: walkNetwork, Node: firstNode}); err != nil {
		return err
	}
	lease, err := w.l.LeaseOf(thirdInstance)
	if err != nil {
		return err
	}
	address, _, _ := strings.Cut(lease.Address, "/")
	where := "through the tunnel"
	if w.single {
		where = "on the same node"
	}
	w.ping(ctx, thirdInstance, walkAddresses["vm01"], where)
	w.ping(ctx, "vm01", address, where)
	if !w.classic {
		for _, node := range w.nodes() {
			if err := w.checkNode(ctx, node, "third"); err != nil {
				return err
			}
		}
		if err := w.checkLink(ctx); err != nil {
			return err
		}
	}
	w.print("\n$ nagare lab instance rm %s\n", thirdInstance)
	if err := w.forget(ctx, thirdInstance); err != nil {
		return err
	}
	for _, node := range w.nodes() {
		if w.classic {
			err = w.backToRecorded(ctx, node, "instances")
		} else {
			err = w.backTo(ctx, node, before[node])
		}
		w.hold(err, "%s: no flow of %s is left", node, thirdInstance)
	}
	return nil
}

// flowsNow are the flows of each node's br-int.
func (w *walk) flowsNow(ctx context.Context) (map[string][]string, error) {
	all := map[string][]string{}
	for _, node := range w.nodes() {
		dump, err := w.l.ovs(ctx, node, "ovs-ofctl", "dump-flows", "br-int", "-O", "OpenFlow13")
		if err != nil {
			return nil, err
		}
		if all[node], err = canonicalFlows(dump); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// backTo waits until a node's flows are what they were.
func (w *walk) backTo(ctx context.Context, node string, before []string) error {
	return until(ctx, settleWithin, "the flows are as before", func(ctx context.Context) error {
		all, err := w.flowsNow(ctx)
		if err != nil {
			return err
		}
		return flowsEqual(before, all[node])
	})
}

// forget removes an instance if it is there.
func (w *walk) forget(ctx context.Context, name string) error {
	if _, ok := w.s.instance(name); !ok {
		return nil
	}
	if err := w.l.RemoveInstance(ctx, name); err != nil {
		return err
	}
	var err error
	w.s, err = w.l.load()
	return err
}
