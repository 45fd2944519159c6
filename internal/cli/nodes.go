// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"nagare/internal/api/admin"
)

func newNodesCommand() *cobra.Command {
	var out *output
	var r *remote
	c := &cobra.Command{
		Use:   "nodes",
		Short: "List the nodes: connections, confirmed revision, flows, problems",
		Example: "  nagare nodes\n" +
			"  nagare nodes -o json\n" +
			"  nagare nodes --server http://192.168.0.10:8181",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			list, raw, err := r.nodes(c.Context())
			if err != nil {
				return err
			}
			if out.json() {
				return writeJSON(c.OutOrStdout(), raw)
			}
			rows := [][]string{}
			for _, n := range list {
				rows = append(rows, row(n.ID, n.LocalIP, yesNo(n.OVSDB), yesNo(n.OpenFlow), yesNo(n.InSync), fmt.Sprint(n.Confirmed),
					fmt.Sprint(n.Flows), fmt.Sprint(len(n.Ports)), strings.Join(problems(n), "; ")))
			}
			return writeTable(c.OutOrStdout(),
				[]string{"NODE", "LOCAL IP", "OVSDB", "OPENFLOW", "IN SYNC", "CONFIRMED", "FLOWS", "PORTS", "PROBLEM"}, rows)
		},
	}
	out, r = addOutputFlag(c), addServerFlag(c)
	return c
}

// nodes asks for all nodes; raw is the answer as it came.
func (r *remote) nodes(ctx context.Context) (list []admin.Node, raw []byte, err error) {
	var answer struct{ Nodes []admin.Node }
	raw, err = r.get(ctx, "/nodes", nil, &answer)
	return answer.Nodes, raw, err
}

// problems says, a line each, what keeps a node from being as it should be.
func problems(n admin.Node) []string {
	var out []string
	switch {
	case n.Problem != "":
		out = append(out, n.Problem)
	case !n.Approved:
		out = append(out, fmt.Sprintf("waits for approval: run `nagare node approve %s`", n.ID))
	case !n.OVSDB:
		out = append(out, "OVSDB is not connected: on the node, look at `ovs-vsctl get-manager`")
	case !n.OpenFlow:
		out = append(out, "OpenFlow is not connected: on the node, look at `ovs-vsctl get-controller br-int`")
	case !n.InSync && n.Waiting != "":
		out = append(out, "to be compared as a whole: "+n.Waiting)
	case !n.InSync:
		out = append(out, "not in sync yet")
	}
	for _, f := range n.Faults {
		out = append(out, fmt.Sprintf("%s: %s (rule %s)", strings.TrimSpace(f.Kind+" "+f.Object), f.Reason, f.Rule))
	}
	return append(out, n.Conflicts...)
}

// nodeCommands are the commands about one node as the server knows it; they stand under `nagare node`.
func nodeCommands() []*cobra.Command {
	return []*cobra.Command{
		newNodeChangeCommand(nodeChange{
			verb: "approve", done: "approved", method: http.MethodPost, suffix: "/approve",
			short: "Admit a node that waits for approval",
			long: "With serve --enrol approve a node that was never seen before is shown but not\n" +
				"served. This admits it and pins its name to its database.",
		}),
		newNodeChangeCommand(nodeChange{
			verb: "forget", done: "forgotten", method: http.MethodDelete,
			short: "Forget a node, so that another one may take its name",
			long: "A node's name is pinned to its Open vSwitch database at first contact, and another\n" +
				"database with that name is refused. After a reinstallation, or when the node is gone\n" +
				"for good, forget it. A node that is connected cannot be forgotten.",
		}),
	}
}

// nodeChange is one request that changes what the server knows of a node.
type nodeChange struct{ verb, done, method, suffix, short, long string }

func newNodeChangeCommand(k nodeChange) *cobra.Command {
	var r *remote
	c := &cobra.Command{
		Use:     k.verb + " NAME",
		Short:   k.short,
		Long:    k.long,
		Example: "  nagare nodes\n  nagare node " + k.verb + " compute",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := nodePath(args[0], k.suffix)
			if err != nil {
				return err
			}
			if _, err := r.do(c.Context(), k.method, path); err != nil {
				return hinted(err, http.StatusNotFound, "see `nagare nodes`")
			}
			fmt.Fprintf(c.OutOrStdout(), "node %s %s\n", printable(args[0]), k.done)
			return nil
		},
	}
	r = addServerFlag(c)
	return c
}

// nodePath is the path of a node in the admin API.
func nodePath(name, suffix string) (string, error) {
	if strings.Trim(name, ".") == "" {
		return "", usagef("node %q: not a name; see `nagare nodes`", name)
	}
	return "/nodes/" + url.PathEscape(name) + suffix, nil
}

// hinted adds what to do next to an answer with the status, unless the server said so itself.
func hinted(err error, status int, hint string) error {
	if !refused(err, status) || strings.Contains(err.Error(), "`") {
		return err
	}
	return fmt.Errorf("%w; %s", err, hint)
}
