// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"text/template"
	"time"

	"golang.org/x/sys/unix"
)

// A virtual machine may be libvirt's: a QEMU behind a tap that libvirt makes and joins to br-int by itself, from the virtualport of
// the domain, as on a hypervisor of OpenStack. The lab only defines the domain and lets it run once the port is ACTIVE, as Nova
// does. Each node has a libvirtd of its own for that: in the node's network namespace, with the node's Open vSwitch for its
// ovs-vsctl, and in a mount namespace in which libvirt's directories are the node's. So it meets neither another node's nor the
// machine's own libvirt. QEMU emulates the processor: it needs no KVM.
const (
	libvirtKernel = "vmlinuz" // files of the image
	libvirtImage  = "initramfs-virtio.gz"
	libvirtMemory = 96 // MiB: the kernel is unpacked into what is beyond the first 16

	libvirtUser    = "libvirt-qemu"    // of Debian's libvirt; it has to exist, though the machines of a lab are root's
	libvirtProcess = "qemu-system-x86" // the kernel keeps 15 octets of a process's name

	libvirtWithin      = time.Minute     // until the daemon answers: it asks QEMU first what it can do, which takes seconds
	libvirtLeaseWithin = 3 * time.Minute // as vmWithin, about five with QEMU's processor; other work slows that down most
)

// libvirtPrograms are what libvirt's machines need besides the rest of a lab, with the package that has each.
var libvirtPrograms = [][2]string{{"libvirtd", "libvirt-daemon"}, {"virsh", "libvirt-clients"}, {"qemu-system-x86_64", "qemu-system-x86"}}

// requireLibvirt reports what this machine lacks for libvirt.
func requireLibvirt() error {
	for _, p := range libvirtPrograms {
		if _, err := exec.LookPath(p[0]); err != nil {
			return fmt.Errorf("program %s is missing: install the package %s, or what libvirt needs by 'scripts/setup.sh libvirt'", p[0], p[1])
		}
	}
	return nil
}

func (l *Lab) libvirtDir(node string) string { return l.path("nodes", node, "libvirt") }

const libvirtVariable = "LIBVIRT_DEFAULT_URI=" // virsh(1)

// libvirtEnv makes virsh address one node.
func (l *Lab) libvirtEnv(node string) string {
	socket := url.QueryEscape(filepath.Join(l.libvirtDir(node), "run", "libvirt-sock"))
	return libvirtVariable + "qemu:///system?socket=" + strings.ReplaceAll(socket, "+", "%20") // libvirt takes + for itself
}

func (l *Lab) virsh(ctx context.Context, node string, args ...string) (string, error) {
	return run(ctx, []string{l.libvirtEnv(node)}, append([]string{"virsh", "-q"}, args...)...)
}

// libvirtMounts are libvirt's directories, by the node's in their place.
var libvirtMounts = map[string]string{
	"run": "/run/libvirt", "lib": "/var/lib/libvirt", "cache": "/var/cache/libvirt", "log": "/var/log/libvirt", "etc": "/etc/libvirt",
}

// libvirtSettings are the daemon's settings. Root's processes alone reach it, and its machines are root's: the lab's directories are.
// There is neither a control group to put them into nor a log daemon.
var libvirtSettings = map[string]string{
	"etc/libvirtd.conf": `auth_unix_ro = "none"` + "\n" + `auth_unix_rw = "none"` + "\n" + `unix_sock_ro_perms = "0700"` + "\n" + `unix_sock_rw_perms = "0700"` + "\n",
	"etc/qemu.conf": `user = "root"` + "\n" + `group = "root"` + "\n" + `security_driver = "none"` + "\n" + `cgroup_controllers = []` + "\n" +
		`namespaces = []` + "\n" + `remember_owner = 0` + "\n" + `stdio_handler = "file"` + "\n",
}

// startLibvirt starts the node's libvirtd, unless it runs, and waits until it answers.
func (l *Lab) startLibvirt(ctx context.Context, node string) error {
	if err := requireLibvirt(); err != nil {
		return err
	}
	dir, log := l.libvirtDir(node), l.path("log", "libvirtd-"+node+".out")
	p, on := fromPidFile(filepath.Join(dir, "run", "libvirtd.pid"), "libvirtd")
	if !on {
		var err error
		if p, err = l.spawnLibvirt(node, dir, log); err != nil {
			return fmt.Errorf("libvirtd: %w", err)
		}
	}
	return until(ctx, libvirtWithin, "libvirtd of "+node, func(ctx context.Context) error {
		_, err := l.virsh(ctx, node, "version")
		if err != nil && !p.Alive() {
			err = finalError{errors.New("it ended: " + tail(log, 15))}
		}
		return err
	})
}

func (l *Lab) spawnLibvirt(node, dir, log string) (Process, error) {
	none := Process{}
	for name := range libvirtMounts {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return none, err
		}
	}
	for name, text := range libvirtSettings {
		if err := writeFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return none, err
		}
	}
	bin, err := l.binary()
	if err != nil {
		return none, err
	}
	// Without the machine's message bus it tells nobody on the machine about its own.
	env := append(l.ovsEnv(node), "DBUS_SYSTEM_BUS_ADDRESS=unix:path="+filepath.Join(dir, "no-bus"))
	return spawn(env, log, inNamespace(l.namespace(node), bin, "lab", "libvirt", "--state", dir)...)
}

// RunLibvirt becomes the libvirtd of a node, in whose network namespace it runs; state is the node's directory of libvirt's. It
// returns only with an error.
func RunLibvirt(state string) error {
	program, err := exec.LookPath("libvirtd")
	if err != nil {
		return err
	}
	runtime.LockOSThread() // as RunGuest
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("namespace of libvirtd: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("namespace of libvirtd: %w", err)
	}
	mounts := map[string]string{}
	for name, to := range libvirtMounts {
		// Where libvirt was never installed as a service some are missing. They stay: empty, and libvirt's.
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
		mounts[filepath.Join(state, name)] = to
	}
	for name, line := range map[string]string{
		"passwd": libvirtUser + ":x:64055:64055::/:/usr/sbin/nologin\n",
		"group":  libvirtUser + ":x:64055:\n",
	} {
		from, to := filepath.Join(state, name), filepath.Join("/etc", name)
		have, err := os.ReadFile(to)
		if err != nil {
			return err
		}
		if err := writeFile(from, withAccount(have, line), 0o644); err != nil {
			return err
		}
		mounts[from] = to
	}
	for from, to := range mounts {
		if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("%s over %s: %w", from, to, err)
		}
	}
	etc, run := libvirtMounts["etc"], libvirtMounts["run"]
	argv := []string{"libvirtd", "--config", filepath.Join(etc, "libvirtd.conf"), "--pid-file", filepath.Join(run, "libvirtd.pid")}
	return fmt.Errorf("%s: %w", program, syscall.Exec(program, argv, os.Environ()))
}

// withAccount adds a line to a file of accounts that has none of that name.
func withAccount(file []byte, line string) []byte {
	name, _, _ := strings.Cut(line, ":")
	if bytes.HasPrefix(file, []byte(name+":")) || bytes.Contains(file, []byte("\n"+name+":")) {
		return file
	}
	return append(append(bytes.TrimRight(file, "\n"), '\n'), line...)
}

// domainXML is the machine as libvirt is told. The network card leaves no checksum and no cutting of segments to others: Open
// vSwitch's userspace datapath does neither.
var domainXML = template.Must(template.New("domain").Funcs(template.FuncMap{"x": escapeXML}).Parse(`<domain type='qemu'>
  <name>{{x .Name}}</name>
  <uuid>{{x .DeviceID}}</uuid>
  <memory unit='MiB'>{{.Memory}}</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{{x .Kernel}}</kernel>
    <initrd>{{x .Image}}</initrd>
    <cmdline>{{x .Arguments}}</cmdline>
  </os>
  <features><acpi/></features>
  <devices>
    <interface type='bridge'>
      <mac address='{{x .MAC}}'/>
      <source bridge='br-int'/>
      <virtualport type='openvswitch'>
        <parameters interfaceid='{{x .PortID}}'/>
      </virtualport>
      <target dev='{{x .Tap}}'/>
      <model type='virtio'/>
      <driver>
        <host csum='off' gso='off' tso4='off' tso6='off' ecn='off' ufo='off' mrg_rxbuf='off'/>
        <guest csum='off' tso4='off' tso6='off' ecn='off' ufo='off'/>
      </driver>
      <rom enabled='no'/>
    </interface>
    <serial type='file'>
      <source path='{{x .Console}}'/>
    </serial>
    <memballoon model='none'/>
  </devices>
</domain>
`))

func escapeXML(s string) (string, error) {
	var b strings.Builder
	err := xml.EscapeText(&b, []byte(s))
	return b.String(), err
}

// domain writes the instance as libvirt is told.
func (l *Lab) domain(inst Instance) ([]byte, error) {
	kernel, image, err := l.libvirtFiles()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = domainXML.Execute(&b, struct {
		Instance
		Memory                            int
		Kernel, Image, Arguments, Console string
	}{
		Instance: inst, Memory: libvirtMemory, Kernel: kernel, Image: image, Console: l.vmConsole(inst.Name),
		Arguments: "console=ttyS0 quiet panic=-1 random.trust_cpu=1 mitigations=off guest_name=" + inst.Name + " guest_user=" + guestUser + " guest_password=" + guestPassword,
	})
	return b.Bytes(), err
}

// libvirtFiles returns the kernel and the initial file system of libvirt's machines.
func (l *Lab) libvirtFiles() (kernel, image string, err error) {
	return l.imageFiles(libvirtKernel, libvirtImage, "scripts/guest.sh libvirt", func(path string) error {
		_, err := os.Stat(path)
		return err
	})
}

// plugDomain has libvirt make the machine, which plugs it. It does not run yet: it waits for bootVM, as Nova's wait for Neutron's
// word that the port is ready.
func (l *Lab) plugDomain(ctx context.Context, inst Instance) error {
	if err := l.startLibvirt(ctx, inst.Node); err != nil {
		return err
	}
	if _, on := l.vmRuns(inst); on {
		return nil
	}
	text, err := l.domain(inst)
	if err != nil {
		return err
	}
	// What libvirt may still hold of a machine that has just ended.
	if err := l.destroyDomain(ctx, inst); err != nil {
		return err
	}
	file := filepath.Join(l.guestDir(inst.Name), "domain.xml")
	err = errors.Join(os.MkdirAll(l.guestDir(inst.Name), 0o755), os.MkdirAll(l.path("leases"), 0o755), os.RemoveAll(l.leasePath(inst.Name)), os.RemoveAll(l.vmConsole(inst.Name)))
	if err == nil {
		err = writeFile(file, text, 0o600)
	}
	if err == nil {
		_, err = l.virsh(ctx, inst.Node, "create", "--paused", file)
	}
	return err
}

// resumeDomain lets the machine run.
func (l *Lab) resumeDomain(ctx context.Context, inst Instance) (Process, error) {
	p, on := l.vmRuns(inst)
	if !on {
		return p, errors.New("its machine ended: " + tail(l.vmConsole(inst.Name), 5))
	}
	state, err := l.virsh(ctx, inst.Node, "domstate", inst.Name)
	if err == nil && strings.TrimSpace(state) == "paused" {
		_, err = l.virsh(ctx, inst.Node, "resume", inst.Name)
	}
	return p, err
}

// destroyDomain takes the machine's power away, and libvirt unplugs it. Where libvirt has none there is nothing to do.
func (l *Lab) destroyDomain(ctx context.Context, inst Instance) error {
	have, err := l.virsh(ctx, inst.Node, "list", "--all", "--name")
	if err != nil {
		return err
	}
	for name := range strings.Lines(have) {
		if strings.TrimSpace(name) == inst.Name {
			_, err = l.virsh(ctx, inst.Node, "destroy", inst.Name)
		}
	}
	return err
}
