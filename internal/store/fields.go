// SPDX-License-Identifier: Apache-2.0

package store

import (
	"reflect"
	"strings"
)

// knownFields gives the JSON names, in lower case (encoding/json matches without case), that the type of v reads at its top
// level.
func knownFields(v any) map[string]bool {
	names := map[string]bool{}
	collectFields(reflect.TypeOf(v), names)
	return names
}

func collectFields(t reflect.Type, names map[string]bool) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			collectFields(f.Type, names)
		case !f.IsExported() || f.Tag.Get("json") == "-":
		case name == "":
			names[strings.ToLower(f.Name)] = true
		default:
			names[strings.ToLower(name)] = true
		}
	}
}
