// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"nagare/internal/lab"
)

// program is what is tested.
var program string

func TestMain(m *testing.M) { os.Exit(prepare(m)) }

func prepare(m *testing.M) int {
	if err := lab.Require(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	program = os.Getenv("NAGARE_BIN")
	if program == "" {
		dir, err := os.MkdirTemp("", "nagare-e2e-bin-")
		if err != nil {
			fmt.Fprintln(os.Stderr, "e2e:", err)
			return 1
		}
		defer os.RemoveAll(dir)
		program = filepath.Join(dir, "nagare")
		build := exec.Command("go", "build", "-o", program, "nagare/cmd/nagare")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "e2e: build: %v\n%s", err, out)
			return 1
		}
	}
	if !filepath.IsAbs(program) {
		fmt.Fprintf(os.Stderr, "e2e: NAGARE_BIN %q: give an absolute path\n", program)
		return 1
	}
	code := m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	return code
}
