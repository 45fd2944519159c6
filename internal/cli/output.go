// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// output is the -o flag of a command that prints a table.
type output struct{ format string }

// addOutputFlag gives c the -o flag. Call check first in the command's RunE.
func addOutputFlag(c *cobra.Command) *output {
	o := &output{}
	c.Flags().StringVarP(&o.format, "output", "o", "table", "output format: table or json")
	return o
}

func (o *output) check() error {
	if o.format != "table" && o.format != "json" {
		return usagef("output format %q: use table or json", o.format)
	}
	return nil
}

func (o *output) json() bool { return o.format == "json" }

// print writes value as indented JSON, or the header and rows as aligned columns.
func (o *output) print(w io.Writer, value any, header []string, rows [][]string) error {
	if o.json() {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(value)
	}
	return writeTable(w, header, rows)
}

func writeTable(w io.Writer, header []string, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(header, "\t"))
	for _, row := range rows {
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	return t.Flush()
}
