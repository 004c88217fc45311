#!/bin/sh
# Install what tests of pages and documents need: Chromium, a font with Korean letters, and a reader of PDFs.
set -eu
cd "$(dirname "$0")/.."
set --
if ! command -v chromium >/dev/null; then
    printf '==> There is no chromium on this machine: the browser tests run a real one\n'
    set -- chromium
fi
if ! [ -d /usr/share/fonts/truetype/nanum ]; then set -- "$@" fonts-nanum; fi
if ! command -v pdftotext >/dev/null; then set -- "$@" poppler-utils; fi
if [ "$#" -gt 0 ]; then sh tools/apt_install.sh "$@"; fi
