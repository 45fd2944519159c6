// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"slices"
	"strings"

	"nagare/internal/api/admin"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// Events follows the store's log for the admin API.
func (b backend) Events(ctx context.Context, after uint64, f func(es []admin.Event, lost bool) error) error {
	return b.s.store.Follow(ctx, store.Revision(after), func(rs []store.LogRecord, lost bool) error {
		es := make([]admin.Event, 0, len(rs))
		for _, r := range rs {
			e := admin.Event{Project: r.Project,
				Commit: admin.Commit{Revision: uint64(r.Revision), Request: r.Request, User: r.User, Action: r.Action, Time: r.Time}}
			for _, k := range r.Keys {
				if isInternal(k.Table) {
					continue
				}
				e.Changes = append(e.Changes, admin.Change{Kind: k.Table, ID: k.Key, Change: became(k)})
			}
			if len(e.Changes) > 0 {
				es = append(es, e)
			}
		}
		if len(es) == 0 && !lost {
			return nil
		}
		return f(es, lost)
	})
}

func became(k store.LogKey) string {
	switch {
	case k.Before == nil:
		return "created"
	case k.After == nil:
		return "deleted"
	}
	return "updated"
}

// isInternal reports whether the table holds nothing that anybody outside has a name for: what allocators keep, secrets, cursors.
func isInternal(table string) bool {
	return strings.HasPrefix(table, "identity-") || strings.HasPrefix(table, "nova-") || strings.HasPrefix(table, "alloc-") ||
		slices.Contains([]string{tables.Slots.Name(), tables.GroupSets.Name(), tables.FormerSets.Name()}, table)
}
