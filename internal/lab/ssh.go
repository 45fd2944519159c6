// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// An instance of the lab is a network namespace, and shares everything else with the machine. One with an SSH server gets a host
// name and user accounts of its own as well: a UTS namespace, and a mount namespace in which the files of accounts are others.
// So nobody can log in there as a user of the machine, and the machine gets no new user.
const (
	// As in the images that the recorded scenario boots.
	guestUser     = "cirros"
	guestPassword = "cubswin:)"
	// guestHash is that password, by SHA-512 (crypt(5)).
	guestHash = "$6$nagarelab$VRX2nv2XvBUrV7MT.viGcSJoB8Xg12vusHau4cJbVmAC5U2G1FgdCGJxaB0kWJE/PCmAC3mhgSd/jNzNacCfk."
	guestID   = 64321 // user and group; of nobody on the machine, as it is of no range that distributions use

	sshWithin = 15 * time.Second
)

// sshPrograms are what an instance with an SSH server needs besides the rest of a lab, with the package that has each.
var sshPrograms = [][2]string{{"dropbear", "dropbear-bin"}, {"dropbearkey", "dropbear-bin"}, {"dbclient", "dropbear-bin"}}

// requireSSH reports what this machine lacks for SSH.
func requireSSH() error {
	for _, p := range sshPrograms {
		if _, err := exec.LookPath(p[0]); err != nil {
			return fmt.Errorf("program %s is missing: install the package %s", p[0], p[1])
		}
	}
	return nil
}

func (l *Lab) guestDir(instance string) string { return l.path("guests", instance) }

// sshRuns reports whether the instance's SSH server runs.
func (l *Lab) sshRuns(instance string) bool {
	_, ok := fromPidFile(filepath.Join(l.guestDir(instance), "dropbear.pid"), "dropbear")
	return ok
}

// startSSH starts the instance's SSH server and waits until it listens. One that runs already is left alone; its host key stays
// the same for the life of the instance.
func (l *Lab) startSSH(ctx context.Context, inst Instance) error {
	if l.sshRuns(inst.Name) {
		return nil
	}
	if err := requireSSH(); err != nil {
		return err
	}
	dir := l.guestDir(inst.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, f := range map[string]struct {
		mode os.FileMode
		text string
	}{
		"passwd": {0o644, fmt.Sprintf("root:x:0:0:root:/root:/bin/sh\n%s:x:%d:%d::/home/%s:/bin/sh\n", guestUser, guestID, guestID, guestUser)},
		"group":  {0o644, fmt.Sprintf("root:x:0:\n%s:x:%d:\n", guestUser, guestID)},
		"shadow": {0o600, fmt.Sprintf("root:*:19000:0:99999:7:::\n%s:%s:19000:0:99999:7:::\n", guestUser, guestHash)},
	} {
		if err := writeFile(filepath.Join(dir, name), []byte(f.text), f.mode); err != nil {
			return err
		}
	}
	key := filepath.Join(dir, "hostkey")
	if _, err := os.Stat(key); errors.Is(err, os.ErrNotExist) {
		if _, err := run(ctx, nil, "dropbearkey", "-t", "ed25519", "-f", key); err != nil {
			return err
		}
	}
	bin, err := l.binary()
	if err != nil {
		return err
	}
	log := l.path("log", "ssh-"+inst.Name+".out")
	// What an earlier one said would pass for this one's words, should it fail.
	if err := os.Remove(log); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	p, err := spawn(nil, log, inNamespace(l.namespace(inst.Name), bin, "lab", "guest", "--hostname", inst.Name, "--accounts", dir)...)
	if err != nil {
		return fmt.Errorf("ssh server: %w", err)
	}
	return until(ctx, sshWithin, "ssh server", func(context.Context) error {
		if l.sshRuns(inst.Name) { // which writes its pid once it listens
			return nil
		}
		if !p.Alive() {
			return finalError{errors.New("it ended: " + tail(log, 15))}
		}
		return errors.New("it does not listen yet")
	})
}

// Guest is what the inside of an instance with an SSH server is made of.
type Guest struct {
	Hostname string
	Accounts string // directory with passwd, group, shadow and hostkey
}

// RunGuest becomes the SSH server of an instance, in whose network namespace it runs. It returns only with an error.
func RunGuest(g Guest) error {
	program, err := exec.LookPath("dropbear")
	if err != nil {
		return err
	}
	// Namespaces are a thread's. The one that executes the program stands for the process from then on.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWUTS); err != nil {
		return fmt.Errorf("namespaces of the instance: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mount namespace of the instance: %w", err)
	}
	for _, name := range []string{"passwd", "group", "shadow"} {
		from, to := filepath.Join(g.Accounts, name), filepath.Join("/etc", name)
		if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("%s over %s: %w", from, to, err)
		}
	}
	const homes = "/home"
	if err := unix.Mount("tmpfs", homes, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=16m"); err != nil {
		return fmt.Errorf("%s of the instance: %w", homes, err)
	}
	home := filepath.Join(homes, guestUser)
	if err := errors.Join(os.Mkdir(home, 0o750), os.Chown(home, guestID, guestID)); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(g.Hostname)); err != nil {
		return err
	}
	// In the foreground, its log to standard error; no login as root, no forwarding of ports.
	argv := []string{"dropbear", "-F", "-E", "-w", "-j", "-k", "-p", "22", "-r", filepath.Join(g.Accounts, "hostkey"), "-P", filepath.Join(g.Accounts, "dropbear.pid")}
	return fmt.Errorf("%s: %w", program, syscall.Exec(program, argv, []string{"PATH=" + os.Getenv("PATH")}))
}

// sshCommand is a login as the instance's user that asks nothing: the password comes with it, and whose key the server has is
// not remembered, as addresses of a lab change their owners.
func sshCommand(address string, argv ...string) []string {
	return append([]string{"env", "DROPBEAR_PASSWORD=" + guestPassword, "dbclient", "-y", "-y", guestUser + "@" + address}, argv...)
}

// shellWords writes a command so that a shell reads it as it is.
func shellWords(argv []string) string {
	words := make([]string, len(argv))
	for i, a := range argv {
		if a == "" || strings.ContainsAny(a, " ,;()'\"$*&|<>") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		words[i] = a
	}
	return strings.Join(words, " ")
}
