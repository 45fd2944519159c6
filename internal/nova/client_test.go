// SPDX-License-Identifier: Apache-2.0

package nova

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
)

// cloud is as much of Keystone and Nova as the client meets. Its tokens are numbered; only the newest is good.
type cloud struct {
	*httptest.Server
	tokens int
	answer int      // of Nova; 0: 200
	bodies []string // that Nova got with a good token
}

func newCloud(t *testing.T) *cloud {
	c := &cloud{}
	m := http.NewServeMux()
	m.HandleFunc("POST /v3/auth/tokens", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Auth struct {
				Identity struct {
					Password struct {
						User struct{ Name, Password string }
					}
				}
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Auth.Identity.Password.User.Password != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		c.tokens++
		w.Header().Set("X-Subject-Token", fmt.Sprint("token-", c.tokens))
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"token":{"expires_at":"2099-01-01T00:00:00.000000Z","catalog":[{"type":"compute","name":"nova","endpoints":[
			{"interface":"public","region":"RegionOne","region_id":"RegionOne","url":"http://%s/compute/v2.1"}]}]}}`, r.Host)
	})
	m.HandleFunc("POST /compute/v2.1/os-server-external-events", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Auth-Token") != fmt.Sprint("token-", c.tokens) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		var body struct{ Events []map[string]any }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		b, err := json.Marshal(body.Events)
		if err != nil {
			t.Error(err)
		}
		c.bodies = append(c.bodies, string(b))
		w.Header().Set("Content-Type", "application/json")
		if c.answer != 0 {
			w.WriteHeader(c.answer)
		}
		fmt.Fprint(w, `{"events":[{"name":"network-vif-plugged","server_uuid":"s","tag":"p","code":422}]}`)
	})
	c.Server = httptest.NewServer(m)
	t.Cleanup(c.Close)
	return c
}

func (c *cloud) client(password string) Client {
	return Dial(Access{AuthURL: c.URL + "/v3", User: "neutron", UserDomain: "Default", Password: password, Project: "service", ProjectDomain: "Default",
		Region: "RegionOne", HTTP: c.Client()})
}

func TestClient(t *testing.T) {
	c := newCloud(t)
	client := c.client("secret")
	events := []Event{{Name: Plugged, Server: "s", Status: "completed", Tag: "p"}, {Name: Changed, Server: "s", Tag: "p"}}
	answers, err := client.Send(t.Context(), events)
	if err != nil || len(answers) != 1 || answers[0].Code != 422 || answers[0].Tag != "p" {
		t.Fatalf("%+v, %v", answers, err)
	}
	// Nova's schema takes no other keys, and none that is empty.
	want := `[{"name":"network-vif-plugged","server_uuid":"s","status":"completed","tag":"p"},{"name":"network-changed","server_uuid":"s","tag":"p"}]`
	if !slices.Equal(c.bodies, []string{want}) {
		t.Errorf("Nova got %s, want %s", c.bodies, want)
	}

	c.tokens++ // the token is good no longer: the client gets another one
	if _, err := client.Send(t.Context(), events); err != nil {
		t.Error(err)
	}
	c.answer = http.StatusMultiStatus
	if _, err := client.Send(t.Context(), events); err != nil {
		t.Error(err)
	}
	var refusal *Refusal
	for _, code := range []int{http.StatusBadRequest, http.StatusNotFound} {
		c.answer = code
		if _, err := client.Send(t.Context(), events); !errors.As(err, &refusal) || refusal.Code != code {
			t.Errorf("%d: %v, want it refused for good", code, err)
		}
	}
	for _, code := range []int{http.StatusInternalServerError, http.StatusServiceUnavailable, http.StatusForbidden, http.StatusTooManyRequests} {
		c.answer = code
		if _, err := client.Send(t.Context(), events); err == nil || errors.As(err, &refusal) {
			t.Errorf("%d: %v, want an error that is tried again", code, err)
		}
	}
	c.answer = 0
	if _, err := client.Send(t.Context(), events); err != nil {
		t.Errorf("when Nova is well again: %v", err)
	}
}

func TestClientWithoutRights(t *testing.T) {
	c := newCloud(t)
	var refusal *Refusal
	if _, err := c.client("wrong").Send(t.Context(), []Event{{Name: Plugged}}); err == nil || errors.As(err, &refusal) {
		t.Errorf("%v, want an error that is tried again: the user may be mended in Keystone", err)
	}
	away := Dial(Access{AuthURL: "http://127.0.0.1:1/v3", User: "u", UserDomain: "Default", Password: "p", Project: "service", ProjectDomain: "Default"})
	if _, err := away.Send(t.Context(), nil); err == nil {
		t.Error("nothing is wrong with a Keystone that is not there")
	}
}
