// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	roleServer    = "server"
	roleForwarder = "forwarder"

	serverReadyWithin = 60 * time.Second
	controlledWithin  = 60 * time.Second
)

func roleDHCP(node string) string { return "dhcp-" + node }

// startServer starts "nagare serve" in the controller node's namespace and waits
// until it says that it is ready.
func (l *Lab) startServer(ctx context.Context, s *State) error {
	bin, err := l.binary()
	if err != nil {
		return err
	}
	if err := l.makePassword(); err != nil {
		return err
	}
	argv := []string{
		bin, "serve",
		"--data-dir", l.path("data"),
		"--profile", s.Config.Profile,
		"--listen-ip", serverIP,
		"--public-host", s.Config.HostIP,
		"--southbound-plaintext",
		"--auth", "builtin",
		"--bootstrap-password-file", l.passwordPath(),
		"--northbound", s.Config.Northbound,
		"--log-file", l.path("log", "server.log"),
	}
	if s.Config.Profile != profileClassic { // which has only one way
		// The recorded scenario names the DHCP server by its node, not by the machine that the lab is on.
		argv = append(argv, "--dhcp", s.Config.DHCP, "--server-name", firstNode)
	}
	if s.Config.IDs == idsRecorded {
		if err := writeFile(l.path("ids.yaml"), []byte(recordedIDs), 0o644); err != nil {
			return err
		}
		argv = append(argv, "--ids", l.path("ids.yaml"))
	}
	if err := l.ensureProcess(s, roleServer, s.Config.Nodes[0].Name, nil, argv); err != nil {
		return err
	}
	return l.waitReady(ctx, s)
}

// waitReady asks /readyz from inside the controller node's namespace.
func (l *Lab) waitReady(ctx context.Context, s *State) error {
	transport := &http.Transport{DialContext: dialer(netnsPath(l.namespace(s.Config.Nodes[0].Name))), DisableKeepAlives: true}
	client := &http.Client{Transport: transport, Timeout: 2 * time.Second}
	return until(ctx, serverReadyWithin, "server is ready", func(ctx context.Context) error {
		if !s.Processes[roleServer].Alive() {
			return finalError{fmt.Errorf("it ended:\n%s", l.serverLog())}
		}
		return getOK(ctx, client, fmt.Sprintf("http://%s:%d/readyz", serverIP, portAdmin))
	})
}

// serverLog is the end of what the server wrote, to its log and to its terminal.
func (l *Lab) serverLog() string {
	out := tail(l.path("log", roleServer+".out"), 15)
	if _, err := os.Stat(l.path("log", "server.log")); err == nil {
		out = strings.TrimSpace(out + "\n" + tail(l.path("log", "server.log"), 15))
	}
	return out
}

func getOK(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return nil
}

// startDHCP starts the DHCP processes of the network nodes; none where the server answers itself.
func (l *Lab) startDHCP(s *State) error {
	nodes := s.Config.dhcpNodes()
	if len(nodes) == 0 {
		return nil
	}
	bin, err := l.binary()
	if err != nil {
		return err
	}
	env, err := l.credentials("admin", "http://"+serverIP)
	if err != nil {
		return err
	}
	for _, node := range nodes {
		if err := l.ensureProcess(s, roleDHCP(node), node, env,
			[]string{bin, "node", "dhcp", "--server", fmt.Sprintf("http://%s:%d", serverIP, portAdmin), "--node", node}); err != nil {
			return err
		}
	}
	return nil
}

// startForwarder starts the process that offers the server's ports on the host.
// It enters its own pid, so that it is found even if this program dies between
// the two steps.
func (l *Lab) startForwarder(ctx context.Context, s *State) error {
	bin, err := l.binary()
	if err != nil {
		return err
	}
	if _, ok := l.forwarder(); !ok {
		argv := []string{
			bin, "lab", "forward", "--netns", netnsPath(l.namespace(s.Config.Nodes[0].Name)),
			"--listen", s.Config.HostIP, "--to", serverIP, "--pid-file", l.forwarderPath(),
			"--ports", fmt.Sprintf("%d,%d,%d", portIdentity, portAdmin, portNeutron),
		}
		p, err := spawn(nil, l.path("log", roleForwarder+".out"), argv...)
		if err != nil {
			return fmt.Errorf("forwarder: %w", err)
		}
		s.Processes[roleForwarder] = p
		if err := l.save(s); err != nil {
			return err
		}
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * time.Second}
	return until(ctx, 10*time.Second, "forwarder on "+s.Config.HostIP, func(ctx context.Context) error {
		if !s.Processes[roleForwarder].Alive() {
			return finalError{fmt.Errorf("it ended: %s\nIf another program or lab uses the ports, choose another address: nagare lab up --host-ip 127.0.0.2", tail(l.path("log", roleForwarder+".out"), 5))}
		}
		if _, ok := l.forwarder(); !ok {
			return errors.New("it does not listen yet")
		}
		return getOK(ctx, client, fmt.Sprintf("http://%s:%d/readyz", s.Config.HostIP, portAdmin))
	})
}

func (l *Lab) forwarderPath() string { return l.path("forwarder.json") }

// ensureProcess starts a program in a node's namespace unless it runs already.
// Everything in a lab's namespace is found by Down, so it may be entered after
// its start.
func (l *Lab) ensureProcess(s *State, role, node string, env, argv []string) error {
	if s.Processes[role].Alive() {
		return nil
	}
	p, err := spawn(env, l.path("log", role+".out"), inNamespace(l.namespace(node), argv...)...)
	if err != nil {
		return fmt.Errorf("%s: %w", role, err)
	}
	s.Processes[role] = p
	return l.save(s)
}

func (l *Lab) passwordPath() string { return l.path("password") }

// makePassword generates the password of the lab's users, once.
func (l *Lab) makePassword() error {
	if _, err := os.Stat(l.passwordPath()); err == nil {
		return nil
	}
	secret := make([]byte, 12)
	if _, err := rand.Read(secret); err != nil {
		return err
	}
	return writeFile(l.passwordPath(), []byte(hex.EncodeToString(secret)+"\n"), 0o600)
}

// credentials returns the OS_* variables of a user; base is the server's
// address as "http://HOST".
func (l *Lab) credentials(user, base string) ([]string, error) {
	password, err := os.ReadFile(l.passwordPath())
	if err != nil {
		return nil, fmt.Errorf("lab %s: password: %w", l.Name, err)
	}
	return []string{
		fmt.Sprintf("OS_AUTH_URL=%s:%d/v3", base, portIdentity),
		"OS_IDENTITY_API_VERSION=3",
		"OS_USERNAME=" + user,
		"OS_PASSWORD=" + strings.TrimSpace(string(password)),
		"OS_PROJECT_NAME=" + user,
		"OS_USER_DOMAIN_NAME=Default",
		"OS_PROJECT_DOMAIN_NAME=Default",
	}, nil
}

// OpenRC returns the variables with which the openstack client reaches the lab
// as the user admin or demo, as NAME=VALUE. For the user odl they are those that
// networking-odl's DevStack plugin reads, for a Neutron on this host.
func (l *Lab) OpenRC(user string) ([]string, error) {
	if user != "admin" && user != "demo" && user != northboundODL {
		return nil, fmt.Errorf("user %q: the lab has admin and demo, and odl for another Neutron", user)
	}
	s, err := l.load()
	if err != nil {
		return nil, err
	}
	if s.Config.Bare {
		return nil, fmt.Errorf("lab %s: has no server of its own", l.Name)
	}
	if user == northboundODL {
		return l.odlVariables(s)
	}
	vars, err := l.credentials(user, "http://"+s.Config.HostIP)
	if err != nil {
		return nil, err
	}
	// For nagare's own commands: a lab may be reached at another loopback address.
	return append(vars, fmt.Sprintf("NAGARE_SERVER=http://%s:%d", s.Config.HostIP, portAdmin)), nil
}
