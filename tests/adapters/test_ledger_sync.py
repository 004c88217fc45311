"""Sync: whatever the other members do, the ledger ends on the best chain that anybody really has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

import msgspec
import pytest

from minervas_core import chain as core_chain
from minervas_core.blocks import assemble_block, decode_block, decode_header
from minervas_core.encoding import encode
from minervas_core.errors import Code
from minervas_core.messages import ChainTip
from minervas_core.node_messages import Pause, PeerTip
from minervas_ledger import metrics, peer_fetcher, sync_peers, templates
from minervas_ledger import sync as sync_module
from minervas_ledger.sync_peers import Standing, SyncPeers
from tests.support.builders import LocalChain, admit
from tests.support.ledger import LedgerNode, RemoteMember, audit
from tests.support.wait import wait_until_async

LIE_TIP = ChainTip(height=10**6, hash="ab" * 32, work="f" * 60)
"""A claim that nobody can keep."""


def long_chain(length: int, *, start: int = 0, base: LocalChain | None = None, keep: int = 0) -> LocalChain:
    """A chain of three members; with `base`, its first `keep` blocks are those of another one."""
    local = LocalChain()
    for height in range(1, length + 1):
        if base is not None and height <= keep:
            node = base.chain.tree.main_at(height)
            assert node is not None
            local.receive(base.chain._stored(node))
        elif height == 1:
            local.found("m1", "m2", "m3")
        else:
            local.extend(f"m{1 + height % 3}", start=start)
    return local


async def test_ledger_catches_up_with_a_member_that_claims_more_work(ledger_node: LedgerNode) -> None:
    remote = RemoteMember(long_chain(700))
    await ledger_node.peer.meet("m1", remote)
    await ledger_node.until_tip(remote.tip.hash)
    assert audit(ledger_node.database, ledger_node.genesis).height == 700
    await wait_until_async(lambda: not ledger_node.peer.tips[-1].syncing)
    assert any(tip.syncing for tip in ledger_node.peer.tips)


@pytest.mark.soak
async def test_a_new_member_joins_a_chain_of_ten_thousand_blocks(ledger_node: LedgerNode) -> None:
    remote = RemoteMember(long_chain(10_000))
    await ledger_node.peer.meet("m1", remote)
    await ledger_node.until_tip(remote.tip.hash, 300.0)
    assert audit(ledger_node.database, ledger_node.genesis).height == 10_000


async def test_orphan_starts_a_sync_from_its_sender(ledger_node: LedgerNode) -> None:
    remote = RemoteMember(long_chain(30))
    ledger_node.peer.remotes["m1"] = remote
    tip = remote.chain.chain._stored(remote.chain.tip)
    assert (await ledger_node.peer.deliver(tip, "m1")).status == "orphan"
    await ledger_node.until_tip(tip.hash)


async def test_shorter_claims_are_not_asked_for(ledger_node: LedgerNode) -> None:
    long, short = RemoteMember(long_chain(20)), RemoteMember(long_chain(10, start=1000))
    await ledger_node.peer.meet("m1", long)
    await ledger_node.until_tip(long.tip.hash)
    await ledger_node.peer.meet("m2", short)
    block = long.chain.extend("m1")
    await ledger_node.peer.deliver(block)  # whatever the claim started is under way by now
    await ledger_node.until_tip(block.hash)
    assert set(short.asked) <= {"votes"}


async def test_branch_with_more_work_wins_by_sync(ledger_node: LedgerNode) -> None:
    ours = long_chain(12)
    await ledger_node.peer.meet("m1", RemoteMember(ours))
    await ledger_node.until_tip(ours.tip.hash)
    theirs = long_chain(15, start=1000, base=ours, keep=5)
    await ledger_node.peer.meet("m2", RemoteMember(theirs))
    await ledger_node.until_tip(theirs.tip.hash)
    assert (await ledger_node.peer.status()).reorganisations == 1
    assert audit(ledger_node.database, ledger_node.genesis).tip_hash == theirs.tip.hash


async def test_long_branch_that_wins_only_beyond_the_headers_that_fit(
    ledger_node: LedgerNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a long partition the first headers of the other side have less work than our whole chain."""
    monkeypatch.setattr(core_chain, "MAX_HEADERS_AHEAD", 10)
    monkeypatch.setattr(sync_module, "MAX_HEADERS_PER_REPLY", 4)
    ours = long_chain(40)
    await ledger_node.peer.meet("m1", RemoteMember(ours))
    await ledger_node.until_tip(ours.tip.hash)
    theirs = long_chain(45, start=1000, base=ours, keep=3)
    await ledger_node.peer.meet("m2", RemoteMember(theirs))
    await ledger_node.until_tip(theirs.tip.hash)


async def test_sync_interrupted_by_a_restart_goes_on_where_it_was(ledger_node: LedgerNode) -> None:
    remote = RemoteMember(long_chain(300), max_bodies=40)
    release = asyncio.Event()

    def bodies_then_nothing(bodies: list[bytes]) -> list[bytes]:
        return bodies if remote.asked.count("bodies") <= 3 or release.is_set() else []

    remote.spoil_bodies = bodies_then_nothing
    await ledger_node.peer.meet("m1", remote)
    await wait_until_async(lambda: ledger_node.peer.tips[-1].tip.height == 120)
    await ledger_node.stop_ledger()
    ledger_node.peer.tips.clear()
    await ledger_node.start_ledger()
    assert ledger_node.peer.tips[-1].tip.height == 120
    release.set()
    asked = remote.asked.count("bodies")
    await ledger_node.peer.meet("m1", remote)
    await ledger_node.until_tip(remote.tip.hash)
    assert remote.asked.count("bodies") - asked == 5  # 180 bodies by 40: none is fetched twice


# members that lie or stall


def other_signature(raw: bytes) -> bytes:
    block = decode_block(raw)
    return assemble_block(block.header, "00" * 64, block.transactions).raw


def other_transactions(raw: bytes) -> bytes:
    block = decode_block(raw)
    return assemble_block(block.header, block.signature, [admit("intruder")]).raw


def other_work(headers: list[bytes]) -> list[bytes]:
    """Headers whose third has no work."""
    spoiled = decode_header(headers[2])
    number = 0
    while int(spoiled.hash(), 16) < 2**256 // spoiled.difficulty:
        spoiled = msgspec.structs.replace(spoiled, nonce=f"{number:016x}")
        number += 1
    return [*headers[:2], encode(spoiled), *headers[3:]]


Spoil = Callable[[list[bytes]], list[bytes]]

LIES: dict[str, dict[Literal["headers", "bodies"], Spoil]] = {
    "headers without work": {"headers": other_work},
    "headers that do not follow": {"headers": lambda headers: headers[::2]},
    "headers that are none": {"headers": lambda _: [b'{"x":1}']},
    "too many headers": {"headers": lambda headers: (headers * 500)[:501]},
    "no headers": {"headers": lambda _: []},
    "bodies out of order": {"bodies": lambda bodies: bodies[::-1]},
    "bodies that are none": {"bodies": lambda _: [b'{"x":1}']},
    "no bodies": {"bodies": lambda _: []},
    "a body with another signature": {"bodies": lambda bodies: [other_signature(bodies[0]), *bodies[1:]]},
    "a body with other transactions": {"bodies": lambda bodies: [other_transactions(bodies[0]), *bodies[1:]]},
}


@pytest.mark.parametrize("lie", LIES)
async def test_member_that_lies_is_dropped_and_another_used(ledger_node: LedgerNode, lie: str) -> None:
    """The liar claims more work than the honest member, and so do its headers."""
    liar = RemoteMember(long_chain(40, start=1000))
    liar.spoil_headers = LIES[lie].get("headers", liar.spoil_headers)
    liar.spoil_bodies = LIES[lie].get("bodies", liar.spoil_bodies)
    honest = RemoteMember(long_chain(25))
    await ledger_node.peer.meet("m1", liar)
    await ledger_node.peer.meet("m2", honest)
    await ledger_node.until_tip(honest.tip.hash)
    asked = len(liar.asked)
    assert asked > 0
    more = RemoteMember(long_chain(30, base=honest.chain, keep=25))
    await ledger_node.peer.meet("m2", more)
    await ledger_node.until_tip(more.tip.hash)
    assert len(liar.asked) == asked  # it is left alone meanwhile
    assert audit(ledger_node.database, ledger_node.genesis).height == 30


async def test_lies_are_counted_by_code(ledger_node: LedgerNode) -> None:
    before = (await ledger_node.peer.status()).refusals
    liar = RemoteMember(long_chain(40, start=1000), spoil_headers=other_work)
    await ledger_node.peer.meet("m1", liar)

    async def is_counted() -> bool:
        refusals = (await ledger_node.peer.status()).refusals
        return refusals.get(Code.BLOCK_WORK, 0) == before.get(Code.BLOCK_WORK, 0) + 1

    await wait_until_async(is_counted)


async def test_claim_that_is_not_kept_is_not_believed_for_long(ledger_node: LedgerNode) -> None:
    """A presence can claim anything: it must not keep the miner from mining."""
    honest = RemoteMember(long_chain(10))
    await ledger_node.peer.meet("m2", honest)
    await ledger_node.until_tip(honest.tip.hash)
    await ledger_node.peer.meet("m1", honest, tip=LIE_TIP)
    await wait_until_async(lambda: honest.asked[-1] == "headers" and honest.asked.count("headers") > 2)
    status = await ledger_node.peer.status()
    assert (status.syncing, status.tip.hash) == (False, honest.tip.hash)


@pytest.mark.parametrize("silent", ["headers", "bodies"])
async def test_member_that_stalls_is_dropped_and_another_used(
    ledger_node: LedgerNode, monkeypatch: pytest.MonkeyPatch, silent: str
) -> None:
    monkeypatch.setattr(peer_fetcher, "HEADERS_TIMEOUT_S", 0.3)
    monkeypatch.setattr(peer_fetcher, "BODIES_TIMEOUT_S", 0.3)
    staller = RemoteMember(long_chain(40, start=1000), silent=silent)
    honest = RemoteMember(long_chain(25))
    await ledger_node.peer.meet("m1", staller)
    await ledger_node.peer.meet("m2", honest)
    await ledger_node.until_tip(honest.tip.hash)
    assert staller.asked


async def test_member_that_nobody_reaches_is_asked_again_later(
    ledger_node: LedgerNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_peers, "STALL_MS", 200)
    remote = RemoteMember(long_chain(10))
    await ledger_node.peer.meet("m1", remote)
    await ledger_node.until_tip(remote.tip.hash)
    del ledger_node.peer.remotes["m1"]
    remote = RemoteMember(long_chain(20, base=remote.chain, keep=10))
    before = metrics.SYNC_DROPS.labels(Code.PEER_UNREACHABLE)._value.get()
    await ledger_node.peer.link.send("ledger", "peer_tip", PeerTip(member="m1", tip=remote.tip))
    await wait_until_async(lambda: metrics.SYNC_DROPS.labels(Code.PEER_UNREACHABLE)._value.get() > before)
    ledger_node.peer.remotes["m1"] = remote
    await ledger_node.until_tip(remote.tip.hash)


async def test_miner_pauses_while_the_ledger_is_behind(ledger_node: LedgerNode) -> None:
    remote = RemoteMember(long_chain(60), max_bodies=5)
    await ledger_node.peer.meet("m1", remote)
    await ledger_node.until_tip(remote.tip.hash)
    assert Pause(reason=templates.SYNCING) in ledger_node.miner.orders
    await ledger_node.miner.paused(templates.NOT_ADMITTED)  # and is told when that is over


# the choice of a peer


def tip(work: int) -> ChainTip:
    return ChainTip(height=1, hash="ab" * 32, work=f"{work:x}")


def names(peers: SyncPeers, work: int, now_ms: int) -> str:
    best = peers.best(Standing(0, work), now_ms)
    return best.member if best else ""


def test_highest_claim_is_asked_first() -> None:
    peers = SyncPeers()
    for member, work in (("a", 5), ("b", 7), ("c", 3)):
        peers.claims(member, tip(work))
    assert names(peers, 4, 0) == "b"
    assert names(peers, 7, 0) == ""


def test_failure_pauses_a_member_longer_each_time_and_puts_it_behind_all_others() -> None:
    peers = SyncPeers()
    peers.claims("a", tip(9))
    peers.claims("b", tip(5))
    first = peers.best(Standing(0, 1), 0)
    assert first is not None
    assert peers.drop(first, 0, lied=False) == sync_peers.STALL_MS
    assert names(peers, 1, 0) == "b"
    assert names(peers, 1, sync_peers.STALL_MS) == "b"
    assert names(peers, 5, sync_peers.STALL_MS - 1) == ""
    assert peers.next_free_ms(Standing(0, 5)) == sync_peers.STALL_MS
    assert names(peers, 5, sync_peers.STALL_MS) == "a"
    assert peers.drop(first, 0, lied=False) == 2 * sync_peers.STALL_MS
    assert peers.drop(first, 0, lied=True) == 4 * sync_peers.LIE_MS
    for _ in range(20):
        assert peers.drop(first, 0, lied=True) <= sync_peers.MAX_DROP_MS
    peers.succeeded(first)
    assert peers.drop(first, 0, lied=False) == sync_peers.STALL_MS


def test_sign_of_life_ends_the_pause_of_a_staller_but_not_of_a_liar() -> None:
    peers = SyncPeers()
    for lied, expected in ((False, "a"), (True, "")):
        peers.claims("a", tip(9))
        known = peers.best(Standing(0, 1), 10**9)
        assert known is not None
        peers.drop(known, 10**9, lied=lied)
        peers.claims("a", tip(9))
        assert names(peers, 1, 10**9) == ""
        peers.claims("a", tip(10))
        assert names(peers, 1, 10**9) == expected
        peers.claims("a", tip(9))


def test_number_of_known_members_is_bounded() -> None:
    peers = SyncPeers()
    for number in range(sync_peers.MAX_PEERS + 5):
        peers.claims(f"m{number}", tip(number))
    assert len(peers) == sync_peers.MAX_PEERS
    assert names(peers, 0, 0) == f"m{sync_peers.MAX_PEERS + 4}"
