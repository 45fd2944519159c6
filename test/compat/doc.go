// SPDX-License-Identifier: Apache-2.0

// Package compat runs real clients of OpenStack against the network and identity services on loopback ports: the openstack
// command and gophercloud.
//
// The services are the real ones on a store in memory; only switches are missing. Nothing is skipped silently: without the
// openstack command the test fails, unless NAGARE_NO_OPENSTACK=1 says that it is known to be absent.
package compat
