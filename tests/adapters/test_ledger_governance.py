"""Parameters, rule versions and the authority's key in the ledger: stored, restored, audited, told and obeyed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from minervas_core.blocks import Block
from minervas_core.errors import LocalFault
from minervas_core.governance.parameters import NOTICE_INTERVALS
from minervas_core.transactions import Admit, Transaction
from minervas_core.tree import HeaderNode
from minervas_ledger import templates
from minervas_ledger.chain_view import ChainView, too_old
from minervas_ledger.disk import DiskWatch
from minervas_ledger.node_status import NodeStatus
from minervas_ledger.settings import DatabaseSettings, DiskSettings
from minervas_ledger.store.connection import connect
from minervas_runtime.clock import SystemClock
from tests.support.builders import (
    MARKET,
    LocalChain,
    admit,
    bid,
    make_genesis,
    membership,
    service_keys,
    signing_key,
)
from tests.support.governance import change_authority, change_parameters, recover_authority, wallet
from tests.support.ledger import MEMBER, LedgerNode, StoredChain, audit
from tests.support.wait import wait_until_async

PARAMETERS = msgspec.structs.replace(MARKET, vote_interval=2)
NOTICE = NOTICE_INTERVALS * PARAMETERS.vote_interval
EXPIRES = 900
NEW, NEWER = signing_key("new authority"), signing_key("newer authority")


class Governed:
    """Makes blocks in memory and hands them to a stored chain."""

    def __init__(self, stored: StoredChain) -> None:
        self.local = LocalChain(PARAMETERS)
        self.stored = stored
        self.extend(admit(MEMBER), admit("m1"), admit("m2"))

    def extend(self, *transactions: Transaction, on: HeaderNode | Block | None = None) -> Block:
        block = self.local.mine(MEMBER, transactions, on=on)
        outcome = self.local.receive(block)
        assert self.stored.take(block) == [outcome.status]
        return block

    def grow_to(self, height: int) -> None:
        while self.local.tip.height < height:
            self.extend()

    def change(self, changes: dict[str, int | str], *, rule_version: int = 0) -> int:
        """Announce a change; returns the height from which on it applies."""
        height = self.local.tip.height + 1 + NOTICE
        self.extend(change_parameters(height, changes, rule_version=rule_version, expires=EXPIRES))
        return height

    def same(self) -> None:
        """Memory and database agree, also after a restart, and the audit agrees with every row."""
        for chain in (self.stored.now, self.stored.reopen()):
            assert chain._chain.state.snapshot() == self.local.chain.state.snapshot()
        assert audit(self.stored.settings, self.stored.genesis).tip_hash == self.local.tip.hash


@pytest.fixture
def governed(ledger_database: DatabaseSettings) -> Iterator[Governed]:
    stored = StoredChain(ledger_database, make_genesis(PARAMETERS))
    yield Governed(stored)
    stored.now.close()


def test_what_waits_and_what_applies_survives_a_restart(governed: Governed) -> None:
    first = governed.change({"smallest_order_wh": 100, "slot_ms": 60_000})
    governed.change({"max_open_orders": 1})
    governed.same()
    governed.grow_to(first)
    governed.same()
    assert governed.stored.now.view().parameters.slot_ms == 60_000
    assert governed.stored.now.channel_registers(MEMBER).slot_ms == 60_000
    governed.grow_to(first + 2)
    assert governed.stored.now.view().parameters.max_open_orders == 1
    governed.same()


def test_a_reorganisation_takes_changes_back_in_the_database(governed: Governed) -> None:
    fork = governed.local.tip
    height = governed.change({"slot_ms": 60_000})
    governed.extend(change_authority(NEW, expires=EXPIRES))
    governed.grow_to(height)
    governed.same()
    side = governed.extend(on=fork)
    while not governed.local.chain.tree.is_main(governed.local.node(side)):
        side = governed.extend(on=side)
    assert governed.stored.now.view().parameters == PARAMETERS
    assert governed.stored.now.view().authority == ""
    governed.same()


def test_the_authoritys_key_survives_a_restart(governed: Governed) -> None:
    governed.extend(change_authority(NEW, expires=EXPIRES))
    governed.same()
    assert governed.stored.now.view().authority == NEW.public
    governed.extend(
        recover_authority(NEWER, [wallet(each) for each in (MEMBER, "m1", "m2")], previous=NEW, expires=EXPIRES)
    )
    governed.extend(membership(Admit(member="m3", keys=service_keys("m3")), expires=EXPIRES, key=NEWER))
    governed.same()


@pytest.mark.parametrize("table", ["parameters", "parameter_changes", "authority"])
def test_the_audit_finds_what_somebody_changed(governed: Governed, table: str) -> None:
    height = governed.change({"slot_ms": 60_000})
    governed.extend(change_authority(NEW, expires=EXPIRES))
    if table == "parameters":
        governed.grow_to(height)
    with connect(governed.stored.settings, application="test") as connection:
        connection.execute("DELETE FROM state_rows WHERE name = %s", (table,))
    with pytest.raises(LocalFault, match=f"state_rows.*{table}"):
        audit(governed.stored.settings, governed.stored.genesis)


def health(view: ChainView) -> dict[str, object]:
    """What /healthz says of a connected node whose chain looks like this."""
    worker = SimpleNamespace(trouble="", last_view=view)
    disk = DiskWatch(DiskSettings(), lambda: None)
    status = NodeStatus(
        member=MEMBER,
        worker=worker,  # type: ignore[arg-type]  # only these two are asked
        clock=SystemClock(),
        disk=disk,
        certificate_expires_ms=lambda: 0,
    )
    return status.health(SimpleNamespace(connected=True))


def test_a_ledger_stops_below_unknown_rules_and_goes_on_when_it_is_replaced(
    governed: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    height = governed.change({}, rule_version=2)
    assert governed.stored.now.view().unknown_rules_height == height
    assert too_old(governed.stored.now.view()) == ""
    assert health(governed.stored.now.view())["status"] == "ok"
    governed.grow_to(height - 1)
    beyond = governed.extend()
    beyond = governed.extend(on=beyond)
    assert governed.stored.now.view().tip.height == height - 1
    assert "too old" in too_old(governed.stored.now.view())
    assert health(governed.stored.now.view())["status"] == "failing"
    governed.same()
    monkeypatch.setattr("minervas_core.governance.parameters.RULE_VERSION", 2)
    governed.stored.reopen()
    assert governed.stored.now.view().tip.hash == beyond.hash
    assert too_old(governed.stored.now.view()) == ""
    last = governed.extend(on=beyond)
    assert governed.local.tip.hash == last.hash
    governed.same()


# as a service


@pytest.fixture
async def node(tmp_path: Path, ledger_database: DatabaseSettings) -> AsyncIterator[LedgerNode]:
    running = LedgerNode(tmp_path, ledger_database, make_genesis(PARAMETERS))
    await running.start()
    yield running
    await running.stop()


async def deliver(node: LedgerNode, local: LocalChain, *transactions: Transaction) -> Block:
    block = local.extend("m1", transactions)
    assert (await node.peer.deliver(block)).status in {"connected", "side_branch"}
    return block


async def test_a_node_is_told_and_obeys_the_parameters_of_its_tip(node: LedgerNode) -> None:
    local = LocalChain(PARAMETERS)
    await deliver(node, local, admit(MEMBER), admit("m1"))
    before = await node.miner.template(height=2)
    height = 2 + NOTICE
    changes: dict[str, int | str] = {"give_up_intervals": 9, "smallest_order_wh": 100}
    await deliver(node, local, change_parameters(height, changes, expires=EXPIRES))
    while local.tip.height < height - 1:
        await deliver(node, local)
    after = await node.miner.template(height=height)
    assert (before.give_up_ms, after.give_up_ms) == (4_000, 9_000)
    assert (await node.peer.status()).parameters == local.chain.parameters
    [result] = (await node.peer.submit(bid(MEMBER, 50, 1).raw)).results
    assert result.code == "order_too_small"


async def test_a_node_tells_its_peer_of_a_new_authority_with_the_tip(node: LedgerNode) -> None:
    local = LocalChain(PARAMETERS)
    await deliver(node, local, admit(MEMBER), admit("m1"))
    assert isinstance((await node.peer.status()).authority, msgspec.UnsetType)
    block = await deliver(node, local, change_authority(NEW, expires=EXPIRES))
    await node.until_tip(block.hash)
    assert node.peer.tips[-1].authority == NEW.public
    assert (await node.peer.status()).authority == NEW.public


async def test_a_node_that_is_too_old_pauses_its_miner_and_says_so(node: LedgerNode) -> None:
    local = LocalChain(PARAMETERS)
    await deliver(node, local, admit(MEMBER), admit("m1"))
    height = 2 + NOTICE
    await deliver(node, local, change_parameters(height, rule_version=2, expires=EXPIRES))
    assert (await node.peer.status()).unknown_rules_height == height
    while local.tip.height < height - 1:
        await deliver(node, local)
    await node.miner.paused(templates.TOO_OLD)
    beyond = local.mine("m1")
    assert (await node.peer.deliver(beyond)).status == "side_branch"
    status = await node.peer.status()
    assert (status.tip.height, status.syncing) == (height - 1, False)
    await wait_until_async(lambda: node.running is not None and not node.running.done())
