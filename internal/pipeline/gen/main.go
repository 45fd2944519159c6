// SPDX-License-Identifier: Apache-2.0

// Command gen writes docs/pipeline.md from the declared tables. `go generate
// ./internal/pipeline` runs it.
package main

import (
	"fmt"
	"os"

	"nagare/internal/pipeline"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gen FILE")
		os.Exit(2)
	}
	if err := os.WriteFile(os.Args[1], []byte(pipeline.Markdown()), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
