// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Default is a rule that the caller has built in, and what it says as a check string.
type Default struct{ Name, Check string }

// Set is what a file decides.
type Set struct {
	rules   map[string]check
	named   map[string]bool // in the file
	decided map[string]bool // and whatever refers to that
}

// File is a policy file with the name by which errors call it.
type File struct {
	Name string
	Data []byte
}

// maxFile bounds a policy file.
const maxFile = 1 << 20

// Load reads a policy file, a YAML or JSON mapping of names to check strings. A name is one of the known ones, or an alias that other
// rules of the file refer to. All faults are reported together.
func Load(data []byte, known []Default) (*Set, error) { return LoadAll([]File{{"", data}}, known) }

// LoadAll reads several files as if they were one: rules of one may refer to those of another, and of a rule that several have the last
// one counts, as with oslo.policy's policy_dirs.
func LoadAll(files []File, known []Default) (*Set, error) {
	var entries []entry
	var unread []error
	for _, f := range files {
		es, err := read(f.Data)
		for i := range es {
			es[i].file = f.Name
		}
		if err != nil && f.Name != "" {
			err = fmt.Errorf("%s: %w", f.Name, err)
		}
		entries, unread = append(entries, es...), append(unread, err)
	}
	if err := errors.Join(unread...); err != nil {
		return nil, err
	}
	s := &Set{rules: make(map[string]check, len(known)+len(entries)), named: map[string]bool{}, decided: map[string]bool{}}
	builtin := make(map[string]bool, len(known))
	for _, d := range known {
		x, err := parse(d.Check)
		if err != nil {
			return nil, fmt.Errorf("default of rule %q: %w", d.Name, err)
		}
		s.rules[d.Name], builtin[d.Name] = x, true
	}
	var faults []error
	referred := map[string]bool{}
	var good []entry
	for _, e := range entries {
		x, err := parse(e.text)
		if err != nil {
			faults = append(faults, e.fault("%w", err))
			continue
		}
		x.refers(func(r string) {
			if r != e.name {
				referred[r] = true
			}
		})
		s.rules[e.name], s.named[e.name], s.decided[e.name] = x, true, true
		// What a later file replaces does not count, though its syntax does.
		good = append(slices.DeleteFunc(good, func(old entry) bool { return old.name == e.name }), e)
	}
	broken := len(faults) > 0 // rules with bad syntax count as defined, so that one fault is not two
	for _, e := range good {
		if !builtin[e.name] && !referred[e.name] {
			faults = append(faults, e.fault("there is no rule of this name, and no other rule of the file refers to it%s", near(e.name, builtin)))
		}
		s.rules[e.name].refers(func(r string) {
			if _, ok := s.rules[r]; !ok && !broken {
				faults = append(faults, e.fault("rule:%s is not defined%s", r, near(r, builtin)))
			}
		})
		if loop := s.loop(e.name); loop != "" {
			faults = append(faults, e.fault("it refers to itself: %s", loop))
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	s.spread()
	return s, nil
}

// spread marks as decided what refers to something decided.
func (s *Set) spread() {
	for again := true; again; {
		again = false
		for name, x := range s.rules {
			if s.decided[name] {
				continue
			}
			x.refers(func(r string) {
				if s.decided[r] {
					s.decided[name], again = true, true
				}
			})
		}
	}
}

// loop gives the way by which a rule refers to itself, "" if it does not.
func (s *Set) loop(name string) string {
	seen := map[string]bool{}
	var walk func(at string, way []string) string
	walk = func(at string, way []string) (found string) {
		x, ok := s.rules[at]
		if !ok {
			return ""
		}
		x.refers(func(r string) {
			switch {
			case found != "":
			case r == name:
				found = strings.Join(append(way, r), " -> ")
			case !seen[r]:
				seen[r] = true
				found = walk(r, append(slices.Clip(way), r))
			}
		})
		return found
	}
	return walk(name, []string{name})
}

// Decides reports whether the file has something to say about a rule.
func (s *Set) Decides(name string) bool { return s.decided[name] }

// Names reports whether the file itself has the rule.
func (s *Set) Names(name string) bool { return s.named[name] }

// May decides a rule; decided is false if the file says nothing about it.
func (s *Set) May(name string, t Target, c *Creds) (may, decided bool) {
	if !s.decided[name] {
		return false, false
	}
	return s.rules[name].eval(s.rules, t, c), true
}

// Check evaluates a rule whether or not the file says something about it.
func (s *Set) Check(name string, t Target, c *Creds) bool {
	x, ok := s.rules[name]
	return ok && x.eval(s.rules, t, c)
}

type entry struct {
	name, text string
	file       string
	line       int
}

func (e entry) fault(format string, args ...any) error {
	where := ""
	if e.file != "" {
		where = e.file + ": "
	}
	return fmt.Errorf("%sline %d: rule %q: %w", where, e.line, e.name, fmt.Errorf(format, args...))
}

func read(data []byte) ([]entry, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("longer than %d bytes", maxFile)
	}
	var doc yaml.Node
	dec := yaml.NewDecoder(strings.NewReader(string(data)))
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil // comments alone, as in a file that was generated and not changed
	} else if err != nil {
		return nil, fmt.Errorf("neither YAML nor JSON: %w", err)
	}
	var more yaml.Node
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) { // what it forbids would not be
		return nil, errors.New("a second document begins in it; put all rules into one")
	}
	root := &doc
	if root.Kind == yaml.DocumentNode {
		root = root.Content[0]
	}
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("line %d: want a mapping of rules to check strings", root.Line)
	}
	var out []entry
	var faults []error
	lines := map[string]int{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		k, v := root.Content[i], root.Content[i+1]
		e := entry{name: k.Value, text: v.Value, line: k.Line}
		switch first, twice := lines[k.Value]; {
		case k.Kind != yaml.ScalarNode:
			faults = append(faults, fmt.Errorf("line %d: want the name of a rule", k.Line))
		case twice:
			faults = append(faults, e.fault("it was in line %d before", first))
		case v.Kind != yaml.ScalarNode || v.Tag != "!!str":
			faults = append(faults, e.fault("want a check string in quotes; the old form of lists is not read"))
		default:
			out = append(out, e)
		}
		lines[k.Value] = k.Line
	}
	return out, errors.Join(faults...)
}

// near suggests a name that differs little.
func near(name string, known map[string]bool) string {
	best, at := "", 3
	for _, k := range slices.Sorted(maps.Keys(known)) {
		if d := distance(name, k, at); d < at {
			best, at = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; is it %q?", best)
}

// distance is how many letters to insert, drop or change make a into b (Levenshtein); most if it is not less.
func distance(a, b string, most int) int {
	if len(a)-len(b) >= most || len(b)-len(a) >= most {
		return most
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range a {
		diag := row[0]
		row[0] = i + 1
		for j := range b {
			cost := diag
			if a[i] != b[j] {
				cost = 1 + min(diag, row[j], row[j+1])
			}
			diag, row[j+1] = row[j+1], cost
		}
	}
	return min(most, row[len(b)])
}
