// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nagare/internal/importodl"
)

const importData = "../importodl/testdata/"

// TestImportODL: exit codes, what is reported, and what is written to which server.
func TestImportODL(t *testing.T) {
	neutron, err := os.ReadFile(importData + "neutron.json")
	if err != nil {
		t.Fatal(err)
	}
	clean := filepath.Join(t.TempDir(), "clean.json")
	const id = "10000000-0000-4000-8000-000000000001"
	if err := os.WriteFile(clean, []byte(`{"networks":{"network":[{"uuid":"`+id+`","name":"n"}]}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	old := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch user, password, _ := r.BasicAuth(); {
		case user != "admin" || password != "pw":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/rests/data/neutron:neutron":
			w.Write(bytes.Replace(neutron, []byte(`"neutron"`), []byte(`"neutron:neutron"`), 1)) //nolint:errcheck // a test
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer old.Close()
	var puts []string
	var there string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPut:
			b, _ := io.ReadAll(r.Body)
			puts = append(puts, r.URL.Path+" "+string(b))
			w.WriteHeader(http.StatusCreated)
		case there == "":
			w.WriteHeader(http.StatusNotFound)
		default:
			io.WriteString(w, there) //nolint:errcheck // a test
		}
	}))
	defer server.Close()
	withUser := strings.Replace(old.URL, "http://", "http://admin:pw@", 1)
	for _, tt := range []struct {
		args []string
		code int
		out  string
		err  string
	}{
		{[]string{clean, "--offline"}, exitOK, "networks/network", ""},
		{[]string{importData + "neutron.json", importData + "topology.json", "--offline"}, exitFailed, "compute1", ""},
		{[]string{withUser, "--offline"}, exitFailed, "ports/port", ""},
		{[]string{withUser + "/restconf/", "--offline"}, exitFailed, "compute2", ""},
		{[]string{old.URL, "--offline"}, exitFailed, "", "ODL_USERNAME"},
		{[]string{strings.Replace(withUser, "pw@", "no@", 1), "--offline"}, exitFailed, "", "401"},
		{[]string{"nosuch.json", "--offline"}, exitUsage, "", "nosuch.json"},
		{[]string{"import_test.go", "--offline"}, exitFailed, "", "no JSON"},
		{[]string{}, exitUsage, "", "arg"},
		{[]string{clean, "--offline", "--apply"}, exitUsage, "", "--apply"},
		{[]string{clean, "--profile", "odd"}, exitUsage, "", "classic"},
		{[]string{clean, "--server", "http://127.0.0.1:1"}, exitFailed, "", "--offline"},
		{[]string{clean, "--server", server.URL}, exitOK, "networks/network", ""},
		{[]string{importData + "neutron.json", "--apply", "--server", server.URL}, exitFailed, "Refused", ""},
	} {
		var out, errs bytes.Buffer
		code := Main(t.Context(), append([]string{"import", "odl"}, tt.args...), &out, &errs)
		if code != tt.code || !strings.Contains(out.String(), tt.out) || !strings.Contains(errs.String(), tt.err) {
			t.Errorf("%v: code %d\n%s%s\nwant code %d, %q, %q", tt.args, code, out.String(), errs.String(), tt.code, tt.out, tt.err)
		}
	}
	if len(puts) != 0 {
		t.Errorf("written without being asked to: %v", puts)
	}
	var out, errs bytes.Buffer
	if code := Main(t.Context(), []string{"import", "odl", clean, "--apply", "-o", "json", "--server", server.URL}, &out, &errs); code != exitOK || len(puts) != 1 ||
		!strings.HasPrefix(puts[0], `/restconf/config/neutron:neutron/networks/network/`+id+` {"network":[{"name":"n","uuid":"`+id) || !strings.Contains(errs.String(), "1 of 1") {
		t.Errorf("apply: %d %v %s", code, puts, errs.String())
	}
	var r importodl.Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || len(r.Kinds) != 1 || r.Kinds[0].New != 1 {
		t.Errorf("%v: %s", err, out.String())
	}
	there = `{"neutron":{"networks":{"network":[{"uuid":"` + id + `","name":"other"}]}}}`
	puts = nil
	out.Reset()
	if code := Main(t.Context(), []string{"import", "odl", clean, "--apply", "--server", server.URL}, &out, &errs); code != exitFailed || len(puts) != 0 || !strings.Contains(out.String(), "--replace") {
		t.Errorf("a conflict: %d %v %s", code, puts, out.String())
	}
	if code := Main(t.Context(), []string{"import", "odl", clean, "--apply", "--replace", "--server", server.URL}, &out, &errs); code != exitOK || len(puts) != 1 {
		t.Errorf("replaced: %d %v %s", code, puts, out.String())
	}
}
