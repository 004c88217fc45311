#!/bin/sh
# Runs Mosquitto with revocation lists, CA certificates and a server certificate that follow those admission publishes.
#
# Mosquitto reads them only at start and on SIGHUP, and takes a broken list badly: 2.0 then accepts revoked
# certificates, 2.1 exits. A CA without a list in the file has all its clients refused. So this script waits for a first
# valid list, starts Mosquitto as its child, looks five times a second for something new, checks it, puts a private
# copy in place atomically, and only then sends the HUP, which leaves all connections alone.
# Each digest file is written after its file, so it tells that the file is complete. POSIX sh, also for busybox.
#
# Never run as root: Mosquitto would drop to another user, who has to read the key again at every HUP.
set -eu

live=${MINERVAS_BROKER_LIVE:-/mosquitto/live}   # own directory: rendered configuration, private copies of what is in use
pki=${MINERVAS_BROKER_PKI:-/mosquitto/pki}      # ca.crt server.crt server.key, to begin with
crl=${MINERVAS_BROKER_CRL:-/mosquitto/crl}      # ca.crl ca.crt server.crt, each with .sha256, written by admission
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

# Sets $published to the digest that admission last announced of $1; fails while there is none.
read_published_digest() {
    published=
    read -r published _ 2>/dev/null <"$crl/$1.sha256" || [ -n "$published" ]
}

# Copies the announced $1 to $new; on failure $problem says why.
copy_published() {
    new=$live/$1.new
    if ! cp "$crl/$1" "$new" 2>/dev/null; then problem="cannot read $crl/$1"; return 1; fi
    digest=$(sha256sum "$new")
    if [ "${digest%% *}" != "$published" ]; then problem="digest differs from $1.sha256"; return 1; fi
}

# Judges every PEM block of file $1, which must be of kind $2, with program $3 (and what it should be, $4): $facts gets
# what the program says of each, separated by spaces; on failure $problem says why.
judge_blocks() {
    facts=
    rm -f "$live"/block.*
    if ! problem=$(awk -v kind="$2" -v out="$live/block" -f "$here/pem_blocks.awk" "$1"); then return 1; fi
    for block in "$live"/block.*; do
        if ! base64 -d <"$block" >"$live/block.der" 2>/dev/null; then problem="not base64"; return 1; fi
        if ! fact=$(od -An -v -tx1 -N 8192 "$live/block.der" | LC_ALL=C awk -v now="$(date -u +%Y%m%d%H%M%S)" -v want="${4:-}" \
            -v total="$(wc -c <"$live/block.der")" -f "$here/der.awk" -f "$here/$3"); then
            problem=$fact
            return 1
        fi
        facts="$facts${facts:+ }$fact"
    done
}

# Whether every word of $1 is a word of $2.
covers() {
    for word in $1; do
        case " $2 " in *" $word "*) ;; *) return 1 ;; esac
    done
}

# Whether the file $1 has CA certificates that can be used; $facts gets their subjects.
judge_authorities() {
    judge_blocks "$1" CERTIFICATE certificate_check.awk authority || return 1
    if [ -n "$listed" ] && ! covers "$facts" "$listed"; then
        problem="no revocation list of one of them yet"
        return 1
    fi
}

judge_crl() {
    judge_blocks "$1" 'X509 CRL' crl_check.awk || return 1
    # shellcheck disable=SC2086 # words
    if [ -n "$(printf '%s\n' $facts | sort | uniq -d)" ]; then problem="two lists of one CA"; return 1; fi
    if ! covers "$authorities" "$facts"; then problem="no list of a CA in ca.crt"; return 1; fi
}

# Whether the file $1 has a server certificate for our key by one of our CAs.
judge_server() {
    judge_blocks "$1" CERTIFICATE certificate_check.awk server || return 1
    case $facts in *' '*' '*) problem="more than one certificate"; return 1 ;; esac
    if [ "${facts#* }" != "$own_key" ]; then problem="for another key than that of $pki/server.crt"; return 1; fi
    if ! covers "${facts% *}" "$authorities"; then problem="not by a CA in ca.crt"; return 1; fi
}

# Installs a newly announced $1, called $2 for people, if $3 (a function) finds it good. $applied_digest is that of the one in use.
# Success means that $live/$1 changed, and $facts is what was found in it. Says each problem once.
install_new() {
    read_published_digest "$1" || return 1
    [ "$published" != "$applied_digest" ] || return 1
    if copy_published "$1" && "$3" "$new"; then
        mv "$new" "$live/$1"
        return 0
    fi
    case $complained in
        *"<$1 $published $problem>"*) ;;
        *) say "$2 ignored: $problem" ;;
    esac
    complained="${complained%%"<$1 "*}<$1 $published $problem>"
    return 1
}

install_new_authorities() {
    applied_digest=$applied_ca
    install_new ca.crt "CA certificates" judge_authorities || return 1
    applied_ca=$published authorities=$facts
}

install_new_crl() {
    applied_digest=$applied_crl
    install_new ca.crl "revocation list" judge_crl || return 1
    applied_crl=$published listed=$facts
}

install_new_server() {
    applied_digest=$applied_server
    install_new server.crt "server certificate" judge_server || return 1
    applied_server=$published
}

# Installs whatever is new; success means that something changed, and $changed names it.
install_changes() {
    changed=
    if install_new_authorities; then changed="CA certificates"; fi
    if install_new_crl; then changed="$changed${changed:+, }revocation list"; fi
    if install_new_server; then changed="$changed${changed:+, }server certificate"; fi
    [ -n "$changed" ]
}

pki_ready() {
    for file in "$pki/ca.crt" "$pki/server.crt" "$pki/server.key"; do
        [ -r "$file" ] || { missing=$file; return 1; }
    done
}

# Begins with the certificates in $pki; newer ones that admission published since then replace them at once.
install_first() {
    judge_blocks "$pki/server.crt" CERTIFICATE certificate_check.awk server_of_any_time || die "$pki/server.crt: $problem"
    own_key=${facts#* }
    cp "$pki/server.crt" "$live/server.crt"
    if ! install_new_authorities; then
        judge_authorities "$pki/ca.crt" || die "$pki/ca.crt: $problem"
        cp "$pki/ca.crt" "$live/ca.crt"
        authorities=$facts
    fi
    install_new_server || :
}

# A change of CAs may be under way: then lists and certificates fit together again a moment later.
install_first_crl() {
    if install_new_crl; then return 0; fi
    if install_new_authorities; then install_new_server || :; fi
    return 1
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

# Whether the broker waits for a HUP already. Before it does, a HUP ends it: it has just begun to start.
takes_hup() {
    while read -r field mask; do
        case $field:$mask in SigCgt::*[13579bdf] | SigBlk::*[13579bdf]) return 0 ;; esac
    done <"/proc/$child/status" 2>/dev/null
    return 1
}

stop() {
    stopping=yes
    if [ -z "${!:-}" ]; then exit 0; fi
    kill -TERM "$!" 2>/dev/null || :
}

[ "$(id -u)" -ne 0 ] || die "do not run as root; run as the user who owns $data and $live"
umask 027
export TZ=UTC0
stopping='' complained='' missing=''
applied_ca='' applied_crl='' applied_server='' # digests of what is in use of what admission published
authorities='' listed='' own_key=''            # subjects of the CAs, issuers of the lists, our public key, in hex
trap stop TERM INT
trap : HUP # a HUP for this script is not a reason to reload, nor to leave the child alone
find_mosquitto
find_plugin
mkdir -p "$live" "$data"
render_config
bootstrap_rights
wait_for pki_ready
missing=
install_first
wait_for install_first_crl

export OPENSSL_CONF="$here/openssl.cnf"
"$mosquitto" -c "$live/mosquitto.conf" &
child=$!
to_reload=''
while kill -0 "$child" 2>/dev/null; do
    if install_changes; then to_reload="${to_reload:+$to_reload, }$changed"; fi
    if [ -n "$to_reload" ] && takes_hup; then
        kill -HUP "$child" && say "$to_reload reloaded"
        to_reload=''
    fi
    sleep 0.2
done
status=0
wait "$child" || status=$?
[ -n "$stopping" ] || say "error: mosquitto ended with status $status"
exit "$status"
