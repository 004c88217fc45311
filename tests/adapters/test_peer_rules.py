"""Standing rules by the peer's API and command line, on disk, and in a peer that follows its ledger's tip."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from minervas_core.errors import Code, LocalFault
from minervas_core.market.records import Bid, Slot
from minervas_core.node_market_messages import GetLots, GetMarket, GetOrders, Lots, MarketView, Orders
from minervas_core.node_messages import SubmitResult
from minervas_core.transactions import TransactionBody, decode_transaction
from minervas_peer import cli
from minervas_peer.api.app import build_app
from minervas_peer.api.request_limits import allowed_names
from minervas_peer.api.server import ApiServer
from minervas_peer.api.view import NodeView
from minervas_peer.settings import ApiSettings
from minervas_peer.standing_rules.keeper import RulesKeeper
from minervas_peer.standing_rules.records import BuyRule, PlacedOrder, RulesState, SellRule
from minervas_peer.standing_rules.store import RULES_FILE, RulesStore
from minervas_peer.standing_rules.worker import RulesWorker
from minervas_runtime.clock import SystemClock
from tests.support.peer import NOW_MS
from tests.support.peer_network import Node, PeerNetwork
from tests.support.wait import wait_until_async

TOKEN = "secret-token"  # noqa: S105 - of a test
SELL = {"price_micro": 142_600, "keep_wh": 5_000}
BUY = {"price_micro": 150_000, "energy_wh": 2_000}

Command = Callable[..., Any]


class Site:
    """A peer with standing rules; its ledger has an empty market."""

    def __init__(self, node: Node, directory: Path) -> None:
        self.node = node
        self.file = directory / RULES_FILE
        self.keeper = RulesKeeper(RulesStore(self.file))
        peer = node.peer
        self.worker = RulesWorker(
            self.keeper,
            ledger=peer.ledger,
            trader=peer.trader,
            network=peer.network,
            member="anna",
            clock=SystemClock(),
        )
        peer.on_tip(self.worker.wake)
        slot = Slot(mode="auction", ends_ms=NOW_MS)
        node.ledger.on("market", GetMarket, lambda _: MarketView(slot=slot, offers=[], bids=[]))
        node.ledger.on("lots", GetLots, lambda _: Lots(lots=[], more=False))
        node.ledger.on("orders", GetOrders, lambda _: Orders(orders=[]))
        view = NodeView(node.network.consortium.genesis, node.bus, peer.ledger, peer.status)
        self.app: FastAPI = build_app(view, allowed_names("127.0.0.1", ()), rules=self.keeper, token=TOKEN)

    @property
    def placed(self) -> list[TransactionBody]:
        return [decode_transaction(raw).body for _, raw in self.node.ledger.submitted]

    async def ask(self, method: str, path: str, body: object = None, token: str = TOKEN) -> httpx.Response:
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, path, json=body, headers={"authorization": f"Bearer {token}"})


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with PeerNetwork() as network:
        yield Site(await network.add("anna"), tmp_path)


@pytest_asyncio.fixture
async def command(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> AsyncIterator[Command]:
    """Runs a command with the token; returns status, output and error output."""
    server = ApiServer(ApiSettings(port=0))
    task = asyncio.create_task(server.run(site.app))
    token_file = tmp_path / "api.token"
    token_file.write_text(TOKEN, "ascii")

    async def run(*arguments: str) -> tuple[int, str, str]:
        given = [*arguments, "--api", f"http://127.0.0.1:{server.port}", "--token-file", str(token_file)]
        status = await asyncio.to_thread(cli.run, given)
        return status, *capsys.readouterr()

    yield run
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


# the API


async def test_rules_are_set_shown_paused_and_removed(site: Site) -> None:
    assert (await site.ask("GET", "/v1/rules")).json() == {"rules": []}
    sell = (await site.ask("PUT", "/v1/rules/sell", SELL)).json()
    assert (sell["rule"], sell["price_micro"], sell["keep_wh"], sell["paused"]) == ("sell", 142_600, 5_000, False)
    assert (await site.ask("PUT", "/v1/rules/buy", BUY)).json()["energy_wh"] == 2_000
    paused = (await site.ask("PUT", "/v1/rules/buy/pause", {"paused": True})).json()
    assert paused["paused"]
    assert (await site.ask("GET", "/v1/rules")).json()["rules"] == [sell, paused]
    assert (await site.ask("GET", "/v1/rules/buy")).json() == paused
    assert (await site.ask("DELETE", "/v1/rules/buy?cancel_open=true")).json() == paused
    assert (await site.ask("GET", "/v1/rules")).json()["rules"] == [sell]
    for method, path, body in (
        ("GET", "/v1/rules/buy", None),
        ("DELETE", "/v1/rules/buy", None),
        ("PUT", "/v1/rules/buy/pause", {"paused": False}),
    ):
        answer = await site.ask(method, path, body)
        assert (answer.status_code, answer.json()["code"]) == (404, Code.NOT_FOUND)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("sell", {}),
        ("sell", {"price_micro": -1}),
        ("sell", {"price_micro": 2**53}),
        ("sell", {"price_micro": 1.5}),
        ("sell", {"price_micro": 1, "keep_wh": -1}),
        ("sell", {"price_micro": 1, "energy_wh": 10}),
        ("buy", {"price_micro": 1}),
        ("buy", {"price_micro": 1, "energy_wh": 0}),
        ("buy", {"price_micro": 1, "energy_wh": 2**53}),
        ("buy", {"price_micro": 2**30, "energy_wh": 2**30}),
        ("buy/pause", {}),
        ("buy/pause", {"paused": "yes"}),
        ("give/pause", {"paused": True}),
    ],
)
async def test_bad_rules_are_refused_and_nothing_is_written(site: Site, path: str, body: dict[str, object]) -> None:
    answer = await site.ask("PUT", f"/v1/rules/{path}", body)
    assert (answer.status_code, answer.json()["code"]) == (400, Code.WRONG_SHAPE)
    assert not site.file.exists()


async def test_rules_are_changed_with_the_token_only(site: Site) -> None:
    await site.ask("PUT", "/v1/rules/sell", SELL)
    before = site.file.read_bytes()
    for method, path, body in (
        ("PUT", "/v1/rules/sell", SELL | {"price_micro": 1}),
        ("PUT", "/v1/rules/buy", BUY),
        ("PUT", "/v1/rules/sell/pause", {"paused": True}),
        ("DELETE", "/v1/rules/sell", None),
    ):
        answer = await site.ask(method, path, body, token="wrong")  # noqa: S106 - of a test
        assert (answer.status_code, answer.json()["code"]) == (401, Code.NOT_AUTHORISED)
    assert site.file.read_bytes() == before


# the peer


async def test_the_peer_bids_by_its_rule_when_the_tip_moves_and_shows_it(site: Site) -> None:
    task = asyncio.create_task(site.worker.run())
    site.node.ledger.refusal = SubmitResult(status="refused", code="credit_limit", message="Too much")
    await site.ask("PUT", "/v1/rules/buy", BUY)
    await wait_until_async(lambda: site.keeper.errors)
    shown = (await site.ask("GET", "/v1/rules/buy")).json()
    assert (shown["last_error"]["code"], shown["refusals"], shown["placed"]) == ("credit_limit", 1, [])
    site.node.ledger.refusal = None
    await site.node.ledger.move(4)
    await wait_until_async(lambda: site.keeper.find("buy").tally.orders == 1)
    await site.node.ledger.move(5)
    await wait_until_async(lambda: site.keeper.decisions["buy"].height == 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    shown = (await site.ask("GET", "/v1/rules/buy")).json()
    assert (shown["orders"], shown["ordered_wh"], shown["refusals"]) == (1, 2_000, 1)
    assert shown["last_decision"]["outcome"] == "bid_of_slot_made"
    [order] = shown["placed"]
    assert (order["answered"], order["valid_until_ms"]) == (True, NOW_MS)
    body = site.placed[-1]
    assert isinstance(body, Bid)
    assert (body.energy_wh, body.price_micro, body.sender) == (2_000, 150_000, site.node.member.keys.wallet)
    assert len(site.placed) == 2


# the command line


async def test_rules_by_command(site: Site, command: Command) -> None:
    assert "There are no standing rules" in (await command("rules"))[1]
    status, out, err = await command("rules", "sell", "--price", "142.6", "--keep-wh", "5000")
    assert (status, err) == (0, "")
    for text in ("Rule: sell", "142.6 or above", "5,000", "active"):
        assert text in out
    status, out, _ = await command("rules", "buy", "--price", "150", "--energy-wh", "2000", "--paused", "--json")
    assert (status, json.loads(out)["price_micro"], json.loads(out)["paused"]) == (0, 150_000, True)
    _, out, _ = await command("rules", "resume", "buy")
    assert "150 or below" in out
    _, out, _ = await command("rules", "pause", "sell")
    assert "stay until their slot ends" in out
    _, out, _ = await command("rules", "pause", "sell", "--cancel-open")
    assert "being taken back" in out
    _, out, _ = await command("rules", "list", "--json")
    assert [(each["rule"], each["paused"]) for each in json.loads(out)["rules"]] == [("sell", True), ("buy", False)]
    assert "Removed." in (await command("rules", "remove", "sell"))[1]
    status, out, err = await command("rules", "remove", "sell")
    assert (status, out) == (1, "")
    assert "not_found: There is no such standing rule" in err
    assert isinstance(site.keeper.find("buy"), BuyRule)


async def test_the_command_shows_what_went_wrong_last(site: Site, command: Command) -> None:
    site.keeper.set_rule("buy", BuyRule(price_micro=1, energy_wh=10))
    site.keeper.failed("buy", LocalFault(Code.BAD_KEY_FILE, "The disk is full"), NOW_MS)
    assert "bad_key_file: The disk is full" in (await command("rules"))[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["sell"],
        ["sell", "--price", "-1"],
        ["sell", "--price", "1", "--keep-wh", "x"],
        ["buy", "--price", "1"],
        ["buy", "--price", "1", "--energy-wh", "0"],
        ["pause"],
        ["pause", "all"],
        ["resume", "sell", "--cancel-open"],
    ],
)
def test_wrong_usage_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.run(["rules", *arguments])
    assert end.value.code == 2
    assert capsys.readouterr().err


# the file


def test_rules_and_what_they_placed_outlive_a_restart(tmp_path: Path) -> None:
    path = tmp_path / RULES_FILE
    keeper = RulesKeeper(RulesStore(path))
    assert not path.exists()
    keeper.set_rule("sell", SellRule(price_micro=1, keep_wh=2))
    order = PlacedOrder(id="a" * 64, side="sell", valid_until_ms=9, energy_wh=10, lots=["b" * 64], raw="{}")
    keeper.add_placed(order)
    keeper.count("sell", orders=1, energy_wh=10)
    again = RulesKeeper(RulesStore(path))
    assert again.state == keeper.state
    assert again.state.placed == [order]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == [RULES_FILE]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"format":1}x',
        b'{"format":0}',
        b'{"format":1,"sell":{"price_micro":-1}}',
        b'{"format":1,"unknown":1}',
        b'{"format":1,"placed":[{"id":"x"}]}',
    ],
)
def test_a_damaged_file_is_told_and_not_taken_for_no_rules(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / RULES_FILE
    path.write_bytes(content)
    with pytest.raises(LocalFault) as caught:
        RulesStore(path)
    assert caught.value.code == Code.BAD_KEY_FILE
    assert caught.value.values["file"] == str(path)
    assert path.read_bytes() == content


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / RULES_FILE
    path.write_bytes(b'{"format":2,"more":[]}')
    with pytest.raises(LocalFault) as caught:
        RulesStore(path)
    assert caught.value.code == Code.SCHEMA_VERSION


def test_a_change_that_can_not_be_written_does_not_count(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    store = RulesStore(directory / RULES_FILE)
    directory.write_text("not a directory")
    with pytest.raises(LocalFault) as caught:
        RulesKeeper(store).set_rule("sell", SellRule(price_micro=1))
    assert caught.value.code == Code.BAD_KEY_FILE
    assert store.state == RulesState()
