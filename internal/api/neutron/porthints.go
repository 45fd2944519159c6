// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"maps"

	"nagare/internal/model"
)

// These attributes of a port are others' business: Nova reads them and hands them to hypervisors and network cards. Storing,
// checking and showing them is the whole of what the network service does with them, in Neutron too.
func init() {
	declare(part{extensions: []extension{
		{"data-plane-status", "Data plane status", "Status of the underlying data plane.", "2017-01-26T10:00:00-00:00"},
		{"port-device-profile", "Port device profile", "Expose the device profile (Cyborg) of a port", "2020-12-22T10:00:00-00:00"},
		{"port-numa-affinity-policy", "Port NUMA affinity policy", "Expose the port NUMA affinity policy", "2020-07-08T10:00:00-00:00"},
		{"port-numa-affinity-policy-socket", "Port NUMA affinity policy \"socket\"", "Allows the port NUMA affinity policy \"socket\"", "2023-07-08T10:00:00-00:00"},
		{"port-trusted-vif", "Port trusted vif", "Expose port 'trusted' attribute to users", "2024-08-15T10:00:00-00:00"},
	}})
	ports.extend(Attr[model.Port]{Name: "trusted", Get: func(_ *view, p *model.Port) any {
		if p.Trusted == nil {
			return nil
		}
		return *p.Trusted
	}, Parse: orNull(boolean), Post: true, Put: true, Bool: true, See: adminOrService, SetPost: adminOnly, SetPut: adminOnly, Take: takeTrusted})
}

// deviceProfile, numaPolicy and dataPlaneStatus are attributes that stand among the port's own.
func deviceProfile() Attr[model.Port] {
	return Attr[model.Port]{Name: "device_profile", Get: func(_ *view, p *model.Port) any { return nullText(p.DeviceProfile) }, Parse: textOrNull(255), Post: true, SetPost: adminOrService,
		Take: func(_ *work, p *model.Port, in *values) error {
			p.DeviceProfile = get[string](in, "device_profile")
			return nil
		}}
}

func numaPolicy() Attr[model.Port] {
	return Attr[model.Port]{Name: "numa_affinity_policy", Get: func(_ *view, p *model.Port) any { return nullText(p.NUMAPolicy) }, Parse: orNull(oneOf("required", "preferred", "legacy", "socket")), Post: true, Put: true,
		Take: func(_ *work, p *model.Port, in *values) error {
			p.NUMAPolicy = get[string](in, "numa_affinity_policy")
			return nil
		}}
}

func dataPlaneStatus() Attr[model.Port] {
	return Attr[model.Port]{Name: "data_plane_status", Get: func(_ *view, p *model.Port) any { return nullText(p.DataPlaneStatus) }, Parse: orNull(oneOf("ACTIVE", "DOWN")), Put: true, SetPut: adminOrService,
		Take: func(_ *work, p *model.Port, in *values) error {
			p.DataPlaneStatus = get[string](in, "data_plane_status")
			return nil
		}}
}

func takeTrusted(_ *work, p *model.Port, in *values) error {
	p.Trusted = nil
	if v, ok := in.m["trusted"].(bool); ok {
		p.Trusted = &v
	}
	return nil
}

// profileBody is binding:profile, with the trust in the port's virtual function, which Nova looks for there.
func profileBody(_ *view, p *model.Port) any {
	if p.Trusted == nil {
		return orEmpty(p.Profile)
	}
	out := maps.Clone(p.Profile)
	if out == nil {
		out = map[string]any{}
	}
	out["trusted"] = *p.Trusted
	return out
}
