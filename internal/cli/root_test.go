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

func TestLabUsageErrors(t *testing.T) {
	for args, says := range map[string]string{
		"lab up --nodes compute":               `must be "controller"`,
		"lab up --host-ip 10.0.0.1":            "loopback",
		"lab up --name UPPER":                  "lab name",
		"lab run walkthrough --until 7":        "the steps are 0 to 3",
		"lab run walkthrough --ids mine":       "generated or recorded",
		"lab status -o xml":                    "table or json",
		"lab instance add vm01":                "required flag",
		"lab instance add vm01 --network n":    "--port",
		"lab instance add a --port p --node n": "were all set",
		"lab instance rm":                      "accepts 1 arg",
		"lab openrc root":                      `invalid argument "root"`,
		"lab exec controller --":               "no command",
		"lab forward --netns x":                "required flag",
		"node dhcp --log-level loud --node a":  "log level",
	} {
		t.Run(args, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			words := append(strings.Fields(args), "--dir", t.TempDir())
			if strings.HasPrefix(args, "node") || strings.Contains(args, "exec") {
				words = strings.Fields(args)
			}
			if got := Main(t.Context(), words, &stdout, &stderr); got != exitUsage {
				t.Errorf("exit code %d, want %d", got, exitUsage)
			}
			if !strings.Contains(stderr.String(), says) {
				t.Errorf("stderr %q does not say %q", stderr.String(), says)
			}
		})
	}
}

func TestLabThatIsNotUp(t *testing.T) {
	for _, args := range []string{"lab status", "lab instance list", "lab openrc demo"} {
		var stdout, stderr bytes.Buffer
		got := Main(t.Context(), append(strings.Fields(args), "--dir", t.TempDir()), &stdout, &stderr)
		if got != exitFailed || !strings.Contains(stderr.String(), "nagare lab up") {
			t.Errorf("%s: exit code %d, stderr %q", args, got, stderr.String())
		}
	}
}
