// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"nagare/internal/api/admin"
)

// exitNoAnswer is the exit code of a command whose code 1 says no, when it could not find out.
const exitNoAnswer = 3

func newTraceCommand() *cobra.Command {
	var out *output
	var r *remote
	var q admin.TraceQuery
	var established, reply, brief, full bool
	c := &cobra.Command{
		Use:   "trace FROM PACKET... | trace FROM --flow FLOW | trace --node NODE --in-port PORT --flow FLOW",
		Short: "Follow a packet through the desired flows of all nodes",
		Long: "Says what becomes of a packet that a port sends, and why: first the verdict, then the\n" +
			"way, node by node and table by table, each flow with who asked for it and what it\n" +
			"changed; tables where nothing takes it are named only. Nothing is sent: the server\n" +
			"simulates the flows that nodes should hold, with groups, connection tracking and address\n" +
			"translation.\n\n" +
			"FROM is a port by id or name. PACKET is icmp to TARGET, or tcp/PORT, udp/PORT,\n" +
			"sctp/PORT, ip/PROTOCOL to TARGET; TARGET is an address, or a port by id or name.\n" +
			"What is not said is filled in from FROM and its network: addresses, and the MAC address\n" +
			"of the target or of the gateway to it. ARP is not simulated: the sender is taken to know it.\n" +
			"--flow takes any packet, as ovs-ofctl writes a match, and fills in the same.\n\n" +
			"The packet is the first of its connection. With --established the other side has\n" +
			"answered before; with --reply it is the answer that is traced.\n\n" +
			"Exit code 0: delivered, answered, or left by a physical network for a machine that is\n" +
			"none of the cloud's. 1: anything else. 2: wrong command line. 3: it could not be found out.",
		Example: "  nagare trace vm01 icmp to vm02\n" +
			"  nagare trace vm01 tcp/22 to 10.11.12.4 --brief\n" +
			"  nagare trace vm01 tcp/22 to vm02 --reply\n" +
			"  nagare trace vm01 --flow 'tcp,dl_src=fa:16:3e:00:00:99,nw_dst=10.11.12.4,tp_dst=22'\n" +
			"  nagare trace --node compute --in-port 3 --flow 'arp,dl_src=fa:16:3e:9e:f5:70,arp_tpa=10.11.12.4'\n" +
			"  nagare trace vm01 icmp to vm02 -o json",
		RunE: func(c *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			switch {
			case q.Node != "" || q.InPort != "":
				if q.Node == "" || q.InPort == "" {
					return usagef("--node and --in-port belong together")
				}
			case len(args) == 0:
				return usagef("which port sends? Give its name or id, or --node and --in-port")
			default:
				q.From, args = args[0], args[1:]
			}
			// A packet may stand in quotes.
			q.Words = strings.Fields(strings.Join(args, " "))
			switch {
			case established && reply:
				return usagef("--established and --reply: choose one")
			case len(q.Words) == 0 && q.Flow == "":
				return usagef("which packet? Say PROTOCOL to TARGET, as in: nagare trace vm01 icmp to vm02; or --flow")
			case len(q.Words) > 0 && q.Flow != "":
				return usagef("packet %q and --flow: choose one", strings.Join(q.Words, " "))
			case established:
				q.State = admin.TraceEstablished
			case reply:
				q.State = admin.TraceReply
			}
			return answered(c, trace(c.Context(), c.OutOrStdout(), r, out, &q, brief, full))
		},
	}
	c.Flags().StringVar(&q.Node, "node", "", "node at which the packet comes in, with --in-port")
	c.Flags().StringVar(&q.InPort, "in-port", "", "port of the node's br-int by which it comes in: number or interface")
	c.Flags().StringVar(&q.Flow, "flow", "", "the packet as ovs-ofctl writes a match")
	c.Flags().BoolVar(&established, "established", false, "the packet belongs to a connection that the other side has answered")
	c.Flags().BoolVar(&reply, "reply", false, "trace the other side's answer")
	c.Flags().BoolVar(&full, "full", false, "also the tables where nothing takes the packet")
	c.Flags().BoolVar(&brief, "brief", false, "the verdict alone")
	out, r = addOutputFlag(c), addServerFlag(c)
	return c
}

// answered gives an error that is no answer an exit code of its own.
func answered(c *cobra.Command, err error) error {
	var exit exitError
	var usage usageError
	if err == nil || errors.As(err, &exit) || errors.As(err, &usage) {
		return err
	}
	fmt.Fprintf(c.ErrOrStderr(), "nagare: %v\n", err)
	return exitError{exitNoAnswer}
}

func trace(ctx context.Context, w io.Writer, r *remote, out *output, q *admin.TraceQuery, brief, full bool) error {
	query := url.Values{"word": q.Words}
	for name, v := range map[string]string{"from": q.From, "node": q.Node, "in_port": q.InPort, "flow": q.Flow, "state": q.State} {
		if v != "" {
			query.Set(name, v)
		}
	}
	var t admin.Trace
	raw, err := r.get(ctx, "/trace", query, &t)
	if refused(err, http.StatusBadRequest) {
		return usageError{err} // the packet is of the command line
	}
	if err != nil {
		return hinted(err, http.StatusNotFound, "see `nagare topology`")
	}
	if out.json() {
		err = writeJSON(w, raw)
	} else {
		err = writeTrace(w, &t, brief, full)
	}
	if err == nil && !t.Verdict.Arrived {
		err = exitError{exitFailed}
	}
	return err
}

func writeTrace(w io.Writer, t *admin.Trace, brief, full bool) error {
	fields := [][2]string{{"verdict", t.Verdict.Text}, {"remedy", t.Verdict.Remedy}}
	if brief {
		return writeFields(w, fields...)
	}
	what := map[string]string{admin.TraceReply: " (answer)", admin.TraceEstablished: " (established)"}[t.State]
	fields = append(fields, [2]string{"packet" + what, t.Packet}, [2]string{"revision", fmt.Sprint(t.Revision)})
	for _, b := range t.Before {
		fields = append(fields, [2]string{"before", b.What + ": " + b.Verdict.Text})
	}
	for _, n := range t.Notes {
		fields = append(fields, [2]string{"note", n})
	}
	if err := writeFields(w, fields...); err != nil {
		return err
	}
	for _, v := range t.Way {
		writeVisit(w, &v, full)
	}
	return nil
}

// idle reports lookups where a table's last flow sent the packet on as it was.
func idle(s *admin.TraceStep) bool {
	_, acts, ok := strings.Cut(s.Flow, ",priority=0 actions=")
	return ok && strings.HasPrefix(acts, "goto_table:") && !strings.Contains(acts, ",") && len(s.Did) == 0
}

func writeVisit(w io.Writer, v *admin.TraceVisit, full bool) {
	line := func(indent int, format string, args ...any) {
		fmt.Fprintf(w, "%s%s\n", strings.Repeat(" ", indent), printable(fmt.Sprintf(format, args...)))
	}
	fmt.Fprintln(w)
	in := fmt.Sprint(v.InPort)
	if v.Name != "" {
		in += " (" + v.Name + ")"
	}
	line(0, "node %s, in by port %s: %s", v.Node, in, v.Packet)
	var passed []string
	for i, s := range v.Steps {
		at := 2 + 4*s.Depth
		if !full && idle(&s) {
			passed = append(passed, s.Table)
			if i+1 < len(v.Steps) && v.Steps[i+1].Depth == s.Depth && idle(&v.Steps[i+1]) {
				continue
			}
			line(at, "on through %s", strings.Join(passed, ", "))
			passed = nil
			continue
		}
		line(at, "table %s", s.Table)
		if s.Flow == "" {
			line(at+4, "no flow takes it: dropped")
		} else {
			line(at+4, "%s", s.Flow)
		}
		for _, a := range s.Authors {
			line(at+4, "by %s: %s; %s", a.Rule, objectText(a.Kind, a.Object, a.Name), orText(commitText(a.Commit), "commit not known"))
		}
		for _, d := range s.Did {
			if d.Note != "" {
				line(at+8, "%s: %s", d.Action, d.Note)
			}
			for _, c := range d.Changes {
				line(at+8, "%s", c)
			}
		}
	}
	for _, o := range v.Out {
		name := ""
		if o.Name != "" {
			name = " (" + o.Name + ")"
		}
		line(2, "out by port %d%s: %s", o.Port, name, o.To)
	}
	for _, e := range v.Errors {
		line(2, "error: %s", e)
	}
}
