#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Repeats the tests under the race detector, with new random histories each
# round, until SOAKTIME seconds (default 1800) have passed or a round fails.
# Arguments limit it to packages.
set -euo pipefail
cd "$(dirname "$0")/.."
soaktime=${SOAKTIME:-1800}
[[ $soaktime =~ ^[0-9]+$ ]] || { echo "soak: SOAKTIME=$soaktime: give whole seconds" >&2; exit 2; }
if [ $# -eq 0 ]; then
	mapfile -t packages < <(go list ./... | grep -v '/test/e2e')
	set -- "${packages[@]}"
fi

round=0
SECONDS=0
while :; do
	round=$((round + 1))
	NAGARE_SEED=$((RANDOM * 32768 + RANDOM + 1))
	export NAGARE_SEED
	printf '== soak: round %d, %d of %d s, NAGARE_SEED=%d\n' "$round" "$SECONDS" "$soaktime" "$NAGARE_SEED"
	go test -race -shuffle=on -count=1 -p 2 -timeout 30m "$@"
	[ "$SECONDS" -lt "$soaktime" ] || break
done
printf 'soak: %d rounds in %d s, none failed\n' "$round" "$SECONDS"
