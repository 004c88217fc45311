"""Grafana with the whole service: approval to password to end, and a Grafana that hangs holds nothing else up."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from minervas_admission.cli import run
from minervas_devnet.broker import BrokerServer
from minervas_devnet.ports import free_port
from minervas_devnet.postgres import PostgresServer
from minervas_devnet.postgres_roles import NodeDatabase
from tests.support.admission import AdmissionHome, Applicant
from tests.support.admission_grafana import as_user, ask, grafana_sections, values
from tests.support.admission_web import Browser, words_of
from tests.support.databases import copy_database
from tests.support.fix_grafana import GrafanaServer
from tests.support.readers import Readers
from tests.support.wait import wait_until_async

pytestmark = pytest.mark.asyncio(loop_scope="module")

PASSWORD = "sunny days on the roof"  # noqa: S105 - of tests


@dataclass
class World:
    """An admission that runs with a broker and Grafana."""

    home: AdmissionHome
    grafana: GrafanaServer

    def steps(self, kind: str, member: str) -> dict[str, tuple[str, str]]:
        """State and detail of each step of a decision."""
        rows = self.home.as_owner(
            "SELECT step, s.state, detail FROM saga_steps s JOIN decisions d ON d.id = s.decision"
            " WHERE kind = %s AND member = %s ORDER BY entry",
            kind,
            member,
        )
        return {step: (state, detail) for step, state, detail in rows}

    def access(self, member: str) -> dict[str, Any]:
        """What admission knows of the access."""
        [[row]] = self.home.as_owner("SELECT to_jsonb(g) FROM grafana_access g WHERE member = %s", member)
        return dict(row)

    async def link(self, browser: Browser, member: str) -> str:
        """Make a link as the operator; returns its path."""
        page = await browser.send(f"/operator/members/{member}/grafana-link", {})
        assert page.status_code == 200, words_of(page)
        found = re.search(r"https://[^/]+(/grafana/password/[\w-]+)", words_of(page))
        assert found is not None
        return found[1]


@pytest.fixture(scope="module")
def settled(
    session_work_dir: Path,
    postgres_server: PostgresServer,
    migrated_admission: NodeDatabase,
    grafana: GrafanaServer,
    readers: Readers,
) -> Iterator[World]:
    root = session_work_dir / "grafana-service"
    root.mkdir()
    port = free_port()
    sections: dict[str, Any] = grafana_sections(root, grafana, readers, timeout_s=1.0)
    database = copy_database(postgres_server, migrated_admission)
    home = AdmissionHome(root, database, broker_port=port, migrate=False, **sections)
    broker = BrokerServer(root / "broker", home.export_dir, port=port)
    home.sign_broker(broker)
    with broker:
        yield World(home, grafana)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(settled: World) -> AsyncIterator[World]:
    async with settled.home.running():
        yield settled


@pytest_asyncio.fixture(loop_scope="module")
async def operator(world: World) -> AsyncIterator[Browser]:
    async with Browser(world.home) as browser:
        await browser.enter(world.home)
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def stranger(world: World) -> AsyncIterator[Browser]:
    async with Browser(world.home, language="en") as browser:
        yield browser


async def test_an_approved_member_sets_its_password_and_sees_only_itself(
    world: World, operator: Browser, stranger: Browser
) -> None:
    await world.home.admit(Applicant("alpha"))
    assert world.steps("approve", "alpha")["grafana"][0] == "done"
    assert "Make a link" in words_of(await operator.get("/operator/members/alpha"))
    path = await world.link(operator, "alpha")
    assert "as alpha" in words_of(await stranger.get(path))

    for fields, problem in (
        ({"new": "short", "repeated": "short"}, "12 to 200 characters"),
        ({"new": PASSWORD, "repeated": f"{PASSWORD}!"}, "differ"),
    ):
        refused = await stranger.send(path, fields, csrf="")
        assert refused.status_code == 422
        assert problem in words_of(refused)
    done = await stranger.send(path, {"new": PASSWORD, "repeated": PASSWORD}, csrf="")
    assert done.status_code == 200
    assert PASSWORD not in done.text

    with as_user(world.grafana, "alpha", PASSWORD) as viewer:
        assert values(ask(viewer, "SELECT current_member() AS m")) == [["alpha"]]
        assert viewer.get("/dashboards/uid/solar-rt").json()["dashboard"]["title"] == "In English"
    again = await stranger.send(path, {"new": PASSWORD, "repeated": PASSWORD}, csrf="")
    assert again.status_code == 410
    assert "used already" in words_of(again)
    dump = world.home.as_owner(
        "SELECT string_agg(to_jsonb(t)::text, '') FROM grafana_access t, grafana_links l, audit_log a"
    )
    assert PASSWORD not in str(dump)
    assert path.rpartition("/")[2] not in str(world.home.as_owner("SELECT * FROM grafana_links"))


async def test_a_new_link_ends_the_one_before_and_old_ones_expire(
    world: World, operator: Browser, stranger: Browser
) -> None:
    await world.home.admit(Applicant("beta"))
    first = await world.link(operator, "beta")
    second = await world.link(operator, "beta")
    assert (await stranger.get(first)).status_code == 404
    assert (await stranger.get(second)).status_code == 200
    world.home.as_owner("UPDATE grafana_links SET expires_ms = 1 WHERE member = 'beta'")
    page = await stranger.get(second)
    assert page.status_code == 410
    assert "too old" in words_of(page)


async def test_a_link_is_only_for_members_with_access_and_made_only_by_operators(
    world: World, operator: Browser, stranger: Browser
) -> None:
    assert (await operator.send("/operator/members/nobody/grafana-link", {})).status_code == 409
    refused = await stranger.send("/operator/members/alpha/grafana-link", {}, csrf="")
    assert refused.headers["location"].startswith("/operator/login")


async def test_the_page_of_a_link_is_in_korean_too(world: World, operator: Browser) -> None:
    await world.home.admit(Applicant("gamma"))
    path = await world.link(operator, "gamma")
    async with Browser(world.home, language="ko") as browser:
        assert "비밀번호 정하기" in words_of(await browser.get(path))
        await browser.send(path, {"new": PASSWORD, "repeated": PASSWORD}, csrf="")
    assert world.access("gamma")["language"] == "ko"


async def test_the_end_of_a_membership_shuts_out_of_grafana_after_the_broker(world: World) -> None:
    await world.home.admit(Applicant("delta"))
    await world.home.decisions().revoke("delta", "test", confirmed=True)
    steps = world.steps("revoke", "delta")
    assert list(steps) == ["database", "broker", "revocation_list", "transaction", "readers", "grafana"]
    assert re.fullmatch(r"role closed and \d sessions ended in \d+ ms", steps["readers"][1])
    assert steps["grafana"] == ("done", "user delta disabled, logged out and removed")
    access = world.access("delta")
    assert access["state"] == "closed"
    with as_user(world.grafana) as admin:
        assert admin.get(f"/users/{access['user_id']}").json()["isDisabled"]


async def test_a_suspended_member_keeps_its_access(world: World) -> None:
    """Only its vote is taken away."""
    await world.home.admit(Applicant("epsilon"))
    await world.home.decisions().suspend("epsilon", "", confirmed=True)
    assert world.access("epsilon")["state"] == "open"


async def test_grafana_that_hangs_holds_up_neither_admission_nor_revocation(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The approval is under way in Grafana, and the revocation of the same member is carried out beside it."""
    home = world.home
    hang, reached = asyncio.Event(), asyncio.Event()

    async def hangs(*_: object) -> str:
        reached.set()
        await hang.wait()
        return "after all"

    monkeypatch.setattr("minervas_admission.grafana.access.GrafanaAccess._give", hangs)
    receipt = await home.apply(Applicant("zeta").application())
    approval = asyncio.create_task(home.decisions().approve("zeta", confirmed=True))
    try:
        await wait_until_async(reached.is_set, describe="the approval to reach Grafana")
        assert (await home.state(receipt)).state == "approved", "the member has everything else"
        revocation = asyncio.create_task(home.decisions().revoke("zeta", "test", confirmed=True))
        await wait_until_async(
            lambda: world.steps("revoke", "zeta").get("transaction", ("", ""))[0] == "done",
            describe="sessions, list and transaction while Grafana hangs",
        )
        assert "readers" not in world.steps("revoke", "zeta")
    finally:
        hang.set()
    await asyncio.gather(approval, revocation, return_exceptions=True)
    assert world.steps("revoke", "zeta")["grafana"][0] == "done"


async def test_the_operator_checks_and_makes_links_by_command(
    world: World, capsys: pytest.CaptureFixture[str], stranger: Browser
) -> None:
    config = str(world.home.config)
    assert await asyncio.to_thread(run, ["grafana", "check", "--config", config]) == 0
    out = capsys.readouterr().out
    assert "readers are open" in out
    assert "epsilon" in out
    assert await asyncio.to_thread(run, ["grafana", "link", "epsilon", "--config", config]) == 0
    link = capsys.readouterr().out.splitlines()[0]
    assert (await stranger.get(httpx.URL(link).path)).status_code == 200
    assert await asyncio.to_thread(run, ["grafana", "link", "nobody", "--config", config]) == 1
    assert await asyncio.to_thread(run, ["grafana", "test-alert", "--config", config]) == 1
    assert "Nobody is told of alerts" in capsys.readouterr().err
