// SPDX-License-Identifier: Apache-2.0

// Package policy reads and evaluates policy files in the form of OpenStack's oslo.policy: names of rules with check strings, as an
// operator writes them for Neutron ("create_network:shared": "rule:admin_only or role:netops").
//
// It is pure: Load makes a Set of a file's text and of the names and default check strings that the caller declares, and May
// decides from credentials and an object's attributes. What the built-in rules are in code is the caller's matter: a Set decides
// only what a file says something about, by itself or by a rule that its default refers to.
//
// Invariants: a name that nobody knows, an undefined reference, a cycle and a syntax error are faults of the whole file, named by line
// and rule; nothing is half loaded. What a check names and the object or the caller does not have makes the check fail.
//
// Several files count as one, in their order.
//
// Callers: internal/api/neutron declares the names and asks; internal/app reads the file.
package policy
