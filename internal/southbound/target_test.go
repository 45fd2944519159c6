// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"testing"
	"time"
)

// TestAuditDue keeps audits to a fiftieth of the time, however large the table, and never puts one off for ever.
func TestAuditDue(t *testing.T) {
	for _, tt := range []struct {
		since, took time.Duration
		want        bool
	}{
		{30 * time.Second, 5 * time.Millisecond, true},
		{30 * time.Second, 600 * time.Millisecond, true},
		{30 * time.Second, 601 * time.Millisecond, false},
		{60 * time.Second, 1200 * time.Millisecond, true},
		{9 * time.Minute, time.Minute, false},
		{10 * time.Minute, time.Hour, true},
	} {
		if got := auditDue(tt.since, tt.took); got != tt.want {
			t.Errorf("%v after one that took %v: due %v, want %v", tt.since, tt.took, got, tt.want)
		}
	}
}
