// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"sync"

	"nagare/internal/flow"
)

// appendShape appends what Check looks at in a flow, without the values: the
// headers of the match fields, the kinds of the actions and what they name.
// Two flows of one shape get one verdict. ok is false if the bytes are no flow
// or have no place in dst without growing it.
func appendShape(dst []byte, f flow.Flow) (_ []byte, ok bool) {
	for m := f.Match; len(m) > 0; {
		if len(m) < 4 || len(m) < 4+int(m[3]) || len(dst)+9 > cap(dst) {
			return nil, false
		}
		n := 3
		if m[0] == 0xff && m[1] == 0xff { // experimenter field
			n = min(8, len(m))
		}
		dst = append(dst, m[:n]...)
		m = m[4+int(m[3]):]
	}
	dst = append(dst, 0xff) // no class of a field begins so and goes on as an instruction
	for a := f.Actions; len(a) > 0; {
		n := length(a)
		if n < 8 || n > len(a) || len(dst)+8 > cap(dst) {
			return nil, false
		}
		dst = append(dst, a[0], a[1])
		switch typ := uint16(a[0])<<8 | uint16(a[1]); typ {
		case 1: // goto-table
			dst = append(dst, a[4])
		case 3, 4: // write-actions, apply-actions
			if dst, ok = appendActionShapes(dst, a[8:n]); !ok {
				return nil, false
			}
			dst = append(dst, 0xfe)
		}
		a = a[n:]
	}
	return dst, true
}

func length(s flow.Actions) int {
	if len(s) < 4 {
		return 0
	}
	return int(s[2])<<8 | int(s[3])
}

// appendActionShapes keeps of each action the type, of a set-field the field,
// of the Nicira ones what decides legality; numbers, addresses and user data go.
func appendActionShapes(dst []byte, a flow.Actions) (_ []byte, ok bool) {
	for len(a) > 0 {
		n := length(a)
		if n < 8 || n > len(a) || len(dst)+32 > cap(dst) {
			return nil, false
		}
		dst = append(dst, a[0], a[1])
		switch typ := uint16(a[0])<<8 | uint16(a[1]); {
		case typ == 0: // output: whether to the controller
			if n >= 8 && a[4:8] == "\xff\xff\xff\xfd" {
				dst = append(dst, 1)
			} else {
				dst = append(dst, 0)
			}
		case typ == 25: // set-field
			dst = append(dst, a[4:8]...)
			if a[4:6] == "\xff\xff" && n >= 12 {
				dst = append(dst, a[8:12]...)
			}
		case typ == 0xffff && n >= 16:
			dst = append(dst, a[4:10]...)
			switch uint16(a[8])<<8 | uint16(a[9]) {
			case 7: // reg_load: the field, not the bits or the value
				dst = append(dst, a[12:16]...)
			case 36, 37, 34: // nat, controller2, conjunction
			case 14, 44: // resubmit: the table
				dst = append(dst, a[12])
			case 35: // ct: the table, then what it executes
				if n < 24 {
					return nil, false
				}
				dst = append(dst, a[18])
				if dst, ok = appendActionShapes(dst, a[24:n]); !ok {
					return nil, false
				}
				dst = append(dst, 0xfd)
			default: // move, clone and the rest: all of it
				if len(dst)+n+8 > cap(dst) {
					return nil, false
				}
				dst = append(dst, a[:n]...)
			}
		}
		a = a[n:]
	}
	return dst, true
}

// maxVerdicts bounds the memory of the cache; shapes beyond it are checked anew
// each time. A pipeline has some hundreds.
const maxVerdicts = 4096

type verdictCache struct {
	mu sync.RWMutex
	m  map[string]error
}

var verdicts = verdictCache{m: map[string]error{}}

func (c *verdictCache) get(sig []byte) (err error, known bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	err, known = c.m[string(sig)]
	return err, known
}

func (c *verdictCache) put(sig []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.m) < maxVerdicts {
		c.m[string(sig)] = err
	}
}
