// SPDX-License-Identifier: Apache-2.0

// Package ovsdbtest is an OVSDB server in memory with the Open_vSwitch database,
// for tests and for fleets of simulated switches: the other end of package ovsdb.
//
// It is a real implementation of RFC 7047 for one database: all operations with
// named-uuid, wait and mutate, garbage collection of rows that nothing refers to,
// weak references, index and type checks, three kinds of monitor, locks, echo. It
// does not keep anything on disk. It plays ovs-vswitchd lightly: see Options.
//
// A Server costs a few kilobytes and no goroutine by itself, one goroutine per
// connection; thousands fit into one process.
package ovsdbtest
