// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
)

// api is the Neutron API as one user, through the forwarder and the catalog, as
// any client of the host.
type api struct {
	client *gophercloud.ServiceClient
	admin  string // base of the admin API
}

// connect authenticates as admin or demo.
func (l *Lab) connect(ctx context.Context, s *State, user string) (*api, error) {
	if s.Config.Bare {
		return nil, fmt.Errorf("lab %s: has no server of its own, so it has no Neutron API", l.Name)
	}
	password, err := os.ReadFile(l.passwordPath())
	if err != nil {
		return nil, err
	}
	provider, err := openstack.AuthenticatedClient(ctx, gophercloud.AuthOptions{
		IdentityEndpoint: fmt.Sprintf("http://%s:%d/v3", s.Config.HostIP, portIdentity),
		Username:         user,
		Password:         strings.TrimSpace(string(password)),
		DomainName:       "Default",
		Scope:            &gophercloud.AuthScope{ProjectName: user, DomainName: "Default"},
		AllowReauth:      true,
	})
	if err != nil {
		return nil, fmt.Errorf("identity as %s: %w (is the server up? see 'nagare lab status')", user, err)
	}
	client, err := openstack.NewNetworkV2(provider, gophercloud.EndpointOpts{})
	if err != nil {
		return nil, fmt.Errorf("network endpoint in the catalog: %w", err)
	}
	return &api{client: client, admin: fmt.Sprintf("http://%s:%d", s.Config.HostIP, portAdmin)}, nil
}

// Objects of the API, as far as the lab looks at them. Unknown fields stay in raw.
type (
	apiNetwork struct {
		ID       string   `json:"id"`
		Name     string   `json:"name"`
		MTU      int      `json:"mtu"`
		Subnets  []string `json:"subnets"`
		Type     string   `json:"provider:network_type"`
		Segment  int      `json:"provider:segmentation_id"`
		External bool     `json:"router:external"`
		Physical string   `json:"provider:physical_network"`
		Project  string   `json:"project_id"`
	}
	apiSubnet struct {
		ID      string `json:"id"`
		Name    string `json:"name"`
		CIDR    string `json:"cidr"`
		Gateway string `json:"gateway_ip"`
		DHCP    bool   `json:"enable_dhcp"`
	}
	apiGroup struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	apiPort struct {
		ID          string `json:"id"`
		Name        string `json:"name"`
		NetworkID   string `json:"network_id"`
		MAC         string `json:"mac_address"`
		Status      string `json:"status"`
		DeviceID    string `json:"device_id"`
		DeviceOwner string `json:"device_owner"`
		HostID      string `json:"binding:host_id"`
		VIFType     string `json:"binding:vif_type"`
		FixedIPs    []struct {
			SubnetID string `json:"subnet_id"`
			IP       string `json:"ip_address"`
		} `json:"fixed_ips"`
		SecurityGroups []string `json:"security_groups"`
		PortSecurity   bool     `json:"port_security_enabled"`
		raw            map[string]any
	}
)

func (p *apiPort) UnmarshalJSON(b []byte) error {
	type plain apiPort
	if err := json.Unmarshal(b, (*plain)(p)); err != nil {
		return err
	}
	return json.Unmarshal(b, &p.raw)
}

// ip is the port's first address, or "".
func (p apiPort) ip() string {
	if len(p.FixedIPs) == 0 {
		return ""
	}
	return p.FixedIPs[0].IP
}

// list reads a collection; query holds filters.
func list[T any](ctx context.Context, a *api, collection string, query url.Values) ([]T, error) {
	var body map[string]json.RawMessage
	target := a.client.ServiceURL(collection)
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	if _, err := a.client.Get(ctx, target, &body, nil); err != nil {
		return nil, describe("list "+collection, err)
	}
	var out []T
	if err := json.Unmarshal(body[strings.ReplaceAll(collection, "-", "_")], &out); err != nil {
		return nil, fmt.Errorf("list %s: %w", collection, err)
	}
	return out, nil
}

// one finds the object of a name; nil when there is none.
func one[T any](ctx context.Context, a *api, collection, name string) (*T, error) {
	found, err := list[T](ctx, a, collection, url.Values{"name": {name}})
	if err != nil {
		return nil, err
	}
	switch len(found) {
	case 0:
		return nil, nil
	case 1:
		return &found[0], nil
	}
	return nil, fmt.Errorf("%s: %d are named %q: rename or delete all but one", collection, len(found), name)
}

func (a *api) port(ctx context.Context, id string) (*apiPort, error) {
	var body struct{ Port apiPort }
	if _, err := a.client.Get(ctx, a.client.ServiceURL("ports", id), &body, nil); err != nil {
		return nil, describe("port "+id, err)
	}
	return &body.Port, nil
}

func (a *api) createPort(ctx context.Context, attributes map[string]any) (*apiPort, error) {
	var body struct{ Port apiPort }
	if _, err := a.client.Post(ctx, a.client.ServiceURL("ports"), map[string]any{"port": attributes}, &body, nil); err != nil {
		return nil, describe("create port", err)
	}
	return &body.Port, nil
}

func (a *api) updatePort(ctx context.Context, id string, attributes map[string]any) (*apiPort, error) {
	var body struct{ Port apiPort }
	opts := &gophercloud.RequestOpts{OkCodes: []int{http.StatusOK}}
	if _, err := a.client.Put(ctx, a.client.ServiceURL("ports", id), map[string]any{"port": attributes}, &body, opts); err != nil {
		return nil, describe("update port "+id, err)
	}
	return &body.Port, nil
}

// deletePort deletes the port; one that is not there is no error.
func (a *api) deletePort(ctx context.Context, id string) error {
	_, err := a.client.Delete(ctx, a.client.ServiceURL("ports", id), nil)
	if err != nil && !gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
		return describe("delete port "+id, err)
	}
	return nil
}

// get reads JSON from the admin API, with the user's token.
func (a *api) get(ctx context.Context, path string, into any) error {
	if _, err := a.client.Get(ctx, a.admin+path, into, nil); err != nil {
		return describe(path, err)
	}
	return nil
}

// describe shortens an error of the client to the server's own words.
func describe(what string, err error) error {
	var answer gophercloud.ErrUnexpectedResponseCode
	if errors.As(err, &answer) {
		var fault struct {
			NeutronError struct{ Message string }
		}
		if json.Unmarshal(answer.Body, &fault) == nil && fault.NeutronError.Message != "" {
			return fmt.Errorf("%s: %s (%d)", what, fault.NeutronError.Message, answer.Actual)
		}
		return fmt.Errorf("%s: server answered %d: %s", what, answer.Actual, strings.TrimSpace(string(answer.Body)))
	}
	return fmt.Errorf("%s: %w", what, err)
}
