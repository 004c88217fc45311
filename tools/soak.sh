#!/bin/sh
# Repeat the network tests and the kills of a ledger for MINUTES, each round with a new seed; stop at the first failure and name its seed.
#
#   sh tools/soak.sh MINUTES
set -eu
cd "$(dirname "$0")/.."
end=$(($(date +%s) + ${1:?minutes} * 60))
round=0
while [ "$(date +%s)" -lt "$end" ]; do
    round=$((round + 1))
    seed=$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')
    printf '=== soak round %s, MINERVAS_SEED=%s\n' "$round" "$seed"
    if ! MINERVAS_SEED=$seed MINERVAS_KILLS=${MINERVAS_KILLS:-100} .venv/bin/python -m pytest --exitfirst --quiet \
        tests/network tests/adapters/test_ledger_kills.py; then
        printf 'soak: round %s failed; repeat it with  MINERVAS_SEED=%s make test-network\n' "$round" "$seed" >&2
        exit 1
    fi
done
printf 'soak: %s rounds passed\n' "$round"
