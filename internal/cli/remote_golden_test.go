// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func words(commands ...string) [][]string {
	out := make([][]string, len(commands))
	for i, c := range commands {
		out[i] = strings.Fields(c)
	}
	return out
}

// What each command prints of a cloud in order, and its exit code.
func TestCommandsOnAHealthyCloud(t *testing.T) {
	newSite(t, newCloud(), false).golden("healthy", words(
		"status",
		"nodes",
		"topology",
		"flows",
		"flows compute",
		"flows compute -o wide",
		"flows compute --table 110",
		"flows compute --owner "+vm01,
		"flows compute --owner 178a8b99 --table 0 -o wide",
		"flows --owner "+vm01,
		"flows compute --table 7",
		"explain vm01",
		"explain "+orphan,
		"explain --node compute table=0,priority=32768,in_port=2,dl_src=fa:16:3e:9e:f5:70",
		"explain compute table=0,priority=32768,in_port=2,dl_src=fa:16:3e:9e:f5:70",
		"explain compute cookie=0x4e03000100000011",
		"explain controller cookie=0x4e09ffff00000001",
		"flows compute -o authors",
		"wait",
		"wait --revision 3 -o json",
		"events --since 0",
		"events",
		"events --since 3 --kind ports,nodes -o json",
		"node approve compute",
		"node forget controller",
	)...)
}

// The same when nodes are behind, refused, away or not admitted.
func TestCommandsOnACloudInTrouble(t *testing.T) {
	newSite(t, newCloud().trouble(), false).golden("trouble", words(
		"status",
		"status -o json",
		"nodes",
		"wait --timeout 1ms",
		"wait --revision 12 --timeout 1ms",
	)...)
}

func TestErrors(t *testing.T) {
	newSite(t, newCloud(), false).golden("errors", append(words(
		"flows nowhere",
		"flows ..",
		"flows compute --table 300",
		"flows compute -o yaml",
		"flows -o json --owner x",
		"explain nobody",
		"explain ..",
		"explain table=0,in_port=2",
		"explain --node compute table=0,in_port=7",
		"explain compute cookie=0x4e03000000000007",
		"explain --node compute table=0,colour=7",
		"explain --node compute vm01",
		"explain",
		"status extra",
		"status -o yaml",
		"wait --timeout 0s",
		"wait --revision -1",
		"node approve nowhere",
		"node forget nowhere",
		"node forget compute",
		"node approve",
	), []string{"node", "approve", ""}, []string{"explain", ""})...)
}

// Every way in which a server may not answer or not let in.
func TestRefusals(t *testing.T) {
	locked := newSite(t, newCloud(), true)
	locked.golden("refused-without-variables", words("status", "wait --revision 1", "node approve compute")...)
	locked.as("admin", "wrong").golden("refused-password", words("status")...)
	locked.as("demo", "secret").golden("refused-role", words("nodes", "node forget controller")...)
	locked.as("admin", "secret")
	delete(locked.env, "OS_PASSWORD")
	locked.golden("refused-no-password", words("status")...)
	locked.as("admin", "secret").env["OS_AUTH_URL"] = locked.identity.URL + "/identity"
	locked.golden("refused-no-identity", words("status")...)
	locked.env["OS_AUTH_URL"] = "keystone"
	locked.golden("refused-auth-url", words("status")...)
	locked.env["OS_AUTH_URL"] = locked.server.URL
	locked.golden("refused-identity-is-another-server", words("status")...)

	tests := []struct {
		name, path string
		h          http.HandlerFunc
	}{
		{name: "another-service", h: http.NotFound},
		{name: "redirect", h: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://elsewhere.invalid/", http.StatusFound)
		}},
		{name: "no-json", h: func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>")) }},
		{name: "internal-error", h: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			w.Write([]byte(`{"error":{"code":500,"message":"store: disk full"}}`))
		}},
		{name: "cut-short", h: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			w.Write([]byte(`{"version":`))
		}},
		{name: "token-refused", h: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
			w.Write([]byte(`{"error":{"code":401,"message":"unauthorized: token is not valid; ask for a new one"}}`))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			newSiteOf(t, tt.h).as("admin", "secret").golden("refused-"+tt.name, words("status")...)
		})
	}
}

func TestServerIsAway(t *testing.T) {
	s := newSite(t, newCloud(), false)
	s.server.Close()
	got := s.run("status")
	for _, want := range []string{"server http://SERVER: ", "connection refused", "is `nagare serve` running there?", "--server", "NAGARE_SERVER"} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("stderr %q does not say %q", got.stderr, want)
		}
	}
	if got.code != exitFailed {
		t.Errorf("exit code %d, want %d", got.code, exitFailed)
	}
}

func TestIdentityIsAway(t *testing.T) {
	s := newSite(t, newCloud(), true).as("admin", "secret")
	s.identity.Close()
	got := s.run("status")
	for _, want := range []string{"identity http://IDENTITY/v3: ", "connection refused", "is OS_AUTH_URL right"} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("stderr %q does not say %q", got.stderr, want)
		}
	}
	if got.code != exitFailed {
		t.Errorf("exit code %d, want %d", got.code, exitFailed)
	}
}

// -o json is the server's own JSON: the same values and fields, also unknown ones and numbers beyond a float's.
func TestJSONIsTheServersOwn(t *testing.T) {
	const odd = `{"nodes":[{"id":"compute","flows":3,"invented":{"later":9007199254740993}}],"flows":[{"flow":"table=1 actions=drop","n":1},{"flow":"table=2 actions=drop","n":2}],"revision":5}`
	s := newSiteOf(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(odd)) }))
	for _, command := range words("nodes", "topology", "flows", "flows compute", "explain vm01", "explain --node compute table=0", "wait --revision 5") {
		got := s.run(append(command, "-o", "json")...)
		var compact strings.Builder
		for _, line := range strings.Split(got.stdout, "\n") {
			compact.WriteString(strings.TrimLeft(line, " "))
		}
		if strings.ReplaceAll(compact.String(), `": `, `":`) != odd || got.code != exitOK {
			t.Errorf("%v: exit code %d, %s%s\nwant %s", command, got.code, got.stdout, got.stderr, odd)
		}
	}
	got := s.run("flows", "compute", "--table", "2", "-o", "json")
	var have, want any
	if err := json.Unmarshal([]byte(got.stdout), &have); err != nil {
		t.Fatalf("%v: %s", err, got.stdout)
	}
	_ = json.Unmarshal([]byte(`{"flows":[{"flow":"table=2 actions=drop","n":2}]}`), &want)
	if !reflect.DeepEqual(have, want) {
		t.Errorf("filtered: %v, want %v", have, want)
	}
}

// A server that wants no token gets none, and Identity is not even asked.
func TestNoTokenUnlessAsked(t *testing.T) {
	s := newSite(t, newCloud(), false).as("admin", "secret")
	if got := s.run("status"); got.code != exitOK {
		t.Fatal(got)
	}
	if want := []string{"GET /nagare/v1/status"}; !slices.Equal(s.seen(), want) {
		t.Errorf("requests %q, want %q", s.seen(), want)
	}
}

// A server that wants a token gets one, which the rest of the command uses.
func TestTokenOfTheVariables(t *testing.T) {
	tests := []struct {
		name string
		set  func(env map[string]string, s *site)
	}{
		{"openrc", func(map[string]string, *site) {}},
		{"auth url without v3", func(env map[string]string, s *site) { env["OS_AUTH_URL"] = s.identity.URL + "/" }},
		{"domain ids", func(env map[string]string, _ *site) {
			env["OS_USER_DOMAIN_ID"], env["OS_PROJECT_DOMAIN_ID"] = "default", "default"
			env["OS_USER_DOMAIN_NAME"], env["OS_PROJECT_DOMAIN_NAME"] = "", ""
		}},
		{"no domains", func(env map[string]string, _ *site) {
			env["OS_USER_DOMAIN_NAME"], env["OS_PROJECT_DOMAIN_NAME"] = "", ""
		}},
		{"tenant name", func(env map[string]string, _ *site) { env["OS_PROJECT_NAME"], env["OS_TENANT_NAME"] = "", "admin" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCloud()
			s := newSite(t, c, true).as("admin", "secret")
			tt.set(s.env, s)
			if got := s.run("wait"); got.code != exitOK {
				t.Fatal(got)
			}
			want := []string{"GET /nagare/v1/status", "POST /v3/auth/tokens", "GET /nagare/v1/status", "GET /nagare/v1/wait?revision=9&timeout=30"}
			if !slices.Equal(s.seen(), want) {
				t.Errorf("requests %q, want %q", s.seen(), want)
			}
			if got := s.run("node", "approve", "compute"); got.code != exitOK || !slices.Equal(c.made(), []string{"approve compute by admin"}) {
				t.Errorf("approve: %v, changes %q", got, c.made())
			}
		})
	}
}
