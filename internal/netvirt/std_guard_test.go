// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"slices"
	"strings"
	"testing"

	"nagare/internal/flow"
	"nagare/internal/pipeline"
	"nagare/internal/sim"
	"nagare/internal/store"

	"go.yaml.in/yaml/v3"
)

// guarded is a node with a port as most are (one), a port with allowed address pairs (two), a port without port security that
// sees what others send (spy), a port whose group lets nothing in (shut), and one whose groups are stateless (loose).
const guarded = `
nets: [{id: n1}]
groups:
- {id: wide, rules: [{id: w4, dir: egress, ether: v4}, {id: w6, dir: egress, ether: v6}]}
- {id: free, stateless: true, rules: [{id: f4, dir: egress, ether: v4}, {id: f6, dir: egress, ether: v6}]}
- {id: open, rules: [{id: o4, dir: egress, ether: v4}, {id: o6, dir: egress, ether: v6}, {id: i4, dir: ingress, ether: v4}, {id: i6, dir: ingress, ether: v6}]}
- {id: shut, rules: [{id: s4, dir: egress, ether: v4, proto: udp, min: 53, max: 53}, {id: s6, dir: egress, ether: v6, proto: udp, min: 53, max: 53}]}
- {id: loose, stateless: true, rules: [{id: l4, dir: ingress, ether: v4, proto: tcp, min: 22, max: 22}, {id: l6, dir: ingress, ether: v6, proto: tcp, min: 22, max: 22},
   {id: e4, dir: egress, ether: v4, proto: tcp, prefix: 10.0.0.0/30}, {id: e6, dir: egress, ether: v6, proto: tcp, group: open}, {id: w0, dir: egress, ether: v6, proto: sctp, group: wide}, {id: p4, dir: ingress, ether: v4, proto: icmp, min: 0}, {id: p6, dir: ingress, ether: v6, proto: icmp, min: 129}]}
ports:
- {id: one-0000001, net: n1, mac: "02:00:00:00:00:01", owner: "compute:nova", host: a, ips: [10.0.0.1, "2001::1"], groups: [open]}
- {id: two-0000002, net: n1, mac: "02:00:00:00:00:02", owner: "compute:nova", host: a, ips: [10.0.0.2], groups: [open],
   pairs: [{ip: 10.0.0.100/32}, {ip: 10.9.0.0/16, mac: "02:00:00:00:00:99"}]}
- {id: spy-0000003, net: n1, mac: "02:00:00:00:00:03", owner: "compute:nova", host: a, ips: [10.0.0.3, "2001::3"], insecure: true}
- {id: shut-000004, net: n1, mac: "02:00:00:00:00:04", owner: "compute:nova", host: a, ips: [10.0.0.4, "2001::4"], groups: [shut]}
- {id: loose-00005, net: n1, mac: "02:00:00:00:00:05", owner: "compute:nova", host: a, ips: [10.0.0.5, "2001::5"], groups: [loose]}
- {id: dhcp-000006, net: n1, mac: "02:00:00:00:00:06", owner: "network:dhcp", host: a, ips: [10.0.0.6, "2001::6"]}
- {id: wide-000007, net: n1, mac: "02:00:00:00:00:07", owner: "compute:nova", host: a, ips: [10.0.0.7], groups: [wide], pairs: [{ip: "0.0.0.0/0"}, {ip: "::/0"}]}
- {id: free-000008, net: n1, mac: "02:00:00:00:00:08", owner: "compute:nova", host: a, ips: [10.0.0.8, "2001::8"], groups: [free]}
`

// attempt is one frame, or a change of the flows: who sends it, and who alone may receive it.
type attempt struct {
	from  string
	frame string // as ovs-ofctl writes it; "-rule" takes a rule's flows away, "+rule" brings them back, "new" forgets connections
	to    string // names, separated by blanks
}

const (
	all1  = "dl_src=02:00:00:00:00:01,dl_dst=ff:ff:ff:ff:ff:ff,"
	spy1  = "dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:03,"
	spy2  = "dl_src=02:00:00:00:00:02,dl_dst=02:00:00:00:00:03,"
	spy7  = "dl_src=02:00:00:00:00:07,dl_dst=02:00:00:00:00:03,"
	spy8  = "dl_src=02:00:00:00:00:08,dl_dst=02:00:00:00:00:03,"
	spy9  = "dl_src=02:00:00:00:00:99,dl_dst=02:00:00:00:00:03,"
	sha1  = "arp_sha=02:00:00:00:00:01,"
	sha2  = "arp_sha=02:00:00:00:00:02,"
	sha9  = "arp_sha=02:00:00:00:00:99,"
	ll1   = "ipv6_src=fe80::ff:fe00:1,"
	toOne = "dl_src=02:00:00:00:00:03,dl_dst=02:00:00:00:00:01,"
	shut  = "dl_src=02:00:00:00:00:03,dl_dst=02:00:00:00:00:04,"
	shut4 = "nw_src=10.0.0.3,nw_dst=10.0.0.4,"
)

// attempts are in groups; each begins without connections. What must not pass stands beside its like that must.
var attempts = map[string][]attempt{
	"source MAC": {
		{"one", "icmp," + spy1 + "nw_src=10.0.0.1,nw_dst=10.0.0.3,icmp_type=8", "spy"},
		{"one", "icmp,dl_src=02:00:00:00:00:02,dl_dst=02:00:00:00:00:03,nw_src=10.0.0.2,nw_dst=10.0.0.3,icmp_type=8", ""},
		{"one", "icmp,dl_src=ff:ff:ff:ff:ff:ff,dl_dst=02:00:00:00:00:03,nw_src=10.0.0.1,nw_dst=10.0.0.3,icmp_type=8", ""},
		{"spy", "icmp,dl_src=02:00:00:00:00:77,dl_dst=02:00:00:00:00:01,nw_src=10.0.0.77,nw_dst=10.0.0.1,icmp_type=8", "one"},
	},
	"IPv4 source": {
		{"one", "udp," + spy1 + "nw_src=10.0.0.1,nw_dst=10.0.0.3,tp_src=1,tp_dst=2", "spy"},
		{"one", "udp," + spy1 + "nw_src=10.0.0.2,nw_dst=10.0.0.3,tp_src=1,tp_dst=2", ""},
		{"one", "udp," + spy1 + "nw_src=0.0.0.0,nw_dst=10.0.0.3,tp_src=1,tp_dst=2", ""},
		{"two", "udp," + spy2 + "nw_src=10.0.0.2,nw_dst=10.0.0.3,tp_src=1,tp_dst=2", "spy"},
		{"two", "udp," + spy2 + "nw_src=10.0.0.100,nw_dst=10.0.0.3,tp_src=1,tp_dst=2", "spy"},
		{"wide", "udp," + spy7 + "nw_src=8.8.8.8,nw_dst=10.0.0.3,tp_src=1,tp_dst=2", "spy"},
		{"two", "udp," + spy9 + "nw_src=10.9.1.2,nw_dst=10.0.0.3,tp_src=1,tp_dst=2", "spy"},
		{"two", "udp," + spy9 + "nw_src=10.0.0.2,nw_dst=10.0.0.3,tp_src=1,tp_dst=2", ""},
		{"wide", "udp," + spy7 + "nw_src=0.0.0.0,nw_dst=10.0.0.3,tp_src=1,tp_dst=2", ""},
		{"wide", "udp," + spy7 + "nw_src=224.0.0.1,nw_dst=10.0.0.3,tp_src=1,tp_dst=2", ""},
		{"wide", "udp," + spy7 + "nw_src=255.255.255.255,nw_dst=10.0.0.3,tp_src=1,tp_dst=2", ""},
		{"spy", "udp," + toOne + "nw_src=8.8.8.8,nw_dst=10.0.0.1,tp_src=1,tp_dst=2", "one"},
	},
	"IPv6 source": {
		{"one", "udp6," + spy1 + "ipv6_src=2001::1,ipv6_dst=2001::3,tp_src=1,tp_dst=2", "spy"},
		{"one", "udp6," + spy1 + ll1 + "ipv6_dst=2001::3,tp_src=1,tp_dst=2", "spy"},
		{"one", "udp6," + spy1 + "ipv6_src=2001::2,ipv6_dst=2001::3,tp_src=1,tp_dst=2", ""},
		{"one", "udp6," + spy1 + "ipv6_src=fe80::ff:fe00:2,ipv6_dst=2001::3,tp_src=1,tp_dst=2", ""},
		{"one", "udp6," + spy1 + "ipv6_src=::,ipv6_dst=2001::3,tp_src=1,tp_dst=2", ""},
		{"wide", "udp6," + spy7 + "ipv6_src=2001::77,ipv6_dst=2001::3,tp_src=1,tp_dst=2", "spy"},
		{"two", "udp6," + spy2 + "ipv6_src=fe80::ff:fe00:2,ipv6_dst=2001::3,tp_src=1,tp_dst=2", "spy"},
		{"two", "udp6," + spy9 + "ipv6_src=fe80::ff:fe00:99,ipv6_dst=2001::3,tp_src=1,tp_dst=2", "spy"},
		{"two", "udp6," + spy9 + "ipv6_src=2001::77,ipv6_dst=2001::3,tp_src=1,tp_dst=2", ""},
		{"wide", "udp6," + spy7 + "ipv6_src=::,ipv6_dst=2001::3,tp_src=1,tp_dst=2", ""},
		{"wide", "udp6," + spy7 + "ipv6_src=ff02::1,ipv6_dst=2001::3,tp_src=1,tp_dst=2", ""},
	},
	"ARP": {
		{"one", "arp," + all1 + sha1 + "arp_op=2,arp_spa=10.0.0.1,arp_tpa=10.0.0.1", "two spy shut loose dhcp wide free"},
		{"one", "arp," + all1 + sha1 + "arp_op=2,arp_spa=10.0.0.2,arp_tpa=10.0.0.2", ""},
		{"one", "arp," + all1 + sha2 + "arp_op=2,arp_spa=10.0.0.1,arp_tpa=10.0.0.1", ""},
		{"one", "arp," + all1 + sha1 + "arp_op=1,arp_spa=10.0.0.1,arp_tpa=10.0.0.77", "two spy shut loose dhcp wide free"},
		{"one", "arp," + all1 + sha1 + "arp_op=1,arp_spa=10.0.0.254,arp_tpa=10.0.0.77", ""},
		{"one", "arp," + all1 + sha1 + "arp_op=1,arp_spa=0.0.0.0,arp_tpa=10.0.0.1", "two spy shut loose dhcp wide free"},
		{"one", "arp," + all1 + sha1 + "arp_op=1,arp_spa=0.0.0.0,arp_tpa=10.0.0.77", ""},
		{"one", "arp," + all1 + sha2 + "arp_op=1,arp_spa=0.0.0.0,arp_tpa=10.0.0.1", ""},
		{"one", "arp," + all1 + sha1 + "arp_op=2,arp_spa=0.0.0.0,arp_tpa=10.0.0.1", ""},
		{"two", "arp," + spy9 + sha9 + "arp_op=2,arp_spa=10.9.0.1,arp_tpa=10.0.0.3", "spy"},
		{"two", "arp," + spy9 + sha2 + "arp_op=2,arp_spa=10.9.0.1,arp_tpa=10.0.0.3", ""},
		{"two", "arp," + spy9 + sha9 + "arp_op=2,arp_spa=10.0.0.2,arp_tpa=10.0.0.3", ""},
		{"two", "arp," + spy9 + sha9 + "arp_op=1,arp_spa=0.0.0.0,arp_tpa=10.9.0.1", "spy"},
		{"two", "arp," + spy2 + sha2 + "arp_op=2,arp_spa=10.0.0.2,arp_tpa=10.0.0.3", "spy"},
		{"two", "arp," + spy2 + sha2 + "arp_op=2,arp_spa=10.0.0.100,arp_tpa=10.0.0.3", "spy"},
		{"two", "arp," + spy2 + sha2 + "arp_op=1,arp_spa=0.0.0.0,arp_tpa=10.0.0.2", "spy"},
		{"two", "arp," + spy2 + sha2 + "arp_op=1,arp_spa=0.0.0.0,arp_tpa=10.0.0.100", "spy"},
		{"two", "arp," + spy2 + sha2 + "arp_op=1,arp_spa=0.0.0.0,arp_tpa=10.0.0.3", "two"}, // it is taken: the switch answers
		{"two", "arp," + spy2 + sha9 + "arp_op=2,arp_spa=10.0.0.2,arp_tpa=10.0.0.3", ""},
		{"spy", "arp," + toOne + "arp_sha=02:00:00:00:00:77,arp_op=2,arp_spa=10.0.0.77,arp_tpa=10.0.0.1", "one"},
	},
	"neighbour discovery": {
		{"one", "icmp6," + spy1 + ll1 + "icmp_type=136,icmp_code=0,nd_target=2001::1,nd_tll=02:00:00:00:00:01", "spy"},
		{"one", "icmp6," + spy1 + ll1 + "icmp_type=136,icmp_code=0,nd_target=2001::1", "spy"},
		{"one", "icmp6," + spy1 + ll1 + "icmp_type=136,icmp_code=0,nd_target=fe80::ff:fe00:1,nd_tll=02:00:00:00:00:01", "spy"},
		{"one", "icmp6," + spy1 + ll1 + "icmp_type=136,icmp_code=0,nd_target=fe80::ff:fe00:1", "spy"},
		{"one", "icmp6," + spy1 + "ipv6_src=2001::1,icmp_type=136,icmp_code=0,nd_target=2001::1,nd_tll=02:00:00:00:00:01", "spy"},
		{"one", "icmp6," + spy1 + ll1 + "icmp_type=136,icmp_code=0,nd_target=2001::2,nd_tll=02:00:00:00:00:01", ""},
		{"one", "icmp6," + spy1 + ll1 + "icmp_type=136,icmp_code=0,nd_target=2001::2", ""},
		{"one", "icmp6," + spy1 + ll1 + "icmp_type=136,icmp_code=0,nd_target=2001::1,nd_tll=02:00:00:00:00:02", ""},
		{"one", "icmp6," + spy1 + "ipv6_src=2001::2,icmp_type=136,icmp_code=0,nd_target=2001::1,nd_tll=02:00:00:00:00:01", ""},
		{"one", "icmp6," + spy1 + "ipv6_src=::,icmp_type=136,icmp_code=0,nd_target=2001::1,nd_tll=02:00:00:00:00:01", ""},
		{"one", "icmp6," + spy1 + ll1 + "icmp_type=135,icmp_code=0,nd_target=2001::77,nd_sll=02:00:00:00:00:01", "spy"},
		{"one", "icmp6," + spy1 + ll1 + "icmp_type=135,icmp_code=0,nd_target=2001::77", "spy"},
		{"one", "icmp6," + spy1 + ll1 + "icmp_type=135,icmp_code=0,nd_target=2001::77,nd_sll=02:00:00:00:00:02", ""},
		{"one", "icmp6," + spy1 + ll1 + "icmp_type=135,icmp_code=0", ""}, // how malformed options look
		{"one", "icmp6," + spy1 + "ipv6_src=2001::2,icmp_type=135,icmp_code=0,nd_target=2001::77,nd_sll=02:00:00:00:00:01", ""},
		{"one", "icmp6," + spy1 + "ipv6_src=::,icmp_type=135,icmp_code=0,nd_target=2001::1", "spy"},
		{"one", "icmp6," + spy1 + "ipv6_src=::,icmp_type=135,icmp_code=0,nd_target=fe80::ff:fe00:1", "spy"},
		{"one", "icmp6," + spy1 + "ipv6_src=::,icmp_type=135,icmp_code=0,nd_target=2001::2", ""},
		{"one", "icmp6," + spy1 + ll1 + "icmp_type=135,icmp_code=1,nd_target=2001::77", ""},
		{"wide", "icmp6," + spy7 + "ipv6_src=2001::77,icmp_type=136,icmp_code=0,nd_target=2001::77,nd_tll=02:00:00:00:00:07", "spy"},
		{"wide", "icmp6," + spy7 + "ipv6_src=2001::77,icmp_type=136,icmp_code=0,nd_target=2001::77", "spy"},
		{"wide", "icmp6," + spy7 + "ipv6_src=2001::77,icmp_type=135,icmp_code=0,nd_target=2001::78", "spy"},
		{"wide", "icmp6," + spy7 + "ipv6_src=2001::77,icmp_type=135,icmp_code=0,nd_target=2001::78,nd_sll=02:00:00:00:00:07", "spy"},
		{"wide", "icmp6," + spy7 + "ipv6_src=ff02::1,icmp_type=135,icmp_code=0,nd_target=2001::78", ""},
		{"wide", "icmp6," + spy7 + "ipv6_src=::,icmp_type=135,icmp_code=0,nd_target=2001::78", "spy"},
		{"two", "icmp6," + spy2 + "ipv6_src=fe80::ff:fe00:2,icmp_type=135,icmp_code=0,nd_target=2001::78", "spy"},
		{"two", "icmp6," + spy2 + "ipv6_src=fe80::ff:fe00:2,icmp_type=135,icmp_code=0,nd_target=2001::78,nd_sll=02:00:00:00:00:02", "spy"},
		{"two", "icmp6," + spy2 + "ipv6_src=fe80::ff:fe00:2,icmp_type=136,icmp_code=0,nd_target=fe80::ff:fe00:2", "spy"},
		{"two", "icmp6," + spy2 + "ipv6_src=fe80::ff:fe00:2,icmp_type=136,icmp_code=0,nd_target=fe80::ff:fe00:2,nd_tll=02:00:00:00:00:02", "spy"},
		{"two", "icmp6," + spy2 + "ipv6_src=::,icmp_type=135,icmp_code=0,nd_target=fe80::ff:fe00:2", "spy"},
		{"two", "icmp6," + spy2 + "ipv6_src=::,icmp_type=135,icmp_code=0,nd_target=fe80::ff:fe00:99", "spy"},
		{"two", "icmp6," + spy9 + "ipv6_src=fe80::ff:fe00:99,icmp_type=135,icmp_code=0,nd_target=2001::78,nd_sll=02:00:00:00:00:99", "spy"},
		{"two", "icmp6," + spy9 + "ipv6_src=fe80::ff:fe00:99,icmp_type=135,icmp_code=0,nd_target=2001::78", "spy"},
		{"two", "icmp6," + spy9 + "ipv6_src=fe80::ff:fe00:99,icmp_type=136,icmp_code=0,nd_target=fe80::ff:fe00:99,nd_tll=02:00:00:00:00:99", "spy"},
		{"two", "icmp6," + spy9 + "ipv6_src=fe80::ff:fe00:99,icmp_type=136,icmp_code=0,nd_target=fe80::ff:fe00:99", "spy"},
		{"two", "icmp6," + spy9 + "ipv6_src=fe80::ff:fe00:99,icmp_type=136,icmp_code=0,nd_target=fe80::ff:fe00:2,nd_tll=02:00:00:00:00:99", ""},
	},
	"routers and reports": {
		{"one", "icmp6," + spy1 + ll1 + "icmp_type=133", "spy"},
		{"one", "icmp6," + spy1 + "ipv6_src=::,icmp_type=133", "spy"},
		{"one", "icmp6," + spy1 + "ipv6_src=2001::2,icmp_type=133", ""},
		{"one", "icmp6," + spy1 + ll1 + "icmp_type=134", ""},
		{"one", "icmp6," + spy1 + ll1 + "icmp_type=137", ""},
		{"free", "icmp6," + spy8 + "ipv6_src=2001::8,ipv6_dst=2001::3,icmp_type=134", ""},
		{"free", "icmp6," + spy8 + "ipv6_src=2001::8,ipv6_dst=2001::3,icmp_type=137", ""},
		{"free", "icmp6," + spy8 + "ipv6_src=2001::8,ipv6_dst=2001::3,icmp_type=130", ""},
		{"free", "icmp6," + spy8 + "ipv6_src=2001::8,ipv6_dst=2001::3,icmp_type=128", "spy"},
		{"free", "icmp6," + spy8 + "ipv6_src=2001::8,ipv6_dst=2001::3,icmp_type=136,icmp_code=0,nd_target=2001::3", ""},
		{"free", "icmp6," + spy8 + "ipv6_src=2001::8,ipv6_dst=2001::3,icmp_type=135,icmp_code=0,nd_target=2001::77,nd_sll=02:00:00:00:00:03", ""},
		{"free", "udp," + spy8 + "nw_src=10.0.0.8,nw_dst=10.0.0.3,tp_src=1,tp_dst=2", "spy"},
		{"one", "icmp6," + spy1 + ll1 + "icmp_type=131", "spy"},
		{"one", "icmp6," + spy1 + ll1 + "icmp_type=132", "spy"},
		{"one", "icmp6," + spy1 + ll1 + "icmp_type=143", "spy"},
		{"one", "icmp6," + spy1 + "ipv6_src=::,icmp_type=131", "spy"},
		{"one", "icmp6," + spy1 + "ipv6_src=::,icmp_type=132", "spy"},
		{"one", "icmp6," + spy1 + "ipv6_src=::,icmp_type=143", "spy"},
		{"one", "icmp6," + spy1 + "ipv6_src=2001::2,icmp_type=143", ""},
		{"one", "icmp6," + spy1 + ll1 + "icmp_type=130", ""},
		{"spy", "icmp6," + toOne + "ipv6_src=2001::3,icmp_type=134", "one"},
	},
	"DHCP": {
		{"dhcp", "udp,dl_src=02:00:00:00:00:06,dl_dst=02:00:00:00:00:04,nw_src=10.0.0.6,nw_dst=10.0.0.4,tp_src=67,tp_dst=68", "shut"},
		{"one", "udp," + all1 + "nw_src=0.0.0.0,nw_dst=255.255.255.255,tp_src=68,tp_dst=67", "spy dhcp two"},
		{"shut", "udp,dl_src=02:00:00:00:00:04,dl_dst=02:00:00:00:00:06,nw_src=0.0.0.0,nw_dst=255.255.255.255,tp_src=68,tp_dst=67", "dhcp"},
		{"shut", "udp,dl_src=02:00:00:00:00:04,dl_dst=02:00:00:00:00:06,nw_src=0.0.0.0,nw_dst=10.0.0.6,tp_src=68,tp_dst=67", ""},
		{"shut", "udp,dl_src=02:00:00:00:00:04,dl_dst=02:00:00:00:00:06,nw_src=10.0.0.4,nw_dst=10.0.0.6,tp_src=68,tp_dst=67", "dhcp"}, // renewal
		{"shut", "udp6,dl_src=02:00:00:00:00:04,dl_dst=02:00:00:00:00:06,ipv6_src=fe80::ff:fe00:4,ipv6_dst=ff02::1:2,tp_src=546,tp_dst=547", "dhcp"},
		{"shut", "udp,dl_src=02:00:00:00:00:04,dl_dst=02:00:00:00:00:06,nw_src=10.0.0.4,nw_dst=10.0.0.6,tp_src=68,tp_dst=68", ""},
		{"one", "udp," + spy1 + "nw_src=10.0.0.1,nw_dst=10.0.0.3,tp_src=67,tp_dst=68", ""},
		{"one", "udp6," + spy1 + ll1 + "ipv6_dst=2001::3,tp_src=547,tp_dst=546", ""},
		{"one", "udp," + spy1 + "nw_src=10.0.0.1,nw_dst=10.0.0.3,tp_src=67,tp_dst=67", "spy"},
		{"dhcp", "udp6,dl_src=02:00:00:00:00:06,dl_dst=02:00:00:00:00:04,ipv6_src=2001::6,ipv6_dst=2001::4,tp_src=547,tp_dst=546", "shut"},
		{"spy", "udp," + shut + shut4 + "tp_src=67,tp_dst=68", ""},
	},
	"what is neither ARP nor IP": {
		{"one", spy1 + "dl_type=0x88cc", ""},
		{"one", spy1 + "dl_type=0x8035", ""},
		{"one", spy1 + "dl_type=0x1234", ""},
		{"spy", toOne + "dl_type=0x1234", ""},
		{"dhcp", "dl_src=02:00:00:00:00:06,dl_dst=02:00:00:00:00:03,dl_type=0x1234", "spy"},
	},
	"receivers": {
		{"spy", "arp," + shut + "arp_op=2,arp_spa=10.0.0.3,arp_tpa=10.0.0.4", "shut"},
		{"spy", "icmp6," + shut + "ipv6_src=2001::3,icmp_type=130", "shut"},
		{"spy", "icmp6," + shut + "ipv6_src=2001::3,icmp_type=131", "shut"},
		{"spy", "icmp6," + shut + "ipv6_src=2001::3,icmp_type=132", "shut"},
		{"spy", "icmp6," + shut + "ipv6_src=2001::3,icmp_type=134", "shut"},
		{"spy", "icmp6," + shut + "ipv6_src=2001::3,icmp_type=135,icmp_code=0,nd_target=2001::77", "shut"},
		{"spy", "icmp6," + shut + "ipv6_src=2001::3,icmp_type=136", "shut"},
		{"spy", "icmp6," + shut + "ipv6_src=2001::3,icmp_type=137", ""},
		{"spy", "icmp," + shut + shut4 + "icmp_type=8", ""},
		{"spy", "icmp6," + shut + "ipv6_src=2001::3,ipv6_dst=2001::4,icmp_type=128", ""},
		{"spy", "icmp," + toOne + "nw_src=10.0.0.3,nw_dst=10.0.0.1,icmp_type=8", "one"},
		{"spy", "icmp6," + toOne + "ipv6_src=2001::3,ipv6_dst=2001::1,icmp_type=128", "one"},
		{"spy", "icmp," + toOne + "nw_src=10.0.0.3,nw_dst=10.0.0.1,icmp_type=0", ""}, // the answer to nothing
	},
	"stateless": {
		{"spy", "tcp,dl_src=02:00:00:00:00:03,dl_dst=02:00:00:00:00:05,nw_src=10.0.0.3,nw_dst=10.0.0.5,tp_src=1000,tp_dst=22", "loose"},
		{"spy", "tcp,dl_src=02:00:00:00:00:03,dl_dst=02:00:00:00:00:05,nw_src=10.0.0.3,nw_dst=10.0.0.5,tp_src=22,tp_dst=1000", ""},
		{"spy", "tcp6,dl_src=02:00:00:00:00:03,dl_dst=02:00:00:00:00:05,ipv6_src=2001::3,ipv6_dst=2001::5,tp_src=1000,tp_dst=22", "loose"},
		{"loose", "tcp,dl_src=02:00:00:00:00:05,dl_dst=02:00:00:00:00:03,nw_src=10.0.0.5,nw_dst=10.0.0.3,tp_src=22,tp_dst=1000", "spy"},
		{"loose", "udp,dl_src=02:00:00:00:00:05,dl_dst=02:00:00:00:00:03,nw_src=10.0.0.5,nw_dst=10.0.0.3,tp_src=22,tp_dst=1000", ""},
		{"loose", "tcp,dl_src=02:00:00:00:00:05,dl_dst=02:00:00:00:00:03,nw_src=10.0.0.5,nw_dst=10.0.9.3,tp_src=22,tp_dst=1000", ""},
		{"loose", "tcp,dl_src=02:00:00:00:00:05,dl_dst=02:00:00:00:00:03,nw_src=10.0.0.6,nw_dst=10.0.0.3,tp_src=22,tp_dst=1000", ""},
		{"loose", "tcp6,dl_src=02:00:00:00:00:05,dl_dst=02:00:00:00:00:01,ipv6_src=2001::5,ipv6_dst=2001::1,tp_src=22,tp_dst=1000", "one"},
		{"loose", "tcp6,dl_src=02:00:00:00:00:05,dl_dst=02:00:00:00:00:03,ipv6_src=fe80::ff:fe00:5,ipv6_dst=2001::3,tp_src=22,tp_dst=1000", ""},
		{"loose", "sctp6,dl_src=02:00:00:00:00:05,dl_dst=02:00:00:00:00:03,ipv6_src=fe80::ff:fe00:5,ipv6_dst=2002::3,tp_src=22,tp_dst=1000", "spy"}, // wide may have any address
		{"loose", "sctp6,dl_src=02:00:00:00:00:05,dl_dst=02:00:00:00:00:03,ipv6_src=fe80::ff:fe00:5,ipv6_dst=fe80::3,tp_src=22,tp_dst=1000", "spy"},
		{"spy", "icmp,dl_src=02:00:00:00:00:03,dl_dst=02:00:00:00:00:05,nw_src=10.0.0.3,nw_dst=10.0.0.5,icmp_type=0", "loose"},
		{"spy", "icmp,dl_src=02:00:00:00:00:03,dl_dst=02:00:00:00:00:05,nw_src=10.0.0.3,nw_dst=10.0.0.5,icmp_type=8", ""},
		{"spy", "icmp6,dl_src=02:00:00:00:00:03,dl_dst=02:00:00:00:00:05,ipv6_src=2001::3,ipv6_dst=2001::5,icmp_type=129", "loose"},
		{"loose", "udp6,dl_src=02:00:00:00:00:05,dl_dst=02:00:00:00:00:03,ipv6_src=fe80::ff:fe00:5,ipv6_dst=fe80::3,tp_src=22,tp_dst=1000", ""},
	},
	"revoked and restored": revoking("udp,", "nw_src=10.0.0.4,nw_dst=10.0.0.3,", "nw_src=10.0.0.3,nw_dst=10.0.0.4,", "s4"),
	"replies to a revoked one": {
		{"one", "udp," + spy1 + "nw_src=10.0.0.1,nw_dst=10.0.0.3,tp_src=1000,tp_dst=53", "spy"},
		{"spy", "udp," + toOne + "nw_src=10.0.0.3,nw_dst=10.0.0.1,tp_src=53,tp_dst=1000", "one"},
		{"", "-o4", ""},
		{"one", "udp," + spy1 + "nw_src=10.0.0.1,nw_dst=10.0.0.3,tp_src=1000,tp_dst=53", ""},
		{"spy", "udp," + toOne + "nw_src=10.0.0.3,nw_dst=10.0.0.1,tp_src=53,tp_dst=1000", ""}, // though it may open one of its own
		{"", "+o4", ""},
	},
	"revoked, IPv6":        revoking("udp6,", "ipv6_src=2001::4,ipv6_dst=2001::3,", "ipv6_src=2001::3,ipv6_dst=2001::4,", "s6"),
	"revoked by the other": revokingIn("udp,", "nw_src=10.0.0.3,nw_dst=10.0.0.1,", "nw_src=10.0.0.1,nw_dst=10.0.0.3,", "i4"),
	"revoked by it, IPv6":  revokingIn("udp6,", "ipv6_src=2001::3,ipv6_dst=2001::1,", "ipv6_src=2001::1,ipv6_dst=2001::3,", "i6"),
}

// revoking opens a connection from shut, takes the rule away and brings it back.
func revoking(proto, there, back, rule string) []attempt {
	out := proto + "dl_src=02:00:00:00:00:04,dl_dst=02:00:00:00:00:03," + there + "tp_src=1000,tp_dst=53"
	in := proto + shut + back + "tp_src=53,tp_dst=1000"
	return []attempt{{"spy", in, ""}, {"shut", out, "spy"}, {"spy", in, "shut"}, {"shut", out, "spy"},
		{"", "-" + rule, ""}, {"spy", in, "shut"}, {"shut", out, ""}, {"spy", in, ""}, {"shut", out, ""},
		{"", "+" + rule, ""}, {"spy", in, ""}, {"shut", out, "spy"}, {"spy", in, "shut"}}
}

// revokingIn does the same with a connection to one.
func revokingIn(proto, there, back, rule string) []attempt {
	in := proto + toOne + there + "tp_src=1000,tp_dst=53"
	out := proto + spy1 + back + "tp_src=53,tp_dst=1000"
	return []attempt{{"spy", in, "one"}, {"", "-o4", ""}, {"", "-o6", ""}, {"one", out, "spy"}, {"", "+o4", ""}, {"", "+o6", ""}, {"spy", in, "one"},
		{"", "-" + rule, ""}, {"one", out, "spy"}, {"spy", in, ""}, {"one", out, ""}, {"spy", in, ""},
		{"", "+" + rule, ""}, {"one", out, ""}, {"spy", in, "one"}, {"one", out, "spy"}}
}

// proving is the ground on which the attempts are made.
type proving struct {
	*streets
	frames map[string]sim.Packet
}

func readGuarded(t *testing.T) (f secured) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(guarded), &f); err != nil {
		t.Fatal(err)
	}
	return f
}

func newProving(t *testing.T) *proving {
	p := &proving{newStreets(t, "a"), map[string]sim.Packet{}}
	f := readGuarded(t)
	f.Nets = nil // are there
	p.change(func(tx *store.Txn) error { return f.put(tx) })
	for i, port := range f.Ports {
		name, _, _ := strings.Cut(port.ID, "-")
		p.fabric.Attach(name, p.switches["a"], uint32(i+1))
	}
	for _, as := range attempts {
		for _, a := range as {
			if a.from == "" {
				continue
			}
			frame, err := sim.Parse(a.frame)
			if err != nil {
				t.Fatalf("%s: %v", a.frame, err)
			}
			p.frames[a.frame] = frame
		}
	}
	return p
}

// try makes a group of attempts without one of the flows, and reports the first whose end is not as it should be.
func (p *proving) try(as []attempt, without flow.Flow) (wrong *attempt, got string) {
	sw := p.switches["a"]
	sw.Track = sim.NewConntrack()
	for i, a := range as {
		if a.from == "" {
			for _, f := range p.e.OwnedBy("a", a.frame[1:]) {
				if a.frame[0] == '-' {
					sw.Delete(f.Key())
				} else if f != without {
					p.must(sw.Put(f))
				}
			}
			continue
		}
		o := p.fabric.Send(a.from, p.frames[a.frame])
		want := strings.Fields(a.to)
		slices.Sort(want)
		if r := o.Receivers(); len(o.Errors) > 0 || !slices.Equal(r, want) {
			return &as[i], strings.Join(append(r, o.Errors...), " ")
		}
	}
	return nil, ""
}

// TestGuards makes every attempt of the table.
func TestGuards(t *testing.T) {
	p := newProving(t)
	p.accounted("a")
	for name, as := range attempts {
		if a, got := p.try(as, flow.Flow{}); a != nil {
			o := p.fabric.Trace(a.from, p.frames[a.frame])
			t.Errorf("%s: %s sends %s\nreceived by %q, must be by %q\n%s", name, a.from, a.frame, got, a.to, strings.Join(o.Trace, "\n"))
		}
	}
}

// TestGuardsNeedEveryFlow takes the flows away one at a time: some attempt must end otherwise.
func TestGuardsNeedEveryFlow(t *testing.T) {
	p := newProving(t)
	sw := p.switches["a"]
	tried := 0
	for _, f := range p.flows("a") {
		if !ours(f) || unseen(f) {
			continue
		}
		tried++
		sw.Delete(f.Key())
		noticed := false
		for _, as := range attempts {
			if a, _ := p.try(as, f); a != nil {
				noticed = true
				for _, a := range as { // whatever was taken away on the way
					if a.from == "" && a.frame[0] == '+' {
						for _, f := range p.e.OwnedBy("a", a.frame[1:]) {
							p.must(sw.Put(f))
						}
					}
				}
				break
			}
		}
		p.must(sw.Put(f))
		if !noticed {
			t.Errorf("nothing notices that this flow is missing: %s", f)
		}
	}
	t.Logf("%d flows, each missed", tried)
}

// unseen reports the flows that no attempt in the simulator can miss: it has neither fragments nor errors of ICMP, and some
// drops say twice, in other words or for their counter, what is dropped anyway.
func unseen(f flow.Flow) bool {
	text := f.String()
	switch {
	case strings.Contains(text, "nw_frag=yes"), strings.Contains(text, "nw_frag=later"), strings.Contains(text, "ct_nw_proto"), strings.Contains(text, "+rel"):
		return true
	case f.Priority == 0, f.Priority == pipeline.PrioSpoofed && f.Table == uint8(pipeline.EgressACL), f.Priority == pipeline.PrioUnguarded:
		return true
	case strings.Contains(text, "+inv"): // two tables say so, the second for fragments of stateless ports
		return true
	}
	c, _ := pipeline.UnpackCookie(f.Cookie)
	return c.Kind == pipeline.KindPort && f.Table != uint8(pipeline.IngressACL) && c.Key != 0x11 && c.Key != 0x12 // guards of one and two stand for all
}
