// SPDX-License-Identifier: Apache-2.0

package store

import (
	"slices"
	"strings"
)

// tree is an immutable ordered map from (group, key) to records: a B+ tree whose edits copy the path to what they change and
// share the rest. A table's records have the group ""; an index has a group per index key and the primary keys in it; a
// derived table has its groups and members. Keys are shared with the records that they come from, which is why there is no
// composed key, and nodes hold nothing but keys and pointers: indices are most of a store's memory.
//
// The zero value is the empty tree.
type tree struct {
	root *node
	size int
}

type place struct{ group, key string }

func (a place) compare(b place) int {
	if a.group == b.group {
		return strings.Compare(a.key, b.key)
	}
	return strings.Compare(a.group, b.group)
}

// node is a leaf (recs, one per place) or a branch (kids, one more than places: kids[i] holds what is below places[i]).
type node struct {
	owner  *editor // the one that may change the node in place; nil: nobody
	places []place
	recs   []*record
	kids   []*node
}

// nodeSize bounds the places of a node. A commit copies a path of nodes in each tree that it touches, so larger is not better.
const nodeSize = 16

func (n *node) leaf() bool { return n.kids == nil }

// search returns the first index whose place is not below p.
func (n *node) search(p place) (int, bool) {
	low, high := 0, len(n.places)
	for low < high {
		mid := int(uint(low+high) >> 1)
		if c := n.places[mid].compare(p); c < 0 {
			low = mid + 1
		} else if c == 0 {
			return mid, true
		} else {
			high = mid
		}
	}
	return low, false
}

// kid returns which child holds p.
func (n *node) kid(p place) int {
	i, equal := n.search(p)
	if equal {
		i++
	}
	return i
}

func (t tree) get(group, key string) *record {
	p := place{group, key}
	n := t.root
	if n == nil {
		return nil
	}
	for !n.leaf() {
		n = n.kids[n.kid(p)]
	}
	if i, ok := n.search(p); ok {
		return n.recs[i]
	}
	return nil
}

// scan calls f for the records of a group in order of keys, from the first not below start, until f returns false.
func (t tree) scan(group, start string, f func(key string, rec *record) bool) {
	if t.root != nil {
		t.root.scan(place{group, start}, f)
	}
}

// scan reports whether to go on to the next node.
func (n *node) scan(from place, f func(string, *record) bool) bool {
	if n.leaf() {
		i, _ := n.search(from)
		for ; i < len(n.places); i++ {
			if n.places[i].group != from.group || !f(n.places[i].key, n.recs[i]) {
				return false
			}
		}
		return true
	}
	for i := n.kid(from); i < len(n.kids); i++ {
		if !n.kids[i].scan(from, f) {
			return false
		}
	}
	return true
}

// back calls f for the records of a group in falling order of keys, from the last below end, until f returns false. An empty end is
// above all keys.
func (t tree) back(group, end string, f func(key string, rec *record) bool) {
	if t.root == nil {
		return
	}
	above := place{group, end}
	if end == "" {
		above.group += "\x00" // no group lies between
	}
	t.root.back(group, above, f)
}

// back reports whether to go on to the node before.
func (n *node) back(group string, above place, f func(string, *record) bool) bool {
	if n.leaf() {
		i, _ := n.search(above)
		for i--; i >= 0; i-- {
			if n.places[i].group != group || !f(n.places[i].key, n.recs[i]) {
				return false
			}
		}
		return true
	}
	for i := n.kid(above); i >= 0; i-- {
		if !n.kids[i].back(group, above, f) {
			return false
		}
	}
	return true
}

// all calls f for every record, in order.
func (t tree) all(f func(p place, rec *record)) {
	if t.root != nil {
		t.root.all(f)
	}
}

func (n *node) all(f func(place, *record)) {
	for i, r := range n.recs {
		f(n.places[i], r)
	}
	for _, k := range n.kids {
		k.all(f)
	}
}

// edit starts a series of changes to a copy.
func (t tree) edit() *editor { return &editor{tree: t} }

// editor changes its own copy of a tree. Nodes that it made it changes in place.
type editor struct {
	tree
	self *editor // the identity under which nodes are owned; changes with every freeze
}

// freeze returns the present state, which later changes leave alone.
func (e *editor) freeze() tree {
	e.self = nil
	return e.tree
}

func (e *editor) own(n *node) *node {
	if e.self == nil {
		e.self = new(editor)
	}
	if n.owner == e.self {
		return n
	}
	c := &node{owner: e.self, places: append(make([]place, 0, nodeSize+1), n.places...)}
	if n.leaf() {
		c.recs = append(make([]*record, 0, nodeSize+1), n.recs...)
	} else {
		c.kids = append(make([]*node, 0, nodeSize+2), n.kids...)
	}
	return c
}

// put inserts or replaces.
func (e *editor) put(group, key string, rec *record) {
	if e.root == nil {
		e.root = &node{}
	}
	e.root = e.own(e.root)
	split, right, added := e.insert(e.root, place{group, key}, rec)
	if added {
		e.size++
	}
	if right != nil {
		e.root = &node{owner: e.self, places: []place{split}, kids: []*node{e.root, right}}
	}
}

// insert puts into a node of our own. If the node became too large, right is its split-off upper half and split right's
// lowest place.
func (e *editor) insert(n *node, p place, rec *record) (split place, right *node, added bool) {
	if n.leaf() {
		i, found := n.search(p)
		if found {
			n.recs[i] = rec
			return place{}, nil, false
		}
		n.places = slices.Insert(n.places, i, p)
		n.recs = slices.Insert(n.recs, i, rec)
		added = true
	} else {
		i := n.kid(p)
		n.kids[i] = e.own(n.kids[i])
		var low place
		var upper *node
		if low, upper, added = e.insert(n.kids[i], p, rec); upper != nil {
			n.places = slices.Insert(n.places, i, low)
			n.kids = slices.Insert(n.kids, i+1, upper)
		}
	}
	if len(n.places) <= nodeSize {
		return place{}, nil, added
	}
	half := len(n.places) / 2
	if e.tail(n, p) {
		half = len(n.places) - 2 // growing at the end, as with ascending keys: leave full nodes behind
	}
	right = &node{owner: e.self}
	if n.leaf() {
		split = n.places[half]
		right.places, right.recs = slices.Clone(n.places[half:]), slices.Clone(n.recs[half:])
		n.places, n.recs = truncate(n.places, half), truncate(n.recs, half)
	} else {
		split = n.places[half]
		right.places, right.kids = slices.Clone(n.places[half+1:]), slices.Clone(n.kids[half+1:])
		n.places, n.kids = truncate(n.places, half), truncate(n.kids, half+1)
	}
	return split, right, added
}

// tail reports whether p is the last place of a leaf.
func (e *editor) tail(n *node, p place) bool { return n.leaf() && n.places[len(n.places)-1] == p }

// truncate shortens a slice and lets go of what the rest points to.
func truncate[T any](s []T, n int) []T {
	clear(s[n:])
	return s[:n]
}

// delete removes, and reports whether there was anything.
func (e *editor) delete(group, key string) bool {
	if e.get(group, key) == nil {
		return false
	}
	e.root = e.own(e.root)
	e.remove(e.root, place{group, key})
	e.size--
	for !e.root.leaf() && len(e.root.kids) == 1 {
		e.root = e.root.kids[0]
	}
	if len(e.root.places) == 0 && e.root.leaf() {
		e.root = nil
	}
	return true
}

// remove takes p out of a node of our own, in which it is, and joins a child that became small with a neighbour if both fit.
func (e *editor) remove(n *node, p place) {
	if n.leaf() {
		i, _ := n.search(p)
		n.places = slices.Delete(n.places, i, i+1)
		n.recs = slices.Delete(n.recs, i, i+1)
		return
	}
	i := n.kid(p)
	n.kids[i] = e.own(n.kids[i])
	e.remove(n.kids[i], p)
	if len(n.kids[i].places) >= nodeSize/3 || len(n.kids) == 1 {
		return
	}
	left := max(i-1, 0)
	a, b := n.kids[left], n.kids[left+1]
	joined := len(a.places) + len(b.places)
	if !a.leaf() {
		joined++ // the place between them
	}
	if joined <= nodeSize { // an empty leaf always fits
		a = e.own(a)
		n.kids[left] = a
		if a.leaf() {
			a.places, a.recs = append(a.places, b.places...), append(a.recs, b.recs...)
		} else {
			a.places = append(append(a.places, n.places[left]), b.places...)
			a.kids = append(a.kids, b.kids...)
		}
		n.places = slices.Delete(n.places, left, left+1)
		n.kids = slices.Delete(n.kids, left+1, left+2)
	}
}

// entry is one record to build a tree from.
type entry struct {
	place
	rec *record
}

// buildTree makes a tree of entries in any order, which it sorts; of equal places one entry counts. It costs less time and space than
// inserting them one by one.
func buildTree(es []entry) tree {
	byPlace := func(a, b entry) int { return a.place.compare(b.place) }
	if !slices.IsSortedFunc(es, byPlace) {
		slices.SortFunc(es, byPlace)
	}
	es = slices.CompactFunc(es, func(a, b entry) bool { return a.place == b.place })
	if len(es) == 0 {
		return tree{}
	}
	const fill = nodeSize - nodeSize/8
	var level []*node
	var lows []place // lowest place in each node of the level
	for chunk := range slices.Chunk(es, fill) {
		n := &node{places: make([]place, len(chunk)), recs: make([]*record, len(chunk))}
		for i, e := range chunk {
			n.places[i], n.recs[i] = e.place, e.rec
		}
		level, lows = append(level, n), append(lows, chunk[0].place)
	}
	for len(level) > 1 {
		var up []*node
		var upLows []place
		for at := 0; at < len(level); {
			end := min(at+fill+1, len(level))
			if len(level)-end == 1 { // a branch has two children at least
				end--
			}
			up = append(up, &node{places: slices.Clone(lows[at+1 : end]), kids: slices.Clone(level[at:end])})
			upLows = append(upLows, lows[at])
			at = end
		}
		level, lows = up, upLows
	}
	return tree{root: level[0], size: len(es)}
}
