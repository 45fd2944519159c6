// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"reflect"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"nagare/internal/app"
)

func newServeCommand() *cobra.Command {
	flags := app.Defaults()
	var file string
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the server: Neutron and Identity API, southbound, admin API",
		Long: "Serves the Neutron API, the built-in Identity v3, the admin API, OpenDaylight's\n" +
			"northbound, and the OVSDB and OpenFlow sessions of the nodes. Every setting may be\n" +
			"a flag, a variable NAGARE_* (dashes become underscores) or an entry of the\n" +
			"configuration file; a flag beats a variable, a variable beats the file.",
		Example: "  nagare serve --data-dir ./data --bootstrap-password-file ./password\n" +
			"  nagare serve --config /etc/nagare.yaml\n" +
			"  nagare serve --northbound odl --data-dir ./data     behind a Neutron with networking-odl\n" +
			"  NAGARE_LOG_LEVEL=info,southbound=debug nagare serve --auth none --data-dir ./data",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			// What the configuration file and the variables say is as much the command line as the flags are.
			cfg, err := loadConfig(file, c.Flags(), flags, os.Getenv)
			if err != nil {
				return usageError{err}
			}
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if err := app.Serve(ctx, cfg); err != nil && ctx.Err() == nil {
				return err
			}
			return nil
		},
	}
	c.Flags().StringVar(&file, "config", os.Getenv("NAGARE_CONFIG"), "YAML file of settings (NAGARE_CONFIG)")
	bindConfig(c.Flags(), &flags)
	return c
}

// bindConfig makes a flag of each field of the configuration, by its yaml and help tags.
func bindConfig(fs *pflag.FlagSet, cfg *app.Config) {
	eachSetting(cfg, func(name, help string, v reflect.Value) {
		switch p := v.Addr().Interface().(type) {
		case *string:
			fs.StringVar(p, name, *p, help)
		case *int:
			fs.IntVar(p, name, *p, help)
		case *bool:
			fs.BoolVar(p, name, *p, help)
		case *[]string:
			fs.StringSliceVar(p, name, *p, help)
		case *app.Seconds:
			fs.IntVar((*int)(p), name, int(*p), help)
		default:
			panic(fmt.Sprintf("setting %s has a type that no flag has: %T", name, p))
		}
	})
}

func eachSetting(cfg *app.Config, f func(name, help string, v reflect.Value)) {
	v := reflect.ValueOf(cfg).Elem()
	for i := range v.NumField() {
		t := v.Type().Field(i)
		f(t.Tag.Get("yaml"), t.Tag.Get("help"), v.Field(i))
	}
}

// loadConfig merges defaults, file, variables and the flags that were given. All faults are reported together, each with the
// place that holds the bad value; an entry of the file that is no setting is one.
func loadConfig(file string, fs *pflag.FlagSet, given app.Config, getenv func(string) string) (app.Config, error) {
	cfg := app.Defaults()
	var faults []error
	if file != "" {
		faults = readConfigFile(file, &cfg)
	}
	from := reflect.ValueOf(&given).Elem()
	i := 0
	eachSetting(&cfg, func(name, _ string, v reflect.Value) {
		defer func() { i++ }()
		if fs.Changed(name) {
			v.Set(from.Field(i))
			return
		}
		variable := "NAGARE_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		if text := getenv(variable); text != "" {
			if err := setText(v, text); err != nil {
				faults = append(faults, fmt.Errorf("%s=%q: %w", variable, text, err))
			}
		}
	})
	return cfg, errors.Join(faults...)
}

// readConfigFile sets what a YAML file of settings names. An empty file and an empty value change nothing.
func readConfigFile(file string, cfg *app.Config) (faults []error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return []error{fmt.Errorf("configuration: %w; --config or NAGARE_CONFIG names the file", err)}
	}
	bad := func(line int, format string, args ...any) {
		faults = append(faults, fmt.Errorf("configuration %s:%d: %w", file, line, fmt.Errorf(format, args...)))
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	var doc, second yaml.Node
	if err := d.Decode(&doc); errors.Is(err, io.EOF) {
		return nil
	} else if err != nil {
		return []error{fmt.Errorf("configuration %s: %w", file, err)}
	}
	if err := d.Decode(&second); !errors.Is(err, io.EOF) {
		bad(max(1, second.Line), "a second document begins; want one list of settings")
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		if root.Tag != "!!null" {
			bad(root.Line, "want settings, one a line, like `profile: classic`")
		}
		return faults
	}
	entries := map[string]*yaml.Node{}
	for i := 0; i < len(root.Content); i += 2 {
		key := root.Content[i]
		if entries[key.Value] != nil {
			bad(key.Line, "%s is set twice", key.Value)
		}
		entries[key.Value] = root.Content[i+1]
	}
	eachSetting(cfg, func(name, _ string, v reflect.Value) {
		if n := entries[name]; n != nil {
			if err := setNode(v, n); err != nil {
				bad(n.Line, "%s: %q: %w", name, nodeText(n), err)
			}
			delete(entries, name)
		}
	})
	for i := 0; i < len(root.Content); i += 2 {
		if key := root.Content[i]; entries[key.Value] == root.Content[i+1] {
			bad(key.Line, "no setting has the name %q; they have the names of the flags, see `nagare serve --help`", key.Value)
		}
	}
	return faults
}

// setNode sets v to a value of the file. A list may also be written as in a variable.
func setNode(v reflect.Value, n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return nil
	}
	if n.Kind == yaml.ScalarNode && v.Kind() == reflect.Slice {
		return setText(v, n.Value)
	}
	if err := n.Decode(v.Addr().Interface()); err != nil {
		return errors.New(wants[v.Kind()])
	}
	return nil
}

// nodeText is a value of the file as it stands there, on one line.
func nodeText(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode {
		return n.Value
	}
	text, err := yaml.Marshal(n)
	if err != nil {
		return n.Value
	}
	return strings.Join(strings.Fields(string(text)), " ")
}

// wants says what a value of a kind must be.
var wants = map[reflect.Kind]string{
	reflect.String: "want text",
	reflect.Int:    "want a whole number",
	reflect.Bool:   "want true or false",
	reflect.Slice:  "want a list of texts",
}

// setText sets v to the text of a variable. The items of a list stand between commas.
func setText(v reflect.Value, text string) error {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Slice:
		var items []string
		for _, item := range strings.Split(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				items = append(items, item)
			}
		}
		v.Set(reflect.ValueOf(items))
	case reflect.Int:
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil {
			return errors.New(wants[reflect.Int])
		}
		v.SetInt(int64(n))
	case reflect.Bool:
		b, err := strconv.ParseBool(strings.TrimSpace(text))
		if err != nil {
			return errors.New(wants[reflect.Bool])
		}
		v.SetBool(b)
	default:
		return fmt.Errorf("a setting of kind %s cannot be given by a variable", v.Kind())
	}
	return nil
}
