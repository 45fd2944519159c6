// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"nagare/internal/api/admin"
)

// writeJSON writes the server's JSON with line breaks: every field and number as it came, also those that this version does
// not know.
func writeJSON(w io.Writer, raw json.RawMessage) error {
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace(raw), "", "  "); err != nil {
		return fmt.Errorf("answer of the server: %w", err)
	}
	b.WriteByte('\n')
	_, err := w.Write(b.Bytes())
	return err
}

// writeFields writes names and values below each other, the values aligned. Empty values are left out.
func writeFields(w io.Writer, pairs ...[2]string) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, p := range pairs {
		if p[1] != "" {
			fmt.Fprintf(t, "%s\t%s\n", p[0], printable(p[1]))
		}
	}
	return t.Flush()
}

// row is a table row in which every cell is one printable word or line, "-" if empty.
func row(cells ...string) []string {
	for i, c := range cells {
		cells[i] = printable(orText(c, "-"))
	}
	return cells
}

// printable is s with what could move the cursor or break a column made visible: names of ports come from tenants, names of
// nodes from switches.
func printable(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return s
	}
	quoted := strconv.QuoteToGraphic(s)
	return quoted[1 : len(quoted)-1]
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// instant is a time to the second, UTC; "" if it is not known.
func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// commitText is "revision 7: create port, by admin, 2026-01-02T03:04:05Z, request req-1"; "" for nil.
func commitText(c *admin.Commit) string {
	if c == nil {
		return ""
	}
	s := fmt.Sprintf("revision %d", c.Revision)
	if c.Action != "" {
		s += ": " + c.Action
	}
	if c.User != "" {
		s += ", by " + c.User
	}
	if at := instant(c.Time); at != "" {
		s += ", " + at
	}
	if c.Request != "" {
		s += ", request " + c.Request
	}
	return s
}

// objectText is "port 178a8b99 (vm01)".
func objectText(kind, id, name string) string {
	s := strings.TrimSpace(kind + " " + id)
	if name != "" && name != id {
		s += " (" + name + ")"
	}
	return s
}
