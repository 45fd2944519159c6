// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
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
		Use:   "explain NODE FLOW | explain PORT",
		Short: "Say why a flow is there, or where a port is and what it caused",
		Long: "For a flow: its table's purpose, the rule and the line of source that made it, the\n" +
			"objects that asked for it, and the changes behind them with request, user and time. The\n" +
			"flow may be a line as `ovs-ofctl -O OpenFlow13 dump-flows br-int` prints it, counters,\n" +
			"actions and names of ports and all; table, priority and match identify it. `cookie=0x4e...`\n" +
			"alone says whose the cookie is, and which flows of the node carry it.\n\n" +
			"For a port (id or name): where it is bound and plugged, its status, what is wrong, and\n" +
			"the flows that it owns. What holds a '=' is taken for a flow; a port whose name does is\n" +
			"found by its id.",
		Example: "  nagare explain compute 'table=0,priority=32768,in_port=2,dl_src=fa:16:3e:9e:f5:70'\n" +
			"  nagare explain compute \"$(ovs-ofctl -O OpenFlow13 dump-flows br-int | grep -m1 table=110)\"\n" +
			"  nagare explain compute cookie=0x4e03000100000011\n" +
			"  nagare explain vm01\n" +
			"  nagare explain 178a8b99-17b3-4a0e-97b3-b5b02bc3e2b3 -o json",
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			// A node's name has neither; what a flow that was pasted without quotes begins with has.
			if node == "" && len(args) > 1 && !strings.ContainsAny(args[0], "=,") && strings.Contains(strings.Join(args[1:], " "), "=") {
				node, args = args[0], args[1:]
			}
			// A flow that was pasted without quotes comes in pieces.
			what := strings.TrimSpace(strings.Join(args, " "))
			cookie, isCookie := cookieAlone(what)
			switch {
			case what == "":
				return usagef("nothing to explain: give a node and its flow, or a port")
			case node != "" && isCookie:
				return explainCookie(c.Context(), c.OutOrStdout(), r, out, node, cookie)
			case node != "":
				return explainFlow(c.Context(), c.OutOrStdout(), r, out, node, what)
			case strings.Contains(what, "="):
				return usagef("flow %q: say on which node: nagare explain NODE FLOW; see `nagare nodes`", what)
			}
			return explainPort(c.Context(), c.OutOrStdout(), r, out, what)
		},
	}
	c.Flags().StringVar(&node, "node", "", "the node whose flow is to be explained")
	out, r = addOutputFlag(c), addServerFlag(c)
	return c
}

// cookieAlone is the number in "cookie=N" with nothing beside it.
func cookieAlone(text string) (string, bool) {
	number, is := strings.CutPrefix(strings.TrimSuffix(text, ","), "cookie=")
	number = strings.TrimSuffix(number, "/-1") // ovs-ofctl's way to say: exactly this
	_, err := strconv.ParseUint(number, 0, 64)
	return number, is && err == nil
}

// portName is an in_port of a dump that shows ports by name, which ovs-ofctl does on a terminal.
var portName = regexp.MustCompile(`\bin_port="?[^",\s]*[A-Za-z][^",\s]*"?`)

// flowIdentity is table, priority and match of a flow as people have it at hand: a line of a dump, or what ovs-ofctl takes. If
// it names its port, the line is left as it is up to its actions, because only the server knows the node's ports.
func flowIdentity(text string) (string, error) {
	// The actions do not count, and those of other tools need not be known here.
	head, _, _ := strings.Cut(text, "actions=")
	f, err := flow.ParseFlow(head + " actions=drop")
	if err == nil {
		line := f.Key().Flow(0, "").String()
		return strings.TrimSuffix(line, " actions=drop"), nil
	}
	if named := portName.ReplaceAllString(head, "in_port=1"); named != head {
		if _, err := flow.ParseFlow(named + " actions=drop"); err == nil {
			return strings.TrimSpace(head), nil
		}
	}
	reason := strings.TrimPrefix(err.Error(), fmt.Sprintf("flow %q: ", head+" actions=drop"))
	return "", usagef("flow %q: %s; paste a line of `ovs-ofctl dump-flows` or of `nagare flows NODE`; a port is explained without a node", text, reason)
}

func explainCookie(ctx context.Context, w io.Writer, r *remote, out *output, node, cookie string) error {
	path, err := nodePath(node, "/explain")
	if err != nil {
		return err
	}
	var x admin.CookieReport
	raw, err := r.get(ctx, path, url.Values{"cookie": {cookie}}, &x)
	if err != nil {
		return hinted(err, http.StatusNotFound, "see `nagare nodes` and `nagare flows "+node+"`")
	}
	if out.json() {
		return writeJSON(w, raw)
	}
	what := fmt.Sprintf("%s %d", x.What, x.Key)
	switch {
	case x.Merged:
		what += ", merged with others"
	case x.Table != "":
		what += fmt.Sprintf(", flow %d of table %s", x.Number, x.Table)
	}
	err = writeFields(w,
		[2]string{"cookie", x.Cookie},
		[2]string{"node", x.Node},
		[2]string{"says", what},
		[2]string{"object", objectText(x.Kind, x.Object, x.Name)},
		[2]string{"commit", commitText(x.Commit)},
		[2]string{"flows", fmt.Sprint(len(x.Flows))})
	for _, f := range x.Flows {
		if err != nil {
			return err
		}
		fmt.Fprintln(w)
		fields := [][2]string{{"flow", f.Text}}
		for _, a := range f.Authors {
			fields = append(fields, [2]string{"author", strings.Join([]string{a.Rule, objectText(a.Kind, a.Object, a.Name), orText(commitText(a.Commit), "commit not known")}, "; ")})
		}
		err = writeFields(w, fields...)
	}
	return err
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
		text := objectText(c.Kind, c.Object, c.Name)
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
