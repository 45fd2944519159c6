// SPDX-License-Identifier: Apache-2.0

package nova

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
)

// Access says how to reach Nova: as a user of Keystone with the role admin or service, through the catalog or at a given endpoint.
type Access struct {
	AuthURL                string // of Keystone, with /v3
	User, UserDomain       string // domain by name
	Password               string
	Project, ProjectDomain string
	Region, Endpoint       string // Endpoint overrides the catalog
	HTTP                   *http.Client
}

// endpoint is Nova as gophercloud sees it, made at the first use: Keystone may start after us.
type endpoint struct {
	access Access
	nova   *gophercloud.ServiceClient
}

// Dial gives a client that authenticates when it is first used, and again when its token has expired.
func Dial(a Access) Client { return &endpoint{access: a} }

func (e *endpoint) connect(ctx context.Context) error {
	if e.nova != nil {
		return nil
	}
	p, err := openstack.NewClient(e.access.AuthURL)
	if err != nil {
		return fmt.Errorf("keystone %s: %w", e.access.AuthURL, err)
	}
	if e.access.HTTP != nil {
		p.HTTPClient = *e.access.HTTP
	}
	err = openstack.Authenticate(ctx, p, gophercloud.AuthOptions{
		IdentityEndpoint: e.access.AuthURL, Username: e.access.User, DomainName: e.access.UserDomain, Password: e.access.Password, AllowReauth: true,
		Scope: &gophercloud.AuthScope{ProjectName: e.access.Project, DomainName: e.access.ProjectDomain},
	})
	if err != nil {
		return fmt.Errorf("keystone %s: user %s: %w", e.access.AuthURL, e.access.User, err)
	}
	nova, err := openstack.NewComputeV2(p, gophercloud.EndpointOpts{Region: e.access.Region})
	if e.access.Endpoint != "" {
		nova, err = &gophercloud.ServiceClient{ProviderClient: p, Endpoint: gophercloud.NormalizeURL(e.access.Endpoint)}, nil
	}
	if err != nil {
		return fmt.Errorf("keystone %s: Nova's endpoint: %w", e.access.AuthURL, err)
	}
	e.nova = nova
	return nil
}

// Send implements Client. It is for one caller at a time.
func (e *endpoint) Send(ctx context.Context, events []Event) ([]Answer, error) {
	if err := e.connect(ctx); err != nil {
		return nil, err
	}
	var out struct{ Events []Answer }
	_, err := e.nova.Post(ctx, e.nova.ServiceURL("os-server-external-events"), map[string]any{"events": events}, &out,
		&gophercloud.RequestOpts{OkCodes: []int{http.StatusOK, http.StatusMultiStatus}})
	var code gophercloud.ErrUnexpectedResponseCode
	if errors.As(err, &code) {
		switch code.Actual {
		case http.StatusBadRequest, http.StatusNotFound, http.StatusRequestEntityTooLarge:
			// No instance of them is known, or the schema is another one: the same request would fare the same.
			return nil, &Refusal{Code: code.Actual, Text: fmt.Sprintf("%d: %.200s", code.Actual, code.Body)}
		case http.StatusUnauthorized, http.StatusForbidden:
			e.nova = nil // the user may have been given what it needs meanwhile
		}
	}
	return out.Events, err
}
