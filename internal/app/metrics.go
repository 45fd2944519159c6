// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"nagare/internal/tables"
)

// metrics serves the Prometheus page. Values are read when they are asked for; nothing on a hot path counts twice.
func (s *Server) metrics() http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &collector{s})
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

// collector turns the server's own numbers into metrics.
type collector struct{ s *Server }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("nagare_"+name, help, labels, nil)
}

var (
	mRevision   = desc("store_revision", "Newest committed revision.")
	mCompiled   = desc("compiled_revision", "Newest compiled revision.")
	mObjects    = desc("objects", "Stored objects by kind.", "kind")
	mUnits      = desc("compile_units", "Cached units of all nodes.")
	mRuns       = desc("compile_unit_runs_total", "Runs of units.")
	mCutoffs    = desc("compile_cutoffs_total", "Runs of units whose output was equal.")
	mRounds     = desc("compile_rounds_total", "States compiled.")
	mSession    = desc("node_session", "1 while the node's session is up.", "node", "session")
	mInSync     = desc("node_in_sync", "1 while the node holds everything compiled for it.", "node")
	mConfirmed  = desc("node_confirmed_revision", "Newest revision that the node's barrier confirmed.", "node")
	mFlows      = desc("node_flows", "Flows that the node should hold.", "node")
	mFlowMods   = desc("node_flow_mods_total", "Flow mods sent to the node.", "node")
	mDrift      = desc("node_drift_healed_total", "Flows put right by audits.", "node")
	mNodeFaults = desc("node_faults", "Objects in fault on the node.", "node")
	mPunts      = desc("node_punts_total", "Packets that the node's ports sent up to be answered, by what became of them.", "node", "result")
	mUnlogged   = desc("node_security_log_lost_total", "Packets that meters (as of the last comparison) or full queues kept from security logs.", "node")
	mSecLog     = desc("security_log_records_total", "Records of security logs, by what became of them: written, limited by security-log-total, or lost.", "result")
	mZones      = desc("node_zones_waiting", "Connection tracking zones of ports that are gone, which wait to be flushed.", "node")
	mQueue      = desc("store_queue", "Transactions that wait for the writer.")
	mCommits    = desc("store_commits_total", "Transactions made durable.")
)

func (c *collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	truth := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	snap := c.s.store.Snapshot()
	gauge(mRevision, float64(snap.Revision()))
	gauge(mCompiled, float64(c.s.hub.Processed()))
	gauge(mObjects, float64(tables.Networks.Len(snap)), "network")
	gauge(mObjects, float64(tables.Subnets.Len(snap)), "subnet")
	gauge(mObjects, float64(tables.Ports.Len(snap)), "port")
	gauge(mObjects, float64(tables.SecurityGroups.Len(snap)), "security_group")
	gauge(mObjects, float64(tables.Nodes.Len(snap)), "node")
	if st, units, err := c.s.hub.EngineStats(ctx); err == nil {
		gauge(mUnits, float64(units))
		count(mRuns, st.UnitRuns)
		count(mCutoffs, st.CutOffs)
		count(mRounds, st.Rounds)
	}
	nodes, err := c.s.hub.Nodes(ctx)
	if err != nil {
		return
	}
	for _, n := range nodes {
		id := string(n.ID)
		gauge(mSession, truth(n.OVSDB), id, "ovsdb")
		gauge(mSession, truth(n.OpenFlow), id, "openflow")
		gauge(mInSync, truth(n.InSync), id)
		gauge(mConfirmed, float64(n.Confirmed), id)
		gauge(mFlows, float64(n.Flows), id)
		gauge(mNodeFaults, float64(len(n.Faults)), id)
		count(mFlowMods, n.Sent.FlowMods, id)
		count(mDrift, n.Sent.Drift, id)
		count(mPunts, n.Punts.Answered, id, "answered")
		count(mPunts, n.Punts.Unanswered, id, "unanswered")
		count(mPunts, n.Punts.Dropped, id, "dropped")
		count(mPunts, n.Punts.Failed, id, "failed")
		count(mUnlogged, n.Punts.Unlogged, id)
		gauge(mZones, float64(n.Zones), id)
	}
	if l := c.s.told; l != nil {
		count(mSecLog, l.written.Load(), "written")
		count(mSecLog, l.limited.Load(), "limited")
		count(mSecLog, l.lost.Load(), "lost")
	}
	st := c.s.store.Stats()
	gauge(mQueue, float64(st.Waiting))
	count(mCommits, st.Commits)
}
