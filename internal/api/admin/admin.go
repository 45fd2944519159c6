// SPDX-License-Identifier: Apache-2.0

// Package admin serves nagare's own API under /nagare/v1: nodes, topology, flows, explain, trace, wait, DHCP configuration. The CLI,
// the lab and the DHCP process speak it and nothing else.
//
// Invariants: it holds no state; every answer comes from its Backend. All but health needs a token of the one user table with
// role admin (the DHCP configuration and wait: role service will do). Errors are {"error":{"code","message"}} and name the
// object and the remedy.
//
// Callers: internal/app makes the Backend and mounts the Handler.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"nagare/internal/identity"
	"nagare/internal/nodedhcp/dhcpapi"
)

// Status is the state of the whole.
type Status struct {
	Version    string `json:"version"`
	Profile    string `json:"profile"`
	Revision   uint64 `json:"revision"`  // newest committed
	Compiled   uint64 `json:"compiled"`  // newest compiled
	Confirmed  uint64 `json:"confirmed"` // confirmed by every live node
	Nodes      int    `json:"nodes"`
	LiveNodes  int    `json:"live_nodes"`
	Networks   int    `json:"networks"`
	Ports      int    `json:"ports"`
	Units      int    `json:"units"`
	Faults     int    `json:"faults"`
	InSync     bool   `json:"in_sync"`
	Uptime     string `json:"uptime"`
	Notice     string `json:"notice,omitempty"`
	Northbound string `json:"northbound"`
}

// Node is one node.
type Node struct {
	ID         string            `json:"id"`
	LocalIP    string            `json:"local_ip"`
	Source     string            `json:"source"`
	OVSUUID    string            `json:"ovs_uuid"`
	OVSVersion string            `json:"ovs_version"`
	DatapathID string            `json:"datapath_id"`
	Mappings   map[string]string `json:"provider_mappings,omitempty"`
	Approved   bool              `json:"approved"`
	OVSDB      bool              `json:"ovsdb_connected"`
	OpenFlow   bool              `json:"openflow_connected"`
	InSync     bool              `json:"in_sync"`
	Confirmed  uint64            `json:"confirmed"`
	Waiting    string            `json:"waiting,omitempty"`
	Problem    string            `json:"problem,omitempty"`
	Since      time.Time         `json:"since"`
	Flows      int               `json:"flows"`
	Ports      []string          `json:"ports"`
	Sent       Sent              `json:"sent"`
	Faults     []Fault           `json:"faults,omitempty"`
	Conflicts  []string          `json:"conflicts,omitempty"` // iface-ids reported here although their port lives elsewhere
}

// Sent counts what was sent to a node since the process started.
type Sent struct {
	FlowMods  uint64 `json:"flow_mods"`
	GroupMods uint64 `json:"group_mods"`
	MeterMods uint64 `json:"meter_mods"`
	Rows      uint64 `json:"ovsdb_rows"`
	Bundles   uint64 `json:"bundles"`
	Audits    uint64 `json:"audits"`
	Drift     uint64 `json:"drift_healed"`
}

// Fault is something wrong with an object on a node.
type Fault struct {
	Kind   string `json:"kind"`
	Object string `json:"object"`
	Rule   string `json:"rule"`
	Reason string `json:"reason"`
}

// Topology is what is connected to what.
type Topology struct {
	Nodes    []TopologyNode    `json:"nodes"`
	Links    []TopologyLink    `json:"links"`
	Networks []TopologyNetwork `json:"networks"`
}

// TopologyNode is a node with the ports located on it.
type TopologyNode struct {
	ID      string         `json:"id"`
	LocalIP string         `json:"local_ip"`
	Ports   []TopologyPort `json:"ports"`
}

// TopologyPort is a located port.
type TopologyPort struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	Network   string   `json:"network"`
	MAC       string   `json:"mac"`
	Addresses []string `json:"addresses"`
	OFPort    uint32   `json:"ofport"`
	Status    string   `json:"status"`
}

// TopologyLink is a direction of a link, as LLDP found it.
type TopologyLink struct {
	From     string    `json:"from"`
	FromPort string    `json:"from_port"`
	To       string    `json:"to"`
	ToPort   string    `json:"to_port"`
	Seen     time.Time `json:"seen"`
}

// TopologyNetwork is a network and the nodes that host it.
type TopologyNetwork struct {
	ID    string   `json:"id"`
	Name  string   `json:"name"`
	Type  string   `json:"type"`
	Tag   uint32   `json:"segmentation_id"`
	Nodes []string `json:"nodes"`
}

// Flow is a desired flow and who owns it.
type Flow struct {
	Text    string   `json:"flow"`
	Rule    string   `json:"rule,omitempty"`
	Kind    string   `json:"kind,omitempty"`
	Object  string   `json:"object,omitempty"`
	Authors []Author `json:"authors,omitempty"` // only if asked for: the owner first, then who shares the flow or contributed to it
}

// Authored reports whether every author of a flow that was listed with authors is known with the change behind it.
func (f *Flow) Authored() bool {
	for _, a := range f.Authors {
		if a.Rule == "" || a.Object == "" || a.Commit == nil || a.Commit.Revision == 0 {
			return false
		}
	}
	return len(f.Authors) > 0
}

// Author is somebody who asked for a flow.
type Author struct {
	Rule   string  `json:"rule"`
	Kind   string  `json:"kind"`
	Object string  `json:"object"`
	Name   string  `json:"name,omitempty"`
	Commit *Commit `json:"commit,omitempty"`
}

// CookieReport is what a cookie of the standard profile tells, and the flows that carry it.
type CookieReport struct {
	Node   string  `json:"node"`
	Cookie string  `json:"cookie"`
	What   string  `json:"what"` // the kind of flow's owner in the pipeline's words
	Key    uint32  `json:"key"`
	Merged bool    `json:"merged,omitempty"` // several objects share the flow; each flow names them
	Table  string  `json:"table,omitempty"`
	Number uint8   `json:"number,omitempty"` // which of the rule's flows in the table
	Kind   string  `json:"kind,omitempty"`
	Object string  `json:"object,omitempty"`
	Name   string  `json:"name,omitempty"`
	Commit *Commit `json:"commit,omitempty"`
	Flows  []Flow  `json:"flows"`
}

// Explanation says why a flow is there.
type Explanation struct {
	Node    string   `json:"node"`
	Flow    string   `json:"flow"`
	Table   string   `json:"table"`
	Purpose string   `json:"purpose"`
	Reasons []Reason `json:"reasons"`
}

// Reason is one owner of a flow.
type Reason struct {
	Rule    string  `json:"rule"`
	Doc     string  `json:"doc"`
	Source  string  `json:"source"` // file:line that emitted it
	Kind    string  `json:"kind"`
	Object  string  `json:"object"`
	Name    string  `json:"name,omitempty"`
	Because []Cause `json:"because,omitempty"`
	Commit  *Commit `json:"commit,omitempty"`
}

// Cause is an object that asked for a flow besides the rule's own subject.
type Cause struct {
	Kind   string  `json:"kind"`
	Object string  `json:"object"`
	Name   string  `json:"name,omitempty"`
	Commit *Commit `json:"commit,omitempty"`
}

// Commit is the last change of an object's data-plane part.
type Commit struct {
	Revision uint64    `json:"revision"`
	Request  string    `json:"request_id,omitempty"`
	User     string    `json:"user,omitempty"`
	Action   string    `json:"action,omitempty"`
	Time     time.Time `json:"time"`
}

// PortReport says where a port is and what it caused.
type PortReport struct {
	ID       string        `json:"id"`
	Name     string        `json:"name"`
	Network  string        `json:"network"`
	MAC      string        `json:"mac"`
	Host     string        `json:"host"`
	Plugged  []string      `json:"plugged_on"`
	Status   string        `json:"status"`
	Advice   string        `json:"advice,omitempty"`
	Commit   *Commit       `json:"commit,omitempty"`
	Flows    []Explanation `json:"flows"`
	Problems []string      `json:"problems,omitempty"`
}

// Backend answers for the running server.
type Backend interface {
	Status(context.Context) (Status, error)
	Nodes(context.Context) ([]Node, error)
	Approve(ctx context.Context, node, user string) error
	Forget(ctx context.Context, node, user string) error
	Topology(context.Context) (Topology, error)
	Flows(ctx context.Context, node string, authors bool) ([]Flow, error)
	ExplainFlow(ctx context.Context, node, flow string) (Explanation, error)
	ExplainCookie(ctx context.Context, node string, cookie uint64) (CookieReport, error)
	ExplainPort(ctx context.Context, port string) (PortReport, error)
	Trace(ctx context.Context, q TraceQuery) (Trace, error)
	Wait(ctx context.Context, revision uint64) error
	Events(ctx context.Context, after uint64, f func(es []Event, lost bool) error) error
	DHCP(ctx context.Context, node string, after uint64) (dhcpapi.Config, error)
}

// Authorize returns the user's name and whether the request may go on with one of the roles.
type Authorize func(r *http.Request, roles ...string) (user string, err error)

// Errors that a Backend may wrap; anything else is a 500.
var (
	ErrNotFound = errors.New("not found")
	ErrBadInput = errors.New("bad input")
	// ErrUnauthorized is for Authorize: no valid token; ErrForbidden: the role is missing.
	ErrUnauthorized = errors.New("unauthorized")
	ErrForbidden    = errors.New("forbidden")
	// ErrUnavailable says that nobody can answer at present, for example who a token stands for.
	ErrUnavailable = errors.New("unavailable at present; try again later")
)

// Handler serves the API. Paths begin with /nagare/v1.
func Handler(b Backend, auth Authorize) http.Handler {
	m := http.NewServeMux()
	get := func(path string, f func(*http.Request) (any, error), roles ...string) {
		m.HandleFunc("GET /nagare/v1"+path, func(w http.ResponseWriter, r *http.Request) {
			if _, err := auth(r, append(roles, "admin")...); err != nil {
				fail(w, err)
				return
			}
			v, err := f(r)
			if err != nil {
				fail(w, err)
				return
			}
			answer(w, http.StatusOK, v)
		})
	}
	change := func(pattern string, f func(r *http.Request, user string) error) {
		m.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			user, err := auth(r, "admin")
			if err == nil {
				err = f(r, user)
			}
			if err != nil {
				fail(w, err)
				return
			}
			w.WriteHeader(http.StatusNoContent)
		})
	}
	get("/status", func(r *http.Request) (any, error) { return b.Status(r.Context()) })
	get("/nodes", func(r *http.Request) (any, error) { return wrap("nodes")(b.Nodes(r.Context())) })
	get("/topology", func(r *http.Request) (any, error) { return b.Topology(r.Context()) })
	// ?explain=1 adds to each flow who asked for it and the change behind it.
	get("/nodes/{node}/flows", func(r *http.Request) (any, error) {
		fs, err := b.Flows(r.Context(), r.PathValue("node"), r.URL.Query().Get("explain") == "1")
		return map[string]any{"flows": fs}, err
	})
	get("/nodes/{node}/explain", func(r *http.Request) (any, error) {
		if s := r.URL.Query().Get("cookie"); s != "" {
			cookie, err := strconv.ParseUint(s, 0, 64)
			if err != nil {
				return nil, errors.Join(ErrBadInput, errors.New("cookie "+strconv.Quote(s)+": want a number such as 0x4e03000000000011"))
			}
			return b.ExplainCookie(r.Context(), r.PathValue("node"), cookie)
		}
		return b.ExplainFlow(r.Context(), r.PathValue("node"), r.URL.Query().Get("flow"))
	})
	get("/ports/{port}/explain", func(r *http.Request) (any, error) { return b.ExplainPort(r.Context(), r.PathValue("port")) })
	get("/trace", func(r *http.Request) (any, error) {
		q, err := traceQuery(r)
		if err != nil {
			return nil, err
		}
		return b.Trace(r.Context(), q)
	})
	get("/wait", func(r *http.Request) (any, error) {
		rev, err := number(r, "revision")
		if err != nil {
			return nil, err
		}
		ctx, cancel := patience(r)
		defer cancel()
		return map[string]uint64{"revision": rev}, b.Wait(ctx, rev)
	}, "service")
	get("/dhcp", func(r *http.Request) (any, error) {
		after, err := number(r, "after")
		if err != nil {
			return nil, err
		}
		ctx, cancel := patience(r)
		defer cancel()
		return b.DHCP(ctx, r.URL.Query().Get("node"), after)
	}, "service")
	events := &stream{events: b.Events, beat: beat, newest: func(ctx context.Context) (uint64, error) {
		st, err := b.Status(ctx)
		return st.Revision, err
	}}
	m.HandleFunc("GET /nagare/v1/events", func(w http.ResponseWriter, r *http.Request) {
		_, err := auth(r, "admin", "service")
		if err == nil {
			err = events.serve(w, r)
		}
		if err != nil {
			fail(w, err)
		}
	})
	change("POST /nagare/v1/nodes/{node}/approve", func(r *http.Request, user string) error {
		return b.Approve(r.Context(), r.PathValue("node"), user)
	})
	change("DELETE /nagare/v1/nodes/{node}", func(r *http.Request, user string) error {
		return b.Forget(r.Context(), r.PathValue("node"), user)
	})
	return m
}

func wrap(name string) func(v any, err error) (any, error) {
	return func(v any, err error) (any, error) { return map[string]any{name: v}, err }
}

func number(r *http.Request, name string) (uint64, error) {
	s := r.URL.Query().Get(name)
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, errors.Join(ErrBadInput, errors.New(name+" "+strconv.Quote(s)+": want a number"))
	}
	return n, nil
}

// patience bounds a long poll: ?timeout=SECONDS, default 30, at most 300.
func patience(r *http.Request) (context.Context, context.CancelFunc) {
	sec, err := strconv.Atoi(r.URL.Query().Get("timeout"))
	if err != nil || sec <= 0 || sec > 300 {
		sec = 30
	}
	return context.WithTimeout(r.Context(), time.Duration(sec)*time.Second)
}

func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v)
}

func fail(w http.ResponseWriter, err error) {
	code, text := http.StatusInternalServerError, err.Error()
	var locked *identity.LockedError
	switch {
	case errors.As(err, &locked):
		code = identity.Deny(w.Header(), err)
	case errors.Is(err, ErrUnavailable):
		code = http.StatusServiceUnavailable
	case errors.Is(err, ErrNotFound):
		code = http.StatusNotFound
	case errors.Is(err, ErrBadInput):
		code = http.StatusBadRequest // which says that much
		text = strings.TrimPrefix(strings.TrimSuffix(text, ": "+ErrBadInput.Error()), ErrBadInput.Error()+"\n")
	case errors.Is(err, ErrUnauthorized):
		code = http.StatusUnauthorized
	case errors.Is(err, ErrForbidden):
		code = http.StatusForbidden
	case errors.Is(err, errBusy):
		code = http.StatusServiceUnavailable
	case errors.Is(err, context.DeadlineExceeded):
		code = http.StatusGatewayTimeout
	case errors.Is(err, context.Canceled):
		code = http.StatusServiceUnavailable
	}
	answer(w, code, map[string]any{"error": map[string]any{"code": code, "message": text}})
}
