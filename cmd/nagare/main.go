// SPDX-License-Identifier: Apache-2.0

// Command nagare is OpenStack virtual networking on stock Open vSwitch as one
// binary: server, node services, laboratory and command line.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"nagare/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Main(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
