// SPDX-License-Identifier: Apache-2.0

package netvirt

import "nagare/internal/compile"

// declareStandardL2 declares the rules of layer 2 and returns what the root asks for.
func declareStandardL2(b *compile.Rulebook, o Options) func(*compile.Context) {
	return func(c *compile.Context) {}
}
