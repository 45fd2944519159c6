// SPDX-License-Identifier: Apache-2.0

package tables

import (
	"nagare/internal/model"
	"nagare/internal/store"
)

// NDPProxies are the addresses that routers speak for on external networks.
var NDPProxies = store.Declare[model.NDPProxyID, model.NDPProxy](Schema, "ndp-proxies", store.Intent).
	Plane(func(p model.NDPProxy) any { return p.NDPProxyPlane })

// Indices of NDP proxies.
var (
	NDPProxiesByProject = store.DeclareIndex(Schema, NDPProxies, "project", func(p model.NDPProxy) []string { return []string{string(p.Project)} })
	NDPProxiesByName    = store.DeclareIndex(Schema, NDPProxies, "name", func(p model.NDPProxy) []string { return []string{p.Name} })
	NDPProxiesByRouter  = store.DeclareIndex(Schema, NDPProxies, "router", func(p model.NDPProxy) []string { return []string{string(p.Router)} })
	NDPProxiesByPort    = store.DeclareIndex(Schema, NDPProxies, "port", func(p model.NDPProxy) []string { return []string{string(p.Port)} })
	// NDPProxiesByAddress finds a router's proxy of an address: NDPProxyKey.
	NDPProxiesByAddress = store.DeclareIndex(Schema, NDPProxies, "address", func(p model.NDPProxy) []string { return []string{NDPProxyKey(&p.NDPProxyPlane)} })
)

// NDPProxyKey is the same for proxies of one address by one router.
func NDPProxyKey(p *model.NDPProxyPlane) string { return string(p.Router) + "|" + p.Addr.String() }
