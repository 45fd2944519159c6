#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The demo: builds the two-node laboratory, runs the walk-through on it, leaves it
# running and says what to try next. Run it by `make demo`, which installs and
# builds first; `make demo PROFILE=classic` shows the other profile. Root is needed
# for network namespaces and Open vSwitch.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

root=() hint=
if [ "$(id -u)" -ne 0 ]; then
	echo "demo: network namespaces and Open vSwitch need root: sudo may ask for your password"
	root=(sudo env "PATH=$PATH")
	hint="sudo "
fi
profile=${PROFILE:-standard}
"${root[@]}" bin/nagare lab up --profile "$profile"
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
TEXT
if [ "$profile" = standard ]; then
	# The first flow that admits an instance's frames.
	cookie=$("${root[@]}" bin/nagare lab exec compute -- ovs-ofctl -O OpenFlow13 dump-flows br-int table=0 |
		sed -n 's/.*\(cookie=0x[0-9a-f]*\),.*dl_src=.*/\1/p' | head -n 1)
	cat <<TEXT

vm01 has the floating IP 172.16.1.4; the controller node is the machine in front of the cloud (password cubswin:) ):

  ${hint}bin/nagare lab exec controller -- dbclient -y -y cirros@172.16.1.4    # or ssh
  ${hint}bin/nagare lab exec vm02 -- ping -c 3 172.16.1.1          # out without one, as the router
  openstack floating ip unset --port 172.16.1.4                # at once nobody answers there

Whose is a flow? Each has a cookie that says so (as the operator):

  ${hint}bin/nagare lab exec compute -- ovs-ofctl -O OpenFlow13 dump-flows br-int
  bin/nagare explain compute $cookie

The default group admits its members only; a rule lets others in, at once (as the tenant):

  openstack security group create web
  ${hint}bin/nagare lab instance add vm05 --network net01 --node controller --security-group web
  ${hint}bin/nagare lab exec vm05 -- curl -m 2 http://10.11.12.3/  # no answer
  openstack security group rule create --protocol tcp --dst-port 80 --remote-group web default
  ${hint}bin/nagare lab exec vm05 -- curl -m 2 http://10.11.12.3/  # refused by vm01, where nothing listens: it gets there
  ${hint}bin/nagare lab instance move vm05 --to compute            # a migration: the same address, the same groups
TEXT
fi
cat <<TEXT

  ${hint}bin/nagare lab down                       # ends everything, leaves nothing behind
TEXT
