// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestExitCodes(t *testing.T) {
	tests := []struct {
		args string
		want int
		says string // on stderr
	}{
		{"", exitOK, ""},
		{"--help", exitOK, ""},
		{"nonsense", exitUsage, `unknown command "nonsense"`},
		{"lab nonsense", exitUsage, "nonsense"},
		{"lab --nonsense", exitUsage, "unknown flag: --nonsense"},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			got := Main(t.Context(), strings.Fields(tt.args), &stdout, &stderr)
			if got != tt.want {
				t.Errorf("exit code %d, want %d; stderr: %s", got, tt.want, stderr.String())
			}
			if !strings.Contains(stderr.String(), tt.says) {
				t.Errorf("stderr %q does not say %q", stderr.String(), tt.says)
			}
		})
	}
}

func TestEveryCommandShowsAnExample(t *testing.T) {
	eachCommand(newRoot(), func(c *cobra.Command) {
		if c.Short == "" {
			t.Errorf("command %q has no short description", c.CommandPath())
		}
		if !strings.Contains(c.Example, "nagare ") {
			t.Errorf("command %q has no example", c.CommandPath())
		}
		if c.RunE == nil || c.Run != nil {
			t.Errorf("command %q must use RunE, so that errors become exit codes", c.CommandPath())
		}
	})
}
