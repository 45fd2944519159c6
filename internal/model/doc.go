// SPDX-License-Identifier: Apache-2.0

// Package model holds nagare's objects as plain values: what tenants asked for (Network, Subnet, Port, SecurityGroup and its
// rules) and what nodes reported (Node, Plug, Interface, Link). It knows no store, no wire format and no other package of ours.
//
// Invariants: a value that has been put into the store is never changed again, neither the struct nor the slices and maps it
// holds; who wants a change copies first (Clone methods). Every object is split in two parts: an embedded …Plane struct, the
// data-plane part, which is all that rules may read, and the rest. A change that leaves the plane alone (a new name) therefore
// reruns nothing.
//
// Callers: internal/tables declares the tables of these types, the API adapters write intent, internal/southbound writes
// observations, internal/netvirt reads planes.
package model
