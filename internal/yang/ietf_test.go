// SPDX-License-Identifier: Apache-2.0

package yang

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	goyang "github.com/openconfig/goyang/pkg/yang"

	"nagare/internal/repro"
)

// The modules of the IETF are texts of this program that mean what those of the RFCs do. The latter come with libyang, and are read
// here where they are installed.
const (
	inetTypes, yangTypes = "ietf-inet-types", "ietf-yang-types"
	libyangModules       = "/usr/share/yang/modules/libyang"
)

var ietf = []string{"ietf-datastores", inetTypes, "ietf-yang-library", yangTypes}

// typeValues are values that each type of RFC 6991 has and, after the bar, some that it has not; empty stands for the empty text.
var typeValues = map[string]map[string]string{
	inetTypes: {
		"ip-version":      "unknown ipv4 ipv6 | IPv4 1",
		"dscp":            "0 63 | 64 -1 x",
		"ipv6-flow-label": "0 1048575 | 1048576 -1",
		"port-number":     "0 22 65535 | 65536 -1 ssh",
		"as-number":       "0 65000 4294967295 | 4294967296 1.1",
		"ip-address":      "10.0.0.1 10.0.0.1%eth0 fe80::1%2 :: | 10.0.0 10.0.0.1/8 ::1::",
		"ipv4-address":    "0.0.0.0 9.10.99.100 199.200.249.250 255.255.255.255 10.0.0.1%eth0 | 256.0.0.1 1.2.3 1.2.3.4.5 01.2.3.4 1.2.3.4% 1.2.3.4%a-b ::1 1.2.3.300",
		"ipv6-address": "1:2:3:4:5:6:7:8 :: ::1 1:: 1:2:3:4:5:6:7:: ::2:3:4:5:6:7:8 1::3:4:5:6:7:8 1:2:3::6:7:8 2001:DB8::a:0 fe80::1%eth0 fe80::%2 1:2:3:4:5:6:7::%z " +
			"1:2:3:4:5:6:7:8%9 ::ffff:10.0.0.1 ::10.0.0.1 1:2:3:4:5:6:10.0.0.1 1:2:3:4:5::10.0.0.1 1::2:3:4:5:10.0.0.1 ::1:2:3:4:5:10.0.0.1%z 64:ff9b::255.249.199.99 | " +
			"empty 1 : ::: 1: :1 1:2:3:4:5:6:7 1:2:3:4:5:6:7:8:9 1::2::3 1:::2 :1:2:3:4:5:6:7:8 1:2:3:4:5:6:7:8: 1::2:3:4:5:6:7:8 1:2:3:4:5:6:7:8:: ::1:2:3:4:5:6:7:8 12345::1 g:: " +
			"::1% ::1%a:b ::1/64 1.2.3.4 1:2:3:4:5:6:7:1.2.3.4 1:2:3:4:5:1.2.3.4 1:2:3:4:5:6::1.2.3.4 1::2:3:4:5:6:1.2.3.4 ::1.2.3 ::1.2.3.256 ::1.2.3.4:5 ::1.2.3.4.5 1::2.2.2.2:: 1:2:3:4:5:6:7:%z",
		"ip-address-no-zone":   "10.0.0.1 ::1 | 10.0.0.1%1 ::1%1 x",
		"ipv4-address-no-zone": "10.0.0.1 | 10.0.0.1%1 10.0.0.256 ::1",
		"ipv6-address-no-zone": "::1 ::1.2.3.4 | ::1%1 1::2:3:4:5:6:7:8 10.0.0.1",
		"ip-prefix":            "0.0.0.0/0 ::/0 | 0.0.0.0/33 ::/129 10.0.0.1",
		"ipv4-prefix":          "10.0.0.0/8 10.0.0.0/0 10.0.0.0/19 10.0.0.0/29 10.0.0.1/32 | 10.0.0.0 10.0.0.0/ 10.0.0.0/33 10.0.0.0/40 10.0.0.0/08 10.0.0/8 10.0.0.0%1/8 ::/0",
		"ipv6-prefix": "::/0 2001:db8::/32 fe80::/64 ::1/128 ::/119 ::/99 1:2:3:4:5:6:7::/112 1:2:3:4:5:6:7:8/128 ::ffff:10.0.0.0/104 | " +
			":: ::/ ::/129 ::/130 ::/200 ::/1000 1::2::/64 1::2:3:4:5:6:7:8/128 1:2:3/48 1:2:3:4:5:6::1.2.3.4/128 ::%1/64 10.0.0.0/8 1:2:3:4:5:6:7:/128",
		"domain-name": ". a a. example.org example.org. _sip._tcp.example.org x--y.1 " + strings.Repeat("a", 63) + ".b " + strings.Repeat("a.", 125) + "bcd | " +
			"empty .. a..b .a -a a- _ a_ a.b- ä.org " + strings.Repeat("a", 64) + ".b " + strings.Repeat("a.", 126) + "bc",
		"host": "10.0.0.1 ::1 example.org ::1%1 | -a ::1%",
		"uri":  "http://h/ urn:x empty |",
	},
	yangTypes: {
		"counter32":             "0 4294967295 | 4294967296 -1",
		"zero-based-counter32":  "0 4294967295 | 4294967296",
		"counter64":             "0 18446744073709551615 | 18446744073709551616 -1",
		"zero-based-counter64":  "0 18446744073709551615 | 18446744073709551616",
		"gauge32":               "0 4294967295 | 4294967296 -1",
		"gauge64":               "0 18446744073709551615 | 18446744073709551616",
		"object-identifier":     "0.0 1.39 1.3.6.1.4.1 2.999.0 2.0 0.9.0.10" + strings.Repeat(".1", 200) + " | 0 3.1 1.40 1.3. .1.3 1..3 1.3.01 2.01 1.3.x",
		"object-identifier-128": "1.3" + strings.Repeat(".1", 126) + " | 1 1.40 1.3" + strings.Repeat(".1", 127),
		"yang-identifier":       "a _ ab x xm xM- xma nagare-types a1.b-c xmn yml | 1a -a a:b xml XML xMlfoo ä a/b",
		"date-and-time": "2026-11-22T21:00:00Z 2026-11-22T21:00:00.125Z 2026-11-22T21:00:00+01:00 2026-11-22T21:00:00.1-00:00 | " +
			"2026-11-22 2026-11-22T21:00Z 2026-11-22T21:00:00 2026-11-22T21:00:00.Z 2026-11-22T21:00:00+0100 26-11-22T21:00:00Z 2026-11-22t21:00:00z",
		"timeticks":    "0 4294967295 | 4294967296 -1",
		"timestamp":    "0 4294967295 | 4294967296",
		"phys-address": "empty 00 00:aF 00:11:22:33:44:55:66:77 | 0 00: :00 00-11 0g 000",
		"mac-address":  "00:11:22:aa:BB:ff | 00:11:22:aa:bb 00:11:22:aa:bb:cc:dd 00-11-22-aa-bb-cc 0:1:2:3:4:5 gg:11:22:33:44:55",
		"xpath1.0":     "empty /a/b[c='d'] |",
		"hex-string":   "empty 00 de:AD:00 | 0 0x00 de:ad: :00 dead",
		"uuid":         "f81d4fae-7dec-11d0-a765-00a0c91e6bf6 F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6 | f81d4fae7dec11d0a76500a0c91e6bf6 g81d4fae-7dec-11d0-a765-00a0c91e6bf6 f81d4fae-7dec-11d0-a765-00a0c91e6bf",
		"dotted-quad":  "0.0.0.0 255.249.199.99 | 256.0.0.0 1.2.3 1.2.3.4%1 1.2.3.04",
	},
}

// valuesOf gives the accepted and the refused ones of a type.
func valuesOf(text string) (good, bad []string) {
	a, b, _ := strings.Cut(text, "|")
	good, bad = strings.Fields(a), strings.Fields(b)
	for _, list := range [][]string{good, bad} {
		for i, v := range list {
			if v == "empty" {
				list[i] = ""
			}
		}
	}
	return good, bad
}

// eachType calls f with the types in the order of their names.
func eachType(f func(module, name string)) {
	for _, module := range []string{inetTypes, yangTypes} {
		for _, name := range slices.Sorted(maps.Keys(typeValues[module])) {
			f(module, name)
		}
	}
}

// valuesModule has a leaf-list of each type; the modules of the types are called prefix and the end of their names.
func valuesModule(prefix string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "module values { yang-version 1.1; namespace urn:values; prefix v; import %sinet-types { prefix inet; } import %syang-types { prefix yang; }\n"+
		"revision 2026-01-01; container values { config false;\n", prefix, prefix)
	eachType(func(module, name string) {
		fmt.Fprintf(&b, "leaf-list %s-%s { type %[1]s:%[2]s; }\n", module[5:9], name)
	})
	return b.String() + "} }"
}

// typesOf loads the modules of types from a directory and gives the types.
func typesOf(t *testing.T, dir fs.FS) map[string]*Type {
	t.Helper()
	all := fstest.MapFS{"values.yang": {Data: []byte(valuesModule("ietf-"))}}
	for _, m := range []string{inetTypes, yangTypes} {
		all[m+".yang"] = &fstest.MapFile{Data: moduleText(t, dir, m)}
	}
	s, err := Load(all)
	if err != nil {
		t.Fatal(err)
	}
	root, _ := s.Root("values:values")
	out := map[string]*Type{}
	for _, n := range root.Children {
		out[n.Name] = n.Type
	}
	return out
}

// moduleText reads a module, with or without a revision in the file's name.
func moduleText(t *testing.T, dir fs.FS, name string) []byte {
	t.Helper()
	files, err := fs.Glob(dir, name+"[.@]*yang")
	if err != nil || len(files) != 1 {
		t.Fatalf("%s: %v, %v", name, files, err)
	}
	text, err := fs.ReadFile(dir, files[0])
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// public gives the modules as the RFCs have them.
func public(t *testing.T) fs.FS {
	t.Helper()
	dir := os.DirFS(libyangModules)
	for _, m := range ietf {
		if files, _ := fs.Glob(dir, m+"@*.yang"); len(files) == 0 {
			t.Skipf("%s has no %s", libyangModules, m)
		}
	}
	return dir
}

// TestValuesOfTypes: each type of ours has the values that it should, and not those that it should not.
func TestValuesOfTypes(t *testing.T) {
	ours := typesOf(t, os.DirFS("modules"))
	eachType(func(module, name string) {
		typ := ours[module[5:9]+"-"+name]
		good, bad := valuesOf(typeValues[module][name])
		for _, v := range good {
			if _, err := typ.Parse(v, nil); err != nil {
				t.Errorf("%s %s: %q is refused: %v", module, name, v, err)
			}
		}
		for _, v := range bad {
			if _, err := typ.Parse(v, nil); err == nil {
				t.Errorf("%s %s: %q is taken", module, name, v)
			}
		}
	})
}

// TestValuesByYanglint: the same by libyang, which reads the patterns itself. It has types of these names built in, and would take those
// instead; so ours are called otherwise here.
func TestValuesByYanglint(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for _, m := range []string{inetTypes, yangTypes} {
		other := strings.Replace(m, "ietf", "our", 1)
		write(other+".yang", strings.ReplaceAll(string(moduleText(t, os.DirFS("modules"), m)), m, other))
	}
	module := write("values.yang", valuesModule("our-"))
	instance := func(module, name string, all ...string) string {
		var b strings.Builder
		tag := module[5:9] + "-" + name
		for _, v := range all {
			b.WriteString("<" + tag + ">" + v + "</" + tag + ">")
		}
		return b.String()
	}
	lint := func(elements string) ([]byte, error) {
		return exec.Command("yanglint", "-p", dir, "-t", "get", module, write("data.xml", `<values xmlns="urn:values">`+elements+"</values>")).CombinedOutput()
	}
	var all strings.Builder
	eachType(func(module, name string) {
		good, bad := valuesOf(typeValues[module][name])
		all.WriteString(instance(module, name, good...))
		for _, v := range bad {
			if out, err := lint(instance(module, name, v)); err == nil || !strings.Contains(string(out), `Data location "/values:values/`) {
				t.Errorf("%s %s: %q: want it refused, got %v %s", module, name, v, err, out)
			}
		}
	})
	if out, err := lint(all.String()); err != nil || len(out) > 0 {
		t.Errorf("%v %s", err, out)
	}
}

// noLastGroup is what RFC 6991's patterns take although it is no address: a group between : and a zone or length may be missing.
var noLastGroup = regexp.MustCompile(`[^:]:[%/]`)

// TestValuesOfRFC: on what is written above, and what little changes make of it, the types of the RFC's own modules judge alike.
func TestValuesOfRFC(t *testing.T) {
	theirs, ours := typesOf(t, public(t)), typesOf(t, os.DirFS("modules"))
	random := repro.Rand(6991, 1)
	const letters = "0123459afgxmlXMLzTZ::..//%%-_+ :"
	eachType(func(module, name string) {
		a, b := ours[module[5:9]+"-"+name], theirs[module[5:9]+"-"+name]
		if b == nil || a.Base != b.Base || !slices.Equal(a.names, b.names) {
			t.Errorf("%s %s is another type", module, name)
			return
		}
		good, bad := valuesOf(typeValues[module][name])
		for _, from := range slices.Concat(good, bad) {
			for i := range repro.Rounds(60, 600) {
				v := from
				for range i % 4 { // none the first time
					at, c := random.IntN(len(v)+1), string(letters[random.IntN(len(letters))])
					switch k := min(at+1, len(v)); random.IntN(3) {
					case 0:
						v = v[:at] + c + v[at:]
					case 1:
						v = v[:at] + v[k:]
					default:
						v = v[:at] + c + v[k:]
					}
				}
				_, errA := a.Parse(v, nil)
				_, errB := b.Parse(v, nil)
				if (errA == nil) != (errB == nil) && !(errA != nil && noLastGroup.MatchString(v)) {
					t.Fatalf("%s %s: %q: ours says %v, the RFC's %v", module, name, v, errA, errB)
				}
			}
		}
	})
}

// TestIETF: trees, names of types and identities, revisions and namespaces are the RFCs'.
func TestIETF(t *testing.T) {
	dir := public(t)
	for _, m := range ietf {
		ours, theirs := outline(t, m, os.DirFS("modules")), outline(t, m, dir)
		if ours != theirs {
			t.Errorf("%s:\n%s\nthe RFC's:\n%s", m, ours, theirs)
		}
		if strings.Contains(m, "types") { // which libyang has built in
			continue
		}
		files, _ := filepath.Glob(filepath.Join(libyangModules, m+"@*.yang"))
		var trees [2]string
		for i, args := range [][]string{{"modules", "modules/" + m + ".yang"}, {libyangModules, files[0]}} {
			out, err := exec.Command("yanglint", "-p", args[0], "-f", "tree", args[1]).CombinedOutput()
			if err != nil {
				t.Fatalf("%v %s", err, out)
			}
			trees[i] = string(out)
		}
		if trees[0] != trees[1] {
			t.Errorf("%s:\n%s\nthe RFC's:\n%s", m, trees[0], trees[1])
		}
	}
}

// outline says what a module is and which names it gives to types, identities and groupings.
func outline(t *testing.T, name string, dir fs.FS) string {
	t.Helper()
	all := goyang.NewModules()
	if err := all.Parse(string(moduleText(t, dir, name)), name); err != nil {
		t.Fatal(err)
	}
	m := all.Modules[name]
	var out []string
	for _, x := range m.Typedef {
		text := "typedef " + x.Name + " " + x.Type.Name
		if x.Default != nil {
			text += " = " + x.Default.Name
		}
		for _, e := range x.Type.Enum {
			text += " " + e.Name + "=" + e.Value.Name
		}
		for _, u := range x.Type.Type {
			text += " | " + u.Name
		}
		out = append(out, text)
	}
	for _, x := range m.Identity {
		text := "identity " + x.Name
		for _, b := range x.Base {
			text += " " + b.Name
		}
		out = append(out, text)
	}
	for _, x := range m.Grouping {
		out = append(out, "grouping "+x.Name)
	}
	for _, x := range m.Revision {
		out = append(out, "revision "+x.Name)
	}
	slices.Sort(out)
	return m.Namespace.Name + " " + m.Prefix.Name + " " + fmt.Sprint(m.YangVersion != nil) + "\n" + strings.Join(out, "\n")
}

// TestEveryTypeHasValues: a type that is added is tried above.
func TestEveryTypeHasValues(t *testing.T) {
	for _, m := range []string{inetTypes, yangTypes} {
		all := goyang.NewModules()
		if err := all.Parse(string(moduleText(t, os.DirFS("modules"), m)), m); err != nil {
			t.Fatal(err)
		}
		for _, x := range all.Modules[m].Typedef {
			if _, ok := typeValues[m][x.Name]; !ok {
				t.Errorf("typeValues has nothing of %s:%s", m, x.Name)
			}
		}
	}
}
