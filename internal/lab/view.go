// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"nagare/internal/flow"
)

// view is br-int of one node: as the switch shows it, and as the server wants it.
type view struct {
	have   []string     // the switch's flows, normalised
	want   []wantedFlow // the server's
	marked int          // of the switch's flows, those with a cookie of the server's
	groups []string     // ids of the switch's groups, sorted
	named  []string     // ids of the groups that flows name, sorted
}

// wantedFlow is a flow of the desired state with its owner, in the admin API's JSON.
type wantedFlow struct {
	Text   string `json:"flow"`
	Rule   string `json:"rule"`
	Kind   string `json:"kind"`
	Object string `json:"object"`
}

// cookieMark is in the highest octet of every cookie of the standard profile.
const cookieMark = 0x4e

var (
	groupNamed = regexp.MustCompile(`\bgroup:(\d+)`)
	groupID    = regexp.MustCompile(`\bgroup_id=(\d+)`)
)

// look reads a node's br-int from both sides.
func (w *walk) look(ctx context.Context, node string) (*view, error) {
	dump, err := w.l.ovs(ctx, node, "ovs-ofctl", "--no-names", "-O", "OpenFlow13", "dump-flows", "br-int")
	if err != nil {
		return nil, err
	}
	flows, err := flow.ParseDump(dump)
	if err != nil {
		return nil, finalError{err}
	}
	groups, err := w.l.ovs(ctx, node, "ovs-ofctl", "-O", "OpenFlow13", "dump-groups", "br-int")
	if err != nil {
		return nil, err
	}
	var answer struct{ Flows []wantedFlow }
	if err := w.admin.get(ctx, "/nagare/v1/nodes/"+node+"/flows", &answer); err != nil {
		return nil, err
	}
	v := &view{want: answer.Flows, groups: matches(groupID, groups), named: matches(groupNamed, dump)}
	plain := make([]flow.Flow, len(flows))
	for i, f := range flows {
		plain[i] = f.Flow
		if f.Cookie>>56 == cookieMark {
			v.marked++
		}
	}
	v.have = flow.Lines(plain)
	return v, nil
}

// matches are the distinct first groups of a pattern, sorted.
func matches(p *regexp.Regexp, text string) []string {
	found := map[string]bool{}
	for _, m := range p.FindAllStringSubmatch(text, -1) {
		found[m[1]] = true
	}
	return slices.Sorted(maps.Keys(found))
}

// agrees reports how the switch differs from what the server wants.
func (v *view) agrees() error {
	text := make([]string, len(v.want))
	for i, f := range v.want {
		text[i] = f.Text
	}
	want, err := flow.Normalise(strings.Join(text, "\n"))
	if err != nil {
		return finalError{err}
	}
	return flowsEqual(want, v.have)
}

// marks reports flows of the switch that bear no cookie of the server's.
func (v *view) marks() error {
	if n := len(v.have) - v.marked; n > 0 {
		return fmt.Errorf("%d flows have a cookie that does not begin with 0x%x", n, cookieMark)
	}
	return nil
}

// groupsNamed reports groups that no flow names, and the other way round.
func (v *view) groupsNamed() error {
	if !slices.Equal(v.groups, v.named) {
		return fmt.Errorf("the switch has the groups %v, its flows name %v", v.groups, v.named)
	}
	return nil
}

// others are the flows that belong to an object of users, not to the bridge itself.
func (v *view) others() error {
	var found []string
	for _, f := range v.want {
		if f.Kind != "node" {
			found = append(found, fmt.Sprintf("%s (%s %s)", f.Text, f.Kind, f.Object))
		}
	}
	if found != nil {
		return fmt.Errorf("%d flows are of other objects:\n%s", len(found), strings.Join(found, "\n"))
	}
	return nil
}

// reason is why a flow is there, as far as the walk-through looks at it, in the admin API's JSON.
type reason struct {
	Rule    string  `json:"rule"`
	Source  string  `json:"source"`
	Kind    string  `json:"kind"`
	Object  string  `json:"object"`
	Commit  *commit `json:"commit"`
	Because []struct {
		Commit *commit `json:"commit"`
	} `json:"because"`
}

type commit struct {
	Request string `json:"request_id"`
	User    string `json:"user"`
}

// author is the user and request behind a reason; "" where none is known.
func (r reason) author() string {
	all := []*commit{r.Commit}
	for _, b := range r.Because {
		all = append(all, b.Commit)
	}
	for _, c := range all {
		if c != nil && c.User != "" {
			return strings.TrimSpace(c.User + " " + c.Request)
		}
	}
	return ""
}

// reasons asks the server why a flow is on a node.
func (w *walk) reasons(ctx context.Context, node, text string) ([]reason, error) {
	var x struct{ Reasons []reason }
	err := w.admin.get(ctx, "/nagare/v1/nodes/"+node+"/explain?"+url.Values{"flow": {text}}.Encode(), &x)
	if err == nil && len(x.Reasons) == 0 {
		err = errors.New("no reason is told")
	}
	return x.Reasons, err
}

// authors holds that each flow of a node leads to the rule and the line of source that made it, and those that an object asked
// for to the user whose change it was.
func (w *walk) authors(ctx context.Context, node string, v *view) error {
	var nameless []string
	for _, f := range v.want {
		found, err := w.reasons(ctx, node, f.Text)
		if err != nil {
			return err
		}
		for _, r := range found {
			if r.Rule == "" || r.Source == "" || r.Kind != "node" && r.author() == "" {
				nameless = append(nameless, fmt.Sprintf("%s (rule %q, %s %s)", f.Text, r.Rule, r.Kind, r.Object))
				break
			}
		}
	}
	if nameless != nil {
		return fmt.Errorf("%d of %d flows have none:\n%s", len(nameless), len(v.want), strings.Join(nameless, "\n"))
	}
	return nil
}
