// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	nbi "nagare/internal/api/odl"
	"nagare/internal/repro"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// childDir is the data directory of a server of its own process: this program started again.
const childDir = "NAGARE_ODL_CHILD_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := serveChild(dir); err != nil {
			fmt.Println("child:", err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// serveChild serves the northbound until its standard input ends, or it is killed.
func serveChild(dir string) error {
	st, err := store.Open(context.Background(), tables.Schema, store.Options{DataDir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("serving", l.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	return http.Serve(l, nbi.New(nbi.Config{Store: st, Auth: allow, Writable: true, NativeDHCP: true}))
}

// child is the way to such a process. After a number of requests it is killed, and started again at once.
type child struct {
	dir string
	tr  *http.Transport

	mu    sync.Mutex
	cmd   *exec.Cmd
	addr  string
	ready chan struct{} // closed when the present process serves
	left  int           // requests until the next kill
	plan  []int
	kills int
	err   error
	wg    sync.WaitGroup
}

// start runs a process and waits until it serves.
func (c *child) start() {
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childDir+"="+c.dir)
	stdin, err := cmd.StdinPipe() // held open: the process ends with this one
	var out io.Reader
	if err == nil {
		out, err = cmd.StdoutPipe()
	}
	if err == nil {
		err = cmd.Start()
	}
	addr := ""
	if err == nil {
		limit := time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() })
		sc := bufio.NewScanner(out)
		var said []string
		for sc.Scan() {
			said = append(said, sc.Text())
			if a, ok := strings.CutPrefix(sc.Text(), "serving "); ok {
				addr = a
				break
			}
		}
		limit.Stop()
		if addr == "" {
			err = fmt.Errorf("the server ended: %s", strings.Join(said, "\n"))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cmd, c.addr, c.err = cmd, addr, errors.Join(c.err, err)
	_ = stdin
	close(c.ready)
}

func (c *child) RoundTrip(req *http.Request) (*http.Response, error) {
	c.mu.Lock()
	addr := c.addr
	if c.left--; c.left == 0 {
		cmd := c.cmd
		c.ready, c.addr = make(chan struct{}), ""
		c.kills++
		if len(c.plan) > 0 {
			c.left, c.plan = c.plan[0], c.plan[1:]
		}
		c.wg.Go(func() { // beside the requests that are under way
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			c.tr.CloseIdleConnections()
			c.start()
		})
	}
	c.mu.Unlock()
	if addr == "" {
		return nil, errCut
	}
	to := req.Clone(req.Context())
	to.URL.Host, to.Host = addr, addr
	return c.tr.RoundTrip(to)
}

// await is a worker's sleep after a failed connection: until the server serves.
func (c *child) await(ctx context.Context, _ time.Duration) error {
	c.mu.Lock()
	ready := c.ready
	c.mu.Unlock()
	select {
	case <-ready:
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Join(ctx.Err(), c.err)
}

// TestKilled kills the server's process, with its store on disk, again and again while eight workers drain a journal over real
// connections.
func TestKilled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	rnd := repro.Rand(7, 7)
	c := &child{dir: t.TempDir(), tr: &http.Transport{MaxIdleConnsPerHost: 8}, ready: make(chan struct{})}
	for range 4 {
		c.plan = append(c.plan, 40+rnd.IntN(150))
	}
	c.left, c.plan = c.plan[0], c.plan[1:]
	c.start()
	defer func() {
		c.wg.Wait()
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
		c.tr.CloseIdleConnections()
	}()
	n := New("http://controller:8181", &http.Client{Transport: c}, "neutron", "secret")
	h := &History{N: n, Hosts: []string{"a", "b"}, Rnd: rnd}
	h.Start()
	for range 30 {
		for range 10 {
			h.Step()
		}
		if err := n.Work(ctx, 8, c.await); err != nil {
			t.Fatal(err)
		}
	}
	d := NewDrive(n, 1, rnd)
	err := errors.New("not tried")
	for range 3 { // a maintenance that meets a kill is tried again
		if err = c.await(ctx, 0); err == nil {
			err = d.Settle(ctx)
		}
		if err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	diff, err := n.Judge(ctx)
	if err != nil || len(diff) > 0 {
		t.Errorf("%d differences, %v:\n%s", len(diff), err, strings.Join(diff[:min(len(diff), 12)], "\n"))
	}
	if c.kills < 4 || n.Sent < 500 {
		t.Errorf("%d attempts, %d kills: too few to prove much", n.Sent, c.kills)
	}
	t.Logf("%d attempts, %d refused, %d kills", n.Sent, n.Refused, c.kills)
}
