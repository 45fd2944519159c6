// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"fmt"
	"net/netip"

	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/tables"
)

// Kinds of group, the high byte of an id; the rest is the network's key. Parts of chains have kinds of their own.
const (
	groupFlood      uint8 = 0x01
	groupLocal      uint8 = 0x02
	groupLocalPart  uint8 = 0x40
	groupRemotePart uint8 = 0xc0

	localParts  = int(groupRemotePart - groupLocalPart)
	remoteParts = 0x100 - int(groupRemotePart)
)

// maxBuckets keeps a group within a message of 64 KiB (decision 22): a local bucket has 128 bytes.
const maxBuckets = 500

func floodID(k model.Key) uint32 { return flow.GroupID(groupFlood, uint32(k)) }
func localID(k model.Key) uint32 { return flow.GroupID(groupLocal, uint32(k)) }

// spoke is a bucket of a group that may become a chain, with the key of what it leads to.
type spoke struct {
	key    model.Key
	bucket flow.Bucket
}

// chain emits a group of the head and the spokes. Too many spokes go to groups of their own, each to the one that the low
// bits of its key name, so that one more or less changes one of them.
func chain(c *compile.Context, id uint32, part uint8, parts int, head []flow.Bucket, spokes []spoke) {
	k := 1
	for ; k < parts && fullest(spokes, k) > maxBuckets; k *= 2 {
	}
	if k == 1 {
		for _, s := range spokes {
			head = append(head, s.bucket)
		}
		c.Group(flow.NewGroup(id, flow.GroupAll, head...))
		return
	}
	in := make([][]flow.Bucket, k)
	for _, s := range spokes {
		i := int(s.key) & (k - 1)
		if len(in[i]) == maxBuckets {
			c.Fault(fmt.Sprintf("%d receivers of a broadcast are more than this node's groups hold: spread the network's ports over more nodes", len(spokes)))
			continue
		}
		in[i] = append(in[i], s.bucket)
	}
	for i, buckets := range in {
		sub := flow.GroupID(part+uint8(i), id)
		head = append(head, flow.Bucket{Acts: []flow.Act{flow.ToGroup(sub)}})
		c.Group(flow.NewGroup(sub, flow.GroupAll, buckets...))
	}
	c.Group(flow.NewGroup(id, flow.GroupAll, head...))
}

// fullest is how many spokes the fullest of k groups gets.
func fullest(spokes []spoke, k int) (most int) {
	n := make([]int, k)
	for _, s := range spokes {
		i := int(s.key) & (k - 1)
		n[i]++
		most = max(most, n[i])
	}
	return most
}

// localGroup emits LOCAL(N).
func (l *layer2) localGroup(c *compile.Context) {
	n, ok := networkOf(c, model.NetworkID(c.Subject))
	if !ok {
		return
	}
	var to []spoke
	for id := range tables.NetworkPorts.Members(c, tables.NetNode(n.ID, model.NodeID(c.Node))) {
		if d := compile.Ask(c, l.deliveries, id); d.Key != 0 {
			to = append(to, spoke{d.Key, flow.Bucket{Acts: d.copies()}})
		}
	}
	chain(c, localID(n.Key), groupLocalPart, localParts, nil, to)
}

// floodGroup emits FLOOD(N): LOCAL(N), and every way out of the node.
func (l *layer2) floodGroup(c *compile.Context) {
	n, ok := networkOf(c, model.NetworkID(c.Subject))
	if !ok {
		return
	}
	head := []flow.Bucket{{Acts: []flow.Act{flow.ToGroup(localID(n.Key))}}}
	var away []spoke
	if n.physical() {
		if w := l.wire(c, &n); w.Port != 0 {
			head = append(head, flow.Bucket{Acts: n.leave(w.Port)})
		}
	}
	if n.tunnelled() {
		seen := map[netip.Addr]bool{} // a node's old record may still name the address of another
		for node := range tables.NetworkNodes.Members(c, c.Subject) {
			if node == c.Node {
				continue
			}
			if n.Site != 0 && n.Site.joins(compile.Ask(c, l.sites, tables.NetNode(n.ID, model.NodeID(node)))) {
				continue // by the wire
			}
			v := compile.Ask(c, l.vteps, node)
			h := half{Host: model.NodeID(node), VTEP: v.IP, Type: n.Tunnel, Wire: n.Wire}
			if len(n.Segments) > 0 {
				h.Net = n.ID
			}
			if out, acts := l.into(c, &h); out != 0 && !seen[v.IP] {
				seen[v.IP] = true
				away = append(away, spoke{v.Key, flow.Bucket{Acts: acts}})
			}
		}
	}
	chain(c, floodID(n.Key), groupRemotePart, remoteParts, head, away)
}
