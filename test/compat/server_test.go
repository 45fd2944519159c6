// SPDX-License-Identifier: Apache-2.0

package compat

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"nagare/internal/alloc"
	"nagare/internal/api/neutron"
	"nagare/internal/identity"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

const password = "compat secret"

// cloud is the two services on loopback, with one network node known.
type cloud struct {
	st          *store.Store
	identityURL string // with /v3
	networkURL  string
}

func start(t testing.TB, ids alloc.IDs) *cloud {
	t.Helper()
	return startWith(t, neutron.Config{IDs: ids, Routers: true}, identity.Config{}, func(h http.Handler) http.Handler { return h })
}

// startWith starts a cloud of the configurations, which it completes; front stands before the identity service.
func startWith(t testing.TB, nc neutron.Config, ic identity.Config, front func(http.Handler) http.Handler) *cloud {
	t.Helper()
	ctx := context.Background()
	st := store.New(tables.Schema, nil)
	if err := identity.Bootstrap(ctx, st, password, identity.WithPasswordCost(bcrypt.MinCost)); err != nil {
		t.Fatal(err)
	}
	_, err := st.Commit(ctx, store.Origin{User: "test"}, func(tx *store.Txn) error {
		for i, id := range []model.NodeID{"controller", "compute"} {
			n := model.Node{ID: id, NodePlane: model.NodePlane{Key: model.Key(i + 1), LocalIP: netip.AddrFrom4([4]byte{192, 168, 0, byte(10 + i)}), DatapathType: "netdev"}}
			if id == "controller" {
				n.Mappings = map[string]string{"physnet1": "br-ex"}
			}
			tables.Nodes.Put(tx, id, n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	li, ln := listen(t), listen(t)
	c := &cloud{st: st, identityURL: "http://" + li.Addr().String() + "/v3", networkURL: "http://" + ln.Addr().String()}
	ic.Store, ic.PublicURL, ic.NetworkURL, ic.PasswordCost = st, c.identityURL, c.networkURL, bcrypt.MinCost
	svc := identity.New(ic)
	serve(t, li, front(svc.Handler()))
	nc.Store, nc.Auth, nc.PublicURL, nc.IdentityURL = st, svc, c.networkURL, c.identityURL
	serve(t, ln, neutron.New(nc))
	return c
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func serve(t testing.TB, l net.Listener, h http.Handler) {
	srv := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { srv.Serve(l); close(done) }() //nolint:errcheck // it ends with ErrServerClosed
	t.Cleanup(func() { srv.Close(); <-done })
}
