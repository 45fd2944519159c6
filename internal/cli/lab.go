// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"nagare/internal/lab"
)

// labFlags name a lab; every lab command has them.
type labFlags struct {
	name string
	dir  string
}

func (f *labFlags) open(c *cobra.Command) (*lab.Lab, error) {
	l, err := lab.New(f.dir, f.name)
	if err != nil {
		return nil, usageError{err}
	}
	l.Out = c.OutOrStdout()
	return l, nil
}

func newLabCommand() *cobra.Command {
	f := &labFlags{}
	c := &cobra.Command{
		Use:   "lab",
		Short: "Build and use a laboratory of Open vSwitch nodes on this machine",
		Long: "A lab is a small data centre of network namespaces. Each node runs its own real\n" +
			"Open vSwitch, instances are namespaces with a real DHCP client, and the server\n" +
			"runs on the controller node. Nothing of the machine's own network is touched.\n" +
			"Several labs run side by side under different --name and --host-ip.",
		Example: "  sudo nagare lab up\n  sudo nagare lab run walkthrough\n  sudo nagare lab exec compute -- ovs-vsctl show\n  sudo nagare lab down",
		Args:    cobra.NoArgs,
		RunE:    showHelp,
	}
	dir := os.Getenv("NAGARE_LAB_DIR")
	if dir == "" {
		dir = lab.DefaultDir
	}
	name := os.Getenv("NAGARE_LAB_NAME")
	if name == "" {
		name = lab.DefaultName
	}
	c.PersistentFlags().StringVar(&f.name, "name", name, "name of the lab, and prefix of its namespaces (NAGARE_LAB_NAME)")
	c.PersistentFlags().StringVar(&f.dir, "dir", dir, "directory that holds the labs' state (NAGARE_LAB_DIR)")
	c.AddCommand(
		newLabUpCommand(f), newLabDownCommand(f), newLabStatusCommand(f),
		newLabExecCommand(f), newLabOpenRCCommand(f), newLabInstanceCommand(f),
		newLabRunCommand(f), newLabForwardCommand(), newLabGuestCommand(), newLabLibvirtCommand(),
	)
	return c
}

// addUpFlags declares the flags that say how a lab is to be.
func addUpFlags(c *cobra.Command, o *lab.UpOptions) {
	c.Flags().StringSliceVar(&o.Nodes, "nodes", nil, "nodes, the first is the controller (default controller,compute)")
	c.Flags().StringVar(&o.Profile, "profile", "", "pipeline: standard or classic (default "+lab.DefaultProfile+")")
	c.Flags().StringVar(&o.DHCP, "dhcp", "", "who answers DHCP: native, the server, or port, a process on the network node (default native, in classic port)")
	c.Flags().StringVar(&o.Northbound, "northbound", "", "who owns the networks: neutron, the server's own API, or odl, another Neutron by networking-odl (default neutron)")
	c.Flags().BoolVar(&o.Provider, "provider", false, "give all nodes a physical network physnet1, behind a bridge br-prov")
	c.Flags().StringVar(&o.External, "external", "", "address of the controller node on br-ex, which makes it the router of an external network, such as 172.16.1.1/24")
	c.Flags().StringVar(&o.IDs, "ids", "", "ids and MACs: generated, or recorded as in the walk-through (default generated)")
	c.Flags().StringVar(&o.HostIP, "host-ip", "", "loopback address on which the host reaches the server (default "+lab.DefaultHostIP+")")
}

func newLabUpCommand(f *labFlags) *cobra.Command {
	var o lab.UpOptions
	c := &cobra.Command{
		Use:   "up",
		Short: "Bring the lab up, or complete what is there",
		Long: "Makes the nodes, starts the server on the controller node and hands the nodes to\n" +
			"it. What already runs is left alone, so the command may be repeated; it also\n" +
			"mends a lab after a crash or a reboot.",
		Example: "  sudo nagare lab up\n" +
			"  sudo nagare lab up --nodes controller                     one node\n" +
			"  sudo nagare lab up --profile classic --ids recorded       the walk-through as it was recorded\n" +
			"  sudo nagare lab up --northbound odl                       for a Neutron of yours; then: lab openrc odl\n" +
			"  sudo nagare lab up --provider                             with a physical network for VLANs\n" +
			"  sudo nagare lab up --name second --host-ip 127.0.0.2      beside another lab\n" +
			"  sudo nagare lab up --no-server --manager tcp:10.0.0.1:6640",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := f.open(c)
			if err != nil {
				return err
			}
			if err := o.Validate(); err != nil {
				return usageError{err}
			}
			if err := l.Up(c.Context(), o); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "lab %s is up\n", l.Name)
			return nil
		},
	}
	addUpFlags(c, &o)
	c.Flags().BoolVar(&o.Bare, "no-server", false, "only the nodes: br-int is left to a controller of yours")
	c.Flags().StringVar(&o.Manager, "manager", "", "with --no-server: what ovs-vsctl set-manager gets")
	return c
}

func newLabDownCommand(f *labFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "down",
		Short:   "Remove the lab and everything in it",
		Long:    "Ends the lab's processes and deletes its namespaces, links and files, also of a\nlab that was only half made. A lab that is not there is no error.",
		Example: "  sudo nagare lab down\n  sudo nagare lab down --name second",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := f.open(c)
			if err != nil {
				return err
			}
			was, err := l.Down(c.Context())
			if err != nil {
				return err
			}
			if was {
				fmt.Fprintf(c.OutOrStdout(), "lab %s is down\n", l.Name)
			} else {
				fmt.Fprintf(c.OutOrStdout(), "lab %s was not up (no state in %s)\n", l.Name, l.Dir)
			}
			return nil
		},
	}
}

func newLabStatusCommand(f *labFlags) *cobra.Command {
	var out *output
	c := &cobra.Command{
		Use:     "status",
		Short:   "Show what runs where; exit code 1 if a part is not in order",
		Example: "  sudo nagare lab status\n  sudo nagare lab status -o json",
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
				if others := lab.Labs(f.dir); errors.Is(err, lab.ErrNotUp) && len(others) > 0 {
					return fmt.Errorf("%w (up: %s)", err, strings.Join(others, ", "))
				}
				return err
			}
			rows := [][]string{}
			for _, p := range s.Parts {
				rows = append(rows, []string{p.Part, p.Where, p.Namespace, p.State})
			}
			for _, i := range s.Instances {
				namespace := l.Name + "-" + i.Name
				if i.VM {
					namespace = "" // a machine has a kernel of its own
				}
				rows = append(rows, []string{"instance " + i.Name, i.Node + " " + i.Address, namespace, i.State})
			}
			if err := out.print(c.OutOrStdout(), s, []string{"PART", "WHERE", "NAMESPACE", "STATE"}, rows); err != nil {
				return err
			}
			if !s.Healthy {
				return exitError{exitFailed}
			}
			return nil
		},
	}
	out = addOutputFlag(c)
	return c
}

func newLabExecCommand(f *labFlags) *cobra.Command {
	c := &cobra.Command{
		Use:   "exec NODE|INSTANCE -- COMMAND...",
		Short: "Run a command on a node or in an instance",
		Long: "Runs the command in the network namespace of a node or an instance. On a node\n" +
			"Open vSwitch's tools address that node's switch. The exit code is the command's.",
		Example: "  sudo nagare lab exec compute -- ovs-vsctl show\n" +
			"  sudo nagare lab exec compute -- ovs-ofctl dump-flows br-int -O OpenFlow13\n" +
			"  sudo nagare lab exec vm01 -- ping -c1 10.11.12.4",
		Args: cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			l, err := f.open(c)
			if err != nil {
				return err
			}
			command := args[1:]
			if command[0] == "--" {
				command = command[1:]
			}
			if len(command) == 0 {
				return usagef("no command after %q", args[0])
			}
			argv, env, err := l.ExecCommand(args[0], command)
			if err != nil {
				return err
			}
			program, err := exec.LookPath(argv[0])
			if err != nil {
				return err
			}
			// The command takes this process's place: its signals, terminal and
			// exit code are the caller's own.
			return fmt.Errorf("%s: %w", program, syscall.Exec(program, argv, env))
		},
	}
	c.Flags().SetInterspersed(false) // flags after the name are the command's
	return c
}

func newLabOpenRCCommand(f *labFlags) *cobra.Command {
	return &cobra.Command{
		Use:       "openrc admin|demo|odl",
		Short:     "Print OS_* variables for the openstack client, or ODL_* for another Neutron",
		Example:   "  eval \"$(sudo nagare lab openrc demo)\"\n  openstack network list\n  sudo nagare lab openrc odl",
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"admin", "demo", "odl"},
		RunE: func(c *cobra.Command, args []string) error {
			l, err := f.open(c)
			if err != nil {
				return err
			}
			variables, err := l.OpenRC(args[0])
			if err != nil {
				return err
			}
			for _, v := range variables {
				fmt.Fprintln(c.OutOrStdout(), "export "+v)
			}
			return nil
		},
	}
}

// newLabForwardCommand is what "lab up" starts in the host's namespace.
func newLabForwardCommand() *cobra.Command {
	var o lab.Forwarding
	c := &cobra.Command{
		Use:     "forward",
		Hidden:  true,
		Short:   "Relay TCP ports of this host into a network namespace",
		Example: "  nagare lab forward --netns /run/netns/nagare-controller --listen 127.0.0.1 --to 192.168.0.10 --ports 9696",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Log = slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil))
			return lab.Forward(c.Context(), o)
		},
	}
	c.Flags().StringVar(&o.Netns, "netns", "", "path of the namespace that connections enter")
	c.Flags().StringVar(&o.Listen, "listen", "127.0.0.1", "address to listen on")
	c.Flags().StringVar(&o.To, "to", "", "address to connect to in the namespace")
	c.Flags().IntSliceVar(&o.Ports, "ports", nil, "TCP ports")
	c.Flags().StringVar(&o.PIDFile, "pid-file", "", "file that gets the pid once all ports are open")
	for _, required := range []string{"netns", "to", "ports"} {
		if err := c.MarkFlagRequired(required); err != nil {
			panic(err) // a flag that is declared three lines above
		}
	}
	return c
}

// newLabGuestCommand is what "lab instance add --ssh" starts in the instance's namespace.
func newLabGuestCommand() *cobra.Command {
	var g lab.Guest
	c := &cobra.Command{
		Use:     "guest",
		Hidden:  true,
		Short:   "Become the SSH server of an instance",
		Example: "  ip netns exec nagare-vm01 nagare lab guest --hostname vm01 --accounts /var/lib/nagare-lab/nagare/guests/vm01",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return lab.RunGuest(g) },
	}
	c.Flags().StringVar(&g.Hostname, "hostname", "", "host name of the instance")
	c.Flags().StringVar(&g.Accounts, "accounts", "", "directory with passwd, group, shadow and hostkey")
	for _, required := range []string{"hostname", "accounts"} {
		if err := c.MarkFlagRequired(required); err != nil {
			panic(err) // a flag that is declared two lines above
		}
	}
	return c
}
