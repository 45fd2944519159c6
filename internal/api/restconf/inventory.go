// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"errors"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"

	"nagare/internal/flow"
	"nagare/internal/flowtree"
	"nagare/internal/model"
	"nagare/internal/tables"
	"nagare/internal/yang"
)

// The inventory of switches as OpenDaylight's OpenFlow plug-in shows it: what each connected switch holds at present, asked of it while the
// answer is written. A node's id is openflow:<datapath id in decimal>, a port's that with its number behind, and a flow's is that
// under which an operator wrote it, or else its priority and match as ovs-ofctl writes them, from which it is found without a search.
const (
	inventoryModule = "opendaylight-inventory"

	inventoryPath = inventoryModule + ":nodes/node"
	connectorPath = inventoryPath + "/node-connector"
	tablePath     = inventoryPath + "/flow-node-inventory:table"
	flowPath      = tablePath + "/flow"
	groupPath     = inventoryPath + "/flow-node-inventory:group"
	meterPath     = inventoryPath + "/flow-node-inventory:meter"

	dpidPrefix = "openflow:"

	// maxLooks is how many answers may be asking switches at once: each holds a part of a table in memory while its client reads.
	maxLooks = 16
)

var errLooking = &fault{http.StatusServiceUnavailable, "transport", "resource-denied", "too many are reading what switches hold; try again"}

func (t *tree) addInventory() {
	t.add(inventoryPath, source{has: nonconfig,
		all: func(v *view, _ []string) iter.Seq[*yang.Data] {
			return func(yield func(*yang.Data) bool) {
				for _, n := range tables.Nodes.All(v.r) {
					if d := t.switchEntry(v, &n); d != nil && !yield(d) {
						return
					}
				}
			}
		},
		one: func(v *view, keys []string) *yang.Data {
			if n, ok := v.switchOf(keys[0]); ok {
				return t.switchEntry(v, &n)
			}
			return nil
		}})
	t.add(connectorPath, onSwitch(t.connectorEntry, portNumber,
		func(v *view, n *model.Node, only *uint32) ([]SwitchPort, error) {
			return v.Switches.Ports(v.ctx, n.ID, only)
		}))
	t.add(groupPath, onSwitch(t.groupEntry, number,
		func(v *view, n *model.Node, only *uint32) ([]SwitchGroup, error) {
			return v.Switches.Groups(v.ctx, n.ID, only)
		}))
	t.add(meterPath, onSwitch(t.meterEntry, number,
		func(v *view, n *model.Node, only *uint32) ([]SwitchMeter, error) {
			return v.Switches.Meters(v.ctx, n.ID, only)
		}))
	t.add(tablePath, onSwitch(t.tableEntry, number, func(v *view, n *model.Node, only *uint32) (out []SwitchTable, err error) {
		all, err := v.Switches.Tables(v.ctx, n.ID)
		for _, x := range all {
			if only == nil || uint32(x.ID) == *only {
				out = append(out, x)
			}
		}
		return out, err
	}))
	t.add(flowPath, source{has: nonconfig, all: t.flows, one: t.flow})
}

// onSwitch is the source of a list that a switch answers for in one piece.
func onSwitch[T any](entry func(n *model.Node, x T) *yang.Data, key func(node, text string) (uint32, bool),
	ask func(v *view, n *model.Node, only *uint32) ([]T, error)) source {
	return source{has: nonconfig,
		all: func(v *view, above []string) iter.Seq[*yang.Data] {
			return func(yield func(*yang.Data) bool) {
				n, ok := v.switchOf(above[0])
				if !ok {
					return
				}
				list, err := ask(v, &n, nil)
				v.failed(err)
				for _, x := range list {
					if !yield(entry(&n, x)) {
						return
					}
				}
			}
		},
		one: func(v *view, keys []string) *yang.Data {
			n, ok := v.switchOf(keys[0])
			if !ok {
				return nil
			}
			id, ok := key(keys[0], keys[1])
			if !ok {
				return nil
			}
			list, err := ask(v, &n, &id)
			if v.failed(err); len(list) == 0 {
				return nil
			}
			return entry(&n, list[0])
		}}
}

// failed notes why a switch gave no answer. One that has gone meanwhile has nothing to tell, which is no failure.
func (v *view) failed(err error) {
	if err != nil && !errors.Is(err, ErrGone) && v.err == nil {
		v.err = err
	}
}

func switchID(n *model.Node) string { return dpidPrefix + strconv.FormatUint(n.DatapathID(), 10) }

// switchOf finds the node with a connected switch that an id names.
func (v *view) switchOf(id string) (model.Node, bool) {
	text, ok := strings.CutPrefix(id, dpidPrefix)
	dpid, err := strconv.ParseUint(text, 10, 64)
	if !ok || err != nil || v.Switches == nil {
		return model.Node{}, false
	}
	n, ok := v.Switches.NodeOf(v.r, dpid)
	return n, ok && id == switchID(&n) && v.hasSwitch(&n)
}

// hasSwitch reports whether a node's switch is connected.
func (v *view) hasSwitch(n *model.Node) bool {
	return v.Switches != nil && n.Approved && v.Switches.Standing(n.ID).Connected
}

func number(_, text string) (uint32, bool) {
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err == nil
}

func connectorID(n *model.Node, port uint32) string { return switchID(n) + ":" + flowtree.Port(port) }

// portNumber reads the id of a port of a node.
func portNumber(node, text string) (uint32, bool) {
	text, ok := strings.CutPrefix(text, node+":")
	if text == flowtree.Port(flow.PortLocal) {
		return flow.PortLocal, ok
	}
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), ok && err == nil && text == flowtree.Port(uint32(n))
}

func num[T uint8 | uint16 | uint32 | uint64](n T) string { return strconv.FormatUint(uint64(n), 10) }

// switchEntry is a node without its lists; nil if it has no switch that is connected.
func (t *tree) switchEntry(v *view, n *model.Node) *yang.Data {
	if !v.hasSwitch(n) {
		return nil
	}
	at := v.Switches.Standing(n.ID)
	about, err := v.Switches.Describe(v.ctx, n.ID)
	if v.failed(err); err != nil {
		return nil
	}
	d := t.entry(inventoryPath).Leaf("id", switchID(n))
	for _, x := range [][2]string{{"manufacturer", about.Manufacturer}, {"hardware", about.Hardware}, {"software", about.Software},
		{"serial-number", about.Serial}, {"description", about.Datapath}, {"ip-address", n.Source}} {
		if x[1] != "" {
			d.Leaf("flow-node-inventory:"+x[0], x[1])
		}
	}
	return d.Leaf("nagare-inventory:node", string(n.ID)).Leaf("nagare-inventory:desired-revision", num(at.Wanted)).
		Leaf("nagare-inventory:confirmed-revision", num(at.Confirmed))
}

func (t *tree) connectorEntry(n *model.Node, p SwitchPort) *yang.Data {
	d := t.entry(connectorPath).Leaf("id", connectorID(n, p.No)).Leaf("flow-node-inventory:name", p.Name).
		Leaf("flow-node-inventory:port-number", flowtree.Port(p.No)).Leaf("flow-node-inventory:hardware-address", p.MAC)
	if p.Speed > 0 {
		d.Leaf("flow-node-inventory:current-speed", num(p.Speed))
	}
	d.Put("flow-node-inventory:state").Leaf("link-down", strconv.FormatBool(p.Down)).Leaf("blocked", strconv.FormatBool(p.Blocked)).
		Leaf("live", strconv.FormatBool(p.Live))
	s := d.Put("opendaylight-port-statistics:flow-capable-node-connector-statistics")
	s.Put("packets").Leaf("received", num(p.RxPackets)).Leaf("transmitted", num(p.TxPackets))
	s.Put("bytes").Leaf("received", num(p.RxBytes)).Leaf("transmitted", num(p.TxBytes))
	s.Leaf("receive-drops", num(p.RxDropped)).Leaf("transmit-drops", num(p.TxDropped)).Leaf("receive-errors", num(p.RxErrors)).
		Leaf("transmit-errors", num(p.TxErrors))
	return d
}

func (t *tree) tableEntry(_ *model.Node, x SwitchTable) *yang.Data {
	d := t.entry(tablePath).Leaf("id", num(x.ID))
	d.Put("opendaylight-flow-table-statistics:flow-table-statistics").Leaf("active-flows", num(x.Flows)).
		Leaf("packets-looked-up", num(x.Lookups)).Leaf("packets-matched", num(x.Matched))
	return d
}

// duration says how long something has been there.
func duration(d *yang.Data, c Count) {
	d.Put("duration").Leaf("second", num(uint32(c.For/time.Second))).Leaf("nanosecond", num(uint32(c.For%time.Second)))
}

func (t *tree) groupEntry(_ *model.Node, g SwitchGroup) *yang.Data {
	d := t.entry(groupPath)
	flowtree.PutGroup(d, g.Group)
	s := d.Put("opendaylight-group-statistics:group-statistics").Leaf("ref-count", num(g.Users)).Leaf("packet-count", num(g.Packets)).
		Leaf("byte-count", num(g.Bytes))
	duration(s, g.Count)
	if len(g.Buckets) > 0 {
		list := s.Put("buckets")
		for i, b := range g.Buckets {
			list.Put("bucket-counter").Leaf("bucket-id", strconv.Itoa(i)).Leaf("packet-count", num(b.Packets)).Leaf("byte-count", num(b.Bytes))
		}
	}
	return d
}

func (t *tree) meterEntry(_ *model.Node, m SwitchMeter) *yang.Data {
	d := t.entry(meterPath)
	flowtree.PutMeter(d, m.Meter)
	s := d.Put("opendaylight-meter-statistics:meter-statistics").Leaf("flow-count", num(m.Users)).Leaf("packet-in-count", num(m.Count.Packets)).
		Leaf("byte-in-count", num(m.Bytes))
	duration(s, m.Count)
	if len(m.Bands) > 0 {
		list := s.Put("meter-band-stats")
		for i, b := range m.Bands {
			list.Put("band-stat").Leaf("band-id", strconv.Itoa(i)).Leaf("packet-band-count", num(b.Packets)).Leaf("byte-band-count", num(b.Bytes))
		}
	}
	return d
}

// errEnough ends an enumeration that the reader has had enough of.
var errEnough = errors.New("enough")

// flows gives the flows of a table.
func (t *tree) flows(v *view, above []string) iter.Seq[*yang.Data] {
	return func(yield func(*yang.Data) bool) {
		n, ok := v.switchOf(above[0])
		table, err := strconv.ParseUint(above[1], 10, 8)
		if !ok || err != nil {
			return
		}
		err = v.Switches.Flows(v.ctx, n.ID, uint8(table), func(part []SwitchFlow) error {
			for _, f := range part {
				if !yield(t.flowEntry(v, &n, f)) {
					return errEnough
				}
			}
			return nil
		})
		if !errors.Is(err, errEnough) {
			v.failed(err)
		}
	}
}

// flow gives the one flow that an id says, or that an operator's entry with this id asks for.
func (t *tree) flow(v *view, keys []string) *yang.Data {
	n, ok := v.switchOf(keys[0])
	if !ok {
		return nil
	}
	key, known := parseFlowID(keys[1], keys[2])
	if e, theirs := tables.OperatorEntries.Get(v.r, model.OperatorFlowID(n.DatapathID(), tableOf(keys[1]), keys[2])); theirs {
		f, err := flow.ParseFlow(e.Text)
		key, known = f.Key(), err == nil
	}
	if !known {
		return nil
	}
	f, ok, err := v.Switches.Flow(v.ctx, n.ID, key)
	if v.failed(err); !ok || err != nil || v.nameOf(&f) != keys[2] {
		return nil
	}
	return t.flowEntry(v, &n, f)
}

// operatorKind is the kind of the owners of flows that operators wrote (internal/netvirt).
const operatorKind = "operator-entry"

// nameOf is a flow's id: that under which an operator wrote it, or what it is.
func (v *view) nameOf(f *SwitchFlow) string {
	if f.Kind == operatorKind {
		if e, ok := tables.OperatorEntries.Get(v.r, model.OperatorEntryID(f.Object)); ok {
			return e.Name
		}
	}
	return flowID(f.Key())
}

// flowID is what a flow is called within its table.
func flowID(k flow.Key) string {
	text, _, _ := strings.Cut(k.Flow(0, "").String(), " ")
	_, id, _ := strings.Cut(text, ",")
	return id
}

// parseFlowID is the other way round. Only what flowID writes names a flow.
func parseFlowID(table, id string) (flow.Key, bool) {
	if strings.ContainsAny(id, " \t\r\n") {
		return flow.Key{}, false
	}
	f, err := flow.ParseFlow("table=" + table + "," + id + " actions=drop")
	if err != nil {
		return flow.Key{}, false
	}
	k := f.Key()
	return k, num(k.Table) == table && flowID(k) == id
}

func (t *tree) flowEntry(v *view, n *model.Node, f SwitchFlow) *yang.Data {
	d := t.entry(flowPath).Leaf("id", v.nameOf(&f))
	flowtree.PutFlow(d, switchID(n), f.Flow)
	if f.Idle > 0 {
		d.Leaf("idle-timeout", num(f.Idle))
	}
	if f.Hard > 0 {
		d.Leaf("hard-timeout", num(f.Hard))
	}
	s := d.Put("opendaylight-flow-statistics:flow-statistics").Leaf("packet-count", num(f.Packets)).Leaf("byte-count", num(f.Bytes))
	duration(s, f.Count)
	owner := d.Put("nagare-inventory:owner")
	for _, x := range [][2]string{{"kind", f.Kind}, {"object", f.Object}, {"rule", f.Rule}, {"text", f.String()}} {
		if x[1] != "" {
			owner.Leaf(x[0], x[1])
		}
	}
	return d
}
