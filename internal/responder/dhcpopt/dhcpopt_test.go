// SPDX-License-Identifier: Apache-2.0

package dhcpopt

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

func TestEncode(t *testing.T) {
	for _, tt := range []struct {
		name, value string
		code        uint8
		want        string // hexadecimal
	}{
		{"bootfile-name", "pxelinux.0", 67, hex.EncodeToString([]byte("pxelinux.0"))},
		{"67", "a,b", 67, hex.EncodeToString([]byte("a,b"))},
		{"option:67", `"a b"`, 67, hex.EncodeToString([]byte("a b"))},
		{"tftp-server", "192.0.2.1", 66, hex.EncodeToString([]byte("192.0.2.1"))},
		{"tftp-server-address", "192.0.2.1", 150, "c0000201"},
		{"server-ip-address", "192.0.2.9", NextServer, "c0000209"},
		{"router", "10.0.0.254", 3, "0a0000fe"},
		{"router", "", 3, ""},
		{"classless-static-route", "", 121, ""},
		{"mtu", "1400", 26, "0578"},
		{"option:mtu", "68", 26, "0044"},
		{"ntp-server", "10.0.0.1, 10.0.0.2", 42, "0a0000010a000002"},
		{"dns-server", "10.0.0.1", 6, "0a000001"},
		{"classless-static-route", "10.20.0.0/16,10.0.0.9,0.0.0.0/0,10.0.0.1", 121, "100a140a000009" + "000a000001"},
		{"classless-static-route", "192.0.2.7,10.0.0.9", 121, "20c00002070a000009"},
		{"249", "10.128.0.0/9,10.0.0.9", 249, "090a800a000009"},
		{"domain-search", "a.example.org,b.", 119, "0161076578616d706c65036f726700" + "016200"},
		{"sip-server", "10.0.0.1", 120, "010a000001"},
		{"sip-server", "sip.example", 120, "00" + "03736970076578616d706c6500"},
		{"lease-time", "12h", 51, "0000a8c0"},
		{"lease-time", "infinite", 51, "ffffffff"},
		{"T1", "600", 58, "00000258"},
		{"ip-forward-enable", "1", 19, "01"},
		{"time-offset", "3600", 2, "00000e10"},
		{"netbios-nodetype", "0x8", 46, "08"},
		{"static-route", "10.1.0.1,10.0.0.1", 33, "0a0100010a000001"},
		{"vendor-encap", "01:04:c0:0:2:1", 43, "0104c0000201"},
		{"vendor-class", "PXEClient", 60, hex.EncodeToString([]byte("PXEClient"))},
		{"rapid-commit", "", 80, ""},
		// Options without a known type, by what they look like.
		{"224", "10.0.0.1,10.0.0.2", 224, "0a0000010a000002"},
		{"224", "7", 224, "07"},
		{"224", "700", 224, "02bc"},
		{"224", "70000", 224, "00011170"},
		{"224", "0a:0b", 224, "0a0b"},
		{"224", "word", 224, "776f7264"},
	} {
		o, err := Encode(tt.name, tt.value)
		if err != nil || o.Code != tt.code || hex.EncodeToString(o.Data) != tt.want {
			t.Errorf("%s=%s: code %d data %x error %v, want %d %s", tt.name, tt.value, o.Code, o.Data, err, tt.code, tt.want)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	for _, tt := range [][2]string{
		{"no-such-option", "1"}, {"", "1"}, {"0", "1"}, {"255", "1"}, {"256", "1"}, {"-1", "1"}, {"option6:dns-server", "2001:db8::1"},
		{"message-type", "5"}, {"53", "5"}, {"server-identifier", "10.0.0.1"}, {"82", "x"}, {"client-id", "x"},
		{"router", "gateway"}, {"router", "2001:db8::1"}, {"router", "10.0.0.1,"}, {"netmask", "10.0.0.1,10.0.0.2"}, {"server-ip-address", ""},
		{"mtu", "67"}, {"mtu", "65536"}, {"mtu", "-1"}, {"mtu", ""}, {"ip-forward-enable", "2"}, {"default-ttl", "256"},
		{"bootfile-name", ""}, {"bootfile-name", `""`}, {"bootfile-name", "x\ndhcp-script=/bin/sh"}, {"bootfile-name", "a\x00b"}, {"bootfile-name", "a\u0085b"},
		{"bootfile-name", "\xff"}, {"bootfile-name", strings.Repeat("a", 1025)},
		{"classless-static-route", "10.0.0.0/8"}, {"classless-static-route", "10.0.0.0/33,10.0.0.1"}, {"classless-static-route", "2001:db8::/32,10.0.0.1"},
		{"static-route", "10.0.0.1"}, {"lease-time", "0"}, {"lease-time", "soon"}, {"lease-time", "9999999w"}, {"lease-time", "h"},
		{"domain-search", "a..b"}, {"domain-search", strings.Repeat("a", 64)}, {"domain-search", strings.Repeat("a.", 127) + "a"}, {"domain-search", "a b"},
		{"rapid-commit", "1"},
	} {
		if o, err := Encode(tt[0], tt[1]); err == nil {
			t.Errorf("%s=%q: taken as %d %x", tt[0], tt[1], o.Code, o.Data)
		}
	}
}

// FuzzEncode holds that what is accepted is of bounded size, no reserved code, and free of line ends.
func FuzzEncode(f *testing.F) {
	for _, s := range [][2]string{{"mtu", "1400"}, {"option:domain-search", "a.b,c"}, {"121", "10.0.0.0/8,10.0.0.1"}, {"224", "01:02"}, {"lease-time", "h"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		o, err := Encode(name, value)
		if err != nil {
			return
		}
		if Reserved(o.Code) || len(o.Data) > 2*maxValue {
			t.Fatalf("%q=%q: code %d, %d octets", name, value, o.Code, len(o.Data))
		}
		if kinds[o.Code] == text && bytes.ContainsAny(o.Data, "\r\n\x00") {
			t.Fatalf("%q=%q: a line end in %q", name, value, o.Data)
		}
	})
}
