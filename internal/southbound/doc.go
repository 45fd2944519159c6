// SPDX-License-Identifier: Apache-2.0

// Package southbound connects nodes: it listens for their OVSDB and OpenFlow sessions, records what they report, carries the
// desired state to them and knows how far each one has come.
//
// The Hub owns the compile engine and follows the store. Each node has one loop that compares desired with actual and sends
// the difference in phases: OVSDB additions, meters, one bundle of flows and groups (several if they are thousands), a barrier,
// then OVSDB deletions. A node's confirmed revision moves only when its barrier has answered; port status, waiters and health
// come from that number alone.
//
// Invariants: nothing is removed from a switch before the store is loaded and the node has reported all its interfaces
// (never prune from ignorance), so a restart with unchanged intent sends nothing. A node's identity is pinned at first
// contact; a second claimant is refused and changes nothing. Only OVSDB rows that carry our mark are changed or deleted.
//
// Callers: internal/app starts Hub and Listeners; internal/api/admin asks the Hub.
package southbound
