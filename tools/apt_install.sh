#!/bin/sh
# Install system packages through apt, announced, and leave no service of theirs running or enabled at boot.
#
#   sh tools/apt_install.sh PACKAGE...
#
# Debian packages of servers start and enable their service on installation. While apt runs, a policy-rc.d that
# answers "do not start" takes the place of the machine's own (which is put back, also after an interruption);
# afterwards the units that came with the packages are disabled. Packages already there are never touched.
# Needs root or sudo; without either it says which command to run.
set -eu
POLICY=/usr/sbin/policy-rc.d
SAVED=/usr/sbin/policy-rc.d.minervas-saved

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

if ! command -v apt-get >/dev/null; then
    fail "this machine has no apt-get; install with its own package manager: $* (then run make again)"
fi
by_hand="apt-get update && apt-get install --no-install-recommends $*"
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        fail "installing system packages needs root, and there is no sudo. As root run:  $by_hand"
    fi
    printf '    asking sudo for:  apt-get install --no-install-recommends %s\n' "$*"
    if [ -t 0 ]; then
        exec sudo sh "$0" "$@"
    fi
    sudo -n true 2>/dev/null || fail "sudo wants a password and there is no terminal to ask on. As root run:  $by_hand"
    exec sudo -n sh "$0" "$@"
fi

restore_policy() {
    rm -f "$POLICY"
    if [ -e "$SAVED" ]; then mv "$SAVED" "$POLICY"; fi
}

hold_services() {
    if [ -e "$SAVED" ]; then restore_policy; fi # an earlier run was killed half-way
    if [ -e "$POLICY" ]; then mv "$POLICY" "$SAVED"; fi
    trap restore_policy EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$POLICY"
    chmod 755 "$POLICY"
}

# Disable at boot what the packages brought: systemd units where systemd is used, else the start scripts.
disable_services() {
    for package in "$@"; do
        for file in $(dpkg -L "$package"); do
            case $file in
                */systemd/system/*.service | */systemd/system/*.socket) unit=$(basename "$file") ;;
                /etc/init.d/*) unit=$(basename "$file").service ;;
                *) continue ;;
            esac
            if [ -d /run/systemd/system ]; then systemctl disable --now "$unit" >/dev/null 2>&1 || true; fi
            rm -f "/etc/systemd/system/multi-user.target.wants/$unit"
            if command -v update-rc.d >/dev/null; then update-rc.d "${unit%.*}" disable >/dev/null 2>&1 || true; fi
        done
    done
}

installed() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q '^install ok installed$'; }

new=
for package in "$@"; do
    if ! installed "$package"; then new="$new $package"; fi
done
if [ -z "$new" ]; then exit 0; fi
log=$(mktemp)
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
printf '==> Installing system packages with apt:%s (no service is started or enabled)\n' "$new"
apt-get update >"$log" 2>&1 || printf '    apt-get update reported a problem; trying with the package lists at hand\n'
hold_services
# shellcheck disable=SC2086 - a list of package names
if ! apt-get -o DPkg::Lock::Timeout=180 install --yes --no-install-recommends $new >>"$log" 2>&1 </dev/null; then
    tail -n 30 "$log" >&2
    fail "apt-get could not install$new (the whole output: $log)"
fi
# shellcheck disable=SC2086
disable_services $new
rm -f "$log"
printf '    done\n'
