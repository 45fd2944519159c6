// SPDX-License-Identifier: Apache-2.0

package netvirt

import (
	"fmt"
	"testing"

	"nagare/internal/compile"
	"nagare/internal/pipeline"
)

// l3Lines are the flows that routers make on a node, each after whose it is: those of the tables of routing and translation, and
// of routers' objects elsewhere.
func l3Lines(e *compile.Engine, node string) []string {
	var lines []string
	for _, f := range flowsOf(e, node) {
		c, _ := pipeline.UnpackCookie(f.Cookie)
		switch t := pipeline.TableID(f.Table); {
		case f.Priority == 0:
			continue
		case c.Kind == pipeline.KindRouter, c.Kind == pipeline.KindRouterInterface, c.Kind == pipeline.KindFloatingIP, c.Kind == pipeline.KindPeer:
		case t >= pipeline.Routing && t <= pipeline.L3Forward, t == pipeline.L2Forward && c.Kind == pipeline.KindNetwork:
		case t == pipeline.Classifier && f.Priority == pipeline.PrioProvider && c.Kind == pipeline.KindNetwork:
		default:
			continue
		}
		lines = append(lines, fmt.Sprintf("%s %#x: %s", c.Kind, c.Key, f))
	}
	return lines
}

// TestRouterGolden compiles each testdata/standard-l3/*.txtar as TestStandardGolden does, by the whole profile.
func TestRouterGolden(t *testing.T) {
	goldens(t, "testdata/standard-l3/*.txtar", Standard, l3Lines)
}
