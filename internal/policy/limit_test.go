// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"strings"
	"testing"
)

// TestLimits: neither a check nor a file is read without an end; both are told so.
func TestLimits(t *testing.T) {
	long := strings.Repeat("(", maxCheck/2) + "@" + strings.Repeat(")", maxCheck/2)
	for name, file := range map[string]string{"a check": "get_network: '" + long + "'", "a file": "#" + strings.Repeat("x", maxFile)} {
		if _, err := Load([]byte(file), known); err == nil || !strings.Contains(err.Error(), "longer than") {
			t.Errorf("%s that is too long: %v", name, err)
		}
	}
	if _, err := Load([]byte("get_network: '"+long[1:len(long)-1]+"'"), known); err != nil {
		t.Errorf("one that just fits: %v", err)
	}
}

// TestOneDocument: a file's second document is refused, whatever is in it: what it forbids would be allowed.
func TestOneDocument(t *testing.T) {
	for _, second := range []string{"create_network: '!'\n", "", "[", "null\n"} {
		if _, err := Load([]byte("get_network: '!'\n---\n"+second), known); err == nil || !strings.Contains(err.Error(), "second document") {
			t.Errorf("%q: %v", second, err)
		}
	}
	for _, file := range []string{"---\nget_network: '!'\n", "get_network: '!'\n...\n"} {
		if _, err := Load([]byte(file), known); err != nil {
			t.Errorf("%q: %v", file, err)
		}
	}
}
