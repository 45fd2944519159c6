// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"nagare/internal/lab"
	"nagare/internal/nodedhcp/dhcpapi"
)

// serveFaulty plays a server that takes one node over, programs its first flows
// and leaves out the flow in FAKE_FAULT, so that a test sees the walk-through
// fail. It has no objects.
func serveFaulty(ctx context.Context, args []string, fault string) int {
	flags := map[string]string{}
	for i := 0; i+1 < len(args); i++ {
		flags[args[i]] = args[i+1]
	}
	dir, host := filepath.Dir(flags["--data-dir"]), flags["--public-host"]
	run := func(stdin string, argv ...string) {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Env = append(os.Environ(), "OVS_RUNDIR="+filepath.Join(dir, "nodes/controller/run"))
		cmd.Stdin = strings.NewReader(stdin)
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintln(os.Stderr, argv, err, string(out))
		}
	}
	listen := func(port int, serve func(net.Listener)) {
		l, err := net.Listen("tcp4", fmt.Sprintf("%s:%d", flags["--listen-ip"], port))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		go serve(l)
	}
	listen(6640, accept(func(c net.Conn) {
		flows, err := lab.GoldenForTest("initial-single")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return
		}
		run("", "ovs-vsctl", "--timeout=10", "--may-exist", "add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev",
			"fail_mode=secure", "--", "set-controller", "br-int", "tcp:192.168.0.10:6653")
		run(strings.ReplaceAll(strings.Join(flows, "\n")+"\n", fault+"\n", ""), "ovs-ofctl", "-O", "OpenFlow14", "--bundle", "replace-flows", "br-int", "-")
		answerEchoes(c)
	}))
	listen(6653, accept(greet))
	for port, handler := range map[int]http.HandlerFunc{
		5000: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Subject-Token", "token")
			w.WriteHeader(http.StatusCreated)
			fmt.Fprintf(w, `{"token":{"expires_at":"2099-01-01T00:00:00.000000Z","catalog":[{"id":"n","type":"network","name":"neutron","endpoints":[
				{"id":"e","interface":"public","region":"RegionOne","region_id":"RegionOne","url":"http://%s:9696"}]}]}}`, host)
		},
		9696: func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/" {
				fmt.Fprintf(w, `{"versions":[{"id":"v2.0","status":"CURRENT","links":[{"rel":"self","href":"http://%s:9696/v2.0/"}]}]}`, host)
				return
			}
			fmt.Fprintf(w, `{%q:[]}`, filepath.Base(r.URL.Path))
		},
		8181: func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("after") != "" {
				<-r.Context().Done() // nothing newer will come
			}
			json.NewEncoder(w).Encode(dhcpapi.Config{Revision: 1})
		},
	} {
		listen(port, func(l net.Listener) { http.Serve(l, handler) })
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

// answerEchoes keeps an OVSDB connection alive (RFC 7047 section 4.1.11).
func answerEchoes(c net.Conn) {
	for d := json.NewDecoder(c); ; {
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

// greet says HELLO and answers echoes (OpenFlow 1.3 section 7.5).
func greet(c net.Conn) {
	c.Write([]byte{4, 0, 0, 8, 0, 0, 0, 1})
	header := make([]byte, 8)
	for {
		if _, err := io.ReadFull(c, header); err != nil {
			return
		}
		body := make([]byte, max(0, int(header[2])<<8|int(header[3])-8))
		if _, err := io.ReadFull(c, body); err != nil {
			return
		}
		if header[1] == 2 {
			c.Write(append([]byte{4, 3, header[2], header[3], header[4], header[5], header[6], header[7]}, body...))
		}
	}
}
