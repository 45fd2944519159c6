// SPDX-License-Identifier: Apache-2.0

package app

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"nagare/internal/api/neutron"
	"nagare/internal/netvirt"
)

// Config is the server's configuration: flags, NAGARE_* variables and the YAML file mean the same fields. The tags are the
// names in all three (dashes in flags and in the file; upper case and underscores in variables).
type Config struct {
	DataDir               string   `yaml:"data-dir" help:"directory of the embedded etcd"`
	EtcdEndpoints         []string `yaml:"etcd-endpoints" help:"an existing etcd cluster, instead of the embedded one"`
	Profile               string   `yaml:"profile" help:"standard, or classic: the recorded tables, no security boundary"`
	DHCP                  string   `yaml:"dhcp" help:"native (answered by the server) or port (an interface of a network node); default native, in classic port"`
	TunnelMode            string   `yaml:"tunnel-mode" help:"mesh (a tunnel port for each peer) or flow (one, standard profile only)"`
	PuntRate              int      `yaml:"punt-rate" help:"packets per second that a port may send to the server, of each kind (standard profile)"`
	SecurityLog           string   `yaml:"security-log" help:"file that records of security group logs are appended to, a line of JSON each; opened anew on SIGHUP; default: the server's log"`
	SecurityLogRate       int      `yaml:"security-log-rate" help:"packets per second of each port that are recorded, of accepted and of dropped ones each"`
	SecurityLogBurst      int      `yaml:"security-log-burst" help:"how many of them may come at once"`
	SecurityLogTotal      int      `yaml:"security-log-total" help:"records per second of all ports together"`
	ServerName            string   `yaml:"server-name" help:"name of this server in device ids of DHCP ports it answers for (default: the host's name)"`
	ListenIP              string   `yaml:"listen-ip" help:"address of every listener"`
	PublicHost            string   `yaml:"public-host" help:"host that the service catalog names (default: the listen address)"`
	NeutronPort           int      `yaml:"neutron-port" help:"Neutron API"`
	IdentityPort          int      `yaml:"identity-port" help:"built-in Identity v3"`
	AdminPort             int      `yaml:"admin-port" help:"admin API, metrics, health"`
	OVSDBPort             int      `yaml:"ovsdb-port" help:"OVSDB: what nodes' managers point at"`
	OpenFlowPort          int      `yaml:"openflow-port" help:"OpenFlow: what we set bridges' controllers to"`
	SouthboundPlaintext   bool     `yaml:"southbound-plaintext" help:"accept nodes over plain tcp beyond loopback"`
	SouthboundCert        string   `yaml:"southbound-cert" help:"certificate that nodes see; with it nodes must show theirs, which names them"`
	SouthboundKey         string   `yaml:"southbound-key" help:"its private key"`
	SouthboundCA          string   `yaml:"southbound-ca" help:"authority that signed the nodes' certificates"`
	TLSCert               string   `yaml:"tls-cert" help:"certificate of the APIs (Neutron, Identity, admin), with its chain; with it they are https"`
	TLSKey                string   `yaml:"tls-key" help:"its private key"`
	Northbound            string   `yaml:"northbound" help:"who owns the networks: neutron, our own API, or odl, another Neutron that comes by networking-odl"`
	ODLStrict             bool     `yaml:"odl-strict" help:"answer networking-odl as OpenDaylight did where we are kinder: 409 to a repeated POST, 442 without the parent"`
	ODLNoPortStatus       bool     `yaml:"odl-no-port-status" help:"do not announce operational-port-status: the other Neutron then calls ports ACTIVE as soon as they are bound"`
	Dial                  []string `yaml:"dial" help:"nodes that listen (ptcp:6640): addresses to dial for OVSDB, as host or host:port"`
	Enrol                 string   `yaml:"enrol" help:"unknown nodes: auto (pinned and served) or approve (wait for an operator)"`
	Auth                  string   `yaml:"auth" help:"builtin (Identity v3 of ours), keystone (an existing one) or none (everybody is administrator; loopback only)"`
	KeystoneURL           string   `yaml:"keystone-url" help:"Keystone, with /v3; for auth keystone, and to find Nova"`
	KeystoneUser          string   `yaml:"keystone-user" help:"the service user that we are in Keystone, with the role admin or service"`
	KeystoneProject       string   `yaml:"keystone-project" help:"its project"`
	KeystoneDomain        string   `yaml:"keystone-domain" help:"name of the domain of that user and project"`
	KeystonePasswordFile  string   `yaml:"keystone-password-file" help:"file with its password"`
	KeystoneCA            string   `yaml:"keystone-ca" help:"authority that signed the certificates of Keystone and Nova, beside the host's own"`
	Region                string   `yaml:"region" help:"region of our endpoints and of Nova's"`
	NovaEndpoint          string   `yaml:"nova-endpoint" help:"Nova's API, in place of the one that Keystone's catalog names"`
	NovaStatusEvents      bool     `yaml:"notify-nova-on-port-status-changes" help:"with auth keystone: tell Nova when its instances' ports are plugged, unplugged or deleted"`
	NovaDataEvents        bool     `yaml:"notify-nova-on-port-data-changes" help:"with auth keystone: tell Nova when its instances' ports or floating IPs change"`
	BootstrapPasswordFile string   `yaml:"bootstrap-password-file" help:"password of the first users, read once; else NAGARE_ADMIN_PASSWORD is the administrator's, else one is generated and written to openrc in the data directory"`
	PolicyFile            string   `yaml:"policy-file" help:"rules in place of the built-in ones, by Neutron's names in oslo.policy's form; read again on SIGHUP"`
	PolicyDirs            []string `yaml:"policy-dir" help:"directories of further such files, read after it in order of their names; of a rule in several the last counts"`
	VLANRanges            []string `yaml:"network-vlan-ranges" help:"physical networks that VLAN networks may be on, with ids for tenants: physnet1:100:199, or physnet2 without; default any, by an administrator's wish"`
	FlatNetworks          []string `yaml:"flat-networks" help:"physical networks that flat networks may be on; * is any"`
	TenantTypes           []string `yaml:"tenant-network-types" help:"what tenants' networks are, tried in order: vxlan, vlan, geneve, gre, local"`
	VNIRanges             []string `yaml:"vni-ranges" help:"ids of tenants' VXLAN networks, as first:last"`
	GeneveRanges          []string `yaml:"geneve-vni-ranges" help:"ids of tenants' Geneve networks"`
	GRERanges             []string `yaml:"gre-id-ranges" help:"ids of tenants' GRE networks"`
	AddressOrder          string   `yaml:"ip-address-order" help:"addresses that ports get of the allocation pools: lowest, or random"`
	GlobalMTU             int      `yaml:"global-physnet-mtu" help:"MTU of the physical networks; networks in tunnels have what is left of it"`
	PathMTU               int      `yaml:"path-mtu" help:"MTU between nodes, if less; 0 is the same"`
	PhysicalMTUs          []string `yaml:"physical-network-mtus" help:"MTUs of single physical networks, as physnet1:1400"`
	DNSDomain             string   `yaml:"dns-domain" help:"domain of ports' names"`
	Zone                  string   `yaml:"default-availability-zone" help:"name of the availability zone that everything is in"`
	Quota                 []string `yaml:"quota" help:"default quotas of projects that differ from ours, as port=500,network=-1; -1 is no limit"`
	MaxRoutes             int      `yaml:"max-routes" help:"extra routes that a router may have"`
	MaxHostRoutes         int      `yaml:"max-subnet-host-routes" help:"host routes that a subnet may have"`
	MaxDNSServers         int      `yaml:"max-dns-nameservers" help:"DNS servers that a subnet may have"`
	MaxAddressPairs       int      `yaml:"max-address-pairs" help:"allowed address pairs that a port may have"`
	APIStoredOnly         bool     `yaml:"api-stored-only" help:"serve API resources too that are stored and shown and change no packet (metering), for testing clients"`
	IDs                   string   `yaml:"ids" help:"file of recorded ids to replay"`
	LogFile               string   `yaml:"log-file" help:"append the log here instead of standard error"`
	LogLevel              string   `yaml:"log-level" help:"debug, info, warn or error; per subsystem as subsystem=level, joined with commas"`
	LogFormat             string   `yaml:"log-format" help:"text or json"`
	Audit                 Seconds  `yaml:"audit" help:"seconds between comparisons of each switch with its desired state"`
	LLDP                  Seconds  `yaml:"lldp" help:"seconds between LLDP frames on each port"`
	GatewayGrace          Seconds  `yaml:"gateway-grace" help:"seconds that a node may be away, without any session, before routers' gateways move from it"`
}

// Seconds is a whole number of seconds; 0 means the default.
type Seconds int

// Duration converts.
func (s Seconds) Duration() time.Duration { return time.Duration(s) * time.Second }

// Defaults is the configuration that nothing was said about.
func Defaults() Config {
	return Config{DataDir: "/var/lib/nagare", Profile: standard, TunnelMode: "mesh", PuntRate: netvirt.DefaultPuntRate, SecurityLogRate: int(netvirt.DefaultLogLimit.Rate), SecurityLogBurst: int(netvirt.DefaultLogLimit.Burst), SecurityLogTotal: 1000, MaxAddressPairs: neutron.DefaultAddressPairs, ListenIP: "127.0.0.1", NeutronPort: 9696, IdentityPort: 5000,
		AdminPort: 8181, OVSDBPort: 6640, OpenFlowPort: 6653, Enrol: "auto", Northbound: neutronMaster, Auth: "builtin", KeystoneUser: "neutron", KeystoneProject: "service", KeystoneDomain: "Default", Region: "RegionOne", NovaStatusEvents: true, NovaDataEvents: true, LogLevel: "info", LogFormat: "text",
		Audit: 30, LLDP: 5, GatewayGrace: 30,
		FlatNetworks: []string{"*"}, TenantTypes: []string{"vxlan"}, VNIRanges: []string{"1:16777215"}, GeneveRanges: []string{"1:16777215"}, GRERanges: []string{"1:4294967295"},
		AddressOrder: "lowest", GlobalMTU: 1500, DNSDomain: "openstacklocal", Zone: neutron.DefaultZone, MaxRoutes: neutron.DefaultMaxRoutes, MaxHostRoutes: neutron.DefaultMaxHostRoutes, MaxDNSServers: neutron.DefaultMaxDNSServers}
}

// complete checks the configuration and fills in what follows from the rest. All faults are reported together.
func (c *Config) complete() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	ip, err := netip.ParseAddr(c.ListenIP)
	if err != nil {
		bad("listen-ip %q: want an address", c.ListenIP)
	}
	if c.PublicHost == "" {
		c.PublicHost = c.ListenIP
		if ip.IsUnspecified() {
			bad("listen-ip %s is every address: say by public-host which one clients shall use", ip)
		}
	}
	faults = append(faults, c.completeProfile()...)
	_, wrong := c.facts()
	faults = append(faults, wrong...)
	if c.Enrol != "auto" && c.Enrol != "approve" {
		bad("enrol %q: want auto or approve", c.Enrol)
	}
	switch {
	case c.Auth == withKeystone:
		faults = append(faults, c.completeKeystone()...)
	case c.Auth != "builtin" && c.Auth != "none":
		bad("auth %q: want builtin, keystone or none", c.Auth)
	case c.Auth == "none" && !ip.IsLoopback():
		bad("auth none on %s: without authentication the server listens on loopback only", ip)
	}
	if c.Northbound != neutronMaster && c.Northbound != odlMaster {
		bad("northbound %q: want neutron or odl", c.Northbound)
	}
	if (c.TLSCert != "") != (c.TLSKey != "") {
		bad("tls-cert and tls-key go together: give both or none")
	}
	secured := c.SouthboundCert != ""
	if (c.SouthboundKey != "") != secured || (c.SouthboundCA != "") != secured {
		bad("southbound-cert, southbound-key and southbound-ca go together: give all three or none")
	}
	if !ip.IsLoopback() && !c.SouthboundPlaintext && !secured {
		bad("listen-ip %s: nodes would be accepted over plain tcp; give southbound-cert, -key and -ca, or say southbound-plaintext if the underlay is trusted", ip)
	}
	for i, d := range c.Dial {
		if _, _, err := net.SplitHostPort(d); err != nil {
			c.Dial[i] = net.JoinHostPort(d, "6640")
		}
	}
	if c.DataDir == "" && len(c.EtcdEndpoints) == 0 {
		bad("no place for data: give data-dir or etcd-endpoints")
	}
	for name, p := range map[string]int{"neutron-port": c.NeutronPort, "identity-port": c.IdentityPort, "admin-port": c.AdminPort,
		"ovsdb-port": c.OVSDBPort, "openflow-port": c.OpenFlowPort} {
		if p < 1 || p > 65535 {
			bad("%s %d: want 1 to 65535", name, p)
		}
	}
	if c.Audit < 0 || c.LLDP < 0 {
		bad("audit %d, lldp %d: want seconds, not less than 0", c.Audit, c.LLDP)
	}
	if _, _, err := parseLevels(c.LogLevel); err != nil {
		faults = append(faults, err)
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		bad("log-format %q: want text or json", c.LogFormat)
	}
	return errors.Join(faults...)
}

// Profiles and ways of DHCP.
const (
	standard   = "standard"
	classic    = "classic"
	nativeDHCP = "native"
	portDHCP   = "port"
)

// maxPuntRate is more packets per second than one port could ever need answered.
const maxPuntRate = 100_000

// completeProfile checks the settings of the pipeline and fills in what follows from the profile.
func (c *Config) completeProfile() (faults []error) {
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.Profile != standard && c.Profile != classic {
		bad("profile %q: want standard or classic", c.Profile)
	}
	switch {
	case c.DHCP == "" && c.Profile == classic:
		c.DHCP = portDHCP
	case c.DHCP == "":
		c.DHCP = nativeDHCP
	case c.DHCP != nativeDHCP && c.DHCP != portDHCP:
		bad("dhcp %q: want native or port", c.DHCP)
	case c.DHCP == nativeDHCP && c.Profile == classic:
		bad("dhcp native: the recorded tables of profile classic send nothing up to be answered; use dhcp port, or profile standard")
	}
	switch {
	case c.TunnelMode != "mesh" && c.TunnelMode != "flow":
		bad("tunnel-mode %q: want mesh or flow", c.TunnelMode)
	case c.TunnelMode == "flow" && c.Profile == classic:
		bad("tunnel-mode flow: the recorded tables of profile classic have a tunnel port for each peer; use tunnel-mode mesh, or profile standard")
	}
	if c.MaxAddressPairs < 1 || c.MaxAddressPairs > neutron.MostAddressPairs {
		bad("max-address-pairs %d: want 1 to %d", c.MaxAddressPairs, neutron.MostAddressPairs)
	}
	if c.PuntRate < 1 || c.PuntRate > maxPuntRate {
		bad("punt-rate %d: want 1 to %d packets per second", c.PuntRate, maxPuntRate)
	}
	for name, n := range map[string]int{"security-log-rate": c.SecurityLogRate, "security-log-burst": c.SecurityLogBurst, "security-log-total": c.SecurityLogTotal} {
		if n < 1 || n > maxPuntRate {
			bad("%s %d: want 1 to %d", name, n, maxPuntRate)
		}
	}
	if c.ServerName == "" {
		name, err := os.Hostname()
		if err != nil || name == "" {
			bad("server-name: the host's name cannot be read (%v); give one", err)
		}
		c.ServerName = name
	}
	return faults
}

// listeners are the server's sockets.
type listeners struct{ neutron, identity, admin, ovsdb, openflow net.Listener }

// listen opens all sockets or none.
func (s *Server) listen() (l listeners, err error) {
	var open []net.Listener
	defer func() {
		if err != nil {
			for _, o := range open {
				o.Close()
			}
		}
	}()
	for _, w := range []struct {
		to   *net.Listener
		port int
		what string
		skip bool
	}{
		{&l.neutron, s.cfg.NeutronPort, "neutron-port", false}, {&l.identity, s.cfg.IdentityPort, "identity-port", s.cfg.Auth != "builtin"},
		{&l.admin, s.cfg.AdminPort, "admin-port", false}, {&l.ovsdb, s.cfg.OVSDBPort, "ovsdb-port", false},
		{&l.openflow, s.cfg.OpenFlowPort, "openflow-port", false},
	} {
		if w.skip {
			continue
		}
		*w.to, err = net.Listen("tcp", net.JoinHostPort(s.cfg.ListenIP, fmt.Sprint(w.port)))
		if err != nil {
			return l, fmt.Errorf("%s: %w; is another server running?", w.what, err)
		}
		open = append(open, *w.to)
	}
	secure, err := s.southboundTLS()
	if err != nil {
		return l, err
	}
	if secure != nil {
		l.ovsdb, l.openflow = tls.NewListener(l.ovsdb, secure), tls.NewListener(l.openflow, secure)
	}
	if ip, _ := netip.ParseAddr(s.cfg.ListenIP); !ip.IsLoopback() {
		if s.secure == nil {
			s.log.Warn("listening beyond loopback: the APIs are plain http, so passwords and tokens can be read on the way; give tls-cert and tls-key", "ip", s.cfg.ListenIP)
		}
		if secure == nil {
			s.log.Warn("listening beyond loopback: nodes are served over plain tcp", "ip", s.cfg.ListenIP)
		}
	}
	return l, nil
}

// southboundTLS is the configuration of both southbound listeners; nil without certificates.
func (s *Server) southboundTLS() (*tls.Config, error) {
	if s.cfg.SouthboundCert == "" {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(s.cfg.SouthboundCert, s.cfg.SouthboundKey)
	if err != nil {
		return nil, fmt.Errorf("southbound-cert: %w", err)
	}
	pem, err := os.ReadFile(s.cfg.SouthboundCA)
	if err != nil {
		return nil, fmt.Errorf("southbound-ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("southbound-ca %s: no certificate in it", s.cfg.SouthboundCA)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

// logs is the log stream with a level per subsystem.
type logs struct {
	io.Closer
	handler slog.Handler
	level   slog.Level
	levels  map[string]slog.Level
}

func openLog(c *Config) (*logs, error) {
	l := &logs{Closer: io.NopCloser(nil)}
	l.level, l.levels, _ = parseLevels(c.LogLevel)
	out := io.Writer(os.Stderr)
	if c.LogFile != "" {
		f, err := os.OpenFile(c.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, fmt.Errorf("log-file: %w", err)
		}
		out, l.Closer = f, f
	}
	o := &slog.HandlerOptions{Level: slog.LevelDebug}
	if c.LogFormat == "json" {
		l.handler = slog.NewJSONHandler(out, o)
	} else {
		l.handler = slog.NewTextHandler(out, o)
	}
	return l, nil
}

// parseLevels reads "info,southbound=debug".
func parseLevels(s string) (level slog.Level, by map[string]slog.Level, err error) {
	by = map[string]slog.Level{}
	for _, w := range strings.Split(s, ",") {
		name, text, named := strings.Cut(strings.TrimSpace(w), "=")
		if !named {
			name, text = "", name
		}
		var v slog.Level
		if text != "" {
			if e := v.UnmarshalText([]byte(text)); e != nil {
				return 0, nil, fmt.Errorf("log-level %q: want debug, info, warn or error, or subsystem=level", w)
			}
		}
		if named {
			by[name] = v
		} else {
			level = v
		}
	}
	return level, by, nil
}

// logger is the logger of a subsystem.
func (l *logs) logger(subsystem string) *slog.Logger {
	level, ok := l.levels[subsystem]
	if !ok {
		level = l.level
	}
	return slog.New(leveled{l.handler, level}).With("sys", subsystem)
}
