#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds the virtual machine of `nagare lab instance add --vm` into bin/guest: a
# User-Mode Linux kernel from the package user-mode-linux, which runs as an
# ordinary process and needs no KVM, and an initial file system of this machine's
# busybox and dropbear with test/guest/init in it. Does nothing when both are
# there and newer than what they are made of. Needs no root.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

out=bin/guest kernel=bin/guest/linux.uml image=bin/guest/initramfs.gz
say() { printf 'guest: %s\n' "$*"; }
die() { printf 'guest: %s\n' "$*" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work" # apt fetches as a user of its own when root calls it
mkdir -p $out

if [ ! -x $kernel ]; then
	command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
		die "apt-get or dpkg-deb: not found; put a User-Mode Linux kernel at $kernel by hand"
	say "fetching the package user-mode-linux (41 MB)"
	(cd "$work" && apt-get -qq -o APT::Sandbox::User="$(id -un)" download user-mode-linux) ||
		die "user-mode-linux: not fetched; run 'apt-get update' as root and try again"
	dpkg-deb --fsys-tarfile "$work"/user-mode-linux_*.deb | tar -x -C "$work" ./usr/bin/linux.uml
	install -m 755 "$work/usr/bin/linux.uml" $kernel
fi

[ $image -nt test/guest/init ] && [ $image -nt test/guest/lease ] && [ $image -nt scripts/guest.sh ] && exit 0
root=$work/root
mkdir -p "$root"/{bin,dev,proc,sys,tmp,run,root,home,etc/dropbear,usr/sbin,usr/bin}
install -m 4755 "$(command -v busybox)" "$root/bin/busybox"
ldd "$root/bin/busybox" >/dev/null 2>&1 && die "busybox: is not static; install the package busybox-static"
for program in dropbear dropbearkey; do
	file=$(command -v $program) || die "$program: not found; install the package dropbear-bin"
	install -m 755 "$file" "$root/usr/bin/"
	# Each library, and the loader, where the program looks for it.
	for library in $(ldd "$file" | grep -o '/[^ ]*'); do
		install -D -m 755 "$library" "$root$library"
	done
done
install -m 755 test/guest/init "$root/init"
install -m 755 test/guest/lease "$root/etc/lease"
echo /bin/sh >"$root/etc/shells"
(cd "$root" && find . | busybox cpio -o -H newc -R 0:0 2>/dev/null) | gzip -9n >"$work/initramfs.gz"
install -m 644 "$work/initramfs.gz" $image
say "$kernel, $image ($(stat -c %s $image) octets)"
