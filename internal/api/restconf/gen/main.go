// SPDX-License-Identifier: Apache-2.0

// Command gen writes docs/model.md from the modules and the sources of data. `go generate ./internal/api/restconf` runs it.
package main

import (
	"fmt"
	"os"

	"nagare/internal/api/restconf"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gen MODEL")
		os.Exit(2)
	}
	if err := os.WriteFile(os.Args[1], []byte(restconf.Markdown()), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
