// SPDX-License-Identifier: Apache-2.0

package southbound

import (
	"context"
	"fmt"
	"net"
	"strings"

	"nagare/internal/model"
	"nagare/internal/netvirt"
	"nagare/ovsdb"
)

// bringUp makes sure that the node has the integration bridge, in secure mode, with us as its controller and the datapath id
// that joins its two sessions. A bridge that exists is adopted. It reports whether something had to be changed.
func (d *dbSession) bringUp(ctx context.Context, n model.Node) (bool, error) {
	method := "tcp"
	if d.peer.tls {
		method = "ssl"
	}
	target := ovsdb.String(fmt.Sprintf("%s:%s", method, net.JoinHostPort(d.local, fmt.Sprint(d.hub.cfg.ControllerPort))))
	dpid := fmt.Sprintf("%016x", n.DatapathID())
	c, err := readClaim(d.m)
	if err != nil {
		return false, err
	}
	t := ovsdb.NewTxn(database)
	controller := func() ovsdb.Ref {
		return t.Insert("Controller", ovsdb.Fields{"target": target, "inactivity_probe": ovsdb.Int(60000), "max_backoff": ovsdb.Int(1000)})
	}
	protocols := ovsdb.Strings("OpenFlow10", "OpenFlow13", "OpenFlow14", "OpenFlow15")
	u, br := d.m.Find("Bridge", "name", ovsdb.String(netvirt.Bridge))
	if br == nil {
		name := ovsdb.String(netvirt.Bridge)
		i := t.Insert("Interface", ovsdb.Fields{"name": name, "type": ovsdb.String("internal")})
		p := t.Insert("Port", ovsdb.Fields{"name": name, "interfaces": i})
		b := t.Insert("Bridge", ovsdb.Fields{"name": name, "ports": p, "fail_mode": ovsdb.String("secure"), "protocols": protocols,
			"datapath_type": ovsdb.String(n.DatapathType), "controller": controller(),
			"other_config": ovsdb.StringMap(map[string]string{"datapath-id": dpid, "disable-in-band": "true"}),
			"external_ids": ovsdb.StringMap(map[string]string{ownMark: "bridge"})})
		t.Mutate("Open_vSwitch", ovsdb.ByUUID(c.root), ovsdb.Add("bridges", b))
	} else {
		row := ovsdb.Fields{}
		if br.String("fail_mode") != "secure" {
			row["fail_mode"] = ovsdb.String("secure")
		}
		have := br.Set("protocols")
		if len(have) > 0 && !have.Contains(ovsdb.String("OpenFlow13")) {
			row["protocols"] = protocols
		}
		if !d.controls(br, target) {
			row["controller"] = controller()
		}
		if len(row) > 0 {
			t.Update("Bridge", ovsdb.ByUUID(u), row)
		}
		if id, _ := br.Map("other_config").Get("datapath-id"); id != dpid {
			t.Mutate("Bridge", ovsdb.ByUUID(u), ovsdb.Put("other_config", "datapath-id", dpid)...)
		}
	}
	if t.Len() == 0 {
		return false, nil
	}
	_, err = d.commit(ctx, t)
	if err != nil {
		return false, fmt.Errorf("node %s: bridge %s: %w", d.node, netvirt.Bridge, err)
	}
	return true, nil
}

// controls reports whether the bridge's only controller is us.
func (d *dbSession) controls(br *ovsdb.Row, target ovsdb.String) bool {
	cs := br.UUIDs("controller")
	return len(cs) == 1 && d.m.Row("Controller", cs[0]).String("target") == string(target)
}

// quicken makes the node's database call again within a second after it lost us, instead of the eight that it waits by default:
// until it has called, nothing new reaches the node. It sets only an unset column of the manager by which the node reached us
// (docs/adr/0007). That it did not work is no reason to serve the node less.
func (d *dbSession) quicken(ctx context.Context, us net.Addr) {
	_, port, err := net.SplitHostPort(us.String())
	if err != nil {
		return
	}
	t := ovsdb.NewTxn(database)
	at := t.Select("Manager", ovsdb.All(), "_uuid", "target", "max_backoff")
	res, err := d.commit(ctx, t)
	if err != nil {
		d.log.Debug("managers not read", "error", err)
		return
	}
	t = ovsdb.NewTxn(database)
	for _, m := range res.Rows(at) {
		u, ok := m.UUID("_uuid")
		active := strings.HasPrefix(m.String("target"), "tcp:") || strings.HasPrefix(m.String("target"), "ssl:")
		if ok && active && strings.HasSuffix(m.String("target"), ":"+port) && !m.Has("max_backoff") {
			t.Update("Manager", ovsdb.ByUUID(u), ovsdb.Fields{"max_backoff": ovsdb.Int(1000)})
		}
	}
	if t.Len() == 0 {
		return
	}
	if _, err := d.commit(ctx, t); err != nil {
		d.log.Debug("manager's back-off not set", "error", err)
	}
}
