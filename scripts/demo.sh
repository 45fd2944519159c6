#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The demo: builds the two-node laboratory, runs the walk-through on it, leaves it
# running and says what to try next. Run it by `make demo`, which installs and
# builds first. Root is needed for network namespaces and Open vSwitch.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

root=() hint=
if [ "$(id -u)" -ne 0 ]; then
	echo "demo: network namespaces and Open vSwitch need root: sudo may ask for your password"
	root=(sudo env "PATH=$PATH")
	hint="sudo "
fi
"${root[@]}" bin/nagare lab up
"${root[@]}" bin/nagare lab run walkthrough

cat <<TEXT

The laboratory is left running. Try next:

  eval "\$(${hint}bin/nagare lab openrc demo)"     # as the tenant
  openstack network list
  openstack port list

  eval "\$(${hint}bin/nagare lab openrc admin)"    # as the operator
  bin/nagare status
  bin/nagare topology
  bin/nagare flows compute                    # what the compute node's switch should hold, and does
  bin/nagare explain vm01                     # every flow of the port, with who caused it

  ${hint}bin/nagare lab exec compute -- ovs-vsctl show
  ${hint}bin/nagare lab exec vm01 -- ping -c 3 10.11.12.4
  ${hint}bin/nagare lab down                       # ends everything, leaves nothing behind
TEXT
