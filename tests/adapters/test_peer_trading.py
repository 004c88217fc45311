"""Offering, merging, retiring and vetoing by the peer's API and command line, over a stand-in ledger with many lots."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from minervas_core.errors import Code, InvalidTransaction, PeerFault
from minervas_core.market.lots import origins_root
from minervas_core.market.records import Bid, Clearing, Lot, Merge, Offer, Origin, Retire, Retirement, Slot
from minervas_core.node_market_messages import (
    Clearings,
    GetClearings,
    GetLot,
    GetLots,
    GetMarket,
    GetRetirements,
    GetVolumes,
    LotDetail,
    LotEntry,
    Lots,
    MarketView,
    PriceLevel,
    RetirementEntry,
    Retirements,
    SlotVolume,
    TracedOrigin,
    Volumes,
)
from minervas_core.node_messages import SubmitResult, WaitingRecovery
from minervas_core.transactions import TransactionBody, Veto, check_signature, decode_transaction
from minervas_peer import cli
from minervas_peer.api.app import build_app
from minervas_peer.api.request_limits import allowed_names
from minervas_peer.api.server import ApiServer
from minervas_peer.api.trade_view import TradeView
from minervas_peer.api.view import NodeView
from minervas_peer.settings import ApiSettings
from minervas_peer.trader import choose_lots
from tests.support.peer import NOW_MS, roster
from tests.support.peer_network import Node, PeerNetwork

TOKEN = "secret-token"  # noqa: S105 - of a test
STATEMENT = "5" * 64


def lot_id(n: int) -> str:
    return f"{n:064x}"


ORIGIN = TracedOrigin(
    statement=STATEMENT,
    energy_wh=900,
    member="bert",
    meter="roof",
    channel="dc",
    start_ms=NOW_MS,
    end_ms=NOW_MS + 900_000,
)


class Market:
    """What the stand-in ledger has: free lots of `anna`, in pages of as many as the peer asks for."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.lots: dict[str, int] = {}
        self.asked: list[GetLots] = []
        ledger = node.ledger
        ledger.on("lots", GetLots, self._lots)
        ledger.on("lot_detail", GetLot, self._lot)
        ledger.on("retirements", GetRetirements, self._retirements)

    def _lots(self, question: GetLots) -> Lots:
        self.asked.append(question)
        ids = [each for each in sorted(self.lots) if each > question.after]
        page = ids[: question.limit]
        entries = []
        for each in page:
            origins = [Origin(statement=STATEMENT, energy_wh=self.lots[each])]
            lot = Lot(owner="anna", energy_wh=self.lots[each], parent=each, origins=origins)
            entries.append(LotEntry(id=each, lot=lot))
        return Lots(lots=entries, more=len(page) < len(ids))

    def _lot(self, question: GetLot) -> LotDetail:
        if question.id not in {lot_id(1), lot_id(3), *self.lots}:
            raise PeerFault(Code.NOT_FOUND, "No such lot on the best chain", id=question.id)
        origins = [Origin(statement=STATEMENT, energy_wh=900)]
        lot = Lot(owner="anna", energy_wh=900, parent=lot_id(1), origins=origins)
        return LotDetail(
            id=question.id,
            lot=lot,
            joined=[lot_id(2), lot_id(3)],
            origins=[ORIGIN],
            created_height=7,
            spent_height=9,
            retired_by="e" * 64,
        )

    def _retirements(self, _question: GetRetirements) -> Retirements:
        retirement = Retirement(
            height=9,
            position=0,
            transaction="e" * 64,
            owner="anna",
            lot=lot_id(1),
            energy_wh=900,
            origins=[Origin(statement=STATEMENT, energy_wh=900)],
        )
        return Retirements(retirements=[RetirementEntry(retirement=retirement, origins=[ORIGIN])], more=True)

    @property
    def placed(self) -> list[TransactionBody]:
        """What the ledger was given, all signed by our wallet."""
        bodies: list[TransactionBody] = []
        for origin, raw in self.node.ledger.submitted:
            transaction = decode_transaction(raw)
            check_signature(transaction, self.node.network.consortium.genesis.network)
            assert (origin, transaction.body.sender) == ("local", self.node.member.keys.wallet)
            bodies.append(transaction.body)
        return bodies


@pytest_asyncio.fixture
async def market() -> AsyncIterator[Market]:
    async with PeerNetwork() as network:
        yield Market(await network.add("anna"))


Command = Callable[..., Any]


@pytest_asyncio.fixture
async def command(market: Market, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> AsyncIterator[Command]:
    """Runs a command with the right token; returns status, output and error output."""
    peer = market.node.peer
    genesis = market.node.network.consortium.genesis
    view = NodeView(genesis, market.node.bus, peer.ledger, peer.status)
    server = ApiServer(ApiSettings(port=0))
    trade = TradeView(peer.ledger, peer.trader)
    app = build_app(view, allowed_names("127.0.0.1", ()), trade=trade, token=TOKEN)
    task = asyncio.create_task(server.run(app))
    token_file = tmp_path / "api.token"
    token_file.write_text(TOKEN, "ascii")

    async def run(*arguments: str, token: Path = token_file) -> tuple[int, str, str]:
        given = [*arguments, "--api", f"http://127.0.0.1:{server.port}", "--token-file", str(token)]
        status = await asyncio.to_thread(cli.run, given)
        return status, *capsys.readouterr()

    yield run
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


# offers of members with many lots


async def test_a_member_with_ten_thousand_lots_offers_the_largest(market: Market, command: Command) -> None:
    market.lots = {lot_id(n): 10 + n % 7 for n in range(10_000)} | {lot_id(9_999): 5_000}
    status, _, err = await command("offer", "--price", "100", "--energy-wh", "5010")
    assert (status, err) == (0, "")
    [made] = market.placed
    assert isinstance(made, Offer)
    assert (len(made.lots), made.lots[0]) == (2, lot_id(9_999))
    assert [(each.owner, each.free, each.limit) for each in market.asked] == [("anna", True, 1_000)] * 10
    assert [each.after for each in market.asked] == ["", *(lot_id(1_000 * n - 1) for n in range(1, 10))]


async def test_an_offer_that_takes_too_many_lots_says_to_merge(market: Market, command: Command) -> None:
    market.lots = {lot_id(n): 10 for n in range(300)}
    status, out, err = await command("offer", "--price", "100", "--energy-wh", "1001")
    assert (status, out, len(err.splitlines())) == (1, "", 1)
    assert "order_too_large" in err
    assert "merge lots first" in err
    assert "most_wh=1000" in err
    status, _, _ = await command("offer", "--price", "100", "--energy-wh", "1000")
    assert status == 0


async def test_an_offer_of_more_than_there_is_says_so(market: Market, command: Command) -> None:
    for lots in ({}, {lot_id(1): 10}):
        market.lots = lots
        status, _, err = await command("offer", "--price", "100", "--energy-wh", "11")
        assert (status, "lot_unknown: Not so much free energy" in err) == (1, True)


def test_lots_are_chosen_the_largest_first_and_no_more_than_needed() -> None:
    free = {"a": 5, "b": 30, "c": 20, "d": 30}
    assert choose_lots(free, 1, 3) == ["b"]
    assert choose_lots(free, 61, 3) == ["b", "d", "c"]
    with pytest.raises(InvalidTransaction) as caught:
        choose_lots(free, 81, 3)
    assert caught.value.code == Code.ORDER_TOO_LARGE
    assert choose_lots(free, 85, 4) == ["b", "d", "c", "a"]
    with pytest.raises(InvalidTransaction) as caught:
        choose_lots(free, 86, 4)
    assert caught.value.code == Code.LOT_UNKNOWN


# merge and retire


@pytest.mark.parametrize(("name", "kind"), [("merge", Merge), ("retire", Retire)])
async def test_lots_are_merged_and_retired_with_the_wallet(
    market: Market, command: Command, name: str, kind: type[Merge | Retire]
) -> None:
    status, out, err = await command(name, lot_id(3), lot_id(1))
    assert (status, err) == (0, "")
    [made] = market.placed
    assert isinstance(made, kind)
    assert made.lots == [lot_id(3), lot_id(1)]
    if isinstance(made, Retire):
        assert made.origins_root == origins_root([Origin(statement=STATEMENT, energy_wh=1_800)])
    assert name in out
    assert "minervas tx" in out


@pytest.mark.parametrize(("arguments", "told"), [(["merge"], 1), (["merge"], 101), (["retire"], 101)])
async def test_too_few_or_too_many_lots_are_refused_before_anything_is_signed(
    market: Market, command: Command, arguments: list[str], told: int
) -> None:
    status, out, err = await command(*arguments, *(lot_id(n) for n in range(told)))
    assert (status, out, market.placed) == (1, "", [])
    assert f"wrong_shape: Name {2 if 'merge' in arguments else 1} to 100 lots" in err


@pytest.mark.parametrize("arguments", [["merge"], ["retire"], ["retire", "xyz"], ["merge", lot_id(1), "12"], ["lot"]])
def test_what_is_no_lot_is_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.run(arguments)
    assert end.value.code == 2
    assert capsys.readouterr().err


async def test_an_unknown_lot_is_not_retired(market: Market, command: Command) -> None:
    status, out, err = await command("retire", lot_id(7))
    assert (status, out, market.placed) == (1, "", [])
    assert "lot_unknown" in err


async def test_a_refusal_names_the_lot(market: Market, command: Command) -> None:
    market.lots = {lot_id(2): 10}
    market.node.ledger.refusal = SubmitResult(
        status="refused", code="lot_offered", message="The lot is on sale already", values={"lot": lot_id(2)}
    )
    status, out, err = await command("retire", lot_id(1), lot_id(2))
    assert (status, out, len(err.splitlines())) == (1, "", 1)
    assert "lot_offered: The lot is on sale already" in err
    assert lot_id(2) in err


async def test_nothing_is_signed_without_the_token(market: Market, command: Command, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.token"
    wrong.write_text("another", "ascii")
    for name in (["merge", lot_id(1), lot_id(2)], ["retire", lot_id(1), lot_id(2)], ["veto", "ab" * 32]):
        status, _, err = await command(*name, token=wrong)
        assert (status, "not_authorised" in err, market.placed) == (1, True, [])


# members and their wallets


async def test_a_recovery_is_refused_with_the_wallet(market: Market, command: Command) -> None:
    status, out, err = await command("veto", "ab" * 32)
    assert (status, err) == (0, "")
    [made] = market.placed
    assert isinstance(made, Veto)
    assert made.recovery == "ab" * 32
    assert "minervas tx" in out


async def test_everybody_sees_whose_vote_is_suspended_and_which_recoveries_wait(
    market: Market, command: Command
) -> None:
    anna, bert = market.node.member, market.node.network.consortium.member("bert")
    gone = market.node.network.consortium.member("gone")
    waiting = WaitingRecovery(
        wallet=gone.keys.wallet, transaction="ab" * 32, height=2, effective_ms=NOW_MS + 86_400_000
    )
    told = roster([anna, bert, gone], height=3)
    entries = [
        told.members[0],
        msgspec.structs.replace(told.members[1], suspended_height=2, recovery=waiting),
        msgspec.structs.replace(told.members[2], status="left", ended_height=3),
    ]
    await market.node.ledger.move(3, msgspec.structs.replace(told, members=entries))
    status, out, err = await command("members", "--json")
    assert (status, err) == (0, "")
    shown = {each["member"]: each for each in json.loads(out)["members"]}
    assert shown["anna"]["recovery"] is None
    assert shown["bert"]["recovery"] == msgspec.to_builtins(waiting)
    assert shown["bert"]["suspended_height"] == 2
    assert (shown["gone"]["status"], shown["gone"]["ended_height"]) == ("left", 3)
    _, out, _ = await command("members")
    for text in ("active, vote suspended in 2, new wallet from", f"by {'ab' * 32}", "left"):
        assert text in out


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/vetoes", {"recovery": "12"}),
        ("/v1/vetoes", {}),
        ("/v1/merges", {"lots": [lot_id(1)]}),
        ("/v1/merges", {"lots": [lot_id(n) for n in range(101)]}),
        ("/v1/merges", {"lots": [lot_id(1), "x"]}),
        ("/v1/merges", {}),
        ("/v1/retirements", {"lots": []}),
        ("/v1/retirements", {"lots": [lot_id(n) for n in range(101)]}),
        ("/v1/retirements", {"lots": [1]}),
        ("/v1/retirements", {"lots": [lot_id(1)], "energy_wh": 10}),
    ],
)
async def test_bad_bodies_are_refused_with_the_place_of_the_fault(
    market: Market, path: str, body: dict[str, object]
) -> None:

    peer = market.node.peer
    view = NodeView(market.node.network.consortium.genesis, market.node.bus, peer.ledger, peer.status)
    app = build_app(view, None, trade=TradeView(peer.ledger, peer.trader), token=TOKEN)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1") as client:
        answer = await client.post(path, json=body, headers={"authorization": f"Bearer {TOKEN}"})
    assert (answer.status_code, answer.json()["code"]) == (400, Code.WRONG_SHAPE)
    assert answer.json()["values"]["where"].startswith("body")
    assert market.placed == []


# looking


async def test_commands_show_the_book_by_price_auctions_and_volumes(market: Market, command: Command) -> None:
    slot, level = Slot(mode="auction", ends_ms=NOW_MS), PriceLevel(price_micro=142_600, energy_wh=777, orders=2)
    clearing = Clearing(
        height=4, slot_ends_ms=NOW_MS, energy_wh=0, offers=0, bids=0, offered_wh=777, wanted_wh=0, deals=0, deals_wh=0
    )
    volume = SlotVolume(
        start_ms=NOW_MS, trades=3, energy_wh=333, amount_micro=5, lowest_micro=1, highest_micro=2_000, last_micro=1_500
    )
    market.node.ledger.on("market", GetMarket, lambda _: MarketView(slot=slot, offers=[level], bids=[]))
    market.node.ledger.on("clearings", GetClearings, lambda _: Clearings(clearings=[clearing]))
    market.node.ledger.on("volumes", GetVolumes, lambda _: Volumes(slot_ms=900_000, volumes=[volume]))
    for name, shown in (
        ("market", ("auction", "142.6", "777")),
        ("clearings", ("777", "-")),
        ("volumes", ("333", "1.5")),
    ):
        status, out, _ = await command(name)
        assert status == 0
        assert all(each in out for each in shown), out
    status, out, _ = await command("market", "--json")
    assert (status, json.loads(out)["spread_micro"]) == (0, None)


async def test_a_bid_can_repeat_in_every_slot(market: Market, command: Command) -> None:
    status, _, _ = await command("bid", "--energy-wh", "10", "--price", "1", "--repeats")
    [body] = market.placed
    assert (status, isinstance(body, Bid) and body.repeats) == (0, True)


async def test_commands_show_lots_and_retirements(market: Market, command: Command) -> None:
    market.lots = {lot_id(n): 10 for n in range(30)}
    status, out, _ = await command("lots", "--member", "anna", "--free", "--limit", "20")
    assert status == 0
    assert f"There are more: --after {lot_id(19)}" in out
    assert market.asked[-1] == GetLots(owner="anna", free=True, limit=20)
    status, out, _ = await command("lots", "--after", lot_id(19))
    assert (status, "There are more" in out, lot_id(20) in out) == (0, False, True)
    status, out, _ = await command("retirements", "--member", "anna")
    assert status == 0
    for text in ("bert/roof/dc", lot_id(1), "900", "There are older ones."):
        assert text in out
    status, out, _ = await command("lot", lot_id(1))
    assert status == 0
    for text in ("retired in block 9 by", lot_id(2), lot_id(3), "bert/roof/dc", STATEMENT):
        assert text in out
    for arguments in (("lots",), ("retirements",), ("lot", lot_id(1))):
        assert json.loads((await command(*arguments, "--json"))[1])


async def test_a_lot_that_is_not_there_is_not_found(market: Market, command: Command) -> None:
    status, _, err = await command("lot", lot_id(2))
    assert (status, "not_found: No such lot on the best chain" in err) == (1, True)
