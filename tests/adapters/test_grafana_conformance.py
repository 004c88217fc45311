"""grafana-client's own tests, written against real Grafanas of nine years, pass against our double of it.

They come from the installed wheel and run in a process of their own. The double says that it is Grafana 13.2, so they
expect what that version answers. They delete whatever they find, so they never run on another Grafana.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from minervas_devnet.ports import free_port
from tests.support.grafana_double.server import GrafanaDouble
from tests.support.wait import HANG_S

PASSED = {
    "admin": 8,
    "alerting_provisioning": 9,
    "dashboard": 9,
    "datasource_base": 16,
    "folder": 13,
    "health": 1,
    "organization": 33,
    "search": 19,
    "service_account": 16,
    "team": 19,
    "user": 29,
}
"""How many tests of each file pass; 5.1.4 is pinned, so a number that changes is a change of ours."""

_OLD = "the test is about an older Grafana"
_LEFT_OUT = "its authors leave it out"
SKIPPED = {
    "admin": {"test_pause_all_alerts": _OLD},
    "dashboard": {"test_dashboard_permissions_by_id": _OLD, "test_get_dashboard_by_name_grafana7": _OLD},
    "datasource_base": {
        "test_delete_datasource_by_id": _OLD,
        "test_get_datasource_by_id": _OLD,
        "test_update_datasource_by_id": _OLD,
        "test_elasticsearch": _LEFT_OUT,
        "test_influxdb_influxql": _LEFT_OUT,
        "test_datasource_by_uid": "needs a Prometheus",
        "test_get_datasource_proxy_data_query_range": "needs a Prometheus",
        "test_get_datasource_proxy_data_query_time": "needs a Prometheus",
        "test_prometheus": "needs a Prometheus",
        "test_series": "needs a Prometheus",
    },
    "folder": {"test_update_folder_uid": _OLD},
    "organization": {"test_delete_user_current_organization_not_member": _LEFT_OUT},
    "search": {"test_search_dashboards_by_query_tags": _OLD},
    "team": {
        "test_add_team_external_group": "only in Grafana Enterprise",
        "test_get_team_external_group": "only in Grafana Enterprise",
        "test_remove_team_external_group": "only in Grafana Enterprise",
    },
    "user": {
        "test_change_password_success": _LEFT_OUT,
        "test_star_dashboard_by_id": _OLD,
        "test_unstar_dashboard_by_id": _OLD,
    },
}
"""What is skipped, and why. The files that are not named here are about things that Minervas does not use."""

CONFTEST = """
import os
import pytest

pytest_plugins = ["test.plugin.grafana"]
NEEDS_PROMETHEUS = os.environ["NEEDS_PROMETHEUS"].split()


@pytest.fixture(scope="session")
def docker_grafana():
    return os.environ["GRAFANA_DOUBLE"]


@pytest.fixture(scope="session")
def docker_prometheus():
    return "there is none: tests that would ask it are skipped"


def pytest_collection_modifyitems(items):
    for item in items:
        if item.name in NEEDS_PROMETHEUS:
            item.add_marker(pytest.mark.skip(reason="needs a Prometheus"))
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[str, str]]]:
    """What became of each test: by file: the name, and `passed`, `skipped` or how it failed."""
    folder = tmp_path_factory.mktemp("conformance")
    for file in distribution("grafana-client").files or ():
        if file.parts[0] == "test" and file.suffix == ".py":
            target = folder / Path(*file.parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_binary())
    (folder / "test" / "__init__.py").touch()  # else the interpreter's own package `test` is found
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = integration\n")
    with GrafanaDouble(free_port(), "admin") as double:  # the password that the tests know
        url = double.url.replace("http://", "http://admin:admin@")
        return _run(folder, url)


def _run(folder: Path, url: str) -> dict[str, list[tuple[str, str]]]:
    prometheus = [
        name for names in SKIPPED.values() for name, reason in names.items() if reason == "needs a Prometheus"
    ]
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "GRAFANA"))}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", "-p", "no:asyncio"]
        + ["-p", "no:xdist", "-p", "no:randomly", "--junitxml=report.xml"]
        + [f"test/elements/test_{name}.py" for name in PASSED],
        cwd=folder,
        env={**plain, "GRAFANA_DOUBLE": url, "NEEDS_PROMETHEUS": " ".join(prometheus), "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=HANG_S * 10,
        check=False,
    )
    assert (folder / "report.xml").exists(), run.stdout + run.stderr
    found: dict[str, list[tuple[str, str]]] = {name: [] for name in PASSED}
    for case in ET.parse(folder / "report.xml").iter("testcase"):  # noqa: S314 - written by our own process
        file = next(part for part in case.attrib["classname"].split(".") if part.startswith("test_"))
        said = [f"{kind}: {item.text}" for kind in ("failure", "error") for item in case.findall(kind)]
        outcome = said[0] if said else "skipped" if case.find("skipped") is not None else "passed"
        found[file.removeprefix("test_")].append((case.attrib["name"], outcome))
    return found


@pytest.mark.parametrize("name", PASSED)
def test_the_double_answers_as_the_authors_of_grafana_client_saw_grafana_answer(
    outcomes: dict[str, list[tuple[str, str]]], name: str
) -> None:
    found = outcomes[name]
    failed = [f"{test}: {said}" for test, said in found if said not in ("passed", "skipped")]
    assert not failed, "\n".join(failed)
    assert sorted(test for test, said in found if said == "skipped") == sorted(SKIPPED.get(name, ()))
    assert sum(said == "passed" for _, said in found) == PASSED[name]
