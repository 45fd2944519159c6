// SPDX-License-Identifier: Apache-2.0

// Package odl serves OpenDaylight's Neutron northbound, /controller/nb/v2/neutron, so that an unmodified Neutron with
// networking-odl can have nagare in OpenDaylight's place.
//
// The other Neutron owns the intent, and we believe it: ids, addresses, MACs, segmentation ids and bindings are taken as they come, children
// before their parents, an object twice, requests late. Networks, subnets, ports, routers, floating IPs, groups, rules, QoS policies
// and trunks become the objects of internal/model, with keys, slots and places from internal/alloc, so that they compile as if they
// had come by our own Neutron API. What the client says beyond the model is kept beside it (model.Foreign) and served again.
// Collections of which we have no model (chains, BGP VPNs, gateways, balancers ...) are such records and nothing else, so that a
// full sync succeeds.
//
// Invariants: a request that writes is one store transaction, bulk included. A 4xx has changed nothing, and a 5xx means that the
// store is not available. Until the store is loaded every answer is 503: a 404 or an empty list that is not true makes the client
// send everything again. A PUT replaces, but for the attributes that the client never sends twice; one with an older revision
// is ignored. What is refused is malformed, never early.
//
// Where to read: resource.go (how a request becomes a transaction), input.go (how a body is read), port.go as an example of a
// collection, extension.go for those that are only kept.
//
// Callers: internal/app mounts the handler and decides which northbound may write.
package odl
