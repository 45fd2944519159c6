// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"net/http"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// Which node serves what, as Neutron's schedulers show it. Placement is nagare's own business, so nothing is written here, and the
// schedulers' aliases are not listed.

// gatewaysByNode finds the gateways that a node has.
var gatewaysByNode = store.DeclareIndex(tables.Schema, tables.Gateways, "node", func(g model.Gateway) []string { return []string{string(g.Node)} })

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
		if k := &agentKinds[i]; ok && k.binary == binary && k.on(&v.api.cfg, &n) {
			return []*agent{{n, k}}
		}
	}
	return nil
}

// agentsOfNetwork answers GET /networks/{id}/dhcp-agents: those of the nodes that its DHCP ports are on.
func agentsOfNetwork(rq *request, id string, rest []string) error {
	return beside(rq, rest, func(v *view) ([]byte, error) {
		if _, err := networks.find(v, id); err != nil {
			return nil, err
		}
		if err := rq.needAdmin(v, "get_dhcp-agents"); err != nil {
			return nil, err
		}
		var out []*agent
		for p := range tables.DHCPPortsByNetwork.By(v.r, id) {
			out = append(out, agentFor(v, "neutron-dhcp-agent", p.Host)...)
		}
		return agents.array(v, out, rq.query["fields"]), nil
	})
}

// agentsOfRouter answers GET /routers/{id}/l3-agents: that of the node which has its gateway.
func agentsOfRouter(rq *request, id string, rest []string) error {
	return beside(rq, rest, func(v *view) ([]byte, error) {
		if _, err := routers.find(v, id); err != nil {
			return nil, err
		}
		if err := rq.needAdmin(v, "get_l3-agents"); err != nil {
			return nil, err
		}
		g, _ := tables.Gateways.Get(v.r, model.RouterID(id))
		return agents.array(v, agentFor(v, "neutron-l3-agent", g.Node), rq.query["fields"]), nil
	})
}

// networksOfAgent answers GET /agents/{id}/dhcp-networks.
func networksOfAgent(rq *request, id string, rest []string) error {
	return beside(rq, rest, func(v *view) ([]byte, error) {
		a, err := agents.find(v, id)
		if err != nil {
			return nil, err
		}
		out := []*model.Network{}
		if a.kind.binary == "neutron-dhcp-agent" {
			for p := range dhcpPortsByHost.By(v.r, string(a.node.ID)) {
				if n, ok := tables.Networks.Get(v.r, p.Network); ok {
					out = append(out, &n)
				}
			}
		}
		return networks.array(v, out, rq.query["fields"]), nil
	})
}

// routersOfAgent answers GET /agents/{id}/l3-routers.
func routersOfAgent(rq *request, id string, rest []string) error {
	return beside(rq, rest, func(v *view) ([]byte, error) {
		a, err := agents.find(v, id)
		if err != nil {
			return nil, err
		}
		out := []*model.Router{}
		if a.kind.binary == "neutron-l3-agent" {
			for g := range gatewaysByNode.By(v.r, string(a.node.ID)) {
				if r, ok := tables.Routers.Get(v.r, g.Router); ok {
					out = append(out, &r)
				}
			}
		}
		return routers.array(v, out, rq.query["fields"]), nil
	})
}
