#!/bin/sh
# Runs Mosquitto with a revocation list that follows the one admission publishes.
#
# Mosquitto reads its CRL only at start and on SIGHUP, and takes a broken one badly: 2.0 then accepts revoked
# certificates, 2.1 exits. So this script waits for a first valid list, starts Mosquitto as its child, looks five
# times a second for a new list, checks it, puts a private copy in place atomically, and only then sends the HUP.
# The digest file is written after the list, so it tells that the list is complete. POSIX sh, also for busybox.
#
# Never run as root: Mosquitto would drop to another user, who has to read the key again at every HUP.
set -eu

live=${MINERVAS_BROKER_LIVE:-/mosquitto/live}   # own directory: rendered configuration, private copy of the CRL
pki=${MINERVAS_BROKER_PKI:-/mosquitto/pki}      # ca.crt server.crt server.key
crl=${MINERVAS_BROKER_CRL:-/mosquitto/crl}      # ca.crl ca.crl.sha256, written by admission
data=${MINERVAS_BROKER_DATA:-/mosquitto/data}   # dynsec.json, persistence
port=${MINERVAS_BROKER_PORT:-8883}
bind=${MINERVAS_BROKER_BIND:-}                  # empty = all addresses
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

say() { printf '%s: minervas-broker: %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$*"; }
die() { say "error: $*" >&2; exit 2; }

find_mosquitto() {
    for candidate in "${MOSQUITTO_BIN:-mosquitto}" /usr/sbin/mosquitto /usr/local/sbin/mosquitto; do
        if mosquitto=$(command -v "$candidate"); then return; fi
        [ -z "${MOSQUITTO_BIN:-}" ] || break
    done
    die "no mosquitto program (${MOSQUITTO_BIN:-mosquitto}): install it or set MOSQUITTO_BIN"
}

find_plugin() {
    plugin=${MINERVAS_DYNSEC_PLUGIN:-}
    if [ -z "$plugin" ]; then
        for candidate in /usr/lib/mosquitto_dynamic_security.so /usr/lib/*/mosquitto_dynamic_security.so \
            /usr/local/lib/mosquitto_dynamic_security.so; do
            if [ -f "$candidate" ]; then plugin=$candidate; break; fi
        done
    fi
    [ -f "$plugin" ] || die "no dynamic-security plugin ($plugin): set MINERVAS_DYNSEC_PLUGIN"
}

render_config() {
    case "$live$pki$data$plugin$bind" in *['|&\']*) die "paths must not contain | & or \\" ;; esac
    case $port in '' | *[!0-9]*) die "MINERVAS_BROKER_PORT is not a number: '$port'" ;; esac
    case $("$mosquitto" -h 2>&1 | head -n 1) in
        *' 2.0.'*) keep='2\.0' drop='2\.1' ;;
        *' 2.'*) keep='2\.1' drop='2\.0' ;;
        *) die "$mosquitto is not Mosquitto 2" ;;
    esac
    sed -e "/^@$drop@ /d" -e "s/^@$keep@ //" -e "s|@DYNSEC_PLUGIN@|$plugin|" \
        -e "s|@SQLITE_PLUGIN@|$(dirname -- "$plugin")/mosquitto_persist_sqlite.so|" \
        -e "s|@DATA@|$data|" -e "s|@PKI@|$pki|" -e "s|@LIVE@|$live|" \
        -e "s|@PORT@|$port|" -e "s|@BIND@|${bind:+ $bind}|" \
        "$here/mosquitto.conf.template" >"$live/mosquitto.conf"
}

# 2.1 fills a missing file with open clients of its own, 2.0 locks everybody out: it must always be there.
bootstrap_rights() {
    [ ! -s "$data/dynsec.json" ] || return 0
    (umask 077 && cp "$here/dynsec-bootstrap.json" "$data/dynsec.json.new")
    mv "$data/dynsec.json.new" "$data/dynsec.json"
    say "wrote $data/dynsec.json: only consortium.admission is let in"
}

# Sets $published to the digest admission last announced; fails while there is none.
read_published_digest() {
    published=
    read -r published _ 2>/dev/null <"$crl/ca.crl.sha256" || [ -n "$published" ]
}

# Copies the announced list and checks the copy; on failure $problem says why.
fetch_crl() {
    new=$live/ca.crl.new
    if ! cp "$crl/ca.crl" "$new" 2>/dev/null; then problem="cannot read $crl/ca.crl"; return 1; fi
    digest=$(sha256sum "$new")
    if [ "${digest%% *}" != "$published" ]; then problem="digest differs from ca.crl.sha256"; return 1; fi
    if [ "$(head -n 1 "$new")" != '-----BEGIN X509 CRL-----' ] || [ "$(tail -n 1 "$new")" != '-----END X509 CRL-----' ] ||
        [ "$(grep -c -- '-----' "$new")" != 2 ]; then
        problem="not one PEM revocation list"; return 1
    fi
    if ! sed -e '/^-----/d' "$new" | base64 -d >"$live/ca.crl.der" 2>/dev/null; then problem="not base64"; return 1; fi
    problem=$(od -An -v -tx1 -N 4096 "$live/ca.crl.der" | LC_ALL=C awk -v now="$(date -u +%Y%m%d%H%M%S)" \
        -v total="$(wc -c <"$live/ca.crl.der")" -f "$here/crl_check.awk") || return 1
}

# Installs a newly announced list; success means that $live/ca.crl changed. Says each problem once.
install_new_crl() {
    read_published_digest || return 1
    [ "$published" != "$applied" ] || return 1
    if ! fetch_crl; then
        [ "$published $problem" = "$complained" ] || say "revocation list ignored: $problem"
        complained="$published $problem"
        return 1
    fi
    mv "$new" "$live/ca.crl"
    applied=$published
}

pki_ready() {
    for file in "$pki/ca.crt" "$pki/server.crt" "$pki/server.key"; do
        [ -r "$file" ] || { missing=$file; return 1; }
    done
}

# Waits for $1 (a function) and every 30 s says what it waits for.
wait_for() {
    polls=0
    until "$1"; do
        if [ $((polls % 150)) -eq 0 ]; then say "waiting for ${missing:-a valid revocation list in $crl}"; fi
        polls=$((polls + 1))
        sleep 0.2
    done
}

stop() {
    stopping=yes
    if [ -z "${!:-}" ]; then exit 0; fi
    kill -TERM "$!" 2>/dev/null || :
}

[ "$(id -u)" -ne 0 ] || die "do not run as root; run as the user who owns $data and $live"
umask 027
export TZ=UTC0
stopping='' applied='' complained='' missing=''
trap stop TERM INT
trap : HUP # a HUP for this script is not a reason to reload, nor to leave the child alone
find_mosquitto
find_plugin
mkdir -p "$live" "$data"
render_config
bootstrap_rights
wait_for pki_ready
missing=
wait_for install_new_crl

export OPENSSL_CONF="$here/openssl.cnf"
"$mosquitto" -c "$live/mosquitto.conf" &
child=$!
while kill -0 "$child" 2>/dev/null; do
    if install_new_crl; then
        kill -HUP "$child" && say "revocation list reloaded"
    fi
    sleep 0.2
done
status=0
wait "$child" || status=$?
[ -n "$stopping" ] || say "error: mosquitto ended with status $status"
exit "$status"
