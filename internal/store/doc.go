// SPDX-License-Identifier: Apache-2.0

// Package store keeps nagare's state: typed, versioned tables over immutable trees, with lock-free snapshots, tracked
// reads, secondary indices, derived tables and exact sets of what a commit touched, made durable by etcd.
//
// A Schema declares tables, indices and derived tables once, at program start. A Store holds one state of that schema. Writers
// call Commit with a function over a Txn; transactions run one after another against the newest state, and readers see a
// transaction whole or not at all. Readers take a Snapshot and keep it as long as they like. The rules engine reads through a
// Tracked reader, which records each read as a Dep; a commit yields the Deps that it touched, so "what must be computed again"
// is an intersection and nothing is forgotten.
//
// There are two heads. Transactions run on the speculative head, one after another, and gather in a batch while the batch
// before is being written to the Log (group commit). Readers, watches and callers learn of a transaction when it is durable.
// If the log does not confirm a batch, everything after the committed head is dropped, its callers get ErrUnavailable, and
// the store takes the log over again, reads where it stands and goes on from there; a batch that had landed is then
// published. The log is fenced: of two processes only the one that took it over last can write.
//
// Tables are persistent or volatile. Volatile ones (what a live session reports) share the transactions, their order and the
// snapshots, never touch the log, and vanish with the process.
//
// Invariants: values are immutable once put. Revision counts commits that changed a persistent record, without gaps; Seq
// counts all published states of this process. What Commit confirmed survives a crash at any point, and nothing of a commit
// survives alone. The package knows none of nagare's models; internal/tables declares them.
//
// Where to read: txn.go (a transaction and what it touches), commit.go and flush.go (two heads), log.go (what durability
// means), etcd.go and embed.go (how it is done), history.go (what the log answers).
//
// Callers: internal/tables (declarations), API adapters and southbound sessions (Commit), internal/compile (Tracked, Watch),
// everybody (Snapshot).
package store
