// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// Host configurations are what a node publishes for OpenStack's binding of ports, in external_ids of its Open_vSwitch row: one
// JSON text for each key with this prefix, whose rest names the kind of agent (odl_l2: "ODL L2"). They are recorded as they
// are and never read here: what they say is between the node's operator and Neutron.
const hostConfigPrefix = "odl_os_hostconfig_config_odl_"

// Bounds of what one node may have recorded, so that a hostile one cannot fill the store.
const (
	maxHostConfigs     = 16
	maxHostConfigBytes = 64 << 10
	maxHostTypeChars   = 8 // of the key's rest; OpenDaylight cuts there
)

// readHostConfigs gives the configurations by type, nil for none. Of two keys that are one type after the cut, the first in
// order of names counts. Whatever is left out is named in refused.
func readHostConfigs(ext map[string]string) (out map[string]string, refused []string) {
	var keys []string
	for k := range ext {
		if strings.HasPrefix(k, hostConfigPrefix) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		suffix := []rune(strings.TrimPrefix(k, hostConfigPrefix))
		kind := "ODL " + strings.ToUpper(string(suffix[:min(len(suffix), maxHostTypeChars)]))
		_, dup := out[kind]
		switch {
		case len(suffix) == 0:
		case dup, len(out) == maxHostConfigs, len(ext[k]) > maxHostConfigBytes, !utf8.ValidString(k + ext[k]):
			refused = append(refused, k)
		default:
			if out == nil {
				out = map[string]string{}
			}
			out[kind] = ext[k]
		}
	}
	return out, refused
}

// warnHostConfigs tells the operator what Neutron will stumble over, once for each change of it.
func warnHostConfigs(log *slog.Logger, before map[string]string, c claim) {
	for kind, text := range c.HostConfigs {
		if text != before[kind] && !json.Valid([]byte(text)) {
			log.Warn("host configuration is not JSON; it is served as it is, and Neutron will not bind ports by it: correct the key on the node",
				"type", kind, "key", hostConfigPrefix+"...", "bytes", len(text))
		}
	}
	if len(c.refused) > 0 {
		log.Warn("host configurations left out: of a type that another key has, more than fit, too long or not UTF-8", "keys", strings.Join(c.refused, " "))
	}
}

// withdraw records at once that nobody is under the node's name any more: its switch calls itself otherwise by now. The grace
// time is for those who are silent, not for those who have said that they left.
func (h *Hub) withdraw(ctx context.Context, id model.NodeID) error {
	_, err := h.cfg.Store.Commit(ctx, origin(id, "left its name"), func(tx *store.Txn) error {
		markLost(tx, id)
		return nil
	})
	return err
}

// recordLost writes into the records of nodes that they count as lost, unless they have come back meanwhile.
func (h *Hub) recordLost(ctx context.Context, ids []model.NodeID) error {
	_, err := h.cfg.Store.Commit(ctx, store.Origin{User: "nagare", Action: "nodes lost"}, func(tx *store.Txn) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, id := range ids {
			if t := h.nodes[id]; t != nil && t.db == nil && t.lost {
				markLost(tx, id)
			}
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		h.log.Error("lost nodes not recorded; it will be tried again", "nodes", len(ids), "error", err)
	}
	return err
}

// Connected reports whether a node has an OVSDB session.
func (h *Hub) Connected(id model.NodeID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.nodes[id]
	return t != nil && t.db != nil
}

func markLost(tx *store.Txn, id model.NodeID) {
	if n, ok := tables.Nodes.Get(tx, id); ok && n.Lost.IsZero() {
		n.Lost = time.Now().UTC()
		tables.Nodes.Put(tx, id, n)
	}
}

// markFound takes that back.
func markFound(tx *store.Txn, id model.NodeID) {
	if n, ok := tables.Nodes.Get(tx, id); ok && !n.Lost.IsZero() {
		n.Lost = time.Time{}
		tables.Nodes.Put(tx, id, n)
	}
}
