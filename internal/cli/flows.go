// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"nagare/internal/api/admin"
)

// flowFilter is which flows a user asked for.
type flowFilter struct {
	table int // -1 for all
	owner string
}

func (f flowFilter) all() bool { return f.table < 0 && f.owner == "" }

func (f flowFilter) wants(x admin.Flow) bool {
	if f.table >= 0 && tableOf(x.Text) != f.table {
		return false
	}
	return f.owner == "" || x.Object == f.owner || len(f.owner) >= 8 && strings.HasPrefix(x.Object, f.owner)
}

// tableOf is the table of a flow in the line form of a normalised dump.
func tableOf(text string) int {
	rest, named := strings.CutPrefix(text, "table=")
	digits, _, _ := strings.Cut(rest, ",")
	digits, _, _ = strings.Cut(digits, " ")
	n, err := strconv.Atoi(digits)
	if !named || err != nil {
		return 0
	}
	return n
}

func newFlowsCommand() *cobra.Command {
	var r *remote
	var format string
	var f flowFilter
	c := &cobra.Command{
		Use:   "flows [NODE]",
		Short: "Show the flows that a node should hold, and who owns them",
		Long: "Prints the desired flows of a node, one a line, as `ovs-ofctl --no-names dump-flows`\n" +
			"would, without counters. With -o wide, the rule and the object that own each flow stand\n" +
			"before it; with -o authors, everybody who asked for it, with the change behind it.\n" +
			"Without NODE: how many there are on each node.",
		Example: "  nagare flows\n" +
			"  nagare flows compute\n" +
			"  nagare flows compute --table 110 -o wide\n" +
			"  nagare flows compute --owner 178a8b99-17b3-4a0e-97b3-b5b02bc3e2b3\n" +
			"  nagare flows compute -o authors\n" +
			"  nagare flows compute -o json",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if !slices.Contains([]string{"table", "wide", "authors", "json"}, format) {
				return usagef("output format %q: use table, wide, authors or json", format)
			}
			if c.Flags().Changed("table") && (f.table < 0 || f.table > 254) {
				return usagef("table %d: want 0 to 254", f.table)
			}
			w := bufio.NewWriter(c.OutOrStdout())
			var err error
			if len(args) == 0 {
				err = printFlowCounts(c.Context(), w, r, f, format)
			} else {
				var shown int
				shown, err = printFlows(c.Context(), w, r, args[0], f, format)
				if err == nil && shown == 0 && format != "json" {
					fmt.Fprintf(c.ErrOrStderr(), "node %s: no such flows; --owner wants an object's id, see `nagare topology`\n", args[0])
				}
			}
			if err != nil {
				return err
			}
			return w.Flush()
		},
	}
	c.Flags().StringVarP(&format, "output", "o", "table", "output format: table, wide, authors or json")
	c.Flags().IntVar(&f.table, "table", -1, "only flows of this table")
	c.Flags().StringVar(&f.owner, "owner", "", "only flows that the object with this id owns (8 characters will do)")
	r = addServerFlag(c)
	return c
}

// flows asks for a node's flows; each is decoded, and kept as it came.
func (r *remote) flows(ctx context.Context, node string, f flowFilter, authors bool) (flows []admin.Flow, raw json.RawMessage, err error) {
	path, err := nodePath(node, "/flows")
	if err != nil {
		return nil, nil, err
	}
	var answer struct{ Flows []json.RawMessage }
	var query url.Values
	if authors {
		query = url.Values{"explain": {"1"}}
	}
	raw, err = r.get(ctx, path, query, &answer)
	if err != nil {
		return nil, nil, err
	}
	kept := []json.RawMessage{}
	for _, m := range answer.Flows {
		var x admin.Flow
		if err := json.Unmarshal(m, &x); err != nil {
			return nil, nil, fmt.Errorf("server %s: flow of node %s: %w", r.server, node, err)
		}
		if f.wants(x) {
			flows, kept = append(flows, x), append(kept, m)
		}
	}
	if !f.all() {
		raw, err = json.Marshal(map[string]any{"flows": kept})
	}
	return flows, raw, err
}

// printFlows returns how many flows it wrote.
func printFlows(ctx context.Context, w io.Writer, r *remote, node string, f flowFilter, format string) (int, error) {
	flows, raw, err := r.flows(ctx, node, f, format == "authors" || format == "json")
	if err != nil {
		return 0, err
	}
	switch format {
	case "json":
		return len(flows), writeJSON(w, raw)
	case "authors":
		rows := [][]string{}
		for _, x := range flows {
			for i, a := range x.Authors {
				text := x.Text
				if i > 0 {
					text = `"` // the flow above, which several asked for
				}
				rows = append(rows, row(a.Rule, objectText(a.Kind, a.Object, a.Name), commitText(a.Commit), text))
			}
		}
		return len(flows), writeTable(w, []string{"RULE", "OBJECT", "COMMIT", "FLOW"}, rows)
	case "wide":
		rows := [][]string{}
		for _, x := range flows {
			rows = append(rows, row(x.Rule, x.Kind, x.Object, x.Text))
		}
		return len(flows), writeTable(w, []string{"RULE", "KIND", "OBJECT", "FLOW"}, rows)
	}
	for _, x := range flows {
		fmt.Fprintln(w, printable(x.Text))
	}
	return len(flows), nil
}

// printFlowCounts writes how many flows each node should hold, of those that are wanted.
func printFlowCounts(ctx context.Context, w io.Writer, r *remote, f flowFilter, format string) error {
	if format == "json" && !f.all() {
		return usagef("--table and --owner with -o json: name the node")
	}
	nodes, raw, err := r.nodes(ctx)
	if err != nil {
		return err
	}
	if format == "json" {
		return writeJSON(w, raw)
	}
	rows := [][]string{}
	for _, n := range nodes {
		count := n.Flows
		if !f.all() {
			flows, _, err := r.flows(ctx, n.ID, f, false)
			if err != nil {
				return err
			}
			count = len(flows)
		}
		rows = append(rows, row(n.ID, fmt.Sprint(count)))
	}
	return writeTable(w, []string{"NODE", "FLOWS"}, rows)
}
