// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nagare/internal/api/admin"
)

func newTopologyCommand() *cobra.Command {
	var out *output
	var r *remote
	c := &cobra.Command{
		Use:   "topology",
		Short: "Show nodes with their ports, the links between them, and networks",
		Long: "Shows where ports are plugged, over which tunnels and wires the nodes reach each other\n" +
			"(as LLDP frames found them), and on which nodes each network is present. A link that\n" +
			"carries frames one way only is marked -> instead of <->.",
		Example: "  nagare topology\n  nagare topology -o json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			var t admin.Topology
			raw, err := r.get(c.Context(), "/topology", nil, &t)
			if err != nil {
				return err
			}
			if out.json() {
				return writeJSON(c.OutOrStdout(), raw)
			}
			return printTopology(c.OutOrStdout(), t)
		},
	}
	out, r = addOutputFlag(c), addServerFlag(c)
	return c
}

func printTopology(w io.Writer, t admin.Topology) error {
	names := map[string]string{}
	rows := [][]string{}
	for _, n := range t.Networks {
		names[n.ID] = n.Name
		rows = append(rows, row(n.Name, n.Type, fmt.Sprint(n.Tag), strings.Join(n.Nodes, ", "), n.ID))
	}
	ports := [][]string{}
	for _, n := range t.Nodes {
		if len(n.Ports) == 0 {
			ports = append(ports, row(n.ID, n.LocalIP, "", "", "", "", "", "", ""))
		}
		for _, p := range n.Ports {
			ofport := ""
			if p.OFPort != 0 {
				ofport = fmt.Sprint(p.OFPort)
			}
			ports = append(ports, row(n.ID, n.LocalIP, p.Name, strings.Join(p.Addresses, ", "), p.MAC, ofport, p.Status,
				orText(names[p.Network], p.Network), p.ID))
		}
	}
	if err := writeTable(w, []string{"NODE", "LOCAL IP", "PORT", "ADDRESS", "MAC", "OFPORT", "STATUS", "NETWORK", "ID"}, ports); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if err := writeTable(w, []string{"LINK", "INTERFACE", "", "LINK", "INTERFACE", "SEEN"}, linkRows(t.Links)); err != nil {
		return err
	}
	fmt.Fprintln(w)
	return writeTable(w, []string{"NETWORK", "TYPE", "SEGMENT", "NODES", "ID"}, rows)
}

// linkRows gives a row to each link, its two directions put together.
func linkRows(links []admin.TopologyLink) [][]string {
	type ends struct{ from, fromPort, to, toPort string }
	seen := map[ends]time.Time{}
	for _, l := range links {
		seen[ends{l.From, l.FromPort, l.To, l.ToPort}] = l.Seen
	}
	rows := [][]string{}
	for _, l := range links {
		here, back := ends{l.From, l.FromPort, l.To, l.ToPort}, ends{l.To, l.ToPort, l.From, l.FromPort}
		at, arrow := l.Seen, "->"
		if other, both := seen[back]; both && here != back {
			if l.From+"\x00"+l.FromPort > l.To+"\x00"+l.ToPort {
				continue // shown from the other end
			}
			arrow = "<->"
			if other.Before(at) {
				at = other
			}
		}
		rows = append(rows, row(l.From, l.FromPort, arrow, l.To, l.ToPort, instant(at)))
	}
	return rows
}
