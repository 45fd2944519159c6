// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"
)

// TestRun cleans up, last thing first, however a function ends.
func TestRun(t *testing.T) {
	var order []int
	var dir string
	fault := errors.New("broken")
	err := Run(context.Background(), time.Minute, func(h *Host) {
		dir = h.Dir()
		h.Cleanup(func() { order = append(order, 1) })
		h.Cleanup(func() {
			if order = append(order, 2); !h.Failed() {
				t.Error("the cleaning up does not know of the failure")
			}
		})
		h.Must(fault)
		t.Error("went on after a failure")
	})
	if !errors.Is(err, fault) {
		t.Errorf("error %v", err)
	}
	if len(order) != 2 || order[0] != 2 {
		t.Errorf("cleaned up in order %v", order)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("directory %s is still there: %v", dir, err)
	}
	if err := Run(context.Background(), time.Minute, func(h *Host) { h.Skipf("no switch") }); err != ErrSkipped {
		t.Errorf("skipped: %v", err)
	}
	if err := Run(context.Background(), time.Minute, func(*Host) {}); err != nil {
		t.Errorf("error %v", err)
	}
}
