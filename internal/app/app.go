// SPDX-License-Identifier: Apache-2.0

// Package app puts the parts of the server together: the store, the hub, the listeners, the APIs. It is the only package,
// beside the command line, that knows them all.
//
// Invariants: the server is a list of tasks in one group; the first that fails ends all, and Serve returns when all have
// ended. Nothing is served before the store is loaded. What is open beyond loopback is said in the log at start.
//
// Callers: internal/cli (nagare serve) and end-to-end tests.
package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"nagare/internal/alloc"
	"nagare/internal/api/neutron"
	"nagare/internal/api/restconf"
	"nagare/internal/edge"
	"nagare/internal/identity"
	"nagare/internal/model"
	"nagare/internal/netvirt"
	"nagare/internal/nova"
	"nagare/internal/pipeline"
	"nagare/internal/punt"
	"nagare/internal/southbound"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// Version is set by the build.
var Version = "0.1.0-dev"

// Server is a server being put together or running.
type Server struct {
	cfg   Config
	log   *slog.Logger
	store *store.Store
	hub   *southbound.Hub
	api   *neutron.API
	users identity.Users
	dhcp  *dhcpFeed
	told  *secLog        // nil in classic
	edge  *edge.Edge     // nil in classic
	nova  *nova.Notifier // nil: there is no Nova to tell
	odl   http.Handler
	rest  *restconf.Server
	start time.Time
	// secure is the configuration of the APIs' listeners; nil: they are plain http.
	secure *tls.Config

	loaded atomic.Bool // the store is, and is in this version's form
	ready  atomic.Bool // and is compiled
}

// Serve runs a server until ctx ends or a part fails.
func Serve(ctx context.Context, cfg Config) error {
	if err := cfg.complete(); err != nil {
		return err
	}
	logs, err := openLog(&cfg)
	if err != nil {
		return err
	}
	defer logs.Close()
	s := &Server{cfg: cfg, log: logs.logger("app"), start: time.Now()}
	if err := s.loadCertificate(); err != nil {
		return err
	}
	st, err := store.Open(ctx, tables.Schema, store.Options{DataDir: cfg.DataDir, Endpoints: cfg.EtcdEndpoints, Logger: logs.logger("store")})
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	s.store = st
	defer func() {
		if err := st.Close(); err != nil {
			s.log.Error("store not closed cleanly", "error", err)
		}
	}()
	if s.cfg.Profile != classic {
		s.told = newSecLog(s.cfg.SecurityLog, s.cfg.SecurityLogTotal, logs.logger("security"))
	}
	s.hub = southbound.New(s.southbound(logs.logger("southbound")))
	s.dhcp = newDHCPFeed(st, s.cfg.DNSDomain)
	if err := s.openAPIs(ctx, logs); err != nil {
		return err
	}
	if err := s.settle(ctx); err != nil {
		return err
	}
	return s.run(ctx, logs)
}

// southbound is the configuration of the sessions with nodes, which is where profiles differ.
func (s *Server) southbound(log *slog.Logger) southbound.Config {
	c := southbound.Config{
		Store: s.store, Check: pipeline.Check, Log: log, ControllerPort: s.cfg.OpenFlowPort,
		Enrol: southbound.Enrolment(s.cfg.Enrol), Timings: southbound.Timings{Audit: s.cfg.Audit.Duration(), LLDP: s.cfg.LLDP.Duration()},
	}
	if s.cfg.Profile == classic {
		c.Rules = netvirt.Classic()
		s.log.Warn("profile classic is no security boundary: it reproduces the recorded tables, which let pass what they do not name")
		return c
	}
	c.NativeDHCP, c.FabricLLDP = s.cfg.DHCP == nativeDHCP, true
	c.Rules = netvirt.Standard(netvirt.Options{NativeDHCP: c.NativeDHCP, FlowTunnels: s.cfg.TunnelMode == "flow", PuntRate: uint32(s.cfg.PuntRate),
		LogLimit: netvirt.LogLimit{Rate: uint32(s.cfg.SecurityLogRate), Burst: uint32(s.cfg.SecurityLogBurst)}})
	s.edge = edge.New(edge.Config{Store: s.store, Log: log, Emit: s.emit})
	c.Follower = s.edge
	c.Answer = func(snap *store.Snapshot, p southbound.Punted) [][]byte {
		packet := punt.Packet{Node: p.Node, Kind: p.Kind, Port: p.PortKey, Data: p.Data,
			InPort: p.InPort, Origin: p.Origin, TunID: p.TunID, NextHop: p.NextHop, MTU: p.MTU, Domain: s.cfg.DNSDomain}
		if pipeline.IsLogged(p.Kind) {
			packet.DstPort, packet.Rule = p.DstPort, p.Rule
			s.told.note(snap, packet)
			return nil
		}
		s.edge.Punted(snap, &packet)
		return punt.Answer(snap, packet)
	}
	return c
}

// emit sends frames from a node.
func (s *Server) emit(ctx context.Context, node model.NodeID, frames []punt.Frame) bool {
	out := make([]southbound.Frame, len(frames))
	for i, f := range frames {
		out[i] = southbound.Frame(f)
	}
	return s.hub.Emit(ctx, node, out...)
}

// settle brings what an older version or another configuration stored into the form that this one wants. Nothing has been
// compiled yet, so no switch sees a step of it.
func (s *Server) settle(ctx context.Context) error {
	if err := s.completePorts(ctx, alloc.Incomplete(s.store.Snapshot())); err != nil {
		return fmt.Errorf("store: what an older version left out cannot be added: %w", err)
	}
	if s.cfg.Northbound == neutronMaster { // else DHCP ports are the other Neutron's
		if err := s.api.SettleDHCP(ctx); err != nil {
			return fmt.Errorf("dhcp ports: %w", err)
		}
	}
	s.loaded.Store(true)
	return nil
}

// completePorts allocates what ports lack in one transaction, or in several if the store takes no more at once.
func (s *Server) completePorts(ctx context.Context, ids []model.PortID) error {
	if len(ids) == 0 {
		return nil
	}
	_, err := s.store.Commit(ctx, store.Origin{User: "nagare", Action: "complete the store"}, func(tx *store.Txn) error {
		return alloc.Complete(tx, ids)
	})
	var large *store.TooLargeError
	if half := len(ids) / 2; errors.As(err, &large) && half > 0 {
		if err := s.completePorts(ctx, ids[:half]); err != nil {
			return err
		}
		return s.completePorts(ctx, ids[half:])
	}
	return err
}

// openAPIs makes the users and the APIs.
func (s *Server) openAPIs(ctx context.Context, logs *logs) error {
	var ids alloc.IDs = alloc.Random{}
	if s.cfg.IDs != "" {
		rec, err := alloc.LoadRecorded(s.cfg.IDs)
		if err != nil {
			return fmt.Errorf("ids file: %w", err)
		}
		ids = rec
	}
	switch s.cfg.Auth {
	case "builtin":
		if err := s.bootstrap(ctx); err != nil {
			return err
		}
		s.users = identity.New(identity.Config{Store: s.store, PublicURL: s.url(s.cfg.IdentityPort) + "/v3",
			NetworkURL: s.url(s.cfg.NeutronPort), Log: logs.logger("identity")})
	case withKeystone:
		if err := s.openCloud(logs); err != nil {
			return err
		}
	case "none":
		s.log.Warn("auth is off: whoever reaches the APIs is administrator")
		s.users = identity.None{}
	}
	deployment, _ := s.cfg.facts() // complete has refused faults
	c := neutron.Config{
		Store: s.store, Auth: s.users, IDs: ids, Alloc: &alloc.Allocator{Ranges: deployment.ranges, RandomAddresses: s.cfg.AddressOrder == "random"}, PublicURL: s.url(s.cfg.NeutronPort),
		Facts: deployment.api, UnderlayMTU: s.cfg.GlobalMTU, DNSDomain: s.cfg.DNSDomain, Quotas: deployment.quotas,
		IdentityURL: s.identityURL(), Profile: s.cfg.Profile, Log: logs.logger("neutron"),
	}
	if s.cfg.DHCP == nativeDHCP {
		c.NativeDHCP, c.DHCPServerHost = true, s.cfg.ServerName
	}
	c.MaxAddressPairs, c.Routers = s.cfg.MaxAddressPairs, s.cfg.Profile == standard
	c.StoredOnly = s.cfg.APIStoredOnly
	if s.cfg.Northbound == odlMaster {
		c.ReadOnly = neutronReadOnly
	}
	s.api = neutron.New(c)
	if err := s.loadPolicy(); err != nil {
		return err
	}
	s.openNorthbound(c.Alloc, logs)
	return nil
}

// run opens the listeners and runs the tasks.
func (s *Server) run(ctx context.Context, logs *logs) error {
	g, ctx := errgroup.WithContext(ctx)
	listeners, err := s.listen()
	if err != nil {
		return err
	}
	g.Go(func() error { return s.hub.Run(ctx) })
	g.Go(func() error { return s.dhcp.run(ctx) })
	if s.told != nil {
		g.Go(func() error { return s.told.run(ctx) })
	}
	if s.edge != nil {
		g.Go(func() error { return s.edge.Run(ctx) })
	}
	if s.nova != nil {
		g.Go(func() error { return s.nova.Run(ctx) })
	}
	g.Go(func() error { return s.rest.Run(ctx) })
	if s.cfg.PolicyFile != "" || len(s.cfg.PolicyDirs) > 0 {
		g.Go(func() error { return s.followPolicy(ctx) })
	}
	if s.cfg.DHCP == portDHCP && s.cfg.Northbound == neutronMaster {
		g.Go(func() error { return s.placeDHCP(ctx) })
	}
	if s.cfg.Profile == standard {
		g.Go(func() error { return s.placeGateways(ctx) })
	}
	g.Go(func() error { return s.hub.Serve(ctx, listeners.ovsdb, s.hub.ServeOVSDB) })
	g.Go(func() error { return s.hub.Serve(ctx, listeners.openflow, s.hub.ServeOpenFlow) })
	for _, addr := range s.cfg.Dial {
		g.Go(func() error { return s.hub.Dial(ctx, addr) })
	}
	serve := func(l net.Listener, name string, h http.Handler) {
		s.serveHTTP(ctx, g, l, logs.logger(name), name, h)
	}
	serve(listeners.neutron, "neutron", s.api)
	if svc, ok := s.users.(*identity.Service); ok {
		serve(listeners.identity, "identity", svc.Handler())
	}
	serve(listeners.admin, "admin", s.adminHandler(ctx))
	g.Go(func() error { return s.becomeReady(ctx) })
	return g.Wait()
}

// becomeReady says so once the hub has compiled what the store held at start.
func (s *Server) becomeReady(ctx context.Context) error {
	if err := s.hub.WaitCompiled(ctx, s.store.Snapshot().Seq()); err != nil {
		return nil // ended before it was ready
	}
	s.ready.Store(true)
	s.log.Info("ready", "revision", uint64(s.store.Snapshot().Revision()), "profile", s.cfg.Profile, "after", time.Since(s.start).Round(time.Millisecond).String())
	return nil
}
