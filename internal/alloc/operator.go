// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// PutOperatorEntry writes what an operator wants, with the key that it has, or one of its own if it is new. The error is an
// *ExhaustedError.
func PutOperatorEntry(tx *store.Txn, e model.OperatorEntry) error {
	old, known := tables.OperatorEntries.Get(tx, e.ID)
	if e.Key = old.Key; !known {
		key, err := NextKey(tx, Operator)
		if err != nil {
			return err
		}
		e.Key = key
	}
	tables.OperatorEntries.Put(tx, e.ID, e)
	return nil
}
