// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"fmt"
	"io"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// macTries bounds the draws for one address; a network with half of its 2^24 addresses in use fails once in 2^32 calls.
const macTries = 32

// MAC gives a port its address on a network: the wanted one (zero: any) if no port of the network has it, else fa:16:3e and
// three random octets. Errors: *ConflictError, *ExhaustedError, *InvalidError (a multicast address), or the random source's.
func (a *Allocator) MAC(tx *store.Txn, network model.NetworkID, wanted model.MAC) (model.MAC, error) {
	owner := func(m model.MAC) (model.PortID, bool) {
		p, ok := tables.PortsByMAC.First(tx, string(network)+"|"+m.String())
		return p.ID, ok
	}
	if !wanted.IsZero() {
		if wanted.IsMulticast() {
			return model.MAC{}, &InvalidError{What: "mac address", Value: wanted.String(), Reason: "a port cannot own a multicast address"}
		}
		if id, used := owner(wanted); used {
			return model.MAC{}, &ConflictError{What: "mac address", Value: wanted.String(), Where: "network " + string(network), Owner: "port " + string(id)}
		}
		return wanted, nil
	}
	for range macTries {
		m := model.MAC{0xfa, 0x16, 0x3e}
		if _, err := io.ReadFull(a.random(), m[3:]); err != nil {
			return model.MAC{}, fmt.Errorf("mac address: random source: %w", err)
		}
		if _, used := owner(m); !used {
			return m, nil
		}
	}
	return model.MAC{}, &ExhaustedError{What: "mac address", Where: "network " + string(network)}
}
