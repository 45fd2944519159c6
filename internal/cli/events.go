// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"nagare/internal/api/admin"
)

func newEventsCommand() *cobra.Command {
	var out *output
	var r *remote
	var since uint64
	var kinds []string
	c := &cobra.Command{
		Use:   "events",
		Short: "Follow every change: who asked for it, and which objects it touched",
		Long: "Prints commits as they come until it is interrupted. With --since also those after that\n" +
			"revision, as far as the server's log reaches back: a follower that keeps the last revision\n" +
			"it saw misses none. With -o json each is one line of JSON.",
		Example: "  nagare events\n" +
			"  nagare events --since 0 --kind ports,port-statuses\n" +
			"  nagare events --since 1200 -o json",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			q := url.Values{}
			if c.Flags().Changed("since") {
				q.Set("since", strconv.FormatUint(since, 10))
			}
			if len(kinds) > 0 {
				q.Set("kind", strings.Join(kinds, ","))
			}
			w := c.OutOrStdout()
			err := r.follow(c.Context(), "/events?"+q.Encode(), func(name string, data []byte) error {
				if name == "lost" {
					fmt.Fprintln(c.ErrOrStderr(), "nagare: the server's log no longer holds all events after that revision")
					return nil
				}
				if out.json() {
					_, err := fmt.Fprintf(w, "%s\n", data)
					return err
				}
				var e admin.Event
				if err := json.Unmarshal(data, &e); err != nil {
					return fmt.Errorf("server %s: an event is not understood: %w", r.server, err)
				}
				_, err := io.WriteString(w, eventText(&e))
				return err
			})
			if c.Context().Err() != nil {
				return nil // interrupted, as it is meant to end
			}
			return err
		},
	}
	r, out = addServerFlag(c), addOutputFlag(c)
	c.Flags().Uint64Var(&since, "since", 0, "also the events after this revision (default: none before the call)")
	c.Flags().StringSliceVar(&kinds, "kind", nil, "only changes of these kinds, e.g. ports,networks")
	return c
}

// eventText is a line for the commit and one for each object.
func eventText(e *admin.Event) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-8d %s  %s", e.Revision, e.Time.UTC().Format("2006-01-02T15:04:05Z"), printable(e.Action))
	if e.User != "" {
		fmt.Fprintf(&b, "  by %s", printable(e.User))
	}
	if e.Request != "" {
		fmt.Fprintf(&b, " (%s)", printable(e.Request))
	}
	b.WriteByte('\n')
	for _, ch := range e.Changes {
		fmt.Fprintf(&b, "         %-8s %s %s\n", ch.Change, ch.Kind, printable(ch.ID))
	}
	return b.String()
}

// follow reads a stream of server-sent events until ctx ends, the server ends it, or f fails.
func (r *remote) follow(ctx context.Context, path string, f func(name string, data []byte) error) error {
	base, err := r.base()
	if err != nil {
		return err
	}
	open := func() (*http.Response, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/nagare/v1"+path, nil)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Accept", "text/event-stream")
		if r.token != "" {
			req.Header.Set("X-Auth-Token", r.token)
		}
		return r.http.Do(req)
	}
	resp, err := open()
	if err == nil && resp.StatusCode == http.StatusUnauthorized && r.token == "" && r.getenv("OS_AUTH_URL") != "" {
		resp.Body.Close()
		if r.token, err = r.authenticate(ctx); err != nil {
			return err
		}
		resp, err = open()
	}
	if err != nil {
		return fmt.Errorf("server %s: %w; is `nagare serve` running there? Another place is named by --server or %s", r.server, err, serverVariable)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		if err != nil {
			return err
		}
		return r.refusal(resp.StatusCode, body)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 64<<20)
	name := ""
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "event":
			name = value
		case "data":
			if err := f(name, []byte(value)); err != nil {
				return err
			}
		case "":
			name = ""
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("server %s: the stream of events was cut: %w", r.server, err)
	}
	return errors.New("server " + r.server + ": the stream of events has ended; the server has stopped")
}
