// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Step 3: what the users make, up to the floating IP. What packets do then is in walk_float.go.
const (
	walkExternal       = "ext-net"
	walkExternalSubnet = "ext-subnet"
	walkExternalCIDR   = "172.16.1.0/24"
	walkUpstream       = "172.16.1.1/24" // of the controller node on br-ex
	upstreamAddress    = "172.16.1.1"
	externalDHCP       = "172.16.1.2"
	gatewayAddress     = "172.16.1.3" // of router1
	floatingAddress    = "172.16.1.4"
	walkRouter         = "router1"
	interfaceAddress   = "10.11.12.1"
)

type (
	apiExtension struct {
		Alias string `json:"alias"`
	}
	apiRouter struct {
		ID      string `json:"id"`
		Name    string `json:"name"`
		Status  string `json:"status"`
		Gateway *struct {
			NetworkID string `json:"network_id"`
		} `json:"external_gateway_info"`
	}
	apiFloating struct {
		ID       string  `json:"id"`
		Address  string  `json:"floating_ip_address"`
		Status   string  `json:"status"`
		Fixed    *string `json:"fixed_ip_address"`
		PortID   *string `json:"port_id"`
		RouterID *string `json:"router_id"`
	}
)

// text is the value of an attribute that may be null.
func text(s *string) string {
	if s == nil {
		return "null"
	}
	return *s
}

// unrouted says why the step cannot be shown; "" if it can.
func (w *walk) unrouted(ctx context.Context) (string, error) {
	if w.classic {
		return "the profile classic has no routers: see it with 'nagare lab run walkthrough' in a lab of the profile standard", nil
	}
	all, err := list[apiExtension](ctx, w.demo, "extensions", nil)
	if err != nil {
		return "", err
	}
	if !slices.ContainsFunc(all, func(e apiExtension) bool { return e.Alias == "router" }) {
		return "the server has no routers: its API does not list the extension router", nil
	}
	return "", requireSSH()
}

// routed is step 3: an external network, a router, a floating IP, and SSH through it.
func (w *walk) routed(ctx context.Context) error {
	w.title("an external network, a router, a floating IP, and SSH through it")
	why, err := w.unrouted(ctx)
	if err != nil {
		return err
	}
	if why != "" {
		w.skip(why, "vm01 is reached from the controller node by a floating IP, and vm02 reaches it without one")
		return nil
	}
	for _, part := range []func(context.Context) error{w.makeExternal, w.makeRouter, w.makeFloating, w.checkRouted, w.reachFloating} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

// skip enters statements that this lab cannot show.
func (w *walk) skip(why, format string, args ...any) {
	s := Statement{Step: w.step, Text: fmt.Sprintf(format, args...), Skipped: why}
	w.statements = append(w.statements, s)
	w.print("SKIP  %s\n      %s\n", s.Text, why)
}

// ensure creates an object with the stock client, or shows the one that is there.
func ensure[T any](ctx context.Context, w *walk, as *api, user, collection, name string, create, show []string) (*T, error) {
	found, err := one[T](ctx, as, collection, name)
	if err != nil {
		return nil, err
	}
	verb := create
	if found != nil {
		verb = show
	}
	if _, err := w.openstackAs(ctx, user, verb...); err != nil {
		return nil, err
	}
	if found, err = one[T](ctx, as, collection, name); err == nil && found == nil {
		err = fmt.Errorf("%s: %s was created and is not listed", collection, name)
	}
	return found, err
}

// makeExternal is the operator's part: the network behind br-ex, and the machine that is the router there.
func (w *walk) makeExternal(ctx context.Context) error {
	network, err := ensure[apiNetwork](ctx, w, w.admin, "admin", "networks", walkExternal,
		[]string{"network", "create", "--external", walkExternal}, []string{"network", "show", walkExternal})
	if err != nil {
		return err
	}
	w.equal(network.External, true, "%s is an external network", walkExternal)
	w.equal(network.Type+" "+network.Physical, "flat "+externalNet, "it is the one behind br-ex: flat, on the physical network %s", externalNet)
	subnet, err := ensure[apiSubnet](ctx, w, w.admin, "admin", "subnets", walkExternalSubnet,
		[]string{"subnet", "create", "--network", walkExternal, "--subnet-range", walkExternalCIDR, walkExternalSubnet}, []string{"subnet", "show", walkExternalSubnet})
	if err != nil {
		return err
	}
	w.equal(subnet.Gateway, upstreamAddress, "its subnet's gateway is %s", upstreamAddress)
	w.equal(subnet.DHCP, true, "its subnet has DHCP on")
	own, err := one[apiNetwork](ctx, w.demo, "networks", walkNetwork)
	if err != nil {
		return err
	}
	seen, err := one[apiNetwork](ctx, w.demo, "networks", walkExternal)
	switch {
	case err != nil:
		return err
	case own == nil || seen == nil:
		err = errors.New("demo does not see it")
	case seen.Project == "" || seen.Project == own.Project:
		err = fmt.Errorf("its project is %q", seen.Project)
	}
	w.hold(err, "demo may use %s and does not own it", walkExternal)
	w.print("\n%s$ ip addr add %s dev br-ex\n", firstNode, walkUpstream)
	if err := w.l.SetExternal(ctx, walkUpstream); err != nil {
		return err
	}
	_, err = w.on(ctx, firstNode, "ip", "-brief", "-4", "addr", "show", "dev", "br-ex")
	return err
}

// makeRouter is the tenant's: a router between its network and the external one.
func (w *walk) makeRouter(ctx context.Context) error {
	router, err := ensure[apiRouter](ctx, w, w.demo, "demo", "routers", walkRouter,
		[]string{"router", "create", walkRouter}, []string{"router", "show", walkRouter})
	if err != nil {
		return err
	}
	w.equal(router.Status, "ACTIVE", "%s is ACTIVE", walkRouter)
	ports, err := w.routerPorts(ctx)
	if err != nil {
		return err
	}
	if ports["network:router_interface"] == nil {
		if _, err := w.openstack(ctx, "router", "add", "subnet", walkRouter, walkSubnet); err != nil {
			return err
		}
	}
	if router.Gateway == nil {
		if _, err := w.openstack(ctx, "router", "set", "--external-gateway", walkExternal, walkRouter); err != nil {
			return err
		}
	}
	if ports, err = w.routerPorts(ctx); err != nil {
		return err
	}
	face, gateway := ports["network:router_interface"], ports["network:router_gateway"]
	if face == nil || gateway == nil {
		w.hold(fmt.Errorf("it has %d ports", len(ports)), "%s has an interface and a gateway", walkRouter)
		return fmt.Errorf("%s: lacks its interface or its gateway", walkRouter)
	}
	w.equal(face.ip(), interfaceAddress, "the router's interface on %s has the subnet's gateway address, %s", walkNetwork, interfaceAddress)
	if w.recorded {
		r := recordedPorts[walkRouter]
		w.equal(face.ID+" "+face.MAC, r[0]+" "+r[1], "the interface has the recorded id and MAC")
	}
	w.equal(gateway.ip(), gatewayAddress, "the router's gateway has the lowest free address of %s, %s", walkExternal, gatewayAddress)
	own, err := list[apiPort](ctx, w.demo, "ports", nil)
	if err != nil {
		return err
	}
	var listed error
	if slices.ContainsFunc(own, func(p apiPort) bool { return p.ID == gateway.ID }) {
		listed = errors.New("it is listed")
	}
	w.hold(listed, "demo does not see the router's port on %s", walkExternal)
	dhcp, err := list[apiPort](ctx, w.admin, "ports", url.Values{"network_id": {gateway.NetworkID}, "device_owner": {"network:dhcp"}})
	if err != nil {
		return err
	}
	var addresses []string
	for _, p := range dhcp {
		addresses = append(addresses, p.ip())
	}
	w.equal(strings.Join(addresses, " "), externalDHCP, "%s has a DHCP port with %s", walkExternal, externalDHCP)
	return nil
}

// routerPorts are router1's ports by their owner.
func (w *walk) routerPorts(ctx context.Context) (map[string]*apiPort, error) {
	router, err := one[apiRouter](ctx, w.admin, "routers", walkRouter)
	if err != nil || router == nil {
		return nil, err
	}
	all, err := list[apiPort](ctx, w.admin, "ports", url.Values{"device_id": {router.ID}})
	found := map[string]*apiPort{}
	for _, p := range all {
		found[p.DeviceOwner] = &p
	}
	return found, err
}

// floating is demo's floating IP; nil when it has none.
func (w *walk) floating(ctx context.Context) (*apiFloating, error) {
	found, err := list[apiFloating](ctx, w.demo, "floatingips", url.Values{"floating_ip_address": {floatingAddress}})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

// makeFloating creates the floating IP and associates it with vm01.
func (w *walk) makeFloating(ctx context.Context) error {
	fip, err := w.floating(ctx)
	if err != nil {
		return err
	}
	if fip == nil {
		if _, err := w.openstack(ctx, "floating", "ip", "create", walkExternal); err != nil {
			return err
		}
		if fip, err = w.floating(ctx); err == nil && fip == nil {
			err = fmt.Errorf("the floating IP is not %s", floatingAddress)
		}
		w.hold(err, "the floating IP has the lowest free address, %s", floatingAddress)
		if err != nil {
			return err
		}
		w.equal(strings.Join([]string{fip.Status, text(fip.Fixed), text(fip.PortID), text(fip.RouterID)}, " "), "DOWN null null null",
			"it is DOWN, and fixed_ip_address, port_id and router_id are empty")
	}
	if _, err := w.openstack(ctx, "port", "list"); err != nil {
		return err
	}
	own, err := list[apiPort](ctx, w.demo, "ports", nil)
	if err != nil {
		return err
	}
	var have []string
	for _, p := range own {
		// Instances that somebody has added since are not of the scenario.
		if !strings.HasPrefix(p.DeviceOwner, "compute:") || slices.Contains(walkInstances, p.Name) {
			have = append(have, p.ip())
		}
	}
	want := []string{dhcpAddress, walkAddresses["vm02"], walkAddresses["vm01"], interfaceAddress} // by id, in the recording
	if !w.recorded {
		slices.Sort(have)
		slices.Sort(want)
	}
	w.equal(strings.Join(have, " "), strings.Join(want, " "), "demo sees four ports: DHCP, both instances and the router's interface; none of %s", walkExternal)
	return w.associate(ctx)
}

// associate gives the floating IP to vm01, if it is not there.
func (w *walk) associate(ctx context.Context) error {
	p, err := w.ports(ctx)
	if err != nil {
		return err
	}
	vm := p.vm["vm01"]
	if vm == nil {
		return errors.New("vm01 has no port: take the lab down with 'nagare lab down' and begin anew")
	}
	fip, err := w.floating(ctx)
	if err != nil {
		return err
	}
	if fip == nil {
		return fmt.Errorf("the floating IP %s is gone: take the lab down with 'nagare lab down' and begin anew", floatingAddress)
	}
	if fip.PortID == nil {
		if _, err := w.openstack(ctx, "floating", "ip", "set", "--port", vm.ID, floatingAddress); err != nil {
			return err
		}
	}
	router, err := one[apiRouter](ctx, w.demo, "routers", walkRouter)
	if err != nil {
		return err
	}
	err = until(ctx, settleWithin, "the floating IP is ACTIVE", func(ctx context.Context) (err error) {
		if fip, err = w.floating(ctx); err == nil && fip == nil {
			err = errors.New("it is gone")
		} else if err == nil && fip.Status != "ACTIVE" {
			err = fmt.Errorf("its status is %s", fip.Status)
		}
		return err
	})
	w.hold(err, "the floating IP is ACTIVE")
	if fip != nil && router != nil {
		w.equal(strings.Join([]string{text(fip.Fixed), text(fip.PortID), text(fip.RouterID)}, " "), strings.Join([]string{walkAddresses["vm01"], vm.ID, router.ID}, " "),
			"it stands for %s, with vm01's port and the router's id", walkAddresses["vm01"])
	}
	return nil
}

// checkRouted is checkNode for nodes that route: the switches hold what the server wants, and each flow has an author.
func (w *walk) checkRouted(ctx context.Context) error {
	for _, node := range w.nodes() {
		var v *view
		waited := until(ctx, settleWithin, "node "+node+" shows the step's state", func(ctx context.Context) (err error) {
			if v, err = w.look(ctx, node); err != nil {
				return err
			}
			return errors.Join(v.agrees(), v.groupsNamed())
		})
		if v == nil {
			return waited
		}
		if _, err := w.on(ctx, node, "ovs-vsctl", "show"); err != nil {
			return err
		}
		w.hold(v.agrees(), "%s: br-int holds exactly the %d flows that the server wants", node, len(v.want))
		w.hold(v.marks(), "%s: each flow bears a cookie of the server's", node)
		w.hold(w.authors(ctx, node, v), "%s: each flow has an author", node)
		w.hold(v.groupsNamed(), "%s: br-int holds the %d groups that its flows name, and no other", node, len(v.named))
	}
	return nil
}
