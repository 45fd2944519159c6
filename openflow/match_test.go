// SPDX-License-Identifier: Apache-2.0

package openflow

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAppendField(t *testing.T) {
	mac := [6]byte{0xfa, 0x16, 0x3e, 1, 2, 3}
	cases := []struct {
		name string
		got  []byte
		want string
	}{
		{"in_port", AppendUint(nil, FieldInPort, 2), "8000 00 04 00000002"},
		{"eth_src", AppendMAC(nil, FieldEthSrc, mac), "8000 08 06 fa163e010203"},
		{"multicast", AppendField(nil, FieldEthDst, []byte{1, 0, 0, 0, 0, 0}, []byte{1, 0, 0, 0, 0, 0}), "8000 07 0c 010000000000 010000000000"},
		{"tun_id", AppendUint(nil, FieldTunID, 0x435), "8000 4c 08 0000000000000435"},
		{"reg7 bit", AppendUintMask(nil, Reg(7), 0x10, 0x10), "0001 0f 08 00000010 00000010"},
		{"tcp_flags", AppendUint(nil, FieldTCPFlags, 2), "ffff 54 06 4f4e4600 0002"},
		{"nd_reserved", AppendUint(nil, FieldNDReserved, 0x60000000), "1000 02 04 60000000"},
		{"xreg", AppendUint(nil, XReg(1), 5), "8001 02 08 0000000000000005"},
		{"prefix", AppendPrefix(nil, FieldIPv4Dst, netip.MustParsePrefix("10.1.2.3/16")), "8000 19 08 0a010000 ffff0000"},
		{"host prefix", AppendPrefix(nil, FieldIPv4Dst, netip.MustParsePrefix("10.1.2.3/32")), "8000 18 04 0a010203"},
		{"any prefix", AppendPrefix(nil, FieldIPv4Dst, netip.MustParsePrefix("0.0.0.0/0")), ""},
		{"short value", AppendField(nil, FieldCTLabel, []byte{7}, nil), "0001 d8 10 00000000000000000000000000000007"},
		{"long value", AppendField(nil, FieldIPProto, []byte{1, 2, 17}, nil), "8000 14 01 11"},
		{"128 bit number", AppendUintMask(nil, XXReg(0), 9, 0xff), "0001 df 20 00000000000000000000000000000009 000000000000000000000000000000ff"},
	}
	for _, c := range cases {
		if want := unhex(t, c.want); !bytes.Equal(c.got, want) {
			t.Errorf("%s: got %x, want %x", c.name, c.got, want)
		}
	}
}

func TestCanonicalMatch(t *testing.T) {
	cases := []struct{ name, in, want string }{
		{"empty", "", ""},
		{"sorted", "80001401 11 80000a02 0800 80000004 00000001", "80000004 00000001 80000a02 0800 80001401 11"},
		{"value outside mask", "0001 0f08 000000ff 00000010", "0001 0f08 00000010 00000010"},
		{"full mask", "0001 0108 00000001 ffffffff", "00010004 00000001"},
		{"empty mask", "0001 0108 00000000 00000000", ""},
		{"nxm tun_id", "00012008 0000000000000435", "80004c08 0000000000000435"},
		{"nxm arp_sha", "00012206 fa163e010203", "80003006 fa163e010203"},
		{"nxm in_port", "00000002 0007", "80000004 00000007"},
		{"nxm in_port local", "00000002 fffe", "80000004 fffffffe"},
		{"of1.5 tcp_flags", "80005402 0002", "ffff5406 4f4e4600 0002"},
		{"tcp_flags full 12 bits", "ffff5508 4f4e4600 0002 0fff", "ffff5406 4f4e4600 0002"},
		{"vlan_vid full 13 bits", "80000d04 1005 1fff", "80000c02 1005"},
		{"vlan_tci none", "00000802 0000", "80000c02 0000"},
		{"vlan_tci whole", "00000802 7005", "80000c02 1005 80000e01 03"},
		{"vlan_tci vid only", "00000904 1005 1fff", "80000c02 1005"},
		{"nw_tos", "00000a01 b8", "80001001 2e"},
		{"xreg", "80010008 0000000100000002", "00010004 00000001 00010204 00000002"},
		{"xreg low half", "80010110 0000000000000002 00000000ffffffff", "00010204 00000002"},
		{"xxreg", "0001de10 00000001000000020000000300000004", "00010004 00000001 00010204 00000002 00010404 00000003 00010604 00000004"},
		{"packet type ethernet", "80005804 00000000", ""},
		{"packet type ipv4", "80005804 00010800", "80005804 00010800"},
		{"unknown last", "12340202 abcd 80000004 00000001", "80000004 00000001 12340202 abcd"},
	}
	for _, c := range cases {
		got, err := CanonicalMatch(unhex(t, c.in))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if want := unhex(t, c.want); !bytes.Equal(got, want) {
			t.Errorf("%s: got %x, want %x", c.name, got, want)
		}
		again, err := CanonicalMatch(got)
		if err != nil || !bytes.Equal(again, got) {
			t.Errorf("%s: not a fixed point: %x -> %x (%v)", c.name, got, again, err)
		}
	}
}

func TestCanonicalMatchErrors(t *testing.T) {
	cases := []struct {
		name, in string
		want     error
	}{
		{"half a header", "8000", ErrTruncated},
		{"body missing", "80000004 0000", ErrTruncated},
		{"wrong length", "80000002 0000", ErrLength},
		{"odd mask", "12340303 aabbcc", ErrLength},
		{"experimenter without id", "ffff5402 0002", ErrLength},
		{"twice", "80000004 00000001 80000004 00000001", ErrDuplicate},
		{"twice by alias", "80000004 00000001 00000002 0001", ErrDuplicate},
		{"unknown twice", "12340202 abcd 12340202 abce", ErrDuplicate},
	}
	for _, c := range cases {
		_, err := CanonicalMatch(unhex(t, c.in))
		var fe *FormatError
		if !errors.Is(err, c.want) || !errors.As(err, &fe) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}

// TestRegistryOrder: a canonical match must be legal on the wire, so every
// field stands behind those its prerequisites are made of.
func TestRegistryOrder(t *testing.T) {
	needs := map[Prereq][]*Field{
		PreVLAN: {FieldVLANVID}, PreMPLS: {FieldEthType}, PreARP: {FieldEthType}, PreIPv4: {FieldEthType},
		PreIPv6: {FieldEthType}, PreIP: {FieldEthType}, PreTCP: {FieldEthType, FieldIPProto},
		PreUDP: {FieldIPProto}, PreSCTP: {FieldIPProto}, PreICMPv4: {FieldIPProto}, PreICMPv6: {FieldIPProto},
		PreND: {FieldICMPv6Type, FieldICMPv6Code}, PreNDSolicit: {FieldICMPv6Type}, PreNDAdvert: {FieldICMPv6Type},
		PreNSH: {FieldEthType, FieldPacketType}, PreCT: {FieldEthType, FieldCTState},
	}
	for i, f := range Fields() {
		if f.order != i {
			t.Errorf("%s: order %d at place %d", f, f.order, i)
		}
		for _, p := range needs[f.Prereq] {
			if p.order >= f.order {
				t.Errorf("%s stands before its prerequisite %s", f, p)
			}
		}
		if f.Bytes*8 < f.Bits && f.Bytes != 0 {
			t.Errorf("%s: %d bits in %d bytes", f, f.Bits, f.Bytes)
		}
		if FieldByID(f.Wire()) != f || FieldByID(f.Header()) != f || FieldByName(f.Name) != f {
			t.Errorf("%s: not found by its own id or name", f)
		}
	}
	if FieldByName("NXM_NX_REG0") != Reg(0) || FieldByName("dl_src") != FieldEthSrc || Reg(32) != nil || XXReg(-1) != nil {
		t.Error("lookup by name or number broken")
	}
}

func FuzzMatch(f *testing.F) {
	f.Add(unhex(f, "8000000400000001 80000a020800 80001401 11 00010f080000001000000010"))
	f.Add(unhex(f, "ffff55084f4e460000020fff 12340202abcd 0001de1000000001000000020000000300000004"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var joined []byte
		ok := true
		for tlv, err := range TLVs(in) {
			if err != nil {
				var fe *FormatError
				if !errors.As(err, &fe) {
					t.Fatalf("untyped error %v", err)
				}
				ok = false
				break
			}
			joined = append(joined, tlv.Raw...)
			if tlv.Field != nil && tlv.Field.Wire() == tlv.ID {
				if again := AppendField(nil, tlv.Field, tlv.Value, tlv.Mask); !bytes.Equal(again, tlv.Raw) {
					t.Fatalf("%x encoded again as %x", tlv.Raw, again)
				}
			}
		}
		if ok && !bytes.Equal(joined, in) {
			t.Fatalf("%x split and joined gives %x", in, joined)
		}
		c, err := CanonicalMatch(in)
		if err != nil {
			return
		}
		if !ok {
			t.Fatal("malformed match has a canonical form")
		}
		again, err := CanonicalMatch(c)
		if err != nil || !bytes.Equal(c, again) {
			t.Fatalf("%x: canonical %x is not a fixed point: %x, %v", in, c, again, err)
		}
	})
}
