// SPDX-License-Identifier: Apache-2.0

// Command gen writes docs/api.md and docs/policy.md from the declared resources. `go generate ./internal/api/neutron` runs it.
package main

import (
	"fmt"
	"os"

	"nagare/internal/api/neutron"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: gen API POLICY")
		os.Exit(2)
	}
	for i, text := range []string{neutron.Markdown(), neutron.PolicyMarkdown()} {
		if err := os.WriteFile(os.Args[1+i], []byte(text), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
