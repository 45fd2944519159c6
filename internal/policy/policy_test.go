// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// object is a target of tests.
type object map[string]string

func (o object) Value(name string) (string, bool) { v, ok := o[name]; return v, ok }
func (o object) Field(coll, name string) (string, bool) {
	v, ok := o[coll+"/"+name]
	return v, ok
}

var known = []Default{
	{"admin_only", "role:admin"}, {"admin_or_owner", "rule:admin_only or project_id:%(project_id)s"},
	{"create_network", "rule:admin_or_owner"}, {"create_network:shared", "rule:admin_only"}, {"get_network", "@"},
}

func TestChecks(t *testing.T) {
	member := &Creds{UserID: "u", ProjectID: "p", Roles: []string{"Member", "netops"}, Writer: true}
	nobody := &Creds{UserID: "u", Roles: []string{"reader"}, System: true}
	mine := object{"project_id": "p", "tenant_id": "p", "shared": "True", "name": "a b:c", "networks/shared": "True", "port/device_owner": "network:dhcp", "empty": ""}
	for text, want := range map[string]string{ // for whom it holds: member, nobody
		"": "mn", "@": "mn", "!": "", "not !": "mn",
		"role:member": "m", "ROLE:member": "error", "role:admin": "", "role:%(name)s": "",
		"project_id:%(project_id)s": "m", "tenant_id:%(tenant_id)s": "m", "project_id:p": "m", "project_id:%(missing)s": "", "tenant:%(tenant_id)s": "m",
		"project_id:%(empty)s": "", // who has no project does not own what has none
		"user_id:u":            "mn", "is_admin:True": "", "is_admin:False": "mn", "system_scope:all": "n", "writer:True": "m",
		"field:networks:shared=True": "mn", "field:networks:shared=true": "mn", "field:networks:shared=False": "", "field:ports:shared=True": "",
		"field:port:device_owner=~^network:": "mn", "field:port:device_owner=~dhcp": "", "field:port:device_owner=network:dhcp": "mn",
		"True:%(shared)s": "mn", "'True':%(shared)s": "mn", "None:%(shared)s": "", "'a:b':%(name)s": "",
		"role:member and not role:admin":              "m",
		"not role:member and not role:admin":          "n",
		"not (role:member or role:reader)":            "",
		"role:admin or role:member and ! or role:x":   "",
		"(role:admin or role:member) and @":           "m",
		"((role:reader) or ((rule:create_network)))":  "mn",
		"rule:admin_or_owner AND project_id:p":        "m",
		"rule:create_network:shared OR role:netops":   "m",
		"role:member and (project_id:%(project_id)s)": "m",

		"role": "error", "role:": "error", "(role:a": "error", "role:a)": "error", "role:a role:b": "error", "and role:a": "error", "not": "error",
		"role:a or": "error", "()": "error", "http://x/%(id)s": "error", "nonsense:1": "error", "field:networks:shared": "error", "field:shared=True": "error",
		"field:a:b=~(": "error", "project_id:%(project_id)": "error", "project_id:%()s": "error", "'a:b": "error", "'a'b:c": "error", "rule:undefined": "error",
		"rule:create_network": "error", strings.Repeat("(", 5000): "error",
	} {
		file := `"create_network": "` + text + `"`
		if strings.Contains(text, "rule:create_network)") || strings.Contains(text, "rule:create_network:") {
			file = `"get_network": "` + text + `"`
		}
		name := file[1:strings.Index(file, `":`)]
		s, err := Load([]byte(file), known)
		if err != nil || want == "error" {
			if err == nil || want != "error" || !strings.HasPrefix(err.Error(), `line 1: rule "`+name+`": `) {
				t.Errorf("%s: %v, want %s", text, err, want)
			}
			continue
		}
		got := ""
		for who, c := range map[string]*Creds{"m": member, "n": nobody} {
			if may, decided := s.May(name, mine, c); !decided {
				t.Errorf("%s: not decided", text)
			} else if may {
				got += who
			}
		}
		if got == "nm" {
			got = "mn"
		}
		if got != want {
			t.Errorf("%q holds for %q, want %q", text, got, want)
		}
	}
}

// TestDecides: a file decides what it names and whatever refers to that, and no more.
func TestDecides(t *testing.T) {
	s, err := Load([]byte("# of the site\nadmin_only: role:boss\n"), known)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"admin_only": true, "admin_or_owner": true, "create_network": true, "create_network:shared": true, "get_network": false, "x": false} {
		if s.Decides(name) != want {
			t.Errorf("%s: decided %v", name, !want)
		}
	}
	boss := &Creds{Roles: []string{"boss"}}
	if may, _ := s.May("create_network:shared", Nothing{}, boss); !may {
		t.Error("the new administrator is none")
	}
	if may, _ := s.May("create_network:shared", Nothing{}, &Creds{Roles: []string{"admin"}}); may {
		t.Error("the old administrator is one still")
	}
	if !s.Check("get_network", Nothing{}, boss) || s.Check("x", Nothing{}, boss) {
		t.Error("Check")
	}
	for _, empty := range []string{"", "# nothing\n", "---\n", "{}", "null"} {
		if s, err := Load([]byte(empty), known); err != nil || s.Decides("create_network") {
			t.Errorf("%q: %v", empty, err)
		}
	}
}

func TestFaults(t *testing.T) {
	for file, want := range map[string]string{
		"{\n\t\"get_network\": \"!\",\n\t\"create_network\": \"role:a\"\n}":                                      "", // JSON, with tabs
		"\"site\": \"role:netops\"\n\"create_network\": \"rule:site or rule:nested\"\n\"nested\": \"rule:site\"": "",
		"# x\n\n\"create_netwrok\": \"\"": `line 3: rule "create_netwrok": there is no rule of this name, and no other rule of the file refers to it; is it "create_network"?`,
		"get_network: \"rule:admn_only\"": `line 1: rule "get_network": rule:admn_only is not defined; is it "admin_only"?`,
		"get_network: \"rule:create_network\"\ncreate_network: \"not rule:get_network\"": `line 1: rule "get_network": it refers to itself: get_network -> create_network -> get_network` + "\n" +
			`line 2: rule "create_network": it refers to itself: create_network -> get_network -> create_network`,
		"alias: \"rule:alias\"":                     `line 1: rule "alias": there is no rule of this name, and no other rule of the file refers to it` + "\n" + `line 1: rule "alias": it refers to itself: alias -> alias`,
		"get_network: \"!\"\nget_network: \"@\"":    `line 2: rule "get_network": it was in line 1 before`,
		"get_network: [[\"role:a\"]]":               `line 1: rule "get_network": want a check string in quotes; the old form of lists is not read`,
		"get_network: true":                         `line 1: rule "get_network": want a check string in quotes; the old form of lists is not read`,
		"get_network: role:a or\ncreate_network: (": `line 1: rule "get_network": it ends where a check is wanted` + "\n" + `line 2: rule "create_network": it ends where a check is wanted`,
		"- get_network":                             `line 1: want a mapping of rules to check strings`,
		"just text":                                 `line 1: want a mapping of rules to check strings`,
		strings.Repeat("#", maxFile+1):              "longer than 1048576 bytes",
	} {
		_, err := Load([]byte(file), known)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%.80q:\n got %s\nwant %s", file, got, want)
		}
	}
	if _, err := Load([]byte("a: [\n"), known); err == nil {
		t.Error("broken YAML is read")
	}
}

// TestFiles: several files are one, the last of equal rules counts, and faults name their file.
func TestFiles(t *testing.T) {
	load := func(texts ...string) (*Set, error) {
		var files []File
		for i, text := range texts {
			files = append(files, File{string(rune('a' + i)), []byte(text)})
		}
		return LoadAll(files, known)
	}
	boss := &Creds{Roles: []string{"boss"}}
	s, err := load(`"create_network": "rule:site"`, `"site": "role:nobody"`, `"site": "role:boss"`)
	if err != nil {
		t.Fatal(err)
	}
	if may, decided := s.May("create_network", Nothing{}, boss); !may || !decided {
		t.Errorf("the last one's rule: %v %v", may, decided)
	}
	for _, c := range []struct {
		texts []string
		want  string
	}{
		{[]string{`"get_network": "rule:x"`, `"get_network": "@"`}, ""}, // replaced, and with it what it refers to
		{[]string{`"get_network": "rule:create_network"`, `"create_network": "rule:get_network"`, `"get_network": "@"`}, ""},
		{[]string{`"get_network": "role:"`, `"get_network": "@"`}, `a: line 1: rule "get_network": "role:" is no check: want kind:match, e.g. role:member, rule:admin_only, project_id:%(project_id)s`},
		{[]string{`"get_network": "@"`, "\n\"get_netwrk\": \"@\""}, `b: line 2: rule "get_netwrk": there is no rule of this name, and no other rule of the file refers to it; is it "get_network"?`},
		{[]string{`"get_network": "rule:create_network"`, `"create_network": "rule:get_network"`}, `a: line 1: rule "get_network": it refers to itself: get_network -> create_network -> get_network` + "\n" +
			`b: line 1: rule "create_network": it refers to itself: create_network -> get_network -> create_network`},
		{[]string{`"mine": "@"`, `"mine": "@"`}, `b: line 1: rule "mine": there is no rule of this name, and no other rule of the file refers to it`}, // once
		{[]string{"- x", "", "just text"}, "a: line 1: want a mapping of rules to check strings\nc: line 1: want a mapping of rules to check strings"},
	} {
		_, err := load(c.texts...)
		if got := fmt.Sprint(err); got != c.want && (err != nil || c.want != "") {
			t.Errorf("%q:\n got %s\nwant %s", c.texts, got, c.want)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("get_network: \"not (role:a or field:networks:shared=~x) and 'a':%(b)s\"", "p")
	f.Fuzz(func(t *testing.T, file, project string) {
		s, err := Load([]byte(file), known)
		if err != nil {
			return
		}
		for _, d := range known {
			s.May(d.Name, object{"project_id": project}, &Creds{ProjectID: project})
		}
	})
}
