// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"errors"
	"net/http"
	"slices"

	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/policy"
	"nagare/internal/tables"
)

// An administrator says which node has a router's gateway, or a network's DHCP port, by adding it to that node's agent. One node has it
// at a time: what is added elsewhere moves. A router's choice is kept: the gateway leaves the node when that fails and returns when it
// is back. What is removed from an agent goes to another node; if there is none, a router has no way out and a network no DHCP until it
// is added to an agent or another node comes.

func init() {
	declare(part{
		when: func(c *Config) bool { return !c.NativeDHCP },
		extensions: []extension{
			{"dhcp_agent_scheduler", "DHCP Agent Scheduler", "Schedule networks among dhcp agents", "2013-02-07T10:00:00-00:00"},
		},
		rules: []policy.Default{{Name: "create_dhcp-network", Check: "rule:admin_only"}, {Name: "delete_dhcp-network", Check: "rule:admin_only"}},
	})
	declare(part{
		when: whereRouted,
		extensions: []extension{
			{"l3_agent_scheduler", "L3 Agent Scheduler", "Schedule routers among l3 agents", "2013-02-07T10:00:00-00:00"},
		},
		rules: []policy.Default{{Name: "create_l3-router", Check: "rule:admin_only"}, {Name: "delete_l3-router", Check: "rule:admin_only"}},
	})
}

// schedule is what agents of one kind are given and relieved of.
type schedule struct {
	attr, rule string // of the body, and the policy rules' name after create_ and delete_
	add, drop  func(w *work, a *agent, object string) error
}

var (
	dhcpSchedule = schedule{"network_id", "dhcp-network", addNetworkToAgent, dropNetworkFromAgent}
	l3Schedule   = schedule{"router_id", "l3-router", addRouterToAgent, dropRouterFromAgent}
)

// scheduling answers POST below an agent with {attr: id}, and DELETE of an id there; handled is false for anything else.
func scheduling(rq *request, id string, rest []string, s *schedule) (handled bool, err error) {
	m := rq.r.Method
	if !(len(rest) == 0 && m == http.MethodPost) && !(len(rest) == 1 && m == http.MethodDelete) {
		return false, nil
	}
	rule, object := "delete_"+s.rule, ""
	if m == http.MethodPost {
		rule = "create_" + s.rule
	} else {
		object = rest[0]
	}
	if v := rq.view(rq.api.store.Snapshot()); !v.permits(rule, v.admin, "") {
		return true, forbidden(rule, nil)
	}
	do := s.drop
	if m == http.MethodPost {
		do = s.add
		body, err := rq.body()
		if err != nil {
			return true, err
		}
		asked, err := uuidText(body[s.attr])
		if err != nil {
			return true, badRequest("Invalid input for %s. Reason: %s.", s.attr, err)
		}
		object = asked.(string)
	}
	if _, err := rq.commit(func(w *work) error {
		a, err := agents.find(&w.view, id)
		if err != nil {
			return err
		}
		return do(w, &a, object)
	}); err != nil {
		return true, err
	}
	if m == http.MethodDelete {
		rq.w.WriteHeader(http.StatusNoContent)
		return true, nil
	}
	return true, rq.answer(http.StatusCreated, []byte("null")) // as Neutron
}

func invalidL3Agent(a *agent, why string) *Error {
	return fail(http.StatusNotFound, "InvalidL3Agent", "Agent %s is not a L3 Agent or has been disabled%s", a.id(), why)
}

func notScheduled(r model.RouterID, a *agent, why string) *Error {
	return conflict("RouterSchedulingFailed", "Failed scheduling router %s to the L3 Agent %s: %s.", r, a.id(), why)
}

func addRouterToAgent(w *work, a *agent, id string) error {
	r, err := routers.find(&w.view, id)
	if err != nil {
		return err
	}
	if a.kind.binary != l3Agent {
		return invalidL3Agent(a, "")
	}
	if host := r.GatewayNode; host != "" && host != a.node.ID {
		if there := agentFor(&w.view, l3Agent, host); len(there) > 0 { // else its node is gone, and the choice with it
			return conflict("RouterHostedByL3Agent", "The router %s has been already hosted by the L3 Agent %s.", r.ID, there[0].id())
		}
	}
	if !a.alive() || w.api.Down()[a.node.ID] {
		return notScheduled(r.ID, a, "node "+string(a.node.ID)+" is not connected")
	}
	if gw, ok := tables.Ports.Get(w.tx, r.GatewayPort); ok && r.GatewayPort != "" {
		n, _ := tables.Networks.Get(w.tx, gw.Network)
		switch {
		case n.PhysicalNetwork == "":
			return conflict("RouterDoesntSupportScheduling", "Router %s does not support agent scheduling: its external network %s is on no physical network.", r.ID, n.ID)
		case !tables.Maps(w.tx, a.node.ID, &n):
			return invalidL3Agent(a, ": node "+string(a.node.ID)+" does not map physical network "+n.PhysicalNetwork)
		}
	}
	r.GatewayNode, r.GatewayRemoved = a.node.ID, ""
	tables.Routers.Put(w.tx, r.ID, r)
	_, err = alloc.PlaceGateway(w.tx, r.ID, w.api.Down())
	return exhausted(err, notScheduled(r.ID, a, "node "+string(a.node.ID)+" has no room for another gateway"))
}

func dropRouterFromAgent(w *work, a *agent, id string) error {
	if a.kind.binary != l3Agent {
		return invalidL3Agent(a, "")
	}
	r, err := routers.find(&w.view, id)
	if err != nil {
		return err
	}
	at := gatewayHost(w.tx, &r)
	if at != a.node.ID && r.GatewayNode != a.node.ID {
		return conflict("RouterNotHostedByL3Agent", "The router %s is not hosted by the L3 Agent %s.", r.ID, a.id())
	}
	if r.GatewayNode == a.node.ID {
		r.GatewayNode = ""
	}
	if at == a.node.ID {
		r.GatewayRemoved = at
	}
	tables.Routers.Put(w.tx, r.ID, r)
	_, err = alloc.PlaceGateway(w.tx, r.ID, w.api.Down())
	return exhausted(err, conflict("RouterReschedulingFailed", "Failed rescheduling router %s: no eligible l3 agent found.", r.ID))
}

// checkDHCPAgent: where the controller serves DHCP, every node does for its own ports, and nothing is scheduled.
func checkDHCPAgent(w *work, a *agent) error {
	invalid := "Agent %s is not a valid DHCP Agent or has been disabled."
	switch {
	case w.api.cfg.NativeDHCP:
		return fail(http.StatusNotFound, "InvalidDHCPAgent", invalid+" Every node answers for the networks of its ports; there is nothing to schedule.", a.id())
	case a.kind.binary != dhcpAgent:
		return fail(http.StatusNotFound, "InvalidDHCPAgent", invalid, a.id())
	}
	return nil
}

func addNetworkToAgent(w *work, a *agent, id string) error {
	n, err := networks.find(&w.view, id)
	if err != nil {
		return err
	}
	if err := checkDHCPAgent(w, a); err != nil {
		return err
	}
	if slices.Contains(dhcpHostsOf(w.tx, &n), a.node.ID) {
		return conflict("NetworkHostedByDHCPAgent", "The network %s has been already hosted by the DHCP Agent %s.", n.ID, a.id())
	}
	return w.scheduleDHCP(&n, a.node.ID, "")
}

func dropNetworkFromAgent(w *work, a *agent, id string) error {
	if err := checkDHCPAgent(w, a); err != nil {
		return err
	}
	n, err := networks.find(&w.view, id)
	if err == nil && slices.Contains(dhcpHostsOf(w.tx, &n), a.node.ID) {
		return w.scheduleDHCP(&n, "", a.node.ID)
	}
	var gone *Error
	if err != nil && !errors.As(err, &gone) {
		return err
	}
	return conflict("NetworkNotHostedByDhcpAgent", "The network %s is not hosted by the DHCP Agent %s.", show(id), a.id())
}

// scheduleDHCP makes a choice for a network, "" for none, and puts its DHCP port where it belongs now, not on the node that it was
// removed from.
func (w *work) scheduleDHCP(n *model.Network, chosen, removed model.NodeID) error {
	n.DHCPNode = chosen
	tables.Networks.Put(w.tx, n.ID, *n)
	for p := range tables.DHCPPortsByNetwork.By(w.tx, string(n.ID)) {
		if ownDHCP(&p) {
			p.RemovedFrom = removed
			return w.replaceDHCP(p)
		}
	}
	return nil
}
