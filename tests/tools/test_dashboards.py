"""The files in infra/grafana: written by the generator, valid for Grafana, bounded, complete in both languages."""

from __future__ import annotations

import copy
import itertools
import re
import subprocess
import sys
import zoneinfo
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from tests.support.dashboard_queries import GRAFANA, all_asked, dashboards, read
from tools.dashboards.board import REFRESH
from tools.dashboards.files import all_files

SCHEMAS = read("schema/grafana.json")["schemas"]
BOARDS = dashboards("ko") | dashboards("en")
PLACES = sorted(BOARDS)
MEMBER_UIDS = {"solar-rt", "solar-today", "solar-history", "trade", "chain"}
OPERATOR_UIDS = {"fleet", "alerts"}
UNITS = {
    "amp", "d", "time:HH:mm", "time:YYYY-MM-DD HH:mm", "time:YYYY-MM-DD HH:mm:ss",
    "decbytes", "dthms", "kwatth", "none", "percent", "percentunit", "s", "short",
    "volt", "watt", "watth", "currency:financial:₩", "suffix: kWh/kWp", "suffix: ₩/kWh",
}  # fmt: skip
"""Ids in @grafana/data, and units with a text of their own."""
KINDS = {"timeseries", "stat", "gauge", "barchart", "table", "heatmap", "state-timeline", "text", "histogram"}
HANGUL = re.compile(r"[\uac00-\ud7a3]")


def problems(schema: str, content: Any) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in Draft7Validator(SCHEMAS[schema]).iter_errors(content)]


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    for place, board in BOARDS.items():
        for panel in board["panels"]:
            yield place, panel


def values_of(content: Any, key: str) -> Iterator[Any]:
    """Everything that stands under a key, anywhere; also as a property of an override."""
    if isinstance(content, list):
        for each in content:
            yield from values_of(each, key)
    elif isinstance(content, dict):
        if content.get("id") == key and "value" in content:
            yield content["value"]
        for name, each in content.items():
            if name == key:
                yield each
            yield from values_of(each, key)


def test_generated_files_are_those_that_are_committed() -> None:
    """If this fails: `make dashboards`, and look at the difference."""
    made = all_files("Asia/Seoul", "KRW")
    folders = ("dashboards", "operator", "alerting")
    there = {str(path.relative_to(GRAFANA)) for folder in folders for path in (GRAFANA / folder).rglob("*.json")}
    assert set(made) == there
    for name, content in made.items():
        assert content == (GRAFANA / name).read_text(encoding="utf-8"), name


def test_another_zone_and_currency_are_all_that_differs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tools.dashboards", "--zone", "Europe/Berlin", "--currency", "EUR"]
    subprocess.run([*command, "--output", str(tmp_path)], check=True)
    made = (tmp_path / "dashboards" / "en" / "solar-history.json").read_text(encoding="utf-8")
    ours = (GRAFANA / "dashboards" / "en" / "solar-history.json").read_text(encoding="utf-8")
    assert made == ours.replace("Asia/Seoul", "Europe/Berlin")
    assert "€" in (tmp_path / "dashboards" / "trade.json").read_text(encoding="utf-8")
    wrong = subprocess.run(
        [*command[:-3], "Mars/Base'; --", "--output", str(tmp_path)], check=False, capture_output=True
    )
    assert wrong.returncode == 2


@pytest.mark.parametrize("place", PLACES)
def test_dashboard_is_valid_for_grafanas_schema(place: str) -> None:
    board = BOARDS[place]
    assert problems("dashboard", board) == []
    for panel in board["panels"]:
        kind = panel["type"].replace("-", "")
        assert problems(f"options-{kind}", panel["options"]) == [], panel["title"]
        custom = panel["fieldConfig"]["defaults"].get("custom", {})
        if f"fields-{kind}" in SCHEMAS:  # what is left out takes Grafana's default
            wrong = [each for each in problems(f"fields-{kind}", custom) if "is a required property" not in each]
            assert wrong == [], panel["title"]


def misspelled(board: dict[str, Any]) -> None:
    board["refreshes"] = board.pop("refresh")


def text_in_a_place(board: dict[str, Any]) -> None:
    board["panels"][0]["gridPos"]["w"] = "12"


def unknown_panel_key(board: dict[str, Any]) -> None:
    board["panels"][0]["headline"] = "x"


def test_schemas_of_panels_refuse_misspelled_options() -> None:
    panel = copy.deepcopy(BOARDS["dashboards/solar-rt.json"]["panels"][0])
    assert problems("options-stat", panel["options"] | {"grafMode": "none"})
    assert problems("options-stat", panel["options"] | {"graphMode": "mountain"})
    assert problems("fields-timeseries", {"drawStyle": "lines"})


@pytest.mark.parametrize("spoil", [misspelled, text_in_a_place, unknown_panel_key])
def test_schema_refuses_what_grafana_would_ignore(spoil: Any) -> None:
    board = copy.deepcopy(BOARDS["dashboards/solar-rt.json"])
    spoil(board)
    assert problems("dashboard", board)


def test_uids_are_those_that_were_agreed() -> None:
    for folder, uids in (("dashboards", MEMBER_UIDS), ("operator", OPERATOR_UIDS)):
        for language in ("", "en/"):
            found = [
                board["uid"]
                for place, board in BOARDS.items()
                if place.startswith(f"{folder}/{language}") and place.count("/") == 1 + bool(language)
            ]
            assert sorted(found) == sorted(uids)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", board["uid"]) for board in BOARDS.values())


@pytest.mark.parametrize("place", PLACES)
def test_dashboard_has_distinct_panels_side_by_side(place: str) -> None:
    board = BOARDS[place]
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in board["panels"]:
        spot = panel["gridPos"]
        assert spot["x"] >= 0 < spot["w"]
        assert spot["x"] + spot["w"] <= 24
        assert spot["h"] >= 3
    for one, other in itertools.combinations([panel["gridPos"] for panel in board["panels"]], 2):
        apart = (
            one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        )  # fmt: skip
        assert apart


@pytest.mark.parametrize("place", PLACES)
def test_dashboard_can_be_refreshed_and_is_not_edited(place: str) -> None:
    board = BOARDS[place]
    assert board["refresh"] in ("", *REFRESH)
    assert "1s" in board["timepicker"]["refresh_intervals"]
    assert board["editable"] is False
    assert board["timezone"] in zoneinfo.available_timezones()
    assert (board["refresh"] == "1s") == (board["uid"] == "solar-rt")


def test_every_panel_says_what_it_shows_in_the_language_of_its_set() -> None:
    for place, panel in panels():
        assert panel["title"]
        assert len(panel["description"]) > 5
        for shown in (panel["title"], panel["description"], *values_of(panel["fieldConfig"], "displayName")):
            if "${" in shown:
                continue
            assert bool(HANGUL.search(shown)) == ("/en/" not in place), shown


def test_languages_differ_in_words_only() -> None:
    def bones(content: Any) -> Any:
        if isinstance(content, dict):
            kept = {
                key: bones(each)
                for key, each in content.items()
                if key not in ("title", "description", "text", "label")
            }
            if content.get("id") in ("displayName", "noValue"):
                kept.pop("value")
            return {
                key: each for key, each in kept.items() if key not in ("displayName", "noValue", "query", "summary")
            } | ({"rawSql": content["rawSql"]} if "rawSql" in content else {})
        return [bones(each) for each in content] if isinstance(content, list) else content

    for place, board in dashboards("ko").items():
        folder, name = place.split("/")
        assert bones(board) == bones(BOARDS[f"{folder}/en/{name}"])
    assert bones(read("alerting/rules.json")) == bones(read("alerting/en/rules.json"))


def test_panels_are_of_known_kinds_with_known_units() -> None:
    for _, panel in panels():
        assert panel["type"] in KINDS
        assert set(values_of(panel["fieldConfig"], "unit")) <= UNITS


def test_a_state_is_never_told_by_its_colour_alone() -> None:
    for _, panel in panels():
        for mapping in itertools.chain(*values_of(panel["fieldConfig"], "mappings")):
            options = mapping["options"]
            results = [options["result"]] if mapping["type"] == "range" else list(options.values())
            assert all(result["text"] for result in results)
            assert len({result["text"] for result in results}) == len(results)


def test_shared_answers_come_from_a_panel_that_asks() -> None:
    for place, panel in panels():
        askers = {each["id"] for each in BOARDS[place]["panels"] if any("rawSql" in t for t in each.get("targets", ()))}
        for target in panel.get("targets", ()):
            assert ("rawSql" in target) != ("panelId" in target)
            assert target.get("panelId") in {None, *askers}
    live = [panel for panel in BOARDS["dashboards/solar-rt.json"]["panels"] if "rawSql" in panel["targets"][0]]
    assert len(live) == 1, "a second must cost one query"


@pytest.mark.parametrize("asked", list(all_asked()), ids=lambda asked: asked.name)
def test_query_is_bounded_and_quotes_its_variables(asked: Any) -> None:
    has_time = "$__unixEpochFrom()" in asked.sql
    assert has_time or re.search(r"\bLIMIT \d+$", asked.sql)
    assert set(re.findall(r"\$\{\w+(?::(\w+))?\}", asked.sql)) <= {"sqlstring"}
    assert "[[" not in asked.sql
    assert set(re.findall(r"\$(?!\{)(\w+)", asked.sql)) <= {"__unixEpochFrom", "__unixEpochTo"}
    assert not re.search(r"\b(insert|update|delete|create|alter|drop|grant|set)\b", asked.sql, re.IGNORECASE)
    assert ";" not in asked.sql
    if asked.kind == "alert":
        assert "$" not in asked.sql, "the alerting engine knows no variables, and provisioning files expand them"


def test_alert_rules_are_complete() -> None:
    groups = {group["title"]: group["interval"] for group in read("alerting/groups.json")}
    rules = read("alerting/rules.json")
    assert len({rule["uid"] for rule in rules}) == len(rules)
    assert len({rule["title"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["ruleGroup"] in groups
        assert rule["folderUID"] == "solar"
        assert rule["noDataState"] in {"OK", "NoData", "Alerting"}
        assert rule["execErrState"] == "Error", "a query that fails must not claim what nobody saw"
        assert [part["refId"] for part in rule["data"]] == ["A", rule["condition"]]
        assert rule["data"][0]["datasourceUid"] == "solar"
        assert rule["data"][1]["model"]["expression"] == "A"
        assert rule["annotations"]["description"]
    assert read("alerting/policy.json")["receiver"]
