// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"nagare/internal/api/admin"
)

func TestServerNames(t *testing.T) {
	tests := []struct{ given, want string }{
		{"http://127.0.0.1:8181", "http://127.0.0.1:8181"},
		{"http://127.0.0.1:8181/", "http://127.0.0.1:8181"},
		{"https://net.example/proxy/", "https://net.example/proxy"},
		{"127.0.0.1:8181", "http://127.0.0.1:8181"},
		{"controller", "http://controller"},
		{"[::1]:8181", "http://[::1]:8181"},
		{"", ""}, {"tcp://127.0.0.1:6640", ""}, {"http://", ""}, {"http://a b", ""}, {"http://:8181", ""},
	}
	for _, tt := range tests {
		got, err := (&remote{server: tt.given}).base()
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("server %q: %q, %v; want %q", tt.given, got, err, tt.want)
		}
	}
	s := newSite(t, newCloud(), false)
	if got := s.run("nodes", "--server", "tcp://127.0.0.1:6640"); got.code != exitUsage || !strings.Contains(got.stderr, "not an http URL") {
		t.Errorf("%+v", got)
	}
}

// The flag beats the variable, and without both the server is on this machine.
func TestServerOfFlagAndVariable(t *testing.T) {
	s := newSite(t, newCloud(), false)
	s.env["NAGARE_SERVER"] = "http://127.0.0.1:1"
	if got := s.run("status", "--server", s.server.URL); got.code != exitOK {
		t.Errorf("%+v", got)
	}
	t.Setenv("NAGARE_SERVER", "")
	if f := newStatusCommand().Flags().Lookup("server"); f.DefValue != "http://127.0.0.1:8181" {
		t.Errorf("default server %s", f.DefValue)
	}
}

func TestFlowIdentity(t *testing.T) {
	const want = "table=0,priority=32768,in_port=2,dl_src=fa:16:3e:9e:f5:70"
	tests := []struct{ text, want string }{
		{"table=0,priority=32768,in_port=2,dl_src=fa:16:3e:9e:f5:70", want},
		{"in_port=2,dl_src=fa:16:3e:9e:f5:70", want},
		{"dl_src=fa:16:3e:9e:f5:70,in_port=2 actions=drop", want},
		{" cookie=0x8000001, duration=12.5s, table=0, n_packets=3, n_bytes=210, idle_age=1, priority=32768,in_port=2,dl_src=fa:16:3e:9e:f5:70 actions=set_field:0x435->tun_id,goto_table:20", want},
		// Without a priority shown, it is the default. Actions with names of ports are no hindrance.
		{` cookie=0x0, duration=1s, table=0, n_packets=0, n_bytes=0, in_port=2,dl_src=fa:16:3e:9e:f5:70 actions=output:"tap1"`, want},
		{" cookie=0x0, duration=1.1s, table=20, n_packets=0, n_bytes=0, send_flow_rem priority=0 actions=goto_table:30\n", "table=20,priority=0"},
		{"arp", "table=0,priority=32768,arp"},
		{`table=0, n_packets=0, priority=7,in_port="tap1",ip actions=output:tap2`, `table=0, n_packets=0, priority=7,in_port="tap1",ip`}, // the server knows tap1
		{"table=0,in_port=tap1,colour=1", ""},
		{"table=0,in_port=2,in_port=3", ""},
		{"table=zero", ""},
		{"vm01", ""},
	}
	for _, tt := range tests {
		got, err := flowIdentity(tt.text)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%q: %q, %v; want %q", tt.text, got, err, tt.want)
		}
	}
}

// A line of a dump that the shell has cut in pieces is put together again.
func TestExplainAPastedLine(t *testing.T) {
	s := newSite(t, newCloud(), false)
	line := "cookie=0x8000001, duration=12.5s, table=0, n_packets=3, n_bytes=210, priority=32768,in_port=2,dl_src=fa:16:3e:9e:f5:70 actions=goto_table:20"
	whole := s.run("explain", "--node", "compute", " "+line+"\n")
	pieces := s.run(append([]string{"explain", "compute"}, strings.Fields(line)...)...)
	if whole.code != exitOK || !strings.Contains(whole.stdout, "internal/netvirt/l2.go:71") || pieces != whole {
		t.Errorf("whole: %+v\npieces: %+v", whole, pieces)
	}
}

func TestFlowFilter(t *testing.T) {
	f := admin.Flow{Text: "table=110,priority=0 actions=drop", Object: vm01}
	tests := []struct {
		filter flowFilter
		want   bool
	}{
		{flowFilter{table: -1}, true},
		{flowFilter{table: 110}, true},
		{flowFilter{table: 11}, false},
		{flowFilter{table: -1, owner: vm01}, true},
		{flowFilter{table: -1, owner: vm01[:8]}, true},
		{flowFilter{table: -1, owner: vm01[:7]}, false},
		{flowFilter{table: -1, owner: vm02}, false},
		{flowFilter{table: 0, owner: vm01}, false},
	}
	for _, tt := range tests {
		if got := tt.filter.wants(f); got != tt.want {
			t.Errorf("%+v: %v", tt.filter, got)
		}
	}
	for text, want := range map[string]int{"table=7 actions=drop": 7, "priority=0 actions=drop": 0, "table=254,ip actions=drop": 254} {
		if got := tableOf(text); got != want {
			t.Errorf("table of %q: %d, want %d", text, got, want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"vm01": "vm01", `a "quoted" name`: `a "quoted" name`, "名前": "名前", "a\tb\nc": `a\tb\nc`, "\x1b[2J": `\x1b[2J`,
		"x\u202ey": `x\u202ey`, "\x00\"": `\x00\"`,
	} {
		if got := printable(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

// The server ends a long poll before the user's patience does; the client asks again.
func TestWaitAsksAgain(t *testing.T) {
	c := newCloud()
	var polls atomic.Int32
	c.wait = func(context.Context, uint64) error {
		if polls.Add(1) < 3 {
			return context.DeadlineExceeded
		}
		return nil
	}
	s := newSite(t, c, false)
	got := s.run("wait", "--revision", "9")
	if got.code != exitOK || got.stdout != "revision 9 confirmed by every live node\n" || polls.Load() != 3 {
		t.Errorf("%+v after %d polls", got, polls.Load())
	}
}

// A revision that is confirmed while the command waits ends it.
func TestWaitUntilConfirmed(t *testing.T) {
	c := newCloud()
	asked, confirmed := make(chan struct{}), make(chan struct{})
	c.wait = func(ctx context.Context, _ uint64) error {
		close(asked)
		select {
		case <-confirmed:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s := newSite(t, c, false)
	done := make(chan transcript, 1)
	go func() { done <- s.run("wait") }()
	select {
	case got := <-done:
		t.Fatalf("ended before the revision was confirmed: %+v", got)
	case <-asked:
		close(confirmed)
	}
	if got := <-done; got.code != exitOK {
		t.Errorf("%+v", got)
	}
}

// With a server that never answers, the user's patience decides.
func TestWaitOnAHungServer(t *testing.T) {
	release := make(chan struct{})
	s := newSiteOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/nagare/v1/wait" {
			select {
			case <-release:
			case <-r.Context().Done():
			}
			return
		}
		http.Error(w, "busy", http.StatusServiceUnavailable)
	}))
	defer close(release)
	start := time.Now()
	got := s.run("wait", "--revision", "9", "--timeout", "50ms")
	if got.code != exitFailed || !strings.Contains(got.stderr, "revision 9: not confirmed by every live node within 50ms; see `nagare nodes`") {
		t.Errorf("%+v", got)
	}
	if took := time.Since(start); took > 25*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestWaitWithoutLiveNodes(t *testing.T) {
	c := newCloud()
	c.status.LiveNodes = 0
	if got := newSite(t, c, false).run("wait"); got.code != exitOK || !strings.Contains(got.stdout, "every live node, of which there is none") {
		t.Errorf("%+v", got)
	}
}

// A command that is interrupted ends, whatever the server does.
func TestInterrupted(t *testing.T) {
	c := newCloud()
	ctx, cancel := context.WithCancel(t.Context())
	c.wait = func(request context.Context, _ uint64) error {
		cancel()
		<-request.Done()
		return request.Err()
	}
	s := newSite(t, c, false)
	var stdout, stderr strings.Builder
	if code := Main(ctx, []string{"wait", "--server", s.server.URL}, &stdout, &stderr); code != exitFailed || !strings.Contains(stderr.String(), "context canceled") {
		t.Errorf("exit code %d, %s", code, stderr.String())
	}
}
