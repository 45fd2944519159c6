// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"nagare/internal/api/admin"
)

func newStatusCommand() *cobra.Command {
	var out *output
	var r *remote
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the state of the server; exit code 1 if a node is not as it should be",
		Long: "Shows how far the newest change has come: committed, compiled, and confirmed by the\n" +
			"barrier of every live node's switch. Exit code 1 if a live node does not hold what\n" +
			"was compiled for it, a node is not connected, or an object is at fault.",
		Example: "  nagare status\n  nagare status -o json\n  nagare wait && nagare status",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			var s admin.Status
			raw, err := r.get(c.Context(), "/status", nil, &s)
			if err != nil {
				return err
			}
			good := s.InSync && s.Faults == 0 && s.LiveNodes == s.Nodes
			if out.json() {
				err = writeJSON(c.OutOrStdout(), raw)
			} else {
				err = printStatus(c.Context(), c.OutOrStdout(), r, s, good)
			}
			if err == nil && !good {
				return exitError{exitFailed}
			}
			return err
		},
	}
	out, r = addOutputFlag(c), addServerFlag(c)
	return c
}

// printStatus writes the status and, unless all is good, what is wrong with which node.
func printStatus(ctx context.Context, w io.Writer, r *remote, s admin.Status, good bool) error {
	err := writeFields(w,
		[2]string{"version", s.Version},
		[2]string{"uptime", s.Uptime},
		[2]string{"profile", s.Profile},
		[2]string{"northbound", s.Northbound},
		[2]string{"revision", fmt.Sprint(s.Revision)},
		[2]string{"compiled", fmt.Sprint(s.Compiled)},
		[2]string{"confirmed", fmt.Sprint(s.Confirmed)},
		[2]string{"nodes live", fmt.Sprintf("%d of %d", s.LiveNodes, s.Nodes)},
		[2]string{"networks", fmt.Sprint(s.Networks)},
		[2]string{"ports", fmt.Sprint(s.Ports)},
		[2]string{"units", fmt.Sprint(s.Units)},
		[2]string{"in sync", yesNo(s.InSync)},
		[2]string{"faults", fmt.Sprint(s.Faults)},
		[2]string{"notice", s.Notice},
	)
	if err != nil || good {
		return err
	}
	var list struct{ Nodes []admin.Node }
	if _, err := r.get(ctx, "/nodes", nil, &list); err != nil {
		return err
	}
	var rows [][]string
	for _, n := range list.Nodes {
		for _, p := range problems(n) {
			rows = append(rows, row(n.ID, p))
		}
	}
	if len(rows) == 0 {
		return nil // it has healed meanwhile
	}
	fmt.Fprintln(w)
	return writeTable(w, []string{"NODE", "PROBLEM"}, rows)
}
