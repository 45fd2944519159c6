// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"nagare/internal/ovstest"
	"nagare/test/bench/host"
)

// server is a running nagare with an empty data directory, seen as its clients see it.
type server struct {
	h                              *host.Host
	cmd                            *exec.Cmd
	neutron, identity, admin, node string // host:port; node is OVSDB's
	token                          string
	client                         *http.Client
}

// startServer runs the program with everything that is durable in a directory of its own, and logs in. ids is a file of
// recorded ids; extra are further arguments.
func startServer(h *host.Host, o *options, ids string, extra ...string) *server {
	dir := h.Dir()
	password := filepath.Join(dir, "password")
	h.Must(os.WriteFile(password, []byte("bench-password\n"), 0o600))
	ports := freePorts(h, 5)
	at := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ports[i]) }
	s := &server{h: h, neutron: at(0), identity: at(1), admin: at(2), node: at(3),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 128}, Timeout: 2 * time.Minute}}
	args := []string{"serve", "--data-dir", filepath.Join(dir, "data"), "--bootstrap-password-file", password, "--profile", o.profile,
		"--log-file", filepath.Join(dir, "log"), "--log-level", "warn"}
	for i, name := range []string{"neutron", "identity", "admin", "ovsdb", "openflow"} {
		args = append(args, fmt.Sprintf("--%s-port=%d", name, ports[i]))
	}
	if ids != "" {
		args = append(args, "--ids", ids)
	}
	var out bytes.Buffer
	s.cmd = exec.Command(o.binary, append(append(args, o.serve...), extra...)...)
	s.cmd.Stdout, s.cmd.Stderr = &out, &out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it must not outlive a runner that dies
	h.Must(s.cmd.Start())
	done := make(chan struct{})
	go func() { defer close(done); s.cmd.Wait() }()
	h.Cleanup(func() {
		s.client.CloseIdleConnections()
		s.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			s.cmd.Process.Kill()
			<-done
		}
		if h.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			h.Logf("nagare, last lines:\n%s%s", tail(out.String(), 10), tail(string(log), 20))
		}
	})
	h.Must(ovstest.Poll(time.Minute, func() error {
		select {
		case <-done:
			h.Fatalf("nagare ended: %s", tail(out.String(), 10))
		default:
		}
		rs, err := s.client.Get("http://" + s.admin + "/readyz")
		if err != nil {
			return err
		}
		rs.Body.Close()
		if rs.StatusCode != http.StatusOK {
			return fmt.Errorf("/readyz answers %s", rs.Status)
		}
		return nil
	}))
	s.login("admin", "bench-password")
	return s
}

// freePorts finds ports that nobody listens on now.
func freePorts(h *host.Host, n int) (ports []int) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		h.Must(err)
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

func tail(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n") + "\n"
}

type object = map[string]any

func (s *server) login(user, password string) {
	domain := object{"name": "Default"}
	body, err := json.Marshal(object{"auth": object{
		"identity": object{"methods": []string{"password"}, "password": object{"user": object{"name": user, "domain": domain, "password": password}}},
		"scope":    object{"project": object{"name": user, "domain": domain}}}})
	s.h.Must(err)
	rs, err := s.client.Post("http://"+s.identity+"/v3/auth/tokens", "application/json", bytes.NewReader(body))
	s.h.Must(err)
	rs.Body.Close()
	if s.token = rs.Header.Get("X-Subject-Token"); s.token == "" {
		s.h.Fatalf("login as %s: %s", user, rs.Status)
	}
}

// call sends a request and reads the answer into it, unless that is nil. base is a host:port.
func (s *server) call(ctx context.Context, method, base, path string, body, answer any) error {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(b)
	}
	rq, err := http.NewRequestWithContext(ctx, method, "http://"+base+path, in)
	if err != nil {
		return err
	}
	rq.Header.Set("X-Auth-Token", s.token)
	rq.Header.Set("Content-Type", "application/json")
	rs, err := s.client.Do(rq)
	if err != nil {
		return err
	}
	defer rs.Body.Close()
	b, err := io.ReadAll(rs.Body)
	if err != nil {
		return err
	}
	if rs.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, path, rs.Status, bytes.TrimSpace(b))
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(b, answer)
}

// create makes a Neutron object and returns its id.
func (s *server) create(ctx context.Context, name string, attributes object) (string, error) {
	plural := strings.ReplaceAll(name, "_", "-") + "s"
	var made map[string]struct{ ID string }
	err := s.call(ctx, "POST", s.neutron, "/v2.0/"+plural, object{name: attributes}, &made)
	return made[name].ID, err
}

// mustCreate is create for what belongs to the set-up.
func (s *server) mustCreate(name string, attributes object) string {
	s.h.Helper()
	id, err := s.create(s.h.Context(), name, attributes)
	s.h.Must(err)
	return id
}

// active reports whether the port is ACTIVE.
func (s *server) active(ctx context.Context, id string) (bool, error) {
	var got struct{ Port struct{ Status string } }
	err := s.call(ctx, "GET", s.neutron, "/v2.0/ports/"+id+"?fields=status", nil, &got)
	return got.Port.Status == "ACTIVE", err
}

// allActive reports whether no instance's port is DOWN.
func (s *server) allActive(ctx context.Context) (bool, error) {
	var got struct{ Ports []struct{ ID string } }
	err := s.call(ctx, "GET", s.neutron, "/v2.0/ports?status=DOWN&device_owner=compute:nova&fields=id&limit=1", nil, &got)
	return len(got.Ports) == 0, err
}

// nodeState is what the server says of a node.
type nodeState struct {
	ID       string    `json:"id"`
	OpenFlow bool      `json:"openflow_connected"`
	InSync   bool      `json:"in_sync"`
	Since    time.Time `json:"since"`
	Flows    int       `json:"flows"`
	Problem  string    `json:"problem"`
	Waiting  string    `json:"waiting"`
	Sent     struct {
		FlowMods  uint64 `json:"flow_mods"`
		GroupMods uint64 `json:"group_mods"`
		Bundles   uint64 `json:"bundles"`
	} `json:"sent"`
}

func (s *server) nodes(ctx context.Context) ([]nodeState, error) {
	var got struct{ Nodes []nodeState }
	err := s.call(ctx, "GET", s.admin, "/nagare/v1/nodes", nil, &got)
	return got.Nodes, err
}

// inSync is nil when n nodes are connected and hold everything that was compiled.
func (s *server) inSync(ctx context.Context, n int) error {
	nodes, err := s.nodes(ctx)
	if err != nil {
		return err
	}
	for _, x := range nodes {
		if !x.OpenFlow || !x.InSync {
			return fmt.Errorf("node %s is not in sync: waiting %q, problem %q", x.ID, x.Waiting, x.Problem)
		}
	}
	if len(nodes) != n {
		return fmt.Errorf("%d nodes enrolled, want %d", len(nodes), n)
	}
	return nil
}
