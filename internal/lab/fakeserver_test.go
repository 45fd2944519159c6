// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"nagare/internal/lab"
	"nagare/internal/nodedhcp/dhcpapi"
)

// fakeServer plays "nagare serve" for tests of the lab itself: it keeps objects
// in a map, and programs the switches by loading the expected flows through their
// command line tools. It knows the recorded ids only. With FAKE_FAULT set to a
// flow's text it leaves that flow out, so that a test sees the walk-through fail.
type fakeServer struct {
	dir   string // the lab's
	host  string
	fault string

	mu       sync.Mutex
	networks []map[string]any
	subnets  []map[string]any
	ports    []map[string]any
	revision uint64
}

func serveFake(ctx context.Context, args []string) int {
	flags := map[string]string{}
	for i := 0; i+1 < len(args); i++ {
		if strings.HasPrefix(args[i], "--") && !strings.HasPrefix(args[i+1], "--") {
			flags[args[i]] = args[i+1]
		}
	}
	f := &fakeServer{dir: filepath.Dir(flags["--data-dir"]), host: flags["--public-host"], fault: os.Getenv("FAKE_FAULT")}
	ip := flags["--listen-ip"]
	listen := func(port int, serve func(net.Listener)) {
		l, err := net.Listen("tcp4", fmt.Sprintf("%s:%d", ip, port))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		go serve(l)
	}
	listen(6640, accept(f.manager))
	listen(6653, accept(controller))
	for port, routes := range map[int]func(*http.ServeMux){5000: f.identity, 9696: f.neutron, 8181: f.admin} {
		mux := http.NewServeMux()
		routes(mux)
		listen(port, func(l net.Listener) { http.Serve(l, mux) })
	}
	<-ctx.Done()
	return 0
}

func accept(serve func(net.Conn)) func(net.Listener) {
	return func(l net.Listener) {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); serve(c) }()
		}
	}
}

// manager keeps an OVSDB connection alive; the first one of a node brings br-int.
func (f *fakeServer) manager(c net.Conn) {
	node := "controller"
	if !strings.HasPrefix(c.RemoteAddr().String(), "192.168.0.10:") {
		node = "compute"
	}
	f.mu.Lock()
	f.vsctl(node, "--may-exist", "add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev", "fail_mode=secure",
		"--", "set-controller", "br-int", "tcp:192.168.0.10:6653")
	f.program()
	f.mu.Unlock()
	d := json.NewDecoder(c)
	for {
		var m struct {
			Method string
			ID     any
		}
		if d.Decode(&m) != nil {
			return
		}
		if m.Method == "echo" {
			json.NewEncoder(c).Encode(map[string]any{"result": []any{}, "error": nil, "id": m.ID})
		}
	}
}

// controller says HELLO and answers echoes (OpenFlow 1.3 section 7.5).
func controller(c net.Conn) {
	c.Write([]byte{4, 0, 0, 8, 0, 0, 0, 1})
	header := make([]byte, 8)
	for {
		if _, err := io.ReadFull(c, header); err != nil {
			return
		}
		body := make([]byte, int(header[2])<<8|int(header[3])-8)
		if _, err := io.ReadFull(c, body); err != nil {
			return
		}
		if header[1] == 2 {
			c.Write(append([]byte{4, 3, header[2], header[3], header[4], header[5], header[6], header[7]}, body...))
		}
	}
}

func (f *fakeServer) identity(mux *http.ServeMux) {
	mux.HandleFunc("GET /v3", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"version":{"id":"v3.14","status":"stable","links":[{"rel":"self","href":"http://%s:5000/v3/"}]}}`, f.host)
	})
	mux.HandleFunc("POST /v3/auth/tokens", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Subject-Token", "token")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"token":{"methods":["password"],"expires_at":"2099-01-01T00:00:00.000000Z","issued_at":"2026-01-01T00:00:00.000000Z",
			"user":{"id":"u","name":"demo","domain":{"id":"default","name":"Default"}},"project":{"id":"p","name":"demo","domain":{"id":"default","name":"Default"}},
			"roles":[{"id":"r","name":"member"}],"catalog":[{"id":"n","type":"network","name":"neutron","endpoints":[
			{"id":"e","interface":"public","region":"RegionOne","region_id":"RegionOne","url":"http://%s:9696"}]}]}}`, f.host)
	})
}

func (f *fakeServer) neutron(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"versions":[{"id":"v2.0","status":"CURRENT","links":[{"rel":"self","href":"http://%s:9696/v2.0/"}]}]}`, f.host)
	})
	mux.HandleFunc("GET /v2.0/extensions", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{"extensions":[]}`) })
	for collection, objects := range map[string]*[]map[string]any{"networks": &f.networks, "subnets": &f.subnets, "ports": &f.ports} {
		kind := strings.TrimSuffix(collection, "s")
		mux.HandleFunc("GET /v2.0/"+collection, func(w http.ResponseWriter, r *http.Request) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.observe()
			found := []map[string]any{}
			for _, o := range *objects {
				ok := true
				for k, v := range r.URL.Query() {
					ok = ok && (k == "fields" || fmt.Sprint(o[k]) == v[0])
				}
				if ok {
					found = append(found, o)
				}
			}
			json.NewEncoder(w).Encode(map[string]any{collection: found})
		})
		mux.HandleFunc("POST /v2.0/"+collection, func(w http.ResponseWriter, r *http.Request) {
			var body map[string]map[string]any
			json.NewDecoder(r.Body).Decode(&body)
			f.mu.Lock()
			defer f.mu.Unlock()
			o := f.create(kind, body[kind])
			*objects = append(*objects, o)
			if kind == "subnet" {
				f.ports = append(f.ports, f.create("port", map[string]any{"network_id": o["network_id"], "device_owner": "network:dhcp"}))
			}
			f.program()
			w.WriteHeader(http.StatusCreated)
			json.NewEncoder(w).Encode(map[string]any{kind: o})
		})
		mux.HandleFunc("/v2.0/"+collection+"/{id}", func(w http.ResponseWriter, r *http.Request) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.observe()
			for i, o := range *objects {
				if o["id"] != r.PathValue("id") {
					continue
				}
				switch r.Method {
				case http.MethodDelete:
					*objects = append((*objects)[:i:i], (*objects)[i+1:]...)
					f.program()
					w.WriteHeader(http.StatusNoContent)
					return
				case http.MethodPut:
					var body map[string]map[string]any
					json.NewDecoder(r.Body).Decode(&body)
					for k, v := range body[kind] {
						o[k] = v
					}
					o["binding:vif_type"] = "ovs"
				}
				json.NewEncoder(w).Encode(map[string]any{kind: o})
				return
			}
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprintf(w, `{"NeutronError":{"type":"NotFound","message":"%s %s could not be found.","detail":""}}`, kind, r.PathValue("id"))
		})
	}
}

// create fills in what a server fills in.
func (f *fakeServer) create(kind string, o map[string]any) map[string]any {
	o["id"], o["status"], o["admin_state_up"], o["project_id"], o["tags"] = uuid.NewString(), "ACTIVE", true, "p", []any{}
	switch kind {
	case "network":
		o["id"] = "f8209267-5cf1-4073-9af5-bbbf7fe500cd"
		o["mtu"], o["provider:network_type"], o["provider:segmentation_id"] = 1450, "vxlan", 1077
	case "subnet":
		o["id"], o["gateway_ip"], o["enable_dhcp"] = "8d373fbd-6134-47d1-aff6-86ee1ae7c8d1", "10.11.12.1", true
		o["allocation_pools"], o["dns_nameservers"], o["host_routes"], o["service_types"] = []any{}, []any{}, []any{}, []any{}
	case "port":
		o["binding:vnic_type"], o["allowed_address_pairs"], o["extra_dhcp_opts"], o["dns_name"] = "normal", []any{}, []any{}, ""
		o["security_groups"], o["port_security_enabled"], o["status"] = []any{"default"}, true, "DOWN"
		address := "10.11.12.5"
		o["mac_address"] = "fa:16:3e:00:00:05"
		switch {
		case o["device_owner"] == "network:dhcp":
			o["id"], o["mac_address"], address, o["status"], o["name"] = dhcpPort, dhcpMAC, "10.11.12.2", "ACTIVE", ""
			o["security_groups"], o["port_security_enabled"] = []any{}, false
			o["device_id"] = fmt.Sprint("dhcpd3377d3c-a0d1-5d71-9947-f17125c357bb-", o["network_id"])
			o["dns_assignment"] = []any{map[string]any{"hostname": "host-10-11-12-2", "ip_address": address, "fqdn": "host-10-11-12-2.openstacklocal."}}
		case o["name"] == "vm01":
			o["id"], o["mac_address"], address = instances[0].PortID, instances[0].MAC, "10.11.12.3"
		case o["name"] == "vm02":
			o["id"], o["mac_address"], address = instances[1].PortID, instances[1].MAC, "10.11.12.4"
		}
		o["fixed_ips"] = []any{map[string]any{"subnet_id": "8d373fbd-6134-47d1-aff6-86ee1ae7c8d1", "ip_address": address}}
	}
	return o
}

func (f *fakeServer) vsctl(node string, args ...string) string {
	cmd := exec.Command("ovs-vsctl", append([]string{"--timeout=10"}, args...)...)
	cmd.Env = append(os.Environ(), "OVS_RUNDIR="+filepath.Join(f.dir, "nodes", node, "run"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		fmt.Fprintln(os.Stderr, node, args, err, string(out))
	}
	return string(out)
}

// observe marks ports ACTIVE that are plugged, after programming for them.
func (f *fakeServer) observe() {
	for _, p := range f.ports {
		host, _ := p["binding:host_id"].(string)
		if p["status"] != "DOWN" || host == "" {
			continue
		}
		if strings.TrimSpace(f.vsctl(host, "--bare", "--columns=name", "find", "Interface", fmt.Sprintf("external_ids:iface-id=%v", p["id"]))) != "" {
			f.program()
			p["status"] = "ACTIVE"
		}
	}
}

// program brings both switches to the state that the objects ask for.
func (f *fakeServer) program() {
	f.revision++
	nodes := []string{"controller"}
	if _, err := os.Stat(filepath.Join(f.dir, "nodes/compute")); err == nil {
		nodes = append(nodes, "compute")
	}
	state, names, third := "initial", map[string]bool{}, ""
	for _, p := range f.ports {
		name, _ := p["name"].(string)
		names[name] = true
		if p["device_owner"] == "network:dhcp" {
			state = "network"
		}
		if name == "vm03" {
			third = lab.Instance{PortID: p["id"].(string)}.Tap()
		}
	}
	if names["vm01"] || names["vm02"] { // flows of a port that is not there yet do nothing
		state = "instances"
	}
	for _, node := range nodes {
		if state != "initial" && node == "controller" {
			f.vsctl(node, "--may-exist", "add-port", "br-int", dhcpTap, "--", "set", "Interface", dhcpTap, "type=internal", `mac="`+dhcpMAC+`"`)
		}
		if state != "initial" && len(nodes) == 2 {
			t := tunnel("192.168.0.10", "192.168.0.11")
			if node == "compute" {
				t = tunnel("192.168.0.11", "192.168.0.10")
			}
			f.vsctl(node, append([]string{"--may-exist", "add-port", "br-int", t[0], "--", "set", "Interface"}, t...)...)
		}
		golden := state + "-" + node
		if len(nodes) == 1 {
			golden = state + "-single"
		}
		flows, err := lab.GoldenForTest(golden)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			continue
		}
		if third != "" && node == "controller" {
			port := strings.TrimSpace(f.vsctl(node, "--if-exists", "get", "Interface", third, "ofport"))
			if port != "" {
				flows = append(flows, "table=0,in_port="+port+" actions=set_field:0x435->tun_id,load:0x1->NXM_NX_REG0[],goto_table:20",
					"table=110,tun_id=0x435,dl_dst=fa:16:3e:00:00:05 actions=output:"+port)
			}
		} else if third != "" {
			flows = append(flows, "table=110,tun_id=0x435,dl_dst=fa:16:3e:00:00:05 actions=output:1")
		}
		var text bytes.Buffer
		for _, flow := range flows {
			if f.fault == "" || flow != f.fault {
				fmt.Fprintln(&text, flow)
			}
		}
		cmd := exec.Command("ovs-ofctl", "-O", "OpenFlow14", "--bundle", "replace-flows", "br-int", "-")
		cmd.Env = append(os.Environ(), "OVS_RUNDIR="+filepath.Join(f.dir, "nodes", node, "run"))
		cmd.Stdin = &text
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintln(os.Stderr, node, err, string(out))
		}
	}
}

func (f *fakeServer) admin(mux *http.ServeMux) {
	mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /nagare/v1/topology", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"links":[{"from":"controller","to":"compute"},{"from":"compute","to":"controller"}]}`)
	})
	mux.HandleFunc("GET "+dhcpapi.Path, func(w http.ResponseWriter, r *http.Request) {
		for {
			f.mu.Lock()
			c := dhcpapi.Config{Revision: f.revision}
			var hosts []dhcpapi.Host
			for _, p := range f.ports {
				ip := p["fixed_ips"].([]any)[0].(map[string]any)["ip_address"].(string)
				if p["device_owner"] != "network:dhcp" {
					hosts = append(hosts, dhcpapi.Host{MAC: p["mac_address"].(string), IP: netip.MustParseAddr(ip)})
					continue
				}
				c.Ports = append(c.Ports, dhcpapi.Port{PortID: dhcpPort, Tap: dhcpTap, MAC: dhcpMAC, MTU: 1450, Addresses: []dhcpapi.Address{{
					IP: netip.MustParseAddr(ip), CIDR: netip.MustParsePrefix("10.11.12.0/24"), Gateway: netip.MustParseAddr("10.11.12.1"), LeaseSeconds: 600}}})
			}
			for i := range c.Ports {
				c.Ports[i].Hosts = hosts
			}
			f.mu.Unlock()
			if fmt.Sprint(c.Revision) != r.URL.Query().Get("after") {
				json.NewEncoder(w).Encode(c)
				return
			}
			select {
			case <-r.Context().Done():
				return
			case <-tick():
			}
		}
	})
}

func tick() <-chan time.Time { return time.After(20 * time.Millisecond) }
