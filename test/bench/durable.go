// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"nagare/internal/api/neutron"
	"nagare/internal/identity"
	"nagare/internal/store"
	"nagare/internal/tables"
	"nagare/test/bench/cloud"
	"nagare/test/bench/host"
)

// window is how long each rate is measured.
const window = 3 * time.Second

func openStore(h *host.Host) *store.Store {
	st, err := store.Open(h.Context(), tables.Schema, store.Options{DataDir: h.Dir(), Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	h.Must(err)
	h.Cleanup(func() { st.Close() })
	return st
}

// hammer lets some workers call do, with a number of their own each time, for the window, and returns calls per second.
func hammer(h *host.Host, workers int, do func(i int) error) float64 {
	var calls atomic.Int64
	var wg sync.WaitGroup
	var fault atomic.Pointer[error]
	start := time.Now()
	for range workers {
		wg.Go(func() {
			for time.Since(start) < window && fault.Load() == nil {
				if err := do(int(calls.Add(1))); err != nil {
					fault.Store(&err)
				}
			}
		})
	}
	wg.Wait()
	if err := fault.Load(); err != nil {
		h.Fatal(*err)
	}
	return float64(calls.Load()) / time.Since(start).Seconds()
}

// commits measures durable transactions of one port each.
func commits(h *host.Host) []row {
	st := openStore(h)
	s := cloud.Shape{Nodes: 10, Networks: 10, Ports: 1}
	s.Build(st)
	put := func(i int) error {
		_, err := st.Commit(h.Context(), store.Origin{User: "bench"}, func(tx *store.Txn) error {
			s.BindPort(tx, i%s.Networks, i%60000)
			return nil
		})
		return err
	}
	disk := 1 / syncTime(h).Seconds()
	var rows []row
	for _, writers := range []int{1, 64} {
		rate := hammer(h, writers, put)
		rows = append(rows, row{fmt.Sprintf("durable commits, %d writers", writers), count(rate) + "/s", count(disk) + "/s (fdatasync of 4 KiB)", ratio(rate, disk),
			"one port each, embedded etcd; higher is better"})
	}
	rows[0].figure = "durable commits, 1 writer"
	return rows
}

// syncTime is what the disk under the store takes to make 4 KiB durable: the limit of one writer who waits.
func syncTime(h *host.Host) time.Duration {
	f, err := os.Create(filepath.Join(h.Dir(), "sync"))
	h.Must(err)
	defer f.Close()
	var took []time.Duration
	for range 200 {
		start := time.Now()
		_, err := f.Write(make([]byte, 4096))
		h.Must(err)
		h.Must(datasync(f))
		took = append(took, time.Since(start))
	}
	return median(took)
}

// user is whoever asks.
type user struct{}

func (user) Validate(context.Context, string) (identity.Principal, error) {
	return identity.Principal{UserID: "bench", ProjectID: "bench", Roles: []string{"admin"}}, nil
}

// apiCreates measures POST /v2.0/ports over HTTP, durable when answered.
func apiCreates(h *host.Host) []row {
	st := openStore(h)
	api := neutron.New(neutron.Config{Store: st, Auth: user{}, Quotas: map[string]int{}, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	srv := httptest.NewServer(api)
	defer srv.Close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	defer client.CloseIdleConnections()
	post := func(path string, body any, answer any) error {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		rq, err := http.NewRequestWithContext(h.Context(), "POST", srv.URL+"/v2.0/"+path, bytes.NewReader(b))
		if err != nil {
			return err
		}
		rq.Header.Set("X-Auth-Token", "bench")
		rq.Header.Set("Content-Type", "application/json")
		rs, err := client.Do(rq)
		if err != nil {
			return err
		}
		defer rs.Body.Close()
		b, err = io.ReadAll(rs.Body)
		if err != nil {
			return err
		}
		if rs.StatusCode != http.StatusCreated {
			return fmt.Errorf("POST %s: %s: %s", path, rs.Status, b)
		}
		if answer == nil {
			return nil
		}
		return json.Unmarshal(b, answer)
	}
	type object = map[string]any
	var nets []string
	for i := range 10 {
		var made struct{ Network struct{ ID string } }
		h.Must(post("networks", object{"network": object{"name": fmt.Sprint("net", i)}}, &made))
		nets = append(nets, made.Network.ID)
		h.Must(post("subnets", object{"subnet": object{"network_id": made.Network.ID, "ip_version": 4, "cidr": fmt.Sprintf("10.%d.0.0/16", i)}}, nil))
	}
	create := func(i int) error {
		return post("ports", object{"port": object{"network_id": nets[i%len(nets)], "name": fmt.Sprint("vm", i), "binding:host_id": "node-0000",
			"device_owner": "compute:nova", "device_id": fmt.Sprint("device-", i)}}, nil)
	}
	var rows []row
	for _, p := range []struct {
		clients int
		peer    float64
	}{{1, 3.1}, {8, 4.3}} {
		burnt := cloud.ProcessorTime()
		rate := hammer(h, p.clients, create)
		each := (cloud.ProcessorTime() - burnt).Seconds() / (rate * window.Seconds())
		rows = append(rows, row{fmt.Sprintf("API port creates, %d clients", p.clients), fmt.Sprintf("%s/s, %.1f ms CPU each", count(rate), each*1e3),
			fmt.Sprintf("%.1f/s, 320 ms CPU each (Neutron 21)", p.peer), ratio(rate, p.peer),
			"POST /v2.0/ports, bound, default group, 10 networks, durable; client's CPU included; peer measured earlier on a comparable machine"})
	}
	rows[0].figure = "API port creates, 1 client"
	return rows
}
