// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestGuest logs in to an instance that is nothing but a namespace: it has its own name and its own users, and lets in nobody
// else's.
func TestGuest(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("network namespaces need root: run the tests with sudo")
	}
	if err := requireSSH(); err != nil {
		t.Fatal(err)
	}
	l, err := New(t.TempDir(), fmt.Sprintf("g%d", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(l.path("log"), 0o755); err != nil {
		t.Fatal(err)
	}
	inst := Instance{Name: "vm01", SSH: true}
	ns := l.namespace(inst.Name)
	t.Cleanup(func() {
		if err := dropNamespace(context.Background(), ns); err != nil {
			t.Error(err)
		}
	})
	if err := makeNamespace(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.startSSH(t.Context(), inst); err != nil {
		t.Fatal(err)
	}
	login := func(user, password, command string) (string, error) {
		argv := inNamespace(ns, "env", "DROPBEAR_PASSWORD="+password, "dbclient", "-y", "-y", user+"@127.0.0.1", command)
		return run(t.Context(), nil, argv...)
	}
	out, err := login(guestUser, guestPassword, "hostname; id -un; pwd; cat /etc/passwd")
	if want := "vm01\ncirros\n/home/cirros\nroot:"; err != nil || !strings.HasPrefix(out, want) || strings.Count(out, ":x:") != 2 {
		t.Errorf("login: %v, %q, want %q and two users", err, out, want)
	}
	for user, password := range map[string]string{guestUser: "wrong", "root": guestPassword} {
		if out, err := login(user, password, "hostname"); err == nil {
			t.Errorf("%s with the password %q is let in: %s", user, password, out)
		}
	}
	if name, err := os.Hostname(); err != nil || name == inst.Name {
		t.Errorf("the machine's name is %s now (%v)", name, err)
	}
	if after, err := os.ReadFile("/etc/passwd"); err != nil || string(after) != string(before) {
		t.Errorf("the machine's users have changed: %v\n%s", err, after)
	}
	key := filepath.Join(l.guestDir(inst.Name), "hostkey")
	first, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	all, err := inhabitants(ns)
	if err != nil || len(all) == 0 {
		t.Fatalf("processes of the instance: %v, %v", all, err)
	}
	if err := l.startSSH(t.Context(), inst); err != nil {
		t.Fatal(err)
	}
	if now, err := inhabitants(ns); err != nil || len(now) != len(all) || now[0] != all[0] {
		t.Errorf("a second start changed the processes %v to %v, %v", all, now, err)
	}
	for _, p := range all {
		if err := p.stop(t.Context(), stopGrace); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.startSSH(t.Context(), inst); err != nil {
		t.Fatal(err)
	}
	if second, err := os.ReadFile(key); err != nil || string(second) != string(first) {
		t.Errorf("another host key after a restart (%v)", err)
	}
	if _, err := login(guestUser, guestPassword, "true"); err != nil {
		t.Errorf("after a restart: %v", err)
	}
}

func TestShellWords(t *testing.T) {
	for want, argv := range map[string][]string{
		"ping -c 1": {"ping", "-c", "1"}, "''": {""}, "env 'A=cubswin:)' ssh": {"env", "A=cubswin:)", "ssh"}, `'it'\''s'`: {"it's"},
	} {
		if got := shellWords(argv); got != want {
			t.Errorf("%q: %s, want %s", argv, got, want)
		}
	}
}

func TestExternalAddress(t *testing.T) {
	for address, good := range map[string]bool{"": true, "172.16.1.1/24": true, "172.16.1.0/24": false, "172.16.1.1": false, "2001:db8::1/64": false} {
		if _, err := (UpOptions{External: address}).config(); (err == nil) != good {
			t.Errorf("%q: %v", address, err)
		}
	}
}
