// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"nagare/internal/alloc"
	"nagare/internal/api/jsonbody"
	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// What the client says of sub-ports and the model does not hold is kept in records of these kinds. A trunk's list names ports
// that may come later, so it is kept as it came. Each port of it is claimed by a record of its own, by which a new port finds its
// trunk: id PORT/TRUNK. The record of a carried port, id PORT, has the host that the client says it is on, since the model has
// the parent's.
const (
	kindSubPorts = "trunk_sub_ports"
	kindSubPort  = "sub_port"
)

// subPort is one element of a trunk's list.
type subPort struct {
	Port model.PortID `json:"port_id"`
	Type string       `json:"segmentation_type,omitempty"`
	Tag  *int         `json:"segmentation_id,omitempty"`
}

// segmentVLAN is the type of segmentation that there is.
const segmentVLAN = "vlan"

// tag is the tag of the port's frames; 0: it cannot be carried.
func (s *subPort) tag() uint16 {
	if s.Tag == nil || s.Type != "" && s.Type != segmentVLAN {
		return 0
	}
	return uint16(*s.Tag)
}

// subPorts reads [{"port_id","segmentation_type","segmentation_id"}]. Of a port that comes twice, the first counts.
func (in *input) subPorts() (out []subPort) {
	seen := map[model.PortID]bool{}
	in.objects("sub_ports", func(e *input) {
		s := subPort{Port: model.PortID(e.uuid("port_id")), Type: e.text("segmentation_type"), Tag: e.integer("segmentation_id", 0, 4094)}
		if e.require("port_id", s.Port != ""); !seen[s.Port] {
			out = append(out, s)
		}
		seen[s.Port] = true
	})
	return out
}

// subPorts shows a trunk's list as the client said it, else the ports that are carried, in order of their tags.
func subPorts(e *env, t *model.Trunk) any {
	if f, ok := tables.Foreign.Get(e.r, model.ForeignKey(kindSubPorts, string(t.ID))); ok {
		return shown(decodeForms(f.Forms)["sub_ports"])
	}
	out := []any{}
	subs := slices.SortedFunc(tables.SubPortsByParent.By(e.r, string(t.Port)), func(a, b model.Port) int { return cmp.Compare(a.VLAN, b.VLAN) })
	for _, p := range subs {
		out = append(out, map[string]any{"port_id": string(p.ID), "segmentation_type": segmentVLAN, "segmentation_id": int(p.VLAN)})
	}
	return out
}

// setSubPorts has a trunk carry the ports of a list, and no others.
func (w *work) setSubPorts(id model.TrunkID, subs []subPort) error {
	t, _ := tables.Trunks.Get(w.tx, id)
	concerned := carriedBy(w.tx, t.Port)
	for _, s := range listOf(w.tx, id) {
		if !slices.ContainsFunc(subs, func(n subPort) bool { return n.Port == s.Port && n.tag() != 0 }) {
			tables.Foreign.Delete(w.tx, claimKey(s.Port, id))
		}
		concerned = append(concerned, s.Port)
	}
	for _, s := range subs {
		if s.tag() != 0 {
			w.putForeign(model.Foreign{Kind: kindSubPort, ID: claimID(s.Port, id), Attrs: string(jsonbody.Append(nil, map[string]any{"segmentation_id": int(s.tag())}))}, true)
		}
		concerned = append(concerned, s.Port)
	}
	w.putForeign(model.Foreign{Kind: kindSubPorts, ID: string(id), Forms: listText(subs)}, len(subs) > 0)
	return w.carryAll(concerned)
}

func claimID(p model.PortID, t model.TrunkID) string { return string(p) + "/" + string(t) }
func claimKey(p model.PortID, t model.TrunkID) string {
	return model.ForeignKey(kindSubPort, claimID(p, t))
}

// listText is the form in which a trunk's list is kept.
func listText(subs []subPort) string {
	b, err := json.Marshal(map[string]any{"sub_ports": subs})
	if err != nil { // texts and numbers alone
		panic(err)
	}
	return string(b)
}

// listOf is a trunk's list as the client said it last.
func listOf(r store.Reader, id model.TrunkID) (subs []subPort) {
	f, _ := tables.Foreign.Get(r, model.ForeignKey(kindSubPorts, string(id)))
	if raw, ok := decodeForms(f.Forms)["sub_ports"]; !ok || json.Unmarshal(raw, &subs) != nil {
		return nil
	}
	return subs
}

// carriedBy are the ports that a parent's trunk carries.
func carriedBy(r store.Reader, parent model.PortID) (ids []model.PortID) {
	if parent == "" {
		return nil
	}
	for p := range tables.SubPortsByParent.By(r, string(parent)) {
		ids = append(ids, p.ID)
	}
	return ids
}

// carrier finds by which port's interface, and with which tag, the frames of a port go: those of the lowest trunk that lists it, since
// while a port is on its way from one trunk to another, both may. The parent of a trunk is nobody's sub-port.
func carrier(r store.Reader, id model.PortID) (parent model.PortID, vlan uint16) {
	if _, is := tables.TrunksByPort.First(r, string(id)); is {
		return "", 0
	}
	prefix := claimKey(id, "")
	for key, f := range tables.Foreign.From(r, prefix) {
		if !strings.HasPrefix(key, prefix) {
			break
		}
		t, ok := tables.Trunks.Get(r, model.TrunkID(lastID(f.ID)))
		var claim struct {
			Tag uint16 `json:"segmentation_id"`
		}
		if ok && t.Port != "" && json.Unmarshal([]byte(f.Attrs), &claim) == nil && claim.Tag != 0 {
			return t.Port, claim.Tag
		}
	}
	return "", 0
}

// carryAll brings the places of ports on trunks up to what the trunks' lists say.
func (w *work) carryAll(ids []model.PortID) error {
	for _, id := range ids {
		if err := w.carry(id); err != nil {
			return err
		}
	}
	return nil
}

// carry does it for one port. A port that is no longer carried is where the client says.
func (w *work) carry(id model.PortID) error {
	p, ok := tables.Ports.Get(w.tx, id)
	if !ok {
		return nil
	}
	parent, vlan := carrier(w.tx, id)
	if p.Parent == parent && p.VLAN == vlan {
		return nil
	}
	p.Host = saidHost(w.tx, &p)
	p.Parent, p.VLAN = parent, vlan
	w.sayHost(&p, p.Host)
	w.down(id, "place on a trunk changed")
	return alloc.PutPort(w.tx, p)
}

// saidHost is the host that the client says a port is on.
func saidHost(r store.Reader, p *model.Port) model.NodeID {
	if !p.IsSubPort() {
		return p.Host
	}
	f, _ := tables.Foreign.Get(r, model.ForeignKey(kindSubPort, string(p.ID)))
	var said struct {
		Host model.NodeID `json:"binding:host_id"`
	}
	_ = json.Unmarshal([]byte(f.Attrs), &said) // no record: it says none
	return said.Host
}

// sayHost keeps the host that the client says a sub-port is on.
func (w *work) sayHost(p *model.Port, host model.NodeID) {
	f := model.Foreign{Kind: kindSubPort, ID: string(p.ID), Attrs: string(jsonbody.Append(nil, map[string]any{"binding:host_id": string(host)}))}
	w.putForeign(f, p.IsSubPort() && host != "")
}

// followParent has the ports that a trunk carries follow their parent, which has come, gone or moved. One that has moved has taken them
// along already.
func (w *work) followParent(id model.PortID, moved bool) error {
	for _, s := range slices.Collect(tables.SubPortsByParent.By(w.tx, string(id))) {
		w.down(s.ID, "binding of the trunk's parent changed")
		if moved {
			continue
		}
		if err := alloc.PutPort(w.tx, s); err != nil {
			return err
		}
	}
	return nil
}
