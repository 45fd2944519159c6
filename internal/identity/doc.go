// SPDX-License-Identifier: Apache-2.0

// Package identity is the built-in Identity v3 service of the stand-alone mode and the one table of users that every surface
// checks (API, admin API, CLI).
//
// Domains, projects, users, roles and assignments are records of the store. Passwords are kept as bcrypt hashes. A token is a
// signed statement of who asked for it and when it ends; it holds no rights: those are looked up at each use, so that losing a
// role, a password, a project or a user ends it at once, and a restart does not. Revoked tokens are remembered until they
// would have been of no use: two days beyond their end, for which a service token of another service lets them pass (admit.go).
//
// Other APIs take Basic as well (Authenticate): a password that was right is remembered for a minute as a keyed digest, because
// some clients send it with every request. Wrong ones are counted by user and by source address, and delay more and more.
//
// An application credential (appcred.go) is a user on one project with some of his roles; its tokens are limited to that, and end with it.
// It may have access rules (accessrule.go), each a method and paths of a service, beyond which its tokens are refused.
//
// Invariants: there is no default password; every error has the shape {"error":{"code","title","message"}}; an answer never
// says which part of a credential was wrong; no token or password is ever logged or returned.
//
// Callers: internal/app creates the Service and serves its Handler; internal/api/neutron asks Admit, the APIs of the
// admin port call Authenticate.
package identity
