// SPDX-License-Identifier: Apache-2.0

// Package yang knows data by its YANG modules (RFC 7950): which nodes there are, which values they take, and how instances are
// written in JSON (RFC 7951) and XML.
//
// Modules are parsed by goyang when the program starts and compiled into a Schema; one that uses what is not evaluated here is
// refused then, by name and line, so that no constraint is ever silently ignored. What is understood: containers, lists, leaves,
// leaf-lists, choices, rpcs, notifications, groupings, augments, identities, all built-in types but bits and instance-identifiers with
// require-instance, patterns that Go's regexp can express, and when and must in the subset of XPath that xpath.go states. Not
// understood, and refused: anydata, anyxml, actions, deviations and features.
//
// Data is a tree of instances that belongs to one request or one answer: what is served for long stays in typed tables elsewhere and
// becomes Data entry by entry. Values are kept in their canonical form (RFC 7950 section 9), so that equal values are equal strings.
//
// Invariants: a Schema never changes after Load and may be used by many goroutines. Parsing never gives Data of a node that the
// schema lacks, nor a value outside its type. Errors name the path and carry the tag of RFC 8040 section 7.
//
// Callers: internal/api/restconf.
package yang
