// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// What the client reads of the controller's operational data.
const (
	hostsPath    = "/restconf/operational/neutron:neutron/hostconfigs/"
	featuresPath = "/restconf/operational/neutron:neutron/neutron:features/"
	portPath     = "/restconf/operational/neutron:neutron/ports/port/"
)

// Host is what a node says of itself for the binding of ports.
type Host struct {
	ID     string `json:"host-id"`
	Type   string `json:"host-type"`
	Config string `json:"config"` // JSON in a text
}

// read reads a path with the client's credentials.
func (n *Neutron) read(ctx context.Context, path string, into any) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.URL+path, nil)
	if err != nil {
		return 0, err
	}
	req.SetBasicAuth(n.User, n.Password)
	req.Header.Set("Content-Type", contentType)
	resp, err := n.HTTP.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return resp.StatusCode, nil
	}
	return resp.StatusCode, json.NewDecoder(resp.Body).Decode(into)
}

// Hosts reads the host configurations as polling does; 404 means none.
func (n *Neutron) Hosts(ctx context.Context) (map[string]Host, error) {
	var body struct {
		All *struct {
			List []Host `json:"hostconfig"`
		} `json:"hostconfigs"`
	}
	code, err := n.read(ctx, hostsPath, &body)
	switch {
	case err != nil:
		return nil, err
	case code == http.StatusNotFound:
		return nil, nil
	case code != http.StatusOK || body.All == nil:
		return nil, fmt.Errorf("GET %s: %d: invalid hostconfigs", hostsPath, code)
	}
	out := map[string]Host{}
	for _, h := range body.All.List {
		if h.Type == "ODL L2" {
			out[h.ID] = h
		}
	}
	return out, nil
}

// Features reads which features the controller announces, by name without its module. Any status but 200, 400 and 404 would keep
// a Neutron from starting.
func (n *Neutron) Features(ctx context.Context) ([]string, error) {
	var body struct {
		Features struct {
			List []struct {
				Name string `json:"service-provider-feature"`
			} `json:"feature"`
		} `json:"features"`
	}
	code, err := n.read(ctx, featuresPath, &body)
	if err != nil || code != http.StatusOK && code != http.StatusNotFound && code != http.StatusBadRequest {
		return nil, fmt.Errorf("GET %s: %d %w", featuresPath, code, err)
	}
	var out []string
	for _, f := range body.Features.List {
		module, name, ok := strings.Cut(f.Name, ":")
		if !ok {
			return nil, fmt.Errorf("feature %q of module %q has no name", f.Name, module)
		}
		out = append(out, name)
	}
	return out, nil
}

// PortStatus reads a port's operational status.
func (n *Neutron) PortStatus(ctx context.Context, id string) (string, error) {
	var body struct {
		Port []struct{ UUID, Status string }
	}
	code, err := n.read(ctx, portPath+id, &body)
	if err != nil || code != http.StatusOK || len(body.Port) != 1 || body.Port[0].UUID != id {
		return "", fmt.Errorf("status of port %s: %d %v %w", id, code, body, err)
	}
	return body.Port[0].Status, nil
}

// Bindable tells what a host's configuration makes of an ordinary port on a network of a type: its vif_type, as the driver
// chooses it, or an error where it would fail the binding.
func (h Host) Bindable(networkType string) (string, error) {
	var c struct {
		Allowed []string `json:"allowed_network_types"`
		VNICs   []struct {
			VNIC    string         `json:"vnic_type"`
			VIF     string         `json:"vif_type"`
			Details map[string]any `json:"vif_details"`
		} `json:"supported_vnic_types"`
	}
	if err := json.Unmarshal([]byte(h.Config), &c); err != nil {
		return "", fmt.Errorf("host %s: configuration: %w", h.ID, err)
	}
	for _, t := range c.Allowed {
		if t != networkType {
			continue
		}
		for _, v := range c.VNICs {
			if v.VNIC == "normal" {
				return v.VIF, nil
			}
		}
	}
	return "", fmt.Errorf("host %s: no way to bind on a network of type %s", h.ID, networkType)
}

// Subscribe asks for the statuses of ports, as the client does: a subscription, then the stream's place.
func (n *Neutron) Subscribe(ctx context.Context) (*Socket, error) {
	const ask = `{"input": {"path": "/neutron:neutron/neutron:ports", "sal-remote-augment:datastore": "OPERATIONAL", ` +
		`"sal-remote-augment:scope": "SUBTREE", "sal-remote-augment:notification-output-type": "JSON"}}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.URL+"/restconf/operations/sal-remote:create-data-change-event-subscription", strings.NewReader(ask))
	if err != nil {
		return nil, err
	}
	req.SetBasicAuth(n.User, n.Password)
	req.Header.Set("Content-Type", contentType)
	resp, err := n.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	var body struct {
		Output struct {
			Name string `json:"stream-name"`
		}
	}
	err = json.NewDecoder(resp.Body).Decode(&body)
	resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("subscription: %d %w", resp.StatusCode, err)
	}
	if req, err = http.NewRequestWithContext(ctx, http.MethodGet, n.URL+"/restconf/streams/stream/"+body.Output.Name+"?odl-leaf-nodes-only=true", nil); err != nil {
		return nil, err
	}
	req.SetBasicAuth(n.User, n.Password)
	if resp, err = n.HTTP.Do(req); err != nil {
		return nil, err
	}
	resp.Body.Close()
	at, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || resp.StatusCode != http.StatusOK || at.Scheme != "ws" {
		return nil, fmt.Errorf("stream %s: %d, location %q %w", body.Output.Name, resp.StatusCode, resp.Header.Get("Location"), err)
	}
	return dialSocket(ctx, at)
}
