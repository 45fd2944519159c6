// SPDX-License-Identifier: Apache-2.0

// Package compile is the engine that turns a snapshot into the desired state of every node: flows, groups, meters and OVSDB
// rows, each with an owner and a reason.
//
// A unit is one rule for one subject on one node. Its result is cached with what it read; a commit tells what it touched; the
// units that read one of those run again; equal output stops there, unequal output becomes the node's Delta. Incremental and
// from-scratch are the same functions, so they cannot differ except by a missed dependency, and dependencies are recorded,
// not declared.
//
// Invariants: rules are pure (snapshot in, emissions out; no clock, randomness, I/O or map order). Every flow has exactly one
// owner, or several that emitted it as Shared with equal content. Ownership is settled at the end of a round, releases first,
// so a match may move from one unit to another within one commit. Where two units claim one match, the lowest object id wins
// unless its rule yields, the other's object is in fault, the node goes on. A unit that panics is quarantined: it emits nothing and its object is in
// fault.
//
// Memory decides how large a cloud one process can hold, so everything of which there are millions is small: matches, action
// lists and subjects are kept once and counted, a unit with one flow and two reads is one object, and a flow's owner is all
// that a ledger holds.
//
// Where to read: rules.go and context.go (what a rule is and sees), engine.go (a round), run.go (one unit), query.go (work that
// nodes share), ledger.go (who owns what), delta.go (what changed), explain.go (why), then unit.go, set.go and deps.go (how it
// is kept).
//
// The package knows the store and flows but none of the models; internal/netvirt holds the rules, internal/southbound feeds
// snapshots in and carries deltas to the switches.
package compile
