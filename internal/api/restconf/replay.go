// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"slices"
	"time"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// Neutron holds a port DOWN until it hears ACTIVE, and when its socket is back it asks for unbound ports alone: an ACTIVE that
// falls into the half minute before it is back is never asked for, and the instance fails. So whoever subscribes to ports is first told
// again of those that became ACTIVE lately. To hear of one twice does no harm.

// Bounds of what is told again. Nova waits five minutes for a port.
const (
	replayAge  = 5 * time.Minute
	replayMost = 5000 // the latest
)

// lately are the ports that became ACTIVE, oldest first.
type lately struct{ ports []activation }

type activation struct {
	id model.PortID
	at time.Time
}

// add notes the ports of changes that are ACTIVE now.
func (l *lately) add(changes []change, now time.Time) {
	for i := range changes {
		c := &changes[i]
		if c.path == portsStream.path && c.op != deleted && c.leaves[0].value == model.StatusActive {
			l.ports = append(l.ports, activation{model.PortID(c.keys[0].value), now})
		}
	}
	l.trim(now)
}

// trim forgets what is too old or too much.
func (l *lately) trim(now time.Time) {
	old := max(0, len(l.ports)-replayMost)
	for old < len(l.ports) && now.Sub(l.ports[old].at) > replayAge {
		old++
	}
	l.ports = l.ports[old:]
}

// load notes what was told shortly before this process began, and perhaps not heard. It reads all statuses, once.
func (l *lately) load(r store.Reader, now time.Time) {
	for id, s := range tables.Statuses.All(r) {
		if s.Status == model.StatusActive && now.Sub(s.Since) <= replayAge {
			l.ports = append(l.ports, activation{id, s.Since})
		}
	}
	slices.SortStableFunc(l.ports, func(a, b activation) int { return a.at.Compare(b.at) })
	l.trim(now)
}

// changes are those to tell again: of the ports that are still ACTIVE, each once.
func (l *lately) changes(cfg *Config, r store.Reader, now time.Time) (out []change) {
	l.trim(now)
	seen := map[model.PortID]bool{}
	for _, a := range l.ports {
		if status, ok := cfg.portStatus(r, a.id); ok && status == model.StatusActive && !seen[a.id] && now.Sub(a.at) <= replayAge {
			seen[a.id] = true
			out = append(out, change{path: portsStream.path, list: "port", op: updated, keys: []leaf{{"uuid", string(a.id)}}, leaves: []leaf{{"status", status}}})
		}
	}
	return out
}
