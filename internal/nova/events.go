// SPDX-License-Identifier: Apache-2.0

package nova

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/google/uuid"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// derive gives the events of one commit, in the order of its changes; each once.
func (n *Notifier) derive(r *store.LogRecord) []Event {
	var out []Event
	add := func(p *model.Port, name, status string) {
		e := Event{Name: name, Server: p.DeviceID, Status: status, Tag: string(p.ID)}
		if isInstances(p) && !slices.Contains(out, e) {
			out = append(out, e)
		}
	}
	for _, k := range r.Keys {
		switch k.Table {
		case tables.Ports.Name():
			before, after := decode[model.Port](k.Before), decode[model.Port](k.After)
			switch {
			case after == nil && n.cfg.Status:
				add(before, Deleted, completed)
			case before != nil && after != nil && n.cfg.Data && before.RevisionNo != after.RevisionNo:
				// What allocators write into a port is no change that anybody asked for.
				add(after, Changed, "")
			}
		case tables.Statuses.Name():
			if p := n.port(r, k.Key); p != nil && n.cfg.Status {
				before, after := decode[model.PortStatus](k.Before), decode[model.PortStatus](k.After)
				if name, status := turn(before, after); name != "" {
					add(p, name, status)
				} else if arriving(r, k.Key, before, after) {
					add(p, Plugged, completed)
				}
			}
		case tables.FloatingIPs.Name():
			for _, raw := range []json.RawMessage{k.Before, k.After} {
				if f := decode[model.FloatingIP](raw); f != nil && f.Port != "" && n.cfg.Data {
					if p := n.port(r, string(f.Port)); p != nil {
						add(p, Changed, "")
					}
				}
			}
		}
	}
	return out
}

// turn is the event of a port's change of status. A status that is gone went with its port.
func turn(before, after *model.PortStatus) (name, status string) {
	was := ""
	if before != nil {
		was = before.Status
	}
	switch {
	case after == nil || after.Status == was:
		return "", ""
	case after.Status == model.StatusActive:
		return Plugged, completed
	case after.Status == model.StatusError:
		return Plugged, failed
	case was == model.StatusActive:
		return Unplugged, completed
	}
	return "", ""
}

// arriving reports whether a commit of statuses tells that a host is ready to which an instance migrates: Nova may wait for that
// before it lets the instance go. An activation, which writes the port too, makes the host that is left one of those, and is no news.
func arriving(r *store.LogRecord, port string, before, after *model.PortStatus) bool {
	return before != nil && after != nil && slices.ContainsFunc(after.Ready, func(n model.NodeID) bool { return !slices.Contains(before.Ready, n) }) &&
		!slices.ContainsFunc(r.Keys, func(k store.LogKey) bool { return k.Table == tables.Ports.Name() && k.Key == port })
}

// port is a port as a commit left it, or as it is now; nil: it is gone, and its deletion tells so.
func (n *Notifier) port(r *store.LogRecord, id string) *model.Port {
	for _, k := range r.Keys {
		if k.Table == tables.Ports.Name() && k.Key == id {
			return decode[model.Port](k.After)
		}
	}
	if p, ok := tables.Ports.Get(n.cfg.Store.Snapshot(), model.PortID(id)); ok {
		return &p
	}
	return nil
}

// isInstances reports whether the port is an instance's: Neutron tells Nova of these only.
func isInstances(p *model.Port) bool {
	return p.IsCompute() && uuid.Validate(p.DeviceID) == nil
}

// activeSince gives the events of all ports that became ACTIVE at or after a time.
func activeSince(r store.Reader, since time.Time) []Event {
	var out []Event
	for id, s := range tables.Statuses.All(r) {
		p, ok := tables.Ports.Get(r, id)
		if ok && s.Status == model.StatusActive && !s.Since.Before(since) && isInstances(&p) {
			out = append(out, Event{Name: Plugged, Server: p.DeviceID, Status: completed, Tag: string(id)})
		}
	}
	return out
}

// decode reads a record of the log; nil if it is absent. A form that is not understood is none of ours: an older version wrote it.
func decode[T any](raw json.RawMessage) *T {
	v := new(T)
	if raw == nil || json.Unmarshal(raw, v) != nil {
		return nil
	}
	return v
}
