// SPDX-License-Identifier: Apache-2.0

// Package e2e tests the whole: the built program on real Open vSwitch, with real instances, as its users meet it.
//
// Each test raises a laboratory of its own with the program's own command ("nagare lab up") under a name, a directory and a
// loopback address that nobody else uses, and takes it down at the end. What the program says of itself is not believed: flows
// and ports are read with ovs-ofctl and ovs-vsctl, packets are sent and counted by the tests. Nothing is skipped: without root
// or Open vSwitch the tests fail.
//
// NAGARE_BIN names the program; without it the package builds one. `make e2e` runs it all.
package e2e
