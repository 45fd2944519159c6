#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs every Go benchmark of the module (raw output kept in bin/bench.txt), then
# the scoreboard of test/bench: figure, ours, limit or peer, ratio; then bench/fleet
# in its quick size: the program with real switches on the peers' work.
#
#   BENCHTIME=1s BENCH=Encode scripts/bench.sh ./openflow
#   FLEET='-rounds 3 -out bin/fleet.txt' scripts/bench.sh
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
mkdir -p bin
whole=
[ $# -gt 0 ] || { whole=yes; set -- ./...; }
# One package at a time: two benchmarks at once would measure each other.
go test -run '^$' -bench "${BENCH:-.}" -benchmem -benchtime "${BENCHTIME:-300ms}" -p 1 -timeout 30m "$@" |
	tee bin/bench.txt | grep -v -e '\[no test files\]' -e '^PASS$' -e '^ok '
if [ -n "$whole" ] && ls test/bench/*.go >/dev/null 2>&1; then
	go run ./test/bench
	# FLEET holds other flags: -peer DIR runs OVN on the same work, by turns.
	# shellcheck disable=SC2086
	go run ./bench/fleet ${FLEET:--quick}
fi
