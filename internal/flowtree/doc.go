// SPDX-License-Identifier: Apache-2.0

// Package flowtree says flows, groups and meters in the tree of flow-node-inventory and its types, and reads them from it.
//
// What the public modules have no leaf for is said in the words of ovs-ofctl: conditions in the list nagare-inventory:field of a match,
// actions in the leaf nagare-inventory:ovs-action. So every flow that internal/flow can write as text can be said, and is read back as
// the same flow.
//
// Reading is strict where a switch would be: a condition needs its prerequisites (OpenFlow 1.3.5 section 7.2.3.8) as conditions of
// their own, a value must fit, an instruction stands once. Faults name the leaf. Leaves that say how a flow is sent, or who may see it
// (strict, barrier, flow-name, ...), are no part of a flow and are passed over; what a flow could not keep, such as a timeout, is the
// caller's to refuse.
//
// Invariants: Read*(Put*(x)) == x for every x that a switch holds in canonical form and that ovs-ofctl could write. Nothing here panics,
// whatever the data.
//
// Callers: internal/api/restconf.
package flowtree
