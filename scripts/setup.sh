#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs what nagare's demo and tests need, on Debian 12 or Ubuntu 22.04 and
# newer. Quick and silent when nothing is missing, safe to repeat.
#
#   scripts/setup.sh          tools of the demo and the tests
#   scripts/setup.sh race     the same and a C compiler, which Go's race detector needs
#   scripts/setup.sh libvirt  the same and libvirt with QEMU, for virtual machines that libvirt plugs
#
# Only the installation itself needs root (directly or through sudo). Where apt
# is absent the script names what is missing and stops.
set -euo pipefail
cd "$(dirname "$0")/.."
# Open vSwitch's programs live in sbin, which a plain user's PATH lacks on Debian.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# need PACKAGE WHY PROBE... remembers PACKAGE when the command PROBE fails.
missing=()
need() {
	local package=$1 why=$2
	shift 2
	"$@" >/dev/null 2>&1 && return
	missing+=("$package")
	say "missing: $package ($why)"
}
have() { command -v "$1"; }
have_libvirt_qemu() { ls /usr/lib*/libvirt/connection-driver/libvirt_driver_qemu.so || ls /usr/lib/*/libvirt/connection-driver/libvirt_driver_qemu.so; }
busybox_has() { busybox --list | grep -qx "$1"; }
# A compiler without the C library's headers is no compiler; ask for both.
compiles_c() { printf '#include <stdlib.h>\n' | gcc -x c -fsyntax-only -; }

check_go() {
	local want have major minor
	want=$(sed -n 's/^go \([0-9]*\.[0-9]*\).*/\1/p' go.mod)
	command -v go >/dev/null ||
		die "go: not found; install Go $want or newer from https://go.dev/dl/ and put its bin folder on PATH"
	# Asked inside the module: Go 1.21 and newer fetch the toolchain that
	# go.mod wants, unless GOTOOLCHAIN=local forbids it.
	if ! have=$(go env GOVERSION 2>&1); then
		die "go: $(cd / && go version 2>/dev/null) is too old; install Go $want or newer from https://go.dev/dl/ ($have)"
	fi
	IFS=. read -r major minor _ <<<"${have#go}"
	minor=${minor%%[!0-9]*}
	if ! [[ $major =~ ^[0-9]+$ && $minor =~ ^[0-9]+$ ]]; then
		say "go: version \"$have\" is not a release, taken as new enough"
	elif ((major < ${want%.*} || (major == ${want%.*} && minor < ${want#*.}))); then
		die "go: version $have is too old; install Go $want or newer from https://go.dev/dl/"
	fi
}

check_tools() {
	need openvswitch-switch "the switch that nagare programs" have ovs-vswitchd
	need python3-openstackclient "the client that the walk-through types into" have openstack
	need iproute2 "network namespaces of the laboratory" have ip
	need ethtool "switches checksum offload off on laboratory interfaces" have ethtool
	need busybox-static "DHCP client of the laboratory's instances" busybox_has udhcpc
	need tcpdump "shows what passes an interface" have tcpdump
	need iputils-ping "the judge of every scenario" have ping
	need dropbear-bin "SSH server of an instance, and a client that asks nothing" have dropbear
	need curl "calls of the HTTP interfaces" have curl
	need libyang-tools "reads our YANG modules as somebody else does" have yanglint
	if [ "${1:-}" = race ]; then
		need gcc "Go's race detector uses cgo" compiles_c
		[ "${missing[*]+${missing[-1]}}" = gcc ] && missing+=(libc6-dev)
	fi
	if [ "${1:-}" = libvirt ]; then
		need libvirt-daemon "makes virtual machines and plugs them" have libvirtd
		need libvirt-daemon-driver-qemu "libvirt's way to QEMU" have_libvirt_qemu
		need libvirt-clients "virsh" have virsh
		need qemu-system-x86 "emulates the machines of libvirt" have qemu-system-x86_64
	fi
	return 0
}

# The service of the packaged Open vSwitch is not needed: the laboratory and the
# tests start their own, with their own folders, per node. So it is not started
# by the installation, which also makes that work where no init system runs
# (containers, CI). A policy that the administrator has set is left alone.
policy=/usr/sbin/policy-rc.d
hold_services() {
	[ -e $policy ] && return
	"${as_root[@]}" sh -c "printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy"
	trap '"${as_root[@]}" rm -f $policy' EXIT
}

install_missing() {
	command -v apt-get >/dev/null ||
		die "apt-get: not found; install by your own package manager: ${missing[*]}"
	as_root=(env)
	if [ "$(id -u)" -ne 0 ]; then
		command -v sudo >/dev/null ||
			die "installing needs root and sudo is absent; as root run: apt-get install ${missing[*]}"
		say "installing packages needs root: sudo may ask for your password"
		as_root=(sudo env)
	fi
	local apt=("${as_root[@]}" DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l
		apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
	local try updated=
	for try in 1 2 3 4 5; do
		"${apt[@]}" update && updated=yes && break
		say "apt-get update failed (try $try of 5)"
		[ "$try" = 5 ] || sleep $((try * 3))
	done
	# One broken source of many must not stop us: the installation judges.
	[ -n "$updated" ] || say "going on with the package lists that are there"
	hold_services
	say "installing: ${missing[*]}"
	"${apt[@]}" install -y --no-install-recommends "${missing[@]}" ||
		die "apt-get install ${missing[*]} failed; mend what it says above (on Ubuntu: is \"universe\" enabled?) and run make again"
	hash -r
	missing=()
	check_tools "$@"
	[ ${#missing[@]} -eq 0 ] || die "still missing after installation: ${missing[*]}"
	say "done"
}

check_go
check_tools "$@"
[ ${#missing[@]} -eq 0 ] || install_missing "$@"
