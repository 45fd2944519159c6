// SPDX-License-Identifier: Apache-2.0

// Package dhcpopt turns DHCPv4 options as tenants write them (a name or a number, and a text) into the octets of RFC 2132.
//
// The names are dnsmasq's, because Neutron's extra_dhcp_opts have always been handed to it; so are the rules for numbers
// without a known type. Invariants: an option comes out encoded or not at all, with the reason; nothing is read as
// configuration, and control characters are refused, so that no value can be more than one option's value. Options by which
// the protocol itself works cannot be set.
//
// Callers: internal/responder puts the options into answers, internal/punt and the admin API's DHCP feed encode those of
// ports, and API adapters check them.
package dhcpopt

import (
	"fmt"
	"strconv"
	"strings"
)

// Option is one encoded option.
type Option struct {
	Code uint8  `json:"code"`
	Data []byte `json:"data,omitempty"`
}

// TakesBack reports whether the option says that the client gets none of its kind: a router or routes without data.
func (o Option) TakesBack() bool {
	return len(o.Data) == 0 && (o.Code == Router || o.Code == Routes || o.Code == MicrosoftRoutes)
}

// NextServer is the code of an option that is none on the wire: its data is the address of the header's siaddr, which boot
// loaders fetch their image from (RFC 2131 section 2).
const NextServer = 255

// Codes that answers treat apart.
const (
	Router          = 3
	LeaseTime       = 51
	RenewalTime     = 58
	RebindingTime   = 59
	BootServer      = 66
	BootFile        = 67
	Routes          = 121
	MicrosoftRoutes = 249
)

// maxValue bounds the text of a value, in octets; the API takes 255.
const maxValue = 1024

// Reserved reports whether an option is the protocol's own (RFC 2132 sections 9.1, 9.3 to 9.10, 9.14; RFC 3046, 3011, 4702), or
// framing.
func Reserved(code uint8) bool {
	switch code {
	case 0, 50, 52, 53, 54, 55, 56, 57, 61, 81, 82, 118:
		return true
	}
	return false
}

// Encode encodes an option. The name is dnsmasq's ("bootfile-name"), a number ("67"), or either after "option:". An empty
// value is allowed for the router and for routes and means that the client gets none. Errors name the option.
func Encode(name, value string) (Option, error) {
	code, how, err := lookup(name)
	if err != nil {
		return Option{}, err
	}
	if o := (Option{Code: code}); value == "" && o.TakesBack() {
		return o, nil
	}
	data, err := how.encode(strings.TrimSpace(value))
	if err != nil {
		return Option{}, fmt.Errorf("dhcp option %q: %w", name, err)
	}
	return Option{Code: code, Data: data}, nil
}

// lookup finds an option's code and type.
func lookup(name string) (uint8, kind, error) {
	if strings.HasPrefix(name, "option6:") {
		return 0, guess, fmt.Errorf("dhcp option %q: it is a DHCPv6 option; give it with ip_version 6", name)
	}
	word := strings.ToLower(strings.TrimPrefix(name, "option:"))
	if word == "server-ip-address" {
		return NextServer, address, nil
	}
	if n, err := strconv.ParseUint(word, 10, 16); err == nil {
		if n > 254 || Reserved(uint8(n)) {
			return 0, guess, fmt.Errorf("dhcp option %q: the protocol's own, or no option: want one of 1 to 254 that carries configuration", name)
		}
		return uint8(n), kinds[uint8(n)], nil
	}
	code, ok := names[word]
	switch {
	case !ok:
		return 0, guess, fmt.Errorf("dhcp option %q: no such name; give the option's number, or a name such as router, mtu, bootfile-name", name)
	case Reserved(code):
		return 0, guess, fmt.Errorf("dhcp option %q: the protocol's own; it cannot be set", name)
	}
	return code, kinds[code], nil
}

// names are dnsmasq's names, and four that Neutron's OVN driver knows besides.
var names = map[string]uint8{
	"netmask": 1, "time-offset": 2, "router": 3, "time-server": 4, "dns-server": 6, "log-server": 7, "lpr-server": 9, "hostname": 12,
	"boot-file-size": 13, "domain-name": 15, "swap-server": 16, "root-path": 17, "extension-path": 18, "ip-forward-enable": 19,
	"non-local-source-routing": 20, "policy-filter": 21, "max-datagram-reassembly": 22, "default-ttl": 23, "mtu": 26,
	"all-subnets-local": 27, "broadcast": 28, "router-discovery": 31, "router-solicitation": 32, "static-route": 33,
	"trailer-encapsulation": 34, "arp-timeout": 35, "ethernet-encap": 36, "tcp-ttl": 37, "tcp-keepalive": 38, "nis-domain": 40,
	"nis-server": 41, "ntp-server": 42, "vendor-encap": 43, "netbios-ns": 44, "netbios-dd": 45, "netbios-nodetype": 46,
	"netbios-scope": 47, "x-windows-fs": 48, "x-windows-dm": 49, "requested-address": 50, "lease-time": 51, "option-overload": 52,
	"message-type": 53, "server-identifier": 54, "server-id": 54, "parameter-request": 55, "message": 56, "max-message-size": 57,
	"t1": 58, "t2": 59, "vendor-class": 60, "client-id": 61, "nis+-domain": 64, "nis+-server": 65, "tftp-server": 66,
	"bootfile-name": 67, "mobile-ip-home": 68, "smtp-server": 69, "pop3-server": 70, "nntp-server": 71, "irc-server": 74,
	"user-class": 77, "rapid-commit": 80, "fqdn": 81, "agent-id": 82, "last-transaction": 91, "associated-ip": 92, "client-arch": 93,
	"client-interface-id": 94, "client-machine-id": 97, "posix-timezone": 100, "tzdb-timezone": 101, "ipv6-only": 108,
	"subnet-select": 118, "domain-search": 119, "sip-server": 120, "classless-static-route": 121, "vendor-id-encap": 125,
	"tftp-server-address": 150, "path-prefix": 210, "ms-classless-static-route": 249, "wpad": 252,
}

// kinds are the types of options (RFC 2132 sections 3 to 9; 3397, 3361, 3442, 4833, 8925). An option that is not here is
// encoded by what its value looks like.
var kinds = map[uint8]kind{
	1: address, 2: number4, 3: addresses, 4: addresses, 5: addresses, 6: addresses, 7: addresses, 8: addresses, 9: addresses, 10: addresses,
	11: addresses, 12: text, 13: number2, 14: text, 15: text, 16: address, 17: text, 18: text, 19: flag, 20: flag, 21: pairs, 22: number2,
	23: number1, 24: number4, 26: mtu, 27: flag, 28: address, 29: flag, 30: flag, 31: flag, 32: address, 33: pairs, 34: flag,
	35: number4, 36: flag, 37: number1, 38: number4, 39: flag, 40: text, 41: addresses, 42: addresses, 43: octets, 44: addresses,
	45: addresses, 46: number1, 47: octets, 48: addresses, 49: addresses, 51: seconds, 58: seconds, 59: seconds, 60: octets,
	64: text, 65: addresses, 66: text, 67: text, 68: addresses, 69: addresses, 70: addresses, 71: addresses, 72: addresses,
	73: addresses, 74: addresses, 75: addresses, 76: addresses, 77: octets, 80: empty, 91: seconds, 92: addresses, 93: number2, 94: octets,
	97: octets, 100: text, 101: text, 108: seconds, 119: search, 120: sip, 121: routes, 125: octets, 150: addresses, 210: text,
	249: routes, 252: text,
}
