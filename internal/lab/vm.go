// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// An instance may be a virtual machine: a kernel of its own with its own network stack, behind a tap of its node as a hypervisor
// makes it. It is a User-Mode Linux, an ordinary process in its node's network namespace, because that needs no KVM and starts
// in seconds; or a machine of libvirt's (vm_libvirt.go). The images are made by scripts/guest.sh. The console says what goes on
// inside, one line for each thing.
const (
	vmKernel = "linux.uml" // file of the image, and so the process's name
	vmImage  = "initramfs.gz"
	vmMemory = "64M"
	vmSays   = "guest: " // what the machine's own lines on the console begin with

	vmWithin = 60 * time.Second // from power to lease: about four, on an idle machine
)

// What a virtual machine may be (AddOptions.VM).
const (
	VMUserMode = "uml"
	VMLibvirt  = "libvirt"
)

// vmReady reports what this machine lacks for a virtual machine of the kind.
func (l *Lab) vmReady(kind string) error {
	var err error
	switch kind {
	case "":
	case VMUserMode:
		_, _, err = l.vmFiles()
	case VMLibvirt:
		if err = requireLibvirt(); err == nil {
			_, _, err = l.libvirtFiles()
		}
	default:
		err = fmt.Errorf("virtual machine %q: use %s or %s", kind, VMUserMode, VMLibvirt)
	}
	return err
}

// vmKind is what the instance is, in the words of AddOptions.
func vmKind(inst Instance) string {
	switch {
	case inst.Libvirt:
		return VMLibvirt
	case inst.VM:
		return VMUserMode
	}
	return ""
}

// vmFiles returns the kernel and the initial file system of a User-Mode Linux.
func (l *Lab) vmFiles() (kernel, image string, err error) {
	return l.imageFiles(vmKernel, vmImage, "scripts/guest.sh", func(path string) error {
		_, err := exec.LookPath(path)
		return err
	})
}

// imageFiles returns the two files of an image, which are kept beside the program, and checks that they are there.
func (l *Lab) imageFiles(kernel, image, maker string, checkKernel func(path string) error) (string, string, error) {
	bin, err := l.binary()
	if err != nil {
		return "", "", err
	}
	dir := filepath.Join(filepath.Dir(bin), "guest")
	kernel, image = filepath.Join(dir, kernel), filepath.Join(dir, image)
	if err = checkKernel(kernel); err == nil {
		_, err = os.Stat(image)
	}
	if err != nil {
		err = fmt.Errorf("virtual machine's image in %s: %w: build it with %s", dir, err, maker)
	}
	return kernel, image, err
}

// vmPid is the file with the machine's process: libvirt writes its own.
func (l *Lab) vmPid(inst Instance) string {
	if inst.Libvirt {
		return filepath.Join(l.libvirtDir(inst.Node), "run", "qemu", inst.Name+".pid")
	}
	return filepath.Join(l.guestDir(inst.Name), "vm.pid")
}

func (l *Lab) vmConsole(instance string) string { return l.path("log", "console-"+instance+".out") }

// vmRuns returns the instance's machine, if it is powered.
func (l *Lab) vmRuns(inst Instance) (Process, bool) {
	program := vmKernel
	if inst.Libvirt {
		program = libvirtProcess
	}
	return fromPidFile(l.vmPid(inst), program)
}

// plugVM makes the machine's tap and joins it to br-int. It is there before the machine is powered, as with Nova.
func (l *Lab) plugVM(ctx context.Context, inst Instance) error {
	if inst.Libvirt {
		return l.plugDomain(ctx, inst)
	}
	ns, tap := l.namespace(inst.Node), inst.Tap()
	if !haveLink(ctx, ns, tap) {
		if _, err := run(ctx, nil, ip("-n", ns, "tuntap", "add", "dev", tap, "mode", "tap")...); err != nil {
			return err
		}
	}
	mtu := "1450"
	if inst.MTU != 0 {
		mtu = strconv.Itoa(inst.MTU)
	}
	if _, err := run(ctx, nil, ip("-n", ns, "link", "set", tap, "mtu", mtu, "up")...); err != nil {
		return err
	}
	return l.join(ctx, inst)
}

// bootVM powers the machine and waits for its lease and its SSH server. One that runs already is left alone.
func (l *Lab) bootVM(ctx context.Context, inst Instance) (Lease, time.Duration, error) {
	if _, on := l.vmRuns(inst); on {
		if lease, err := l.LeaseOf(inst.Name); err == nil {
			return lease, 0, nil
		}
	}
	began := time.Now()
	if inst.Libvirt {
		p, err := l.resumeDomain(ctx, inst)
		if err != nil {
			return Lease{}, 0, fmt.Errorf("virtual machine: %w", err)
		}
		return l.awaitVM(ctx, inst, p, began)
	}
	if err := l.stopVM(ctx, inst); err != nil { // what an earlier try or a crash has left
		return Lease{}, 0, err
	}
	kernel, image, err := l.vmFiles()
	if err != nil {
		return Lease{}, 0, err
	}
	dir, console := l.guestDir(inst.Name), l.vmConsole(inst.Name)
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.MkdirAll(l.path("leases"), 0o755), os.RemoveAll(l.leasePath(inst.Name)), os.RemoveAll(console)); err != nil {
		return Lease{}, 0, err
	}
	// The machine's memory is a file: on /dev/shm it costs what is touched, and no disk.
	p, err := spawn([]string{"TMPDIR=/dev/shm"}, console, inNamespace(l.namespace(inst.Node), kernel,
		"mem="+vmMemory, "umid="+inst.Name, "uml_dir="+dir+"/", "initrd="+image, "con=null", "con0=null,fd:1", "ssl=null", "quiet", "panic=-1",
		"guest_name="+inst.Name, "guest_user="+guestUser, "guest_password="+guestPassword,
		"eth0=tuntap,"+inst.Tap()+","+inst.MAC)...)
	if err == nil {
		err = writeFile(l.vmPid(inst), []byte(strconv.Itoa(p.PID)), 0o600)
	}
	if err != nil {
		return Lease{}, 0, fmt.Errorf("virtual machine: %w", err)
	}
	return l.awaitVM(ctx, inst, p, began)
}

// awaitVM waits until the machine has said that it has a lease and an SSH server, and remembers the lease.
func (l *Lab) awaitVM(ctx context.Context, inst Instance, p Process, began time.Time) (Lease, time.Duration, error) {
	var lease string
	console := l.vmConsole(inst.Name)
	within := vmWithin
	if inst.Libvirt {
		within = libvirtLeaseWithin
	}
	err := until(ctx, within, "virtual machine has a lease", func(context.Context) error {
		said, err := os.ReadFile(console)
		if err != nil {
			return err
		}
		var ready bool
		if lease, ready = readConsole(string(said)); ready {
			return nil
		}
		if err := errors.New("its console says: " + tail(console, 5)); p.Alive() {
			return err
		} else {
			return finalError{fmt.Errorf("it ended: %w", err)}
		}
	})
	took := time.Since(began)
	if err == nil {
		err = writeFile(l.leasePath(inst.Name), []byte(lease), 0o644)
	}
	return parseLease(lease), took, err
}

// readConsole finds the latest lease in what a machine has said, in the form of parseLease, and whether the machine is ready:
// with a lease and an SSH server.
func readConsole(said string) (lease string, ready bool) {
	var leased, ssh bool
	var lines strings.Builder
	for line := range strings.Lines(said) {
		word, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), vmSays)
		if !ok {
			continue
		}
		pair, isLease := strings.CutPrefix(word, "lease ")
		switch {
		case word == "ssh":
			ssh = true
		case word == "leased":
			lease, leased = lines.String(), true
			lines.Reset()
		case isLease:
			lines.WriteString(pair + "\n")
		}
	}
	return lease, leased && ssh
}

// stopVM takes the machine's power away. One that was killed leaves helpers behind that hold its tap: they go too, and are known
// by the process group, which is the machine's.
func (l *Lab) stopVM(ctx context.Context, inst Instance) error {
	if inst.Libvirt {
		if err := l.startLibvirt(ctx, inst.Node); err != nil {
			return err
		}
		return l.destroyDomain(ctx, inst)
	}
	text, err := os.ReadFile(l.vmPid(inst))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	group, err := strconv.Atoi(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", l.vmPid(inst), err)
	}
	if p, on := l.vmRuns(inst); on {
		if err := p.stop(ctx, stopGrace); err != nil {
			return err
		}
	}
	err = until(ctx, stopGrace, "helpers of a virtual machine end", func(context.Context) error {
		all, err := inhabitants(l.namespace(inst.Node))
		if err != nil {
			return finalError{err}
		}
		left := 0
		for _, p := range all {
			name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", p.PID))
			if err != nil || strings.TrimSpace(string(name)) != vmKernel || !p.Alive() {
				continue
			}
			if g, err := syscall.Getpgid(p.PID); err != nil || g != group {
				continue
			}
			left++
			if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return finalError{fmt.Errorf("process %d: %w", p.PID, err)}
			}
		}
		if left > 0 {
			return fmt.Errorf("%d of them run", left)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return os.Remove(l.vmPid(inst))
}

// vmHealth is "ok", or what is wrong with a machine.
func (l *Lab) vmHealth(inst Instance) string {
	if _, on := l.vmRuns(inst); !on {
		return "its virtual machine does not run: run 'nagare lab up'"
	}
	return "ok"
}

// errVM says what to do where a command needs to be inside an instance and it is a machine.
func errVM(name string) error {
	return fmt.Errorf("instance %s: is a virtual machine, which only its console and its network lead into: log in as %s by SSH from another instance", name, guestUser)
}
