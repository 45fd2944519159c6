// SPDX-License-Identifier: Apache-2.0

package model

// ConntrackHelperID is the id of a ConntrackHelper.
type ConntrackHelperID string

// HelperPlane is the data-plane part of a ConntrackHelper.
type HelperPlane struct {
	Router   RouterID `json:"router_id"`
	Protocol string   `json:"protocol"` // the one that the helper is for: see HelperProtocols
	Port     uint16   `json:"port"`     // to which control connections are opened
	Helper   string   `json:"helper"`
}

// ConntrackHelper has a router's connection tracker read what connections to a port agree on, so that those that they lead to are
// translated too. Its project is the router's.
type ConntrackHelper struct {
	ID ConntrackHelperID `json:"id"`
	Std
	HelperPlane
}

// HelperProtocols are the helpers that Open vSwitch has (ovs-actions(7), "ct", alg), with their protocols.
var HelperProtocols = map[string]string{"ftp": "tcp", "tftp": "udp"}
