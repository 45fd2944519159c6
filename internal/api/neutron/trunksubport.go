// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"net/http"
	"slices"
	"strings"

	"nagare/internal/model"
	"nagare/internal/tables"
)

// Types of segmentation of sub-ports. To inherit is to take type and tag of the port's own network.
const (
	segmentVLAN    = "vlan"
	segmentInherit = "inherit"
)

// maxVLAN is the highest tag that a frame can have.
const maxVLAN = 4094

// subPort is one element of sub_ports in a body.
type subPort struct {
	port, kind string
	tag        int
	tagged     bool // the body names a tag
}

// subPortList takes [{"port_id","segmentation_type","segmentation_id"}]; without segments, port_id alone counts.
func subPortList(segments bool) parser {
	segment := func(v any) (any, error) { return v, nil }
	return func(v any) (any, error) {
		if v == nil {
			return []subPort(nil), nil
		}
		l, ok := v.([]any)
		if !ok {
			return nil, because("Invalid data format for subports: '%s'", show(v))
		}
		if len(l) > maxVLAN {
			return nil, because("%d subports are more than the %d tags that there are", len(l), maxVLAN)
		}
		out := make([]subPort, 0, len(l))
		ids, tags := map[string]bool{}, map[int]bool{}
		for _, e := range l {
			m, err := object(e, map[string]parser{"port_id": uuidText, "segmentation_type": segment, "segmentation_id": segment})
			if err != nil {
				return nil, err
			}
			s := subPort{}
			if s.port, ok = m["port_id"].(string); !ok {
				return nil, because("A valid port UUID must be specified")
			}
			if ids[s.port] {
				return nil, because("Port %s appears more than once in the list of subports", s.port)
			}
			ids[s.port] = true
			if segments {
				if err := s.segment(e, m); err != nil {
					return nil, err
				}
				if s.tagged && tags[s.tag] {
					return nil, because("Segmentation ID '%d' for '%s' is not unique", s.tag, s.port)
				}
				tags[s.tag] = s.tagged
			}
			out = append(out, s)
		}
		return out, nil
	}
}

// segment reads type and tag of a sub-port; e is as the body has it.
func (s *subPort) segment(e any, m map[string]any) error {
	s.kind, _ = m["segmentation_type"].(string)
	if s.kind == segmentInherit {
		return nil
	}
	if m["segmentation_type"] == nil || m["segmentation_id"] == nil {
		return invalidInput("Invalid subport details '%s': missing segmentation information. Must specify both segmentation_id and segmentation_type", show(e))
	}
	if s.kind != segmentVLAN {
		return invalidInput("Unknown segmentation_type '%s'", show(m["segmentation_type"]))
	}
	n, err := integer(-1<<31, 1<<31-1)(m["segmentation_id"])
	if err != nil {
		return invalidInput("Invalid subport details: segmentation_id '%s' is not an integer", show(m["segmentation_id"]))
	}
	s.tag, s.tagged = n.(int), true
	return checkTag(s.tag)
}

func checkTag(n int) error {
	if n < 1 || n > maxVLAN {
		return invalidInput("Segmentation ID '%d' is not in range", n)
	}
	return nil
}

// addSubPorts has a trunk carry ports. They go where its parent is.
func (w *work) addSubPorts(t *model.Trunk, subs []subPort) error {
	parent, _ := tables.Ports.Get(w.tx, t.Port)
	net, _ := tables.Networks.Get(w.tx, parent.Network)
	for _, s := range subs {
		if s.port == string(t.Port) {
			return parentInUse(t.Port)
		}
		p, err := w.trunkPort(s.port)
		if err != nil {
			return err
		}
		own, _ := tables.Networks.Get(w.tx, p.Network)
		if s.kind == segmentInherit {
			if own.Type != model.VLAN {
				return invalidInput("Unknown segmentation_type '%s'", own.Type)
			}
			s.tag = int(own.SegmentationID)
			if err := checkTag(s.tag); err != nil {
				return err
			}
		}
		switch {
		case own.MTU > net.MTU && net.MTU > 0:
			return conflict("SubPortMtuGreaterThanTrunkPortMtu", "MTU %d of subport %s cannot be greater than MTU %d of trunk %s.", own.MTU, p.ID, net.MTU, t.ID)
		case p.DeviceID != "" || p.IsNetworkDevice():
			return conflict("PortInUse", "Unable to complete operation on port %s for network %s. Port already has an attached device %s.", p.ID, p.Network, p.DeviceID)
		}
		if _, used := tables.SubPortsByVLAN.First(w.tx, tables.SubPortKey(t.Port, uint16(s.tag))); used {
			return conflict("DuplicateSubPort", "segmentation_type %s and segmentation_id %d already in use on trunk %s.", segmentVLAN, s.tag, t.ID)
		}
		p.Parent, p.VLAN, p.DeviceOwner = t.Port, uint16(s.tag), model.OwnerSubPort
		if err := w.changed(p, "carried by a trunk"); err != nil {
			return err
		}
	}
	return nil
}

// release makes a sub-port an ordinary port that is nowhere.
func (w *work) release(p model.Port) error {
	p.Parent, p.VLAN, p.DeviceOwner, p.Host = "", 0, "", ""
	return w.changed(p, "carried by no trunk any more")
}

// changed stores a port whose binding has changed with its trunk.
func (w *work) changed(p model.Port, why string) error {
	w.touch(&p.Std)
	w.down(p.ID, why)
	return putPort(w.tx, p)
}

func addSubPorts(rq *request, id string) error {
	return changeSubPorts(rq, id, true, func(w *work, t *model.Trunk, subs []subPort) error { return w.addSubPorts(t, subs) })
}

func removeSubPorts(rq *request, id string) error {
	return changeSubPorts(rq, id, false, func(w *work, t *model.Trunk, subs []subPort) error {
		for _, s := range subs {
			p, ok := tables.Ports.Get(w.tx, model.PortID(s.port))
			if !ok || p.Parent != t.Port {
				return fail(http.StatusNotFound, "SubPortNotFound", "SubPort on trunk %s with parent port %s could not be found.", t.ID, s.port)
			}
			if err := w.release(p); err != nil {
				return err
			}
		}
		return nil
	})
}

// changeSubPorts answers PUT /trunks/{id}/add_subports and its opposite, whose body is {"sub_ports":[...]} and whose answer is
// the bare trunk.
func changeSubPorts(rq *request, id string, segments bool, change func(*work, *model.Trunk, []subPort) error) error {
	body, err := rq.body()
	if err != nil {
		return err
	}
	raw, ok := body["sub_ports"]
	if !ok || len(body) > 1 {
		return badRequest("Unable to find 'sub_ports' alone in request body")
	}
	parsed, err := subPortList(segments)(raw)
	if r, ok := err.(reason); ok {
		return badRequest("Invalid input for sub_ports. Reason: %s.", strings.TrimSuffix(string(r), "."))
	}
	if err != nil {
		return err
	}
	subs := slices.Clone(parsed.([]subPort))
	return trunks.modify(rq, id, func(w *work, t model.Trunk) (model.Trunk, error) {
		if err := manageable(&t); err != nil {
			return t, err
		}
		return t, change(w, &t, subs)
	}, func(v *view, t *model.Trunk) error {
		return rq.answer(http.StatusOK, trunks.append(nil, v, t, trunks.visible(v, nil)))
	})
}
