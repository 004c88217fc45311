#!/bin/sh
# `sbom`: a CycloneDX list of what each service brings along. `audit`: known vulnerabilities of every pinned package.
# Both use an environment of their own, pinned and checked by hash like everything else (requirements/audit.txt).
set -eu
cd "$(dirname "$0")/.."
what=${1:?sbom or audit}
tools=build/supply-chain
[ -x "$tools/bin/python" ] || .venv/bin/python -m venv "$tools"
if ! cmp -s requirements/audit.txt "$tools/installed.txt"; then
    if ! "$tools/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/audit.txt; then
        echo "make $what: the tools cannot be installed; is there a network, or a mirror of the package index?" >&2
        exit 2
    fi
    cp requirements/audit.txt "$tools/installed.txt"
fi
case $what in
sbom)
    mkdir -p build/sbom
    for set in services/*/requirements.txt; do
        folder=${set%/requirements.txt}
        "$tools/bin/cyclonedx-py" requirements "$set" --pyproject "$folder/pyproject.toml" --mc-type application \
            --output-reproducible --output-format JSON --output-file "build/sbom/${folder##*/}.cdx.json" 2>"build/sbom/log" ||
            { cat build/sbom/log >&2; exit 1; }
        echo "build/sbom/${folder##*/}.cdx.json: $(grep -c '"purl":' "build/sbom/${folder##*/}.cdx.json") packages"
    done
    rm -f build/sbom/log
    ;;
audit)
    status=0
    for set in services/*/requirements.txt requirements/dev.txt requirements/build.txt requirements/lock.txt requirements/audit.txt; do
        [ -e "$set" ] || continue
        log=build/audit.log
        "$tools/bin/pip-audit" --disable-pip --require-hashes --progress-spinner off --requirement "$set" >"$log" 2>&1 || true
        # A package that the database does not answer for is skipped, and that is no answer.
        if grep -q 'No known vulnerabilities found' "$log" && ! grep -q 'could not be audited' "$log"; then
            echo "$set: no known vulnerabilities"
        elif grep -qE 'Fix Versions' "$log"; then
            status=1
            echo "$set:" && cat "$log"
        else
            tail -n 3 "$log" >&2
            echo "make audit: nothing was checked of $set: the advisory database cannot be reached." >&2
            echo "Run it where there is a network; without an answer nothing is known to be well." >&2
            exit 2
        fi
    done
    exit $status
    ;;
*) echo "usage: $0 sbom|audit" >&2; exit 2 ;;
esac
