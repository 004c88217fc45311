"""The pictures of the dashboards in docs/screens show what infra/grafana has now (`make dashboard-pictures`)."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import pytest

from tools.dashboard_pictures.manifest import GRAFANA, MANIFEST, PAGE, ROOT, SCREENS, sha256_of

PICTURES: dict[str, dict[str, Any]] = json.loads(MANIFEST.read_text())
AGAIN = "take the pictures again with `make dashboard-pictures`, and look at them"


def test_every_dashboard_has_a_picture_and_the_solar_ones_one_in_each_language() -> None:
    drawn = {entry["drawn_from"] for entry in PICTURES.values()}
    korean = [file for folder in ("dashboards", "operator") for file in (GRAFANA / folder).glob("*.json")]
    english = list((GRAFANA / "dashboards" / "en").glob("solar-*.json"))
    missing = {str(file.relative_to(ROOT)) for file in korean + english} - drawn
    assert not missing, AGAIN


@pytest.mark.parametrize("name", PICTURES)
def test_picture_was_drawn_from_the_dashboard_as_it_is(name: str) -> None:
    entry = PICTURES[name]
    assert sha256_of(ROOT / entry["drawn_from"]) == entry["drawn_from_sha256"], AGAIN
    assert hashlib.sha256((SCREENS / name).read_bytes()).hexdigest() == entry["picture_sha256"], AGAIN


def test_no_picture_of_a_dashboard_lies_about_that_nobody_draws() -> None:
    assert {file.name for file in SCREENS.glob("grafana-*.png")} == set(PICTURES)


def test_packages_are_locked_with_hashes_and_without_addresses() -> None:
    packages = json.loads((PAGE / "package-lock.json").read_text())["packages"]
    wanted = json.loads((PAGE / "package.json").read_text())
    assert packages[""]["dependencies"] == wanted["dependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted["dependencies"].values())
    for name, entry in packages.items():
        if name:
            assert "resolved" not in entry, name
            assert entry["integrity"].startswith("sha512-"), name
