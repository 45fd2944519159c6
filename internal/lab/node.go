// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"
)

const (
	schemaPath = "/usr/share/openvswitch/vswitch.ovsschema"
	stopGrace  = 5 * time.Second
)

// underlayNS is the namespace of the bridge that joins the nodes.
func (l *Lab) underlayNS() string { return l.namespace("underlay") }

// startUnderlay makes the underlay's bridge.
func (l *Lab) startUnderlay(ctx context.Context, s *State) error {
	ns := l.underlayNS()
	if err := l.claim(s, ns); err != nil {
		return err
	}
	if err := makeNamespace(ctx, ns); err != nil {
		return err
	}
	if err := addBridge(ctx, ns, "ul0"); err != nil || !s.Config.Provider {
		return err
	}
	return addBridge(ctx, ns, providerBridge)
}

// addBridge makes a Linux bridge that passes every frame, with whatever tag.
func addBridge(ctx context.Context, ns, name string) error {
	if !haveLink(ctx, ns, name) {
		if err := each(ctx, ip("-n", ns, "link", "add", name, "mtu", fmt.Sprint(underlayMT), "type", "bridge", "stp_state", "0", "forward_delay", "0")); err != nil {
			return err
		}
	}
	return each(ctx, ip("-n", ns, "link", "set", name, "up"))
}

// startNode brings a node up to the point where an operator would enter
// "ovs-vsctl set-manager": Open vSwitch runs, the underlay address stands.
func (l *Lab) startNode(ctx context.Context, s *State, index int) error {
	n := s.Config.Nodes[index]
	ns := l.namespace(n.Name)
	if err := l.claim(s, ns); err != nil {
		return err
	}
	if err := makeNamespace(ctx, ns); err != nil {
		return err
	}
	for _, d := range []string{"run", "log", "db"} {
		if err := os.MkdirAll(l.path("nodes", n.Name, d), 0o755); err != nil {
			return err
		}
	}
	if err := l.cable(ctx, ns, "eth0", fmt.Sprint("u", index), "ul0"); err != nil {
		return err
	}
	if err := l.startOVS(ctx, s, n); err != nil {
		return err
	}
	// br-phy owns the tunnel address: the userspace datapath sends tunnels only
	// through a port of one of its bridges. Its MAC is ours to say: else it is another one for a moment whenever the switch starts,
	// and who reads it then sends tunnelled packets to nobody.
	_, err := l.ovs(ctx, n.Name, "ovs-vsctl", "--may-exist", "add-br", "br-phy",
		"--", "set", "Bridge", "br-phy", "datapath_type=netdev", "fail_mode=standalone", `other_config:hwaddr="`+physicalMAC(n)+`"`,
		"--", "--may-exist", "add-port", "br-phy", "eth0")
	if err != nil {
		return err
	}
	if err := each(ctx,
		ip("-n", ns, "addr", "replace", fmt.Sprintf("%s/%d", n.Address, prefixLen), "dev", "br-phy"),
		ip("-n", ns, "link", "set", "br-phy", "mtu", fmt.Sprint(underlayMT), "up"),
		inNamespace(ns, "ethtool", "-K", "br-phy", "tx", "off"),
	); err != nil {
		return err
	}
	return l.startPhysical(ctx, s, index)
}

// cable joins a link of the node to a port of one of the underlay's bridges.
func (l *Lab) cable(ctx context.Context, ns, link, port, bridge string) error {
	ul, mtu := l.underlayNS(), fmt.Sprint(underlayMT)
	if !haveLink(ctx, ns, link) {
		if err := each(ctx, ip("-n", ul, "link", "add", port, "type", "veth", "peer", "name", link, "netns", ns)); err != nil {
			return err
		}
	}
	return each(ctx,
		ip("-n", ul, "link", "set", port, "mtu", mtu, "master", bridge, "up"),
		ip("-n", ns, "link", "set", link, "mtu", mtu, "up"),
		// Open vSwitch's userspace datapath sends frames with the checksums
		// that it gets; a veth's sender must not leave them to hardware.
		inNamespace(ns, "ethtool", "-K", link, "tx", "off"))
}

// startOVS starts the node's two daemons with Open vSwitch's usual file names
// under the node's own directories.
func (l *Lab) startOVS(ctx context.Context, s *State, n Node) error {
	ns, env := l.namespace(n.Name), l.ovsEnv(n.Name)
	runDir, logDir, db := l.path("nodes", n.Name, "run"), l.path("nodes", n.Name, "log"), l.path("nodes", n.Name, "db", "conf.db")
	if _, ok := fromPidFile(runDir+"/ovsdb-server.pid", "ovsdb-server"); !ok {
		if err := createDatabase(ctx, db, rowUUID(s.Config.IDs, n.Name)); err != nil {
			return err
		}
		if _, err := run(ctx, env, inNamespace(ns, "ovsdb-server", "-vconsole:off", db,
			"--remote=punix:"+runDir+"/db.sock", "--remote=db:Open_vSwitch,Open_vSwitch,manager_options",
			"--log-file="+logDir+"/ovsdb-server.log", "--pidfile", "--detach", "--no-chdir")...); err != nil {
			return err
		}
	}
	if _, ok := fromPidFile(runDir+"/ovs-vswitchd.pid", "ovs-vswitchd"); !ok {
		version, err := run(ctx, nil, "ovs-vswitchd", "--version")
		if err != nil {
			return err
		}
		first, _, _ := strings.Cut(version, "\n")
		fields := strings.Fields(first)
		if _, err := l.ovs(ctx, n.Name, "ovs-vsctl", "--no-wait", "init", "--", "set", "Open_vSwitch", ".",
			"external_ids:hostname="+n.Name, "external_ids:system-id="+n.Name,
			"external_ids:ovn-bridge-datapath-type=netdev", "other_config:local_ip="+n.Address,
			"ovs_version="+fields[len(fields)-1]); err != nil {
			return err
		}
		if _, err := run(ctx, env, inNamespace(ns, "ovs-vswitchd", "-vconsole:off", "unix:"+runDir+"/db.sock",
			"--log-file="+logDir+"/ovs-vswitchd.log", "--pidfile", "--detach", "--no-chdir")...); err != nil {
			return err
		}
	}
	return nil
}

// createDatabase makes an empty database whose one Open_vSwitch row has the
// given uuid, if any. It is made aside and renamed, so a database that exists is
// complete.
func createDatabase(ctx context.Context, path, uuid string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	aside := path + ".new"
	if err := os.Remove(aside); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if _, err := run(ctx, nil, "ovsdb-tool", "create", aside, schemaPath); err != nil {
		return err
	}
	if uuid != "" {
		insert, err := json.Marshal([]any{"Open_vSwitch", map[string]any{"op": "insert", "table": "Open_vSwitch", "row": map[string]any{}, "uuid": uuid}})
		if err != nil {
			return err
		}
		if _, err := run(ctx, nil, "ovsdb-tool", "transact", aside, string(insert)); err != nil {
			return err
		}
	}
	return os.Rename(aside, path)
}

// physicalMAC is the MAC of a node's br-phy: locally administered, with its address in it.
func physicalMAC(n Node) string {
	a := netip.MustParseAddr(n.Address).As4()
	return net.HardwareAddr{0x02, 0x6e, a[0], a[1], a[2], a[3]}.String()
}

// pinNeighbours tells every node's userspace datapath the underlay addresses of
// the others, so that the first tunnelled packets are not lost while it resolves
// them itself (which costs about a second). Entries last an hour, the most that
// Open vSwitch allows; afterwards it resolves as usual.
func (l *Lab) pinNeighbours(ctx context.Context, s *State) error {
	for _, n := range s.Config.Nodes {
		if _, err := l.ovs(ctx, n.Name, "ovs-appctl", "tnl/neigh/aging", "3600"); err != nil {
			// Older versions do not know it: their entries last 15 minutes.
			l.say("node %s: tunnel neighbours last 15 minutes: %v", n.Name, err)
		}
		for _, peer := range s.Config.Nodes {
			if peer.Name == n.Name {
				continue
			}
			if _, err := l.ovs(ctx, n.Name, "ovs-appctl", "tnl/neigh/set", "br-phy", peer.Address, physicalMAC(peer)); err != nil {
				return err
			}
		}
	}
	return nil
}

// setManager is the whole installation of a node, from the operator's view.
func (l *Lab) setManager(ctx context.Context, n Node, target string) error {
	now, err := l.ovs(ctx, n.Name, "ovs-vsctl", "get-manager")
	if err != nil || strings.TrimSpace(now) == target {
		return err
	}
	_, err = l.ovs(ctx, n.Name, "ovs-vsctl", "set-manager", target)
	return err
}

// connected reports what is missing until a node is under the server's control.
func (l *Lab) connected(ctx context.Context, n Node) error {
	out, err := l.ovs(ctx, n.Name, "ovs-vsctl", "--bare", "--columns=is_connected", "list", "Manager")
	if err != nil {
		return err
	}
	if strings.TrimSpace(out) != "true" {
		return fmt.Errorf("node %s: the manager is not connected", n.Name)
	}
	if _, err := l.ovs(ctx, n.Name, "ovs-vsctl", "br-exists", "br-int"); err != nil {
		return fmt.Errorf("node %s: the server has not made br-int", n.Name)
	}
	out, err = l.ovs(ctx, n.Name, "ovs-vsctl", "--bare", "--columns=is_connected", "list", "Controller")
	if err != nil {
		return err
	}
	if strings.TrimSpace(out) != "true" {
		return fmt.Errorf("node %s: br-int is not connected to its controller", n.Name)
	}
	return nil
}

func haveLink(ctx context.Context, ns, name string) bool {
	_, err := run(ctx, nil, ip("-n", ns, "link", "show", "dev", name)...)
	return err == nil
}
