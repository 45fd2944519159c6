// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"fmt"
	"testing"

	"nagare/internal/store"
	"nagare/internal/store/storetest"
)

// TestConformance runs the suite over every log.
func TestConformance(t *testing.T) {
	endpoint, places := store.StartEtcd(t, 512), 0
	for _, b := range []storetest.Backend{
		{Name: "memory", Place: func(testing.TB) func() store.Options {
			m := store.NewMemory(store.Limits{})
			return func() store.Options { return store.Options{Log: m.Log()} }
		}},
		{Name: "embedded", Place: func(t testing.TB) func() store.Options {
			dir := t.TempDir()
			return func() store.Options { return store.Options{DataDir: dir} }
		}},
		{Name: "external", Place: func(t testing.TB) func() store.Options {
			places++
			prefix := fmt.Sprintf("/place%d/", places)
			return func() store.Options { return store.Options{Endpoints: []string{endpoint}, Prefix: prefix} }
		}},
	} {
		t.Run(b.Name, func(t *testing.T) { storetest.Run(t, b) })
	}
}
