// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// client is a user of the APIs.
type client struct {
	s     *site
	http  *http.Client
	token string
}

// login authenticates as admin or demo.
func (s *site) login(ctx context.Context, user string) (*client, error) {
	password, err := os.ReadFile(filepath.Join(s.dir(), "password"))
	if err != nil {
		return nil, err
	}
	c := &client{s: s, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}, Timeout: settleWithin}}
	s.t.Cleanup(c.http.CloseIdleConnections)
	body := fmt.Sprintf(`{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":%[1]q,"domain":{"name":"Default"},"password":%[2]q}}},`+
		`"scope":{"project":{"name":%[1]q,"domain":{"name":"Default"}}}}}`, user, strings.TrimSpace(string(password)))
	req, err := http.NewRequestWithContext(ctx, "POST", "http://"+s.hostIP+":5000/v3/auth/tokens", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusCreated {
		return nil, fmt.Errorf("identity as %s answers %d: %s", user, resp.StatusCode, answer)
	}
	c.token = resp.Header.Get("X-Subject-Token")
	return c, nil
}

// user authenticates or ends the test.
func (s *site) user(name string) *client {
	s.t.Helper()
	c, err := s.login(s.t.Context(), name)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (c *client) neutron(path string) string { return "http://" + c.s.hostIP + ":9696/v2.0" + path }
func (c *client) admin(path string) string   { return "http://" + c.s.hostIP + ":8181/nagare/v1" + path }

// do sends a request. body is JSON text as []byte, or a value to be written as such.
func (c *client) do(ctx context.Context, method, target string, body any) (int, []byte, error) {
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		r = bytes.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			return 0, nil, err
		}
		r = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, r)
	if err != nil {
		return 0, nil, err
	}
	// A request whose outcome is unknown must not be sent again behind the test's back.
	req.GetBody = nil
	req.Header.Set("X-Auth-Token", c.token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// ask sends a request that has to be answered with the given status, and reads the answer into into, if that is not nil.
func (c *client) ask(want int, method, target string, body, into any) error {
	code, answer, err := c.do(c.s.t.Context(), method, target, body)
	if err != nil {
		return err
	}
	if code != want {
		return fmt.Errorf("%s %s: answer %d, want %d: %s", method, target, code, want, answer)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("%s %s: %w: %s", method, target, err, answer)
	}
	return nil
}

// port is what the tests look at of a port.
type port struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	NetworkID   string `json:"network_id"`
	MAC         string `json:"mac_address"`
	Status      string `json:"status"`
	AdminUp     bool   `json:"admin_state_up"`
	DeviceOwner string `json:"device_owner"`
	HostID      string `json:"binding:host_id"`
	FixedIPs    []struct {
		SubnetID string `json:"subnet_id"`
		IP       string `json:"ip_address"`
	} `json:"fixed_ips"`
	SecurityGroups []string `json:"security_groups"`
}

// ports lists ports; query filters, as "device_owner=compute:nova".
func (c *client) ports(query string) ([]port, error) {
	var body struct{ Ports []port }
	err := c.ask(200, "GET", c.neutron("/ports?"+query), nil, &body)
	return body.Ports, err
}

func (c *client) port(id string) (port, error) {
	var body struct{ Port port }
	err := c.ask(200, "GET", c.neutron("/ports/"+id), nil, &body)
	return body.Port, err
}

// network makes a network with one subnet and returns their ids.
func (c *client) network(name, cidr string) (network, subnet string) {
	c.s.t.Helper()
	var n struct{ Network struct{ ID string } }
	var sub struct{ Subnet struct{ ID string } }
	err := c.ask(201, "POST", c.neutron("/networks"), map[string]any{"network": map[string]any{"name": name}}, &n)
	if err == nil {
		err = c.ask(201, "POST", c.neutron("/subnets"),
			map[string]any{"subnet": map[string]any{"name": name + "-subnet", "network_id": n.Network.ID, "ip_version": 4, "cidr": cidr}}, &sub)
	}
	if err != nil {
		c.s.t.Fatal(err)
	}
	return n.Network.ID, sub.Subnet.ID
}

// wantStatus waits for a port's status.
func (c *client) wantStatus(id, status string) {
	c.s.t.Helper()
	c.s.eventually(settleWithin, "port "+id+" is "+status, func() error {
		p, err := c.port(id)
		if err == nil && p.Status != status {
			err = fmt.Errorf("it is %s", p.Status)
		}
		return err
	})
}

// nodeState is a node as the admin API tells it.
type nodeState struct {
	ID       string    `json:"id"`
	OVSDB    bool      `json:"ovsdb_connected"`
	OpenFlow bool      `json:"openflow_connected"`
	InSync   bool      `json:"in_sync"`
	Problem  string    `json:"problem"`
	Since    time.Time `json:"since"`
	Flows    int       `json:"flows"`
	Sent     struct {
		FlowMods  uint64 `json:"flow_mods"`
		GroupMods uint64 `json:"group_mods"`
		MeterMods uint64 `json:"meter_mods"`
		Drift     uint64 `json:"drift_healed"`
	} `json:"sent"`
	Conflicts []string `json:"conflicts"`
}

// nodes are the nodes by name.
func (c *client) nodes() (map[string]nodeState, error) {
	var body struct{ Nodes []nodeState }
	if err := c.ask(200, "GET", c.admin("/nodes"), nil, &body); err != nil {
		return nil, err
	}
	out := map[string]nodeState{}
	for _, n := range body.Nodes {
		out[n.ID] = n
	}
	return out, nil
}

// settled waits until every given node has both sessions and holds everything, and returns their states.
func (c *client) settled(within time.Duration, names ...string) map[string]nodeState {
	c.s.t.Helper()
	var out map[string]nodeState
	c.s.eventually(within, "nodes are in sync", func() error {
		nodes, err := c.nodes()
		if err != nil {
			return err
		}
		for _, name := range names {
			if n := nodes[name]; !n.OVSDB || !n.OpenFlow || !n.InSync {
				return fmt.Errorf("node %s: %+v", name, n)
			}
		}
		out = nodes
		return nil
	})
	return out
}

// revision is the newest committed revision of the store, as /metrics shows it.
func (c *client) revision() (uint64, error) {
	code, body, err := c.do(c.s.t.Context(), "GET", "http://"+c.s.hostIP+":8181/metrics", nil)
	if err != nil || code != 200 {
		return 0, fmt.Errorf("metrics: %d %w", code, err)
	}
	for line := range strings.Lines(string(body)) {
		if v, ok := strings.CutPrefix(line, "nagare_store_revision "); ok {
			f, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
			return uint64(f), err
		}
	}
	return 0, errors.New("metrics: no nagare_store_revision")
}
