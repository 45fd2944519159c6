// SPDX-License-Identifier: Apache-2.0

package house

import (
	"bytes"
	"go/format"
	"strings"
	"testing"
	"unicode/utf8"
)

const spdx = "// SPDX-License-Identifier: Apache-2.0\n"

func TestGoFilesStartWithTheLicence(t *testing.T) {
	tree := load(t)
	for _, name := range tree.files {
		if strings.HasSuffix(name, ".go") && !strings.HasPrefix(tree.read(t, name), spdx) {
			t.Errorf("%s: must begin with %q", name, strings.TrimSpace(spdx))
		}
	}
}

func TestScriptsNameTheLicence(t *testing.T) {
	tree := load(t)
	for _, name := range tree.files {
		if name != "Makefile" && name != ".ci/run" && !strings.HasSuffix(name, ".sh") {
			continue
		}
		if !strings.Contains(tree.read(t, name), "# SPDX-License-Identifier: Apache-2.0\n") {
			t.Errorf("%s: must carry the SPDX line", name)
		}
	}
}

func TestGoFilesAreFormatted(t *testing.T) {
	tree := load(t)
	for _, name := range tree.files {
		if !strings.HasSuffix(name, ".go") {
			continue
		}
		text := []byte(tree.read(t, name))
		formatted, err := format.Source(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !bytes.Equal(text, formatted) {
			t.Errorf("%s: not formatted, run gofmt -w %s", name, name)
		}
	}
}

// forbidden are texts that no file may hold. They are put together here so that
// this file does not hold them either.
var forbidden = []struct{ text, reason string }{
	{"/wo" + "rk/", "a path of one machine; the tree must build and run anywhere"},
	{"../sha" + "red/", "a file outside the repository, which a clone does not have"},
	{"/tmp/bash_" + "jobs", "a path of one machine"},
	{"proxy.golang" + ".org", "which module proxy is used is the builder's choice (GOPROXY)"},
	{"deb.debian" + ".org", "which mirror apt uses is the machine's choice"},
	{"registry.npmjs" + ".org", "which registry is used is the builder's choice"},
}

func TestFilesNameNoMachine(t *testing.T) {
	tree := load(t)
	for _, name := range tree.files {
		text := tree.read(t, name)
		if !utf8.ValidString(text) {
			continue // captured frames and the like
		}
		for _, f := range forbidden {
			if i := strings.Index(text, f.text); i >= 0 {
				t.Errorf("%s:%d: holds %q: %s", name, 1+strings.Count(text[:i], "\n"), f.text, f.reason)
			}
		}
	}
}
