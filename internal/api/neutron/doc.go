// SPDX-License-Identifier: Apache-2.0

// Package neutron serves the OpenStack Networking API v2.0 from the store.
//
// A collection is declared as data: a Resource lists its attributes, each with its parser, default, rights, visibility and
// uses in queries, and three functions that build, change and remove an object inside a transaction. Everything else is the
// engine's and the same for all: bodies, bulk, fields, filters, sorting, paging, tags, revisions, quota, policy and errors.
//
// Invariants: a request that writes is one store transaction, so it happens whole or not at all. Bad input gets a 4xx with a
// body {"NeutronError":{type,message,detail}} and changes nothing; a 5xx means that the store is not available. What a caller
// may not see it can neither read, nor filter or sort by, nor tell from what does not exist. Lists go through an index
// wherever a filter or the caller's project allows it. A page in order of ids reads its own rows alone; in another order everything
// that matches is gathered and sorted first, and only the page is encoded (TestPageCost counts the rows of both).
//
// Each file declares what it adds (registry.go), and docs/api.md is generated from that.
//
// Who may do what is built in by declaration (policy.go) under Neutron's names of rules (policyname.go, docs/policy.md); a policy file
// may decide by name instead (policyfile.go).
//
// Callers: internal/app creates the API, serves it, and calls PlaceDHCPPorts when nodes appear.
package neutron

//go:generate go run ./gen ../../../docs/api.md ../../../docs/policy.md
