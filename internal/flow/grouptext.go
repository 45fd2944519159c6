// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"fmt"
	"strings"
)

// ParseGroup reads one line of a group dump, or a group as ovs-ofctl add-group
// takes it.
func ParseGroup(line string) (Group, error) {
	head, rest, _ := strings.Cut(strings.TrimSpace(line), ",bucket=")
	var id uint64
	typ, known := GroupAll, false
	for _, item := range splitList(head) {
		key, value, _ := strings.Cut(item, "=")
		var err error
		switch key {
		case "group_id":
			id, err = parseUint(value, 32)
		case "type":
			for _, t := range []GroupType{GroupAll, GroupSelect, GroupIndirect, GroupFastFailover} {
				if value == t.String() || t == GroupFastFailover && value == "fast_failover" {
					typ, known = t, true
				}
			}
		default:
			err = fmt.Errorf("unknown option %q", key)
		}
		if err != nil {
			return Group{}, fmt.Errorf("group %q: %w", line, err)
		}
	}
	if !known {
		return Group{}, fmt.Errorf("group %q has no known type", line)
	}
	var buckets []Bucket
	if rest != "" {
		for _, text := range strings.Split(rest, ",bucket=") {
			b, err := parseBucket(text)
			if err != nil {
				return Group{}, fmt.Errorf("group %d: bucket %q: %w", id, text, err)
			}
			buckets = append(buckets, b)
		}
	}
	return NewGroup(uint32(id), typ, buckets...), nil
}

func parseBucket(text string) (b Bucket, err error) {
	p := actParser{}
	var acts []string
	for _, item := range splitList(text) {
		var v uint64
		name, value, _ := strings.Cut(item, ":")
		switch name {
		case "weight":
			v, err = parseUint(value, 16)
			b.Weight = uint16(v)
		case "watch_port":
			b.WatchPort, err = parsePort(value)
		case "watch_group":
			v, err = parseUint(value, 32)
			b.WatchGroup = uint32(v)
		case "bucket_id":
		default:
			acts = append(acts, strings.TrimPrefix(item, "actions="))
		}
		if err != nil {
			return b, err
		}
	}
	b.Acts, err = p.nested(strings.Join(acts, ","))
	return b, err
}
