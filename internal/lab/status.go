// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Status is what runs where.
type Status struct {
	Name      string           `json:"name"`
	Dir       string           `json:"dir"`
	Profile   string           `json:"profile"`
	DHCP      string           `json:"dhcp"`
	IDs       string           `json:"ids"`
	Parts     []PartStatus     `json:"parts"`
	Instances []InstanceStatus `json:"instances"`
	Healthy   bool             `json:"healthy"`
}

// PartStatus is one node or process of the lab.
type PartStatus struct {
	Part      string `json:"part"`
	Where     string `json:"where"`
	State     string `json:"state"` // "ok", or what is wrong
	Namespace string `json:"namespace,omitempty"`
}

// InstanceStatus is one instance with its address, if it has one.
type InstanceStatus struct {
	Instance
	Address string `json:"address,omitempty"`
	State   string `json:"state"`
}

// Status looks at everything that the lab should have. It changes nothing.
func (l *Lab) Status(ctx context.Context) (*Status, error) {
	s, err := l.load()
	if err != nil {
		return nil, err
	}
	out := &Status{Name: l.Name, Dir: l.Dir, Profile: s.Config.Profile, DHCP: s.Config.DHCP, IDs: s.Config.IDs, Healthy: true}
	if out.IDs == "" {
		out.IDs = idsGenerated
	}
	add := func(part, where, namespace string, err error) {
		p := PartStatus{Part: part, Where: where, Namespace: namespace, State: "ok"}
		if err != nil {
			p.State, out.Healthy = err.Error(), false
		}
		out.Parts = append(out.Parts, p)
	}
	for _, n := range s.Config.Nodes {
		add("node "+n.Name, n.Address, l.namespace(n.Name), l.nodeHealth(ctx, s, n))
	}
	if !s.Config.Bare {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * time.Second}
		first := s.Config.Nodes[0].Name
		add("server", serverIP, l.namespace(first), processHealth(s.Processes[roleServer]))
		for _, node := range s.Config.dhcpNodes() {
			add("dhcp", node, l.namespace(node), processHealth(s.Processes[roleDHCP(node)]))
		}
		err := processHealth(s.Processes[roleForwarder])
		if err == nil {
			err = getOK(ctx, client, fmt.Sprintf("http://%s:%d/readyz", s.Config.HostIP, portAdmin))
		}
		add("forwarder", s.Config.HostIP, "", err)
	}
	for _, inst := range s.Instances {
		st := InstanceStatus{Instance: inst, State: "ok"}
		if lease, err := l.LeaseOf(inst.Name); err != nil {
			st.State = "no lease"
		} else {
			st.Address = lease.Address
		}
		if inst.SSH && !l.sshRuns(inst.Name) {
			st.State = "its SSH server does not run: run 'nagare lab up'"
		}
		if inst.VM && st.State == "ok" {
			st.State = l.vmHealth(inst)
		}
		if !inst.VM && !haveNamespace(l.namespace(inst.Name)) {
			st.State = "namespace is gone: run 'nagare lab up'"
		}
		out.Healthy = out.Healthy && st.State == "ok"
		out.Instances = append(out.Instances, st)
	}
	return out, nil
}

func processHealth(p Process) error {
	if !p.Alive() {
		return fmt.Errorf("does not run: see 'nagare lab up'")
	}
	return nil
}

func (l *Lab) nodeHealth(ctx context.Context, s *State, n Node) error {
	if !haveNamespace(l.namespace(n.Name)) {
		return fmt.Errorf("namespace is gone: run 'nagare lab up'")
	}
	for _, daemon := range []string{"ovsdb-server", "ovs-vswitchd"} {
		if _, ok := fromPidFile(l.path("nodes", n.Name, "run", daemon+".pid"), daemon); !ok {
			return fmt.Errorf("%s does not run: run 'nagare lab up'", daemon)
		}
	}
	if s.Config.Bare {
		return nil
	}
	// ovsdb-server writes is_connected down only every few seconds: before a node is called unconnected it gets that long.
	return until(ctx, staleFor, "connected", func(ctx context.Context) error { return l.connected(ctx, n) })
}

// staleFor is how old the state of a connection may be in Open vSwitch's database.
const staleFor = 8 * time.Second

// Labs lists the names of the labs that have state below a directory.
func Labs(base string) []string {
	found, _ := filepath.Glob(filepath.Join(base, "*", "state.json"))
	var names []string
	for _, f := range found {
		names = append(names, filepath.Base(filepath.Dir(f)))
	}
	slices.Sort(names)
	return names
}

// ExecCommand returns the program, arguments and environment that run a command
// on a node or in an instance. On a node Open vSwitch's tools and virsh address that node.
func (l *Lab) ExecCommand(where string, argv []string) (program []string, env []string, err error) {
	s, err := l.load()
	if err != nil {
		return nil, nil, err
	}
	env = os.Environ()
	if _, ok := s.node(where); ok {
		env = slices.DeleteFunc(env, func(e string) bool { return strings.HasPrefix(e, "OVS_") || strings.HasPrefix(e, libvirtVariable) })
		env = append(append(env, l.ovsEnv(where)...), l.libvirtEnv(where))
	} else if inst, ok := s.instance(where); ok && inst.VM {
		return nil, nil, errVM(where)
	} else if !ok {
		names := []string{nodeNames(s)}
		for _, i := range s.Instances {
			names = append(names, i.Name)
		}
		return nil, nil, fmt.Errorf("%q: neither a node nor an instance; the lab has %s", where, strings.Join(names, ", "))
	}
	return inNamespace(l.namespace(where), argv...), env, nil
}
