// SPDX-License-Identifier: Apache-2.0

// Package store keeps nagare's state: typed, versioned tables over immutable radix trees, with lock-free snapshots, tracked
// reads, secondary indices, derived tables and exact sets of what a commit touched.
//
// A Schema declares tables, indices and derived tables once, at program start. A Store holds one state of that schema. Writers
// call Commit with a function over a Txn; transactions run one after another against the newest state, and readers see a
// transaction whole or not at all. Readers take a Snapshot and keep it as long as they like. The rules engine reads through a
// Tracked reader, which records each read as a Dep; a commit yields the Deps that it touched, so "what must be computed again"
// is an intersection and nothing is forgotten.
//
// Tables are persistent or volatile. Persistent records are made durable by a Log (etcd) before anybody sees them; volatile
// ones (what a live session reports) share the transactions and snapshots, and vanish with the process.
//
// Invariants: values are immutable once put. Revision counts commits that changed a persistent record, Seq counts all
// published states of this process. The package knows none of nagare's models; internal/tables declares them.
//
// Callers: internal/tables (declarations), API adapters and southbound sessions (Commit), internal/compile (Tracked, Watch),
// everybody (Snapshot).
package store
