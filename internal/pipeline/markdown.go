// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"nagare/openflow"
)

// Markdown is the content of docs/pipeline.md.
func Markdown() string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("# The OpenFlow pipeline of br-int\n")
	p("Generated from `internal/pipeline` by `go generate ./internal/pipeline`; do not edit.\n")
	p("Two profiles share it. `standard` is the default: connection tracking, default deny. `classic` has the")
	p("eleven spine tables only, stateless and default allow; it is no security boundary.\n")
	p("`goto` only leads forward. A packet comes back to an earlier table by `resubmit` alone, where a table lists one.")
	p("A flow that breaks this declaration is refused before it reaches a switch.\n")

	p("## Tables\n")
	p("| table | name | profiles | miss | purpose |\n|---|---|---|---|---|")
	for _, t := range Tables(both) {
		p("| %d | [%s](#table-%d-%s) | %s | %s | %s |", t.ID, t.Name, t.ID, t.Name, t.Profiles, t.Miss, t.Purpose)
	}
	p("\n## Fields that carry state\n")
	p("| field | profiles | use |\n|---|---|---|")
	for _, u := range FieldUses {
		p("| %s | %s | %s |", u.Field, u.Profiles, u.Use)
	}
	p("\n## Cookies\n")
	p("Standard: `0x4e` (8 bit), kind (8), template (16), key of the object (32). A template of 0xffff is a flow that")
	p("several objects share. Classic: 0.\n")
	p("| kind | object |\n|---|---|")
	var kinds []CookieKind
	for k := range cookieKinds {
		kinds = append(kinds, k)
	}
	slices.Sort(kinds)
	for _, k := range kinds {
		p("| 0x%02x | %s |", uint8(k), k)
	}
	p("\n## Each table")
	for _, t := range Tables(both) {
		t.markdown(p)
	}
	return b.String()
}

func (t *Table) markdown(p func(string, ...any)) {
	p("\n### Table %d %s\n", t.ID, t.Name)
	p("%s\n", t.Purpose)
	p("- Match: %s", orNothing(fieldNames(t.Match)))
	p("- Actions: %s", orNothing(strings.Join(t.Kinds.names(), ", ")))
	if len(t.Sets) > 0 {
		p("- Writes: %s", fieldNames(t.Sets))
	}
	if len(t.Next) > 0 {
		p("- Next: %s", tableNames(t.Next))
	}
	if len(t.Back) > 0 {
		p("- Resubmits to: %s", tableNames(t.Back))
	}
	p("- Miss: %s", t.Miss)
	if len(t.Prios) == 0 {
		return
	}
	p("\n| priority | name | profiles | what |\n|---|---|---|---|")
	ps := slices.Clone(t.Prios)
	slices.SortStableFunc(ps, func(a, b Priority) int { return int(b.Value) - int(a.Value) })
	for _, n := range ps {
		v := fmt.Sprint(n.Value)
		if n.To != 0 {
			v += fmt.Sprintf("..%d", n.To)
		}
		p("| %s | %s | %s | %s |", v, n.Name, n.Profiles, n.What)
	}
}

func (k Kind) names() (out []string) {
	for i, name := range kindNames {
		if k&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	return out
}

func fieldNames(fs []*openflow.Field) string {
	var names []string
	for _, f := range fs {
		names = append(names, "`"+f.Name+"`")
	}
	return strings.Join(names, ", ")
}

func tableNames(ids []TableID) string {
	var names []string
	for _, id := range ids {
		names = append(names, id.String())
	}
	return strings.Join(names, ", ")
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}
