// SPDX-License-Identifier: Apache-2.0

// Package odl is a model of a Neutron that runs networking-odl's second driver, made from what is known of its behaviour on
// the wire, and the tests of our OpenDaylight northbound against it.
//
// A Neutron holds the intent: networks, ports, routers and so on as OpenStack's users made them. Each change writes rows into
// its journal in the same step. Workers claim rows and send them, with dependencies, six attempts without a pause, patience
// for a connection that is refused and none for a slow answer; maintenance resets rows of workers that died, brings everything
// back when the canary network is missing, and recovers rows that failed. Bodies have the fields and the oddities that such a
// Neutron sends, among them those that differ between create, update and full synchronisation.
//
// Invariants: the journal neither sleeps nor reads a clock: time is Neutron.Now, which the test moves. With one seed a History makes the
// same changes each time. What Neutron wants is in its objects and nowhere else; no part looks at the server's insides, and the
// package imports nothing of ours outside its tests.
//
// Where to read: neutron.go and the files beside it (the intent), body.go (what is sent of it), journal.go and worker.go (how),
// maintain.go (the healing), wire.go (faults of the way), judge.go (whether the server agrees).
//
// Callers: the tests of this package (properties, kills, benchmarks) and test/e2e.
package odl
