// SPDX-License-Identifier: Apache-2.0

package punt

import (
	"bytes"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"nagare/internal/pipeline"
	"nagare/internal/store"
)

// TestTaggedAnswer: what a sub-port of a trunk asks is answered with its tag, which the packet that was sent up has no more.
func TestTaggedAnswer(t *testing.T) {
	st := cloud(t, 3, func(tx *store.Txn) {
		p := vm(4)
		p.Parent, p.VLAN = vm(3).ID, 0x123
		put(tx, p)
	})
	sub, plain := Answer(st.Snapshot(), discover(4)), Answer(st.Snapshot(), discover(3))
	if len(sub) != 1 || len(plain) != 1 {
		t.Fatalf("%d and %d answers, want one each", len(sub), len(plain))
	}
	if !bytes.Equal(sub[0][12:16], []byte{0x81, 0x00, 0x01, 0x23}) || !bytes.Equal(sub[0][16:18], plain[0][12:14]) {
		t.Errorf("a sub-port's answer begins %x, a port's %x", sub[0][:20], plain[0][:20])
	}
	untagged := append(append([]byte{}, sub[0][:12]...), sub[0][16:]...)
	if m, err := dhcpv4.FromBytes(untagged[42:]); err != nil || !m.YourIPAddr.Equal(vm(4).FixedIPs[0].Addr.AsSlice()) {
		t.Errorf("a sub-port's answer: %v, %v", m, err)
	}
	p := discover(4)
	p.Origin = pipeline.FromProvider // the register of the port is of no meaning then
	if got := tagged(st.Snapshot(), &p, plain[0]); !bytes.Equal(got, plain[0]) {
		t.Errorf("an answer to the wire begins %x", got[:20])
	}
}
