// SPDX-License-Identifier: Apache-2.0

// Package netvirt holds the rules: what a network, a port, a group or a node demands of each bridge. One file per concern,
// plain functions from what they read to what they emit.
//
// Invariants: rules are pure and read only through their Context; they tolerate missing parents (the unit emits nothing and
// the object is pending); they emit only what the declared pipeline allows. A rule names the port numbers of its own node
// only, so a node that restarts its switch changes no other node's flows.
//
// Callers: internal/app picks the rulebook of the configured profile and gives it to the engine of internal/compile.
package netvirt
