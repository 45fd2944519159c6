#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds the virtual machine of `nagare lab instance add --vm` into bin/guest: a
# User-Mode Linux kernel from the package user-mode-linux, which runs as an
# ordinary process and needs no KVM, and an initial file system of this machine's
# busybox and dropbear with test/guest/init in it. Does nothing when both are
# there and newer than what they are made of. Needs no root.
#
#   scripts/guest.sh            the machine of --vm
#   scripts/guest.sh libvirt    that and the one of --vm=libvirt: a kernel of
#                               Debian's package for clouds, and the same file
#                               system with the drivers of a virtio network card
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

out=bin/guest kernel=bin/guest/linux.uml image=bin/guest/initramfs.gz
pc_kernel=bin/guest/vmlinuz pc_image=bin/guest/initramfs-virtio.gz
case "${1:-}" in
"" | libvirt) ;;
*) echo "guest: \"$1\": use scripts/guest.sh, or scripts/guest.sh libvirt" >&2; exit 2 ;;
esac
say() { printf 'guest: %s\n' "$*"; }
die() { printf 'guest: %s\n' "$*" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work" # apt fetches as a user of its own when root calls it
mkdir -p $out

# fetch PACKAGE SIZE PATH... unpacks files of a package of the distribution below $work.
fetch() {
	local package=$1 size=$2
	shift 2
	command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
		die "apt-get or dpkg-deb: not found; put the kernel into $out by hand"
	say "fetching the package $package ($size MB)"
	(cd "$work" && apt-get -qq -o APT::Sandbox::User="$(id -un)" download "$package") ||
		die "$package: not fetched; run 'apt-get update' as root and try again"
	dpkg-deb --fsys-tarfile "$work/$package"_*.deb | tar -x -C "$work" --wildcards "$@"
}

# pack ROOT makes an initial file system of a folder, on its standard output. The
# kernel takes several of them one after the other as one.
pack() { (cd "$1" && find . -mindepth 1 | sort | busybox cpio -o -H newc -R 0:0 2>/dev/null) | gzip -9n; }

if [ ! -x $kernel ]; then
	fetch user-mode-linux 41 ./usr/bin/linux.uml
	install -m 755 "$work/usr/bin/linux.uml" $kernel
fi

if ! [ $image -nt test/guest/init ] || ! [ $image -nt test/guest/lease ] || ! [ $image -nt scripts/guest.sh ]; then
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
	pack "$root" >"$work/initramfs.gz"
	install -m 644 "$work/initramfs.gz" $image
	say "$kernel, $image ($(stat -c %s $image) octets)"
fi

[ "${1:-}" = libvirt ] || exit 0
[ -s $pc_kernel ] && [ $pc_image -nt $image ] && exit 0
# The package that this one stands for, whose name has the version in it.
package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/.*Depends: //p' | head -n 1)
[ -n "$package" ] || die "linux-image-cloud-amd64: not known to apt; it is Debian's, for x86-64"
fetch "$package" 27 './boot/vmlinuz-*' \
	'*/kernel/drivers/virtio/*' '*/kernel/net/core/failover.ko*' '*/kernel/drivers/net/net_failover.ko*' '*/kernel/drivers/net/virtio_net.ko*'
# In the order in which each finds what it needs.
mkdir -p "$work/drivers/modules"
n=10
for module in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci failover net_failover virtio_net; do
	file=$(find "$work" -path "*/kernel/*/$module.ko*" | head -n 1)
	[ -n "$file" ] || die "$module: the package $package has no such driver"
	case $file in
	*.xz) xz -dc "$file" ;;
	*) cat "$file" ;;
	esac >"$work/drivers/modules/$n-$module.ko"
	n=$((n + 1))
done
{ cat $image && pack "$work/drivers"; } >"$work/initramfs-virtio.gz"
install -m 644 "$work/initramfs-virtio.gz" $pc_image
install -m 644 "$work"/boot/vmlinuz-* $pc_kernel
say "$pc_kernel, $pc_image ($(stat -c %s $pc_image) octets)"
