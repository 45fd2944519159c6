// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"nagare/internal/lab"
)

func newLabInstanceCommand(f *labFlags) *cobra.Command {
	c := &cobra.Command{
		Use:     "instance",
		Short:   "Add, move, remove and list instances",
		Long:    "An instance is a network namespace plugged into a node's br-int as a hypervisor\nplugs a guest, or a virtual machine (--vm); it gets its address from the network by a\nreal DHCP client.",
		Example: "  sudo nagare lab instance add vm01 --network net01 --node compute\n  sudo nagare lab instance list",
		Args:    cobra.NoArgs,
		RunE:    showHelp,
	}
	c.AddCommand(newLabInstanceAddCommand(f), newLabInstanceMoveCommand(f), newLabInstanceRmCommand(f), newLabInstanceListCommand(f))
	return c
}

func newLabInstanceAddCommand(f *labFlags) *cobra.Command {
	var o lab.AddOptions
	var out *output
	c := &cobra.Command{
		Use:   "add NAME --network NET --node NODE | add NAME --port PORT",
		Short: "Add an instance to a network on a node",
		Long: "Makes a port through the Neutron API and binds it to the node as Nova does, plugs\n" +
			"the instance, waits until the port is ACTIVE and lets the instance ask for its\n" +
			"address. An instance that is there already is completed. With --port it is plugged for\n" +
			"a port that is there and bound to a node, as another Neutron's are; that port stays\n" +
			"when the instance is removed.",
		Example: "  sudo nagare lab instance add vm01 --network net01 --node compute\n" +
			"  sudo nagare lab instance add web --network net01 --node compute --security-group web\n" +
			"  sudo nagare lab instance add vm01 --network net01 --node compute --ssh\n" +
			"  sudo nagare lab instance add vm03 --network net01 --node compute --vm\n" +
			"  sudo nagare lab instance add vm04 --network net01 --node compute --vm=libvirt\n" +
			"  sudo nagare lab instance add vm05 --port 178a8b99-17b3-4a0e-97b3-b5b02bc3e2b3",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			for _, name := range []string{"network", "node"} {
				if o.Port == "" && !c.Flags().Changed(name) {
					return usagef("required flag --%s is not set; or give --port, a port that is there", name)
				}
			}
			l, err := f.open(c)
			if err != nil {
				return err
			}
			o.Name = args[0]
			a, err := l.AddInstance(c.Context(), o)
			if err != nil {
				return err
			}
			return out.print(c.OutOrStdout(), a,
				[]string{"NAME", "NODE", "ADDRESS", "MAC", "PORT", "DHCP"},
				[][]string{{a.Instance.Name, a.Instance.Node, a.Lease.Address, a.Instance.MAC, a.Instance.PortID,
					fmt.Sprintf("lease after %v", a.LeaseTook.Round(time.Millisecond))}})
		},
	}
	c.Flags().StringVar(&o.Network, "network", "", "name or id of the network, as the user demo sees it")
	c.Flags().StringVar(&o.Node, "node", "", "node that the instance runs on")
	c.Flags().BoolVar(&o.SSH, "ssh", false, "give the instance an SSH server and a host name: login cirros, password cubswin:)")
	c.Flags().StringVar(&o.VM, "vm", "", "make it a virtual machine with an SSH server, same login: `uml` (User-Mode Linux, image by scripts/guest.sh), or libvirt (QEMU that libvirt plugs, image by scripts/guest.sh libvirt)")
	c.Flags().Lookup("vm").NoOptDefVal = lab.VMUserMode
	c.Flags().StringSliceVar(&o.SecurityGroups, "security-group", nil, "name or id of a security group of demo's, for a new port (default: the group default)")
	c.Flags().StringVar(&o.Port, "port", "", "id of a port that is there and bound to a node of the lab")
	for _, other := range []string{"network", "node", "security-group", "vm"} {
		c.MarkFlagsMutuallyExclusive("port", other)
	}
	out = addOutputFlag(c)
	return c
}

func newLabInstanceMoveCommand(f *labFlags) *cobra.Command {
	var to string
	var out *output
	c := &cobra.Command{
		Use:   "move NAME --to NODE",
		Short: "Move an instance to another node, as a migration does",
		Long: "Unplugs the instance, binds its port to the other node as Nova does, plugs it there,\n" +
			"waits until the port is ACTIVE and announces it. The instance runs on meanwhile and\n" +
			"keeps its address and its connections.",
		Example: "  sudo nagare lab instance move vm01 --to controller",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			l, err := f.open(c)
			if err != nil {
				return err
			}
			m, err := l.MoveInstance(c.Context(), args[0], to)
			if err != nil {
				return err
			}
			return out.print(c.OutOrStdout(), m, []string{"NAME", "FROM", "NODE", "PORT", "ACTIVE"},
				[][]string{{m.Instance.Name, m.From, m.Instance.Node, m.Instance.PortID, fmt.Sprintf("after %v", m.Took.Round(time.Millisecond))}})
		},
	}
	c.Flags().StringVar(&to, "to", "", "node that the instance is to run on")
	if err := c.MarkFlagRequired("to"); err != nil {
		panic(err) // a flag that is declared above
	}
	out = addOutputFlag(c)
	return c
}

func newLabInstanceRmCommand(f *labFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "rm NAME",
		Aliases: []string{"remove"},
		Short:   "Unplug an instance and delete its port",
		Example: "  sudo nagare lab instance rm vm01",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			l, err := f.open(c)
			if err != nil {
				return err
			}
			if err := l.RemoveInstance(c.Context(), args[0]); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "instance %s removed\n", args[0])
			return nil
		},
	}
}

func newLabInstanceListCommand(f *labFlags) *cobra.Command {
	var out *output
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the instances of the lab",
		Example: "  sudo nagare lab instance list\n  sudo nagare lab instance list -o json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			l, err := f.open(c)
			if err != nil {
				return err
			}
			s, err := l.Status(c.Context())
			if err != nil {
				return err
			}
			rows := [][]string{}
			for _, i := range s.Instances {
				rows = append(rows, []string{i.Name, i.Node, i.Address, i.MAC, i.PortID, i.State})
			}
			list := s.Instances
			if list == nil {
				list = []lab.InstanceStatus{}
			}
			return out.print(c.OutOrStdout(), list, []string{"NAME", "NODE", "ADDRESS", "MAC", "PORT", "STATE"}, rows)
		},
	}
	out = addOutputFlag(c)
	return c
}

// newLabLibvirtCommand is what "lab instance add --vm=libvirt" starts in a node's namespace.
func newLabLibvirtCommand() *cobra.Command {
	var state string
	c := &cobra.Command{
		Use:     "libvirt",
		Hidden:  true,
		Short:   "Become the libvirtd of a node",
		Example: "  ip netns exec nagare-compute nagare lab libvirt --state /var/lib/nagare-lab/nagare/nodes/compute/libvirt",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return lab.RunLibvirt(state) },
	}
	c.Flags().StringVar(&state, "state", "", "directory of the node's libvirt")
	if err := c.MarkFlagRequired("state"); err != nil {
		panic(err) // a flag that is declared above
	}
	return c
}
