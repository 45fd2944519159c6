// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"fmt"
	"net/netip"
	"strings"

	"nagare/openflow"
)

func (p *actParser) ct(arg string) (Act, error) {
	a := openflow.CT{Table: openflow.CTNoTable}
	var exec []Act
	var nat *openflow.NAT
	for _, item := range splitList(arg) {
		key, value, _ := strings.Cut(item, "=")
		var err error
		var v uint64
		switch {
		case key == "commit":
			a.Flags |= openflow.CTCommit
		case key == "force":
			a.Flags |= openflow.CTForce
		case key == "table":
			v, err = parseUint(value, 8)
			a.Table = uint8(v)
		case key == "zone":
			if v, err = parseUint(value, 16); err == nil {
				a.Zone = uint16(v)
			} else {
				a.ZoneFrom, err = parseSub(value)
				if err == nil && a.ZoneFrom.Bits != 16 {
					err = fmt.Errorf("zone needs 16 bits")
				}
			}
		case key == "alg":
			a.ALG, err = parseALG(value)
		case strings.HasPrefix(item, "exec(") && strings.HasSuffix(item, ")"):
			exec, err = p.nested(item[5 : len(item)-1])
		case item == "nat":
			nat = UnNAT()
		case strings.HasPrefix(item, "nat(") && strings.HasSuffix(item, ")"):
			nat, err = parseNAT(item[4 : len(item)-1])
		default:
			err = fmt.Errorf("unknown option %q", item)
		}
		if err != nil {
			return Act{}, err
		}
	}
	if nat != nil {
		a.Actions = append(a.Actions, *nat)
	}
	if len(exec) > 0 {
		a.Actions = append(a.Actions, openflow.Raw(list(nil, exec)))
	}
	return Action(a), nil
}

func parseALG(s string) (uint16, error) {
	switch s {
	case "ftp":
		return 21, nil
	case "tftp":
		return 69, nil
	}
	v, err := parseUint(s, 16)
	return uint16(v), err
}

func parseNAT(arg string) (*openflow.NAT, error) {
	n := &openflow.NAT{}
	for _, item := range splitList(arg) {
		key, value, _ := strings.Cut(item, "=")
		switch key {
		case "src", "dst":
			if n.Flags&(openflow.NATSrc|openflow.NATDst) != 0 {
				return nil, fmt.Errorf("nat with two directions")
			}
			n.Flags |= map[string]uint16{"src": openflow.NATSrc, "dst": openflow.NATDst}[key]
			if err := parseNATRange(n, value); err != nil {
				return nil, err
			}
		case "persistent":
			n.Flags |= openflow.NATPersistent
		case "hash":
			n.Flags |= openflow.NATProtoHash
		case "random":
			n.Flags |= openflow.NATRandom
		default:
			return nil, fmt.Errorf("unknown nat option %q", item)
		}
	}
	if n.Flags != 0 && n.Flags&(openflow.NATSrc|openflow.NATDst) == 0 {
		return nil, fmt.Errorf("nat options without src or dst")
	}
	return n, nil
}

// parseNATRange reads addr[-addr][:port[-port]]; IPv6 in brackets if a port follows.
func parseNATRange(n *openflow.NAT, s string) error {
	if s == "" {
		return nil
	}
	addrs, ports := s, ""
	if strings.HasPrefix(s, "[") {
		end := strings.LastIndex(s, "]")
		if end < 0 {
			return fmt.Errorf("nat range %q: bracket is not closed", s)
		}
		addrs, ports = s[:end+1], strings.TrimPrefix(s[end+1:], ":")
	} else if strings.Count(s, ":") == 1 {
		addrs, ports, _ = strings.Cut(s, ":")
	}
	addr := func(s string) (netip.Addr, error) {
		a, err := netip.ParseAddr(strings.Trim(s, "[]"))
		if err != nil || a.Zone() != "" || a.Is4In6() {
			return a, fmt.Errorf("nat address %q", s)
		}
		return a, nil
	}
	lo, hi, two := strings.Cut(addrs, "-")
	var err error
	if n.MinAddr, err = addr(lo); err != nil {
		return err
	}
	if two {
		if n.MaxAddr, err = addr(hi); err != nil {
			return err
		}
		if n.MaxAddr.Is4() != n.MinAddr.Is4() || n.MaxAddr.Less(n.MinAddr) {
			return fmt.Errorf("nat range %q is empty", s)
		}
		if n.MaxAddr == n.MinAddr {
			n.MaxAddr = netip.Addr{}
		}
	}
	if ports == "" {
		return nil
	}
	lo, hi, two = strings.Cut(ports, "-")
	v, err := parseUint(lo, 16)
	if err != nil || v == 0 {
		return fmt.Errorf("nat port %q", lo)
	}
	n.MinPort = uint16(v)
	if two {
		if v, err = parseUint(hi, 16); err != nil || v < uint64(n.MinPort) {
			return fmt.Errorf("nat port %q", hi)
		}
		if uint16(v) != n.MinPort {
			n.MaxPort = uint16(v)
		}
	}
	return nil
}
