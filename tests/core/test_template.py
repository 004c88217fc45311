"""The block that a miner searches for (minervas_core.template)."""

from __future__ import annotations

import msgspec
import pytest

from minervas_core.errors import Code, TransientFault
from minervas_core.genesis import Parameters
from minervas_core.mempool import Mempool, MempoolLimits
from minervas_core.template import FRAME_BYTES, BlockContent, build_draft
from minervas_core.transactions import Transaction, block_order
from tests.support.builders import TINY, LocalChain, admit, find_nonce, revoke, sign_block

ROOMY = MempoolLimits(max_count=100, max_bytes=10**6, share_per_mille=1000)


class Node:
    """A chain and its queue."""

    def __init__(self, *founders: str, parameters: Parameters = TINY) -> None:
        self.local = LocalChain(parameters)
        if founders:
            self.local.found(*founders)
        self.pool = Mempool(self.local.genesis, self.local.chain.signatures, ROOMY)

    def queue(self, *transactions: Transaction) -> None:
        for transaction in transactions:
            self.pool.add(transaction, self.local.chain.state, self.local.tip.time_ms)

    def draft(self, miner: str, now_ms: int = 0) -> BlockContent:
        return build_draft(self.local.chain, self.pool, (), miner, now_ms or self.local.tip.time_ms + 1_000)

    def refused(self, miner: str) -> TransientFault:
        with pytest.raises(TransientFault) as caught:
            self.draft(miner)
        return caught.value

    def mine(self, miner: str) -> None:
        """What comes of a draft is a block that connects."""
        draft, transactions, *_ = self.draft(miner)
        outcome = self.local.receive(sign_block(find_nonce(draft), transactions))
        assert outcome.status == "connected", outcome.error


def test_a_draft_follows_the_tip_and_carries_the_queue_in_order() -> None:
    node = Node("a", "b", "c")
    node.queue(admit("d"), admit("e"), revoke("b"), admit("f"))
    draft, transactions, *_ = node.draft("c", node.local.tip.time_ms + 777)
    assert (draft.height, draft.prev, draft.miner) == (2, node.local.tip.hash, "c")
    assert draft.time_ms == node.local.tip.time_ms + 777
    assert draft.difficulty == node.local.chain.next_difficulty()
    assert list(transactions) == sorted([admit("d"), admit("e"), admit("f"), revoke("b")], key=block_order)
    node.mine("c")


def test_an_empty_queue_makes_an_empty_block() -> None:
    node = Node("a", "b", "c")
    assert node.draft("a")[1] == ()
    node.mine("a")


def test_making_a_draft_changes_nothing() -> None:
    node = Node("a", "b", "c")
    node.queue(admit("d"), revoke("a"))
    before = node.local.chain.state.snapshot()
    node.draft("b")
    assert node.local.chain.state.snapshot() == before
    assert len(node.pool) == 2


def test_block_one_admits_its_own_miner() -> None:
    node = Node()
    node.queue(admit("a"), admit("b"))
    node.mine("a")
    assert node.local.chain.state.roster.active_count == 2


def test_time_lies_above_the_predecessor_even_if_our_clock_is_behind() -> None:
    node = Node("a", "b", "c")
    assert node.draft("a", 1)[0].time_ms == node.local.tip.time_ms + 1


def test_who_is_not_admitted_has_nothing_to_search() -> None:
    assert Node().refused("a").code == Code.BLOCK_MINER_UNKNOWN
    assert Node("a", "b").refused("stranger").code == Code.BLOCK_MINER_UNKNOWN


def test_who_is_revoked_by_the_queue_has_nothing_to_search() -> None:
    node = Node("a", "b", "c")
    node.queue(revoke("a"))
    assert node.refused("a").code == Code.BLOCK_MINER_UNKNOWN


def test_who_mined_one_of_the_last_blocks_waits_and_is_told_until_when() -> None:
    node = Node("a", "b", "c", "d")
    fault = node.refused("a")
    assert fault.code == Code.BLOCK_MINER_TOO_SOON
    free_from_ms = fault.values["idle_from_ms"]
    assert isinstance(free_from_ms, int)
    assert node.draft("a", free_from_ms)[0].miner == "a"


def test_an_admission_waits_for_another_miner_rather_than_being_left_out() -> None:
    """With the fourth member the miner of the last block is no longer free. Without it, it would mine on alone."""
    node = Node("a", "b", "c")
    node.mine("a")
    node.queue(admit("d", expires=8))
    assert node.refused("a").code == Code.BLOCK_MINER_TOO_SOON
    node.mine("b")
    assert node.local.chain.state.roster.active("d") is not None


def test_what_does_not_apply_in_block_order_waits_for_the_next_block() -> None:
    # Ids decide the order: take a revocation that stands before the admission it needs.
    admission = admit("d")
    revocation = next(made for made in (revoke("d", salt=str(n)) for n in range(50)) if made.id < admission.id)
    node = Node("a", "b", "c")
    assert node.pool.give_back([admission, revocation], node.local.chain.state) == ()
    assert node.draft("b")[1] == (admission,)
    node.pool.remove_included(node.local.extend("b", [admission]))
    assert node.draft("a")[1] == (revocation,)


def test_a_draft_keeps_to_the_transaction_limit() -> None:
    node = Node("a", "b", "c", parameters=msgspec.structs.replace(TINY, max_block_transactions=3))
    node.queue(*[admit(f"m{n}") for n in range(5)])
    assert len(node.draft("b")[1]) == 3
    node.mine("b")


def test_a_draft_keeps_to_the_size_limit_and_fills_it() -> None:
    node = Node("a", parameters=msgspec.structs.replace(TINY, max_block_bytes=10_000))
    node.queue(*[admit(f"m{n}") for n in range(4)])
    transactions = node.draft("a")[1]
    size = sum(len(transaction.raw) + 1 for transaction in transactions)
    smallest_left_out = min(len(each.raw) + 1 for each in node.pool if each not in transactions)
    assert size <= 10_000 - FRAME_BYTES < size + smallest_left_out
    node.mine("a")


def test_the_frame_of_a_block_fits_its_reserve() -> None:
    node = Node("a")
    draft = node.draft("a").draft
    longest = msgspec.structs.replace(
        draft, version=2**53 - 1, height=2**53 - 1, time_ms=2**53 - 1, difficulty=2**53 - 1, miner="m" * 32
    )
    block = sign_block(longest.with_nonce(0), [], signer="a")
    assert len(block.raw) <= FRAME_BYTES
