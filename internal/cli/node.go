// SPDX-License-Identifier: Apache-2.0

package cli

import "github.com/spf13/cobra"

func newNodeCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "node",
		Short:   "Services that run on a node",
		Example: "  nagare node dhcp --server http://192.168.0.10:8181 --node controller",
		Args:    cobra.NoArgs,
		RunE:    showHelp,
	}
}
