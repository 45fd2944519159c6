// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// command prepares a program with an argument list; nothing passes a shell.
// env is added to the environment of this process.
func command(ctx context.Context, env []string, argv ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.WaitDelay = time.Second
	return cmd
}

// run returns what the program prints on its standard output. The error holds
// the command and what it printed on standard error.
func run(ctx context.Context, env []string, argv ...string) (string, error) {
	cmd := command(ctx, env, argv...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		detail := strings.TrimSpace(errOut.String())
		if detail == "" {
			detail = strings.TrimSpace(out.String())
		}
		if detail != "" {
			detail = ": " + detail
		}
		return out.String(), fmt.Errorf("%s: %w%s", strings.Join(argv, " "), err, detail)
	}
	return out.String(), nil
}

// inNamespace prefixes a command so that it runs in a network namespace. The
// process keeps its pid: ip executes the program in its own place.
func inNamespace(ns string, argv ...string) []string {
	return append([]string{"ip", "netns", "exec", ns}, argv...)
}

// ovsEnv makes Open vSwitch's tools address one node.
func (l *Lab) ovsEnv(node string) []string {
	return []string{
		"OVS_RUNDIR=" + l.path("nodes", node, "run"),
		"OVS_LOGDIR=" + l.path("nodes", node, "log"),
		"OVS_DBDIR=" + l.path("nodes", node, "db"),
		"OVS_SYSCONFDIR=" + l.path("nodes", node, "db"),
	}
}

// ovs runs one of Open vSwitch's tools against a node.
func (l *Lab) ovs(ctx context.Context, node string, argv ...string) (string, error) {
	if argv[0] == "ovs-vsctl" {
		argv = append([]string{"ovs-vsctl", "--timeout=20"}, argv[1:]...)
	}
	return run(ctx, l.ovsEnv(node), argv...)
}

// each runs commands in order up to the first error.
func each(ctx context.Context, commands ...[]string) error {
	for _, argv := range commands {
		if _, err := run(ctx, nil, argv...); err != nil {
			return err
		}
	}
	return nil
}

func ip(args ...string) []string { return append([]string{"ip"}, args...) }
