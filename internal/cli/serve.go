// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
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
		Long: "Serves the Neutron API, the built-in Identity v3, the admin API, and the OVSDB and\n" +
			"OpenFlow sessions of the nodes. Every setting may be a flag, a variable NAGARE_*\n" +
			"(dashes become underscores) or an entry of the configuration file; a flag beats a\n" +
			"variable, a variable beats the file.",
		Example: "  nagare serve --data-dir ./data --bootstrap-password-file ./password\n" +
			"  nagare serve --config /etc/nagare.yaml\n" +
			"  NAGARE_LOG_LEVEL=info,southbound=debug nagare serve --auth none --data-dir ./data",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
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

// loadConfig merges defaults, file, variables and the flags that were given. An unknown entry of the file is an error.
func loadConfig(file string, fs *pflag.FlagSet, given app.Config, getenv func(string) string) (app.Config, error) {
	cfg := app.Defaults()
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return cfg, fmt.Errorf("configuration: %w", err)
		}
		defer f.Close()
		d := yaml.NewDecoder(f)
		d.KnownFields(true)
		if err := d.Decode(&cfg); err != nil {
			return cfg, fmt.Errorf("configuration %s: %w", file, err)
		}
	}
	var fault error
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
			if err := setText(v, text); err != nil && fault == nil {
				fault = fmt.Errorf("%s=%q: %w", variable, text, err)
			}
		}
	})
	return cfg, fault
}

func setText(v reflect.Value, text string) error {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Slice:
		v.Set(reflect.ValueOf(strings.Split(text, ",")))
	case reflect.Int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("want a whole number")
		}
		v.SetInt(int64(n))
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("want true or false")
		}
		v.SetBool(b)
	}
	return nil
}
