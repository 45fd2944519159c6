// SPDX-License-Identifier: Apache-2.0

package store

import (
	"io"
	"log/slog"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		crashChild(dir)
		return
	}
	if dir := os.Getenv(damageDir); dir != "" {
		damageChild(dir)
		return
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	goleak.VerifyTestMain(m)
}

type thing struct {
	ID   string `json:"id"`
	N    int    `json:"n"`
	Kind string `json:"kind,omitempty"`
}

type testWorld struct {
	schema  *Schema
	a, b    *Table[string, thing]
	v       *Table[string, thing] // volatile
	byKind  *Index[string, thing]
	derived *Derived // kind -> ids
}

func newTestWorld() *testWorld {
	w := &testWorld{schema: NewSchema()}
	w.a = Declare[string, thing](w.schema, "a", Intent)
	w.b = Declare[string, thing](w.schema, "b", Allocated)
	w.v = Declare[string, thing](w.schema, "v", Volatile)
	w.byKind = DeclareIndex(w.schema, w.a, "kind", func(x thing) []string { return []string{x.Kind} })
	w.derived = DeclareDerived(w.schema, "kinds", func(r Reader, id string) []Member {
		x, ok := w.a.Get(r, id)
		if !ok {
			return nil
		}
		return []Member{{x.Kind, x.ID}}
	})
	From(w.derived, w.a, func(_ Reader, x thing) []string { return []string{x.ID} })
	return w
}
