// SPDX-License-Identifier: Apache-2.0

// Package alloc hands out what objects need and nobody asked for by name: short keys, segmentation ids, MAC and IP addresses,
// ids, and places for DHCP ports and for routers' gateways.
//
// Every allocator runs inside the transaction that needs the value, and keeps what it must remember in tables of its own, so
// an aborted transaction takes its allocations back and a committed one has them durable together with the object.
//
// Invariants: a key is not handed out again before its range wraps. What is in use is decided by the objects' own indices
// alone; the records of this package (cursors, holes) only say where to look first, so a lost or stale one costs time, never
// a double allocation. No allocator walks the objects of a network or a subnet: the cost is constant, amortised.
//
// Callers: the API adapters when they create or delete objects, southbound sessions when they enrol a node.
package alloc
