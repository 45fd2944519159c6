// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"os"
	"strings"
	"testing"
)

// TestReference: docs/api.md is what the declarations generate.
func TestReference(t *testing.T) {
	got, err := os.ReadFile("../../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	want := Markdown()
	if string(got) != want {
		t.Error("docs/api.md is stale: run go generate ./internal/api/neutron")
	}
	for _, line := range []string{
		"| `provider:segmentation_id` | administrator | administrator | yes | yes | administrator, service |",
		"| `router` | Router abstraction for basic L3 forwarding between L2 Neutron networks and access to external networks via a NAT gateway. | where the data plane routes |",
		"| `network_id` | required |  | yes | yes |  |",
	} {
		if !strings.Contains(want, line+"\n") {
			t.Errorf("no line %q", line)
		}
	}
}
