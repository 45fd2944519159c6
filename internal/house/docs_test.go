// SPDX-License-Identifier: Apache-2.0

package house

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// verbs are what a contributor may rely on.
var verbs = []string{"build", "demo", "test", "race", "lint", "fuzz", "e2e", "e2e-vm", "bench", "compat", "soak", "docs", "setup", "help"}

var (
	makeRule  = regexp.MustCompile(`(?m)^([a-z][a-z0-9-]*):([^#\n]*)(?:## (.+))?$`)
	makePhony = regexp.MustCompile(`(?m)^\.PHONY: (.+)$`)
	makeUse   = regexp.MustCompile("(?:^|[ `])make ([a-z][a-z0-9-]+)\\b")
	mdLink    = regexp.MustCompile(`\]\(([^)#: ]+)(?:#[^)]*)?\)`)
)

func TestMakeVerbs(t *testing.T) {
	tree := load(t)
	makefile := tree.read(t, "Makefile")
	help := map[string]string{}
	for _, m := range makeRule.FindAllStringSubmatch(makefile, -1) {
		help[m[1]] = m[3]
	}
	for _, verb := range verbs {
		if help[verb] == "" {
			t.Errorf("Makefile: verb %s is missing or has no \"## help\" text", verb)
		}
	}
	var phony []string
	for _, m := range makePhony.FindAllStringSubmatch(makefile, -1) {
		phony = append(phony, strings.Fields(m[1])...)
	}
	for target := range help {
		if !slices.Contains(phony, target) {
			t.Errorf("Makefile: %s is not .PHONY; a file of that name would silence it", target)
		}
	}
	for target, text := range help {
		if text != "" && !slices.Contains(verbs, target) {
			t.Errorf("Makefile: help shows %s, which is not a verb of the house", target)
		}
	}
}

func TestReadmeStartsWithTwoCommands(t *testing.T) {
	tree := load(t)
	_, rest, found := strings.Cut(tree.read(t, "README.md"), "\n## Quick start\n")
	if !found {
		t.Fatal("README.md: no section \"Quick start\"")
	}
	section, _, _ := strings.Cut(rest, "\n## ")
	var commands []string
	for line := range strings.Lines(section) {
		if command, ok := strings.CutPrefix(line, "    "); ok {
			commands = append(commands, strings.TrimSpace(command))
		}
	}
	if want := []string{"make demo", "make test"}; !slices.Equal(commands, want) {
		t.Errorf("README.md: quick start has the commands %q, want exactly %q: they do all set-up themselves", commands, want)
	}
}

func TestDocumentsNameRealVerbs(t *testing.T) {
	tree := load(t)
	for _, name := range tree.files {
		if !strings.HasSuffix(name, ".md") {
			continue
		}
		for _, m := range makeUse.FindAllStringSubmatch(tree.read(t, name), -1) {
			// Prose may say "make it"; a verb is meant where it stands as code.
			if strings.Contains(m[0], "`") && !slices.Contains(verbs, m[1]) {
				t.Errorf("%s: names make %s, which does not exist", name, m[1])
			}
		}
	}
}

func TestDocumentsLinkToFiles(t *testing.T) {
	tree := load(t)
	for _, name := range tree.files {
		if !strings.HasSuffix(name, ".md") {
			continue
		}
		for _, m := range mdLink.FindAllStringSubmatch(tree.read(t, name), -1) {
			target := path.Join(path.Dir(name), m[1])
			known := slices.ContainsFunc(tree.files, func(f string) bool { return within(f, target) })
			if !known {
				t.Errorf("%s: links to %s, which does not exist", name, m[1])
			}
		}
	}
}

var packageName = regexp.MustCompile("`((?:openflow|ovsdb|internal|cmd|test|bench)[a-z0-9/]*)`")

// The map in ARCHITECTURE.md and the tree must be of one mind.
func TestArchitectureNamesEveryPackage(t *testing.T) {
	tree := load(t)
	text := tree.read(t, "docs/ARCHITECTURE.md")
	_, rest, _ := strings.Cut(text, "\n## The map\n")
	section, _, _ := strings.Cut(rest, "\n## ")
	named := packageName.FindAllStringSubmatch(section, -1)
	if len(named) < 10 {
		t.Fatalf("docs/ARCHITECTURE.md: the map names %d packages", len(named))
	}
	for _, dir := range tree.dirs() {
		in := slices.ContainsFunc(named, func(m []string) bool { return within(dir, strings.TrimSuffix(m[1], "/")) })
		if !in {
			t.Errorf("docs/ARCHITECTURE.md: the map does not name %s", dir)
		}
	}
	for line := range strings.Lines(section) {
		if strings.Contains(line, "(planned)") {
			section = strings.Replace(section, line, "", 1)
		}
	}
	for _, m := range packageName.FindAllStringSubmatch(section, -1) {
		in := slices.ContainsFunc(tree.dirs(), func(dir string) bool { return within(dir, strings.TrimSuffix(m[1], "/")) })
		if !in {
			t.Errorf("docs/ARCHITECTURE.md: the map names %s, which does not exist; mark its line (planned)", m[1])
		}
	}
}

// Every module that our code imports, tests included, has its line with a reason.
func TestDependenciesHaveTheirReason(t *testing.T) {
	const adr = "docs/adr/0005-dependencies.md"
	tree := load(t)
	var named []string
	for _, m := range regexp.MustCompile("`([a-z0-9.-]+\\.[a-z]+/[^` ]+)`").FindAllStringSubmatch(tree.read(t, adr), -1) {
		named = append(named, m[1])
	}
	for _, dir := range tree.dirs() {
		for _, imports := range []map[string][]string{tree.pkgs[dir].imports, tree.pkgs[dir].tests} {
			for _, imported := range sortedKeys(imports) {
				if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
					continue
				}
				if !slices.ContainsFunc(named, func(mod string) bool { return within(imported, mod) }) {
					t.Errorf("%s: imports %s, whose module has no line in %s", strings.Join(imports[imported], ", "), imported, adr)
				}
			}
		}
	}
}

var (
	flagTag   = regexp.MustCompile("`yaml:\"([a-z][a-z0-9-]*)\"")
	flagNamed = regexp.MustCompile("(?m)^\\| `--([a-z][a-z0-9-]*)")
)

// The settings of serve as internal/app declares them (flags, variables and the
// file share their names) and as operating.md explains them are the same set.
func TestOperatingExplainsEveryFlagOfServe(t *testing.T) {
	tree := load(t)
	_, config, _ := strings.Cut(tree.read(t, "internal/app/config.go"), "\ntype Config struct {\n")
	config, _, _ = strings.Cut(config, "\n}\n")
	declared := []string{"config"} // names the file, so it cannot stand in it
	for _, m := range flagTag.FindAllStringSubmatch(config, -1) {
		declared = append(declared, m[1])
	}
	if len(declared) < 5 {
		t.Fatalf("internal/app/config.go: found the settings %q only", declared)
	}
	_, rest, _ := strings.Cut(tree.read(t, "docs/operating.md"), "\n## Flags of serve\n")
	section, _, _ := strings.Cut(rest, "\n## ")
	var explained []string
	for _, m := range flagNamed.FindAllStringSubmatch(section, -1) {
		explained = append(explained, m[1])
	}
	for _, flag := range declared {
		if !slices.Contains(explained, flag) {
			t.Errorf("docs/operating.md: does not explain serve --%s", flag)
		}
	}
	for _, flag := range explained {
		if !slices.Contains(declared, flag) {
			t.Errorf("docs/operating.md: explains serve --%s, which does not exist", flag)
		}
	}
}
