// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"bytes"
	"encoding/json"
	"iter"
	"maps"
	"net/http"

	"github.com/google/uuid"

	"nagare/internal/identity"
	"nagare/internal/store"
)

// Objects gives another adapter what the northbound's clients see, and lets it change the same by the same rules and transactions.
// Collections are named as in paths below Base; only those of objects of the model are known.
type Objects struct{ h *handler }

// NewObjects returns the objects of a northbound that is configured so. Auth and Ready are not asked: that is the other adapter's matter.
func NewObjects(cfg Config) *Objects { return &Objects{newHandler(cfg)} }

// shelf is a collection of objects of the model, whatever their type.
type shelf interface {
	object(e *env, id string) ([]byte, bool)
	objects(e *env) iter.Seq[[]byte]
	replace(w *work, id string, obj map[string]any) error
	remove(w *work, id string) error
}

func (c *core[T]) object(e *env, id string) ([]byte, bool) {
	o, ok := c.get(e.r, id)
	if !ok {
		return nil, false
	}
	return c.append(nil, e, &o, nil), true
}

func (c *core[T]) objects(e *env) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		var b []byte
		for o := range c.from(e.r, "") {
			if b = c.append(b[:0], e, &o, nil); !yield(b) {
				return
			}
		}
	}
}

// replace writes an object in the place of the one with its id, if there is one, whatever the revisions.
func (c *core[T]) replace(w *work, id string, obj map[string]any) error {
	obj["id"] = id
	delete(obj, "revision_number")
	delete(obj, "updated_at")
	it, err := c.parse(obj, "")
	if err != nil {
		return err
	}
	old, had := c.get(w.tx, id)
	if !had {
		return c.write(w, &it, nil)
	}
	it.in.rev = nil
	return c.write(w, &it, &old)
}

func (c *core[T]) remove(w *work, id string) error {
	old, had := c.get(w.tx, id)
	if !had {
		return c.gone(id)
	}
	return c.discard(w, id, &old)
}

// shelf finds a collection; its name is a constant of the caller.
func (o *Objects) shelf(collection string) shelf {
	return collections[collection].(shelf) //nolint:forcetypeassert // a wrong name is a mistake of the program
}

// Object gives one object as JSON, decoded; ok is false if there is none.
func (o *Objects) Object(r store.Reader, collection, id string) (obj map[string]any, ok bool) {
	b, ok := o.shelf(collection).object(&env{o.h, r}, id)
	if !ok {
		return nil, false
	}
	return decoded(b), true
}

// Objects gives all objects of a collection in order of their ids.
func (o *Objects) Objects(r store.Reader, collection string) iter.Seq[map[string]any] {
	return func(yield func(map[string]any) bool) {
		for b := range o.shelf(collection).objects(&env{o.h, r}) {
			if !yield(decoded(b)) {
				return
			}
		}
	}
}

// decoded reads what was written here, which needs none of the suspicion that a client's body does.
func decoded(b []byte) map[string]any {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any // into a map by its type, each member would be set by reflection
	if d.Decode(&v) != nil {
		return nil
	}
	m, _ := v.(map[string]any)
	return m
}

// Edit changes one object in one transaction: f gets what it is, nil if it is not there, and gives what it shall be, nil to have it
// removed; it may run more than once. Errors of f are given as they are; *Error is a refusal; others mean that nothing can be stored
// at present.
func (o *Objects) Edit(r *http.Request, who identity.Principal, collection, id string, f func(now map[string]any) (map[string]any, error)) error {
	rq := &request{handler: o.h, r: r, id: "req-" + uuid.NewString(), who: who}
	if err := rq.mayWrite(); err != nil {
		return err
	}
	s := o.shelf(collection)
	_, err := rq.commit(func(w *work) error {
		var now map[string]any
		if b, ok := s.object(&env{o.h, w.tx}, id); ok {
			now = decoded(b)
		}
		next, err := f(maps.Clone(now))
		switch {
		case err != nil:
			return err
		case next != nil:
			return s.replace(w, id, next)
		case now != nil:
			return s.remove(w, id)
		}
		return nil
	})
	return err
}

// Refusal is what the error says to a client of another adapter.
func (e *Error) Refusal() (status int, message string) { return e.Status, e.Message }
