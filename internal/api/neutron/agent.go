// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// agentKind is one of Neutron's agents, none of which run here: a node does their work, and those who look after a cloud by its
// agents see it as one of each kind that it does the work of.
type agentKind struct {
	name, binary, topic string
	zone                string // resource whose availability zones it makes; "" for none
	on                  func(c *Config, n *model.Node) bool
	about               func(n *model.Node) map[string]any
}

// Binaries of the agents that have schedulers.
const (
	dhcpAgent = "neutron-dhcp-agent"
	l3Agent   = "neutron-l3-agent"
)

var agentKinds = []agentKind{
	{"DHCP agent", dhcpAgent, "dhcp_agent", "network",
		func(c *Config, n *model.Node) bool { return c.NativeDHCP || len(n.Mappings) > 0 },
		func(*model.Node) map[string]any { return map[string]any{"dhcp_driver": "nagare"} }},
	{"L3 agent", l3Agent, "l3_agent", "router",
		func(c *Config, n *model.Node) bool { return c.Routers && len(n.Mappings) > 0 },
		func(*model.Node) map[string]any {
			return map[string]any{"agent_mode": "dvr_snat", "handle_internal_only_routers": true}
		}},
	{"Open vSwitch agent", "neutron-openvswitch-agent", "N/A", "",
		func(*Config, *model.Node) bool { return true },
		func(n *model.Node) map[string]any {
			maps := map[string]any{}
			for physical, bridge := range n.Mappings {
				maps[physical] = bridge
			}
			about := map[string]any{"bridge_mappings": maps, "integration_bridge": "br-int", "tunnel_types": []string{"vxlan"}, "datapath_type": "system", "ovs_version": n.OVSVersion}
			if n.LocalIP.IsValid() {
				about["tunneling_ip"] = n.LocalIP.String()
			}
			if n.DatapathType != "" {
				about["datapath_type"] = n.DatapathType
			}
			return about
		}},
}

// agent is a node in one of its roles.
type agent struct {
	node model.Node
	kind *agentKind
}

// id is the same for the same node and kind, after restarts too.
func (k *agentKind) id(n model.NodeID) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("nagare:"+k.binary+":"+string(n))).String()
}

func (a *agent) alive() bool { return a.node.Lost.IsZero() }

func (a *agent) id() string { return a.kind.id(a.node.ID) }

// nodesByAgent finds the node of an agent's id.
var nodesByAgent = store.DeclareIndex(tables.Schema, tables.Nodes, "agent", func(n model.Node) (ids []string) {
	for i := range agentKinds {
		ids = append(ids, agentKinds[i].id(n.ID))
	}
	return ids
})

// agentNotes are what administrators write beside agents, by agent id.
type agentNote struct {
	Text string    `json:"description"`
	Gone time.Time `json:"gone,omitzero"` // the agent was deleted after its node was lost then
}

var agentNotes = store.Declare[string, agentNote](tables.Schema, "agent-notes", store.Intent)

// there reports whether the configuration has the agent and nobody deleted it.
func (a *agent) there(v *view) bool {
	if !a.kind.on(&v.api.cfg, &a.node) {
		return false
	}
	n, _ := agentNotes.Get(v.r, a.id())
	return a.alive() || !n.Gone.Equal(a.node.Lost)
}

// deleteAgent takes away an agent of a node that is gone. With the last one the node is forgotten; one that comes back is seen again.
func deleteAgent(w *work, a agent) error {
	if a.alive() {
		return conflict("AgentInUse", "Agent %s cannot be deleted: node %s is connected. Stop its Open vSwitch or take its manager away (ovs-vsctl del-manager) first.", a.id(), a.node.ID)
	}
	note, _ := agentNotes.Get(w.tx, a.id())
	note.Gone = a.node.Lost
	agentNotes.Put(w.tx, a.id(), note)
	for i := range agentKinds {
		if other := (agent{a.node, &agentKinds[i]}); other.there(&w.view) {
			return nil
		}
	}
	for i := range agentKinds {
		agentNotes.Delete(w.tx, agentKinds[i].id(a.node.ID))
	}
	tables.ForgetNode(w.tx, a.node.ID)
	return nil
}

// agentStamp is the form of times in agents, which is not that of other resources.
const agentStamp = "2006-01-02 15:04:05"

var agents = new(Resource[agent])

func init() {
	declare(part{extensions: []extension{
		{"agent", "agent", "The agent management extension.", "2013-02-03T10:00:00-00:00"},
		{"agent-resources-synced", "Agent's Resource View Synced to Placement", "Stores success/failure of last sync to Placement", "2018-12-19T00:00:00-00:00"},
	}})
	text := func(f func(a *agent) string) func(*view, *agent) any {
		return func(_ *view, a *agent) any { return f(a) }
	}
	agents.declare(Resource[agent]{
		name: "agent", plural: "agents", path: "agents",
		id:  func(a *agent) string { return a.id() },
		std: func(*agent) *model.Std { return &model.Std{} },
		get: agentOf,
		put: func(*store.Txn, agent) error { return nil },
		// A cloud's nodes are few beside its other objects, and their agents lie in no order of the table.
		from: func(r store.Reader, id string) iter.Seq[agent] {
			var all []agent
			for _, n := range tables.Nodes.All(r) {
				for i := range agentKinds {
					all = append(all, agent{n, &agentKinds[i]})
				}
			}
			all = slices.DeleteFunc(all, func(a agent) bool { return a.id() < id })
			slices.SortFunc(all, func(a, b agent) int { return strings.Compare(a.id(), b.id()) })
			return slices.Values(all)
		},
		gone: func(id string) *Error {
			return fail(http.StatusNotFound, "AgentNotFound", "Agent %s could not be found", id)
		},
		lookups: []lookup[agent]{
			{attr: "id", by: func(r store.Reader, id string) iter.Seq[agent] {
				return func(yield func(agent) bool) {
					if a, ok := agentOf(r, id); ok {
						yield(a)
					}
				}
			}},
			{attr: "host", by: func(r store.Reader, host string) iter.Seq[agent] {
				return func(yield func(agent) bool) {
					n, ok := tables.Nodes.Get(r, model.NodeID(host))
					for i := range agentKinds {
						if ok && !yield(agent{n, &agentKinds[i]}) {
							return
						}
					}
				}
			}},
		},
		scope:  func(*view) iter.Seq[agent] { return func(func(agent) bool) {} }, // administrators look after agents, and services see them
		sees:   func(*view, *agent) bool { return false },
		there:  func(v *view, a *agent) bool { return a.there(v) },
		change: adminOnly, remove: adminOnly,
		update: func(w *work, a agent, in *values) (agent, error) {
			if in.asked("admin_state_up") && !get[bool](in, "admin_state_up") {
				return a, badRequest("Agent %s cannot be put out of service here; move or unbind what its node %s has", a.id(), a.node.ID)
			}
			if in.asked("description") {
				note, _ := agentNotes.Get(w.tx, a.id())
				note.Text = get[string](in, "description")
				agentNotes.Put(w.tx, a.id(), note)
			}
			return a, nil
		},
		delete: deleteAgent,
		below:  map[string]func(*request, string, []string) error{"dhcp-networks": networksOfAgent, "l3-routers": routersOfAgent},
		attrs: []Attr[agent]{
			{Name: "id", Get: text(func(a *agent) string { return a.id() })},
			{Name: "agent_type", Get: text(func(a *agent) string { return a.kind.name })},
			{Name: "binary", Get: text(func(a *agent) string { return a.kind.binary })},
			{Name: "topic", Get: text(func(a *agent) string { return a.kind.topic })},
			{Name: "host", Get: text(func(a *agent) string { return string(a.node.ID) })},
			{Name: "availability_zone", Get: func(v *view, a *agent) any {
				if a.kind.zone == "" {
					return nil
				}
				return v.api.cfg.Facts.Zone
			}},
			{Name: "admin_state_up", Get: func(*view, *agent) any { return true }, Parse: boolean, Put: true, Bool: true},
			{Name: "alive", Get: func(_ *view, a *agent) any { return a.alive() }, Bool: true},
			{Name: "created_at", Get: text(func(a *agent) string { return a.node.FirstSeen.UTC().Format(agentStamp) })},
			{Name: "started_at", Get: text(func(a *agent) string { return a.node.FirstSeen.UTC().Format(agentStamp) })},
			{Name: "heartbeat_timestamp", Get: func(v *view, a *agent) any {
				seen := a.node.Lost
				if a.alive() { // a node that is connected beats at every moment
					seen = v.api.cfg.Now()
				}
				return seen.UTC().Truncate(time.Second).Format(agentStamp)
			}},
			{Name: "description", Get: func(v *view, a *agent) any {
				n, _ := agentNotes.Get(v.r, a.id())
				return nullText(n.Text)
			}, Parse: textOrNull(255), Put: true},
			{Name: "configurations", Get: func(_ *view, a *agent) any { return a.kind.about(&a.node) }, NoFilter: true, NoSort: true},
			{Name: "resources_synced", Get: null[agent], NoFilter: true},
		},
	})
	networks.serveBelow("dhcp-agents", agentsOfNetwork)
	routers.serveBelow("l3-agents", agentsOfRouter)
}

func agentOf(r store.Reader, id string) (agent, bool) {
	n, ok := nodesByAgent.First(r, id)
	for i := range agentKinds {
		if ok && agentKinds[i].id(n.ID) == id {
			return agent{n, &agentKinds[i]}, true
		}
	}
	return agent{}, false
}
