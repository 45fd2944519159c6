// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"nagare/internal/alloc"
	"nagare/internal/api/admin"
	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// noNode is the answer for a node that is not compiled.
func noNode(node string) error {
	return fmt.Errorf("node %s: %w; see `nagare nodes`", node, admin.ErrNotFound)
}

// Flows lists a node's desired flows. With authors each carries everybody who asked for it and the changes behind it, found in
// one pass, without running a rule.
func (b backend) Flows(ctx context.Context, node string, authors bool) ([]admin.Flow, error) {
	var d compile.Desired
	var owners map[flow.Key][]compile.Owner
	var snap *store.Snapshot
	ok := false
	err := b.s.hub.Do(ctx, func(e *compile.Engine) {
		d, ok = e.Desired(node)
		owners, snap = e.Authors(node), e.Snapshot()
	})
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, noNode(node)
	}
	flows := make([]flow.Flow, 0, len(d.Flows))
	for _, f := range d.Flows {
		flows = append(flows, f)
	}
	slices.SortFunc(flows, flow.Compare)
	out := make([]admin.Flow, len(flows))
	for i, f := range flows {
		by := owners[f.Key()]
		out[i].Text = f.String()
		if len(by) > 0 {
			out[i].Rule, out[i].Kind, out[i].Object = by[0].Rule, by[0].Kind, by[0].Object
		}
		if authors {
			out[i].Authors = authorsOf(snap, by)
		}
	}
	return out, nil
}

func authorsOf(r store.Reader, by []compile.Owner) []admin.Author {
	out := make([]admin.Author, len(by))
	for i, o := range by {
		out[i] = admin.Author{Rule: o.Rule, Kind: o.Kind, Object: o.Object, Name: nameOf(r, o.Kind, o.Object), Commit: commitOf(r, o.Kind, o.Object)}
	}
	return out
}

// portByName is an in_port of a dump that shows names: ovs-ofctl does where it prints to a terminal.
var portByName = regexp.MustCompile(`\bin_port="?([^",\s]+)"?`)

// numbered gives ports that a flow names the numbers that they have on the node.
func numbered(r store.Reader, node, text string) string {
	return portByName.ReplaceAllStringFunc(text, func(term string) string {
		name := portByName.FindStringSubmatch(term)[1]
		if i, ok := tables.Interfaces.Get(r, model.InterfaceKey(model.NodeID(node), name)); ok && i.OFPort != 0 {
			return "in_port=" + strconv.FormatUint(uint64(i.OFPort), 10)
		}
		return term
	})
}

func (b backend) ExplainFlow(ctx context.Context, node, text string) (admin.Explanation, error) {
	head, _, _ := strings.Cut(text, "actions=") // only table, priority and match identify a flow
	f, err := flow.ParseFlow(numbered(b.s.store.Snapshot(), node, head) + " actions=drop")
	if err != nil {
		return admin.Explanation{}, fmt.Errorf("flow: %w: %w", err, admin.ErrBadInput)
	}
	return b.explain(ctx, model.NodeID(node), f.Key())
}

func (b backend) explain(ctx context.Context, node model.NodeID, key flow.Key) (admin.Explanation, error) {
	var why []compile.Reason
	var f flow.Flow
	var snap *store.Snapshot
	known, held := false, false
	err := b.s.hub.Do(ctx, func(e *compile.Engine) {
		f, held = e.Flow(string(node), key)
		known = held || e.FlowCount(string(node)) > 0 // a node that is compiled has the spine at least
		why, snap = e.Explain(string(node), key), e.Snapshot()
	})
	switch {
	case err != nil:
		return admin.Explanation{}, err
	case !known:
		return admin.Explanation{}, noNode(string(node))
	case !held:
		return admin.Explanation{}, fmt.Errorf("node %s should hold no flow %v: %w; see `nagare flows %s`", node, key.Flow(0, ""), admin.ErrNotFound, node)
	}
	x := admin.Explanation{Node: string(node), Flow: f.String(), Table: pipeline.TableID(key.Table).String()}
	if t := pipeline.Lookup(pipeline.TableID(key.Table)); t != nil {
		x.Purpose = t.Purpose
	}
	for _, w := range why {
		r := admin.Reason{Rule: w.Rule, Doc: w.Doc, Source: fmt.Sprintf("%s:%d", shortPath(w.File), w.Line), Kind: w.Kind, Object: w.Object,
			Name: nameOf(snap, w.Kind, w.Object), Commit: commitOf(snap, w.Kind, w.Object)}
		for _, c := range w.Because {
			r.Because = append(r.Because, admin.Cause{Kind: c.Kind, Object: c.ID, Name: nameOf(snap, c.Kind, c.ID), Commit: commitOf(snap, c.Kind, c.ID)})
		}
		x.Reasons = append(x.Reasons, r)
	}
	return x, nil
}

// shortPath is a source file from the repository's root.
func shortPath(file string) string {
	dir, base := path.Split(file)
	if _, rest, ok := strings.Cut(dir, "/internal/"); ok {
		return "internal/" + rest + base
	}
	return base
}

// ExplainCookie says what a cookie tells by itself, and which flows of the node carry it.
func (b backend) ExplainCookie(ctx context.Context, node string, cookie uint64) (admin.CookieReport, error) {
	c, ours := pipeline.UnpackCookie(cookie)
	if !ours {
		return admin.CookieReport{}, fmt.Errorf("cookie %#x: not one of the standard profile's, which begin with 0x4e; give the whole flow: %w", cookie, admin.ErrBadInput)
	}
	table := pipeline.TableID(c.Template >> 8)
	x := admin.CookieReport{Node: node, Cookie: fmt.Sprintf("%#x", cookie), What: c.Kind.String(), Key: c.Key, Merged: c.Template == pipeline.TemplateMerged, Flows: []admin.Flow{}}
	if !x.Merged {
		x.Table, x.Number = table.String(), uint8(c.Template)
	}
	var found []flow.Flow
	var owners map[flow.Key][]compile.Owner
	known := false
	err := b.s.hub.Do(ctx, func(e *compile.Engine) {
		var d compile.Desired
		if d, known = e.Desired(node); !known {
			return
		}
		owners = e.Authors(node)
		x.Kind, x.Object = objectOf(e.Snapshot(), node, c)
		x.Name, x.Commit = nameOf(e.Snapshot(), x.Kind, x.Object), commitOf(e.Snapshot(), x.Kind, x.Object)
		for _, f := range d.Flows {
			if f.Cookie == cookie {
				found = append(found, f)
			}
		}
		slices.SortFunc(found, flow.Compare)
		for _, f := range found {
			x.Flows = append(x.Flows, admin.Flow{Text: f.String(), Authors: authorsOf(e.Snapshot(), owners[f.Key()])})
		}
	})
	switch {
	case err != nil:
		return x, err
	case !known:
		return x, noNode(node)
	case x.Object == "" && len(found) == 0:
		return x, fmt.Errorf("cookie %#x: %s %d: %w; it is gone, or another server's", cookie, c.Kind, c.Key, admin.ErrNotFound)
	}
	return x, nil
}

// objectOf finds the object whose key a cookie carries, and its kind as rules have it; both are empty if it is gone.
func objectOf(r store.Reader, node string, c pipeline.Cookie) (kind, id string) {
	text := alloc.KeyText(model.Key(c.Key))
	switch c.Kind {
	case pipeline.KindBridge:
		return "node", node
	case pipeline.KindNetwork, pipeline.KindProviderNetwork:
		if o, ok := alloc.NetworksByKey.First(r, text); ok {
			return "network", string(o.ID)
		}
	case pipeline.KindRouter:
		if o, ok := alloc.RoutersByKey.First(r, text); ok {
			return "router", string(o.ID)
		}
	case pipeline.KindFloatingIP:
		if o, ok := alloc.FloatingByKey.First(r, text); ok {
			return "floating-ip", string(o.ID)
		}
	case pipeline.KindForwarding:
		if o, ok := alloc.ForwardingsByKey.First(r, text); ok {
			return "port-forwarding", string(o.ID)
		}
	case pipeline.KindLocalIP:
		if o, ok := alloc.LocalIPsByKey.First(r, text); ok {
			return "local-ip", string(o.ID)
		}
	case pipeline.KindPort, pipeline.KindRouterInterface, pipeline.KindGroupMember, pipeline.KindDHCP, pipeline.KindMetadata, pipeline.KindLog:
		if o, ok := alloc.PortsByKey.First(r, text); ok {
			return "port", string(o.ID)
		}
	case pipeline.KindSubnet:
		if o, ok := alloc.SubnetsByKey.First(r, text); ok {
			return "subnet", string(o.ID)
		}
	case pipeline.KindGroupRule:
		if o, ok := alloc.RulesByKey.First(r, text); ok {
			return "security-group-rule", string(o.ID)
		}
	case pipeline.KindGroupSet:
		if _, ok := tables.GroupSets.Get(r, text); ok {
			return "group-set", text
		}
	case pipeline.KindOperator:
		if o, ok := alloc.OperatorsByKey.First(r, text); ok {
			return "operator-entry", string(o.ID)
		}
	case pipeline.KindPeer:
		if o, ok := alloc.NodesByKey.First(r, text); ok {
			return "node", string(o.ID)
		}
	}
	return "", ""
}
