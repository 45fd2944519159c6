// SPDX-License-Identifier: Apache-2.0

// Package ovsdb speaks the Open vSwitch Database protocol, RFC 7047, with the
// monitor_cond and monitor_cond_since extensions of ovsdb-server(7).
//
// It has three layers. Values (Atom, Set, Map, Fields, Row), operations (Op, Txn)
// and Schema are plain data with a bounded JSON codec. Session is one connection,
// accepted or dialled, over any net.Conn. Mirror is the content of chosen tables,
// kept across sessions, and hands its one consumer the differences in order.
//
// Invariants: columns are untyped, so a server that lacks a column or has one more
// is no error; nothing a peer sends makes the package panic, wait for a busy caller
// or hold more memory than Options allows; rows are immutable once handed out.
//
// The southbound adapter runs one Session and one Mirror per node; package
// ovsdbtest is the other end of the wire, for tests and fleets.
package ovsdb
