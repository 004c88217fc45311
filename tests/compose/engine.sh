#!/bin/sh
# A container engine for the compose test, on a machine that has none, and base images where none can be pulled.
#
#   sh tests/compose/engine.sh start DIR    DIR/env then says how to reach it (DOCKER_HOST, DOCKER_CONFIG)
#   sh tests/compose/engine.sh stop DIR     ends the engine if `start` started one
#
# An engine that runs already is used as it is. Otherwise: docker.io through apt (needs root or sudo), a daemon of our
# own with everything of it below DIR; compose and buildx out of Debian trixie's packages if the machine has no compose
# 2.24. Images that cannot be pulled are replaced by stand-ins from tests/compose/images, made of trixie's packages.
# Packages come from the mirror that the machine itself uses. What is made stays in DIR for the next run.
set -eu
repository=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
PATH="$PATH:/usr/sbin:/sbin"
WAIT_S=60

say() { printf 'engine: %s\n' "$*"; }
die() { say "error: $*" >&2; exit 1; }

running() { docker info >/dev/null 2>&1; }

start_daemon() {
    if running; then say "using the engine of this machine"; return; fi
    command -v dockerd >/dev/null || sh "$repository/tools/apt_install.sh" docker.io
    [ "$(id -u)" -eq 0 ] || die "a container engine is needed: start dockerd, or run this as root"
    sockets=$(mktemp -d "${TMPDIR:-/tmp}/minervas-engine.XXXXXX") # a socket's path must be short
    export DOCKER_HOST="unix://$sockets/docker.sock"
    nohup dockerd --host "$DOCKER_HOST" --data-root "$dir/data" --exec-root "$sockets/exec" \
        --pidfile "$dir/dockerd.pid" >"$dir/dockerd.log" 2>&1 </dev/null &
    echo "$!" >"$dir/started"
    waited=0
    until running; do
        kill -0 "$(cat "$dir/started")" 2>/dev/null || { tail -n 20 "$dir/dockerd.log" >&2; die "dockerd did not start"; }
        [ "$waited" -lt "$WAIT_S" ] || die "dockerd does not answer; see $dir/dockerd.log"
        waited=$((waited + 1))
        sleep 1
    done
    say "started dockerd $(docker version --format '{{.Server.Version}}')"
}

has_compose() {
    version=$(docker compose version --short 2>/dev/null) || return 1
    docker buildx version >/dev/null 2>&1 || return 1
    major=${version%%.*} rest=${version#*.}
    [ "${major#v}" -gt 2 ] || [ "${rest%%.*}" -ge 24 ]
}

# Debian trixie below $dir/trixie, from the machine's own mirror.
make_trixie() {
    [ ! -e "$dir/trixie/complete" ] || return 0
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 2>/dev/null | grep -v -e security -e updates | head -n 1)
    [ -n "$mirror" ] || die "this machine has no Debian mirror; install Docker with compose 2.24, and let it pull images"
    command -v debootstrap >/dev/null || sh "$repository/tools/apt_install.sh" debootstrap
    say "making Debian trixie from the machine's mirror"
    rm -rf "$dir/trixie"
    timeout 900 debootstrap --variant=minbase --include=ca-certificates trixie "$dir/trixie" "$mirror" >"$dir/debootstrap.log" 2>&1 \
        || { tail -n 20 "$dir/debootstrap.log" >&2; die "debootstrap failed"; }
    rm -rf "$dir/trixie/var/cache/apt/archives"/*.deb "$dir/trixie/usr/share/doc" "$dir/trixie/usr/share/man"
    touch "$dir/trixie/complete"
}

install_plugins() {
    if has_compose; then return; fi
    make_trixie
    say "unpacking compose and buildx out of trixie's packages"
    packages=$dir/trixie/tmp/packages
    mkdir -p "$packages" "$DOCKER_CONFIG/cli-plugins"
    cp /etc/resolv.conf "$dir/trixie/etc/resolv.conf"
    chroot "$dir/trixie" sh -c 'cd /tmp/packages && apt-get update -q && apt-get download -q docker-compose docker-buildx' >"$dir/plugins.log" 2>&1 \
        || { tail -n 20 "$dir/plugins.log" >&2; die "apt-get download failed"; }
    for package in "$packages"/*.deb; do dpkg-deb --extract "$package" "$dir/plugins"; done
    cp "$dir"/plugins/usr/libexec/docker/cli-plugins/* "$DOCKER_CONFIG/cli-plugins/"
    rm -rf "$packages" "$dir/plugins"
    has_compose || die "compose does not work: $(docker compose version 2>&1)"
}

# stand_in IMAGE FOLDER
stand_in() {
    make_trixie
    if ! docker image inspect minervas-test/debian:trixie >/dev/null 2>&1; then
        tar -C "$dir/trixie" --exclude='./proc/*' --exclude='./sys/*' --exclude='./dev/*' -c . \
            | docker import - minervas-test/debian:trixie >/dev/null
    fi
    context=$dir/images/$2
    rm -rf "$context" && mkdir -p "$context"
    cp "$repository/tests/compose/images/$2"/* "$context/"
    cp /etc/ssl/certs/ca-certificates.crt "$context/" # whoever intercepts TLS is trusted as on this machine
    say "making a stand-in for $1"
    docker buildx build --quiet --load --tag "$1" "$context" >/dev/null
}

base_images() {
    pulls=yes
    for pair in python:3.13-slim-trixie=python postgres:17=postgres eclipse-mosquitto:2.1.2-alpine=mosquitto; do
        image=${pair%=*}
        if docker image inspect "$image" >/dev/null 2>&1; then continue; fi
        if [ "$pulls" = yes ] && timeout 300 docker pull --quiet "$image" >/dev/null 2>&1; then continue; fi
        pulls=no # one that cannot be pulled is enough
        stand_in "$image" "${pair#*=}"
    done
}

start() {
    mkdir -p "$dir/config"
    if ! has_compose; then export DOCKER_CONFIG="$dir/config"; fi
    start_daemon
    install_plugins
    base_images
    {
        [ -z "${DOCKER_HOST:-}" ] || echo "DOCKER_HOST=$DOCKER_HOST"
        [ -z "${DOCKER_CONFIG:-}" ] || echo "DOCKER_CONFIG=$DOCKER_CONFIG"
    } >"$dir/env"
    say "ready: engine $(docker version --format '{{.Server.Version}}'), compose $(docker compose version --short)"
}

stop() {
    [ -s "$dir/started" ] || exit 0
    daemon=$(cat "$dir/started")
    rm -f "$dir/started" "$dir/env"
    kill "$daemon" 2>/dev/null || exit 0
    waited=0
    while kill -0 "$daemon" 2>/dev/null && [ "$waited" -lt "$WAIT_S" ]; do
        waited=$((waited + 1))
        sleep 1
    done
    say "stopped dockerd"
}

[ "$#" -eq 2 ] || die "usage: engine.sh start|stop DIR"
mkdir -p "$2"
dir=$(CDPATH='' cd -- "$2" && pwd)
case $1 in
    start) start ;;
    stop) stop ;;
    *) die "usage: engine.sh start|stop DIR" ;;
esac
