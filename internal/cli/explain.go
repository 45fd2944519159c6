// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"nagare/internal/api/admin"
	"nagare/internal/flow"
)

func newExplainCommand() *cobra.Command {
	var out *output
	var r *remote
	var node string
	c := &cobra.Command{
		Use:   "explain --node NODE FLOW | explain PORT",
		Short: "Say why a flow is there, or where a port is and what it caused",
		Long: "For a flow: its table's purpose, the rule and the line of source that made it, the\n" +
			"object that asked for it, and the change behind it with its request, user and time. The\n" +
			"flow may be a line of `ovs-ofctl --no-names dump-flows`, counters, actions and all; table,\n" +
			"priority and match identify it.\n\n" +
			"For a port (id or name): where it is bound and plugged, its status, what is wrong, and\n" +
			"the flows that it owns. What holds a '=' is taken for a flow; a port whose name does is\n" +
			"found by its id.",
		Example: "  nagare explain --node compute 'table=0,priority=32768,in_port=2,dl_src=fa:16:3e:9e:f5:70'\n" +
			"  nagare explain --node compute \"$(ovs-ofctl --no-names -O OpenFlow13 dump-flows br-int | grep -m1 table=110)\"\n" +
			"  nagare explain vm01\n" +
			"  nagare explain 178a8b99-17b3-4a0e-97b3-b5b02bc3e2b3 -o json",
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			// A flow that was pasted without quotes comes in pieces.
			what := strings.TrimSpace(strings.Join(args, " "))
			switch {
			case what == "":
				return usagef("nothing to explain: give a flow and its node, or a port")
			case node != "":
				return explainFlow(c.Context(), c.OutOrStdout(), r, out, node, what)
			case strings.Contains(what, "="):
				return usagef("flow %q: say on which node: --node NAME; see `nagare nodes`", what)
			}
			return explainPort(c.Context(), c.OutOrStdout(), r, out, what)
		},
	}
	c.Flags().StringVar(&node, "node", "", "the node whose flow is to be explained")
	out, r = addOutputFlag(c), addServerFlag(c)
	return c
}

// flowIdentity is table, priority and match of a flow as people have it at hand: a line of a dump, or what ovs-ofctl takes.
func flowIdentity(text string) (string, error) {
	// The actions do not count, and those of other tools need not be known here.
	head, _, _ := strings.Cut(text, "actions=")
	f, err := flow.ParseFlow(head + " actions=drop")
	if err != nil {
		reason := strings.TrimPrefix(err.Error(), fmt.Sprintf("flow %q: ", head+" actions=drop"))
		return "", usagef("flow %q: %s; paste a line of `ovs-ofctl --no-names dump-flows` or of `nagare flows NODE`; a port is explained without --node", text, reason)
	}
	line := f.Key().Flow(0, "").String()
	return strings.TrimSuffix(line, " actions=drop"), nil
}

func explainFlow(ctx context.Context, w io.Writer, r *remote, out *output, node, text string) error {
	identity, err := flowIdentity(text)
	if err != nil {
		return err
	}
	path, err := nodePath(node, "/explain")
	if err != nil {
		return err
	}
	var x admin.Explanation
	raw, err := r.get(ctx, path, url.Values{"flow": {identity}}, &x)
	if err != nil {
		return hinted(err, http.StatusNotFound, "see `nagare nodes` and `nagare flows "+node+"`")
	}
	if out.json() {
		return writeJSON(w, raw)
	}
	err = writeFields(w,
		[2]string{"flow", x.Flow},
		[2]string{"node", x.Node},
		[2]string{"table", x.Table},
		[2]string{"purpose", x.Purpose})
	for _, reason := range x.Reasons {
		if err != nil {
			return err
		}
		fmt.Fprintln(w)
		err = writeFields(w, reasonFields(reason)...)
	}
	return err
}

func reasonFields(r admin.Reason) [][2]string {
	out := [][2]string{
		{"rule", r.Rule},
		{"doc", r.Doc},
		{"source", r.Source},
		{"object", objectText(r.Kind, r.Object, r.Name)},
		{"commit", commitText(r.Commit)},
	}
	for _, c := range r.Because {
		text := objectText(c.Kind, c.Object, "")
		if c.Commit != nil {
			text += ", " + commitText(c.Commit)
		}
		out = append(out, [2]string{"because", text})
	}
	return out
}

func explainPort(ctx context.Context, w io.Writer, r *remote, out *output, port string) error {
	if strings.Trim(port, ".") == "" {
		return usagef("port %q: not a name or id", port)
	}
	var p admin.PortReport
	raw, err := r.get(ctx, "/ports/"+url.PathEscape(port)+"/explain", nil, &p)
	if err != nil {
		return hinted(err, http.StatusNotFound, "see `nagare topology`")
	}
	if out.json() {
		return writeJSON(w, raw)
	}
	fields := [][2]string{
		{"port", objectText("", p.ID, p.Name)},
		{"network", p.Network},
		{"mac", p.MAC},
		{"host", orText(p.Host, "-")},
		{"plugged on", orText(strings.Join(p.Plugged, ", "), "-")},
		{"status", p.Status},
		{"commit", commitText(p.Commit)},
		{"advice", p.Advice},
	}
	for _, problem := range p.Problems {
		fields = append(fields, [2]string{"problem", problem})
	}
	fields = append(fields, [2]string{"flows", fmt.Sprint(len(p.Flows))})
	if err := writeFields(w, fields...); err != nil || len(p.Flows) == 0 {
		return err
	}
	rows := [][]string{}
	for _, x := range p.Flows {
		var rules []string
		for _, reason := range x.Reasons {
			rules = append(rules, reason.Rule)
		}
		rows = append(rows, row(x.Node, strings.Join(rules, ", "), x.Flow))
	}
	fmt.Fprintln(w)
	return writeTable(w, []string{"NODE", "RULE", "FLOW"}, rows)
}
