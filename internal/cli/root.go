// SPDX-License-Identifier: Apache-2.0

// Package cli is the command line of nagare.
//
// Each command is a constructor in its own file; commands lists them. A command
// translates flags into a call of another package and its result into text or
// JSON, and holds no logic of its own. cmd/nagare calls Main and exits with what
// it returns: 0 done, 1 the operation or a checked statement failed, 2 the
// command line was wrong.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// commands lists the constructors of all top-level commands.
var commands = []func() *cobra.Command{
	newServeCommand,
	newLabCommand,
	newNodeCommand,
	newNodesCommand,
	newStatusCommand,
	newTopologyCommand,
	newFlowsCommand,
	newExplainCommand,
	newTraceCommand,
	newWaitCommand,
	newEventsCommand,
	newImportCommand,
}

// Exit codes that scripts may rely on.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// usageError marks an error of the command line itself (exit code 2).
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// usagef reports a wrong command line from within a command.
func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

// exitError ends a command with a given code; its report was already printed.
type exitError struct{ code int }

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// Main runs the command line and returns the exit code.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	started := false
	eachCommand(root, func(c *cobra.Command) {
		run := c.RunE
		if run == nil {
			return
		}
		c.RunE = func(c *cobra.Command, args []string) error {
			started = true
			return run(c, args)
		}
	})
	c, err := root.ExecuteContextC(ctx)
	var usage usageError
	var exit exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &exit):
		return exit.code
	case !started || errors.As(err, &usage):
		// Whatever fails before a command's own code runs is a matter of
		// arguments: unknown command, unknown flag, wrong count.
		fmt.Fprintf(stderr, "nagare: %v\nSee '%s --help'.\n", err, c.CommandPath())
		return exitUsage
	default:
		fmt.Fprintf(stderr, "nagare: %v\n", err)
		return exitFailed
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "nagare",
		Short: "OpenStack virtual networking on stock Open vSwitch",
		Long: "nagare serves the OpenStack networking API and programs stock Open vSwitch\n" +
			"nodes from it; it also builds a laboratory of such nodes on one machine.",
		Example:       "  nagare lab up\n  nagare lab run walkthrough\n  nagare lab down",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          showHelp,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	for _, construct := range commands {
		root.AddCommand(construct())
	}
	return root
}

// showHelp is what a command that only holds other commands runs.
func showHelp(c *cobra.Command, _ []string) error { return c.Help() }

func eachCommand(c *cobra.Command, do func(*cobra.Command)) {
	do(c)
	for _, sub := range c.Commands() {
		eachCommand(sub, do)
	}
}
