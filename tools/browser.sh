#!/bin/sh
# Install what the browser tests need and nothing else does: Chromium, and a font with Korean letters.
set -eu
cd "$(dirname "$0")/.."
set --
if ! command -v chromium >/dev/null; then
    printf '==> There is no chromium on this machine: the browser tests run a real one\n'
    set -- chromium
fi
if ! [ -d /usr/share/fonts/truetype/nanum ]; then set -- "$@" fonts-nanum; fi
if [ "$#" -gt 0 ]; then sh tools/apt_install.sh "$@"; fi
