// SPDX-License-Identifier: Apache-2.0

package cli

import "github.com/spf13/cobra"

func newLabRunCommand(f *labFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "run",
		Short:   "Run a scenario in the lab",
		Example: "  sudo nagare lab run walkthrough",
		Args:    cobra.NoArgs,
		RunE:    showHelp,
	}
}
