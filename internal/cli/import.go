// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"nagare/internal/importodl"
)

func newImportCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "import",
		Short:   "Take over what another controller held",
		Long:    "Reads what another controller held, says what it would become, and makes it so.",
		Example: "  nagare import odl http://admin:admin@old:8181",
		Args:    cobra.NoArgs,
		RunE:    showHelp,
	}
	c.AddCommand(newImportODLCommand())
	return c
}

func newImportODLCommand() *cobra.Command {
	var out *output
	var r *remote
	var apply, replace, offline bool
	var profile string
	c := &cobra.Command{
		Use:   "odl URL|FILE...",
		Short: "Take over the networks of an OpenDaylight",
		Long: "Reads the tree of an OpenDaylight by its RESTCONF (/restconf, else /rests):\n" +
			"neutron:neutron, network-topology and opendaylight-inventory. A FILE is such an answer\n" +
			"saved, in JSON; there may be several. It reports which objects there are, which of them\n" +
			"are at the server already, alike or otherwise, how many flows each node would get,\n" +
			"compiled in this process with all bound ports plugged, and what is not understood, by\n" +
			"path. Nothing is changed.\n\n" +
			"With --apply the objects are written to the server by its RESTCONF, which must run with\n" +
			"--northbound odl. Nothing is written if an object would be refused, or is there\n" +
			"otherwise and --replace is not given. Each object is a transaction of its own: if it\n" +
			"ends midway, the same command goes on where it ended. What is at the server and not in\n" +
			"the tree stays. Flows of the old controller are counted and not taken: nagare makes its\n" +
			"own.\n\n" +
			"The old controller's user is in the URL, or in ODL_USERNAME and ODL_PASSWORD. Exit code\n" +
			"0: everything can be taken over, or was; 1: something stands in the way; 2: the command\n" +
			"line was wrong.",
		Example: "  nagare import odl http://admin:admin@old:8181\n" +
			"  curl -su admin:admin http://old:8181/restconf/config/neutron:neutron > neutron.json\n" +
			"  nagare import odl neutron.json --offline\n" +
			"  nagare import odl neutron.json --apply",
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case profile != "standard" && profile != "classic":
				return usagef("profile %q: use standard or classic", profile)
			case offline && apply:
				return usagef("--offline asks no server, and --apply writes to one: give one of them")
			}
			if err := out.check(); err != nil {
				return err
			}
			t, err := readODL(c.Context(), r, args)
			if err != nil {
				return err
			}
			var there *importodl.Tree
			if !offline {
				if there, err = r.tree(c.Context()); err != nil {
					return err
				}
			}
			report, err := importodl.Plan(c.Context(), t, there, profile, replace)
			if err != nil {
				return err
			}
			if err := printImport(c.OutOrStdout(), out, report, there != nil); err != nil {
				return err
			}
			if !report.Ready() {
				return exitError{exitFailed}
			}
			if !apply {
				return nil
			}
			err = importodl.Apply(c.Context(), report, r.put, func(done, all int) {
				if done == all || done%1000 == 0 {
					fmt.Fprintf(c.ErrOrStderr(), "%d of %d objects written\n", done, all)
				}
			})
			return err
		},
	}
	c.Flags().BoolVar(&apply, "apply", false, "write the objects to the server")
	c.Flags().BoolVar(&replace, "replace", false, "write objects that are there and differ, too")
	c.Flags().BoolVar(&offline, "offline", false, "ask no server what it has")
	c.Flags().StringVar(&profile, "profile", "standard", "pipeline that flows are counted for: standard or classic")
	out, r = addOutputFlag(c), addServerFlag(c)
	return c
}

// readODL reads URLs and files into one tree.
func readODL(ctx context.Context, r *remote, from []string) (*importodl.Tree, error) {
	t := importodl.NewTree()
	for _, f := range from {
		if strings.HasPrefix(f, "http://") || strings.HasPrefix(f, "https://") {
			if err := fetchODL(ctx, r, t, f); err != nil {
				return nil, err
			}
			continue
		}
		file, err := os.Open(f)
		if err != nil {
			return nil, usagef("%v; want a file, or a URL with http:// or https://", err)
		}
		text, err := io.ReadAll(io.LimitReader(file, importodl.MaxBytes))
		file.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		if err := t.Add(text); err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
	}
	return t, nil
}

// What is asked of an old controller, in each dialect.
var odlPaths = []struct{ older, newer string }{
	{"/restconf/config/neutron:neutron", "/rests/data/neutron:neutron?content=config"},
	{"/restconf/config/network-topology:network-topology", "/rests/data/network-topology:network-topology?content=config"},
	{"/restconf/operational/network-topology:network-topology", "/rests/data/network-topology:network-topology?content=nonconfig"},
	{"/restconf/config/opendaylight-inventory:nodes", "/rests/data/opendaylight-inventory:nodes?content=config"},
}

// fetchODL asks an old controller for what it has. What it does not have is left out, but for everything.
func fetchODL(ctx context.Context, r *remote, t *importodl.Tree, text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return usagef("%q: not a URL of a controller, such as http://admin:admin@old:8181", text)
	}
	user := u.User
	if u.User = nil; user == nil && r.getenv("ODL_USERNAME") != "" {
		user = url.UserPassword(r.getenv("ODL_USERNAME"), r.getenv("ODL_PASSWORD"))
	}
	base := strings.TrimRight(u.String(), "/")
	for _, root := range []string{"/restconf", "/rests"} { // as copied from a browser
		base, _, _ = strings.Cut(base, root)
	}
	if r.cacert != "" {
		if err := trust(r.http.Transport.(*http.Transport), r.cacert); err != nil {
			return err
		}
	}
	get := func(path string) (bool, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
		if err != nil {
			return false, usagef("%q: %v", base, err)
		}
		req.Header.Set("Accept", "application/yang-data+json, application/json;q=0.9")
		if user != nil {
			password, _ := user.Password()
			req.SetBasicAuth(user.Username(), password)
		}
		code, _, body, err := exchange(r.http, req)
		switch {
		case err != nil:
			return false, fmt.Errorf("%s: %w; does the controller answer there?", base, err)
		case code == http.StatusUnauthorized || code == http.StatusForbidden:
			return false, fmt.Errorf("%s: %d %s; give its user as http://NAME:PASSWORD@HOST:PORT, or in ODL_USERNAME and ODL_PASSWORD", base, code, http.StatusText(code))
		case code == http.StatusNotFound, code == http.StatusConflict, code == http.StatusBadRequest: // no such data, or no such module
			return false, nil
		case code != http.StatusOK:
			return false, fmt.Errorf("%s%s: %d %s: %s", base, path, code, http.StatusText(code), importodl.Message(body))
		}
		if err := t.Add(body); err != nil {
			return false, fmt.Errorf("%s%s: %w", base, path, err)
		}
		return true, nil
	}
	found := false
	for _, p := range odlPaths {
		ok, err := get(p.older)
		if err == nil && !ok {
			ok, err = get(p.newer)
		}
		if err != nil {
			return err
		}
		found = found || ok
	}
	if !found {
		return fmt.Errorf("%s: it has nothing of neutron, network-topology or opendaylight-inventory, neither at /restconf nor at /rests; is it an OpenDaylight with the Neutron northbound?", base)
	}
	return nil
}

// tree reads what the server has of Neutron's objects.
func (r *remote) tree(ctx context.Context) (*importodl.Tree, error) {
	t := importodl.NewTree()
	code, body, err := r.ask(ctx, http.MethodGet, odlPaths[0].older, nil)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w; --offline asks no server", err)
	case code == http.StatusNotFound: // it has none
		return t, nil
	case code != http.StatusOK:
		return nil, r.importRefusal(code, body)
	}
	return t, t.Add(body)
}

func (r *remote) put(ctx context.Context, path string, body []byte) (int, []byte, error) {
	return r.ask(ctx, http.MethodPut, path, body)
}

func (r *remote) importRefusal(code int, body []byte) error {
	text := fmt.Sprintf("server %s: %d %s: %s", r.server, code, http.StatusText(code), importodl.Message(body))
	if code == http.StatusUnauthorized || code == http.StatusForbidden {
		text += "; use an administrator: " + adminHint
	}
	return errors.New(text)
}

// printImport prints a report. asked says whether a server was.
func printImport(w io.Writer, out *output, r *importodl.Report, asked bool) error {
	if out.json() {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	var rows [][]string
	for _, k := range r.Kinds {
		row := []string{k.List, strconv.Itoa(k.Found)}
		for _, n := range []int{k.New, k.Same, k.Differs} {
			if asked {
				row = append(row, strconv.Itoa(n))
			} else {
				row = append(row, "-")
			}
		}
		rows = append(rows, append(row, strconv.Itoa(k.Refused)))
	}
	if err := writeTable(w, []string{"OBJECTS", "FOUND", "NEW", "SAME", "DIFFERS", "REFUSED"}, rows); err != nil {
		return err
	}
	rows = nil
	for _, n := range r.Nodes {
		told := "topology"
		if !n.Told {
			told = "ports"
		}
		rows = append(rows, []string{n.ID, told, strconv.Itoa(n.Ports), strconv.Itoa(n.Flows), strconv.Itoa(n.Groups), strconv.Itoa(n.Meters)})
	}
	if len(rows) > 0 {
		fmt.Fprintln(w)
		if err := writeTable(w, []string{"NODE", "KNOWN BY", "PORTS", "FLOWS", "GROUPS", "METERS"}, rows); err != nil {
			return err
		}
	}
	for _, f := range r.OldFlows {
		if f.Flows > 0 {
			fmt.Fprintf(w, "\n%s: %d flows of the old controller, which are not taken; flows that an operator wrote can be written again", f.Node, f.Flows)
		}
	}
	for _, list := range []struct {
		title string
		what  []importodl.Problem
	}{{"In the way (--replace writes them)", r.Conflicts}, {"Refused", r.Refused}} {
		if len(list.what) > 0 {
			fmt.Fprintf(w, "\n%s:\n", list.title)
		}
		for _, p := range list.what {
			fmt.Fprintf(w, "  %s: %s\n", p.Object, p.Why)
		}
	}
	if len(r.Unknown) > 0 {
		fmt.Fprintln(w, "\nNot understood, and left out:")
	}
	for _, u := range r.Unknown {
		fmt.Fprintf(w, "  %s: %s (%d times)\n", u.Path, u.Why, u.Count)
	}
	return nil
}
