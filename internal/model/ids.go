// SPDX-License-Identifier: Apache-2.0

package model

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// Ids of API objects are UUIDs in their text form (RFC 9562, lower case). A NodeID is a host id as an operator names it.
type (
	NetworkID           string
	SubnetID            string
	PortID              string
	SecurityGroupID     string
	SecurityGroupRuleID string
	AddressGroupID      string
	RouterID            string
	FloatingIPID        string
	ProjectID           string
	NodeID              string
)

// Key is the short number of an object, handed out once per kind and never reused before it wraps: 24 bits for networks,
// subnets, ports, nodes and sets of groups, 32 bits for rules. Registers, cookies and group ids carry it. 0 means none.
type Key uint32

// MAC is an Ethernet address. It is comparable, unlike net.HardwareAddr.
type MAC [6]byte

// ParseMAC reads six hexadecimal octets separated by ':' (or '-'), case-insensitively.
func ParseMAC(s string) (MAC, error) {
	var m MAC
	t := strings.ReplaceAll(s, "-", ":")
	if len(t) != 17 {
		return m, fmt.Errorf("mac address %q: want six octets such as fa:16:3e:00:00:01", s)
	}
	for i := range m {
		if i > 0 && t[3*i-1] != ':' {
			return m, fmt.Errorf("mac address %q: want six octets such as fa:16:3e:00:00:01", s)
		}
		if _, err := hex.Decode(m[i:i+1], []byte(t[3*i:3*i+2])); err != nil {
			return m, fmt.Errorf("mac address %q: want six octets such as fa:16:3e:00:00:01", s)
		}
	}
	return m, nil
}

// MustMAC is ParseMAC for constants; it panics on a malformed one.
func MustMAC(s string) MAC {
	m, err := ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return m
}

// String gives the lower-case colon form.
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// IsZero reports whether no address was set.
func (m MAC) IsZero() bool { return m == MAC{} }

// IsMulticast reports whether the group bit is set (broadcast included); no port may own such an address.
func (m MAC) IsMulticast() bool { return m[0]&1 != 0 }

// MarshalText and UnmarshalText give MAC its JSON form. The zero address is the empty string.
func (m MAC) MarshalText() ([]byte, error) {
	if m.IsZero() {
		return nil, nil
	}
	return []byte(m.String()), nil
}

func (m *MAC) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*m = MAC{}
		return nil
	}
	v, err := ParseMAC(string(b))
	*m = v
	return err
}

// TapName is the name of the interface that a hypervisor (or we, for a DHCP port) gives a port: "tap" and the first eleven
// characters of the port's id, which keeps it within Linux's 15 characters.
func (id PortID) TapName() string {
	if len(id) < 11 {
		return "tap" + string(id)
	}
	return "tap" + string(id[:11])
}
