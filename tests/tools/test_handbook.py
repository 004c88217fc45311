"""The handbooks in docs/ name only commands, options, alerts, tests, places and error codes that exist."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from minervas_core.errors import Code
from minervas_core.genesis import Parameters

ROOT = Path(__file__).parents[2]
HANDBOOKS = sorted((ROOT / "docs").glob("*.md"))
PROGRAMS = {
    "minervas": "minervas_peer.cli",
    "minervas-peer": "minervas_peer.__main__",
    "minervas-ledger": "minervas_ledger.__main__",
    "minervas-miner": "minervas_miner.__main__",
    "minervas-meter-gateway": "minervas_meter_gateway.__main__",
    "minervas-admission": "minervas_admission.__main__",
}
NO_CODES = frozenset(Parameters.__struct_fields__)
"""What is written like a code and is something else."""


def texts() -> Iterator[tuple[str, str]]:
    """Every line of code in a handbook: of fenced blocks, and what stands between backticks."""
    for file in HANDBOOKS:
        text = file.read_text(encoding="utf-8")
        blocks = re.findall(r"^```\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
        lines = [line for block in blocks for line in block.splitlines()]
        rest = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
        for code in [*lines, *re.findall(r"`([^`\n]+)`", rest)]:
            yield file.name, code.partition(" # ")[0].strip()


def commands() -> list[tuple[str, list[str]]]:
    """Calls of our programs, also as an argument of docker compose: program and what follows."""
    found: list[tuple[str, list[str]]] = []
    for _, code in texts():
        is_shell = code.count('"') % 2 == 0 and "'" not in code and not code.endswith("\\")
        words = shlex.split(code, comments=True) if is_shell else code.split()
        if any(word in PROGRAMS for word in words):
            start = next(number for number, word in enumerate(words) if word in PROGRAMS)
            if start == 0 or words[:2] == ["docker", "compose"]:
                found.append((words[start], words[start + 1 :]))
    return found


@cache
def help_of(program: str, verbs: tuple[str, ...]) -> tuple[int, str]:
    """Exit status and text of ``--help``."""
    import io  # noqa: PLC0415 - only here
    from contextlib import redirect_stderr, redirect_stdout  # noqa: PLC0415

    module = importlib.import_module(PROGRAMS[program])
    before, output = sys.argv, io.StringIO()
    sys.argv = [program, *verbs, "--help"]
    try:
        with redirect_stdout(output), redirect_stderr(output), pytest.raises(SystemExit) as end:
            module.main()
    finally:
        sys.argv = before
    return int(end.value.code or 0), output.getvalue()


def test_every_command_and_option_that_a_handbook_names_exists() -> None:
    assert len(commands()) > 30
    for program, words in commands():
        verbs: list[str] = []
        for word in words:  # as many as are names of commands
            if not re.fullmatch(r"[a-z][a-z-]*", word) or help_of(program, (*verbs, word))[0] != 0:
                break
            if verbs and help_of(program, (*verbs, word))[1] == help_of(program, tuple(verbs))[1]:
                break  # an argument, not a command
            verbs.append(word)
        if not words:
            continue
        assert verbs, (program, words)
        text = help_of(program, tuple(verbs))[1]
        for option in (word.partition("=")[0] for word in words if word.startswith("--")):
            assert re.search(rf"{option}\b", text), (program, words, option)


def test_every_alert_has_a_section() -> None:
    sections = set(re.findall(r"^### (\S+)$", (ROOT / "docs/operating.md").read_text(encoding="utf-8"), re.MULTILINE))
    rules = yaml.safe_load((ROOT / "infra/prometheus/rules.yml").read_text(encoding="utf-8"))
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
    grafana = ROOT / "infra/grafana/alerting/rules.json"
    if grafana.exists():
        alerts |= {rule["uid"] for rule in json.loads(grafana.read_text(encoding="utf-8"))}
    assert alerts <= sections


def test_every_error_code_that_a_handbook_names_exists() -> None:
    codes = {str(code) for code in Code}
    named = {code for _, code in texts() if re.fullmatch(r"(?!test_)[a-z]+(_[a-z]+)+", code)} - NO_CODES
    assert named
    assert named <= codes


def test_every_test_that_a_handbook_names_exists() -> None:
    named = {code for _, code in texts() if code.startswith("tests/")}
    assert len(named) > 20
    assert [path for path in named if not (ROOT / path).exists()] == []


def anchor(heading: str) -> str:
    """The name under which a heading is linked to, as hosts of repositories make it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_links_of_the_handbooks_lead_somewhere() -> None:
    for file in HANDBOOKS:
        for target in re.findall(r"\]\(([^)#]*)(?:#[^)]*)?\)", file.read_text(encoding="utf-8")):
            assert target == "" or target.startswith("http") or (file.parent / target).exists(), (file.name, target)
        for target, place in re.findall(r"\]\(([^)#]*)#([^)]*)\)", file.read_text(encoding="utf-8")):
            linked = (file.parent / target if target else file).read_text(encoding="utf-8")
            assert place in {anchor(heading) for heading in re.findall(r"^#+ (.+)$", linked, re.MULTILINE)}, place
