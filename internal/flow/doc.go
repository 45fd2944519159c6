// SPDX-License-Identifier: Apache-2.0

// Package flow holds what a node's switch is told, as small comparable values:
// flows, groups and meters.
//
// Invariants:
//
//   - Match and Actions are canonical wire bytes: what the switch dumps of a
//     flow, canonicalised, is == to what was built here, and sending a flow is
//     a copy.
//   - Equal meaning is equal bytes as far as one field or one action goes: a
//     register written through xxreg2 is reg8..reg11, a mask of all ones is no
//     mask, a mask of zeros is no term.
//   - String and ParseFlow are inverses: the text is what
//     `ovs-ofctl --no-names dump-flows` of Open vSwitch 3.1 prints, in the line
//     form "table=n,priority=p[,match] actions=list" (Normalise).
//
// Builders (M, Do) take well-typed values and cannot fail; contradicting terms
// are an error in the calling rule and panic. Parsers never panic.
//
// Callers: internal/netvirt builds, internal/pipeline checks, internal/compile
// compares, internal/southbound sends and reads back, internal/sim walks, the
// tests and the command line print.
package flow
