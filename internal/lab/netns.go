// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// netnsPath is where ip-netns(8) keeps a named namespace.
func netnsPath(ns string) string { return "/run/netns/" + ns }

// haveNamespace reports whether the name stands for a live namespace. A file
// that is left over from a namespace (after a reboot, or between the two steps in
// which ip makes one) does not count.
func haveNamespace(ns string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(netnsPath(ns), &fs) == nil && fs.Type == unix.NSFS_MAGIC
}

// makeNamespace makes the namespace unless it is there, with its loopback up and
// IPv6 off, so that nothing is sent unasked.
func makeNamespace(ctx context.Context, ns string) error {
	if !haveNamespace(ns) {
		if err := os.Remove(netnsPath(ns)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("namespace %s: stale file: %w", ns, err)
		}
		if _, err := run(ctx, nil, ip("netns", "add", ns)...); err != nil {
			return err
		}
	}
	err := within(ns, func() error {
		for _, which := range []string{"all", "default"} {
			err := os.WriteFile(filepath.Join("/proc/sys/net/ipv6/conf", which, "disable_ipv6"), []byte("1"), 0)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("namespace %s: %w", ns, err)
	}
	_, err = run(ctx, nil, ip("-n", ns, "link", "set", "lo", "up")...)
	return err
}

// dropNamespace ends what runs in the namespace and deletes it.
func dropNamespace(ctx context.Context, ns string) error {
	if haveNamespace(ns) {
		// A process may start another while it is being ended, so look again.
		for {
			left, err := inhabitants(ns)
			if err != nil {
				return err
			}
			if len(left) == 0 {
				break
			}
			for _, p := range left {
				if err := p.stop(ctx, stopGrace); err != nil {
					return fmt.Errorf("namespace %s: %w", ns, err)
				}
			}
		}
		if _, err := run(ctx, nil, ip("netns", "del", ns)...); err != nil {
			return err
		}
	}
	if err := os.Remove(netnsPath(ns)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("namespace %s: %w", ns, err)
	}
	return nil
}

// within runs f with the calling thread inside the namespace. f must not start
// goroutines that need it. Sockets opened in f stay in the namespace.
func within(ns string, f func() error) error {
	return withinPath(netnsPath(ns), f)
}

func withinPath(path string, f func() error) error {
	target, err := netns.GetFromPath(path)
	if err != nil {
		return fmt.Errorf("namespace %s: %w", path, err)
	}
	defer target.Close()
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.Close()
	if err := netns.Set(target); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("namespace %s: %w", path, err)
	}
	result := f()
	if err := netns.Set(home); err != nil {
		// The thread is lost to other work: leaving it locked makes the runtime
		// end it together with its goroutine.
		return errors.Join(result, fmt.Errorf("return from namespace %s: %w", path, err))
	}
	runtime.UnlockOSThread()
	return result
}

// dialer returns a dial function for IPv4 literals that connects from inside the
// namespace. The namespace is looked up at each call, so it may be made anew.
func dialer(path string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, _, addr string) (net.Conn, error) {
		var conn net.Conn
		err := withinPath(path, func() error {
			var err error
			// A literal needs no resolver, and one address no race of two, so
			// the socket is made on this very thread.
			conn, err = (&net.Dialer{FallbackDelay: -1}).DialContext(ctx, "tcp4", addr)
			return err
		})
		return conn, err
	}
}
