// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"time"
)

// Step 3 in packets: in by the floating IP, out with and without one, and the end of an association.

// echoWithin is how long a session that works may take to send back a line.
const echoWithin = 3 * time.Second

// reachFloating comes in by the floating IP and goes out; it ends with a login.
func (w *walk) reachFloating(ctx context.Context) error {
	w.print("\n$ nagare lab instance add vm01 --network %s --node %s --ssh\n", walkNetwork, w.host)
	if _, err := w.l.AddInstance(ctx, AddOptions{Name: "vm01", Network: walkNetwork, Node: w.host, SSH: true}); err != nil {
		return err
	}
	admitted, err := w.admitted(ctx, "icmp")
	if err != nil {
		return err
	}
	if !admitted {
		w.noPing(ctx, firstNode, floatingAddress, "the default group admits its members only: the controller node gets no answer from %s", floatingAddress)
	}
	for protocol, port := range map[string]string{"icmp": "", "tcp": "22"} {
		if err := w.admit(ctx, protocol, port); err != nil {
			return err
		}
	}
	w.pingUntil(ctx, firstNode, floatingAddress, "rules for ICMP and TCP port 22 let it in: the controller node reaches "+floatingAddress)
	w.login(ctx, "SSH from the controller node to the floating IP reaches vm01")
	w.ping(ctx, "vm02", floatingAddress, "by vm01's floating IP, from the same network")
	w.ping(ctx, "vm02", upstreamAddress, "without a floating IP (SNAT)")
	for name, want := range map[string]string{"vm02": gatewayAddress, "vm01": floatingAddress} {
		from, err := w.l.seenFrom(ctx, name)
		if err == nil && from != want {
			err = fmt.Errorf("it arrives from %s", from)
		}
		whose := "the router's"
		if name == "vm01" {
			whose = "its floating IP"
		}
		w.hold(err, "what %s sends to %s arrives there from %s, %s", name, upstreamAddress, want, whose)
	}
	if err := w.disassociate(ctx); err != nil {
		return err
	}
	if err := w.associate(ctx); err != nil {
		return err
	}
	w.pingUntil(ctx, firstNode, floatingAddress, "associated again, it answers again")
	w.login(ctx, "and SSH reaches vm01")
	return nil
}

// login is the statement that a login through the floating IP reaches vm01.
func (w *walk) login(ctx context.Context, text string) {
	argv := sshCommand(floatingAddress, "hostname")
	program, env, err := w.l.ExecCommand(firstNode, argv)
	if err == nil {
		var out string
		out, err = w.show(ctx, firstNode, shellWords(argv), env, program)
		if name := strings.TrimSpace(out); err == nil && name != "vm01" {
			err = fmt.Errorf("its host name is %q", name)
		}
	}
	w.hold(err, "%s: its host name is vm01", text)
}

// defaultGroup is demo's default group.
func (w *walk) defaultGroup(ctx context.Context) (string, error) {
	group, err := one[apiGroup](ctx, w.demo, "security-groups", "default")
	if err == nil && group == nil {
		err = errors.New("demo has no default group")
	}
	if err != nil {
		return "", err
	}
	return group.ID, nil
}

// admitted reports whether the default group admits a protocol from everywhere.
func (w *walk) admitted(ctx context.Context, protocol string) (bool, error) {
	group, err := w.defaultGroup(ctx)
	if err != nil {
		return false, err
	}
	rules, err := list[struct {
		RemoteGroup *string `json:"remote_group_id"`
	}](ctx, w.demo, "security-group-rules", url.Values{"security_group_id": {group}, "protocol": {protocol}, "direction": {"ingress"}})
	return len(rules) > 0, err
}

// admit adds a rule to the default group, if there is none for the protocol.
func (w *walk) admit(ctx context.Context, protocol, port string) error {
	if there, err := w.admitted(ctx, protocol); err != nil || there {
		return err
	}
	args := []string{"security", "group", "rule", "create", "--protocol", protocol}
	if port != "" {
		args = append(args, "--dst-port", port)
	}
	_, err := w.openstack(ctx, append(args, "default")...)
	return err
}

// seenFrom sends a datagram from an instance to the controller node's address behind br-ex, and reports where it came from, as
// seen there.
func (l *Lab) seenFrom(ctx context.Context, instance string) (string, error) {
	var in net.PacketConn
	err := within(l.namespace(firstNode), func() (err error) {
		in, err = net.ListenPacket("udp4", net.JoinHostPort(upstreamAddress, "0"))
		return err
	})
	if err != nil {
		return "", err
	}
	defer in.Close()
	var out net.Conn
	err = within(l.namespace(instance), func() (err error) {
		out, err = (&net.Dialer{FallbackDelay: -1}).DialContext(ctx, "udp4", in.LocalAddr().String())
		return err
	})
	if err != nil {
		return "", err
	}
	defer out.Close()
	b := make([]byte, 64)
	var from string
	err = until(ctx, settleWithin, "a datagram from "+instance+" arrives", func(context.Context) error {
		if _, err := out.Write([]byte(instance)); err != nil {
			return err
		}
		if err := in.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			return finalError{err}
		}
		n, addr, err := in.ReadFrom(b)
		if err == nil && string(b[:n]) != instance {
			err = fmt.Errorf("%q came", b[:n])
		}
		if err == nil {
			from, _, err = net.SplitHostPort(addr.String())
		}
		return err
	})
	return from, err
}

// disassociate takes the floating IP from vm01 under a running session.
func (w *walk) disassociate(ctx context.Context) error {
	x, err := w.openSession(ctx)
	if err != nil {
		w.hold(err, "a session through the floating IP sends back what it gets")
		return nil
	}
	defer x.close()
	w.hold(nil, "a session through the floating IP sends back what it gets")
	if _, err := w.openstack(ctx, "floating", "ip", "unset", "--port", floatingAddress); err != nil {
		return err
	}
	err = until(ctx, settleWithin, "the address stops answering", func(ctx context.Context) error {
		if _, err := w.l.ping(ctx, firstNode, floatingAddress); err == nil {
			return errors.New("it still answers")
		}
		return nil
	})
	w.hold(err, "disassociated, %s stops answering", floatingAddress)
	if err := x.echo("after"); err == nil {
		err = errors.New("it still sends back what it gets")
		w.hold(err, "and the session is cut")
	} else {
		w.hold(nil, "and the session is cut")
	}
	fip, err := w.floating(ctx)
	if err != nil {
		return err
	}
	if fip != nil {
		w.equal(strings.Join([]string{fip.Status, text(fip.Fixed), text(fip.PortID), text(fip.RouterID)}, " "), "DOWN null null null", "the floating IP is DOWN and stands for nothing")
	}
	return nil
}

// session is a login that runs cat: what it is told comes back.
type session struct {
	in    io.WriteCloser
	lines chan string
	end   func()
}

func (w *walk) openSession(ctx context.Context) (*session, error) {
	argv := sshCommand(floatingAddress, "cat")
	program, env, err := w.l.ExecCommand(firstNode, argv)
	if err != nil {
		return nil, err
	}
	w.print("\n%s$ %s\n", firstNode, shellWords(argv))
	ctx, cancel := context.WithCancel(ctx)
	cmd := command(ctx, nil, program...)
	cmd.Env, cmd.Stderr = env, io.Discard
	in, err := cmd.StdinPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	// A pipe of our own: Wait would close the command's under its reader.
	out, far, err := os.Pipe()
	if err != nil {
		cancel()
		return nil, err
	}
	cmd.Stdout = far
	err = cmd.Start()
	far.Close()
	if err != nil {
		cancel()
		out.Close()
		return nil, err
	}
	x := &session{in: in, lines: make(chan string)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(x.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			select {
			case x.lines <- s.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	x.end = func() {
		cancel()
		_ = cmd.Wait() // it was killed
		out.Close()
		<-done
	}
	if err := x.echo("before"); err != nil {
		x.close()
		return nil, err
	}
	return x, nil
}

// echo says a line and waits for it to come back.
func (x *session) echo(line string) error {
	if _, err := fmt.Fprintln(x.in, line); err != nil {
		return err
	}
	limit := time.NewTimer(echoWithin)
	defer limit.Stop()
	select {
	case got, ok := <-x.lines:
		if !ok || got != line {
			return fmt.Errorf("the session has ended, or said %q", got)
		}
		return nil
	case <-limit.C:
		return fmt.Errorf("no answer within %v", echoWithin)
	}
}

func (x *session) close() { x.end() }
