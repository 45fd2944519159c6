// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"errors"
	"net/http"
	"slices"

	"nagare/internal/alloc"
	"nagare/internal/api/jsonbody"
	"nagare/internal/model"
	"nagare/internal/tables"
)

func init() {
	declare(part{extensions: []extension{
		{"subnet_onboard", "Subnet Onboard", "Provides support for onboarding subnets into subnet pools", "2018-12-18T09:00:00-00:00"},
	}})
}

// onboardSubnets answers PUT /subnetpools/{id}/onboard_network_subnets with {"network_id"}: the network's subnets of the pool's family
// become the pool's, as if they had been allocated from it, and the pool grows by their prefixes. They leave the pools that they were
// of. The network is the caller's own, since the pool's address scope is from then on that of its subnets.
func onboardSubnets(rq *request, id string) error {
	body, err := rq.body()
	if err != nil {
		return err
	}
	if body["network_id"] == nil || len(body) > 1 {
		return invalidInput("network_id must be specified")
	}
	asked, err := uuidText(body["network_id"])
	if err != nil {
		return badRequest("Invalid input for network_id. Reason: %s.", err)
	}
	var onboarded []any
	return subnetPools.modify(rq, id, func(w *work, p model.SubnetPool) (model.SubnetPool, error) {
		n, err := findNetwork(&w.view, asked.(string))
		if err != nil {
			return p, err
		}
		if !w.admin && !w.mine(n.Project) {
			return p, fail(http.StatusForbidden, "NotAuthorized", "Not authorized.")
		}
		if err := w.checkSharedScope(&p); err != nil {
			return p, err
		}
		onboarded, err = w.onboard(&p, n.ID)
		return p, err
	}, func(*view, *model.SubnetPool) error {
		return rq.answer(http.StatusOK, jsonbody.Append(nil, onboarded))
	})
}

// onboard makes a network's subnets of a pool's family the pool's.
func (w *work) onboard(p *model.SubnetPool, n model.NetworkID) ([]any, error) {
	var subs []model.Subnet
	prefixes := slices.Clone(p.Prefixes)
	for s := range tables.SubnetsByNetwork.By(w.tx, string(n)) {
		if s.IPVersion() != p.IPVersion() {
			continue
		}
		if s.Pool == p.ID {
			return nil, onboardConflict(&s, p)
		}
		subs, prefixes = append(subs, s), append(prefixes, s.CIDR)
	}
	if prefixes = alloc.MergePrefixes(prefixes); len(prefixes) > maxPoolPrefixes {
		return nil, badPoolUpdate("subnet pool %s would have %d prefixes, more than %d", p.ID, len(prefixes), maxPoolPrefixes)
	}
	if err := w.growPool(p, prefixes); err != nil {
		return nil, err
	}
	for _, s := range subs {
		err := alloc.WantedPrefix(w.tx, p.ID, s.CIDR)
		var taken *alloc.ConflictError
		if errors.As(err, &taken) {
			return nil, onboardConflict(&s, p)
		}
		if err != nil {
			return nil, err
		}
	}
	// Within a scope the prefixes of pools are distinct; those that subnets were of till now still have them.
	if err := w.checkScope(p); err != nil {
		return nil, err
	}
	out := make([]any, 0, len(subs))
	for _, s := range subs {
		if s.Pool != "" {
			alloc.ReleasePrefix(w.tx, s.Pool, s.CIDR)
		}
		s.Pool = p.ID
		w.touch(&s.Std)
		tables.Subnets.Put(w.tx, s.ID, s)
		out = append(out, map[string]any{"id": string(s.ID), "cidr": s.CIDR.String()})
	}
	return out, nil
}

func onboardConflict(s *model.Subnet, p *model.SubnetPool) *Error {
	return badPoolUpdate("Onboarding subnet %s: %s conflicts with allocated prefixes in subnet pool %s", s.ID, s.CIDR, p.ID)
}
