// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"nagare/internal/app"
)

// load runs loadConfig as serve does: flags are parsed, the file is written to a directory of the test.
func load(t *testing.T, flags, file string, variables map[string]string) (app.Config, error) {
	t.Helper()
	given := app.Defaults()
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	bindConfig(fs, &given)
	if err := fs.Parse(strings.Fields(flags)); err != nil {
		t.Fatalf("flags %q: %v", flags, err)
	}
	path := ""
	if file != "" {
		path = filepath.Join(t.TempDir(), "nagare.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := loadConfig(path, fs, given, func(name string) string { return variables[name] })
	if err != nil {
		err = &cleaned{err, filepath.Dir(path) + "/"}
	}
	return cfg, err
}

// cleaned is an error without the test's directory in its text.
type cleaned struct {
	error
	dir string
}

func (c *cleaned) Error() string { return strings.ReplaceAll(c.error.Error(), c.dir, "") }

func TestLoadConfig(t *testing.T) {
	tests := []struct {
		name, flags, file string
		variables         map[string]string
		change            func(*app.Config) // from the defaults to what is wanted
	}{
		{name: "nothing said"},
		{name: "file", file: "profile: standard\naudit: 7\nsouthbound-plaintext: true\nlog-level: 'info,southbound=debug'\n",
			change: func(c *app.Config) {
				c.Profile, c.Audit, c.SouthboundPlaintext, c.LogLevel = "standard", 7, true, "info,southbound=debug"
			}},
		{name: "variable beats file", file: "neutron-port: 1\nadmin-port: 2\n", variables: map[string]string{"NAGARE_NEUTRON_PORT": "3"},
			change: func(c *app.Config) { c.NeutronPort, c.AdminPort = 3, 2 }},
		{name: "flag beats variable and file", flags: "--neutron-port 4", file: "neutron-port: 1\n",
			variables: map[string]string{"NAGARE_NEUTRON_PORT": "3"}, change: func(c *app.Config) { c.NeutronPort = 4 }},
		{name: "a flag that says the default is still a flag", flags: "--enrol auto", file: "enrol: approve\n"},
		{name: "a flag beats a bad variable", flags: "--audit 9", variables: map[string]string{"NAGARE_AUDIT": "x"},
			change: func(c *app.Config) { c.Audit = 9 }},
		{name: "a flag turns off what the file turns on", flags: "--southbound-plaintext=false", file: "southbound-plaintext: true\n"},
		{name: "empty variable", variables: map[string]string{"NAGARE_PROFILE": ""}},
		{name: "lists", flags: "--etcd-endpoints http://a:1,http://b:2",
			change: func(c *app.Config) { c.EtcdEndpoints = []string{"http://a:1", "http://b:2"} }},
		{name: "list of a variable", variables: map[string]string{"NAGARE_ETCD_ENDPOINTS": "http://a:1, http://b:2,"},
			change: func(c *app.Config) { c.EtcdEndpoints = []string{"http://a:1", "http://b:2"} }},
		{name: "list of the file", file: "etcd-endpoints:\n- http://a:1\n- http://b:2\n",
			change: func(c *app.Config) { c.EtcdEndpoints = []string{"http://a:1", "http://b:2"} }},
		{name: "list of the file as text", file: "etcd-endpoints: http://a:1,http://b:2\n",
			change: func(c *app.Config) { c.EtcdEndpoints = []string{"http://a:1", "http://b:2"} }},
		{name: "file of comments", file: "# later\n"},
		{name: "empty document", file: "---\n"},
		{name: "entry without a value", file: "data-dir:\naudit: 5\n", change: func(c *app.Config) { c.Audit = 5 }},
		{name: "number as text", file: "public-host: 10\n", change: func(c *app.Config) { c.PublicHost = "10" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := load(t, tt.flags, tt.file, tt.variables)
			if err != nil {
				t.Fatal(err)
			}
			want := app.Defaults()
			if tt.change != nil {
				tt.change(&want)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

func TestLoadConfigFaults(t *testing.T) {
	tests := []struct {
		name, file string
		variables  map[string]string
		says       []string // one a fault, in order
	}{
		{name: "unknown entry", file: "audit: 5\naudits: 6\n",
			says: []string{`configuration nagare.yaml:2: no setting has the name "audits"; they have the names of the flags`}},
		{name: "underscore instead of dash", file: "data_dir: /x\n", says: []string{`no setting has the name "data_dir"`}},
		{name: "number", file: "profile: classic\naudit: soon\n", says: []string{`configuration nagare.yaml:2: audit: "soon": want a whole number`}},
		{name: "bool", file: "southbound-plaintext: maybe\n", says: []string{`southbound-plaintext: "maybe": want true or false`}},
		{name: "text", file: "data-dir: [a, b]\n", says: []string{`data-dir: "[a, b]": want text`}},
		{name: "list", file: "etcd-endpoints: {a: b}\n", says: []string{`etcd-endpoints: "{a: b}": want a list of texts`}},
		{name: "twice", file: "audit: 1\naudit: 2\n", says: []string{`nagare.yaml:2: audit is set twice`}},
		{name: "no settings", file: "- audit\n", says: []string{"nagare.yaml:1: want settings, one a line, like `profile: classic`"}},
		{name: "two documents", file: "audit: 1\n---\naudit: 2\n", says: []string{"a second document begins"}},
		{name: "no yaml", file: "audit: [1\n", says: []string{"configuration nagare.yaml: yaml: line 1"}},
		{name: "variables", variables: map[string]string{"NAGARE_AUDIT": "1m", "NAGARE_SOUTHBOUND_PLAINTEXT": "si"},
			says: []string{`NAGARE_SOUTHBOUND_PLAINTEXT="si": want true or false`, `NAGARE_AUDIT="1m": want a whole number`}},
		{name: "all together", file: "audit: x\ncolour: red\nlldp: y\n", variables: map[string]string{"NAGARE_ADMIN_PORT": "http"},
			says: []string{"audit", "lldp", "colour", "NAGARE_ADMIN_PORT"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := load(t, "", tt.file, tt.variables)
			if err == nil {
				t.Fatal("no error")
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(tt.says) {
				t.Fatalf("%d faults, want %d:\n%v", len(lines), len(tt.says), err)
			}
			for i, line := range lines {
				if !strings.Contains(line, tt.says[i]) {
					t.Errorf("fault %d: %q does not say %q", i, line, tt.says[i])
				}
			}
		})
	}
}

// Every setting is reachable by all three ways, so that a new field of another kind cannot be forgotten.
func TestEverySettingByEveryWay(t *testing.T) {
	texts := map[reflect.Kind]string{reflect.String: "t", reflect.Int: "77", reflect.Bool: "true", reflect.Slice: "t"}
	defaults := app.Defaults()
	seen := map[string]bool{}
	eachSetting(&defaults, func(name, help string, v reflect.Value) {
		text := texts[v.Kind()]
		if v.Kind() == reflect.Bool {
			text = strconv.FormatBool(!v.Bool())
		}
		if name == "" || help == "" || text == "" || seen[name] {
			t.Fatalf("setting %q of kind %s: needs a yaml tag of its own, a help tag and a kind that flags have", name, v.Kind())
		}
		seen[name] = true
		variable := "NAGARE_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		byFlag, err1 := load(t, "--"+name+"="+text, "", nil)
		byVariable, err2 := load(t, "", "", map[string]string{variable: text})
		byFile, err3 := load(t, "", name+": "+text+"\n", nil)
		if err1 != nil || err2 != nil || err3 != nil {
			t.Fatalf("%s: %v, %v, %v", name, err1, err2, err3)
		}
		if !reflect.DeepEqual(byFlag, byVariable) || !reflect.DeepEqual(byFlag, byFile) {
			t.Errorf("%s: flag, variable and file differ:\n%+v\n%+v\n%+v", name, byFlag, byVariable, byFile)
		}
		if reflect.DeepEqual(byFlag, app.Defaults()) {
			t.Errorf("%s: setting it changes nothing", name)
		}
	})
}

// serve must end with the usage code and without opening anything when what it was told is wrong.
func TestServeRefusesAWrongCommandLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nagare.yaml")
	if err := os.WriteFile(file, []byte("audits: 5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name      string
		args      []string
		variables map[string]string
		says      string
	}{
		{"file with an unknown entry", []string{"serve", "--config", file}, nil, `no setting has the name "audits"`},
		{"file of the environment", []string{"serve"}, map[string]string{"NAGARE_CONFIG": file}, `no setting has the name "audits"`},
		{"no file", []string{"serve", "--config", file + ".old"}, nil, "nagare.yaml.old: no such file or directory; --config or NAGARE_CONFIG"},
		{"flag", []string{"serve", "--audit", "soon"}, nil, `invalid argument "soon" for "--audit"`},
		{"variable", []string{"serve"}, map[string]string{"NAGARE_LLDP": "often"}, `NAGARE_LLDP="often": want a whole number`},
		{"argument", []string{"serve", "now"}, nil, `"now"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("NAGARE_CONFIG", "")
			for name, value := range tt.variables {
				t.Setenv(name, value)
			}
			var stdout, stderr bytes.Buffer
			if code := Main(t.Context(), tt.args, &stdout, &stderr); code != exitUsage {
				t.Errorf("exit code %d, want %d", code, exitUsage)
			}
			if !strings.Contains(stderr.String(), tt.says) {
				t.Errorf("stderr %q does not say %q", stderr.String(), tt.says)
			}
		})
	}
}
