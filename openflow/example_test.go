// SPDX-License-Identifier: Apache-2.0

package openflow_test

import (
	"context"
	"fmt"
	"net"
	"sync"

	of "nagare/openflow"
	"nagare/openflow/oftest"
)

// A session: handshake, one bundle, a dump compared by canonical bytes.
func Example() {
	ctx := context.Background()
	controller, device := net.Pipe()
	sw := oftest.New(oftest.Options{DatapathID: 1})
	var wg sync.WaitGroup
	wg.Go(func() { sw.Serve(ctx, device) })
	c := of.NewConn(controller, of.Config{})
	defer wg.Wait()
	defer c.Close()
	if _, err := c.Handshake(ctx); err != nil {
		fmt.Println(err)
		return
	}

	match := of.AppendUint(nil, of.FieldTunID, 0x435)
	match = of.AppendMAC(match, of.FieldEthDst, [6]byte{0xfa, 0x16, 0x3e, 0x9e, 0xf5, 0x70})
	match, _ = of.CanonicalMatch(match)
	wanted := of.AppendInstructions(nil,
		of.ApplyActions{Actions: []of.Action{of.LoadUint(of.Reg(2), 7), of.Load{Dst: of.Reg(7).Range(4, 1), Value: 1}}},
		of.GotoTable{Table: 90})

	err := c.SendBundle(ctx, of.BundleAtomic|of.BundleOrdered,
		&of.FlowMod{Table: 80, Priority: 32768, Match: match, Instructions: wanted})
	if err != nil {
		fmt.Println(err) // a *BundleError names the message that was refused
		return
	}
	err = c.DumpFlows(ctx, of.AllFlows, func(s *of.FlowStats) error {
		got, err := of.CanonicalInstructions(s.Instructions)
		fmt.Println("table", s.Table, "same:", string(got) == string(wanted) && of.EqualMatch(s.Match, match))
		return err
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output: table 80 same: true
}
