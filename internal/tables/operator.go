// SPDX-License-Identifier: Apache-2.0

package tables

import (
	"strings"

	"nagare/internal/model"
	"nagare/internal/store"
)

// OperatorEntries are flows, groups and meters that operators wrote beside ours.
var OperatorEntries = store.Declare[model.OperatorEntryID, model.OperatorEntry](Schema, "operator-entries", store.Intent).
	Plane(func(e model.OperatorEntry) any { return e.OperatorEntryPlane })

// Indices of operators' entries.
var (
	// OperatorEntriesBySwitch finds those of a switch: model.SwitchID.
	OperatorEntriesBySwitch = store.DeclareIndex(Schema, OperatorEntries, "switch", func(e model.OperatorEntry) []string { return []string{model.SwitchID(e.Datapath)} })
	// OperatorFlowsByTable finds the flows of a table: OperatorTable.
	OperatorFlowsByTable = store.DeclareIndex(Schema, OperatorEntries, "table", func(e model.OperatorEntry) []string {
		if e.Kind != model.OperatorFlow {
			return nil
		}
		return []string{OperatorTable(e.Datapath, e.Table)}
	})
	// OperatorFlowsByPlace finds the flows of one table, priority and match: OperatorPlace.
	OperatorFlowsByPlace = store.DeclareIndex(Schema, OperatorEntries, "place", func(e model.OperatorEntry) []string {
		if e.Kind != model.OperatorFlow {
			return nil
		}
		return []string{OperatorPlace(e.Datapath, e.Text)}
	})
	// OperatorEntriesByNeed finds who names a group or meter: its id.
	OperatorEntriesByNeed = store.DeclareIndex(Schema, OperatorEntries, "need", func(e model.OperatorEntry) []string {
		return mapDistinct(e.Needs, func(id model.OperatorEntryID) string { return string(id) })
	})
	// NodesBySwitch finds the node that was given a datapath id: model.SwitchID.
	NodesBySwitch = store.DeclareIndex(Schema, Nodes, "switch", func(n model.Node) []string { return []string{model.SwitchID(n.DatapathID())} })
)

// OperatorTable is the key of OperatorFlowsByTable.
func OperatorTable(datapath uint64, table uint8) string {
	return model.SwitchID(datapath) + "/" + itoa(uint32(table))
}

// OperatorPlace is the key of OperatorFlowsByPlace for a flow's text: what makes it unique in its switch.
func OperatorPlace(datapath uint64, text string) string {
	place, _, _ := strings.Cut(text, " actions=")
	return model.SwitchID(datapath) + "/" + place
}

// NodeOperatorEntries: node -> entries of its switch.
var NodeOperatorEntries = declareNodeOperatorEntries()

func declareNodeOperatorEntries() *store.Derived {
	d := store.DeclareDerived(Schema, "node-operator-entries", func(r store.Reader, subject string) []store.Member {
		e, ok := OperatorEntries.Get(r, model.OperatorEntryID(subject))
		if !ok {
			return nil
		}
		n, ok := NodesBySwitch.First(r, model.SwitchID(e.Datapath))
		if !ok {
			return nil
		}
		return []store.Member{{Group: string(n.ID), Name: subject}}
	})
	store.From(d, OperatorEntries, func(_ store.Reader, e model.OperatorEntry) []string { return []string{string(e.ID)} })
	return store.From(d, Nodes, func(r store.Reader, n model.Node) (ids []string) {
		for e := range OperatorEntriesBySwitch.By(r, model.SwitchID(n.DatapathID())) {
			ids = append(ids, string(e.ID))
		}
		return ids
	})
}
