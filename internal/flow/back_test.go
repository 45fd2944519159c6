// SPDX-License-Identifier: Apache-2.0

package flow

import "testing"

func TestBack(t *testing.T) {
	const want = "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],move:NXM_NX_IPV6_SRC[]->NXM_NX_IPV6_DST[],move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[]"
	if got := Do(EthBack(), IPv6Back(), ARPBack()).String(); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}
