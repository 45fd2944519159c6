// SPDX-License-Identifier: Apache-2.0

package model

import "net/netip"

// Ids of metering labels and of their rules.
type (
	MeteringLabelID string
	MeteringRuleID  string
)

// MeteringLabel names traffic that is to be counted; its rules say which. Nothing counts it yet.
type MeteringLabel struct {
	ID MeteringLabelID `json:"id"`
	Std
	Shared bool `json:"shared,omitempty"` // counts on the routers of every project
}

// MeteringRule says which traffic of routers a label counts, or with Excluded leaves out. Remote is the far end, in the older
// words; Source and Destination are as in the packet. An invalid prefix is any.
type MeteringRule struct {
	ID          MeteringRuleID  `json:"id"`
	Std                         // of the project of the label
	Label       MeteringLabelID `json:"metering_label_id"`
	Direction   Direction       `json:"direction"`
	Excluded    bool            `json:"excluded,omitempty"`
	Remote      netip.Prefix    `json:"remote_ip_prefix,omitzero"`
	Source      netip.Prefix    `json:"source_ip_prefix,omitzero"`
	Destination netip.Prefix    `json:"destination_ip_prefix,omitzero"`
}
