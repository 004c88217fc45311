"""The peer as a service: keys at first start, settings, waiting, wrong memberships, and the API beside the bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from minervas_core import box
from minervas_core.box import BoxKey
from minervas_core.enrolment import BrokerAddress
from minervas_core.errors import Code, LocalFault
from minervas_core.identifiers import Principal
from minervas_core.keys import SigningKey
from minervas_core.rights import rights_for
from minervas_core.transactions import Admit, NewKeys, Recover, Rotate
from minervas_peer import __main__ as program
from minervas_peer.api.server import ApiServer
from minervas_peer.rekey.own_keys import OwnKeys
from minervas_peer.service import granted_identity, load_keys, run_peer, serve
from minervas_peer.settings import ApiSettings, PeerSettings, load_peer_settings
from minervas_peer.standing_rules.store import RULES_FILE
from minervas_runtime.clock import SystemClock
from minervas_runtime.enrolment import Issued
from minervas_runtime.key_ring import KeyRing
from minervas_runtime.memory_bus import MemoryBroker
from minervas_runtime.service import ServiceContext
from minervas_runtime.settings import NodePaths, SettingsError
from tests.support.peer import Consortium, Member, seed
from tests.support.peer_network import QUICK
from tests.support.wait import wait_until_async

CONSORTIUM = Consortium()
ANNA, BERT = CONSORTIUM.member("anna"), CONSORTIUM.member("bert")

SETTINGS = """
member = "anna"
[paths]
data = "peer"
enrol = "enrol"
issued = "issued"
secrets = "secrets"
"""


def settings(directory: Path) -> PeerSettings:
    paths = NodePaths(
        data=directory / "peer",
        enrol=directory / "enrol",
        issued=directory / "issued",
        secrets=directory / "secrets",
    )
    return PeerSettings(member="anna", paths=paths, api=ApiSettings(port=0), gossip=QUICK)


def context(directory: Path) -> ServiceContext[PeerSettings]:
    return ServiceContext("peer", "anna", settings(directory), SystemClock())


def issued() -> Issued:
    nowhere = Path("nowhere")
    return Issued(
        genesis=CONSORTIUM.genesis,
        membership=[ANNA.admit.raw],
        broker=BrokerAddress(host="localhost", port=1),
        ca_file=nowhere,
        cert_file=nowhere,
        key_file=nowhere,
        node_key=seed("node/anna"),
        certificate_expires_ms=1_900_000_000_000,
    )


@dataclass
class Running:
    """A peer that serves on an in-memory broker."""

    broker: MemoryBroker
    context: ServiceContext[PeerSettings]
    url: str
    task: asyncio.Task[None]


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    broker, api, given = MemoryBroker(), ApiServer(ApiSettings(port=0)), context(tmp_path)
    principal = Principal("anna", "peer")
    bus = broker.connect(principal, rights_for(principal, operator_member="nobody"))
    task = asyncio.create_task(serve(given, bus, own_keys(tmp_path), issued(), api))
    yield Running(broker, given, f"http://127.0.0.1:{api.port}", task)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


# standing rules


async def test_standing_rules_are_served_worked_on_and_kept_in_the_data_directory(running: Running) -> None:
    data = running.context.settings.paths.data
    async with httpx.AsyncClient(base_url=running.url) as client:
        await wait_until_async((data / "api.token").exists)
        headers = {"authorization": f"Bearer {(data / 'api.token').read_text('ascii').strip()}"}
        answer = await client.put("/v1/rules/buy", json={"price_micro": 1, "energy_wh": 10}, headers=headers)
        assert answer.status_code == 200
        assert [each["rule"] for each in (await client.get("/v1/rules")).json()["rules"]] == ["buy"]
    assert (data / RULES_FILE).stat().st_mode & 0o777 == 0o600
    assert any(task.get_name() == "standing rules" and not task.done() for task in asyncio.all_tasks())


async def test_a_peer_does_not_start_with_rules_that_it_cannot_read(tmp_path: Path) -> None:
    given = context(tmp_path)
    own = own_keys(tmp_path)
    given.settings.paths.data.mkdir(mode=0o700, exist_ok=True)
    (given.settings.paths.data / RULES_FILE).write_text("{")
    principal = Principal("anna", "peer")
    bus = MemoryBroker().connect(principal, rights_for(principal, operator_member="nobody"))
    api = ApiServer(ApiSettings(port=0))
    with pytest.raises(LocalFault) as refusal:
        await serve(given, bus, own, issued(), api)
    api.close()
    assert refusal.value.values["file"] == str(given.settings.paths.data / RULES_FILE)


# keys and enrolment


def test_keys_are_made_once_and_private_to_their_owner(tmp_path: Path) -> None:
    directory = tmp_path / "peer"
    wallets, boxes = load_keys(directory)
    assert directory.stat().st_mode & 0o777 == 0o700
    for name in ("wallet.key", "box.key"):
        assert (directory / name).stat().st_mode & 0o777 == 0o600
    again, boxes_again = load_keys(directory)
    assert (again.first.public, boxes_again.first.public) == (wallets.first.public, boxes.first.public)


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    load_keys(tmp_path)
    (tmp_path / "wallet.key").chmod(0o644)
    with pytest.raises(LocalFault) as refusal:
        load_keys(tmp_path)
    assert refusal.value.code is Code.BAD_KEY_FILE


async def test_a_peer_hands_in_its_keys_and_waits_for_approval(tmp_path: Path) -> None:
    given = context(tmp_path)
    task = asyncio.create_task(run_peer(given))
    await wait_until_async((tmp_path / "enrol" / "peer.json").exists)
    assert given.status["status"] == "waiting"
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def rings(directory: Path, member: Member) -> tuple[KeyRing[SigningKey], KeyRing[BoxKey]]:
    """Rings whose first keys are a member's."""
    return (
        KeyRing(directory, "wallet", lambda _seed: member.wallet),
        KeyRing(directory, "box", lambda _seed: member.box, box.SEED_BYTES),
    )


def own_keys(directory: Path) -> OwnKeys:
    return OwnKeys(ANNA.identity, *rings(directory, ANNA), lambda: ANNA.identity.membership)


def test_the_membership_that_was_issued_to_us_is_accepted(tmp_path: Path) -> None:
    identity = granted_identity("anna", *rings(tmp_path, ANNA), issued())
    assert (identity.wallet, identity.box) == (ANNA.wallet, ANNA.box)


def test_the_membership_of_a_node_that_replaced_another_is_accepted_while_its_wallet_waits(tmp_path: Path) -> None:
    lost = CONSORTIUM.member("lost")
    admit = CONSORTIUM.sign(Admit(member="anna", keys=lost.keys))
    others = NewKeys(box=ANNA.keys.box, block=ANNA.keys.block, vote=ANNA.keys.vote)
    rotate = CONSORTIUM.sign(Rotate(member="anna", keys=others, meters=[]))
    recover = CONSORTIUM.sign(Recover(member="anna", wallet=ANNA.keys.wallet))
    granted = replace(issued(), membership=[admit.raw, rotate.raw, recover.raw])
    assert granted_identity("anna", *rings(tmp_path, ANNA), granted).wallet == ANNA.wallet


@pytest.mark.parametrize("shown", [[], [BERT], [Consortium(network="77" * 16).member("anna")]])
def test_a_membership_that_is_not_ours_is_refused_at_start(tmp_path: Path, shown: list[Member]) -> None:
    granted = replace(issued(), membership=[member.admit.raw for member in shown])
    with pytest.raises(LocalFault) as refusal:
        granted_identity("anna", *rings(tmp_path, ANNA), granted)
    assert "not usable" in refusal.value.message


def test_other_keys_than_those_we_were_admitted_with_are_refused_at_start(tmp_path: Path) -> None:
    with pytest.raises(LocalFault) as refusal:
        granted_identity("anna", *rings(tmp_path, BERT), issued())
    assert "other keys" in refusal.value.message


# running


async def test_health_and_api_follow_the_connection(running: Running) -> None:
    await wait_until_async(lambda: running.context.status["status"] == "ok")
    async with httpx.AsyncClient(base_url=running.url, trust_env=False) as client:
        status = (await client.get("/v1/status")).json()
        assert (status["member"], status["standing"], status["ledger"]) == ("anna", "newcomer", None)
        running.broker.interrupt()
        assert running.context.status["status"] == "failing"
        assert (await client.get("/healthz")).status_code == 503
        running.broker.resume()
        await wait_until_async(lambda: running.context.status["status"] == "ok")


async def test_a_revoked_peer_is_failing_and_says_why(running: Running) -> None:
    await wait_until_async(lambda: running.context.status["status"] == "ok")
    running.broker.revoke("anna.peer")
    assert running.context.status["status"] == "failing"
    assert "bus_refused" in running.context.status["reason"]


async def test_a_stopped_peer_leaves_port_and_bus(running: Running) -> None:
    await wait_until_async(lambda: running.context.status["status"] == "ok")
    running.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running.task
    async with httpx.AsyncClient(base_url=running.url, trust_env=False) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("/healthz")


# settings and command line


def test_the_defaults_of_the_settings_are_usable(tmp_path: Path) -> None:
    file = tmp_path / "peer.toml"
    file.write_text(SETTINGS)
    loaded = load_peer_settings(file)
    assert loaded.api.host == "127.0.0.1"
    assert loaded.gossip.hello_interval_ms == 30_000
    assert loaded.gossip.sender_key_lifetime_ms == 3_600_000


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (('member = "anna"', 'member = "Anna"'), "member"),
        (('member = "anna"', 'member = "consortium"'), "member"),
        (("[paths]", "[gossip]\nhello_intervall_ms = 1\n[paths]"), "gossip.hello_intervall_ms"),
        (("[paths]", "[gossip]\nhello_interval_ms = 5\n[paths]"), "gossip.hello_interval_ms"),
        (("[paths]", "[api]\nport = 70000\n[paths]"), "api.port"),
    ],
)
def test_a_wrong_setting_is_named(
    tmp_path: Path,
    change: tuple[str, str],
    key: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "peer.toml"
    file.write_text(SETTINGS.replace(*change))
    with pytest.raises(SettingsError) as refusal:
        load_peer_settings(file)
    assert refusal.value.key == key
    monkeypatch.setattr("sys.argv", ["minervas-peer", "check-config", "--config", str(file)])
    assert program.main() == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert key in err


def test_good_settings_are_confirmed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "peer.toml"
    file.write_text(SETTINGS)
    monkeypatch.setattr("sys.argv", ["minervas-peer", "check-config", "--config", str(file)])
    assert program.main() == 0
    assert "usable" in capsys.readouterr().out
