// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

// leaseHook is what busybox udhcpc calls with "deconfig", "bound", "renew",
// "nak" or "leasefail", and with the lease in its environment. It configures the
// interface and writes the lease to a file that is renamed into place.
const leaseHook = `#!/bin/sh
# Configures an instance of the lab from a DHCP lease.
case "$1" in
deconfig)
	ip -4 addr flush dev "$interface"
	ip link set dev "$interface" up
	;;
bound|renew)
	[ -z "$mtu" ] || ip link set dev "$interface" mtu "$mtu"
	ip -4 addr replace "$ip/$mask" ${broadcast:+broadcast "$broadcast"} dev "$interface"
	if [ -n "$staticroutes" ]; then
		# Option 121 replaces the router option (RFC 3442).
		set -- $staticroutes
		while [ $# -ge 2 ]; do
			if [ "$2" = 0.0.0.0 ]; then
				ip -4 route replace "$1" dev "$interface"
			else
				ip -4 route replace "$1" via "$2" dev "$interface" onlink
			fi
			shift 2
		done
	elif [ -n "$router" ]; then
		ip -4 route replace default via "${router%% *}" dev "$interface"
	fi
	printf '%s\n' "address=$ip/$mask" "router=$router" "dns=$dns" "mtu=$mtu" "host=$hostname" \
		"domain=$domain" "routes=$staticroutes" "server=$serverid" "seconds=$lease" >"$LEASE_FILE.new"
	mv "$LEASE_FILE.new" "$LEASE_FILE"
	;;
esac
`

func (l *Lab) leasePath(instance string) string { return l.path("leases", instance) }

// lease starts the instance's DHCP client and waits for its first lease. The
// client stays and renews; one that runs already is left alone. The new address
// is announced, as a client should (RFC 2131 section 4.4.1) and busybox's does
// not: others may remember the MAC of an instance that had the address before.
func (l *Lab) lease(ctx context.Context, inst Instance) (Lease, time.Duration, error) {
	if inst.VM {
		return l.bootVM(ctx, inst)
	}
	ns := l.namespace(inst.Name)
	if err := os.MkdirAll(l.path("leases"), 0o755); err != nil {
		return Lease{}, 0, err
	}
	hook := l.path("udhcpc-hook")
	if err := writeFile(hook, []byte(leaseHook), 0o755); err != nil {
		return Lease{}, 0, err
	}
	pidFile := l.path("leases", "."+inst.Name+".pid")
	if _, running := fromPidFile(pidFile, "busybox"); running {
		if lease, err := l.LeaseOf(inst.Name); err == nil {
			return lease, 0, nil
		}
	}
	os.Remove(l.leasePath(inst.Name))
	began := time.Now()
	p, err := spawn([]string{"LEASE_FILE=" + l.leasePath(inst.Name)}, l.path("log", "udhcpc-"+inst.Name+".out"),
		inNamespace(ns, "busybox", "udhcpc", "-f", "-i", "eth0", "-s", hook, "-p", pidFile,
			"-t", "10", "-T", "1", "-A", "1", "-x", "hostname:"+inst.Name, "-O", "mtu", "-O", "staticroutes")...)
	if err != nil {
		return Lease{}, 0, fmt.Errorf("dhcp client: %w", err)
	}
	var lease Lease
	err = until(ctx, leaseWithin, "dhcp lease", func(context.Context) error {
		if !p.Alive() {
			return finalError{errors.New("the client ended: " + tail(l.path("log", "udhcpc-"+inst.Name+".out"), 5))}
		}
		var err error
		lease, err = l.LeaseOf(inst.Name)
		return err
	})
	took := time.Since(began)
	if err == nil {
		err = l.announce(inst)
	}
	return lease, took, err
}

// parseLease reads the hook's file.
func parseLease(text string) Lease {
	values := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		values[key] = value
	}
	address := values["address"]
	// Some versions of the client give the mask as a number, some as an address.
	if host, mask, ok := strings.Cut(address, "/"); ok {
		if m := net.ParseIP(mask).To4(); m != nil {
			ones, _ := net.IPMask(m).Size()
			address = fmt.Sprintf("%s/%d", host, ones)
		}
	}
	return Lease{
		Address: address, Router: values["router"], DNS: values["dns"], MTU: values["mtu"], Host: values["host"],
		Domain: values["domain"], Routes: values["routes"], Server: values["server"], Seconds: values["seconds"],
	}
}
