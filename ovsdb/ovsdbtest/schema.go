// SPDX-License-Identifier: Apache-2.0

package ovsdbtest

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	"nagare/ovsdb"
)

// The part of the Open_vSwitch schema, version 8.3, that a network controller and
// ovs-vsctl meet; its meaning is in ovs-vswitchd.conf.db(5). A line is a column: its
// name, its type, and "eph" or "imm". A type is
//
//	ATOM[>Table|~Table][{enum,...}][[min,max]]   strong and weak references
//	KEY:VALUE                                    a map
//	followed by ? (0 or 1), * (any number), *N (up to N), + (1 or more)
const vswitch = `
table Open_vSwitch root max=1
  bridges uuid>Bridge*
  manager_options uuid>Manager*
  ssl uuid>SSL?
  datapaths string:uuid>Datapath*
  other_config string:string*
  external_ids string:string*
  next_cfg integer
  cur_cfg integer
  statistics string:string* eph
  ovs_version string?
  db_version string?
  system_type string?
  system_version string?
  datapath_types string*
  iface_types string*
  dpdk_initialized boolean
  dpdk_version string?
table Bridge index=name
  name string imm
  datapath_type string
  datapath_version string
  datapath_id string? eph
  stp_enable boolean
  rstp_enable boolean
  mcast_snooping_enable boolean
  ports uuid>Port*
  mirrors uuid>Mirror*
  controller uuid>Controller*
  protocols string{OpenFlow10,OpenFlow11,OpenFlow12,OpenFlow13,OpenFlow14,OpenFlow15}*
  fail_mode string{standalone,secure}?
  status string:string* eph
  rstp_status string:string* eph
  other_config string:string*
  external_ids string:string*
  flood_vlans integer[0,4095]*4096
  flow_tables integer[0,254]:uuid>Flow_Table*
table Port index=name
  name string imm
  interfaces uuid>Interface+
  trunks integer[0,4095]*4096
  cvlans integer[0,4095]*4096
  tag integer[0,4095]?
  vlan_mode string{trunk,access,native-tagged,native-untagged,dot1q-tunnel}?
  qos uuid>QoS?
  mac string?
  bond_mode string{balance-tcp,balance-slb,active-backup}?
  lacp string{active,passive,off}?
  bond_updelay integer
  bond_downdelay integer
  bond_active_slave string?
  bond_fake_iface boolean
  fake_bridge boolean
  status string:string* eph
  rstp_status string:string* eph
  rstp_statistics string:integer* eph
  statistics string:integer* eph
  protected boolean
  other_config string:string*
  external_ids string:string*
table Interface index=name
  name string imm
  type string
  options string:string*
  ingress_policing_rate integer[0,]
  ingress_policing_burst integer[0,]
  ingress_policing_kpkts_rate integer[0,]
  ingress_policing_kpkts_burst integer[0,]
  mac_in_use string? eph
  mac string?
  ifindex integer[0,4294967295]? eph
  external_ids string:string*
  ofport integer?
  ofport_request integer[1,65279]?
  bfd string:string*
  bfd_status string:string* eph
  lldp string:string*
  other_config string:string*
  statistics string:integer* eph
  status string:string* eph
  admin_state string{up,down}? eph
  link_state string{up,down}? eph
  link_resets integer? eph
  link_speed integer? eph
  duplex string{half,full}? eph
  mtu integer? eph
  mtu_request integer[1,]?
  error string?
table Flow_Table
  name string?
  flow_limit integer[0,]?
  overflow_policy string{refuse,evict}?
  groups string*
  prefixes string*3
  external_ids string:string*
table QoS root
  type string
  queues integer[0,4294967295]:uuid>Queue*
  other_config string:string*
  external_ids string:string*
table Queue root
  dscp integer[0,63]?
  other_config string:string*
  external_ids string:string*
table Mirror
  name string
  select_all boolean
  select_src_port uuid~Port*
  select_dst_port uuid~Port*
  select_vlan integer[0,4095]*4096
  output_port uuid~Port?
  output_vlan integer[1,4095]?
  snaplen integer[14,65535]?
  statistics string:integer* eph
  external_ids string:string*
table Controller
  type string{primary,service}?
  target string
  max_backoff integer[1000,]?
  inactivity_probe integer?
  connection_mode string{in-band,out-of-band}?
  local_ip string?
  local_netmask string?
  local_gateway string?
  enable_async_messages boolean?
  controller_queue_size integer[1,512]?
  controller_rate_limit integer[100,]?
  controller_burst_limit integer[25,]?
  other_config string:string*
  external_ids string:string*
  is_connected boolean eph
  role string{other,master,slave}? eph
  status string:string* eph
table Manager index=target
  target string
  max_backoff integer[1000,]?
  inactivity_probe integer?
  connection_mode string{in-band,out-of-band}?
  other_config string:string*
  external_ids string:string*
  is_connected boolean eph
  status string:string* eph
table Datapath
  datapath_version string
  ct_zones integer[0,65535]:uuid>CT_Zone*
  capabilities string:string*
  external_ids string:string*
table CT_Zone
  timeout_policy uuid>CT_Timeout_Policy?
  external_ids string:string*
table CT_Timeout_Policy
  timeouts string{tcp_syn_sent,tcp_syn_recv,tcp_established,tcp_fin_wait,tcp_close_wait,tcp_last_ack,tcp_time_wait,tcp_close,tcp_syn_sent2,tcp_retransmit,tcp_unack,udp_first,udp_single,udp_multiple,icmp_first,icmp_reply}:integer[0,4294967295]*
  external_ids string:string*
table SSL max=1
  private_key string
  certificate string
  ca_cert string
  bootstrap_ca_cert boolean
  external_ids string:string*
`

// Schema is the Open_vSwitch schema that servers use unless told otherwise.
var Schema = sync.OnceValue(func() *ovsdb.Schema {
	text := schemaText("Open_vSwitch", "8.3.1", vswitch)
	schema, err := ovsdb.ParseSchema([]byte(text))
	if err != nil {
		panic("ovsdbtest: built-in schema: " + err.Error())
	}
	return schema
})

// schemaText turns the table notation into a <database-schema>.
func schemaText(name, version, notation string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"name":%q,"version":%q,"tables":{`, name, version)
	open := false
	comma := ""
	for line := range strings.Lines(notation) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case words[0] == "table":
			if open {
				b.WriteString("}},")
			}
			open, comma = true, ""
			fmt.Fprintf(&b, "%q:{", words[1])
			for _, word := range words[2:] {
				key, value, _ := strings.Cut(word, "=")
				switch key {
				case "root":
					b.WriteString(`"isRoot":true,`)
				case "max":
					fmt.Fprintf(&b, `"maxRows":%s,`, value)
				case "index":
					fmt.Fprintf(&b, `"indexes":[[%q]],`, value)
				}
			}
			b.WriteString(`"columns":{`)
		default:
			fmt.Fprintf(&b, `%s%q:{"type":%s`, comma, words[0], typeText(words[1]))
			comma = ","
			for _, word := range words[2:] {
				switch word {
				case "eph":
					b.WriteString(`,"ephemeral":true`)
				case "imm":
					b.WriteString(`,"mutable":false`)
				}
			}
			b.WriteByte('}')
		}
	}
	b.WriteString("}}}}")
	return b.String()
}

func typeText(notation string) string {
	lo, hi := "1", "1"
	end := strings.LastIndexAny(notation, "?*+}]") // a count follows the braces
	if end >= 0 {
		switch notation[end] {
		case '?':
			lo, notation = "0", notation[:end]
		case '+':
			hi, notation = `"unlimited"`, notation[:end]
		case '*':
			lo, hi = "0", `"unlimited"`
			if n := notation[end+1:]; n != "" {
				hi = n
			}
			notation = notation[:end]
		}
	}
	key, value, isMap := strings.Cut(notation, ":")
	text := `{"key":` + baseText(key)
	if isMap {
		text += `,"value":` + baseText(value)
	}
	return text + `,"min":` + lo + `,"max":` + hi + "}"
}

func baseText(notation string) string {
	n := strings.IndexAny(notation, ">~{[")
	if n < 0 {
		return strconv.Quote(notation)
	}
	text := `{"type":` + strconv.Quote(notation[:n])
	rest := notation[n+1:]
	switch notation[n] {
	case '>':
		text += `,"refTable":` + strconv.Quote(rest)
	case '~':
		text += `,"refTable":` + strconv.Quote(rest) + `,"refType":"weak"`
	case '{':
		items := strings.Split(strings.TrimSuffix(rest, "}"), ",")
		for i := range items {
			items[i] = strconv.Quote(items[i])
		}
		text += `,"enum":["set",[` + strings.Join(items, ",") + `]]`
	case '[':
		lo, hi, _ := strings.Cut(strings.TrimSuffix(rest, "]"), ",")
		text += `,"minInteger":` + lo
		if hi != "" {
			text += `,"maxInteger":` + hi
		}
	}
	return text + "}"
}
