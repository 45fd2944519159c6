// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"net/http"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// Which node serves what, as Neutron's schedulers show it; what an administrator changes of that is in schedule.go.

var (
	// gatewaysByNode finds the gateways that a node has.
	gatewaysByNode = store.DeclareIndex(tables.Schema, tables.Gateways, "node", func(g model.Gateway) []string { return []string{string(g.Node)} })
	// routersByChoice and networksByChoice find what a node was chosen for.
	routersByChoice = store.DeclareIndex(tables.Schema, tables.Routers, "gateway-node", func(r model.Router) []string {
		if r.GatewayNode == "" {
			return nil
		}
		return []string{string(r.GatewayNode)}
	})
	networksByChoice = store.DeclareIndex(tables.Schema, tables.Networks, "dhcp-node", func(n model.Network) []string {
		if n.DHCPNode == "" {
			return nil
		}
		return []string{string(n.DHCPNode)}
	})
)

// gatewayHost is the node that has a router's gateway; for one that is on none, the node that was chosen for it.
func gatewayHost(r store.Reader, rt *model.Router) model.NodeID {
	if g, ok := tables.Gateways.Get(r, rt.ID); ok {
		return g.Node
	}
	return rt.GatewayNode
}

// dhcpHostsOf are the nodes that have a network's DHCP ports; for one without such a port, the node that was chosen for it.
func dhcpHostsOf(r store.Reader, n *model.Network) (hosts []model.NodeID) {
	any := false
	for p := range tables.DHCPPortsByNetwork.By(r, string(n.ID)) {
		if any = true; p.Host != "" {
			hosts = append(hosts, p.Host)
		}
	}
	if !any && n.DHCPNode != "" {
		hosts = append(hosts, n.DHCPNode)
	}
	return hosts
}

// beside answers a GET of what belongs to an object, for those who may see agents.
func beside(rq *request, rest []string, find func(v *view) ([]byte, error)) error {
	if len(rest) > 0 {
		return notFoundPath()
	}
	if m := rq.r.Method; m != http.MethodGet && m != http.MethodHead {
		return methodNotAllowed(m)
	}
	v := rq.view(rq.api.store.Snapshot())
	b, err := find(v)
	if err != nil {
		return err
	}
	return rq.answer(http.StatusOK, append(b, '}'))
}

func init() {
	ruledBelow["get_dhcp-agents"], ruledBelow["get_l3-agents"] = adminOrService, adminOrService
}

func (rq *request) needAdmin(v *view, action string) error {
	if !v.permits(action, v.seesRule(ruledBelow[action]), "") {
		return forbidden(action, nil)
	}
	return nil
}

// agentFor is the agent of a kind on a node.
func agentFor(v *view, binary string, node model.NodeID) []*agent {
	n, ok := tables.Nodes.Get(v.r, node)
	for i := range agentKinds {
		if a := (agent{n, &agentKinds[i]}); ok && a.kind.binary == binary && a.there(v) {
			return []*agent{&a}
		}
	}
	return nil
}

// agentsOfNetwork answers GET /networks/{id}/dhcp-agents: those of the nodes that its DHCP ports are on.
func agentsOfNetwork(rq *request, id string, rest []string) error {
	return beside(rq, rest, func(v *view) ([]byte, error) {
		n, err := networks.find(v, id)
		if err != nil {
			return nil, err
		}
		if err := rq.needAdmin(v, "get_dhcp-agents"); err != nil {
			return nil, err
		}
		var out []*agent
		for _, host := range dhcpHostsOf(v.r, &n) {
			out = append(out, agentFor(v, dhcpAgent, host)...)
		}
		return agents.array(v, out, rq.query["fields"]), nil
	})
}

// agentsOfRouter answers GET /routers/{id}/l3-agents: that of the node which has its gateway.
func agentsOfRouter(rq *request, id string, rest []string) error {
	return beside(rq, rest, func(v *view) ([]byte, error) {
		r, err := routers.find(v, id)
		if err != nil {
			return nil, err
		}
		if err := rq.needAdmin(v, "get_l3-agents"); err != nil {
			return nil, err
		}
		return agents.array(v, agentFor(v, l3Agent, gatewayHost(v.r, &r)), rq.query["fields"]), nil
	})
}

// networksOfAgent answers GET and POST /agents/{id}/dhcp-networks, and DELETE of one there.
func networksOfAgent(rq *request, id string, rest []string) error {
	if handled, err := scheduling(rq, id, rest, &dhcpSchedule); handled {
		return err
	}
	return beside(rq, rest, func(v *view) ([]byte, error) {
		a, err := agents.find(v, id)
		if err != nil {
			return nil, err
		}
		out := []*model.Network{}
		if a.kind.binary == dhcpAgent {
			for p := range dhcpPortsByHost.By(v.r, string(a.node.ID)) {
				if n, ok := tables.Networks.Get(v.r, p.Network); ok {
					out = append(out, &n)
				}
			}
			for n := range networksByChoice.By(v.r, string(a.node.ID)) {
				if _, placed := tables.DHCPPortsByNetwork.First(v.r, string(n.ID)); !placed {
					out = append(out, &n)
				}
			}
		}
		return networks.array(v, out, rq.query["fields"]), nil
	})
}

// routersOfAgent answers GET and POST /agents/{id}/l3-routers, and DELETE of one there.
func routersOfAgent(rq *request, id string, rest []string) error {
	if handled, err := scheduling(rq, id, rest, &l3Schedule); handled {
		return err
	}
	return beside(rq, rest, func(v *view) ([]byte, error) {
		a, err := agents.find(v, id)
		if err != nil {
			return nil, err
		}
		out := []*model.Router{}
		if a.kind.binary == l3Agent {
			for g := range gatewaysByNode.By(v.r, string(a.node.ID)) {
				if r, ok := tables.Routers.Get(v.r, g.Router); ok {
					out = append(out, &r)
				}
			}
			for r := range routersByChoice.By(v.r, string(a.node.ID)) {
				if _, placed := tables.Gateways.Get(v.r, r.ID); !placed {
					out = append(out, &r)
				}
			}
		}
		return routers.array(v, out, rq.query["fields"]), nil
	})
}
