// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"log/slog"
	"net/http"
	"os"

	"github.com/spf13/cobra"

	"nagare/internal/nodedhcp"
)

func newNodeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "node",
		Short: "Approve and forget nodes, and the services that run on one",
		Long: "Nodes need only Open vSwitch. What runs on one besides (dhcp) is for networks\nwhose DHCP port is a real interface of a network node. The server is told by\n" +
			"approve and forget which nodes to serve.",
		Example: "  nagare node approve compute2\n  nagare node forget compute2\n  nagare node dhcp --server http://192.168.0.10:8181 --node controller",
		Args:    cobra.NoArgs,
		RunE:    showHelp,
	}
	c.AddCommand(newNodeDHCPCommand())
	c.AddCommand(nodeCommands()...)
	return c
}

func newNodeDHCPCommand() *cobra.Command {
	var server, node, level, cacert string
	c := &cobra.Command{
		Use:   "dhcp",
		Short: "Answer DHCP on the DHCP ports of this node",
		Long: "Opens a raw socket on every DHCP port (tap) that the server has made on this\n" +
			"node's br-int and answers DHCP, ARP and ping for it. No address is assigned to\n" +
			"the tap. Runs until it is stopped; while the server is away the last\n" +
			"configuration stays in force. Needs root, and the network namespace of br-int.\n\n" +
			"The admin API is entered with the OS_* variables that the openstack client\n" +
			"reads; without OS_AUTH_URL no token is sent (serve --auth none).",
		Example: "  OS_AUTH_URL=http://192.168.0.10:5000/v3 OS_USERNAME=admin OS_PASSWORD=... \\\n" +
			"  OS_PROJECT_NAME=admin OS_USER_DOMAIN_NAME=Default OS_PROJECT_DOMAIN_NAME=Default \\\n" +
			"  nagare node dhcp --server http://192.168.0.10:8181 --node controller",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var l slog.Level
			if err := l.UnmarshalText([]byte(level)); err != nil {
				return usagef("log level %q: use debug, info, warn or error", level)
			}
			if node == "" {
				name, err := os.Hostname()
				if err != nil {
					return fmt.Errorf("host name: %w; name the node with --node", err)
				}
				node = name
			}
			// The DHCP process has the library's own transport, and this is all that the process does.
			if cacert != "" {
				if err := trust(http.DefaultTransport.(*http.Transport), cacert); err != nil {
					return err
				}
			}
			return nodedhcp.Run(c.Context(), nodedhcp.Options{
				Server: server,
				Node:   node,
				Auth:   nodedhcp.AuthFromEnv(os.Getenv),
				Log:    slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: l})),
			})
		},
	}
	c.Flags().StringVar(&server, "server", "http://127.0.0.1:8181", "admin API of the server")
	addAuthorityFlag(c, &cacert)
	c.Flags().StringVar(&node, "node", "", "this node's name (default: the host name)")
	c.Flags().StringVar(&level, "log-level", "info", "debug, info, warn or error")
	return c
}
