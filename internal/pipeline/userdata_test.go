// SPDX-License-Identifier: Apache-2.0

package pipeline

import "testing"

func TestUserdata(t *testing.T) {
	if k, ok := ParseUserdata(Userdata(PuntDHCP)); !ok || k != PuntDHCP {
		t.Errorf("kind %d, %v after a round trip", k, ok)
	}
	for _, b := range [][]byte{nil, {0x4e}, {0x4f, 1}, {0x4e, 1, 0}} {
		if _, ok := ParseUserdata(b); ok {
			t.Errorf("% x was taken for ours", b)
		}
	}
}
