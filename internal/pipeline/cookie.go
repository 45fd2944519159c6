// SPDX-License-Identifier: Apache-2.0

package pipeline

import "fmt"

// cookieMark is the first byte of every cookie of ours in the standard profile.
const cookieMark = 0x4e

// CookieKind is the kind of object that a flow belongs to.
type CookieKind uint8

const (
	KindOperator        CookieKind = 0xff // what an operator wrote: checked otherwise, see Check
	KindBridge          CookieKind = 0x01
	KindNetwork         CookieKind = 0x02
	KindPort            CookieKind = 0x03
	KindSubnet          CookieKind = 0x04
	KindRouter          CookieKind = 0x05
	KindRouterInterface CookieKind = 0x06
	KindFloatingIP      CookieKind = 0x07
	KindGroupMember     CookieKind = 0x08
	KindGroupRule       CookieKind = 0x09
	KindAddressGroup    CookieKind = 0x0a
	KindQoS             CookieKind = 0x0b
	KindTrunk           CookieKind = 0x0c
	KindMirror          CookieKind = 0x0d
	KindProviderNetwork CookieKind = 0x0e
	KindLoadBalancer    CookieKind = 0x0f
	KindMetadata        CookieKind = 0x10
	KindDHCP            CookieKind = 0x11
	KindPeer            CookieKind = 0x12
	KindGroupSet        CookieKind = 0x13
	KindForwarding      CookieKind = 0x14
	KindLog             CookieKind = 0x15
	KindLocalIP         CookieKind = 0x16
)

var cookieKinds = map[CookieKind]string{
	KindOperator: "operator's flow",
	KindBridge:   "bridge", KindNetwork: "network", KindPort: "port", KindSubnet: "subnet", KindRouter: "router",
	KindRouterInterface: "router interface", KindFloatingIP: "floating IP", KindGroupMember: "group membership",
	KindGroupRule: "group rule", KindAddressGroup: "address group", KindQoS: "QoS", KindTrunk: "trunk", KindMirror: "mirror",
	KindProviderNetwork: "provider network", KindLoadBalancer: "load balancer", KindMetadata: "metadata", KindDHCP: "DHCP", KindPeer: "peer node", KindGroupSet: "set of groups",
	KindForwarding: "port forwarding", KindLog: "security log of port", KindLocalIP: "local IP",
}

func (k CookieKind) String() string {
	if s, ok := cookieKinds[k]; ok {
		return s
	}
	return fmt.Sprintf("kind %#02x", uint8(k))
}

// TemplateMerged in a cookie says that several objects share the flow; the
// compile engine knows which.
const TemplateMerged = 0xffff

// Template numbers a rule's flow within its table, so that a cookie names the table's part that it is.
func Template(t TableID, n uint8) uint16 { return uint16(t)<<8 | uint16(n) }

// Cookie is what the cookie of a standard-profile flow tells:
// mark 0x4e (8 bit), kind (8), template (16), key (32). It holds no generation,
// so an unchanged flow stays untouched.
type Cookie struct {
	Kind     CookieKind
	Template uint16 // which of a rule's flows, see Template; TemplateMerged if several objects share it
	Key      uint32 // of the object, 0 for the bridge
}

// Pack is the cookie as in a flow.
func (c Cookie) Pack() uint64 {
	return cookieMark<<56 | uint64(c.Kind)<<48 | uint64(c.Template)<<32 | uint64(c.Key)
}

// UnpackCookie reads a cookie; ok is false for flows that are not ours.
func UnpackCookie(v uint64) (c Cookie, ok bool) {
	return Cookie{CookieKind(v >> 48), uint16(v >> 32), uint32(v)}, v>>56 == cookieMark
}

// CookieMask selects the cookies of ours: flows with cookie & mask == mark.
func CookieMask() (mark, mask uint64) { return cookieMark << 56, 0xff << 56 }

func (c Cookie) String() string {
	return fmt.Sprintf("%s %d template %d", c.Kind, c.Key, c.Template)
}
