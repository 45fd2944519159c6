// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"

	"nagare/internal/compile"
	"nagare/internal/flow"
	"nagare/internal/model"
	"nagare/internal/southbound"
)

// wanted tells RESTCONF what is wanted of nodes, and what of it is not carried out.
type wanted struct{ hub *southbound.Hub }

func (w wanted) Owner(ctx context.Context, node model.NodeID, place flow.Key) (kind, object string, ok bool, err error) {
	err = w.hub.Do(ctx, func(e *compile.Engine) {
		var o compile.Owner
		o, ok = e.Owner(string(node), place)
		kind, object = o.Kind, o.Object
	})
	return kind, object, ok, told(err)
}

func (w wanted) Faults(ctx context.Context, node model.NodeID) (map[model.OperatorEntryID]string, error) {
	out := map[model.OperatorEntryID]string{}
	err := w.hub.Do(ctx, func(e *compile.Engine) {
		for _, f := range e.Faults(string(node)) {
			if f.Kind == "operator-entry" {
				out[model.OperatorEntryID(f.Object)] = f.Reason
			}
		}
	})
	for object, why := range w.hub.Refused(node) {
		if id := model.OperatorEntryID(object); model.IsOperatorEntry(id) {
			out[id] = why
		}
	}
	return out, told(err)
}
