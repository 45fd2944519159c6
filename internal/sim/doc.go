// SPDX-License-Identifier: Apache-2.0

// Package sim is Open vSwitch switches in memory: a Switch holds compiled flows
// and groups and tells what becomes of a packet; a Fabric joins switches by
// tunnels and wires and tells who receives it. A Fabric may grow where packets go
// (Beyond), and its traces are steps for programs as well as text.
//
// Invariants: nothing happens by chance or by clock, so the same packets give
// the same result; what the simulator does not model ends in Result.Errors and
// never passes for a drop. Tests compare it with `ovs-appctl ofproto/trace`.
//
// It models priorities, conjunctions, goto, resubmit, clone, groups, set-field,
// load, move, VLAN tags, TTL, connection tracking with zones, marks, labels and
// address translation, and output. It does not model buffers, meters' rates,
// time-outs or fragments.
//
// Callers: property tests of internal/netvirt, internal/app for `nagare trace`.
package sim
