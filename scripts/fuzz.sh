#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs every fuzz target of the module for FUZZTIME each (default 10s), one after
# another, and names those that failed. Arguments limit it to packages:
#
#   FUZZTIME=1m scripts/fuzz.sh ./openflow/... ./ovsdb/...
set -euo pipefail
cd "$(dirname "$0")/.."
fuzztime=${FUZZTIME:-10s}
[ $# -gt 0 ] || set -- ./...

count=0 failed=()
while read -r dir; do
	targets=$({ cat "$dir"/*_test.go 2>/dev/null || true; } | sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' | sort -u)
	for target in $targets; do
		count=$((count + 1))
		printf '== %s %s (%s)\n' "${dir#"$PWD"/}" "$target" "$fuzztime"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$fuzztime" "$dir" </dev/null ||
			failed+=("${dir#"$PWD"/}:$target")
	done
done < <(go list -f '{{.Dir}}' "$@")

[ "$count" -gt 0 ] || { echo "fuzz: no targets in $*" >&2; exit 1; }
if [ ${#failed[@]} -gt 0 ]; then
	printf 'fuzz: %d of %d targets failed: %s\n' ${#failed[@]} "$count" "${failed[*]}" >&2
	exit 1
fi
printf 'fuzz: %d targets, none failed\n' "$count"
