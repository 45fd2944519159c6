// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"net/http"
	"net/url"
	"strings"

	"nagare/internal/store"
)

// node is a container or a list of the tree that can be read. Leaves have no nodes: they are found in what an entry of a list
// holds.
type node struct {
	module   string
	name     string
	children []*node
	// Of a list: the leaves that are its keys, how to read its entries in order, and one of them. Both are given the keys of the entries
	// above, outermost first, and one the entry's own behind them.
	keys []string
	all  func(r store.Reader, above []string) []any
	one  func(r store.Reader, keys []string) (map[string]any, bool)
}

// resources is the tree.
func resources(cfg *Config) []*node {
	return []*node{
		{module: "neutron", name: "neutron", children: []*node{
			{module: "neutron", name: "hostconfigs", children: []*node{hostConfigList(cfg)}},
			{module: "neutron", name: "features", children: []*node{featureList(cfg)}},
			{module: "neutron", name: "ports", children: []*node{portList(cfg)}},
		}},
		{module: "network-topology", name: "network-topology", children: []*node{topologyList(cfg)}},
	}
}

// read answers GET of operational data.
func (c *call) read(path []string) error {
	name, value, err := c.find(path)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, map[string]any{name: value})
}

// readConfig answers GET of configuration, of which there is none: what is known here is observed.
func (c *call) readConfig(path []string) error {
	if _, _, err := c.find(path); err != nil {
		return err
	}
	return errMissing
}

// find follows a path through the tree and gives what it names with its name at the top of an answer.
func (c *call) find(path []string) (string, any, error) {
	if len(path) == 0 {
		return "", nil, unsupported("the whole data store is not given out at once; name a module, such as neutron:neutron")
	}
	r := c.cfg.Store.Snapshot()
	var at *node
	var keys []string // of all entries on the way
	among, whole := c.tree, true
	for len(path) > 0 {
		name, own, err := c.step(path[0])
		if err != nil {
			return "", nil, err
		}
		next := named(among, name, at)
		if next == nil && at != nil && len(at.keys) > 0 && len(keys) > 0 {
			return c.leaf(r, at, keys, path)
		}
		if next == nil {
			return "", nil, unknown("element", path[0])
		}
		at, path, among = next, path[1:], next.children
		if c.inline && len(at.keys) > 0 {
			own = path[:min(len(path), len(at.keys))]
			path = path[len(own):]
		}
		switch {
		case len(own) == len(at.keys):
		case len(at.keys) == 0:
			return "", nil, invalid("%s is no list, and has no keys", at.name)
		case len(own) == 0 && len(path) == 0:
			whole = false
		default:
			return "", nil, invalid("list %s: want its keys, %s", at.name, strings.Join(at.keys, " and "))
		}
		keys = append(keys, own...)
	}
	var value any
	ok := true
	switch {
	case !whole:
		all := at.all(r, keys)
		value, ok = all, len(all) > 0
	case len(at.keys) > 0:
		entry, there := at.one(r, keys)
		value, ok = []any{entry}, there
	default:
		value, ok = at.value(r)
	}
	if !ok {
		return "", nil, errMissing
	}
	return c.top(at), value, nil
}

// leaf follows a path through the contents of a list's entry. Leaves that another module adds are prefixed there; a path may
// leave that out.
func (c *call) leaf(r store.Reader, at *node, keys, path []string) (string, any, error) {
	entry, ok := at.one(r, keys)
	if !ok {
		return "", nil, errMissing
	}
	var value any = entry
	module, name := at.module, ""
	for _, want := range path {
		inner, ok := value.(map[string]any)
		if !ok {
			return "", nil, unknown("element", want)
		}
		name = ""
		for k := range inner {
			if k == want || module+":"+k == want || !strings.Contains(want, ":") && unprefixed(k) == want {
				name = k
			}
		}
		if name == "" {
			return "", nil, unknown("element", want)
		}
		value = inner[name]
		if m, _, ok := strings.Cut(name, ":"); ok {
			module = m
		}
	}
	if name = unprefixed(name); c.prefixed {
		name = module + ":" + name
	}
	return name, value, nil
}

// step reads one segment: a name, and in RFC 8040 the keys of an entry.
func (c *call) step(segment string) (name string, keys []string, err error) {
	if c.inline {
		return segment, nil, nil
	}
	name, list, ok := strings.Cut(segment, "=")
	if !ok {
		return name, nil, nil
	}
	if name, err = url.PathUnescape(name); err != nil {
		return "", nil, malformed("path segment %q: %v", segment, err)
	}
	for k := range strings.SplitSeq(list, ",") {
		if k, err = url.PathUnescape(k); err != nil {
			return "", nil, malformed("path segment %q: %v", segment, err)
		}
		keys = append(keys, k)
	}
	return name, keys, nil
}

// named finds a node by its name, with its module's or, under a node of the same module, without.
func named(among []*node, name string, parent *node) *node {
	for _, n := range among {
		if name == n.module+":"+n.name || parent != nil && parent.module == n.module && name == n.name {
			return n
		}
	}
	return nil
}

// top is a node's name at the top of an answer.
func (c *call) top(n *node) string {
	if c.prefixed {
		return n.module + ":" + n.name
	}
	return n.name
}

// value is all that a container holds; ok is false for nothing. A list that is empty is left out.
func (n *node) value(r store.Reader) (map[string]any, bool) {
	out := map[string]any{}
	for _, k := range n.children {
		if len(k.keys) > 0 {
			if all := k.all(r, nil); len(all) > 0 {
				out[k.name] = all
			}
		} else if v, ok := k.value(r); ok {
			out[k.name] = v
		}
	}
	return out, len(out) > 0
}
