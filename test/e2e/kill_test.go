// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// alive reports whether a process runs; one that has ended and was not waited for does not.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, ok := strings.Cut(string(b[strings.LastIndexByte(string(b), ')')+1:]), " ")
	if !ok || rest == "" {
		return false
	}
	// A killed process whose first thread is gone holds its sockets and locks until the last one is.
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/[0-9]*", pid))
	return rest[0] != 'Z' && rest[0] != 'X' || len(threads) > 1
}

// kill ends a process as a crash would, and waits until it is gone.
func (s *site) kill(what string, pid int) {
	s.t.Helper()
	if pid <= 1 || !alive(pid) {
		s.t.Fatalf("%s does not run (pid %d)", what, pid)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		s.t.Fatalf("%s: %v", what, err)
	}
	s.eventually(settleWithin, what+" is dead", func() error {
		if alive(pid) {
			return fmt.Errorf("process %d runs", pid)
		}
		return nil
	})
}

func (s *site) serverPID() int { return s.state().Processes["server"].PID }

// daemon is the pid of a node's ovs-vswitchd or ovsdb-server.
func (s *site) daemon(node, program string) int {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir(), "nodes", node, "run", program+".pid"))
	if err != nil {
		s.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		s.t.Fatal(err)
	}
	return pid
}

// mend starts again what does not run, as an operator's service manager would.
func (s *site) mend() { s.t.Helper(); s.must(s.lab("up")...) }

var (
	groupAge = regexp.MustCompile(`group_id=(\d+),duration=([0-9.]+s)`)
	meterAge = regexp.MustCompile(`meter:(\d+) .*duration:([0-9.]+s)`)
)

// ages are how long each flow, group and meter of a node has been there.
func (s *site) ages(node string) map[string]time.Duration {
	s.t.Helper()
	fs, err := s.dump(node)
	if err != nil {
		s.t.Fatal(err)
	}
	out := map[string]time.Duration{}
	for _, f := range fs {
		out["flow "+f.Key().Flow(0, "").String()] = f.Duration
	}
	for _, c := range []struct {
		what, command string
		form          *regexp.Regexp
	}{{"group ", "dump-group-stats", groupAge}, {"meter ", "meter-stats", meterAge}} {
		for _, m := range c.form.FindAllStringSubmatch(s.ovs(node, "ovs-ofctl", "-O", "OpenFlow13", c.command, "br-int"), -1) {
			age, err := time.ParseDuration(m[2])
			if err != nil {
				s.t.Fatal(err)
			}
			out[c.what+m[1]] = age
		}
	}
	return out
}

// untouched holds that the flows, groups and meters of a node are the very ones that were there before.
func (s *site) untouched(node string, before map[string]time.Duration) {
	s.t.Helper()
	after := s.ages(node)
	if len(after) != len(before) {
		s.t.Errorf("%s: %d flows, groups and meters, before %d", node, len(after), len(before))
	}
	for k, old := range before {
		if now, ok := after[k]; !ok {
			s.t.Errorf("%s: %s is gone", node, k)
		} else if now <= old {
			s.t.Errorf("%s: %s is %v old, before it was %v: it was written anew", node, k, now, old)
		}
	}
}

// TestServerKilled kills the server again and again under a storm of port changes, while instances ping each other: nothing
// that was acknowledged may be lost, nothing may be done by half, and no packet may be dropped.
func TestServerKilled(t *testing.T) {
	s := newSite(t)
	demo, admin := s.user("demo"), s.user("admin")
	demo.network("net01", "10.11.12.0/24")
	stormNet, stormSubnet := demo.network("storm", "10.20.0.0/16")
	addr := map[string]string{}
	for _, vm := range []struct{ name, node string }{{"vm01", compute}, {"vm02", compute}, {"vm03", controller}, {"vm04", compute}} {
		addr[vm.name] = s.boot(vm.name, "net01", vm.node)
	}
	quiet := admin.settled(settleWithin, controller, compute)
	t.Logf("flows: controller %d, compute %d", quiet[controller].Flows, quiet[compute].Flows)
	for _, kind := range []string{"group ", "meter "} {
		if !strings.Contains(strings.Join(slices.Collect(maps.Keys(s.ages(compute))), "\n"), kind) {
			t.Errorf("compute has no %s: that none is touched would be no news", kind)
		}
	}
	before := map[string][]string{controller: s.mustFlows(controller), compute: s.mustFlows(compute)}

	var pings []*pinger
	for _, p := range [][2]string{{"vm01", "vm02"}, {"vm02", "vm01"}, {"vm01", "vm03"}, {"vm03", "vm01"}, {"vm02", "vm03"}, {"vm03", "vm02"}} {
		pings = append(pings, s.ping(p[0], addr[p[1]]))
	}
	for _, p := range pings {
		s.eventually(settleWithin, "ping "+p.from+" to "+p.to+" is answered", func() error {
			if p.answered() < 10 {
				return fmt.Errorf("%d answers", p.answered())
			}
			return nil
		})
	}
	watch := s.watchActive(demo, "vm01", "vm02", "vm03")

	st := newStorm(s, demo, admin, stormNet, stormSubnet, s.instance("vm04").PortID)
	for round, changes := range []int{150, 40, 300, 90, 200, 20, 120, 60, 250, 110} {
		s.part(fmt.Sprintf("Kill%d", round+1), func(s *site) {
			if round%3 == 2 { // otherwise the switches may not have called yet
				admin.settled(settleWithin, controller, compute)
			}
			began := time.Now()
			n := st.blow(s, changes, func() { s.kill("server", s.serverPID()) })
			t.Logf("%d changes acknowledged in %v before the kill (%.0f/s)", n, time.Since(began).Round(time.Millisecond), float64(n)/time.Since(began).Seconds())
			if round == 1 {
				s.killStarting()
			}
			up := time.Now()
			s.mend()
			t.Logf("up again after %v", time.Since(up).Round(time.Millisecond))
			st.verify(s)
		})
		if t.Failed() {
			break
		}
	}
	if t.Failed() {
		return
	}
	s.part("UnchangedIntent", func(s *site) {
		began := time.Now()
		lap := func(what string) { s.t.Logf("%s after %v", what, time.Since(began).Round(time.Millisecond)) }
		if err := admin.ask(200, "PUT", admin.neutron("/ports/"+s.instance("vm04").PortID), map[string]any{"port": map[string]any{"admin_state_up": true}}, nil); err != nil {
			t.Fatal(err)
		}
		st.toggle = outcome{value: "true"}
		demo.wantStatus(s.instance("vm04").PortID, "ACTIVE")
		lap("ACTIVE")
		admin.settled(settleWithin, controller, compute)
		lap("settled")
		for _, node := range []string{controller, compute} {
			// The storm's ports were never plugged, but some are members of the instances' group.
			s.wantFlows(settleWithin, node, s.withMembers(before[node], addr["vm01"], demo, stormNet))
		}
		ages := map[string]map[string]time.Duration{controller: s.ages(controller), compute: s.ages(compute)}
		s.kill("server", s.serverPID())
		lap("killed")
		s.mend()
		lap("up again")
		nodes := admin.settled(settleWithin, controller, compute)
		lap("settled again")
		for _, node := range []string{controller, compute} {
			if n := nodes[node].Sent; n.FlowMods+n.GroupMods+n.MeterMods != 0 {
				s.t.Errorf("%s: %d flow mods, %d group mods and %d meter mods were sent after a restart with unchanged intent", node, n.FlowMods, n.GroupMods, n.MeterMods)
			}
			s.untouched(node, ages[node])
		}
		st.verify(s)
	})
	watch(t)
	for _, p := range pings {
		p.finish(t)
	}
}

// withMembers adds to a node's flows those by which the other ports of a network are remote members of the group that a member
// with an address is in.
func (s *site) withMembers(flows []string, member string, c *client, network string) []string {
	s.t.Helper()
	own, err := c.port(s.instance("vm01").PortID)
	if err != nil {
		s.t.Fatal(err)
	}
	ports, err := c.ports("network_id=" + network)
	if err != nil {
		s.t.Fatal(err)
	}
	out := slices.Clone(flows)
	for _, f := range flows {
		if !strings.HasPrefix(f, "table=92,") || !strings.Contains(f, "nw_src="+member+" ") {
			continue
		}
		for _, p := range ports {
			if slices.Equal(p.SecurityGroups, own.SecurityGroups) {
				out = append(out, strings.Replace(f, member, p.FixedIPs[0].IP, 1))
			}
		}
	}
	if len(out) == len(flows) {
		s.t.Errorf("the storm has left no port in the instances' group, or the group's members are not in the flows")
	}
	return out
}

// killStarting starts the server and kills it before it is ready.
func (s *site) killStarting() {
	s.t.Helper()
	old := s.serverPID()
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	var up sync.WaitGroup
	up.Go(func() { s.try(ctx, s.lab("up")...) })
	s.eventually(settleWithin, "the server is starting", func() error {
		if pid := s.serverPID(); pid == old || !alive(pid) {
			return fmt.Errorf("process %d", pid)
		}
		return nil
	})
	s.kill("starting server", s.serverPID())
	cancel()
	up.Wait()
}

// watchActive follows the status of instances' ports until the returned function is called, which reports every time that one
// was not ACTIVE. That the API cannot be reached meanwhile is no fault of a port.
func (s *site) watchActive(c *client, names ...string) (finish func(*testing.T)) {
	ids := map[string]string{}
	for _, n := range names {
		ids[s.instance(n).PortID] = n
	}
	var mu sync.Mutex
	var bad []string
	looks := 0
	ctx, cancel := context.WithCancel(s.t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			ports, err := c.ports("device_owner=compute:nova")
			if err != nil {
				continue
			}
			mu.Lock()
			looks++
			found := 0
			for _, p := range ports {
				name, ok := ids[p.ID]
				if !ok {
					continue
				}
				found++
				if p.Status != "ACTIVE" {
					bad = append(bad, fmt.Sprintf("%s: port of %s is %s", time.Now().Format("15:04:05.000"), name, p.Status))
				}
			}
			if found != len(ids) {
				bad = append(bad, fmt.Sprintf("%s: %d of %d ports are listed", time.Now().Format("15:04:05.000"), found, len(ids)))
			}
			mu.Unlock()
		}
	})
	s.t.Cleanup(func() { cancel(); done.Wait() })
	return func(t *testing.T) {
		t.Helper()
		cancel()
		done.Wait()
		if len(bad) > 0 {
			t.Errorf("%d faults in %d looks:\n%s", len(bad), looks, strings.Join(bad[:min(len(bad), 20)], "\n"))
		}
		if looks == 0 {
			t.Error("the ports were never seen")
		}
	}
}
