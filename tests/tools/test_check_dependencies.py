"""The guard of the declared dependencies: an import that a distribution's own container would not have is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import check_dependencies, workspace
from tools.workspace import Distribution

PROVIDERS = {"fastapi": ["fastapi"], "starlette": ["starlette"], "yaml": ["PyYAML"], "msgspec": ["msgspec"]}


def complaints(monkeypatch: pytest.MonkeyPatch, folder: Path, source: str) -> list[str]:
    monkeypatch.setattr(check_dependencies, "ROOT", folder)
    module = folder / "src" / "minervas_miner" / "module.py"
    module.parent.mkdir(parents=True)
    module.write_text(source, encoding="utf-8")
    members = {
        "minervas-core": Distribution("minervas-core", folder / "core", ("msgspec>=0.22",)),
        "minervas-peer": Distribution("minervas-peer", folder / "peer", ("fastapi",)),
        "minervas-miner": Distribution("minervas-miner", folder, ("minervas-core", "pyyaml>=6")),
    }
    return list(check_dependencies.undeclared(members["minervas-miner"], members, PROVIDERS))


@pytest.mark.parametrize(
    "source",
    [
        "import os.path, json",
        "import yaml",
        "from minervas_core import keys",
        "import msgspec",
        "from . import other",
        "import minervas_miner.x",
    ],
)
def test_covered_imports_pass(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str) -> None:
    assert complaints(monkeypatch, tmp_path, source) == []


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("import fastapi", "fastapi"),
        ("def f():\n    from starlette.responses import Response", "starlette"),
        ("import minervas_peer", "minervas-peer"),
        ("import no_such_package", "something that is not installed"),
    ],
)
def test_imports_of_what_is_not_installed_with_it_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str, missing: str
) -> None:
    (complaint,) = complaints(monkeypatch, tmp_path, source)
    assert complaint.startswith("src/minervas_miner/module.py:")
    assert complaint.endswith(f"minervas-miner does not depend on {missing}")


def test_only_programs_have_requirement_sets_of_their_own() -> None:
    deployed = {name for name, member in workspace.distributions().items() if member.is_deployed}
    assert deployed == set(workspace.distributions()) - {"minervas-core", "minervas-runtime"}
