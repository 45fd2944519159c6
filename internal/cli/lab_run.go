// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"nagare/internal/lab"
)

func newLabRunCommand(f *labFlags) *cobra.Command {
	c := &cobra.Command{
		Use:     "run",
		Short:   "Run a scenario in the lab",
		Example: "  sudo nagare lab run walkthrough",
		Args:    cobra.NoArgs,
		RunE:    showHelp,
	}
	c.AddCommand(newLabRunWalkthroughCommand(f))
	return c
}

func newLabRunWalkthroughCommand(f *labFlags) *cobra.Command {
	var o lab.WalkOptions
	var out *output
	c := &cobra.Command{
		Use:   "walkthrough",
		Short: "Lead through two nodes, two instances and a floating IP, and prove each step",
		Long: "Shows each command, its real output and what it proves:\n\n" +
			"  step 0   a fresh stack: both switches are under control\n" +
			"  step 1   a network and a subnet: who answers DHCP, what the nodes hold\n" +
			"  step 2   two instances: address by DHCP, ping, forged frames, security groups\n" +
			"  step 3   an external network, a router, a floating IP: SSH to vm01 (standard)\n\n" +
			"In the profile standard, the default, each switch holds what the server wants and\n" +
			"each flow has an author; forged addresses are dropped, groups are enforced. In\n" +
			"classic the flow tables equal the recorded ones, line by line, and what they let\n" +
			"pass is shown too. With --ids recorded, ids, MACs and the VNI are the recording's.\n\n" +
			"With --nodes controller the same runs on one node (step 4 of the scenario).\n" +
			"Brings the lab up if it is not. A later run goes on from where the lab is. Exit\n" +
			"code 1 if a statement did not hold.",
		Example: "  sudo nagare lab run walkthrough\n" +
			"  sudo nagare lab run walkthrough --until 1\n" +
			"  sudo nagare lab run walkthrough --profile classic --ids recorded -o json",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if o.Until < 0 || o.Until > 3 {
				return usagef("step %d: the steps are 0 to 3", o.Until)
			}
			if err := o.Up.Validate(); err != nil {
				return usageError{err}
			}
			l, err := f.open(c)
			if err != nil {
				return err
			}
			if out.json() {
				l.Out = nil
			}
			statements, err := l.Walkthrough(c.Context(), o)
			held, skipped, failed := 0, 0, []string{}
			for _, s := range statements {
				switch {
				case s.Held:
					held++
				case s.Skipped != "":
					skipped++
				default:
					failed = append(failed, fmt.Sprintf("step %d: %s", s.Step, s.Text))
				}
			}
			if out.json() {
				if statements == nil {
					statements = []lab.Statement{}
				}
				if err := out.print(c.OutOrStdout(), statements, nil, nil); err != nil {
					return err
				}
			} else if len(statements) > 0 {
				fmt.Fprintf(c.OutOrStdout(), "\n%d of %d statements held\n", held, len(statements)-skipped)
				if skipped > 0 {
					fmt.Fprintf(c.OutOrStdout(), "%d skipped, see SKIP above for the reason\n", skipped)
				}
			}
			if err != nil {
				return err
			}
			if len(failed) > 0 {
				return fmt.Errorf("%d statements did not hold:\n  %s", len(failed), strings.Join(failed, "\n  "))
			}
			return nil
		},
	}
	c.Flags().IntVar(&o.Until, "until", 3, "last step")
	addUpFlags(c, &o.Up)
	out = addOutputFlag(c)
	return c
}
