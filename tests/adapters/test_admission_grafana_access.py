"""Access to Grafana is given whole, found again wherever an attempt was cut off, kept right, and taken away."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
import pytest_asyncio

from minervas_admission.grafana.server import GrafanaServer as Port
from minervas_admission.sagas.grafana import GrafanaSteps
from minervas_admission.sagas.steps import Superseded
from minervas_admission.settings import GrafanaAlertSettings
from minervas_core.errors import Code, LocalFault, MinervasError, TransientFault
from minervas_devnet.postgres import PostgresServer
from minervas_devnet.postgres_roles import NodeDatabase
from tests.support.admission import AdmissionHome
from tests.support.admission_crashes import Crash
from tests.support.admission_grafana import (
    GrafanaBench,
    ask,
    dashboard,
    grafana_sections,
    values,
    write_dashboards,
    write_files,
)
from tests.support.databases import copy_database
from tests.support.fix_grafana import GrafanaServer
from tests.support.readers import OPERATOR, Readers
from tests.support.wait import HANG_S, wait_until_async


@pytest.fixture(scope="module")
def home(
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: PostgresServer,
    migrated_admission: NodeDatabase,
    grafana: GrafanaServer,
    readers: Readers,
) -> AdmissionHome:
    """One admission for all tests here, which does not run."""
    root = tmp_path_factory.mktemp("admission")
    sections: dict[str, Any] = grafana_sections(root, grafana, readers)
    return AdmissionHome(root, copy_database(postgres_server, migrated_admission), migrate=False, **sections)


@pytest_asyncio.fixture
async def bench(home: AdmissionHome, grafana: GrafanaServer) -> AsyncIterator[GrafanaBench]:
    """Access with nobody in it."""
    write_files(home.root)
    bench = GrafanaBench(home, grafana)
    yield bench
    await bench.leave()


@pytest.fixture
def member(bench: GrafanaBench, readers: Readers) -> str:
    """An active member of its own for each test, with rows of its own beside another's."""
    name = f"m-{secrets.token_hex(4)}"
    bench.enter(name)
    with psycopg.connect(readers.database.conninfo(readers.database.writer), autocommit=True) as writer:
        for each in (name, "neighbour"):
            writer.execute(
                "INSERT INTO reading_channels VALUES (%s, 'roof', 'ch2', 1, 0, 1) ON CONFLICT DO NOTHING", (each,)
            )
    return name


async def test_a_member_gets_an_organisation_of_its_own_and_sees_only_itself(bench: GrafanaBench, member: str) -> None:
    assert "sees itself only" in await bench.access.give(member)
    row = bench.row(member)
    assert row["state"] == "open"
    assert member not in row["org_name"]
    with bench.api() as admin:
        assert admin.get(f"/users/{row['user_id']}/orgs").json() == [
            {"name": row["org_name"], "orgId": row["org_id"], "role": "Viewer"}
        ]
    await bench.access.set_password(member, "a long password", "en")
    with bench.api(member, "a long password") as viewer:
        assert values(ask(viewer, "SELECT DISTINCT member FROM reading_channels")) == [[member]]
        found = viewer.get("/dashboards/uid/solar-rt").json()
        assert found["meta"]["folderUid"] == "solar"
        assert found["dashboard"]["title"] == "In English"
        assert viewer.get("/org").json()["name"] == row["org_name"]
    with bench.api(org=row["org_id"]) as admin:
        preferences = admin.get("/org/preferences").json()
        assert preferences["timezone"] == "Asia/Seoul"
        assert preferences["language"] == "en-US"
        assert preferences["homeDashboardUID"] == "solar-rt"


async def test_giving_again_changes_nothing(bench: GrafanaBench, member: str) -> None:
    await bench.access.give(member)
    before = bench.row(member)
    await bench.access.set_password(member, "a long password", "ko")
    await bench.again().give(member)
    after = bench.row(member)
    for name in ("org_id", "user_id", "reader_role", "source_hash", "dashboards_hash"):
        assert after[name] == before[name]
    with bench.api(member, "a long password") as viewer:
        assert viewer.get("/user").status_code == 200, "the password stays the member's"


CALLS = ("ensure_org", "ensure_source", "ensure_dashboards", "set_preferences", "ensure_user", "settle_user", "query")


@pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", CALLS)
async def test_access_is_given_whole_after_a_crash_between_any_two_steps(
    bench: GrafanaBench, member: str, call: str, after_effect: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = getattr(Port, call)

    def dies(self: Port, *arguments: object, **named: object) -> object:
        if after_effect:
            original(self, *arguments, **named)
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(Port, call, dies)
        with pytest.raises(Crash):
            await bench.access.give(member)
    await bench.again().give(member)
    row = bench.row(member)
    assert row["state"] == "open"
    with bench.api() as admin:
        names = [org["name"] for org in admin.get("/orgs", params={"perpage": 1000}).json()]
        assert names.count(row["org_name"]) == 1
        assert [org["role"] for org in admin.get(f"/users/{row['user_id']}/orgs").json()] == ["Viewer"]
    await bench.access.set_password(member, "a long password", "ko")
    with bench.api(member, "a long password") as viewer:
        assert values(ask(viewer, "SELECT DISTINCT member FROM reading_channels")) == [[member]]


async def test_a_new_version_of_the_dashboards_reaches_everybody(bench: GrafanaBench, member: str) -> None:
    await bench.access.give(member)
    write_dashboards(bench.settings.dashboards, dashboard("solar-rt", "Another title"), dashboard("chain"))
    await GrafanaSteps(bench.access).repair()
    with bench.api(org=bench.row(member)["org_id"]) as admin:
        assert admin.get("/dashboards/uid/solar-rt").json()["dashboard"]["title"] == "Another title"
        assert admin.get("/dashboards/uid/chain").status_code == 200
        assert admin.get("/dashboards/uid/trade").status_code == 404


async def test_what_somebody_deleted_or_changed_in_grafana_is_mended(bench: GrafanaBench, member: str) -> None:
    await bench.access.give(member)
    row = bench.row(member)
    with bench.api(org=row["org_id"]) as admin:
        admin.delete("/datasources/uid/solar").raise_for_status()
        admin.delete("/dashboards/uid/trade").raise_for_status()
        admin.patch(f"/orgs/{row['org_id']}/users/{row['user_id']}", json={"role": "Editor"}).raise_for_status()
        admin.post("/orgs/1/users", json={"loginOrEmail": member, "role": "Viewer"}).raise_for_status()
        await GrafanaSteps(bench.access).repair()
        assert admin.get("/dashboards/uid/trade").status_code == 200
        assert [(org["orgId"], org["role"]) for org in admin.get(f"/users/{row['user_id']}/orgs").json()] == [
            (row["org_id"], "Viewer")
        ]
        assert values(ask(admin, "SELECT current_member() AS m")) == [[member]]


async def test_a_password_of_the_role_that_was_changed_is_replaced(
    bench: GrafanaBench, member: str, readers: Readers
) -> None:
    await bench.access.give(member)
    readers.open(member)  # with another password, as after a restore
    with readers.connect_access() as access:
        access.execute("SELECT access.close_reader(%s)", (member,))
        access.execute("SELECT access.end_sessions(%s)", (member,))
    readers.open(member)
    with pytest.raises(TransientFault) as caught:
        await bench.access.give(member)
    assert caught.value.code == Code.GRAFANA_AWAY
    assert bench.row(member)["problem"]
    await bench.access.give(member)
    assert bench.row(member)["problem"] == ""


async def test_a_member_that_broke_its_own_data_source_holds_up_nobody(bench: GrafanaBench, member: str) -> None:
    first, last = f"a-{member}", f"z-{member}"
    for each in (first, last):
        bench.enter(each)
    await bench.access.give(first)
    with bench.api(org=bench.row(first)["org_id"]) as admin:
        for statement in (
            "SET default_transaction_read_only = off",
            "ALTER ROLE CURRENT_USER SET search_path = nowhere",
            "SET search_path = nowhere",
        ):
            assert ask(admin, statement).status_code == 200
    with pytest.raises(TransientFault):
        await GrafanaSteps(bench.again()).repair()
    assert bench.row(last)["state"] == "open"
    await GrafanaSteps(bench.access).repair()
    assert bench.row(first)["problem"] == ""


async def test_the_role_is_closed_while_grafana_hangs_in_giving_access(
    bench: GrafanaBench, member: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def hangs(self: Port, *_: object) -> list[list[str]]:
        reached.set()
        assert go_on.wait(HANG_S)
        return [[member]]

    async def closed() -> bool:
        return member not in await bench.access.readers.open_members()

    monkeypatch.setattr(Port, "query", hangs)
    giving = asyncio.create_task(bench.access.give(member))
    await asyncio.to_thread(reached.wait, HANG_S)
    bench.end(member)
    closing = asyncio.create_task(bench.access.close_reader(member))
    try:
        await wait_until_async(closed, describe="the role is closed")
        assert not giving.done()
    finally:
        go_on.set()
        await asyncio.gather(giving, closing)
    assert bench.row(member)["state"] == "closing"


async def test_access_of_a_data_source_that_shows_others_is_closed_at_once(
    bench: GrafanaBench, member: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Port, "query", lambda *_: [[member], ["neighbour"]])
        with pytest.raises(LocalFault) as caught:
            await bench.access.give(member)
    assert caught.value.code == Code.GRAFANA_NOT_ISOLATED
    row = bench.row(member)
    assert row["state"] == "opening"
    assert member not in await bench.access.readers.open_members()
    with bench.api(org=row["org_id"]) as admin:
        assert admin.get("/datasources/uid/solar").status_code == 404
    await bench.access.give(member)
    assert bench.row(member)["state"] == "open"


async def test_a_data_source_that_was_given_another_role_is_mended(
    bench: GrafanaBench, member: str, readers: Readers
) -> None:
    await bench.access.give(member)
    other = psycopg.conninfo.conninfo_to_dict(readers.conninfo(OPERATOR))
    with bench.api(org=bench.row(member)["org_id"]) as admin:
        source = admin.get("/datasources/uid/solar").json()
        secret = {"secureJsonData": {"password": other["password"]}}
        admin.put("/datasources/uid/solar", json={**source, "user": other["user"], **secret}).raise_for_status()
        assert values(ask(admin, "SELECT current_member() AS m")) == [[None]]
        await GrafanaSteps(bench.access).repair()
        assert values(ask(admin, "SELECT current_member() AS m")) == [[member]]


async def test_the_end_of_a_membership_ends_sessions_role_and_user(
    bench: GrafanaBench, member: str, readers: Readers
) -> None:
    await bench.access.give(member)
    await bench.access.set_password(member, "a long password", "ko")
    with bench.api(member, "a long password") as viewer:
        assert ask(viewer, "SELECT 1 AS one").status_code == 200
        bench.end(member)
        assert "sessions ended in" in await bench.access.close_reader(member)
        assert ask(viewer, "SELECT 1 AS one").status_code == 400
        assert "disabled, logged out and removed" in await bench.access.close_user(member)
        assert viewer.get("/user").status_code == 401
    row = bench.row(member)
    assert row["state"] == "closed"
    assert row["sessions_ended"] == 1
    with bench.api() as admin:
        assert admin.get(f"/users/{row['user_id']}/orgs").json() == []
    await bench.access.close_reader(member)
    await bench.access.close_user(member)
    with pytest.raises(Superseded):
        await bench.access.give(member)


@pytest.mark.parametrize("call", CALLS)
async def test_what_is_given_while_the_membership_ends_is_taken_away(
    bench: GrafanaBench, member: str, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = getattr(Port, call)

    def ends(self: Port, *arguments: object, **named: object) -> object:
        bench.end(member)
        return original(self, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Port, call, ends)
        giving = asyncio.create_task(bench.access.give(member))
        await asyncio.gather(giving, return_exceptions=True)
    await GrafanaSteps(bench.access).repair()
    assert bench.row(member)["state"] == "closed"
    assert member not in await bench.access.readers.open_members()
    with bench.api() as admin:
        found = admin.get("/users/lookup", params={"loginOrEmail": member})
        assert found.status_code == 404 or found.json()["isDisabled"]


async def test_a_role_that_nobody_should_have_is_closed(bench: GrafanaBench, readers: Readers) -> None:
    stray = f"stray-{secrets.token_hex(3)}"
    readers.open(stray)
    await GrafanaSteps(bench.access).repair()
    assert stray not in await bench.access.readers.open_members()


async def test_the_name_of_a_server_admin_is_no_members(bench: GrafanaBench) -> None:
    bench.enter(bench.grafana.admin_user)
    with pytest.raises(LocalFault, match="server admin") as caught:
        await bench.access.give(bench.grafana.admin_user)
    assert caught.value.code == Code.GRAFANA_REFUSED
    with bench.api() as admin:
        assert admin.get("/user").json()["isGrafanaAdmin"]


async def test_the_operators_organisation_sees_the_fleet_and_has_alerts(bench: GrafanaBench, member: str) -> None:
    assert "1 alert rules" in await bench.access.give_operator()
    await bench.access.give_operator()
    row = bench.row(OPERATOR)
    assert row["org_name"] == "operator"
    with bench.api(org=row["org_id"]) as admin:
        rows = values(ask(admin, "SELECT DISTINCT member FROM reading_channels ORDER BY 1"))
        assert [member] in rows
        assert ["neighbour"] in rows
        assert admin.get("/dashboards/uid/fleet").status_code == 200
        assert admin.get("/v1/provisioning/alert-rules/no-readings").json()["ruleGroup"] == "fast"


async def test_alerts_go_to_whom_the_settings_name_and_rules_that_are_no_more_are_deleted(
    bench: GrafanaBench, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text("hush-hush")
    told = GrafanaAlertSettings(email=["a@example.org"], webhook="https://hook.invalid/x", webhook_token_file=token)
    bench.settings = msgspec.structs.replace(bench.settings, alerts=told)
    await bench.again().give_operator()
    org_id = bench.row(OPERATOR)["org_id"]
    with bench.api(org=org_id) as admin:
        points = {point["uid"]: point for point in admin.get("/v1/provisioning/contact-points").json()}
        assert points["minervas-operator-email"]["settings"]["addresses"] == "a@example.org"
        assert points["minervas-operator-webhook"]["settings"]["url"] == "https://hook.invalid/x"
        assert "hush-hush" not in str(points)
        assert admin.get("/v1/provisioning/policies").json()["receiver"] == "minervas-operator"
        assert bench.access.alerts.test(org_id) == ["minervas-operator-email: ok", "minervas-operator-webhook: ok"]

        told = GrafanaAlertSettings(webhook="https://hook.invalid/refused")
        bench.settings = msgspec.structs.replace(bench.settings, alerts=told)
        (bench.home.root / "alerting" / "rules.json").write_text("[]")
        await bench.again().give_operator()
        assert [point["uid"] for point in admin.get("/v1/provisioning/contact-points").json()] == [
            "minervas-operator-webhook"
        ]
        assert admin.get("/v1/provisioning/alert-rules").json() == []
        with pytest.raises(LocalFault, match="did not arrive"):
            bench.access.alerts.test(org_id)

        bench.settings = msgspec.structs.replace(bench.settings, alerts=GrafanaAlertSettings())
        await bench.again().give_operator()
        assert admin.get("/v1/provisioning/contact-points").json() == []


async def test_grafana_that_is_away_is_passing_trouble(bench: GrafanaBench, member: str) -> None:
    bench.settings = msgspec.structs.replace(bench.settings, url="http://127.0.0.1:9", timeout_s=0.5)
    with pytest.raises(TransientFault) as caught:
        await bench.again().give(member)
    assert caught.value.code == Code.GRAFANA_AWAY
    assert bench.row(member)["state"] == "opening"


async def test_no_error_names_a_secret(bench: GrafanaBench, member: str, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.touch(mode=0o600)
    wrong.write_text("not-the-password")
    bench.settings = msgspec.structs.replace(bench.settings, admin_password_file=wrong)
    with pytest.raises(MinervasError) as caught:
        await bench.again().give(member)
    assert caught.value.code == Code.GRAFANA_REFUSED
    chain: list[BaseException] = []
    fault: BaseException | None = caught.value
    while fault is not None:
        chain.append(fault)
        fault = fault.__cause__ or (None if fault.__suppress_context__ else fault.__context__)
    assert all("not-the-password" not in f"{each!s} {each!r}" for each in chain)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("[]", "not the JSON"),
        ('{"title": "x"}', "uid"),
        ('{"uid": "a b", "title": "x"}', "uid"),
        ('{"uid": "a"}', "title"),
    ],
)
async def test_a_dashboard_that_is_none_is_named(bench: GrafanaBench, member: str, content: str, why: str) -> None:
    (bench.settings.dashboards / "zz.json").write_text(content)
    with pytest.raises(LocalFault, match="can not be used") as caught:
        await bench.access.give(member)
    assert why in str(caught.value.values["reason"])
    assert str(caught.value.values["file"]).endswith("zz.json")
