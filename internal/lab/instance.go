// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
)

const (
	activeWithin = 30 * time.Second
	leaseWithin  = 30 * time.Second
)

// AddOptions says which instance is wanted.
type AddOptions struct {
	Name    string
	Network string // name or id
	Node    string
	// Port is a port that is there and bound, as another Neutron's are: the instance is plugged where that is, in place of Network and Node,
	// and the port stays when the instance is removed.
	Port string
	// SecurityGroups of a port that is made, by name or id; nil: the project's default group. A port that exists keeps its own.
	SecurityGroups []string
	// SSH gives the instance an SSH server; one that has it keeps it.
	SSH bool
	// VM makes the instance a virtual machine, which has an SSH server anyway: VMUserMode or VMLibvirt. Empty: a namespace, or
	// what the instance is already.
	VM string
}

// Lease is what the instance's DHCP client was told.
type Lease struct {
	Address string `json:"address"` // with prefix length
	Router  string `json:"router,omitempty"`
	DNS     string `json:"dns,omitempty"`
	MTU     string `json:"mtu,omitempty"`
	Host    string `json:"host,omitempty"`
	Domain  string `json:"domain,omitempty"`
	Routes  string `json:"routes,omitempty"`
	Server  string `json:"server,omitempty"`
	Seconds string `json:"seconds,omitempty"`
}

// Added is what AddInstance brought about.
type Added struct {
	Instance Instance `json:"instance"`
	Lease    Lease    `json:"lease"`
	// LeaseTook is from the start of the DHCP client to its lease.
	LeaseTook time.Duration `json:"lease_took"`
}

// AddInstance makes a port as Nova does, or takes the one that it is given, plugs an instance into the node's
// br-int, waits until the port is ACTIVE, and lets the instance ask for its
// address. An instance that is there already is completed.
func (l *Lab) AddInstance(ctx context.Context, o AddOptions) (*Added, error) {
	if err := Require(); err != nil {
		return nil, err
	}
	if err := l.vmReady(o.VM); err != nil {
		return nil, err
	}
	if o.SSH && o.VM == "" {
		if err := requireSSH(); err != nil {
			return nil, err
		}
	}
	unlock, err := l.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	s, err := l.load()
	if err != nil {
		return nil, err
	}
	inst, err := l.prepare(ctx, s, o)
	if err != nil {
		return nil, err
	}
	s.putInstance(inst)
	if err := l.save(s); err != nil {
		return nil, err
	}
	if err := l.plug(ctx, s, inst); err != nil {
		return nil, fmt.Errorf("instance %s: %w", inst.Name, err)
	}
	admin, err := l.connect(ctx, s, "admin")
	if err != nil {
		return nil, err
	}
	if err := waitActive(ctx, admin, inst.PortID); err != nil {
		return nil, fmt.Errorf("instance %s: %w", inst.Name, err)
	}
	lease, took, err := l.lease(ctx, inst)
	if err != nil {
		return nil, fmt.Errorf("instance %s: %w", inst.Name, err)
	}
	if inst.SSH {
		if err := l.startSSH(ctx, inst); err != nil {
			return nil, fmt.Errorf("instance %s: %w", inst.Name, err)
		}
	}
	return &Added{Instance: inst, Lease: lease, LeaseTook: took}, nil
}

func waitActive(ctx context.Context, a *api, port string) error {
	return until(ctx, activeWithin, "port "+port+" is ACTIVE", func(ctx context.Context) error {
		p, err := a.port(ctx, port)
		if err == nil && p.Status != "ACTIVE" {
			err = fmt.Errorf("its status is %s", p.Status)
		}
		return err
	})
}

// prepare checks the options and makes and binds the port. The device id
// follows from the names, so a port of an earlier try that failed is found.
func (l *Lab) prepare(ctx context.Context, s *State, o AddOptions) (Instance, error) {
	none := Instance{}
	if !nameForm.MatchString(o.Name) || o.Name == "underlay" {
		return none, fmt.Errorf("instance name %q: use 1 to 20 lower-case letters, digits and dashes, a letter first", o.Name)
	}
	if _, taken := s.node(o.Name); taken {
		return none, fmt.Errorf("instance name %q: is the name of a node", o.Name)
	}
	if o.Port != "" {
		return l.adopt(ctx, s, o)
	}
	if s.Config.Northbound == northboundODL {
		return none, fmt.Errorf("instance %s: another Neutron makes the ports of lab %s: give one that is there by --port", o.Name, l.Name)
	}
	if _, ok := s.node(o.Node); !ok {
		return none, fmt.Errorf("node %q: the lab has %s", o.Node, nodeNames(s))
	}
	demo, err := l.connect(ctx, s, "demo")
	if err != nil {
		return none, err
	}
	network, err := one[apiNetwork](ctx, demo, "networks", o.Network)
	if err == nil && network == nil {
		network, err = byID(ctx, demo, o.Network)
	}
	if err != nil {
		return none, err
	}
	if network == nil {
		return none, fmt.Errorf("network %q: demo sees none of that name: create it with 'openstack network create %s'", o.Network, o.Network)
	}
	old, ok := s.instance(o.Name)
	if ok && (old.Node != o.Node || old.Network != network.ID) {
		return none, fmt.Errorf("instance %s: runs on %s already: move it with 'nagare lab instance move %s --to %s', or remove it first with 'nagare lab instance rm %s'", o.Name, old.Node, o.Name, o.Node, o.Name)
	}
	if ok && o.VM != "" && o.VM != vmKind(old) {
		return none, fmt.Errorf("instance %s: is there already and no virtual machine of that kind: remove it first with 'nagare lab instance rm %s'", o.Name, o.Name)
	}
	vm := o.VM != "" || old.VM
	inst := Instance{
		Name: o.Name, Node: o.Node, Network: network.ID, MTU: network.MTU, SSH: !vm && (o.SSH || old.SSH), VM: vm, Libvirt: o.VM == VMLibvirt || old.Libvirt,
		DeviceID: uuid.NewSHA1(uuid.NameSpaceDNS, []byte(l.Name+"/"+o.Name)).String(),
	}
	groups, err := groupIDs(ctx, demo, o.SecurityGroups)
	if err != nil {
		return none, err
	}
	port, err := l.bind(ctx, s, demo, inst, groups)
	if err != nil {
		return none, err
	}
	inst.PortID, inst.MAC = port.ID, port.MAC
	return inst, nil
}

// adopt finds the port that an instance is to be plugged for. It is somebody else's, so it is not changed.
func (l *Lab) adopt(ctx context.Context, s *State, o AddOptions) (Instance, error) {
	none := Instance{}
	admin, err := l.connect(ctx, s, "admin")
	if err != nil {
		return none, err
	}
	port, err := admin.port(ctx, o.Port)
	if err != nil {
		return none, err
	}
	if _, ok := s.node(port.HostID); !ok {
		return none, fmt.Errorf("port %s: is bound to %q, and the lab has %s: bind it to one of these (binding:host_id)", o.Port, port.HostID, nodeNames(s))
	}
	if old, ok := s.instance(o.Name); ok && old.PortID != port.ID {
		return none, fmt.Errorf("instance %s: has port %s already: remove it first with 'nagare lab instance rm %s'", o.Name, old.PortID, o.Name)
	}
	network, err := byID(ctx, admin, port.NetworkID)
	if err != nil {
		return none, err
	}
	if network == nil {
		return none, fmt.Errorf("port %s: its network %s does not exist", o.Port, port.NetworkID)
	}
	return Instance{Name: o.Name, Node: port.HostID, Network: network.ID, MTU: network.MTU, SSH: o.SSH, DeviceID: port.DeviceID, PortID: port.ID,
		MAC: port.MAC, KeepPort: true}, nil
}

// groupIDs finds security groups by name or id.
func groupIDs(ctx context.Context, a *api, names []string) ([]string, error) {
	var ids []string
	for _, name := range names {
		if _, err := uuid.Parse(name); err == nil {
			ids = append(ids, name)
			continue
		}
		group, err := one[apiGroup](ctx, a, "security-groups", name)
		if err != nil {
			return nil, err
		}
		if group == nil {
			return nil, fmt.Errorf("security group %q: demo sees none of that name: create it with 'openstack security group create %s'", name, name)
		}
		ids = append(ids, group.ID)
	}
	return ids, nil
}

// bind makes the port as the user and binds it as the administrator, as Nova
// does with its service user.
func (l *Lab) bind(ctx context.Context, s *State, demo *api, inst Instance, groups []string) (*apiPort, error) {
	found, err := list[apiPort](ctx, demo, "ports", url.Values{"device_id": {inst.DeviceID}, "network_id": {inst.Network}})
	if err != nil {
		return nil, err
	}
	var port *apiPort
	if len(found) > 0 {
		port = &found[0]
	} else {
		attributes := map[string]any{"name": inst.Name, "network_id": inst.Network, "device_id": inst.DeviceID, "admin_state_up": true}
		if groups != nil {
			attributes["security_groups"] = groups
		}
		if port, err = demo.createPort(ctx, attributes); err != nil {
			return nil, err
		}
	}
	admin, err := l.connect(ctx, s, "admin")
	if err != nil {
		return nil, err
	}
	return admin.updatePort(ctx, port.ID, map[string]any{
		"device_id": inst.DeviceID, "device_owner": "compute:nova", "binding:host_id": inst.Node,
	})
}

func byID(ctx context.Context, a *api, id string) (*apiNetwork, error) {
	if _, err := uuid.Parse(id); err != nil {
		return nil, nil
	}
	found, err := list[apiNetwork](ctx, a, "networks", url.Values{"id": {id}})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

func nodeNames(s *State) string {
	var names []string
	for _, n := range s.Config.Nodes {
		names = append(names, n.Name)
	}
	return strings.Join(names, ", ")
}

// plug gives the instance its namespace and joins its eth0 to the node's br-int,
// in the way of a hypervisor: a tap of the port's name, with the port's id, MAC
// and state in external_ids.
func (l *Lab) plug(ctx context.Context, s *State, inst Instance) error {
	if inst.VM {
		return l.plugVM(ctx, inst)
	}
	ns, nodeNS, tap := l.namespace(inst.Name), l.namespace(inst.Node), inst.Tap()
	if err := l.claim(s, ns); err != nil {
		return err
	}
	if err := makeNamespace(ctx, ns); err != nil {
		return err
	}
	if !haveLink(ctx, ns, "eth0") {
		if err := each(ctx, ip("-n", nodeNS, "link", "add", tap, "type", "veth", "peer", "name", "eth0", "netns", ns)); err != nil {
			return err
		}
	} else if err := l.fetchTap(ctx, s, inst); err != nil {
		return err
	}
	mtu := fmt.Sprint(inst.MTU)
	if inst.MTU == 0 {
		mtu = "1450"
	}
	if err := each(ctx,
		ip("-n", nodeNS, "link", "set", tap, "mtu", mtu, "up"),
		ip("-n", ns, "link", "set", "eth0", "address", inst.MAC, "mtu", mtu),
		// The userspace datapath neither completes nor accepts unfinished
		// checksums: without this, ping works and TCP does not.
		inNamespace(ns, "ethtool", "-K", "eth0", "tx", "off"),
		ip("-n", ns, "link", "set", "eth0", "up"),
	); err != nil {
		return err
	}
	return l.join(ctx, inst)
}

// join makes the instance's tap a port of its node's br-int and says whose it is.
func (l *Lab) join(ctx context.Context, inst Instance) error {
	tap := inst.Tap()
	_, err := l.ovs(ctx, inst.Node, "ovs-vsctl", "--may-exist", "add-port", "br-int", tap,
		"--", "set", "Interface", tap,
		"external_ids:iface-id="+inst.PortID, "external_ids:attached-mac="+quoteOVS(inst.MAC),
		"external_ids:iface-status=active", "external_ids:vm-id="+inst.DeviceID)
	return err
}

// quoteOVS writes a string so that ovs-vsctl does not read a colon as a pair.
func quoteOVS(s string) string { return `"` + s + `"` }

// RemoveInstance unplugs the instance, removes it and deletes its port, unless that is somebody else's.
func (l *Lab) RemoveInstance(ctx context.Context, name string) error {
	if err := Require(); err != nil {
		return err
	}
	unlock, err := l.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	s, err := l.load()
	if err != nil {
		return err
	}
	inst, ok := s.instance(name)
	if !ok {
		return fmt.Errorf("instance %q: the lab has none of that name; see 'nagare lab instance list'", name)
	}
	if err := l.unplug(ctx, s, inst); err != nil {
		return fmt.Errorf("instance %s: %w", name, err)
	}
	if !inst.KeepPort {
		admin, err := l.connect(ctx, s, "admin")
		if err != nil {
			return err
		}
		if err := admin.deletePort(ctx, inst.PortID); err != nil {
			return err
		}
	}
	s.dropInstance(name)
	return l.disclaim(s, l.namespace(name))
}

// unplug takes the port out of br-int and deletes the namespace, and with it
// both ends of the pair.
func (l *Lab) unplug(ctx context.Context, s *State, inst Instance) error {
	if err := l.stopVM(ctx, inst); err != nil { // first, as libvirt unplugs its own
		return err
	}
	if _, err := l.ovs(ctx, inst.Node, "ovs-vsctl", "--if-exists", "del-port", "br-int", inst.Tap()); err != nil {
		return err
	}
	if err := dropNamespace(ctx, l.namespace(inst.Name)); err != nil {
		return err
	}
	// The namespace may have been gone before its pair: then the other end is
	// still on the node.
	if haveLink(ctx, l.namespace(inst.Node), inst.Tap()) {
		_, err := run(ctx, nil, ip("-n", l.namespace(inst.Node), "link", "del", inst.Tap())...)
		if err != nil && haveLink(ctx, l.namespace(inst.Node), inst.Tap()) {
			return err
		}
	}
	return errors.Join(os.RemoveAll(l.leasePath(inst.Name)), os.RemoveAll(l.guestDir(inst.Name)))
}

// Instances lists the lab's instances.
func (l *Lab) Instances() ([]Instance, error) {
	s, err := l.load()
	if err != nil {
		return nil, err
	}
	return s.Instances, nil
}

// LeaseOf returns what an instance's DHCP client was told last.
func (l *Lab) LeaseOf(name string) (Lease, error) {
	b, err := os.ReadFile(l.leasePath(name))
	if errors.Is(err, os.ErrNotExist) {
		return Lease{}, fmt.Errorf("instance %s: has no lease", name)
	}
	if err != nil {
		return Lease{}, err
	}
	return parseLease(string(b)), nil
}
