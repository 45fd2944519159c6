// SPDX-License-Identifier: Apache-2.0

package yang

import (
	"embed"
	"io/fs"
	"sync"
)

// The modules that are served: names, namespaces and trees are those that OpenDaylight's clients know, as far as there is something
// behind them here; what they say was written for this program.
//
//go:embed modules/*.yang
var modules embed.FS

// Served is the schema of the modules that nagare serves. It panics if one is wrong, which a test holds it not to be.
var Served = sync.OnceValue(func() *Schema {
	dir, err := fs.Sub(modules, "modules")
	if err != nil {
		panic(err)
	}
	s, err := Load(dir)
	if err != nil {
		panic(err)
	}
	return s
})
