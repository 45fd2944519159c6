// SPDX-License-Identifier: Apache-2.0

// Package oftest is the switch side of OpenFlow 1.3 in memory: it dials a
// controller and answers as Open vSwitch would. It forwards no packets, but its
// flow, group and meter tables, bundles, roles and error replies are real, and
// it is light enough for thousands of switches in one process. Tests and fleet
// simulations use it; it can also be told to misbehave.
//
// Invariants: the tables outlive a session, as in a switch; a bundle takes
// effect entirely or not at all; flows are kept under (table, priority,
// canonical match).
package oftest
