// SPDX-License-Identifier: Apache-2.0

package app

import (
	"reflect"
	"strings"
	"testing"

	"nagare/internal/alloc"
	"nagare/internal/model"
)

func TestFactsFaults(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		want   string // part of the error; "" for none
	}{
		"ranges":               {func(c *Config) { c.VLANRanges = []string{"physnet1:100:199", "physnet2", "physnet1:300:300"} }, ""},
		"no name":              {func(c *Config) { c.VLANRanges = []string{":100:199"} }, `network-vlan-ranges ":100:199"`},
		"half a range":         {func(c *Config) { c.VLANRanges = []string{"physnet1:100"} }, `network-vlan-ranges "physnet1:100"`},
		"no such vlan":         {func(c *Config) { c.VLANRanges = []string{"physnet1:100:4095"} }, "of 1 to 4094"},
		"vlan 0":               {func(c *Config) { c.VLANRanges = []string{"physnet1:0:10"} }, "of 1 to 4094"},
		"backwards":            {func(c *Config) { c.VNIRanges = []string{"20:10"} }, `vni-ranges "20:10"`},
		"vni too large":        {func(c *Config) { c.VNIRanges = []string{"1:16777216"} }, "of 1 to 16777215"},
		"geneve":               {func(c *Config) { c.GeneveRanges = []string{"x"} }, "geneve-vni-ranges"},
		"gre":                  {func(c *Config) { c.GRERanges = []string{"1:4294967296"} }, "gre-id-ranges"},
		"all of gre":           {func(c *Config) { c.GRERanges = []string{"1:4294967295"} }, ""},
		"flat":                 {func(c *Config) { c.FlatNetworks = []string{"a", "b|c"} }, `flat-networks "b|c"`},
		"no flat ones":         {func(c *Config) { c.FlatNetworks = nil }, ""},
		"tenants' flat":        {func(c *Config) { c.TenantTypes = []string{"flat"} }, `tenant-network-types "flat"`},
		"no types":             {func(c *Config) { c.TenantTypes = nil }, "want one at least"},
		"twice":                {func(c *Config) { c.TenantTypes = []string{"gre", "gre"} }, "gre twice"},
		"vlan without ranges":  {func(c *Config) { c.TenantTypes, c.VLANRanges = []string{"vlan"}, []string{"physnet1"} }, "no range"},
		"vlan":                 {func(c *Config) { c.TenantTypes, c.VLANRanges = []string{"vlan"}, []string{"physnet1:1:2"} }, ""},
		"mtu":                  {func(c *Config) { c.GlobalMTU = 100 }, "global-physnet-mtu 100"},
		"no mtu":               {func(c *Config) { c.GlobalMTU = 0 }, "global-physnet-mtu 0"},
		"path mtu":             {func(c *Config) { c.PathMTU = 70000 }, "path-mtu 70000"},
		"physical mtu":         {func(c *Config) { c.PhysicalMTUs = []string{"physnet1"} }, "like physnet1:9000"},
		"physical mtu, twice":  {func(c *Config) { c.PhysicalMTUs = []string{"a:1400", "a:1300"} }, "a twice"},
		"physical mtu, global": {func(c *Config) { c.PhysicalMTUs = []string{"a:9000"} }, "raise that"},
		"order":                {func(c *Config) { c.AddressOrder = "highest" }, "ip-address-order"},
		"zone":                 {func(c *Config) { c.Zone = "" }, "default-availability-zone"},
		"domain":               {func(c *Config) { c.DNSDomain = "a..b" }, "dns-domain"},
		"no domain":            {func(c *Config) { c.DNSDomain = "" }, "dns-domain"},
		"domain with a dot":    {func(c *Config) { c.DNSDomain = "cloud.example." }, ""},
		"quota":                {func(c *Config) { c.Quota = []string{"port=many"} }, `quota "port=many"`},
		"negative quota":       {func(c *Config) { c.Quota = []string{"port=-2"} }, `quota "port=-2"`},
		"quota of what":        {func(c *Config) { c.Quota = []string{"ports=2"} }, "there are"},
		"routes":               {func(c *Config) { c.MaxRoutes = 0 }, "max-routes 0"},
		"host routes":          {func(c *Config) { c.MaxHostRoutes = 1001 }, "max-subnet-host-routes 1001"},
		"servers":              {func(c *Config) { c.MaxDNSServers = -1 }, "max-dns-nameservers -1"},
	} {
		cfg := Defaults()
		c.change(&cfg)
		err := cfg.complete()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: error %v, want one about %q", name, err, c.want)
		}
	}
}

func TestFacts(t *testing.T) {
	cfg := Defaults()
	f, faults := cfg.facts()
	if len(faults) > 0 || f.api.FlatNetworks != nil || f.api.VLANNetworks != nil || f.quotas["port"] != 500 {
		t.Errorf("defaults: %+v, %v", f, faults)
	}
	cfg.VLANRanges, cfg.FlatNetworks = []string{"b:100:199", "a", "b:300:300"}, []string{}
	cfg.VNIRanges, cfg.Quota = []string{"10:19", "30:39"}, []string{"port=7", "network=-1"}
	cfg.TenantTypes = []string{"vlan", "vxlan"}
	f, faults = cfg.facts()
	if len(faults) > 0 || !reflect.DeepEqual(f.api.VLANNetworks, []string{"b", "a"}) || f.api.FlatNetworks == nil ||
		!reflect.DeepEqual(f.ranges.VLAN, map[string][]alloc.Range{"b": {{First: 100, Last: 199}, {First: 300, Last: 300}}}) ||
		!reflect.DeepEqual(f.ranges.VXLAN, []alloc.Range{{First: 10, Last: 19}, {First: 30, Last: 39}}) ||
		!reflect.DeepEqual(f.api.TenantTypes, []model.NetworkType{model.VLAN, model.VXLAN}) ||
		f.quotas["port"] != 7 || f.quotas["network"] != -1 || f.quotas["subnet"] != 100 {
		t.Errorf("%+v, %v", f, faults)
	}
}
