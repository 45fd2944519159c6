// SPDX-License-Identifier: Apache-2.0

// Package api tests the Neutron API as many clients at once see it: over HTTP, with the durable store underneath.
//
// Three questions. Does anything come apart when requests race (addresses given twice, children of parents that are gone,
// quotas passed)? Is every answer one that some serial order of the requests gives? And what does a request cost, durable
// when it is answered?
//
// The second question is settled by the log. Each commit in it names the request that caused it, so the order in which the
// store carried the writes out is known; serial_test.go says what is held against it and what is not.
//
// Bounds on slow and large requests are tested where they are set, in internal/app; here only that the API itself reads no
// more of a body than its limit. That nothing acknowledged is lost by kill -9 is tested in internal/store, test/odl and
// test/e2e.
//
// Callers: none. The package has tests and benchmarks only.
package api
