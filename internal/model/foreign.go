// SPDX-License-Identifier: Apache-2.0

package model

// Foreign is what another Neutron, which owns the intent, said of an object beyond what our model holds: of a network or a port
// the attributes that we have no use for, of a flow classifier everything, of a
// trunk the list of its sub-ports. It has no part in the data plane.
type Foreign struct {
	Kind string `json:"kind"` // the object's, in the singular: "port", "trunk"
	ID   string `json:"id"`
	// RevisionNo is that of an object of which there is nothing but this record.
	RevisionNo int `json:"revision_number,omitempty"`
	// Attrs is a JSON object of the attributes that the model does not hold.
	Attrs string `json:"attrs,omitempty"`
	// Forms is a JSON object of the exact form of attributes that the model does hold, if it is not the one that we would write;
	// null means that the attribute was not there.
	Forms string `json:"forms,omitempty"`
}

// ForeignKey is the store key of a Foreign.
func ForeignKey(kind, id string) string { return kind + "|" + id }
