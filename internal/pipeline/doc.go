// SPDX-License-Identifier: Apache-2.0

// Package pipeline is the OpenFlow pipeline of a managed bridge as data: each
// table's number, name, purpose, legal match fields and actions, following
// tables, miss behaviour and named priorities, and what registers and cookies
// mean.
//
// Invariants: a flow that Check refuses reaches no switch; goto only leads
// forward; the generated docs/pipeline.md is always that of the declaration
// (a test compares).
//
// Two profiles share the declaration. Standard is the default. Classic has the
// spine tables only and is no security boundary.
//
// Callers: internal/netvirt emits through Flow, internal/compile asks Check,
// internal/sim walks the tables, internal/cli explains with their names.
package pipeline

//go:generate go run ./gen ../../docs/pipeline.md
