#!/bin/sh
# All static checks except the types, each named before it runs; stops at the first that fails.
set -eu
cd "$(dirname "$0")/.."
check() {
    printf -- '--> %s\n' "$1"
    shift
    "$@"
}
check "ruff: style" .venv/bin/ruff check --quiet .
check "ruff: format" .venv/bin/ruff format --quiet --check .
shell_syntax() { for script in "$@"; do sh -n "$script" || return 1; done; }
check "shell: syntax" shell_syntax tools/*.sh infra/*/*.sh services/*/container/minervas-* tests/compose/*.sh tests/compose/images/*/*.sh
no_merge_markers() { ! git grep -nE '^(<{7}|>{7}) '; }
check "git: no merge markers" no_merge_markers
check "codespell: spelling" .venv/bin/codespell $(git ls-files | grep -v '^LICENSE$\|[.]pdf$')
check "import-linter: who may import whom" .venv/bin/lint-imports --no-cache
check "core: no floats, no true division" .venv/bin/python -m tools.check_core
check "requirement sets: pinned, hashed, no addresses" .venv/bin/python -m tools.check_requirements
check "dependencies: declared where they are imported" .venv/bin/python -m tools.check_dependencies
