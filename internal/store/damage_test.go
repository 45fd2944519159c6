// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	damageDir      = "NAGARE_STORE_DAMAGE_DIR"
	damagePatience = "NAGARE_STORE_DAMAGE_PATIENCE" // Options.Timeout
)

// damageChild opens a store and says what came of it. It is a process of its own: what etcd leaves behind after a failed
// start ends with it.
func damageChild(dir string) {
	w := newTestWorld()
	patience, err := time.ParseDuration(os.Getenv(damagePatience))
	if err != nil {
		fmt.Println(err)
		return
	}
	st, err := Open(context.Background(), w.schema, Options{DataDir: dir, Timeout: patience})
	if err != nil {
		fmt.Println("refused:", err)
		return
	}
	fmt.Println("opened", w.a.Len(st.Snapshot()))
	st.Close()
}

// TestDamage damages the files of a store: opening is refused with a reason, or nothing confirmed is missing.
func TestDamage(t *testing.T) {
	flip := func(from, to, step int64) func(string) error {
		return func(path string) error {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				return err
			}
			b := make([]byte, 8)
			for ; from < to; from += step {
				_, err = f.ReadAt(b, from)
				for i := range b {
					b[i] ^= 0xff
				}
				_, werr := f.WriteAt(b, from)
				err = errors.Join(err, werr)
			}
			return errors.Join(err, f.Close())
		}
	}
	// Which pages of the database are in use depends on when etcd wrote them: all but the two that say so are spoiled.
	spoil := func(path string) error {
		b, err := os.ReadFile(path)
		for i := 2 * 4096; i < len(b); i += 64 {
			b[i] ^= 0xff
		}
		return errors.Join(err, os.WriteFile(path, b, 0o600))
	}
	truncate := func(n int64) func(string) error { return func(path string) error { return os.Truncate(path, n) } }
	for _, c := range []struct {
		name, file string
		damage     func(string) error
		want       string
	}{
		{"bit flip in the log", "wal/*.wal", flip(3000, 3001, 1), "refused: etcd in"},
		{"log cut off", "wal/*.wal", truncate(9000), "refused: etcd in"},
		{"log missing", "wal/*.wal", os.Remove, "refused: etcd in"},
		{"bit flips in the database", "snap/db", spoil, "refused: etcd in"},
		{"database cut off", "snap/db", truncate(2 * 4096), "refused: etcd in"},
		{"database missing", "snap/db", os.Remove, "opened 50"}, // the log has everything still
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			w := newTestWorld()
			st, err := Open(t.Context(), w.schema, Options{DataDir: dir})
			if err != nil {
				t.Fatal(err)
			}
			for i := range 50 {
				if _, err := put(st, w, fmt.Sprint(i), ""); err != nil {
					t.Fatal(err)
				}
			}
			if err := st.Close(); err != nil {
				t.Fatal(err)
			}
			files, err := filepath.Glob(filepath.Join(dir, "etcd/member", c.file))
			if err != nil || len(files) == 0 {
				t.Fatalf("no %s: %v", c.file, err)
			}
			if err := c.damage(files[0]); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(os.Args[0], "-test.run=^$")
			patience := 500 * time.Millisecond // some damage shows by that etcd is never ready
			if strings.HasPrefix(c.want, "opened") {
				patience = time.Minute
			}
			cmd.Env = append(os.Environ(), damageDir+"="+dir, damagePatience+"="+patience.String())
			out, err := cmd.Output()
			if err != nil || !bytes.HasPrefix(out, []byte(c.want)) {
				t.Errorf("%q, %v; want %q", out, err, c.want)
			}
			t.Logf("%s", out)
		})
	}
}
