// SPDX-License-Identifier: Apache-2.0

package flowtree

import (
	"fmt"
	"strconv"
	"strings"

	"nagare/internal/flow"
)

// portWords are the reserved ports by OpenDaylight's names.
var portWords = map[uint32]string{
	flow.PortInPort: "INPORT", flow.PortTable: "TABLE", flow.PortNormal: "NORMAL", flow.PortFlood: "FLOOD",
	flow.PortAll: "ALL", flow.PortController: "CONTROLLER", flow.PortLocal: "LOCAL", flow.PortAny: "ANY",
}

var portNumbers = func() map[string]uint32 {
	m := map[string]uint32{"IN_PORT": flow.PortInPort}
	for n, word := range portWords {
		m[word] = n
	}
	return m
}()

// Port is a port's number as the tree has it: reserved ones by name.
func Port(p uint32) string {
	if word, ok := portWords[p]; ok {
		return word
	}
	return strconv.FormatUint(uint64(p), 10)
}

// connector is the id of a port of a node: the node's id, and behind a colon the port.
func connector(node string, p uint32) string { return node + ":" + Port(p) }

// parsePort reads a port, alone or behind the id of the node that has it.
func parsePort(node, text string) (uint32, error) {
	word := text
	if i := strings.LastIndexByte(text, ':'); i >= 0 {
		if text[:i] != node {
			return 0, fmt.Errorf("%q is a port of another node than %s", text, node)
		}
		word = text[i+1:]
	}
	if p, ok := portNumbers[strings.ToUpper(word)]; ok {
		return p, nil
	}
	p, err := strconv.ParseUint(word, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is neither the number of a port nor one of the reserved names, INPORT, LOCAL, NORMAL and so on", text)
	}
	return uint32(p), nil
}
