// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"nagare/internal/alloc"
	"nagare/internal/model"
	"nagare/internal/tables"
)

func init() {
	declare(part{when: func(c *Config) bool { return whereFiltered(c) && whereRouted(c) }, extensions: []extension{
		{"qos-fip", "Floating IP QoS", "The floating IP Quality of Service extension", "2017-07-20T00:00:00-00:00"},
		{"qos-fip-network-policy", "QoS floating IP network policy ID", "Adds a the QoS network ID to the floating IP definition", "2021-11-15T10:00:00-00:00"},
		{"qos-gateway-ip", "Router gateway IP QoS", "The Router gateway IP Quality of Service extension", "2018-02-24T00:00:00-00:00"},
	}})
}

// qosOfFloating and networkQosOfFloating are the attributes by which floating IPs name policies.
func qosOfFloating() Attr[model.FloatingIP] {
	return Attr[model.FloatingIP]{Name: "qos_policy_id", Get: func(_ *view, f *model.FloatingIP) any { return nullText(string(f.QosPolicy)) },
		Parse: orNull(uuidText), Post: true, Put: true, Take: takeFloatingPolicy}
}

func networkQosOfFloating() Attr[model.FloatingIP] {
	return Attr[model.FloatingIP]{Name: "qos_network_policy_id", Get: func(v *view, f *model.FloatingIP) any {
		n, _ := tables.Networks.Get(v.r, f.Network)
		return nullText(string(n.QosPolicy))
	}}
}

func takeFloatingPolicy(w *work, f *model.FloatingIP, in *values) error {
	p, err := w.changePolicy(f.QosPolicy, get[string](in, "qos_policy_id"))
	if err != nil {
		return err
	}
	f.QosPolicy = p.ID
	n, _ := tables.Networks.Get(w.tx, f.Network)
	return w.meterFor(f, n.QosPolicy)
}

// meterFor gives a floating IP its place among the meters once a policy holds for it, its own or its network's. It stays.
func (w *work) meterFor(f *model.FloatingIP, network model.QosPolicyID) (err error) {
	if f.Meter == 0 && (f.QosPolicy != "" || network != "") {
		f.Meter, err = alloc.NextKey(w.tx, alloc.FloatingMeter)
		err = exhausted(err, conflict("OverQuota", "Floating IP %s cannot have a QoS policy: %d floating IPs have one, as many as there are meters for.", f.ID, model.MaxFloatingMeter))
	}
	return err
}

// metersOn gives the floating IPs of an external network their places, for they come under its policy.
func (w *work) metersOn(n *model.Network) error {
	if n.QosPolicy == "" {
		return nil
	}
	for f := range tables.FloatingIPsByNetwork.By(w.tx, string(n.ID)) {
		if f.Meter != 0 {
			continue
		}
		if err := w.meterFor(&f, n.QosPolicy); err != nil {
			return err
		}
		tables.FloatingIPs.Put(w.tx, f.ID, f)
	}
	return nil
}
