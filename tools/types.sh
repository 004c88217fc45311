#!/bin/sh
# mypy --strict (configured in pyproject.toml) over every distribution, the tools and the tests.
set -eu
cd "$(dirname "$0")/.."
exec .venv/bin/python -m mypy libs/*/src services/*/src devnet/src tools benchmarks tests
