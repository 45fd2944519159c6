// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nagare/internal/api/admin"
)

const (
	// pollFor is how long the server holds one question; it allows 300 s at most.
	pollFor = 30 * time.Second
	// pollGrace is what an answer may be late.
	pollGrace = 10 * time.Second
)

func newWaitCommand() *cobra.Command {
	var out *output
	var r *remote
	var revision uint64
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "wait",
		Short: "Wait until every live node has confirmed a revision",
		Long: "Returns as soon as the switch of every node that is connected has confirmed the\n" +
			"revision by its barrier; without --revision, the newest at the time of the call. Exit\n" +
			"code 1 if that does not happen within --timeout.",
		Example: "  openstack network create net01 && nagare wait\n" +
			"  nagare wait --revision 42 --timeout 2m",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if timeout <= 0 {
				return usagef("timeout %v: want more than 0, like 30s or 2m", timeout)
			}
			whom := "every live node"
			if !c.Flags().Changed("revision") {
				var s admin.Status
				if _, err := r.get(c.Context(), "/status", nil, &s); err != nil {
					return err
				}
				revision = s.Revision
				if s.LiveNodes == 0 {
					whom += ", of which there is none: see `nagare nodes`"
				}
			}
			raw, err := r.wait(c.Context(), revision, timeout)
			if err != nil {
				return err
			}
			if out.json() {
				return writeJSON(c.OutOrStdout(), raw)
			}
			fmt.Fprintf(c.OutOrStdout(), "revision %d confirmed by %s\n", revision, whom)
			return nil
		},
	}
	c.Flags().Uint64Var(&revision, "revision", 0, "revision to wait for (default: the newest)")
	c.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "how long to wait")
	out, r = addOutputFlag(c), addServerFlag(c)
	return c
}

// wait asks again and again, each time as long as the server holds a question, until it says yes or the time is over.
func (r *remote) wait(ctx context.Context, revision uint64, timeout time.Duration) (json.RawMessage, error) {
	end := time.Now().Add(timeout)
	for {
		left := time.Until(end)
		if left <= 0 {
			return nil, r.notConfirmed(ctx, revision, timeout)
		}
		// The server counts whole seconds; a part of one at the end is ours to count.
		seconds := int((min(left, pollFor) + time.Second - 1) / time.Second)
		patience := min(left, time.Duration(seconds)*time.Second+pollGrace)
		poll, cancel := context.WithTimeout(ctx, patience)
		var answer struct{ Revision uint64 }
		raw, err := r.get(poll, "/wait", url.Values{"revision": {strconv.FormatUint(revision, 10)}, "timeout": {strconv.Itoa(seconds)}}, &answer)
		// A dial may give up at the deadline just before the context does.
		deadline, _ := poll.Deadline()
		expired := (poll.Err() != nil || !time.Now().Before(deadline)) && ctx.Err() == nil
		cancel()
		switch {
		case err == nil:
			return raw, nil
		case refused(err, http.StatusGatewayTimeout):
		case expired && patience == left:
			return nil, r.notConfirmed(ctx, revision, timeout)
		case expired:
			return nil, fmt.Errorf("server %s: no answer in time; is it overloaded?", r.server)
		default:
			return nil, err
		}
	}
}

// notConfirmed says which nodes are behind, as far as the server tells.
func (r *remote) notConfirmed(ctx context.Context, revision uint64, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, pollGrace)
	defer cancel()
	text := fmt.Sprintf("revision %d: not confirmed by every live node within %v", revision, timeout)
	var s admin.Status
	if _, err := r.get(ctx, "/status", nil, &s); err == nil && s.Revision < revision {
		return fmt.Errorf("%s: the newest is %d", text, s.Revision)
	}
	var behind []string
	if nodes, _, err := r.nodes(ctx); err == nil {
		for _, n := range nodes {
			if !n.OVSDB || !n.OpenFlow || n.Confirmed >= revision {
				continue
			}
			node := fmt.Sprintf("node %s is at %d", n.ID, n.Confirmed)
			if p := problems(n); len(p) > 0 {
				node += " (" + strings.Join(p, "; ") + ")"
			}
			behind = append(behind, node)
		}
	}
	if len(behind) == 0 {
		return errors.New(text + "; see `nagare nodes`")
	}
	return errors.New(text + ": " + strings.Join(behind, ", ") + "; see `nagare nodes`")
}
