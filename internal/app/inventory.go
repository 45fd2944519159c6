// SPDX-License-Identifier: Apache-2.0

package app

import (
	"cmp"
	"context"
	"errors"
	"net"
	"slices"
	"time"

	"nagare/internal/alloc"
	"nagare/internal/api/restconf"
	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/southbound"
	"nagare/internal/store"
	"nagare/openflow"
)

// switches shows RESTCONF what the switches hold.
type switches struct{ hub *southbound.Hub }

// told says the southbound's errors in RESTCONF's terms.
func told(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, southbound.ErrNoSession):
		return restconf.ErrGone
	case errors.Is(err, southbound.ErrTooMany), errors.Is(err, openflow.ErrTooLarge):
		return restconf.TooMuch(err)
	}
	return restconf.Unavailable(err)
}

func (s switches) NodeOf(r store.Reader, dpid uint64) (model.Node, bool) {
	n, ok := alloc.NodesByKey.First(r, alloc.KeyText(model.Key(uint32(dpid))))
	return n, ok && n.DatapathID() == dpid
}

func (s switches) Standing(id model.NodeID) restconf.Standing {
	at := s.hub.Standing(id)
	return restconf.Standing{Connected: at.OpenFlow, Wanted: at.Wanted, Confirmed: at.Confirmed}
}

func (s switches) Links() (out []restconf.Link) {
	for _, l := range s.hub.Links() {
		out = append(out, restconf.Link{From: l.From.Node, To: l.To.Node, FromPort: l.From.OFPort, ToPort: l.To.OFPort})
	}
	return out
}

func (s switches) Describe(ctx context.Context, node model.NodeID) (out restconf.Description, err error) {
	err = s.hub.Inspect(ctx, node, func(ctx context.Context, c *openflow.Conn) error {
		d, err := c.Desc(ctx)
		out = restconf.Description{Manufacturer: d.Manufacturer, Hardware: d.Hardware, Software: d.Software, Serial: d.Serial, Datapath: d.Datapath}
		return err
	})
	return out, told(err)
}

func (s switches) Ports(ctx context.Context, node model.NodeID, only *uint32) (out []restconf.SwitchPort, err error) {
	err = s.hub.Inspect(ctx, node, func(ctx context.Context, c *openflow.Conn) error {
		ports, err := c.PortDesc(ctx) // OpenFlow 1.3 cannot ask for one
		if err != nil {
			return err
		}
		which := openflow.PortAny
		if only != nil {
			which = *only
			ports = slices.DeleteFunc(ports, func(p openflow.Port) bool { return p.No != which })
		}
		if len(ports) == 0 {
			return nil
		}
		stats, err := c.PortStats(ctx, which)
		if err != nil {
			return err
		}
		counts := map[uint32]openflow.PortStats{}
		for _, x := range stats {
			counts[x.Port] = x
		}
		for _, p := range ports {
			x := counts[p.No]
			out = append(out, restconf.SwitchPort{No: p.No, Name: p.Name, MAC: net.HardwareAddr(p.MAC[:]).String(), Speed: p.Features[4],
				Down: p.State&openflow.PortStateDown != 0, Blocked: p.State&portStateBlocked != 0, Live: p.State&openflow.PortStateLive != 0,
				RxPackets: x.RxPackets, TxPackets: x.TxPackets, RxBytes: x.RxBytes, TxBytes: x.TxBytes, RxDropped: x.RxDropped, TxDropped: x.TxDropped,
				RxErrors: x.RxErrors, TxErrors: x.TxError})
		}
		return nil
	})
	slices.SortFunc(out, func(a, b restconf.SwitchPort) int { return cmp.Compare(a.No, b.No) })
	return out, told(err)
}

// portStateBlocked is OFPPS_BLOCKED (OpenFlow 1.3.5 section 7.2.1): a protocol outside OpenFlow keeps packets from the port.
const portStateBlocked = 1 << 1

func span(seconds, nanoseconds uint32) time.Duration {
	return time.Duration(seconds)*time.Second + time.Duration(nanoseconds)
}

func counts(of []openflow.BucketStats) (out []restconf.Count) {
	for _, b := range of {
		out = append(out, restconf.Count{Packets: b.Packets, Bytes: b.Bytes})
	}
	return out
}

func (s switches) Groups(ctx context.Context, node model.NodeID, only *uint32) (out []restconf.SwitchGroup, err error) {
	which := openflow.GroupAll
	if only != nil {
		which = *only
	}
	list, err := s.hub.SwitchGroups(ctx, node, which)
	for _, g := range list {
		out = append(out, restconf.SwitchGroup{Group: g.Group, Users: g.RefCount, Buckets: counts(g.GroupStats.Buckets),
			Count: restconf.Count{Packets: g.Packets, Bytes: g.Bytes, For: span(g.DurationSec, g.DurationNs)}})
	}
	return out, told(err)
}

func (s switches) Meters(ctx context.Context, node model.NodeID, only *uint32) (out []restconf.SwitchMeter, err error) {
	which := openflow.MeterAll
	if only != nil {
		which = *only
	}
	list, err := s.hub.SwitchMeters(ctx, node, which)
	for _, m := range list {
		out = append(out, restconf.SwitchMeter{Meter: m.Meter, Users: m.Flows, Bands: counts(m.Bands),
			Count: restconf.Count{Packets: m.PacketsIn, Bytes: m.BytesIn, For: span(m.DurationSec, m.DurationNs)}})
	}
	return out, told(err)
}

func (s switches) Tables(ctx context.Context, node model.NodeID) (out []restconf.SwitchTable, err error) {
	err = s.hub.Inspect(ctx, node, func(ctx context.Context, c *openflow.Conn) error {
		all, err := c.Tables(ctx)
		for _, x := range all {
			if x.Active > 0 {
				out = append(out, restconf.SwitchTable{ID: x.Table, Flows: x.Active, Lookups: x.Lookup, Matched: x.Matched})
			}
		}
		return err
	})
	return out, told(err)
}

func (s switches) Flows(ctx context.Context, node model.NodeID, table uint8, part func([]restconf.SwitchFlow) error) error {
	var refused error
	err := s.hub.SwitchFlows(ctx, node, table, func(flows []southbound.CountedFlow) error {
		out := make([]restconf.SwitchFlow, len(flows))
		if err := s.hub.Do(ctx, func(e *compile.Engine) {
			for i, f := range flows {
				out[i] = owned(e, node, f)
			}
		}); err != nil {
			return err
		}
		refused = part(out)
		return refused
	})
	if refused != nil {
		return refused
	}
	return told(err)
}

// owned adds who wants a flow.
func owned(e *compile.Engine, node model.NodeID, f southbound.CountedFlow) restconf.SwitchFlow {
	out := restconf.SwitchFlow{Flow: f.Flow, Count: restconf.Count{Packets: f.Packets, Bytes: f.Bytes, For: span(f.Seconds, f.Nanoseconds)},
		Idle: f.Idle, Hard: f.Hard}
	if o, ok := e.Owner(string(node), f.Key()); ok {
		out.Rule, out.Kind, out.Object = o.Rule, o.Kind, o.Object
	}
	return out
}

func (s switches) Flow(ctx context.Context, node model.NodeID, key flow.Key) (out restconf.SwitchFlow, ok bool, err error) {
	var cookie *uint64
	if err := s.hub.Do(ctx, func(e *compile.Engine) {
		if f, wanted := e.Flow(string(node), key); wanted {
			cookie = &f.Cookie
		}
	}); err != nil {
		return out, false, told(err)
	}
	f, ok, err := s.hub.SwitchFlow(ctx, node, key, cookie)
	if !ok && err == nil && cookie != nil { // it may be there with another cookie, which is not to stay so
		f, ok, err = s.hub.SwitchFlow(ctx, node, key, nil)
	}
	if !ok || err != nil {
		return out, false, told(err)
	}
	err = s.hub.Do(ctx, func(e *compile.Engine) { out = owned(e, node, f) })
	return out, true, told(err)
}
