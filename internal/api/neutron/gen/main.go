// SPDX-License-Identifier: Apache-2.0

// Command gen writes docs/api.md from the declared resources. `go generate ./internal/api/neutron` runs it.
package main

import (
	"fmt"
	"os"

	"nagare/internal/api/neutron"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gen FILE")
		os.Exit(2)
	}
	if err := os.WriteFile(os.Args[1], []byte(neutron.Markdown()), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
