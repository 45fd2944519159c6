// SPDX-License-Identifier: Apache-2.0

package ovsdb_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin") // where distributions put ovsdb-server
	goleak.VerifyTestMain(m)
}
