// SPDX-License-Identifier: Apache-2.0

package compat

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A script says what users type and what they must see. One command a line, as `user: words`; the lines below it, indented,
// check the output:
//
//	demo: network create n1 --tag a       a comment has a line of its own
//	  name=n1; mtu=1450; tags=["a"]       these fields of the object shown; other fields may be anything
//	  as n1                               remembers the object: $n1.id, $n1.mtu
//	demo: network list
//	  - ID=$n1.id; Name=n1                a row; the rows given are all rows, in any order
//	  + Name=n1                           a row that is among the rows
//	  rows 1
//	demo: network delete n1               without checks: the command must succeed and print nothing
//	demo: network show n1
//	  ! No Network found for n1           the command must fail and say so
//	demo: network list -f value -c Name
//	  out n1                              the whole output as printed, its spaces folded
//	demo: project cleanup --dry-run
//	  ~ net                               the output as printed has this
//
// A value is text, or JSON if the field is no text. "*" stands for anything but nothing; ~ before a text asks that it is part
// of the value; != before one that it is none. A row's first object is remembered by `as` too.
type script struct {
	*client
	name string
	vars map[string]map[string]any
	said func(args []string) // gets the commands that ended well
}

type scriptStep struct {
	line   int
	user   string
	args   []string
	checks []string
}

var word = regexp.MustCompile(`'[^']*'|[^\s']+`)

// parseScript gives the steps of a script.
func parseScript(text string) ([]scriptStep, error) {
	var steps []scriptStep
	for i, l := range strings.Split(text, "\n") {
		switch {
		case strings.TrimSpace(l) == "" || strings.HasPrefix(l, "#"):
		case strings.HasPrefix(l, "  "):
			if len(steps) == 0 {
				return nil, fmt.Errorf("line %d: a check without a command", i+1)
			}
			s := &steps[len(steps)-1]
			s.checks = append(s.checks, strings.TrimSpace(l))
		default:
			user, rest, ok := strings.Cut(l, ": ")
			if !ok {
				return nil, fmt.Errorf("line %d: want `user: command`, got %q", i+1, l)
			}
			args := word.FindAllString(rest, -1)
			for j := range args {
				args[j] = strings.Trim(args[j], "'")
			}
			steps = append(steps, scriptStep{line: i + 1, user: user, args: args})
		}
	}
	return steps, nil
}

var variable = regexp.MustCompile(`\$(\w+)\.([\w:]+)`)

func (s *script) expand(text string, fail func(string, ...any)) string {
	return variable.ReplaceAllStringFunc(text, func(v string) string {
		m := variable.FindStringSubmatch(v)
		value, ok := s.vars[m[1]][m[2]]
		if !ok {
			fail("%s is not known", v)
		}
		return shown(value)
	})
}

// shown is a value as scripts write it.
func shown(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	b, _ := json.Marshal(v) //nolint:errcheck // it came from JSON
	return string(b)
}

func matches(v any, want string) bool {
	got := shown(v)
	switch {
	case want == "*":
		return got != "" && got != "null" && got != "[]"
	case strings.HasPrefix(want, "~"):
		return strings.Contains(got, want[1:])
	case strings.HasPrefix(want, "!="):
		return got != want[2:]
	}
	var parsed any
	if _, text := v.(string); !text && json.Unmarshal([]byte(want), &parsed) == nil {
		want = shown(parsed) // with its keys in order
	}
	return got == want
}

// unlike gives the first of the fields that the object does not have as wanted.
func unlike(object map[string]any, fields string) string {
	for _, f := range strings.Split(fields, "; ") {
		name, want, ok := strings.Cut(f, "=")
		if strings.HasSuffix(name, "!") {
			name, want = strings.TrimSuffix(name, "!"), "!="+want
		}
		v, has := object[name]
		switch {
		case !ok || !has:
			return fmt.Sprintf("no field %q", name)
		case !matches(v, want):
			return fmt.Sprintf("%s is %s, want %s", name, shown(v), want)
		}
	}
	return ""
}

// run performs the steps. The first command that fails and should not ends the script, for what follows leans on it.
func (s *script) run(steps []scriptStep) {
	for _, st := range steps {
		said := func(format string, args ...any) string {
			return fmt.Sprintf("%s:%d: %s: openstack %s: %s", s.name, st.line, st.user, strings.Join(st.args, " "), fmt.Sprintf(format, args...))
		}
		fail := func(format string, args ...any) { s.t.Fatal(said(format, args...)) }
		wrong := func(format string, args ...any) { s.t.Error(said(format, args...)) }
		for i := range st.args {
			st.args[i] = s.expand(st.args[i], fail)
		}
		for i := range st.checks {
			st.checks[i] = s.expand(st.checks[i], fail)
		}
		s.step(st, fail, wrong)
	}
}

func (s *script) step(st scriptStep, fail, wrong func(string, ...any)) {
	o := &client{s.t, s.c, st.user, st.user}
	first := ""
	if len(st.checks) > 0 {
		first = st.checks[0]
	}
	args := st.args
	structured := first != "" && !strings.HasPrefix(first, "!") && !strings.HasPrefix(first, "out") && !strings.HasPrefix(first, "~ ")
	if structured {
		args = append(slices.Clone(args), "-f", "json")
	}
	out, errs, err := o.run(args...)
	if want, refused := strings.CutPrefix(first, "! "); refused {
		if err == nil || !strings.Contains(errs, want) {
			wrong("%v: got %q, want a failure that says %q", err, errs, want)
		}
		return
	}
	if err != nil {
		fail("%v: %s%s", err, errs, out)
	}
	s.said(st.args)
	if part, ok := strings.CutPrefix(first, "~ "); ok {
		if !strings.Contains(string(out), part) {
			wrong("prints %q without %q", out, part)
		}
		return
	}
	if !structured {
		if got, want := strings.Join(strings.Fields(string(out)), " "), strings.TrimSpace(strings.TrimPrefix(first, "out")); got != want {
			wrong("prints %q, want %q", got, want)
		}
		return
	}
	var object map[string]any
	var rows []map[string]any
	if json.Unmarshal(out, &object) != nil {
		if err := json.Unmarshal(out, &rows); err != nil {
			fail("%v in %s", err, out)
		}
		if len(rows) > 0 {
			object = rows[0]
		}
	}
	left, exact := slices.Clone(rows), false
	for _, c := range st.checks {
		word, rest, _ := strings.Cut(c, " ")
		switch word {
		case "as":
			s.vars[rest] = object
		case "rows":
			if n, err := strconv.Atoi(rest); err != nil || n != len(rows) {
				wrong("%d rows, want %s: %s", len(rows), rest, out)
			}
		case "+", "-":
			exact = exact || word == "-"
			i := slices.IndexFunc(left, func(r map[string]any) bool { return unlike(r, rest) == "" })
			if i < 0 {
				wrong("no row has %s: %s", rest, out)
				continue
			}
			left = slices.Delete(left, i, i+1)
		default:
			if rows != nil {
				fail("prints rows; check them with - or +: %s", c)
			}
			if u := unlike(object, c); u != "" {
				wrong("%s: %s", u, out)
			}
		}
	}
	if exact && len(left) > 0 {
		wrong("has rows besides: %v", left)
	}
}

// TestScriptParse: what scripts may say, and that a check that does not hold fails.
func TestScriptParse(t *testing.T) {
	steps, err := parseScript("# c\ndemo: network create 'a b' --tag x\n  name=a b; tags=[\"x\"]\n\ndemo: network delete n\n")
	if err != nil || len(steps) != 2 || !slices.Equal(steps[0].args, []string{"network", "create", "a b", "--tag", "x"}) || len(steps[0].checks) != 1 {
		t.Fatalf("parsed %+v, %v", steps, err)
	}
	for _, bad := range []string{"  name=x", "no user"} {
		if s, err := parseScript(bad); err == nil {
			t.Errorf("%q is taken as %+v", bad, s)
		}
	}
	o := map[string]any{"name": "a b", "tags": []any{"x", "y"}, "mtu": 1450.0, "qos": nil}
	for fields, holds := range map[string]bool{`name=a b; tags=["x", "y"]; mtu=1450; qos=null`: true, "name=a": false, "name=~a": true, "name=*": true, "qos=*": false,
		"mtu!=1450": false, "mtu!=1": true, "none=x": false, `tags=["x"]`: false} {
		if u := unlike(o, fields); (u == "") != holds {
			t.Errorf("%s: %q", fields, u)
		}
	}
}
