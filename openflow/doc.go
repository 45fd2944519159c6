// SPDX-License-Identifier: Apache-2.0

// Package openflow speaks OpenFlow 1.3 with the Nicira and ONF extensions of
// Open vSwitch: the codec for matches, actions, instructions and messages, and
// Conn, a thin driver for one session with one switch.
//
// Invariants:
//
//   - Encoders append to a caller's buffer and allocate nothing else; they
//     never fail. Lengths are fixed up in place.
//   - Decoders check every bound, never panic, and keep what they do not know
//     as raw bytes, so that re-encoding what was decoded gives the same bytes.
//   - CanonicalMatch and CanonicalInstructions map what a controller sends and
//     what the switch dumps of it to equal bytes; reconciliation compares
//     bytes and nothing else.
//
// A match is its OXM TLV bytes, without the ofp_match header and its padding.
// Instructions and actions are their wire bytes too: internal/flow keeps them
// encoded and hands them to AppendFlowMod unchanged. The typed structs are for
// building and for reading, not for storing.
//
// References: OpenFlow Switch Specification 1.3.5 (ONF TS-023), ONF extension
// EXT-230 (bundles), ovs-fields(7), ovs-actions(7).
package openflow
