// SPDX-License-Identifier: Apache-2.0

package tables

import (
	"cmp"
	"slices"

	"nagare/internal/model"
	"nagare/internal/store"
)

// Logs are the security logs that were asked for.
var Logs = store.Declare[model.LogID, model.Log](Schema, "security-logs", store.Intent).
	Plane(func(l model.Log) any { return l.LogPlane })

// Indices of logs.
var (
	LogsByProject = store.DeclareIndex(Schema, Logs, "project", func(l model.Log) []string { return []string{string(l.Project)} })
	LogsByName    = store.DeclareIndex(Schema, Logs, "name", func(l model.Log) []string { return []string{l.Name} })
	// LogsByGroup and LogsByPort find the logs that name a group or a port, and go with it.
	LogsByGroup = store.DeclareIndex(Schema, Logs, "group", func(l model.Log) []string { return some(string(l.Group)) })
	LogsByPort  = store.DeclareIndex(Schema, Logs, "port", func(l model.Log) []string { return some(string(l.Port)) })
	// enabledLogs finds the enabled logs by their scope.
	enabledLogs = store.DeclareIndex(Schema, Logs, "scope", func(l model.Log) []string {
		switch {
		case !l.Enabled:
			return nil
		case l.Port != "":
			return []string{"port|" + string(l.Port)}
		case l.Group != "":
			return []string{"group|" + string(l.Group)}
		}
		return []string{"project|" + string(l.Project)}
	})
)

// LogsOf are the enabled logs whose scope a port is in, in order of ids; none, if no group filters it. It costs a look-up for the
// port, its project and each of its groups.
func LogsOf(r store.Reader, p *model.Port) (out []model.Log) {
	if !p.IsFiltered() {
		return nil
	}
	out = slices.AppendSeq(out, enabledLogs.By(r, "port|"+string(p.ID)))
	out = slices.AppendSeq(out, enabledLogs.By(r, "project|"+string(p.Project)))
	for i, g := range p.SecurityGroups {
		if !slices.Contains(p.SecurityGroups[:i], g) {
			out = slices.AppendSeq(out, enabledLogs.By(r, "group|"+string(g)))
		}
	}
	slices.SortFunc(out, func(a, b model.Log) int { return cmp.Compare(a.ID, b.ID) })
	return out
}
