// SPDX-License-Identifier: Apache-2.0

package cli

import "github.com/spf13/cobra"

func newLabCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "lab",
		Short:   "Build and use a laboratory of Open vSwitch nodes on this machine",
		Example: "  nagare lab up",
		Args:    cobra.NoArgs,
		RunE:    showHelp,
	}
}
