// SPDX-License-Identifier: Apache-2.0

package restconf

import (
	"errors"
	"net/http"

	"github.com/google/uuid"

	"nagare/internal/alloc"
	"nagare/internal/flow"
	"nagare/internal/flowtree"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/internal/yang"
)

// editOperator changes an entry of operators in one transaction.
func (t *tree) editOperator(path, kind string) editor {
	return func(c *call, keys []string, f func(*yang.Data) (*yang.Data, error)) error {
		if !c.who.CanWrite() || !c.who.IsAdmin() {
			return &fault{http.StatusForbidden, "protocol", "access-denied", "flows, groups and meters of switches are written by administrators; user " + c.who.UserName + " is none"}
		}
		id, dp, ok := operatorID(kind, keys)
		if !ok {
			return invalid("%q is no switch: want openflow: and the datapath id in decimal", keys[0])
		}
		w := &operatorWrite{call: c, tree: t, path: path, kind: kind, id: id, datapath: dp, f: f}
		if len(keys) > 2 {
			w.table = tableOf(keys[1])
		}
		w.name = keys[len(keys)-1]
		// Who else wants the place is asked before, since the answer takes the engine's time; what comes to want it meanwhile makes a
		// fault of the entry, as it would later.
		e, err := w.next(c.cfg.Store.Snapshot())
		if err == nil && e != nil && kind == model.OperatorFlow {
			err = w.free(e)
		}
		if err != nil {
			return err
		}
		o := store.Origin{Request: "req-" + uuid.NewString(), User: c.who.UserID, Project: string(c.who.ProjectID), Action: c.r.Method + " " + c.r.URL.Path}
		_, err = c.cfg.Store.Commit(c.r.Context(), o, w.commit)
		var full *alloc.ExhaustedError
		if errors.As(err, &full) {
			return &fault{http.StatusConflict, "application", "resource-denied", full.Error()}
		}
		return err
	}
}

// operatorWrite is a change of one entry.
type operatorWrite struct {
	*call
	tree     *tree
	path     string
	kind     string
	id       model.OperatorEntryID
	datapath uint64
	table    uint8
	name     string
	f        func(*yang.Data) (*yang.Data, error)
}

// next gives the entry as it shall be, nil if it shall go.
func (w *operatorWrite) next(r store.Reader) (*model.OperatorEntry, error) {
	var now *yang.Data
	if e, ok := tables.OperatorEntries.Get(r, w.id); ok {
		now = w.tree.operatorEntry(w.path, &e)
	}
	d, err := w.f(now)
	if err != nil {
		return nil, err
	}
	if d == nil {
		return nil, w.unused(r)
	}
	if _, ok := tables.NodesBySwitch.First(r, model.SwitchID(w.datapath)); !ok {
		return nil, &fault{http.StatusNotFound, "application", "data-missing", "there is no switch " + model.SwitchID(w.datapath) + "; see `nagare nodes` for the datapath ids of those there are"}
	}
	e := &model.OperatorEntry{OperatorEntryPlane: model.OperatorEntryPlane{ID: w.id, Datapath: w.datapath, Kind: w.kind}, Table: w.table, Name: w.name,
		Config: string(d.AppendJSON(nil))}
	if err := w.read(e, d); err != nil {
		return nil, modelFault(err)
	}
	return e, w.there(r, e, d)
}

// read says what an entry means.
func (w *operatorWrite) read(e *model.OperatorEntry, d *yang.Data) error {
	node := model.SwitchID(w.datapath)
	switch w.kind {
	case model.OperatorFlow:
		f, err := flowtree.ReadFlow(d, node, w.table)
		if err != nil {
			return err
		}
		if err := w.checkFlow(d, f); err != nil {
			return err
		}
		e.Text, e.Needs = f.String(), w.needs(f)
	case model.OperatorGroup:
		g, err := flowtree.ReadGroup(d, node)
		if err != nil {
			return err
		}
		if err := w.checkGroup(d, g); err != nil {
			return err
		}
		e.Text = g.String()
	default:
		m, err := flowtree.ReadMeter(d)
		if err != nil {
			return err
		}
		if err := w.checkMeter(d, m); err != nil {
			return err
		}
		e.Text = m.String()
	}
	return w.checkText(d, e)
}

func (w *operatorWrite) commit(tx *store.Txn) error {
	e, err := w.next(tx)
	switch {
	case err != nil:
		return err
	case e == nil:
		tables.OperatorEntries.Delete(tx, w.id)
		return nil
	}
	if e.Kind == model.OperatorFlow {
		for other := range tables.OperatorFlowsByPlace.By(tx, tables.OperatorPlace(e.Datapath, e.Text)) {
			if other.ID != e.ID {
				return taken("entry", string(other.ID))
			}
		}
	}
	return alloc.PutOperatorEntry(tx, *e)
}

// unused refuses to remove what flows name.
func (w *operatorWrite) unused(r store.Reader) error {
	if e, ok := tables.OperatorEntriesByNeed.First(r, string(w.id)); ok {
		return &fault{http.StatusConflict, "application", "in-use", string(w.id) + " is named by " + string(e.ID) + "; change that first"}
	}
	return nil
}

// there refuses to name groups and meters that operators have not written for the switch.
func (w *operatorWrite) there(r store.Reader, e *model.OperatorEntry, d *yang.Data) error {
	for _, id := range e.Needs {
		if _, ok := tables.OperatorEntries.Get(r, id); !ok {
			leaf := d
			for _, kind := range []string{"group-id", "meter-id", "ovs-action"} {
				if x := leafNaming(d, kind, string(id)); x != nil {
					leaf = x
				}
			}
			return modelFault(&yang.Fault{Tag: yang.TagInvalid, Path: leaf.Path(), Msg: "there is no " + string(id) + " in the configuration; write it first"})
		}
	}
	return nil
}

// free refuses a place that a flow of ours has.
func (w *operatorWrite) free(e *model.OperatorEntry) error {
	n, ok := tables.NodesBySwitch.First(w.cfg.Store.Snapshot(), model.SwitchID(e.Datapath))
	f, err := flow.ParseFlow(e.Text)
	if !ok || err != nil || w.cfg.Desired == nil {
		return err
	}
	kind, object, has, err := w.cfg.Desired.Owner(w.r.Context(), n.ID, f.Key())
	if err != nil || !has || model.OperatorEntryID(object) == e.ID {
		return err
	}
	return taken(kind, object)
}

func taken(kind, object string) error {
	return &fault{http.StatusConflict, "application", "in-use", "the switch has a flow with this table, priority and match already, because of " + kind + " " + object + "; take another priority"}
}
