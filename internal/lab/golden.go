// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bufio"
	"cmp"
	"embed"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

//go:embed golden/*.txt
var goldenFiles embed.FS

// substitution puts a run's own values in the place of the recorded ones.
type substitution struct {
	text  []string    // pairs for strings.NewReplacer: recorded, ours
	ports map[int]int // OpenFlow ports of one node: recorded, ours
}

var portForm = regexp.MustCompile(`\b(in_port=|output:)(\d+)`)

func (s substitution) flow(line string) string {
	line = strings.NewReplacer(s.text...).Replace(line)
	return portForm.ReplaceAllStringFunc(line, func(m string) string {
		i := strings.IndexAny(m, "=:") + 1
		recorded, err := strconv.Atoi(m[i:])
		if ours, ok := s.ports[recorded]; err == nil && ok {
			return m[:i] + strconv.Itoa(ours)
		}
		return m
	})
}

// goldenFlows returns the expected flows of a state, "network-compute".
func goldenFlows(state string, s substitution) ([]string, error) {
	b, err := goldenFiles.ReadFile("golden/" + state + ".txt")
	if err != nil {
		return nil, err
	}
	var lines []string
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, s.flow(line))
		}
	}
	return canonicalFlows(strings.Join(lines, "\n"))
}

// canonicalFlows brings what "ovs-ofctl dump-flows" prints (any version), or the
// golden form, into one form: no statistics and cookies, table and priority
// always written, sorted by table, priority (highest first) and match. A list of
// output actions alone is a set, so it is sorted too.
func canonicalFlows(dump string) ([]string, error) {
	type flow struct {
		table, priority int
		text            string
	}
	var flows []flow
	in := bufio.NewScanner(strings.NewReader(dump))
	in.Buffer(nil, 16<<20)
	for in.Scan() {
		line := strings.TrimSpace(in.Text())
		left, actions, ok := strings.Cut(line, "actions=")
		if !ok {
			if line == "" || strings.Contains(line, "reply (") {
				continue
			}
			return nil, fmt.Errorf("flow %q: has no actions", line)
		}
		f := flow{priority: 32768}
		var match []string
		for item := range strings.SplitSeq(left, ",") {
			item = strings.TrimSpace(item)
			key, value, _ := strings.Cut(item, "=")
			var err error
			switch key {
			case "", "cookie", "duration", "n_packets", "n_bytes", "idle_age", "hard_age":
			case "table":
				f.table, err = strconv.Atoi(value)
			case "priority":
				f.priority, err = strconv.Atoi(value)
			default:
				match = append(match, item)
			}
			if err != nil {
				return nil, fmt.Errorf("flow %q: %s: %w", line, key, err)
			}
		}
		head := fmt.Sprintf("table=%d,priority=%d", f.table, f.priority)
		f.text = strings.Join(append([]string{head}, match...), ",") + " actions=" + outputSet(actions)
		flows = append(flows, f)
	}
	if err := in.Err(); err != nil {
		return nil, err
	}
	slices.SortFunc(flows, func(a, b flow) int {
		return cmp.Or(cmp.Compare(a.table, b.table), cmp.Compare(b.priority, a.priority), cmp.Compare(a.text, b.text))
	})
	out := make([]string, len(flows))
	for i, f := range flows {
		out[i] = f.text
	}
	return out, nil
}

func outputSet(actions string) string {
	list := strings.Split(actions, ",")
	for _, a := range list {
		if !strings.HasPrefix(a, "output:") {
			return actions
		}
	}
	slices.SortFunc(list, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	return strings.Join(list, ",")
}

// difference lists what one list has and the other has not, as lines of a diff:
// "- " is expected and absent, "+ " is there and not expected.
func difference(want, have []string) []string {
	count := map[string]int{}
	for _, w := range want {
		count[w]--
	}
	for _, h := range have {
		count[h]++
	}
	var out []string
	for _, w := range want {
		if count[w] < 0 {
			out = append(out, "- "+w)
			count[w]++
		}
	}
	for _, h := range have {
		if count[h] > 0 {
			out = append(out, "+ "+h)
			count[h]--
		}
	}
	return out
}

// goldenFacts returns the expected facts of a node ("controller", "compute") up
// to a step, as "FACT = VALUE" lines. instances says whether the instances run
// on the node.
func goldenFacts(step int, node string, single, instances bool, s substitution) ([]string, error) {
	b, err := goldenFiles.ReadFile("golden/ovsdb.txt")
	if err != nil {
		return nil, err
	}
	replace := strings.NewReplacer(s.text...)
	var out []string
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		head, fact, ok := strings.Cut(line, ": ")
		words := strings.Fields(head)
		if !ok || len(words) < 2 {
			return nil, fmt.Errorf("golden/ovsdb.txt: %q", line)
		}
		at, err := strconv.Atoi(words[0])
		if err != nil {
			return nil, fmt.Errorf("golden/ovsdb.txt: %q: %w", line, err)
		}
		applies := words[1] == node || words[1] == "instances" && instances
		if len(words) > 2 && (words[2] == "two") == single {
			applies = false
		}
		if at > step || !applies {
			continue
		}
		fact = replace.Replace(fact)
		if name, value, ok := strings.Cut(fact, " ofport = "); ok {
			recorded, err := strconv.Atoi(value)
			if ours, ok := s.ports[recorded]; err == nil && ok {
				fact = fmt.Sprintf("%s ofport = %d", name, ours)
			}
		}
		out = append(out, fact)
	}
	return out, nil
}
